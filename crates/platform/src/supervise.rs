//! Keeps one watcher per network and one follower per channel, as networks come and go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::control::{Control, Network};
use crate::networks::model::NetworkState;
use crate::problem::Problem;
use crate::{contracts, index, live, operations};

/// How often networks are looked at without a reason.
const EVERY: Duration = Duration::from_secs(30);
/// How long operations wait at the start for networks to be taken over.
const ADOPTING: Duration = Duration::from_secs(15);

/// Takes over nodes that went on running, then runs operations and keeps watchers and followers until the server ends.
pub(crate) async fn adopt_and_run(control: Arc<Control>) {
    loop {
        match adopt(&control).await {
            Ok(()) => break,
            Err(problem) => tracing::warn!(%problem, "networks cannot be read, trying again"),
        }
        tokio::select! {
            () = control.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
    control.tasks.spawn(operations::runner::run(Arc::clone(&control)));
    control.tasks.spawn(tidy(Arc::clone(&control)));
    keep(control).await;
}

/// Takes over the nodes of every network that should run. What cannot be taken over is reported, and what takes long goes on
/// beside everything else: no network may keep the others from coming up.
async fn adopt(control: &Arc<Control>) -> Result<(), Problem> {
    let mut adopting = Vec::new();
    for record in control.every_network().await? {
        control.place_external(&record.doc);
        let id = record.id.clone();
        match control.network_of(record) {
            Ok(network) => {
                let stop = control.stop.clone();
                let task = async move { stop.run_until_cancelled(adopt_network(&network)).await };
                adopting.push((id, control.tasks.spawn(task)));
            }
            Err(problem) => tracing::error!(network = %id, %problem, "a network cannot be taken over"),
        }
    }
    let latest = tokio::time::Instant::now() + ADOPTING;
    for (id, task) in adopting {
        match tokio::time::timeout_at(latest, task).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(network = %id, %error, "a network was not taken over"),
            Err(_) => tracing::warn!(network = %id, "taking over a network takes long; it goes on meanwhile"),
        }
    }
    Ok(())
}

/// Takes over the nodes of a network that should run.
pub(crate) async fn adopt_network(network: &Network) {
    let doc = &network.record.doc;
    // One that is being made or removed is looked after by its operation.
    if doc.state != NetworkState::Running || doc.imported {
        return;
    }
    let id = &network.record.id;
    let launches = match network.engine.launches(network.place()) {
        Ok(launches) => launches,
        Err(error) => {
            tracing::error!(network = %id, %error, "a network's files cannot be read");
            return;
        }
    };
    let placed: Vec<String> = match network.driver.observe(id).await {
        Ok(observed) => observed.into_iter().map(|observed| observed.node).collect(),
        Err(error) => {
            tracing::error!(network = %id, %error, "a network's nodes cannot be looked at");
            return;
        }
    };
    // A node that was never placed is in the middle of being added; its operation starts it when its files are there.
    let launches: Vec<_> = launches
        .into_iter()
        .filter(|launch| placed.contains(&launch.node.node) && !doc.stopped_nodes.contains(&launch.node.node))
        .collect();
    if let Err(error) = network.driver.adopt(&launches).await {
        tracing::error!(network = %id, %error, "a network's nodes cannot be taken over");
    }
}

async fn keep(control: Arc<Control>) {
    let mut running: HashMap<(String, Option<String>), (CancellationToken, JoinHandle<()>)> = HashMap::new();
    loop {
        match control.every_network().await {
            Ok(networks) => {
                let mut wanted = Vec::new();
                for record in &networks {
                    wanted.push((record.id.clone(), None));
                    if record.doc.state == NetworkState::Running {
                        wanted.extend(
                            record
                                .doc
                                .spec
                                .channels
                                .iter()
                                .map(|channel| (record.id.clone(), Some(channel.name.clone()))),
                        );
                    }
                }
                running.retain(|key, (token, task)| {
                    let keep = wanted.contains(key);
                    if keep && task.is_finished() {
                        tracing::error!(network = %key.0, channel = ?key.1, "what watches a network has ended, it is begun again");
                        return false;
                    }
                    if !keep {
                        token.cancel();
                        if key.1.is_none() {
                            control.live.forget(&key.0);
                            control.index.forget(&key.0);
                        }
                    }
                    keep
                });
                for key in wanted {
                    if running.contains_key(&key) {
                        continue;
                    }
                    let token = control.stop.child_token();
                    let task = match &key.1 {
                        None => control.tasks.spawn(live::watch(Arc::clone(&control), key.0.clone(), token.clone())),
                        Some(channel) => {
                            let follow =
                                index::follow(Arc::clone(&control), key.0.clone(), channel.clone(), token.clone());
                            control.tasks.spawn(follow)
                        }
                    };
                    running.insert(key, (token, task));
                }
            }
            Err(problem) => tracing::debug!(%problem, "networks cannot be read now"),
        }
        tokio::select! {
            () = control.stop.cancelled() => return,
            () = control.changed.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Removes what nobody needs any more, now and then.
async fn tidy(control: Arc<Control>) {
    loop {
        match index::write::purge(control.db().write(), Duration::from_millis(20)).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "rows of removed channels are gone"),
            Err(error) => tracing::debug!(%error, "rows of removed channels could not be removed now"),
        }
        if let Err(error) = live::prune(control.db()).await {
            tracing::debug!(%error, "old figures could not be removed now");
        }
        if let Err(error) = contracts::calls::prune(control.db()).await {
            tracing::debug!(%error, "old calls could not be removed now");
        }
        tokio::select! {
            () = control.stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_mins(10)) => {}
        }
    }
}
