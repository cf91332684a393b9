//! Which steps an act has. Names are unique within an act and carry what the step is about, so that a step can be run from its
//! name and the act alone.

use konsort_drivers::DriverKind;

use super::layout::{invalid, organisation};
use super::plan::{self, Role};
use crate::EngineError;
use crate::act::{Act, StepPlan};
use crate::spec::{ChannelSpec, NetworkSpec, NodeSpec};

/// A step by name.
pub(super) fn step(name: impl Into<String>, title: impl Into<String>, title_zh: impl Into<String>) -> StepPlan {
    StepPlan { name: name.into(), title: title.into(), title_zh: title_zh.into() }
}

fn start(id: &str) -> StepPlan {
    step(format!("start {id}"), format!("Start {id}"), format!("启动 {id}"))
}

fn stop(id: &str) -> StepPlan {
    step(format!("stop {id}"), format!("Stop {id}"), format!("停止 {id}"))
}

fn ready(ids: &[&str]) -> StepPlan {
    let (name, shown) = match ids {
        [] => ("ready".to_owned(), None),
        [only] => (format!("ready {only}"), Some((*only).to_owned())),
        many => (format!("ready {}", many.join(" ")), Some(format!("{} nodes", many.len()))),
    };
    match shown {
        None => step(name, "Wait until every node answers", "等待所有节点就绪"),
        Some(shown) => step(name, format!("Wait until {shown} answer"), "等待节点就绪"),
    }
}

/// The nodes of a network that this platform runs.
fn own(spec: &NetworkSpec) -> impl Iterator<Item = &NodeSpec> {
    spec.nodes.iter().filter(|node| node.external.is_none())
}

fn node<'a>(spec: &'a NetworkSpec, id: &str) -> Result<&'a NodeSpec, EngineError> {
    spec.node(id).ok_or_else(|| EngineError::NotFound { what: format!("the node {id}") })
}

/// A node that may be started, stopped or removed from here.
fn own_node<'a>(spec: &'a NetworkSpec, id: &str) -> Result<&'a NodeSpec, EngineError> {
    let found = node(spec, id)?;
    if found.external.is_some() {
        return Err(EngineError::Unsupported(format!("{id} is run by somebody else; it can only be watched and used")));
    }
    Ok(found)
}

