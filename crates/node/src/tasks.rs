//! The task tree: what runs, and how it stops together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The wish to stop, shared by everything that must notice it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    reason: Arc<Mutex<Option<String>>>,
}

impl Shutdown {
    /// Not wished yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes to stop; the first reason given is kept.
    pub fn trigger(&self, reason: impl Into<String>) {
        self.reason.lock().get_or_insert_with(|| reason.into());
        self.token.cancel();
    }

    /// Whether somebody wished.
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The first reason given.
    pub fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }

    /// Resolves when somebody wishes to stop.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }

    /// The same wish as a token, for `select!` in code that owns its handle.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// A wish of its own that is also fulfilled by this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), reason: Arc::clone(&self.reason) }
    }

    /// Triggers on SIGINT and SIGTERM.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = interrupt.recv() => "interrupt",
                _ = terminate.recv() => "terminated",
                () = shutdown.triggered() => return,
            };
            tracing::info!("received signal {name}");
            shutdown.trigger(format!("signal {name}"));
        });
        Ok(())
    }
}

/// A group of tasks that stop together.
#[derive(Clone, Debug)]
pub struct Tasks {
    shutdown: Shutdown,
    tracker: TaskTracker,
}

impl Tasks {
    /// Tasks that end when `shutdown` is triggered.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tracker: TaskTracker::new() }
    }

    /// The wish these tasks listen to.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Runs a future until it ends or the group stops, whichever is first.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.token.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = token.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// Runs a future that listens to the wish itself and ends in its own time.
    pub fn spawn_graceful(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(future);
    }

    /// Runs a part the node cannot do without: its error stops the whole group, with the part's name in the reason.
    pub fn spawn_vital<E: std::fmt::Display>(
        &self,
        name: &'static str,
        future: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            if let Err(error) = future.await {
                tracing::error!("{name} stopped: {error}");
                shutdown.trigger(format!("{name} stopped: {error}"));
            }
        });
    }

    /// Triggers the wish and waits until every task ended; false when `grace` passed first.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.shutdown.trigger("stopped");
        self.tracker.close();
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_vital_part_that_fails_stops_the_rest() {
        let tasks = Tasks::new(Shutdown::new());
        tasks.spawn(std::future::pending());
        tasks.spawn_vital("deliver", async { Err("port taken") });
        tasks.shutdown().triggered().await;
        assert_eq!(tasks.shutdown().reason().as_deref(), Some("deliver stopped: port taken"));
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }

    #[tokio::test]
    async fn a_child_stops_alone() {
        let root = Shutdown::new();
        let child = root.child();
        child.trigger("done");
        assert!(!root.is_triggered());
        let other = root.child();
        root.trigger("end");
        assert!(other.is_triggered());
    }
}
