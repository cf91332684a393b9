//! One node of the process driver: its record, its supervisor, and what is asked of it, one thing at a time.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Settings;
use super::child::{Process, figures, find_unrecorded, is_alive};
use super::supervise::{Order, supervise};
use crate::disk::DiskUse;
use crate::log::Log;
use crate::record::{Kept, Record, Records, Wanted};
use crate::{DriverError, Launch, Observed, RunState, Stopped};

/// How long a node may take to end where the caller does not say.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// A node and everything known of it.
#[derive(Debug)]
pub(super) struct Node {
    program: PathBuf,
    records: Records,
    pub(super) settings: Settings,
    log: Arc<Log>,
    kept: Kept,
    /// Held while something is asked of the node; says how to reach the task that watches it.
    supervisor: tokio::sync::Mutex<Option<mpsc::Sender<Order>>>,
    pub(super) backing_off: AtomicBool,
    disk: DiskUse,
}

impl Node {
    pub(super) fn new(
        program: &Path,
        records: &Records,
        settings: Settings,
        record: Record,
    ) -> Result<Self, DriverError> {
        let path = records.path(&record.launch.node, "log")?;
        Ok(Self {
            program: program.to_owned(),
            records: records.clone(),
            settings,
            log: Arc::new(Log::new(path, settings.log_bytes, settings.log_parts)),
            kept: Kept::new(records, record),
            supervisor: tokio::sync::Mutex::default(),
            backing_off: AtomicBool::new(false),
            disk: DiskUse::default(),
        })
    }

    /// Ends the task that watches the node, not the node.
    pub(super) fn release(&self) {
        // What is being done to it just now is carried through by its own task, and the program is ending anyway.
        if let Ok(mut supervisor) = self.supervisor.try_lock() {
            *supervisor = None;
        }
    }