/// The steps of an act.
pub(super) fn steps(spec: &NetworkSpec, act: &Act) -> Result<Vec<StepPlan>, EngineError> {
    let grows = matches!(act, Act::AddNode { .. } | Act::AddOrganisation { .. } | Act::CreateChannel { .. });
    if grows && spec.driver == DriverKind::External {
        return Err(EngineError::Unsupported(
            "somebody else runs this network; let them add nodes, organisations and channels, then import it anew"
                .into(),
        ));
    }
    match act {
        Act::Create => Ok(create(spec)),
        Act::Start => Ok(own(spec).map(|node| start(&node.id)).chain([ready(&[])]).collect()),
        // Peers before orderers, so that what was endorsed can still be ordered.
        Act::Stop => Ok(own(spec)
            .filter(|node| node.is_peer())
            .chain(own(spec).filter(|node| node.is_orderer()))
            .map(|node| stop(&node.id))
            .collect()),
        Act::Delete => Ok(own(spec)
            .map(|node| stop(&node.id))
            .chain([step("remove", "Remove nodes and files", "移除节点与文件")])
            .collect()),
        Act::Node { node: id, what } => {
            own_node(spec, id)?;
            match what.as_str() {
                "start" => Ok(vec![start(id), ready(&[id])]),
                "stop" => Ok(vec![stop(id)]),
                "restart" => Ok(vec![stop(id), start(id), ready(&[id])]),
                _ => Err(invalid("what", "use start, stop or restart")),
            }
        }
        Act::AddNode { organisation, role, channels } => add_node(spec, organisation, role, channels),
        Act::RemoveNode { node } => remove_node(spec, node),
        Act::AddOrganisation { organisation, channels } => add_organisation(spec, organisation, channels),
        Act::CreateChannel { name, organisations } => create_channel(spec, name, organisations),
        Act::Configure { channel, key, value } => {
            known_channel(spec, channel)?;
            super::settings::check(key, value)?;
            Ok(vec![step(
                format!("configure {channel}"),
                format!("Set {key} of {channel} to {value}"),
                format!("将 {channel} 的 {key} 设为 {value}"),
            )])
        }
        Act::Deploy(deployment) => super::deploy::steps(spec, deployment),
        Act::IssueIdentity { organisation: name, name: user, role } => {
            let organisation = organisation(spec, name)?;
            super::identity::check(user, role)?;
            Ok(vec![step(
                format!("issue {user}"),
                format!("Issue {user} of {}", organisation.name),
                format!("签发 {} 的 {user}", organisation.name),
            )])
        }
        Act::RevokeIdentity { organisation: name, name: user } => {
            let organisation = organisation(spec, name)?;
            if user == "Admin" {
                return Err(invalid("name", "without its administrator an organisation can change nothing any more"));
            }
            let list = step(
                format!("list {user}"),
                format!("Put {user} on the revocation list of {}", organisation.name),
                format!("将 {user} 列入 {} 的吊销列表", organisation.name),
            );
            // Orderers serve every channel; organisations of peers those they are in.
            let concerned =
                |channel: &&ChannelSpec| organisation.orders_only || channel.organisations.contains(&organisation.name);
            let mut steps = vec![list];
            steps.extend(spec.channels.iter().filter(concerned).map(|channel| {
                let name = &channel.name;
                step(format!("revoke {name}"), format!("Tell {name} about it"), format!("将吊销写入 {name}"))
            }));
            // Nodes read their own organisation's list when they start.
            steps.extend(own(spec).filter(|node| node.organisation == organisation.name).map(|node| {
                let id = &node.id;
                step(format!("restart {id}"), format!("Restart {id}, if it runs"), format!("重启 {id}（如在运行）"))
            }));
            Ok(steps)
        }
        Act::SetRole { .. } => Err(EngineError::Unsupported(
            "Fabric nodes have one role for life; add a node of the other role and remove this one".into(),
        )),
    }
}

fn join(channel: &str) -> StepPlan {
    step(format!("join {channel}"), format!("Join the channel {channel}"), format!("加入通道 {channel}"))
}

fn create(spec: &NetworkSpec) -> Vec<StepPlan> {
    let mut steps =
        vec![step("files", "Make certificates, genesis block and configuration files", "生成证书、创世区块与配置文件")];
    steps.extend(own(spec).map(|node| start(&node.id)));
    steps.push(ready(&[]));
    steps.extend(spec.channels.iter().map(|channel| join(&channel.name)));
    steps
}

fn known_channel(spec: &NetworkSpec, name: &str) -> Result<(), EngineError> {
    spec.channel(name).map(|_| ()).ok_or_else(|| EngineError::NotFound { what: format!("the channel {name}") })
}

/// The channels that a new node joins.
pub(super) fn channels_for(
    spec: &NetworkSpec,
    organisation: &str,
    role: Role,
    asked: &[String],
) -> Result<Vec<String>, EngineError> {
    for name in asked {
        known_channel(spec, name)?;
    }
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    let wanted = |members: &Vec<String>| role == Role::Orderer || members.iter().any(|member| member == organisation);
    Ok(spec
        .channels
        .iter()
        .filter(|channel| wanted(&channel.organisations))
        .map(|channel| channel.name.clone())
        .collect())
}

