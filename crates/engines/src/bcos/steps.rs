//! What an act consists of, step by step. Planning looks at nothing but the specification.

use super::plan::{self, invalid};
use super::{Bcos, accounts};
use crate::act::Artifact;
use crate::spec::NetworkSpec;
use crate::{Act, EngineError, StepPlan};

/// Settings of a chain that can be changed, as people see them on upstream's console.
pub const SETTINGS: [&str; 11] = [
    "tx_gas_limit",
    "tx_gas_price",
    "tx_count_limit",
    "consensus_leader_period",
    "web3_chain_id",
    "feature_rpbft_epoch_block_num",
    "feature_rpbft_epoch_sealer_num",
    "feature_rpbft_term_weight",
    "feature_evm_cancun",
    "feature_evm_timestamp",
    "feature_evm_address",
];

fn step(name: impl Into<String>, title: impl Into<String>, title_zh: impl Into<String>) -> StepPlan {
    StepPlan { name: name.into(), title: title.into(), title_zh: title_zh.into() }
}

fn start(node: &str) -> StepPlan {
    step(format!("start {node}"), format!("Start {node}"), format!("启动节点 {node}"))
}

fn stop(node: &str) -> StepPlan {
    step(format!("stop {node}"), format!("Stop {node}"), format!("停止节点 {node}"))
}

fn ready(node: &str) -> StepPlan {
    step(format!("ready {node}"), format!("Wait until {node} answers"), format!("等待节点 {node} 就绪"))
}

fn observe(node: &str) -> StepPlan {
    step(format!("observe {node}"), format!("Admit {node} as an observer"), format!("将 {node} 加入为观察节点"))
}

fn sync(node: &str) -> StepPlan {
    step(format!("sync {node}"), format!("Wait until {node} has every block"), format!("等待 {node} 同步全部区块"))
}

fn seal(node: &str) -> StepPlan {
    step(format!("seal {node}"), format!("Let {node} seal blocks"), format!("将 {node} 设为共识节点"))
}

fn agree() -> StepPlan {
    step("agree", "Wait until the nodes agree on a leader", "等待节点就共识达成一致")
}

/// Whether the chain keeps a link under this name and version.
fn check_link(deployment_name: &str, version: &str) -> Result<(), EngineError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let plain = |text: &str| {
        text.starts_with(word)
            && text.len() <= 50
            && text.chars().all(|c| word(c) || matches!(c, '-' | '#' | '@' | '.'))
    };
    for (field, text) in [("name", deployment_name), ("version", version)] {
        if !plain(text) {
            return Err(invalid(
                field,
                format!(
                    "{text:?} must be 1 to 50 letters, digits or any of _ - # @ . and begin with a letter or digit"
                ),
            ));
        }
    }
    Ok(())
}

fn known_organisation(spec: &NetworkSpec, name: &str) -> Result<(), EngineError> {
    if spec.organisations.iter().any(|organisation| organisation.name == name) {
        return Ok(());
    }
    Err(invalid("organisation", format!("{name:?} is no organisation of this network")))
}

fn known_node<'a>(spec: &'a NetworkSpec, id: &str) -> Result<&'a crate::spec::NodeSpec, EngineError> {
    spec.node(id).ok_or_else(|| invalid("node", format!("{id:?} is no node of this network")))
}

fn known_groups(spec: &NetworkSpec, groups: &[String]) -> Result<(), EngineError> {
    match groups.iter().find(|name| spec.channel(name).is_none()) {
        Some(name) => Err(invalid("channels", format!("{name:?} is no group of this network"))),
        None => Ok(()),
    }
}

fn check_role(role: &str) -> Result<(), EngineError> {
    if ["sealer", "observer"].contains(&role) {
        Ok(())
    } else {
        Err(invalid("role", format!("{role:?} is not sealer or observer")))
    }
}

