//! Steps at work: files, starting and stopping, waiting.
//!
//! Every step looks first at what is there, so that running it again ends in the same state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_sol_types::SolCall as _;
use konsort_drivers::{Launch, NodeRef, RunState};
use serde_json::{Map, Value, json};

use super::rpc::{Client, RpcError, RpcResult, first};
use super::send::Content;
use super::{Bcos, accounts, contracts, files};
use crate::spec::{NetworkSpec, NodeSpec};
use crate::{Act, EngineError, Place, Progress, StepOutcome, StepPlan};

/// How long a node may take to answer after its start: it may replay many blocks.
const READY: Duration = Duration::from_secs(90);
/// How long the nodes may take to agree.
const AGREE: Duration = Duration::from_mins(1);
/// After this a majority is enough; a node that is missing shows in the network's health.
const ALL: Duration = Duration::from_secs(10);
/// How long a new node may take to fetch every block.
const SYNC: Duration = Duration::from_mins(30);
/// How long a node may take to end before it is ended.
const GRACE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// A result with one member.
pub(super) fn result(name: &str, value: impl Into<Value>) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

fn not_done(what: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::Io { what: what.into(), source: std::io::Error::other(why.into()) }
}

/// How a node is started.
pub(super) fn launch(place: Place<'_>, node: &NodeSpec) -> Launch {
    let mut args: Vec<String> = ["fisco-bcos", "-c", "config.ini", "-g", "config.genesis"].map(str::to_owned).into();
    for channel in place.spec.channels.iter().skip(1).filter(|channel| channel.nodes.contains(&node.id)) {
        args.extend(["-g".to_owned(), files::genesis_name(place.spec, &channel.name)]);
    }
    Launch {
        node: super::reference(place.spec, &node.id),
        hostname: node.hostname.clone(),
        args,
        env: std::collections::BTreeMap::new(),
        folder: files::node(place.folder, &node.id),
        reads: Vec::new(),
        ports: node.ports.values().copied().collect(),
        memory: None,
    }
}

/// The node of a step's name: what follows the first word.
fn named<'a>(place: Place<'a>, step: &str) -> Result<&'a NodeSpec, EngineError> {
    let id = step.split_once(' ').map_or("", |(_, id)| id);
    place.spec.node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id:?}") })
}

impl Bcos {
    pub(super) async fn run_step(
        &self,
        place: Place<'_>,
        act: &Act,
        step: &StepPlan,
        progress: Progress<'_>,
    ) -> Result<StepOutcome, EngineError> {
        let word = step.name.split(' ').next().unwrap_or_default();
        let changed = |spec: NetworkSpec| StepOutcome { spec: Some(spec), result: Map::new() };
        let produced = |result: Map<String, Value>| StepOutcome { spec: None, result };
        match (act, word) {
            (Act::Create, "files") => self.create_files(place, progress).await.map(changed),
            (Act::AddNode { organisation, role, channels }, "files") => {
                self.node_files(place, step, organisation, role, channels).await.map(changed)
            }
            (Act::AddOrganisation { organisation, channels }, "files") => {
                self.organisation_files(place, organisation, channels, progress).await.map(changed)
            }
            (Act::CreateChannel { name, organisations }, "group") => {
                Self::group_files(place, name, organisations).map(changed)
            }
            (Act::CreateChannel { name, .. }, "first") => self.first_block(place, name).await.map(produced),
            (Act::Create, "first") => {
                let group = place.spec.channels.first().map_or("", |group| group.name.as_str());
                self.first_block(place, group).await.map(produced)
            }
            (_, "start") => {
                let node = named(place, &step.name)?;
                place.driver.start(&launch(place, node)).await?;
                Ok(StepOutcome::default())
            }
            (_, "stop") => {
                let node = named(place, &step.name)?;
                place.driver.stop(&super::reference(place.spec, &node.id), GRACE).await?;
                Ok(StepOutcome::default())
            }
            (_, "ready") => {
                self.ready(place, named(place, &step.name)?).await?;
                Ok(StepOutcome::default())
            }
            (_, "agree") => self.agree(place, progress).await.map(|()| StepOutcome::default()),
            (_, "trust" | "run") => {
                self.restarted(place, named(place, &step.name)?).await.map(|()| StepOutcome::default())
            }
            (Act::Delete, "remove") => self.remove_all(place).await.map(|()| StepOutcome::default()),
            (Act::RemoveNode { .. }, "remove") => self.remove_node(place, &step.name).await.map(changed),
            (_, "observe") => self.observe(place, named(place, &step.name)?).await.map(produced),
            (_, "sync") => {
                self.synced(place, named(place, &step.name)?, progress).await.map(|()| StepOutcome::default())
            }
            (_, "seal") => self.seal(place, named(place, &step.name)?, None).await.map(produced),
            (_, "leave") => self.leave(place, named(place, &step.name)?).await.map(produced),
            (Act::SetRole { role, weight, .. }, "role") => {
                self.set_role(place, named(place, &step.name)?, role, *weight).await
            }
            (Act::Configure { channel, key, value }, "configure") => {
                let result = self.set_value(place, channel, key, value).await?;
                Ok(StepOutcome { spec: with_setting(place.spec, channel, key, value), result })
            }
            (Act::Deploy(deployment), "deploy") => self.deploy(place, deployment).await.map(produced),
            (Act::Deploy(deployment), "link") => self.link(place, deployment).await.map(produced),
            (Act::IssueIdentity { organisation, name, .. }, "issue") => {
                let key = accounts::issue(place.folder, organisation, name)?;
                Ok(produced(result("address", accounts::address(&key))))
            }
            (Act::RevokeIdentity { organisation, name }, "revoke") => {
                accounts::revoke(place.folder, organisation, name)?;
                Ok(StepOutcome::default())
            }
            _ => Err(EngineError::NotFound { what: format!("a step {:?} of this act", step.name) }),
        }
    }

