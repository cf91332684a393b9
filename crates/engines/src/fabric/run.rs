//! One step of an act, from its name and the act alone.

use konsort_drivers::RunState;
use serde_json::Map;

use super::connect::Net;
use super::launch::{GRACE, launch, node_ref};
use super::layout::{invalid, organisation, remove_file, remove_folder, write};
use super::plan::{self, Ports, Role};
use super::{Shared, files};
use crate::act::{Act, StepPlan};
use crate::spec::{ChannelSpec, NetworkSpec, NodeSpec, OrganisationRequest};
use crate::{EngineError, Progress, StepOutcome};

fn unknown(step: &StepPlan) -> EngineError {
    EngineError::Unsupported(format!("this act has no step {:?}", step.name))
}

fn changed(spec: NetworkSpec) -> StepOutcome {
    StepOutcome { spec: Some(spec), result: Map::new() }
}

fn node<'a>(spec: &'a NetworkSpec, id: &str) -> Result<&'a NodeSpec, EngineError> {
    spec.node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id}") })
}

/// Runs a step.
pub(super) async fn run(
    net: Net<'_>,
    shared: &Shared,
    act: &Act,
    step: &StepPlan,
    progress: Progress<'_>,
) -> Result<StepOutcome, EngineError> {
    let words: Vec<&str> = step.name.split(' ').collect();
    let spec = net.spec();
    // Deployments have steps of their own; those of nodes are the same in every act.
    if let Act::Deploy(deployment) = act {
        let result = net.deploy(deployment, words[0], words.get(1).copied(), progress).await?;
        return Ok(StepOutcome { spec: None, result });
    }
    match (act, words.as_slice()) {
        (_, ["start", id]) => start(net, shared, node(spec, id)?).await,
        (_, ["stop", id]) => {
            // A step that is run again after the node was removed has nothing to stop.
            if let Some(node) = spec.node(id) {
                net.place.driver.stop(&node_ref(spec, node), GRACE).await?;
                net.connections.forget(spec, node);
            }
            Ok(StepOutcome::default())
        }
        (_, ["ready"]) => {
            let own: Vec<&NodeSpec> = spec.nodes.iter().filter(|node| node.external.is_none()).collect();
            net.ready(&own).await?;
            Ok(StepOutcome::default())
        }
        (_, ["ready", ids @ ..]) => {
            let nodes = ids.iter().map(|id| node(spec, id)).collect::<Result<Vec<_>, _>>()?;
            net.ready(&nodes).await?;
            Ok(StepOutcome::default())
        }
        (Act::Create, ["files"]) => {
            net.place.driver.check().await?;
            make_files(net, progress)?;
            Ok(StepOutcome::default())
        }
        (Act::Create, ["join", channel]) => {
            let joined = spec.channel(channel).map(|known| known.nodes.clone()).unwrap_or_default();
            let nodes: Vec<&NodeSpec> = spec.nodes.iter().filter(|node| joined.contains(&node.id)).collect();
            net.join_all(channel, &nodes).await?;
            Ok(StepOutcome::default())
        }
        (Act::Delete, ["remove"]) => {
            for node in spec.nodes.iter().filter(|node| node.external.is_none()) {
                net.place.driver.remove(&node_ref(spec, node)).await?;
            }
            for part in ["nodes", "contracts", "channels", "crypto"] {
                remove_folder(&net.layout().root().join(part))?;
            }
            Ok(StepOutcome::default())
        }
        (Act::AddNode { organisation, role, .. }, ["plan", id]) => plan_node(net, organisation, role, id),
        (Act::AddNode { .. }, ["files", id]) => {
            files::certificates(&net.layout(), spec)?;
            files::node(net.place, node(spec, id)?)?;
            Ok(StepOutcome::default())
        }
        (Act::AddNode { .. } | Act::AddOrganisation { .. }, ["join", channel, id]) => {
            net.join_later(channel, id).await?;
            if matches!(act, Act::AddNode { .. }) && node(spec, id)?.is_peer() {
                net.install_all(channel, id, progress).await?;
            }
            let mut spec = spec.clone();
            if let Some(known) = spec.channels.iter_mut().find(|known| known.name == *channel)
                && !known.nodes.iter().any(|joined| joined == id)
            {
                known.nodes.push((*id).to_owned());
            }
            Ok(changed(spec))
        }
        (Act::AddNode { .. }, ["consenter", channel, id]) => {
            net.add_consenter(channel, id).await?;
            Ok(StepOutcome::default())
        }
        (Act::RemoveNode { .. }, ["leave", channel, id]) => {
            net.leave(channel, id).await?;
            let mut spec = spec.clone();
            if let Some(known) = spec.channels.iter_mut().find(|known| known.name == *channel) {
                known.nodes.retain(|joined| joined != id);
            }
            Ok(changed(spec))
        }
        (Act::RemoveNode { .. }, ["remove", id]) => {
            let mut next = spec.clone();
            if let Some(node) = spec.node(id) {
                net.place.driver.remove(&node_ref(spec, node)).await?;
                files::remove_node(net.place, node)?;
            }
            next.nodes.retain(|node| node.id != *id);
            Ok(changed(next))
        }
        (Act::AddOrganisation { organisation, .. }, _) => add_organisation(net, organisation, &words, progress).await,
        (Act::CreateChannel { name, organisations }, ["genesis", _]) => {
            if !files::genesis(net.place, name, organisations)? {
                // Left behind by an attempt that was given up.
                if net.is_known(name).await? {
                    let why = format!(
                        "an earlier attempt to make {name} with other organisations or orderers was given up after nodes had \
                         joined it; choose another name"
                    );
                    return Err(invalid("name", why));
                }
                remove_file(&net.layout().genesis(name))?;
                files::genesis(net.place, name, organisations)?;
            }
            Ok(StepOutcome::default())
        }
        (Act::CreateChannel { name, organisations }, ["join", _]) => create_channel(net, name, organisations).await,
        (Act::Configure { channel, key, value }, ["configure", _]) => {
            Ok(changed(net.configure(channel, key, value).await?))
        }
        (Act::IssueIdentity { organisation: of, name, role }, ["issue", _]) => {
            let result = net.issue(organisation(spec, of)?, name, role)?;
            Ok(StepOutcome { spec: None, result })
        }
        (Act::RevokeIdentity { organisation: of, name }, ["list", _]) => {
            net.list_revoked(organisation(spec, of)?, name)?;
            Ok(StepOutcome::default())
        }
        (Act::RevokeIdentity { .. }, ["restart", id]) => restart(net, shared, node(spec, id)?).await,
        (Act::RevokeIdentity { organisation: of, .. }, ["revoke", channel]) => {
            net.publish_revoked(channel, organisation(spec, of)?).await?;
            Ok(StepOutcome::default())
        }
        _ => Err(unknown(step)),
    }
}

