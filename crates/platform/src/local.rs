//! A whole network on this machine, each node its own process.
//!
//! Everything of a network lies in one data folder: the plan (`network.json`), certificates, the genesis block, and per node a
//! folder with its configuration, ledger and log. A start reads the plan back, so a second start continues the same ledger.

mod bring_up;
pub mod chain;
mod files;
mod process;
mod report;
mod spec;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub use bring_up::{SAMPLE, Step};
pub use process::NodeProcess;
pub use report::{IdentityReport, NodeReport, NodeStatus, Report};
pub use spec::{Layout, NetworkSpec, NodeSpec, Ports, Request, Role};

/// How long nodes get to write what they hold before they are ended.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What can go wrong with a local network.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The request does not make sense.
    #[error("{0}")]
    Request(String),
    /// A file or process operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A file of the data folder is not what it should be.
    #[error("{} cannot be read: {why}; restore it or remove the folder with `konsort down`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A port that a node needs is in use.
    #[error(
        "{node} cannot listen on port {port}: {why}; stop that program, or make a network in another folder with --ports free --data DIR"
    )]
    PortTaken {
        /// The node.
        node: String,
        /// The port.
        port: u16,
        /// Who has it.
        why: String,
    },
    /// A node ended while the network was being started.
    #[error("{node} stopped while starting; the end of its log ({}):\n{tail}", log.display())]
    NodeStopped {
        /// The node.
        node: String,
        /// Its log file.
        log: PathBuf,
        /// The end of that file.
        tail: String,
    },
    /// A node runs but did not become ready.
    #[error("{node} did not answer on {endpoint} within {seconds} s; see {}", log.display())]
    NotReady {
        /// The node.
        node: String,
        /// Where it should listen.
        endpoint: String,
        /// How long it was waited for.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
    },
    /// A step over the nodes' own protocols failed.
    #[error("{step} failed: {why}")]
    Step {
        /// What was being done.
        step: String,
        /// What the node answered.
        why: String,
    },
    /// Another command is changing the same network.
    #[error("another konsort command is working on {}; wait until it has ended", .0.display())]
    Busy(PathBuf),
    /// There is no network in the folder.
    #[error("there is no network in {}; make one with `konsort up`", .0.display())]
    NoNetwork(PathBuf),
    /// The network is already running.
    #[error("the network in {} is already running; see `konsort status`, end it with `konsort down`", .0.display())]
    AlreadyRunning(PathBuf),
    /// A name that no node has.
    #[error("there is no node {name}; the nodes are {known}")]
    NoSuchNode {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
}

/// A network and its data folder.
#[derive(Debug)]
pub struct LocalNetwork {
    layout: Layout,
    spec: NetworkSpec,
    /// Held (advisory) as long as this value lives, so that two commands do not change one network.
    _lock: Option<File>,
    started: Instant,
}

impl LocalNetwork {
    /// Opens the network of a data folder, making it (plan, certificates, genesis block, configuration files) when there is none.
    pub fn open_or_create(data: &Path, request: &Request) -> Result<Self, LocalError> {
        let started = Instant::now();
        let (data, lock) = claim(data)?;
        let layout = Layout::new(&data);
        let spec = if layout.spec_file().exists() {
            read_plan(&layout.spec_file())?
        } else {
            let spec = NetworkSpec::plan(request)?;
            // Before anything is written: a plan with ports that are taken would stay.
            check_ports(&spec)?;
            bring_up::make_files(&layout, &spec)?;
            // Written last: a folder with a plan has everything else.
            files::write(&layout.spec_file(), &to_json(&spec))?;
            spec
        };
        Ok(Self { layout, spec, _lock: Some(lock), started })
    }

    /// Opens the network of a data folder to look at it.
    pub fn open(data: &Path) -> Result<Self, LocalError> {
        let data = data.canonicalize().map_err(|_| LocalError::NoNetwork(data.to_path_buf()))?;
        let layout = Layout::new(&data);
        if !layout.spec_file().exists() {
            return Err(LocalError::NoNetwork(data));
        }
        Ok(Self { spec: read_plan(&layout.spec_file())?, layout, _lock: None, started: Instant::now() })
    }

