//! One step of an act, from its name and the act alone.

use serde_json::Map;

use super::connect::Net;
use super::launch::{GRACE, launch, node_ref};
use super::layout::{organisation, remove_folder};
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
                net.connections.forget(&node.hostname);
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
            net.serves(channel).await?;
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
            files::genesis(net.place, name, organisations)?;
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
        (Act::RevokeIdentity { organisation: of, .. }, ["revoke", channel]) => {
            net.publish_msp(channel, organisation(spec, of)?).await?;
            Ok(StepOutcome::default())
        }
        _ => Err(unknown(step)),
    }
}

async fn start(net: Net<'_>, shared: &Shared, node: &NodeSpec) -> Result<StepOutcome, EngineError> {
    net.connections.forget(&node.hostname);
    net.place.driver.start(&launch(net.place, node, &shared.environment)?).await?;
    Ok(StepOutcome::default())
}

fn make_files(net: Net<'_>, progress: Progress<'_>) -> Result<(), EngineError> {
    let spec = net.spec();
    files::certificates(&net.layout(), spec)?;
    progress(format!("certificates of {} organisations and {} nodes", spec.organisations.len(), spec.nodes.len()));
    for channel in &spec.channels {
        files::genesis(net.place, &channel.name, &channel.organisations)?;
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
        let role = Role::of(role)
            .ok_or_else(|| EngineError::Invalid { field: "role".into(), why: "use peer or orderer".into() })?;
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
    let member = |node: &&NodeSpec| node.is_orderer() || organisations.contains(&node.organisation);
    let nodes: Vec<&NodeSpec> = net.spec().nodes.iter().filter(member).collect();
    net.join_all(name, &nodes).await?;
    if spec.channel(name).is_none() {
        spec.channels.push(ChannelSpec {
            name: name.to_owned(),
            organisations: organisations.to_vec(),
            nodes: nodes.iter().map(|node| node.id.clone()).collect(),
        });
    }
    Ok(changed(spec))
}
