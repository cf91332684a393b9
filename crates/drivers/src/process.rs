//! Nodes as processes of this machine, with a supervisor of our own.
//!
//! A node writes straight to its log file and belongs to nobody's terminal, so it goes on when the platform ends in whatever way;
//! the next run of the platform finds it by its record. Ended nodes are started again after a pause that doubles from one second
//! to one minute, and begins anew once a node has run for a minute.

mod child;
mod node;
mod supervise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use super::record::{Records, failed};
use super::{Driver, DriverError, DriverKind, Launch, NodeRef, Observed, Stopped, through};
use node::Node;

/// What a process driver can be told; the defaults suit everybody but tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Size from which on a log is rotated, bytes.
    pub log_bytes: u64,
    /// Older parts of a log that are kept.
    pub log_parts: usize,
    /// Pause before the first restart; each further one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// How long a node must have run for the pauses to begin anew.
    pub healthy_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            log_bytes: 16 << 20,
            log_parts: 4,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(1),
            healthy_after: Duration::from_mins(1),
        }
    }
}

/// Runs nodes as processes of this machine.
#[derive(Debug)]
pub struct ProcessDriver {
    program: PathBuf,
    records: Records,
    settings: Settings,
    nodes: Mutex<BTreeMap<NodeRef, Arc<Node>>>,
}

impl ProcessDriver {
    /// A driver that runs `program` (our own binary) and keeps its records and the logs in `state_dir`. Nothing is read or
    /// written before the first call.
    pub fn new(program: PathBuf, state_dir: PathBuf) -> Self {
        Self::with_settings(program, state_dir, Settings::default())
    }

    /// The same with other limits and pauses.
    pub fn with_settings(program: PathBuf, state_dir: PathBuf, settings: Settings) -> Self {
        Self { program, records: Records::new(state_dir), settings, nodes: Mutex::default() }
    }

    /// The node with its record as the disk has it; none when it was never started.
    fn known(&self, node: &NodeRef) -> Result<Option<Arc<Node>>, DriverError> {
        let mut nodes = self.nodes.lock();
        if let Some(known) = nodes.get(node) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(record) = self.records.load(node)? else { return Ok(None) };
        let known = Arc::new(Node::new(&self.program, &self.records, self.settings, record)?);
        nodes.insert(node.clone(), Arc::clone(&known));
        Ok(Some(known))
    }

    fn known_or_new(&self, launch: &Launch) -> Result<Arc<Node>, DriverError> {
        if let Some(known) = self.known(&launch.node)? {
            return Ok(known);
        }
        self.records.prepare()?;
        let record = super::record::Record::new(launch);
        let fresh = Arc::new(Node::new(&self.program, &self.records, self.settings, record)?);
        Ok(Arc::clone(self.nodes.lock().entry(launch.node.clone()).or_insert(fresh)))
    }
}

impl Drop for ProcessDriver {
    /// Lets the nodes run and stops looking after them: another driver may.
    fn drop(&mut self) {
        for node in self.nodes.get_mut().values() {
            node.release();
        }
    }
}

#[async_trait]
impl Driver for ProcessDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Process
    }

    async fn check(&self) -> Result<(), DriverError> {
        let what = format!("run {}", self.program.display());
        let metadata = std::fs::metadata(&self.program).map_err(|error| failed(&what, &error))?;
        if !metadata.is_file() {
            return Err(DriverError::Failed { what, why: "it is not a file".to_owned() });
        }
        self.records.prepare()
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        let (node, launch) = (self.known_or_new(launch)?, launch.clone());
        through(async move { node.start(&launch).await }).await
    }

    async fn stop(&self, node: &NodeRef, grace: Duration) -> Result<Stopped, DriverError> {
        match self.known(node)? {
            Some(known) => through(async move { known.stop(grace).await }).await,
            None => Ok(Stopped::AlreadyStopped),
        }
    }

    async fn remove(&self, node: &NodeRef) -> Result<(), DriverError> {
        if let Some(known) = self.known(node)? {
            through(async move { known.stop(node::GRACE).await }).await?;
            self.nodes.lock().remove(node);
        }
        self.records.remove(node)
    }

    /// Nodes that were stopped on request stay stopped; those that ended meanwhile are started again. One that cannot be started
    /// now (its port is taken) is tried again later and keeps no other from starting.
    async fn adopt(&self, launches: &[Launch]) -> Result<(), DriverError> {
        self.records.prepare()?;
        let adopt = launches.iter().map(|launch| async move {
            let (node, launch) = (self.known_or_new(launch)?, launch.clone());
            through(async move { node.adopt(&launch).await }).await
        });
        join_all(adopt).await.into_iter().collect()
    }

    async fn observe(&self, network: &str) -> Result<Vec<Observed>, DriverError> {
        let mut known = Vec::new();
        for node in self.records.list(network)? {
            known.extend(self.known(&node)?);
        }
        Ok(known.iter().map(|node| node.observe()).collect())
    }

    async fn logs(&self, node: &NodeRef, tail: usize, follow: bool) -> Result<BoxStream<'static, String>, DriverError> {
        let what = || format!("read the log of {}", node.node);
        let Some(known) = self.known(node)? else {
            return Err(DriverError::Failed { what: what(), why: "the node was never started here".to_owned() });
        };
        let lines = tokio::task::spawn_blocking(move || known.log().lines(tail, follow)).await;
        lines.map_err(|error| failed(&what(), &error))?.map_err(|error| failed(&what(), &error))
    }

    fn reachable(&self, _node: &NodeRef, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn between_nodes(&self, _launch_hostname: &str, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn program(&self) -> &Path {
        &self.program
    }
}