    /// The plan.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Paths in the data folder.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Starts every node, and does what is still to do of: join the channel, install, approve and commit the sample contract, commit
    /// a first transaction. Returns once that transaction is committed on every peer.
    ///
    /// When anything fails the nodes that were started are stopped again.
    pub async fn up(&self, program: &Path, progress: &(dyn Fn(Step) + Sync)) -> Result<Report, LocalError> {
        if self.processes().iter().any(NodeProcess::is_running) {
            return Err(LocalError::AlreadyRunning(self.layout.root().to_path_buf()));
        }
        check_ports(&self.spec)?;
        let mut processes = Vec::new();
        for node in &self.spec.nodes {
            progress(Step::Starting(node.name.clone()));
            match NodeProcess::start(&node.name, self.command(program, node), &self.layout.log(node)) {
                Ok(process) => processes.push(process),
                Err(error) => {
                    process::stop_all(&processes, STOP_GRACE);
                    return Err(error);
                }
            }
        }
        let outcome = match files::write(&self.layout.run_file(), &to_json(&processes)) {
            Ok(()) => bring_up::run(&self.layout, &self.spec, &processes, progress).await,
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            process::stop_all(&processes, STOP_GRACE);
        }
        outcome?;
        Ok(report::report(&self.layout, &self.spec, &processes, Some(self.started.elapsed())))
    }

    fn command(&self, program: &Path, node: &NodeSpec) -> Command {
        let folder = self.layout.node(node);
        let mut command = Command::new(program);
        match node.role {
            Role::Orderer => command.args(["orderer", "start"]),
            Role::Peer => command.args(["peer", "node", "start"]),
        };
        command.env("FABRIC_CFG_PATH", &folder).current_dir(&folder);
        command
    }

    /// The processes of the last start, running or not.
    pub fn processes(&self) -> Vec<NodeProcess> {
        process::read_all(&self.layout.run_file())
    }

    /// What runs where.
    pub fn report(&self) -> Report {
        report::report(&self.layout, &self.spec, &self.processes(), None)
    }

    /// Each node with its process state and, for peers, the height of the channel's ledger.
    pub async fn status(&self) -> Vec<NodeStatus> {
        report::status(&self.layout, &self.spec, &self.processes()).await
    }

    /// Stops all nodes; returns the names of those that had to be ended by force.
    pub fn stop(&self) -> Result<Vec<String>, LocalError> {
        let forced = process::stop_all(&self.processes(), STOP_GRACE);
        files::write(&self.layout.run_file(), b"[]\n")?;
        Ok(forced)
    }

    /// Stops all nodes and removes the data folder.
    pub fn remove(self) -> Result<(), LocalError> {
        self.stop()?;
        let root = self.layout.root().to_path_buf();
        // Only what this module makes is removed; a folder that holds anything else of the user's stays.
        for entry in ["nodes", "crypto"] {
            remove_if_there(&root.join(entry), |path| std::fs::remove_dir_all(path))?;
        }
        for entry in ["network.json", "run.json", "genesis.block", "crypto-config.yaml", "configtx.yaml", "lock"] {
            remove_if_there(&root.join(entry), |path| std::fs::remove_file(path))?;
        }
        let _not_empty = std::fs::remove_dir(&root);
        Ok(())
    }

    /// The log file of a node, by its full name or the part before the first dot when that is unique.
    pub fn log_of(&self, name: &str) -> Result<PathBuf, LocalError> {
        let matching: Vec<&NodeSpec> = self
            .spec
            .nodes
            .iter()
            .filter(|node| node.name == name || node.name.starts_with(&format!("{name}.")))
            .collect();
        match matching[..] {
            [node] => Ok(self.layout.log(node)),
            _ => Err(LocalError::NoSuchNode {
                name: name.to_owned(),
                known: self.spec.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

fn check_ports(spec: &NetworkSpec) -> Result<(), LocalError> {
    for node in &spec.nodes {
        for port in [node.port, node.second_port, node.operations_port] {
            if let Some(why) = bring_up::port_in_use(port) {
                return Err(LocalError::PortTaken { node: node.name.clone(), port, why });
            }
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path, remove: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), LocalError> {
    match remove(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::Io { what: format!("remove {}", path.display()), source })
        }
        _ => Ok(()),
    }
}

/// Makes the data folder and keeps a second command from working on it as long as the file is open.
fn claim(data: &Path) -> Result<(PathBuf, File), LocalError> {
    let io = |what: &str, path: &Path| {
        let what = format!("{what} {}", path.display());
        move |source| LocalError::Io { what, source }
    };
    std::fs::create_dir_all(data).map_err(io("make the data folder", data))?;
    let root = data.canonicalize().map_err(io("resolve the data folder", data))?;
    let path = root.join("lock");
    let file = File::create(&path).map_err(io("lock", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((root, file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LocalError::Busy(root)),
        Err(error) => Err(io("lock", &path)(error.into())),
    }
}

/// Reads the plan of a network or chain, whose format is 1.
fn read_plan<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LocalError> {
    let bytes =
        std::fs::read(path).map_err(|source| LocalError::Io { what: format!("read {}", path.display()), source })?;
    let damaged = |why: String| LocalError::Damaged { path: path.to_path_buf(), why };
    let plan: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if plan["version"] != 1 {
        return Err(damaged(format!("its format is {}, this program knows 1", plan["version"])));
    }
    serde_json::from_value(plan).map_err(|error| damaged(error.to_string()))
}

fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}