    pub(super) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    /// Changes the record, on disk first.
    pub(super) async fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), DriverError> {
        self.kept.change(change).await
    }

    /// Starts the node unless it runs with this launch already.
    pub(super) async fn start(self: Arc<Self>, launch: &Launch) -> Result<(), DriverError> {
        let mut supervisor = self.supervisor.lock().await;
        let same = self.kept.get().launch == *launch;
        if let Some(orders) = supervisor.as_ref().filter(|orders| !orders.is_closed()) {
            if same && !self.backing_off.load(Ordering::SeqCst) {
                return Ok(());
            }
            // What waits for its next try is tried now; what runs with another launch is stopped first.
            stop_supervised(orders, GRACE).await;
        } else if let Some(mut running) = self.left_running()? {
            if same {
                self.change(|record| keep(record, &running)).await?;
                *supervisor = Some(self.supervise(Some(running)));
                return Ok(());
            }
            running.stop(GRACE).await;
        }
        let before = self.kept.get();
        self.change(|record| {
            record.launch = launch.clone();
            record.wanted = Wanted::Running;
            record.run = None;
        })
        .await?;
        match self.spawn().await {
            Ok(process) => {
                *supervisor = Some(self.supervise(Some(process)));
                Ok(())
            }
            Err(error) => {
                // A start that failed has not happened: nothing tries again behind the caller's back.
                self.change(|record| {
                    record.wanted = Wanted::Stopped;
                    record.last_exit = before.last_exit;
                })
                .await?;
                Err(error)
            }
        }
    }

    /// Stops the node for good.
    pub(super) async fn stop(&self, grace: Duration) -> Result<Stopped, DriverError> {
        let mut supervisor = self.supervisor.lock().await;
        self.change(|record| record.wanted = Wanted::Stopped).await?;
        let how = if let Some(orders) = supervisor.take().filter(|orders| !orders.is_closed()) {
            stop_supervised(&orders, grace).await
        } else if let Some(mut running) = self.left_running()? {
            running.stop(grace).await
        } else {
            Stopped::AlreadyStopped
        };
        self.change(|record| {
            record.run = None;
            record.starting = false;
        })
        .await?;
        Ok(how)
    }

    /// Takes over what an earlier run of this program left, or starts it again, unless it was stopped on request.
    pub(super) async fn adopt(self: Arc<Self>, launch: &Launch) -> Result<(), DriverError> {
        let known = self.records.load(&launch.node)?;
        let Some(known) = known else {
            let started = Arc::clone(&self).start(launch).await;
            return if let Err(error) = started { self.try_later(launch, &error).await } else { Ok(()) };
        };
        if known.wanted == Wanted::Stopped {
            return Ok(());
        }
        let mut supervisor = self.supervisor.lock().await;
        if supervisor.as_ref().is_some_and(|orders| !orders.is_closed()) {
            return Ok(());
        }
        let mut running = self.left_running()?;
        let died = running.is_none() && known.run.is_some();
        if let Some(stale) = running.as_mut().filter(|_| known.launch != *launch) {
            stale.stop(GRACE).await;
            running = None;
        }
        self.change(|record| {
            record.launch = launch.clone();
            record.restarts = record.restarts.saturating_add(u32::from(died));
            match &running {
                Some(running) => keep(record, running),
                None => record.run = None,
            }
            if died {
                record.last_exit = Some("it ended while the platform was not running".to_owned());
            }
        })
        .await?;
        *supervisor = Some(self.supervise(running));
        Ok(())
    }

    async fn try_later(self: Arc<Self>, launch: &Launch, error: &DriverError) -> Result<(), DriverError> {
        let mut supervisor = self.supervisor.lock().await;
        self.change(|record| {
            record.launch = launch.clone();
            record.wanted = Wanted::Running;
            record.last_exit = Some(error.to_string());
        })
        .await?;
        *supervisor = Some(self.supervise(None));
        Ok(())
    }

    /// A process of this node that nobody watches.
    fn left_running(&self) -> Result<Option<Process>, DriverError> {
        let record = self.kept.get();
        if let Some(process) = record.run.as_ref().map_or(Ok(None), Process::adopt)? {
            return Ok(Some(process));
        }
        let unrecorded = record.starting.then(|| find_unrecorded(&record.launch, self.log.path())).flatten();
        unrecorded.as_ref().map_or(Ok(None), Process::adopt)
    }

    fn supervise(self: &Arc<Self>, process: Option<Process>) -> mpsc::Sender<Order> {
        let (orders, receiver) = mpsc::channel(4);
        self.backing_off.store(process.is_none(), Ordering::SeqCst);
        tokio::spawn(supervise(Arc::clone(self), process, receiver));
        orders
    }

    /// Makes the process of the recorded launch.
    pub(super) async fn spawn(&self) -> Result<Process, DriverError> {
        let launch = self.kept.get().launch;
        for &port in &launch.ports {
            free(&launch.node.node, port).await?;
        }
        self.change(|record| record.starting = true).await?;
        let mut spawned = Process::spawn(&self.program, &launch, &self.log);
        let run = spawned.as_ref().ok().map(|process| process.run.clone());
        let written = self.change(|record| {
            record.run = run;
            record.starting = false;
        });
        if let Err(error) = written.await {
            // A process that is not written down is one that nobody knows after the next start of the platform.
            if let Ok(process) = &mut spawned {
                process.stop(Duration::ZERO).await;
            }
            return Err(error);
        }
        spawned
    }

    pub(super) fn observe(&self) -> Observed {
        let record = self.kept.get();
        let run = record.run.filter(is_alive);
        let state = match (&run, record.wanted) {
            (Some(_), _) => RunState::Running,
            (None, Wanted::Running) => RunState::BackingOff,
            (None, Wanted::Stopped) => RunState::Stopped,
        };
        let (cpu_ms, memory) = run.as_ref().and_then(|run| figures(run.pid)).unzip();
        Observed {
            node: record.launch.node.node,
            state,
            pid: run.as_ref().map(|run| run.pid),
            container: None,
            started_at: run.as_ref().map(|run| run.at),
            restarts: record.restarts,
            last_exit: record.last_exit,
            cpu_ms,
            memory,
            disk: self.disk.look(&record.launch.folder),
        }
    }
}

fn keep(record: &mut Record, running: &Process) {
    record.run = Some(running.run.clone());
    record.starting = false;
    record.wanted = Wanted::Running;
}

async fn stop_supervised(orders: &mpsc::Sender<Order>, grace: Duration) -> Stopped {
    let (reply, stopped) = oneshot::channel();
    if orders.send(Order::Stop { grace, reply }).await.is_err() {
        return Stopped::AlreadyStopped;
    }
    stopped.await.unwrap_or(Stopped::AlreadyStopped)
}

/// Fails when something listens on a port that a node needs.
async fn free(node: &str, port: u16) -> Result<(), DriverError> {
    const TRIES: u32 = 10;
    for attempt in 0..TRIES {
        let Err(error) = TcpListener::bind(("127.0.0.1", port)) else { return Ok(()) };
        let owner = konsort_node::ports::describe_owner(port);
        // Without a listener it is a connection's own end, gone in a moment, or a program that is just ending.
        if owner.is_some() || attempt + 1 == TRIES {
            let why = owner.map_or_else(|| error.to_string(), |owner| format!("{owner} listens there"));
            return Err(DriverError::PortTaken { node: node.to_owned(), port, why });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