/// Refuses what only the operator of the nodes can do.
fn placed_here(spec: &NetworkSpec, act: &Act) -> Result<(), EngineError> {
    let elsewhere = |id: &str| spec.node(id).is_some_and(|node| node.external.is_some());
    let refused = match act {
        Act::Create
        | Act::Start
        | Act::Stop
        | Act::AddNode { .. }
        | Act::AddOrganisation { .. }
        | Act::CreateChannel { .. } => spec.nodes.iter().all(|node| node.external.is_some()) && !spec.nodes.is_empty(),
        Act::Node { node, .. } | Act::RemoveNode { node } => elsewhere(node),
        _ => false,
    };
    if refused {
        return Err(EngineError::Unsupported(
            "these nodes are run by somebody else; ask their operator, here they are watched and used".into(),
        ));
    }
    Ok(())
}

/// The new nodes of an organisation that joins, with their roles.
pub(super) fn newcomers(spec: &NetworkSpec, request: &crate::spec::OrganisationRequest) -> Vec<(String, &'static str)> {
    // Nodes that an interrupted attempt wrote into the specification keep their names.
    let known: Vec<_> = spec.nodes.iter().filter(|node| node.organisation == request.name).collect();
    if !known.is_empty() {
        let role = |role: &str| if role == "sealer" { "sealer" } else { "observer" };
        return known.iter().map(|node| (node.id.clone(), role(&node.role))).collect();
    }
    let first = plan::next_node(spec);
    let sealers = request.nodes - request.observers.min(request.nodes);
    (0..request.nodes)
        .map(|index| (format!("node{}", first + index as usize), if index < sealers { "sealer" } else { "observer" }))
        .collect()
}

fn admitted(steps: &mut Vec<StepPlan>, node: &str, role: &str) {
    steps.extend([start(node), ready(node), observe(node), sync(node)]);
    if role == "sealer" {
        steps.push(seal(node));
    }
}