    async fn create_files(&self, place: Place<'_>, progress: Progress<'_>) -> Result<NetworkSpec, EngineError> {
        let mut spec = place.spec.clone();
        for organisation in &place.spec.organisations {
            progress(format!("certificates and keys of {}", organisation.name));
            let nodes: Vec<&NodeSpec> =
                spec.nodes.iter().filter(|node| node.organisation == organisation.name).collect();
            self.make_agency(place, &organisation.name, &nodes).await?;
            accounts::issue(place.folder, &organisation.name, accounts::ADMINISTRATOR)?;
        }
        for node in &mut spec.nodes {
            node.node_id = Some(files::node_id(place.folder, &node.id)?);
        }
        let place = Place { spec: &spec, ..place };
        if let Some(group) = spec.channels.first() {
            let sealers = files::sealers(place.folder, spec.nodes.iter())?;
            let pattern = files::genesis_of(place, &group.name)?;
            files::write_genesis(place, group, &files::genesis(&spec, &pattern, &group.name, &sealers))?;
        }
        for node in &spec.nodes {
            files::configure(place, node)?;
        }
        Ok(spec)
    }

    async fn node_files(
        &self,
        place: Place<'_>,
        step: &StepPlan,
        organisation: &str,
        role: &str,
        channels: &[String],
    ) -> Result<NetworkSpec, EngineError> {
        let mut spec = place.spec.clone();
        let id = step.name.split_once(' ').map_or("", |(_, id)| id);
        if spec.node(id).is_none() {
            let number = id.strip_prefix("node").and_then(|number| number.parse().ok());
            let number = number
                .ok_or_else(|| EngineError::NotFound { what: format!("the node of the step {:?}", step.name) })?;
            let owner = spec.organisations.iter().find(|known| known.name == organisation);
            let owner =
                owner.ok_or_else(|| EngineError::NotFound { what: format!("the organisation {organisation}") })?;
            let node = super::plan::node(number, owner, role, super::plan::more_ports(&spec)?);
            self.make_node(place, &node).await?;
            joined(&mut spec, node, channels);
        }
        Self::newcomers_files(place, spec, |node| node.id == id)
    }

    async fn organisation_files(
        &self,
        place: Place<'_>,
        request: &crate::spec::OrganisationRequest,
        channels: &[String],
        progress: Progress<'_>,
    ) -> Result<NetworkSpec, EngineError> {
        let mut spec = place.spec.clone();
        if !spec.organisations.iter().any(|known| known.name == request.name) {
            progress(format!("certificates and keys of {}", request.name));
            let organisation = super::plan::organisation(request);
            let mut nodes = Vec::new();
            for (id, role) in super::steps::newcomers(&spec, request) {
                let number = id.strip_prefix("node").and_then(|number| number.parse().ok()).unwrap_or_default();
                let node = super::plan::node(number, &organisation, role, super::plan::more_ports(&spec)?);
                joined(&mut spec, node.clone(), channels);
                nodes.push(node);
            }
            let made: Vec<&NodeSpec> = nodes.iter().collect();
            self.make_agency(place, &request.name, &made).await?;
            accounts::issue(place.folder, &request.name, accounts::ADMINISTRATOR)?;
            spec.organisations.push(organisation);
            for channel in &mut spec.channels {
                if chosen(channels, &channel.name, place.spec) && !channel.organisations.contains(&request.name) {
                    channel.organisations.push(request.name.clone());
                }
            }
        }
        Self::newcomers_files(place, spec, |node| node.organisation == request.name)
    }

