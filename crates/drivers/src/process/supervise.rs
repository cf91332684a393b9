//! The task that watches one node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::child::Process;
use super::node::Node;
use crate::{Stopped, now_ms};

/// How often the size of a log is looked at.
const LOG_LOOK: Duration = Duration::from_secs(1);

/// What the task is told. When nobody can tell it anything any more, it lets the node run and ends.
#[derive(Debug)]
pub(super) enum Order {
    /// Stop the node and end.
    Stop {
        /// Until force is used.
        grace: Duration,
        /// How it went.
        reply: oneshot::Sender<Stopped>,
    },
}

/// How the watch over one run ended.
enum Watched {
    Ended(String),
    Told(Option<Order>),
}

/// Keeps a node running until it is told otherwise. Without a process one is made at once.
pub(super) async fn supervise(node: Arc<Node>, process: Option<Process>, mut orders: mpsc::Receiver<Order>) {
    let mut pause = node.settings.first_pause;
    let mut next = process;
    let mut wait = Duration::ZERO;
    loop {
        if let Some(mut running) = next.take() {
            node.backing_off.store(false, Ordering::SeqCst);
            match watch(&node, &mut running, &mut orders).await {
                Watched::Ended(how) => {
                    running.sweep();
                    node.backing_off.store(true, Ordering::SeqCst);
                    let ran = u64::try_from(now_ms() - running.run.at).unwrap_or(0);
                    if Duration::from_millis(ran) >= node.settings.healthy_after {
                        pause = node.settings.first_pause;
                    }
                    note(&node, how).await;
                    wait = pause;
                }
                Watched::Told(Some(Order::Stop { grace, reply })) => {
                    let _nobody_waits = reply.send(running.stop(grace).await);
                    return;
                }
                Watched::Told(None) => return,
            }
        }
        tokio::select! {
            () = sleep(wait) => {}
            order = orders.recv() => {
                if let Some(Order::Stop { reply, .. }) = order {
                    let _nobody_waits = reply.send(Stopped::AlreadyStopped);
                }
                return;
            }
        }
        // An adopted node that ended while the platform was away has no pause behind it, only before its next try.
        let first = wait.is_zero();
        pause = if first { pause } else { (pause * 2).min(node.settings.longest_pause) };
        wait = pause;
        match node.spawn().await {
            Ok(process) => {
                next = Some(process);
                if !first {
                    let counted = node.change(|record| record.restarts = record.restarts.saturating_add(1)).await;
                    complain(counted);
                }
            }
            Err(error) => note(&node, error.to_string()).await,
        }
    }
}

async fn watch(node: &Node, running: &mut Process, orders: &mut mpsc::Receiver<Order>) -> Watched {
    let mut look = interval(LOG_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            how = running.ended() => return Watched::Ended(how),
            order = orders.recv() => return Watched::Told(order),
            _ = look.tick() => {
                if node.log().is_large() {
                    let log = node.log();
                    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || log.rotate()).await {
                        tracing::warn!(%error, log = %node.log().path().display(), "cannot rotate a node's log");
                    }
                }
            }
        }
    }
}

async fn note(node: &Node, how: String) {
    let noted = node
        .change(|record| {
            record.run = None;
            record.last_exit = Some(how);
        })
        .await;
    complain(noted);
}

/// A record that cannot be written now (the disk is full) must not keep a node from being started again.
fn complain(result: Result<(), crate::DriverError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot write a node's record");
    }
}
