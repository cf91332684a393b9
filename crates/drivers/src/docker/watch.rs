//! The task that looks after all containers of this driver.
//!
//! The engine itself restarts a container whose program ended, also after a restart of the machine and while the platform is not
//! running. What it does not restart is a container that somebody killed or removed through its API: those are put back here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures::StreamExt as _;

use super::Shared;
use super::container::{NETWORK, NODE, container_name, describe_code, describe_end};
use super::engine::is_absent;
use crate::record::Wanted;
use crate::{NodeRef, now_ms};

/// How often everything is looked at, whatever events say.
const LOOK: Duration = Duration::from_secs(2);
/// Pause before the first restart, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A container that has run for so long begins with the first pause again.
const HEALTHY_AFTER_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy)]
struct Pause {
    due: Instant,
    next: Duration,
}

/// Runs until it is aborted.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut pauses = BTreeMap::new();
    loop {
        if let Ok(docker) = shared.engine.docker().await {
            let filters = std::collections::HashMap::from([
                ("type", vec!["container"]),
                ("event", vec!["die", "oom"]),
                ("label", vec![NETWORK]),
            ]);
            let options = EventsOptionsBuilder::new().filters(&filters).build();
            let mut events = Box::pin(docker.events(Some(options)));
            loop {
                look(&shared, &mut pauses).await;
                let soonest = pauses.values().map(|pause: &Pause| pause.due).min();
                let wait = soonest.map_or(LOOK, |due| due.saturating_duration_since(Instant::now())).min(LOOK);
                tokio::select! {
                    event = events.next() => match event {
                        Some(Ok(event)) => note(&shared, event).await,
                        // The engine is being restarted; the loop around this one comes back to it.
                        Some(Err(_)) | None => break,
                    },
                    () = tokio::time::sleep(wait.max(Duration::from_millis(50))) => {}
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Writes down how a container ended.
async fn note(shared: &Shared, event: EventMessage) {
    let Some(attributes) = event.actor.and_then(|actor| actor.attributes) else { return };
    let (Some(network), Some(node)) = (attributes.get(NETWORK), attributes.get(NODE)) else { return };
    let node = NodeRef { network: network.clone(), node: node.clone() };
    let Ok(Some(placed)) = shared.known(&node) else { return };
    let how = match (event.action.as_deref(), attributes.get("exitCode").and_then(|code| code.parse().ok())) {
        (Some("oom"), _) => "it was killed because it used more memory than its limit".to_owned(),
        (_, Some(code)) => describe_code(code),
        _ => return,
    };
    let record = placed.kept.get();
    // The end that a stop asked for is nothing to report, and the reason given by an "oom" says more than the signal after it.
    let known_better = how.ends_with("signal 9") && record.last_exit.is_some_and(|last| last.contains("memory"));
    if record.wanted == Wanted::Running && !known_better {
        complain(placed.kept.change(|record| record.last_exit = Some(how)).await);
    }
}

/// Starts again what should run, does not, and is not being started by the engine.
async fn look(shared: &Shared, pauses: &mut BTreeMap<NodeRef, Pause>) {
    let Ok(docker) = shared.engine.docker().await else { return };
    let placed: Vec<_> = shared.nodes.lock().values().cloned().collect();
    for placed in placed {
        let record = placed.kept.get();
        let node = record.launch.node.clone();
        if record.wanted == Wanted::Stopped {
            pauses.remove(&node);
            continue;
        }
        // Somebody is starting or stopping it just now.
        let Ok(_turn) = placed.turn.try_lock() else { continue };
        let found = match docker.inspect_container(&container_name(&node), None).await {
            Ok(found) => Some(found),
            Err(error) if is_absent(&error) => None,
            Err(_) => return,
        };
        let counted = placed.count(found.as_ref());
        let state = found.as_ref().and_then(|found| found.state.clone()).unwrap_or_default();
        if state.running == Some(true) || state.restarting == Some(true) {
            let since = state.started_at.as_deref().and_then(super::container::time_ms).unwrap_or_default();
            if now_ms() - since >= HEALTHY_AFTER_MS {
                pauses.remove(&node);
            } else if let Some(pause) = pauses.get_mut(&node) {
                // Not to be looked at again before the usual time.
                pause.due = Instant::now() + LOOK;
            }
            continue;
        }
        let now = Instant::now();
        let pause = pauses.entry(node.clone()).or_insert(Pause { due: now + FIRST_PAUSE, next: FIRST_PAUSE });
        if now < pause.due {
            continue;
        }
        pause.next = (pause.next * 2).min(LONGEST_PAUSE);
        pause.due = now + pause.next;
        let why = match &found {
            Some(_) => describe_end(&state),
            None => Some("its container was removed by somebody else".to_owned()),
        };
        match shared.place(&record.launch).await {
            Ok(()) => {
                placed.counted.store(0, Ordering::SeqCst);
                let change = placed.kept.change(|record| {
                    // Started anew, the engine counts from nothing again.
                    record.restarts = record.restarts.saturating_add(counted).saturating_add(1);
                    record.last_exit = why.or(record.last_exit.take());
                });
                complain(change.await);
            }
            Err(error) => complain(placed.kept.change(|record| record.last_exit = Some(error.to_string())).await),
        }
    }
}

fn complain(result: Result<(), crate::DriverError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot write a node's record");
    }
}