    /// Writes the new nodes' files and tells the old ones of them.
    fn newcomers_files(
        place: Place<'_>,
        mut spec: NetworkSpec,
        is_new: impl Fn(&NodeSpec) -> bool,
    ) -> Result<NetworkSpec, EngineError> {
        for node in spec.nodes.iter_mut().filter(|node| is_new(node)) {
            node.node_id = Some(files::node_id(place.folder, &node.id)?);
        }
        let place = Place { spec: &spec, ..place };
        // The new nodes' files come last in the specification, so this reads an old node's.
        for channel in &spec.channels {
            let text = files::genesis_of(place, &channel.name)?;
            files::write_genesis(place, channel, &text)?;
            // Every node has the first group's genesis, member or not.
            if files::genesis_name(&spec, &channel.name) == "config.genesis" {
                for node in spec.nodes.iter().filter(|node| node.external.is_none()) {
                    files::write(&files::node(place.folder, &node.id).join("config.genesis"), text.as_bytes())?;
                }
            }
        }
        for node in spec.nodes.iter().filter(|node| node.external.is_none()) {
            files::configure(place, node)?;
        }
        Ok(spec)
    }

    fn group_files(place: Place<'_>, name: &str, organisations: &[String]) -> Result<NetworkSpec, EngineError> {
        let mut spec = place.spec.clone();
        if spec.channel(name).is_none() {
            let nodes =
                spec.nodes.iter().filter(|node| organisations.contains(&node.organisation) && node.external.is_none());
            let channel = crate::spec::ChannelSpec {
                name: name.to_owned(),
                organisations: organisations.to_vec(),
                nodes: nodes.map(|node| node.id.clone()).collect(),
            };
            spec.channels.push(channel);
        }
        let first = spec.channels.first().map_or("", |group| group.name.as_str());
        let pattern = files::genesis_of(place, first)?;
        let place = Place { spec: &spec, ..place };
        if let Some(channel) = spec.channel(name) {
            let members = spec.nodes.iter().filter(|node| channel.nodes.contains(&node.id));
            let sealers = files::sealers(place.folder, members)?;
            files::write_genesis(place, channel, &files::genesis(&spec, &pattern, name, &sealers))?;
        }
        Ok(spec)
    }