impl Bcos {
    pub(super) fn planned_steps(spec: &NetworkSpec, act: &Act) -> Result<Vec<StepPlan>, EngineError> {
        // Nodes that somebody else runs stay as they are.
        let own = || spec.nodes.iter().filter(|node| node.external.is_none());
        let every = |make: fn(&str) -> StepPlan| own().map(move |node| make(&node.id));
        let mut steps = Vec::new();
        placed_here(spec, act)?;
        match act {
            Act::Create => {
                steps.push(step("files", "Make certificates, keys and configuration", "生成证书、密钥与配置文件"));
                steps.extend(every(start));
                steps.push(agree());
                steps.push(step("first block", "Make the first block", "产生首个区块"));
            }
            Act::Start => {
                steps.extend(every(start));
                steps.push(agree());
            }
            Act::Stop => steps.extend(every(stop)),
            Act::Delete => {
                steps.extend(every(stop));
                steps.push(step("remove", "Remove the nodes and their files", "删除节点及其文件"));
            }
            Act::Node { node, what } => {
                known_node(spec, node)?;
                match what.as_str() {
                    "start" => steps.extend([start(node), ready(node)]),
                    "stop" => steps.push(stop(node)),
                    "restart" => steps.extend([stop(node), start(node), ready(node)]),
                    other => return Err(invalid("what", format!("{other:?} is not start, stop or restart"))),
                }
            }
            Act::AddNode { organisation, role, channels } => {
                known_organisation(spec, organisation)?;
                check_role(role)?;
                known_groups(spec, channels)?;
                let node = format!("node{}", plan::next_node(spec));
                steps.push(step(
                    format!("files {node}"),
                    format!("Make certificates, keys and configuration of {node}"),
                    format!("生成 {node} 的证书、密钥与配置文件"),
                ));
                admitted(&mut steps, &node, role);
            }
            Act::RemoveNode { node } => {
                known_node(spec, node)?;
                steps.push(step(
                    format!("leave {node}"),
                    format!("Take {node} out of its groups"),
                    format!("将 {node} 移出群组"),
                ));
                steps.push(stop(node));
                steps.push(step(
                    format!("remove {node}"),
                    format!("Remove {node} and its files"),
                    format!("删除 {node} 及其文件"),
                ));
            }
            Act::SetRole { node, role, weight } => {
                known_node(spec, node)?;
                check_role(role)?;
                if *weight == Some(0) {
                    return Err(invalid("weight", "the weight must be at least 1"));
                }
                let (word, word_zh) =
                    if role == "sealer" { ("a sealer", "共识节点") } else { ("an observer", "观察节点") };
                steps.push(step(
                    format!("role {node}"),
                    format!("Make {node} {word}"),
                    format!("将 {node} 设为{word_zh}"),
                ));
            }
            Act::AddOrganisation { organisation, channels } => {
                plan::check_organisation("organisation", organisation)?;
                known_groups(spec, channels)?;
                if spec.organisations.iter().any(|known| known.name.eq_ignore_ascii_case(&organisation.name)) {
                    return Err(invalid(
                        "organisation.name",
                        format!("{} is in this network already", organisation.name),
                    ));
                }
                let name = &organisation.name;
                steps.push(step(
                    format!("files {name}"),
                    format!("Make the authority, keys and configuration of {name}"),
                    format!("生成机构 {name} 的证书、密钥与配置文件"),
                ));
                for node in own() {
                    steps.push(step(
                        format!("trust {}", node.id),
                        format!("Restart {} so that it trusts {name}", node.id),
                        format!("重启 {} 以信任机构 {name}", node.id),
                    ));
                }
                for (node, role) in newcomers(spec, organisation) {
                    admitted(&mut steps, &node, role);
                }
            }
            Act::CreateChannel { name, organisations } => {
                plan::check_group("name", name)?;
                if spec.channel(name).is_some() {
                    return Err(invalid("name", format!("the group {name} is there already")));
                }
                for organisation in organisations {
                    known_organisation(spec, organisation)?;
                }
                let nodes: Vec<_> =
                    spec.nodes.iter().filter(|node| organisations.contains(&node.organisation)).collect();
                if !nodes.iter().any(|node| node.role == "sealer") {
                    return Err(invalid(
                        "organisations",
                        "none of them has a sealer, so the group would never make a block",
                    ));
                }
                steps.push(step(
                    format!("group {name}"),
                    format!("Write the genesis of {name}"),
                    format!("生成群组 {name} 的创世配置"),
                ));
                for node in nodes {
                    steps.push(step(
                        format!("run {}", node.id),
                        format!("Restart {} with the group {name}", node.id),
                        format!("重启 {} 以加载群组 {name}", node.id),
                    ));
                }
                steps.push(step("first block", "Make the group's first block", "产生群组的首个区块"));
            }
            Act::Configure { channel, key, value } => {
                known_groups(spec, std::slice::from_ref(channel))?;
                if !SETTINGS.contains(&key.as_str()) {
                    return Err(invalid("key", format!("{key:?} is not one of {}", SETTINGS.join(", "))));
                }
                if value.is_empty() || value.len() > 1024 {
                    return Err(invalid("value", "write a value of 1 to 1024 characters"));
                }
                steps.push(step(
                    "configure",
                    format!("Set {key} to {value} on {channel}"),
                    format!("将 {channel} 的 {key} 设为 {value}"),
                ));
            }
            Act::Deploy(deployment) => {
                known_groups(spec, std::slice::from_ref(&deployment.channel))?;
                check_link(&deployment.name, &deployment.version)?;
                let Artifact::Evm { bytecode, abi } = &deployment.artifact else {
                    return Err(invalid("artifact", "a BCOS network runs EVM contracts: creation code and ABI"));
                };
                super::deploy::code(bytecode, abi, &deployment.arguments)?;
                let (name, version) = (&deployment.name, &deployment.version);
                steps.push(step("deploy", format!("Deploy {name} {version}"), format!("部署合约 {name} {version}")));
                steps.push(step(
                    "link",
                    format!("Enter {name} {version} into the chain's address book"),
                    format!("将 {name} {version} 登记到链上目录"),
                ));
            }
            Act::IssueIdentity { organisation, name, .. } => {
                known_organisation(spec, organisation)?;
                plan::check_account("name", name)?;
                steps.push(step("issue", format!("Make an account for {name}"), format!("为 {name} 生成账户")));
            }
            Act::RevokeIdentity { organisation, name } => {
                known_organisation(spec, organisation)?;
                plan::check_account("name", name)?;
                if name == accounts::ADMINISTRATOR {
                    return Err(invalid("name", "the administrator's account signs changes of the network and stays"));
                }
                steps.push(step("revoke", format!("Forget the key of {name}"), format!("删除 {name} 的密钥")));
            }
        }
        Ok(steps)
    }
}
