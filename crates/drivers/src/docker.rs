//! Nodes as containers of a Docker Engine or of podman's compatible socket on this machine.
//!
//! The image is made here out of our own program, once per build of it; nothing is pulled. Each network of the platform is a network
//! of the engine on which nodes find each other by host name; ports are published on this machine's loopback address only.

mod container;
mod engine;
mod image;
mod logs;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::{ContainerInspectResponse, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
};
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::disk::DiskUse;
use super::record::{Kept, Record, Records, Wanted};
use super::{Driver, DriverError, DriverKind, Launch, NodeRef, Observed, RunState, Stopped, through};
use container::{container_name, network_name};
use engine::{Engine, is_absent, is_already};

/// How long a node may take to end where the caller does not say.
const GRACE: Duration = Duration::from_secs(10);
/// How long the engine may take to say what a container uses.
const STATS: Duration = Duration::from_secs(2);

/// Runs nodes as containers.
#[derive(Debug)]
pub struct DockerDriver {
    shared: Arc<Shared>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    program: PathBuf,
    records: Records,
    /// Name of the image, once it was made or found; held while it is looked for.
    image: tokio::sync::Mutex<Option<String>>,
    /// Held while a network is looked for and made: engines allow two of the same name.
    networks: tokio::sync::Mutex<()>,
    nodes: Mutex<BTreeMap<NodeRef, Arc<Placed>>>,
}

/// A node and what is remembered of it.
#[derive(Debug)]
struct Placed {
    kept: Kept,
    /// Held while something is done to its container.
    turn: tokio::sync::Mutex<()>,
    /// Restarts by the engine itself, as last seen; the engine forgets them with the container.
    counted: AtomicU32,
    disk: DiskUse,
}

impl Placed {
    /// What the engine has counted, or had when there was a container.
    fn count(&self, found: Option<&ContainerInspectResponse>) -> u32 {
        if let Some(found) = found {
            let count = u32::try_from(found.restart_count.unwrap_or_default()).unwrap_or_default();
            self.counted.store(count, Ordering::SeqCst);
        }
        self.counted.load(Ordering::SeqCst)
    }
}

impl DockerDriver {
    /// A driver for the engine at `endpoint` (`unix:///path` or `tcp://127.0.0.1:port`; without one, Docker's or podman's usual
    /// socket), which runs `program` (our own binary) and keeps its records in `state_dir`. Nothing is contacted before the first
    /// call.
    pub fn new(endpoint: Option<&str>, program: PathBuf, state_dir: PathBuf) -> Self {
        let shared = Shared {
            engine: Engine::new(endpoint),
            program,
            records: Records::new(state_dir),
            image: tokio::sync::Mutex::default(),
            networks: tokio::sync::Mutex::default(),
            nodes: Mutex::default(),
        };
        Self { shared: Arc::new(shared), watcher: Mutex::default() }
    }

    /// Takes a running node off its network: nobody reaches it and it reaches nobody.
    pub async fn disconnect(&self, node: &NodeRef) -> Result<(), DriverError> {
        let request = NetworkDisconnectRequest { container: container_name(node), force: None };
        let docker = self.shared.engine.docker().await?;
        let done = docker.disconnect_network(&network_name(&node.network), request).await;
        done.map_err(|error| self.shared.engine.explain(&format!("disconnect {}", node.node), error))
    }

    /// Puts a disconnected node back.
    pub async fn reconnect(&self, node: &NodeRef) -> Result<(), DriverError> {
        let what = format!("reconnect {}", node.node);
        let Some(placed) = self.shared.known(node)? else {
            return Err(DriverError::Failed { what, why: "the node was never started here".to_owned() });
        };
        let docker = self.shared.engine.docker().await?;
        let request = container::connection(&placed.kept.get().launch);
        let done = docker.connect_network(&network_name(&node.network), request).await;
        done.map_err(|error| self.shared.engine.explain(&what, error))
    }

    /// From the first node on, somebody looks after all of them.
    fn watch(&self) {
        let mut watcher = self.watcher.lock();
        if watcher.as_ref().is_none_or(JoinHandle::is_finished) {
            *watcher = Some(tokio::spawn(watch::watch(Arc::clone(&self.shared))));
        }
    }
}