fn add_node(spec: &NetworkSpec, name: &str, role: &str, channels: &[String]) -> Result<Vec<StepPlan>, EngineError> {
    let organisation = organisation(spec, name)?;
    let role = Role::of(role).ok_or_else(|| invalid("role", "use peer or orderer"))?;
    if organisation.orders_only != (role == Role::Orderer) {
        let why = "orderers belong to the organisation Orderer, peers to all others";
        return Err(invalid("role", why));
    }
    let channels = channels_for(spec, &organisation.name, role, channels)?;
    for channel in &channels {
        let members =
            &spec.channels.iter().find(|known| known.name == *channel).map(|known| known.organisations.clone());
        if role == Role::Peer && members.as_ref().is_some_and(|members| !members.contains(&organisation.name)) {
            return Err(invalid(
                "channels",
                format!("{} is not a member of {channel}; add the organisation first", organisation.name),
            ));
        }
    }
    let id = plan::next_id(spec, organisation, role);
    let mut steps = vec![
        step(format!("plan {id}"), format!("Choose name and ports of {id}"), format!("规划 {id} 的名称与端口")),
        step(
            format!("files {id}"),
            format!("Make certificates and configuration of {id}"),
            format!("生成 {id} 的证书与配置"),
        ),
        start(&id),
        ready(&[&id]),
    ];
    for channel in channels {
        steps.push(step(
            format!("join {channel} {id}"),
            format!("Join {id} to {channel}"),
            format!("{id} 加入 {channel}"),
        ));
        if role == Role::Orderer {
            steps.push(step(
                format!("consenter {channel} {id}"),
                format!("Make {id} a consenter of {channel}"),
                format!("将 {id} 设为 {channel} 的共识节点"),
            ));
        }
    }
    Ok(steps)
}

fn remove_node(spec: &NetworkSpec, id: &str) -> Result<Vec<StepPlan>, EngineError> {
    let node = own_node(spec, id)?;
    let alike =
        |other: &&NodeSpec| other.role == node.role && other.organisation == node.organisation && other.id != node.id;
    let last = |of: &str| {
        let why = format!("{id} is the last {} of {} {of}; add another one first", node.role, node.organisation);
        Err(invalid("node", why))
    };
    if !spec.nodes.iter().any(|other| alike(&other)) {
        return last("in this network");
    }
    for channel in spec.channels.iter().filter(|channel| channel.nodes.contains(&node.id)) {
        if !spec.nodes.iter().filter(alike).any(|other| channel.nodes.contains(&other.id)) {
            return last(&format!("on {}", channel.name));
        }
    }
    let mut steps = Vec::new();
    for channel in spec.channels.iter().filter(|channel| channel.nodes.contains(&node.id)) {
        let name = &channel.name;
        steps.push(step(
            format!("leave {name} {id}"),
            format!("Take {id} out of {name}"),
            format!("从 {name} 移出 {id}"),
        ));
    }
    steps.push(stop(id));
    steps.push(step(format!("remove {id}"), format!("Remove {id} and its files"), format!("移除 {id} 及其文件")));
    Ok(steps)
}

fn add_organisation(
    spec: &NetworkSpec,
    wanted: &crate::spec::OrganisationRequest,
    channels: &[String],
) -> Result<Vec<StepPlan>, EngineError> {
    plan::check_organisation("organisation", wanted)?;
    if spec.organisations.iter().any(|known| known.name.eq_ignore_ascii_case(&wanted.name)) {
        return Err(invalid("organisation.name", format!("{} is in the network already", wanted.name)));
    }
    for channel in channels {
        known_channel(spec, channel)?;
    }
    let name = &wanted.name;
    let ids: Vec<String> =
        (0..wanted.nodes).map(|number| format!("peer{number}-{}", name.to_ascii_lowercase())).collect();
    let shown: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut steps = vec![
        step(format!("plan {name}"), format!("Choose names and ports of {name}"), format!("规划 {name} 的名称与端口")),
        step(
            format!("files {name}"),
            format!("Make certificates and configuration of {name}"),
            format!("生成 {name} 的证书与配置"),
        ),
    ];
    steps.extend(ids.iter().map(|id| start(id)));
    if !ids.is_empty() {
        steps.push(ready(&shown));
    }
    for channel in channels {
        steps.push(step(
            format!("admit {channel}"),
            format!("Bring {name} into {channel}, signed by a majority"),
            format!("经多数签名将 {name} 加入 {channel}"),
        ));
        steps.extend(ids.iter().map(|id| {
            step(format!("join {channel} {id}"), format!("Join {id} to {channel}"), format!("{id} 加入 {channel}"))
        }));
        steps.push(step(
            format!("approve {channel}"),
            format!("Install and approve the contracts of {channel} for {name}"),
            format!("为 {name} 安装并批准 {channel} 的合约"),
        ));
    }
    Ok(steps)
}

