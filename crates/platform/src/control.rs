//! What runs behind the API: networks with their engines and drivers, operations, the index, events, what nodes say of themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konsort_drivers::docker::DockerDriver;
use konsort_drivers::external::ExternalDriver;
use konsort_drivers::process::ProcessDriver;
use konsort_drivers::{Driver, DriverKind, NodeRef};
use konsort_engines::spec::EngineKind;
use konsort_engines::{Act, Engine, bcos::Bcos, fabric::Fabric};
use konsort_node::Environment;
use konsort_workbench::Tools;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Caller, table};
use crate::contracts::known::Contracts;
use crate::db::{Db, DbError, Kind, Record, Repository};
use crate::events::Outbox;
use crate::index::Index;
use crate::live::Live;
use crate::networks::model::NetworkDoc;
use crate::operations::runner::Runner;
use crate::problem::{Problem, kinds};
use crate::projects::tools::Workshop;

/// The engines and drivers of a platform.
#[derive(Debug, Clone)]
pub struct Adapters {
    /// By kind of network.
    pub engines: BTreeMap<EngineKind, Arc<dyn Engine>>,
    /// One per kind of place.
    pub drivers: Vec<Arc<dyn Driver>>,
    /// The driver of nodes that somebody else runs, which is told their endpoints.
    pub external: Arc<ExternalDriver>,
}

impl Adapters {
    /// Both engines and every driver; nodes run `program`, drivers keep their records in the data folder.
    pub fn all(program: &Path, data: &Path, environment: &Environment) -> Self {
        let state = data.join("drivers");
        let engines: [Arc<dyn Engine>; 2] =
            [Arc::new(Fabric::new(environment)), Arc::new(Bcos::new(program.to_owned()))];
        let external = Arc::new(ExternalDriver::new());
        Self {
            engines: engines.into_iter().map(|engine| (engine.kind(), engine)).collect(),
            drivers: vec![
                Arc::new(ProcessDriver::new(program.to_owned(), state.join("process"))),
                Arc::new(DockerDriver::new(environment.get("DOCKER_HOST"), program.to_owned(), state.join("docker"))),
                Arc::<ExternalDriver>::clone(&external),
            ],
            external,
        }
    }
}

/// What runs behind the API.
#[derive(Debug)]
pub struct Control {
    pub(crate) repository: Repository,
    pub(crate) folder: PathBuf,
    adapters: Adapters,
    pub(crate) outbox: Outbox,
    pub(crate) runner: Runner,
    pub(crate) index: Index,
    pub(crate) live: Live,
    pub(crate) contracts: Contracts,
    tools: Tools,
    /// Opened when it is first used.
    workshop: std::sync::OnceLock<Result<Workshop, Problem>>,
    /// Told when a network appeared, changed or went.
    pub(crate) changed: Notify,
    /// Held while a network is planned.
    pub(crate) planning: tokio::sync::Mutex<()>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// A network with what it takes to act on it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) record: Record<NetworkDoc>,
    pub(crate) folder: PathBuf,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) driver: Arc<dyn Driver>,
}

impl Network {
    /// As engines take it.
    pub(crate) fn place(&self) -> konsort_engines::Place<'_> {
        konsort_engines::Place { spec: &self.record.doc.spec, folder: &self.folder, driver: &self.driver }
    }

    /// What it should be.
    pub(crate) fn spec(&self) -> &konsort_engines::NetworkSpec {
        &self.record.doc.spec
    }

    /// The organisation on the platform that one of the network belongs to: its own record, or, without one, who made the network.
    pub(crate) fn owner(&self, organisation: &str) -> Option<&str> {
        let found = self.spec().organisations.iter().find(|candidate| candidate.name == organisation);
        found.and_then(|found| found.id.as_deref()).or(self.record.organisation.as_deref())
    }
}

/// Whether a caller may change what belongs to an organisation.
pub(crate) fn must_own(caller: &Caller, owner: Option<&str>) -> Result<(), Problem> {
    let own = caller.scope().organisation;
    if own.is_none() || own.as_deref() == owner {
        return Ok(());
    }
    Err(Problem::new(&kinds::FORBIDDEN).details("this belongs to another organisation", "该对象属于其他组织"))
}

/// Whether a caller may do this to a network, now or again: everything but contracts is for those who run networks, and everybody
/// acts on the things of their own organisation; on the network as a whole acts the one that made it. Contracts have a rule of
/// their own, [`crate::contracts::acting_organisation`].
pub(crate) fn may_act(network: &Network, caller: &Caller, act: &Act) -> Result<(), Problem> {
    let whole = network.record.organisation.as_deref();
    let owner = match act {
        Act::Deploy(_) => return Ok(()),
        Act::AddNode { organisation, .. }
        | Act::IssueIdentity { organisation, .. }
        | Act::RevokeIdentity { organisation, .. } => network.owner(organisation),
        Act::RemoveNode { node } | Act::Node { node, .. } | Act::SetRole { node, .. } => {
            let found = network.spec().nodes.iter().find(|candidate| candidate.id == *node);
            found.map_or(whole, |found| network.owner(&found.organisation))
        }
        Act::Create
        | Act::Start
        | Act::Stop
        | Act::Delete
        | Act::AddOrganisation { .. }
        | Act::CreateChannel { .. }
        | Act::Configure { .. } => whole,
    };
    if !table::OPERATE.contains(&caller.role) {
        return Err(Problem::new(&kinds::FORBIDDEN).with("role", caller.role.name()));
    }
    must_own(caller, owner)
}