async fn start(net: Net<'_>, shared: &Shared, node: &NodeSpec) -> Result<StepOutcome, EngineError> {
    net.connections.forget(net.spec(), node);
    net.place.driver.start(&launch(net.place, node, &shared.environment)?).await?;
    Ok(StepOutcome::default())
}

/// Restarts a node if it runs. One that an earlier run of this step had stopped is started too.
async fn restart(net: Net<'_>, shared: &Shared, node: &NodeSpec) -> Result<StepOutcome, EngineError> {
    let begun = net.layout().node(&node.id).join("restarting");
    let seen = net.place.driver.observe(&net.spec().id).await?;
    let runs = |state: RunState| matches!(state, RunState::Running | RunState::BackingOff);
    if begun.exists() || seen.iter().any(|seen| seen.node == node.id && runs(seen.state)) {
        write(&begun, b"")?;
        net.place.driver.stop(&node_ref(net.spec(), node), GRACE).await?;
        start(net, shared, node).await?;
        net.ready(&[node]).await?;
        remove_file(&begun)?;
    }
    Ok(StepOutcome::default())
}

fn make_files(net: Net<'_>, progress: Progress<'_>) -> Result<(), EngineError> {
    let spec = net.spec();
    files::certificates(&net.layout(), spec)?;
    progress(format!("certificates of {} organisations and {} nodes", spec.organisations.len(), spec.nodes.len()));
    for channel in &spec.channels {
        if !files::genesis(net.place, &channel.name, &channel.organisations)? {
            let path = net.layout().genesis(&channel.name);
            return Err(invalid("channel", format!("{} belongs to another network; remove it", path.display())));
        }
        progress(format!("genesis block of {}", channel.name));
    }
    for node in spec.nodes.iter().filter(|node| node.external.is_none()) {
        files::node(net.place, node)?;
    }
    Ok(())
}