impl Drop for DockerDriver {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get_mut().take() {
            watcher.abort();
        }
    }
}

impl Shared {
    fn known(&self, node: &NodeRef) -> Result<Option<Arc<Placed>>, DriverError> {
        let mut nodes = self.nodes.lock();
        if let Some(known) = nodes.get(node) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(record) = self.records.load(node)? else { return Ok(None) };
        let known = self.placed(record);
        nodes.insert(node.clone(), Arc::clone(&known));
        Ok(Some(known))
    }

    fn known_or_new(&self, launch: &Launch) -> Result<Arc<Placed>, DriverError> {
        if let Some(known) = self.known(&launch.node)? {
            return Ok(known);
        }
        // An id that is no file name is none for a container either.
        self.records.path(&launch.node, "json")?;
        self.records.prepare()?;
        let fresh = self.placed(Record::new(launch));
        Ok(Arc::clone(self.nodes.lock().entry(launch.node.clone()).or_insert(fresh)))
    }

    fn placed(&self, record: Record) -> Arc<Placed> {
        Arc::new(Placed {
            kept: Kept::new(&self.records, record),
            turn: tokio::sync::Mutex::default(),
            counted: AtomicU32::new(0),
            disk: DiskUse::default(),
        })
    }

    async fn inspect(&self, node: &NodeRef) -> Result<Option<ContainerInspectResponse>, DriverError> {
        match self.engine.docker().await?.inspect_container(&container_name(node), None).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.engine.explain(&format!("look at the container of {}", node.node), error)),
        }
    }

    /// The name of the image, which is there: somebody may have removed it since it was made.
    async fn image(&self) -> Result<String, DriverError> {
        let mut known = self.image.lock().await;
        if let Some(name) = known.as_ref()
            && image::is_there(&self.engine, name).await?
        {
            return Ok(name.clone());
        }
        let name = image::ensure(&self.engine, &self.program).await?;
        *known = Some(name.clone());
        Ok(name)
    }

    async fn network(&self, network: &str) -> Result<(), DriverError> {
        let _one_at_a_time = self.networks.lock().await;
        let docker = self.engine.docker().await?;
        let name = network_name(network);
        let explain = |error| self.engine.explain(&format!("make the network {name}"), error);
        match docker.inspect_network(&name, None).await {
            Ok(_) => return Ok(()),
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(explain(error)),
        }
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            labels: Some(container::labels(network)),
            ..NetworkCreateRequest::default()
        };
        match docker.create_network(request).await {
            Ok(_) => Ok(()),
            Err(error) if is_already(&error) => Ok(()),
            Err(error) => Err(explain(error)),
        }
    }

    /// Makes a node's container run, whatever there was before. A start that fails leaves no container.
    async fn place(&self, launch: &Launch) -> Result<(), DriverError> {
        let docker = self.engine.docker().await?;
        let name = container_name(&launch.node);
        let what = format!("start the container of {}", launch.node.node);
        let found = self.inspect(&launch.node).await?;
        if let Some(found) = found {
            let running = found.state.as_ref().and_then(|state| state.running) == Some(true);
            let same = container::is_for(&found, launch);
            if same && running {
                return Ok(());
            }
            let image = found.config.as_ref().and_then(|config| config.image.as_deref());
            if same && image == Some(self.image().await?.as_str()) {
                let started = docker.start_container(&name, None).await;
                return started.map_err(|error| container::refine(self.engine.explain(&what, error), launch));
            }
            // Another launch, or another build of the program.
            self.halt(&launch.node, GRACE).await?;
            self.discard(&launch.node).await?;
        }
        let image = self.image().await?;
        self.network(&launch.node.network).await?;
        let body = container::body(launch, &image, self.engine.is_rootless().await?)?;
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let created = docker.create_container(Some(options), body).await;
        created.map_err(|error| self.engine.explain(&what, error))?;
        if let Err(error) = docker.start_container(&name, None).await {
            let error = container::refine(self.engine.explain(&what, error), launch);
            self.discard(&launch.node).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Stops a container if it runs.
    async fn halt(&self, node: &NodeRef, grace: Duration) -> Result<Stopped, DriverError> {
        let running = |found: &Option<ContainerInspectResponse>| {
            let state = found.as_ref().and_then(|found| found.state.as_ref());
            state.is_some_and(|state| state.running == Some(true) || state.restarting == Some(true))
        };
        if !running(&self.inspect(node).await?) {
            return Ok(Stopped::AlreadyStopped);
        }
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        // The request lasts as long as the node takes.
        let docker = self.engine.docker().await?.clone().with_timeout(grace + Duration::from_mins(1));
        match docker.stop_container(&container_name(node), Some(options)).await {
            Ok(()) => {}
            Err(error) if is_absent(&error) || is_already(&error) => return Ok(Stopped::AlreadyStopped),
            Err(error) => return Err(self.engine.explain(&format!("stop the container of {}", node.node), error)),
        }
        let state = self.inspect(node).await?.and_then(|found| found.state).unwrap_or_default();
        Ok(if state.exit_code == Some(137) { Stopped::Forced } else { Stopped::Gracefully })
    }

    async fn discard(&self, node: &NodeRef) -> Result<(), DriverError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.engine.docker().await?.remove_container(&container_name(node), Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            // Its removal is under way already.
            Err(error) if is_already(&error) => Ok(()),
            Err(error) => Err(self.engine.explain(&format!("remove the container of {}", node.node), error)),
        }
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        let placed = self.known_or_new(launch)?;
        let _turn = placed.turn.lock().await;
        placed
            .kept
            .change(|record| {
                record.launch = launch.clone();
                record.wanted = Wanted::Running;
            })
            .await?;
        if let Err(error) = self.place(launch).await {
            // A start that failed has not happened: nothing tries again behind the caller's back.
            placed.kept.change(|record| record.wanted = Wanted::Stopped).await?;
            return Err(error);
        }
        Ok(())
    }

    async fn stop(&self, node: &NodeRef, grace: Duration) -> Result<Stopped, DriverError> {
        let Some(placed) = self.known(node)? else { return Ok(Stopped::AlreadyStopped) };
        let _turn = placed.turn.lock().await;
        placed.kept.change(|record| record.wanted = Wanted::Stopped).await?;
        self.halt(node, grace).await
    }

    async fn remove(&self, node: &NodeRef) -> Result<(), DriverError> {
        if let Some(placed) = self.known(node)? {
            let _turn = placed.turn.lock().await;
            placed.kept.change(|record| record.wanted = Wanted::Stopped).await?;
            self.halt(node, GRACE).await?;
            self.discard(node).await?;
            self.nodes.lock().remove(node);
        }
        self.records.remove(node)?;
        if !self.records.list(&node.network)?.is_empty() {
            return Ok(());
        }
        // The network goes with its last node.
        let _one_at_a_time = self.networks.lock().await;
        match self.engine.docker().await?.remove_network(&network_name(&node.network)).await {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => {
                Err(self.engine.explain(&format!("remove the network {}", network_name(&node.network)), error))
            }
        }
    }

    async fn adopt(&self, launches: &[Launch]) -> Result<(), DriverError> {
        let adopt = launches.iter().map(|launch| async move {
            let recorded = self.records.load(&launch.node)?;
            if recorded.is_some_and(|record| record.wanted == Wanted::Stopped) {
                return Ok(());
            }
            let placed = self.known_or_new(launch)?;
            let _turn = placed.turn.lock().await;
            let problem = self.place(launch).await.err();
            let change = placed.kept.change(|record| {
                record.launch = launch.clone();
                record.wanted = Wanted::Running;
                record.last_exit = problem.map(|problem| problem.to_string()).or(record.last_exit.take());
            });
            change.await
        });
        // All of them, also when one cannot be adopted.
        join_all(adopt).await.into_iter().collect()
    }

    async fn observe(&self, placed: Arc<Placed>) -> Result<Observed, DriverError> {
        let record = placed.kept.get();
        let found = self.inspect(&record.launch.node).await?;
        let state = found.as_ref().and_then(|found| found.state.clone()).unwrap_or_default();
        let running = state.running == Some(true) && state.restarting != Some(true);
        let counted = placed.count(found.as_ref());
        let (cpu_ms, memory) = if running { self.figures(&record.launch.node).await } else { (None, None) };
        Ok(Observed {
            state: match (running, record.wanted) {
                (true, _) => RunState::Running,
                (false, Wanted::Running) => RunState::BackingOff,
                (false, Wanted::Stopped) => RunState::Stopped,
            },
            pid: state.pid.filter(|_| running).and_then(|pid| u32::try_from(pid).ok()),
            container: found.and_then(|found| found.id),
            started_at: state.started_at.filter(|_| running).as_deref().and_then(container::time_ms),
            restarts: record.restarts.saturating_add(counted),
            last_exit: record.last_exit,
            cpu_ms,
            memory,
            disk: placed.disk.look(&record.launch.folder),
            node: record.launch.node.node,
        })
    }

    /// CPU milliseconds and bytes of memory; nothing when the engine does not say in time.
    async fn figures(&self, node: &NodeRef) -> (Option<u64>, Option<u64>) {
        let Ok(docker) = self.engine.docker().await else { return (None, None) };
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true).build();
        let mut stats = Box::pin(docker.stats(&container_name(node), Some(options)));
        let Ok(Some(Ok(stats))) = tokio::time::timeout(STATS, stats.next()).await else { return (None, None) };
        let usage = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage).and_then(|usage| usage.total_usage);
        let memory = stats.memory_stats.and_then(|memory| {
            let used = memory.usage?;
            // Pages of files can be given back at any time and are not the node's use; the two versions of control groups name
            // them differently.
            let details = memory.stats.unwrap_or_default();
            let cache = details.get("total_inactive_file").or_else(|| details.get("inactive_file")).copied();
            Some(used.saturating_sub(cache.unwrap_or_default()))
        });
        (usage.map(|nanoseconds| nanoseconds / 1_000_000), memory)
    }
}