impl Control {
    /// Starts everything: nodes that went on running are taken over, operations that were cut off go on. `adapters` stand in for
    /// the real engines and drivers in measurements.
    pub async fn start(
        db: Db,
        folder: &Path,
        program: &Path,
        environment: &Environment,
        adapters: Option<Adapters>,
    ) -> Result<Arc<Self>, DbError> {
        let tools = Tools::new(environment.iter()).confined_by(program.to_owned());
        let adapters = adapters.unwrap_or_else(|| Adapters::all(program, folder, environment));
        let control = Arc::new(Self {
            repository: Repository::new(db.clone()),
            folder: folder.to_owned(),
            adapters,
            outbox: Outbox::open(db.clone()).await?,
            runner: Runner::default(),
            index: Index::open(&db).await?,
            live: Live::default(),
            contracts: Contracts::default(),
            tools,
            workshop: std::sync::OnceLock::new(),
            changed: Notify::new(),
            planning: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        control.tasks.spawn(crate::supervise::adopt_and_run(Arc::clone(&control)));
        Ok(control)
    }

    /// Stops watching and working; nodes go on. A running operation goes on at the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), self.tasks.wait()).await;
    }

    /// Compilers and builders.
    pub(crate) fn workshop(&self) -> Result<&Workshop, Problem> {
        self.workshop.get_or_init(|| Workshop::open(&self.folder, &self.tools)).as_ref().map_err(Clone::clone)
    }

    pub(crate) fn db(&self) -> &Db {
        self.repository.db()
    }

    /// The engine of a kind.
    pub(crate) fn engine(&self, kind: EngineKind) -> Result<Arc<dyn Engine>, Problem> {
        self.adapters
            .engines
            .get(&kind)
            .cloned()
            .ok_or_else(|| Problem::new(&kinds::UNSUPPORTED).detail(format!("{kind:?}")))
    }

    /// The driver of a kind.
    pub(crate) fn driver(&self, kind: DriverKind) -> Result<Arc<dyn Driver>, Problem> {
        self.adapters
            .drivers
            .iter()
            .find(|driver| driver.kind() == kind)
            .cloned()
            .ok_or_else(|| Problem::new(&kinds::UNSUPPORTED).detail(format!("{kind:?}")))
    }

    /// A network's folder.
    pub(crate) fn network_folder(&self, id: &str) -> PathBuf {
        self.folder.join("networks").join(id)
    }

    /// A network with what it takes to act on it.
    pub(crate) async fn network(&self, id: &str) -> Result<Network, Problem> {
        let record = self.repository.get::<NetworkDoc>(Kind::Network, id).await?;
        self.network_of(record)
    }

    /// The same of a record that was read already.
    pub(crate) fn network_of(&self, record: Record<NetworkDoc>) -> Result<Network, Problem> {
        Ok(Network {
            folder: self.network_folder(&record.id),
            engine: self.engine(record.doc.spec.engine)?,
            driver: self.driver(record.doc.spec.driver)?,
            record,
        })
    }

    /// Tells the driver of others' nodes where those of a network are.
    pub(crate) fn place_external(&self, doc: &NetworkDoc) {
        for node in &doc.spec.nodes {
            let Some(endpoints) = &node.external else { continue };
            let by_port =
                node.ports.iter().filter_map(|(name, port)| Some((*port, endpoints.get(name)?.clone()))).collect();
            let reference = NodeRef { network: doc.spec.id.clone(), node: node.id.clone() };
            self.adapters.external.place(reference, by_port);
        }
    }

    /// Forgets where others' nodes of a network are.
    pub(crate) fn forget_external(&self, network: &str) {
        self.adapters.external.forget(network);
    }

    /// Every network, whoever may see it.
    pub(crate) async fn every_network(&self) -> Result<Vec<Record<NetworkDoc>>, Problem> {
        let mut all = Vec::new();
        let mut page = crate::db::Page { size: 200, ..Default::default() };
        loop {
            let part = self.repository.list::<NetworkDoc>(Kind::Network, &crate::db::Filter::default(), &page).await?;
            all.extend(part.items);
            match part.next_page_token {
                Some(token) => page.token = Some(token),
                None => return Ok(all),
            }
        }
    }
}