fn create_channel(spec: &NetworkSpec, name: &str, organisations: &[String]) -> Result<Vec<StepPlan>, EngineError> {
    plan::check_channel("name", name)?;
    if spec.channel(name).is_some() {
        return Err(invalid("name", format!("there is a channel {name} already")));
    }
    let mut members = std::collections::BTreeSet::new();
    for (index, member) in organisations.iter().enumerate() {
        let found = organisation(spec, member)?;
        if found.orders_only || !members.insert(&found.name) {
            return Err(invalid(format!("organisations[{index}]"), "name every organisation of peers once"));
        }
    }
    let with_peers = |member: &&&String| spec.nodes.iter().any(|node| node.is_peer() && node.organisation == ***member);
    if members.iter().filter(with_peers).count() * 2 <= members.len() {
        return Err(invalid("organisations", "more than half of the organisations of a channel need a peer"));
    }
    Ok(vec![
        step(format!("genesis {name}"), format!("Make the genesis block of {name}"), format!("生成 {name} 的创世区块")),
        join(name),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{EngineKind, NetworkRequest, OrganisationRequest};

    fn spec() -> NetworkSpec {
        let request = NetworkRequest {
            name: "network".into(),
            engine: EngineKind::Fabric,
            driver: DriverKind::Process,
            organisations: vec![OrganisationRequest { id: None, name: "Org1".into(), nodes: 2, observers: 0 }],
            consensus: "raft".into(),
            orderers: None,
            channel: None,
            first_port: Some(21_000),
            block_time_ms: None,
            block_transactions: None,
        };
        plan::plan("net_1", &request, &[]).unwrap()
    }

    #[test]
    fn networks_of_others_do_not_grow_from_here() {
        let spec = NetworkSpec { driver: DriverKind::External, ..spec() };
        let wanted = OrganisationRequest { id: None, name: "Org2".into(), nodes: 1, observers: 0 };
        for act in [
            Act::AddNode { organisation: "Org1".into(), role: "peer".into(), channels: Vec::new() },
            Act::AddOrganisation { organisation: wanted, channels: Vec::new() },
            Act::CreateChannel { name: "second".into(), organisations: vec!["Org1".into()] },
        ] {
            assert!(matches!(steps(&spec, &act), Err(EngineError::Unsupported(_))), "{act:?}");
        }
    }

    #[test]
    fn the_last_node_of_an_organisation_on_a_channel_stays() {
        let mut spec = spec();
        let remove = Act::RemoveNode { node: "peer0-org1".into() };
        assert!(steps(&spec, &remove).is_ok());
        spec.channels[0].nodes.retain(|node| node != "peer1-org1");
        assert!(matches!(steps(&spec, &remove), Err(EngineError::Invalid { field, .. }) if field == "node"));
    }

    #[test]
    fn a_revocation_reaches_channels_and_nodes_of_both_kinds_of_organisations() {
        let spec = spec();
        let names = |organisation: &str| -> Vec<String> {
            let act = Act::RevokeIdentity { organisation: organisation.into(), name: "eve".into() };
            steps(&spec, &act).unwrap().into_iter().map(|step| step.name).collect()
        };
        assert_eq!(names("Org1"), ["list eve", "revoke mychannel", "restart peer0-org1", "restart peer1-org1"]);
        assert_eq!(names("Orderer"), ["list eve", "revoke mychannel", "restart orderer1"]);
    }
}