#[async_trait]
impl Driver for DockerDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Docker
    }

    async fn check(&self) -> Result<(), DriverError> {
        let answer = self.shared.engine.docker().await?.ping().await;
        answer.map_err(|error| self.shared.engine.explain("ask whether the container engine is there", error))?;
        self.shared.records.prepare()
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        self.watch();
        let (shared, launch) = (Arc::clone(&self.shared), launch.clone());
        through(async move { shared.start(&launch).await }).await
    }

    async fn stop(&self, node: &NodeRef, grace: Duration) -> Result<Stopped, DriverError> {
        let (shared, node) = (Arc::clone(&self.shared), node.clone());
        through(async move { shared.stop(&node, grace).await }).await
    }

    async fn remove(&self, node: &NodeRef) -> Result<(), DriverError> {
        let (shared, node) = (Arc::clone(&self.shared), node.clone());
        through(async move { shared.remove(&node).await }).await
    }

    /// Nodes that were stopped on request stay stopped; those that run with their launch are left alone. One that cannot be
    /// started now is tried again later and keeps no other from starting.
    async fn adopt(&self, launches: &[Launch]) -> Result<(), DriverError> {
        self.watch();
        self.check().await?;
        let (shared, launches) = (Arc::clone(&self.shared), launches.to_vec());
        through(async move { shared.adopt(&launches).await }).await
    }

    async fn observe(&self, network: &str) -> Result<Vec<Observed>, DriverError> {
        let mut placed = Vec::new();
        for node in self.shared.records.list(network)? {
            placed.extend(self.shared.known(&node)?);
        }
        join_all(placed.into_iter().map(|placed| self.shared.observe(placed))).await.into_iter().collect()
    }

    async fn logs(&self, node: &NodeRef, tail: usize, follow: bool) -> Result<BoxStream<'static, String>, DriverError> {
        if self.shared.inspect(node).await?.is_none() {
            let what = format!("read the log of {}", node.node);
            return Err(DriverError::Failed { what, why: "it has no container; start it first".to_owned() });
        }
        Ok(logs::lines(self.shared.engine.docker().await?.clone(), container_name(node), tail, follow))
    }

    fn reachable(&self, _node: &NodeRef, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn between_nodes(&self, launch_hostname: &str, port: u16) -> String {
        format!("{launch_hostname}:{port}")
    }

    fn listen_address(&self) -> &'static str {
        "0.0.0.0"
    }

    fn program(&self) -> &Path {
        Path::new(image::PROGRAM)
    }
}