    /// Waits until a node answers about each of its groups.
    async fn ready(&self, place: Place<'_>, node: &NodeSpec) -> Result<(), EngineError> {
        let client = self.clients.of(place, node)?;
        let groups = groups_of(place.spec, node);
        let until = Instant::now() + READY;
        loop {
            let mut problem = None;
            for group in &groups {
                if let Err(error) = client.height(group).await {
                    problem = Some(EngineError::from(error));
                }
            }
            let Some(problem) = problem else { return Ok(()) };
            if Instant::now() > until {
                let exit = self.last_exit(place, node).await;
                return Err(match exit {
                    Some(exit) => not_done(format!("start {}", node.id), exit),
                    None => problem,
                });
            }
            if let Some(exit) = self.last_exit(place, node).await {
                // It ended by itself more than once: waiting on will not help.
                return Err(not_done(format!("start {}", node.id), format!("{exit}; its log says more")));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why a node keeps ending, when it does.
    async fn last_exit(&self, place: Place<'_>, node: &NodeSpec) -> Option<String> {
        let observed = place.driver.observe(&place.spec.id).await.ok()?;
        let observed = observed.into_iter().find(|observed| observed.node == node.id)?;
        (observed.state != RunState::Running && observed.restarts >= 2).then(|| observed.last_exit.unwrap_or_default())
    }

    /// Waits until enough sealers of every group are connected to each other to make blocks.
    async fn agree(&self, place: Place<'_>, progress: Progress<'_>) -> Result<(), EngineError> {
        let began = Instant::now();
        for channel in &place.spec.channels {
            let clients = self.clients.of_group(place, &channel.name, None)?;
            loop {
                let asked = clients.iter().map(|client| consensus(client, &channel.name));
                let answers: Vec<RpcResult<Value>> = futures::future::join_all(asked).await;
                let count = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
                let mut ready = 0;
                let (mut total, mut quorum) = (u64::MAX, u64::MAX);
                let late = began.elapsed() > ALL;
                let highest = answers.iter().flatten().filter_map(|status| status["blockNumber"].as_u64()).max();
                for status in answers.iter().flatten().filter(|status| status["isConsensusNode"] == true) {
                    (total, quorum) = (count(&status["consensusNodesNum"]), count(&status["minRequiredQuorum"]));
                    let listed = &status["connectedNodeList"];
                    let listed_others = || listed.as_array().map_or(0, Vec::len) as u64;
                    let others = listed.as_u64().map_or_else(listed_others, |own| own.saturating_sub(1));
                    // Who reads next must not meet a node that has still to catch up.
                    let level = status["blockNumber"].as_u64() == highest;
                    // Our nodes give a number and count themselves; others give a list.
                    ready += u64::from((level && others + 1 >= total) || (late && others + 1 >= quorum));
                }
                if ready >= total || (late && ready >= quorum) {
                    progress(format!("{}: {ready} of {total} sealers agree", channel.name));
                    break;
                }
                if began.elapsed() > AGREE {
                    let silent: Vec<String> = clients
                        .iter()
                        .zip(&answers)
                        .filter(|(_, answer)| answer.is_err())
                        .map(|(client, _)| client.node.clone())
                        .collect();
                    return Err(not_done(
                        format!("bring the nodes of {} to agree", channel.name),
                        match silent.as_slice() {
                            [] => format!(
                                "{ready} sealers are connected to enough others after {} s; look at the nodes' logs",
                                AGREE.as_secs()
                            ),
                            silent => format!("{} do not answer; look at their logs", silent.join(", ")),
                        },
                    ));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// A transaction that changes nothing: it asks the chain for one of its settings.
    async fn first_block(&self, place: Place<'_>, group: &str) -> Result<Map<String, Value>, EngineError> {
        let clients = self.clients.of_group(place, group, None)?;
        if first(&clients, |client| async move { client.height(group).await }).await? > 0 {
            return Ok(Map::new());
        }
        let key = accounts::signer(place, None, None)?;
        let input = contracts::getValueByKeyCall { key: "tx_count_limit".into() }.abi_encode();
        let content = Content { to: contracts::SYSTEM_CONFIG.into(), input, abi: String::new() };
        let receipt =
            self.send_once(place, group, &key, &content, &format!("first-{group}")).await?.succeeded(false)?;
        Ok(result("first_transaction", receipt.transaction_hash))
    }

    /// Ends a node and starts it as the specification says now; one that does not run stays so.
    async fn restarted(&self, place: Place<'_>, node: &NodeSpec) -> Result<(), EngineError> {
        if node.external.is_some() {
            return Ok(());
        }
        let reference: NodeRef = super::reference(place.spec, &node.id);
        let marker = files::node(place.folder, &node.id).join("restarting");
        let observed = place.driver.observe(&place.spec.id).await?;
        let runs = observed.iter().any(|observed| {
            observed.node == node.id && matches!(observed.state, RunState::Running | RunState::BackingOff)
        });
        if !runs && !marker.exists() {
            return Ok(());
        }
        // After a crash in between the node is down, but was meant to run.
        files::write(&marker, b"\n")?;
        place.driver.stop(&reference, GRACE).await?;
        place.driver.start(&launch(place, node)).await?;
        self.ready(place, node).await?;
        files::remove_file(&marker)
    }

    async fn remove_all(&self, place: Place<'_>) -> Result<(), EngineError> {
        for node in place.spec.nodes.iter().filter(|node| node.external.is_none()) {
            place.driver.remove(&super::reference(place.spec, &node.id)).await?;
        }
        for part in ["nodes", "agencies", "accounts", "sent", "history"] {
            files::remove_folder(&place.folder.join(part))?;
        }
        self.clients.forget(place.folder);
        self.histories.forget(place.folder);
        self.interfaces.lock().retain(|(folder, _, _), _| folder != place.folder);
        Ok(())
    }

    async fn remove_node(&self, place: Place<'_>, step: &str) -> Result<NetworkSpec, EngineError> {
        let id = step.split_once(' ').map_or("", |(_, id)| id);
        if place.spec.node(id).is_none_or(|node| node.external.is_none()) {
            place.driver.remove(&super::reference(place.spec, id)).await?;
        }
        let mut spec = place.spec.clone();
        spec.nodes.retain(|node| node.id != id);
        for channel in &mut spec.channels {
            channel.nodes.retain(|node| node != id);
        }
        files::remove_folder(&files::node(place.folder, id))?;
        let place = Place { spec: &spec, ..place };
        for node in spec.nodes.iter().filter(|node| node.external.is_none()) {
            files::write_partners(place, node)?;
        }
        Ok(spec)
    }

    /// Waits until a node has every block that the others have.
    async fn synced(&self, place: Place<'_>, node: &NodeSpec, progress: Progress<'_>) -> Result<(), EngineError> {
        let own = self.clients.of(place, node)?;
        let until = Instant::now() + SYNC;
        let mut told = Instant::now();
        for group in groups_of(place.spec, node) {
            let clients = self.clients.of_group(place, group, None)?;
            let others: Vec<Arc<Client>> = clients.into_iter().filter(|client| client.node != node.id).collect();
            loop {
                let wanted = first(&others, |client| async move { client.height(group).await }).await?;
                let reached = own.height(group).await;
                match reached {
                    // A growing chain is always a block ahead.
                    Ok(height) if height + 2 > wanted && height > 0 => break,
                    Err(error) if Instant::now() > until => return Err(error.into()),
                    Ok(height) if Instant::now() > until => {
                        return Err(not_done(
                            format!("bring {} up to date with {group}", node.id),
                            format!("it has {height} of {wanted} blocks after {} min", SYNC.as_secs() / 60),
                        ));
                    }
                    Ok(height) if told.elapsed() > Duration::from_secs(2) => {
                        progress(format!("{group}: {height} of {wanted} blocks"));
                        told = Instant::now();
                    }
                    _ => {}
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

/// Whether a group is among the chosen ones; nobody's choice is the first group.
fn chosen(channels: &[String], group: &str, spec: &NetworkSpec) -> bool {
    match channels {
        [] => spec.channels.first().is_some_and(|first| first.name == group),
        channels => channels.iter().any(|channel| channel == group),
    }
}

fn joined(spec: &mut NetworkSpec, node: NodeSpec, channels: &[String]) {
    let names: Vec<bool> = spec.channels.iter().map(|channel| chosen(channels, &channel.name, spec)).collect();
    for (channel, chosen) in spec.channels.iter_mut().zip(names) {
        if chosen {
            channel.nodes.push(node.id.clone());
            if !channel.organisations.contains(&node.organisation) {
                channel.organisations.push(node.organisation.clone());
            }
        }
    }
    spec.nodes.push(node);
}

/// The specification with a setting that is part of it.
fn with_setting(spec: &NetworkSpec, group: &str, key: &str, value: &str) -> Option<NetworkSpec> {
    let first = spec.channels.first().is_some_and(|first| first.name == group);
    let transactions = value.parse().ok().filter(|_| first && key == "tx_count_limit")?;
    Some(NetworkSpec { block_transactions: transactions, ..spec.clone() })
}

/// The groups a node runs.
pub(super) fn groups_of<'a>(spec: &'a NetworkSpec, node: &NodeSpec) -> Vec<&'a str> {
    spec.channels
        .iter()
        .filter(|channel| channel.nodes.contains(&node.id))
        .map(|channel| channel.name.as_str())
        .collect()
}

/// `getConsensusStatus`, whose answer is JSON inside a text.
pub(super) async fn consensus(client: &Client, group: &str) -> RpcResult<Value> {
    let text: String = client.call(group, "getConsensusStatus", &[]).await?;
    serde_json::from_str(&text).map_err(|error| {
        RpcError::Unreachable(EngineError::Unreachable {
            node: client.node.clone(),
            why: format!("its consensus status is no JSON: {error}"),
        })
    })
}

/// What members of a group there are.
pub(super) async fn roles(client: &Client, group: &str) -> RpcResult<Value> {
    let sealers: Value = client.call(group, "getSealerList", &[]).await?;
    let observers: Value = client.call(group, "getObserverList", &[]).await?;
    let waiting: Value = match client.call(group, "getNodeListByType", &[json!("consensus_candidate_sealer")]).await {
        Ok(waiting) => waiting,
        // Older nodes do not know the method.
        Err(RpcError::Refused(_)) => json!([]),
        Err(error) => return Err(error),
    };
    Ok(json!({ "sealers": sealers, "observers": observers, "waiting": waiting }))
}