fn plan_node(net: Net<'_>, name: &str, role: &str, id: &str) -> Result<StepOutcome, EngineError> {
    let mut spec = net.spec().clone();
    if spec.node(id).is_none() {
        let organisation = organisation(net.spec(), name)?;
        let role = Role::of(role).ok_or_else(|| invalid("role", "use peer or orderer"))?;
        let mut ports = Ports::after(&spec);
        let number = plan::next_number(&spec, organisation, role);
        spec.nodes.push(plan::node(organisation, role, number, &mut ports)?);
    }
    Ok(changed(spec))
}

async fn add_organisation(
    net: Net<'_>,
    wanted: &OrganisationRequest,
    words: &[&str],
    progress: Progress<'_>,
) -> Result<StepOutcome, EngineError> {
    let name = &wanted.name;
    let mut spec = net.spec().clone();
    match words {
        ["plan", _] => {
            if !spec.organisations.iter().any(|known| known.name == *name) {
                let organisation = plan::organisation(wanted);
                let mut ports = Ports::after(&spec);
                for number in 0..wanted.nodes {
                    spec.nodes.push(plan::node(&organisation, Role::Peer, number, &mut ports)?);
                }
                spec.organisations.push(organisation);
            }
            Ok(changed(spec))
        }
        ["files", _] => {
            files::certificates(&net.layout(), &spec)?;
            for node in spec.nodes.iter().filter(|node| node.organisation == *name) {
                files::node(net.place, node)?;
            }
            Ok(StepOutcome::default())
        }
        ["admit", channel] => {
            net.admit(channel, name).await?;
            if let Some(known) = spec.channels.iter_mut().find(|known| known.name == *channel)
                && !known.organisations.contains(name)
            {
                known.organisations.push(name.clone());
            }
            Ok(changed(spec))
        }
        ["approve", channel] => {
            net.approve_all(channel, organisation(net.spec(), name)?, progress).await?;
            Ok(StepOutcome::default())
        }
        _ => Err(EngineError::Unsupported(format!("adding an organisation has no step {:?}", words.join(" ")))),
    }
}

async fn create_channel(net: Net<'_>, name: &str, organisations: &[String]) -> Result<StepOutcome, EngineError> {
    let mut spec = net.spec().clone();
    // Members may have been named by their MSP ids.
    let organisations: Vec<String> = organisations
        .iter()
        .map(|named| Ok(organisation(net.spec(), named)?.name.clone()))
        .collect::<Result<_, EngineError>>()?;
    let member = |node: &&NodeSpec| node.is_orderer() || organisations.contains(&node.organisation);
    let nodes: Vec<&NodeSpec> = net.spec().nodes.iter().filter(member).collect();
    net.join_all(name, &nodes).await?;
    if spec.channel(name).is_none() {
        spec.channels.push(ChannelSpec {
            name: name.to_owned(),
            nodes: nodes.iter().map(|node| node.id.clone()).collect(),
            organisations,
        });
    }
    Ok(changed(spec))
}
