//! Everything of a network on disk.
//!
//! ```text
//! agencies/ORG/ca/{ca.crt,ca.key}              the organisation's authority
//! agencies/ORG/sdk/{ca.crt,sdk.crt,sdk.key}    how its applications, and the platform, connect
//! nodes/NODE/{config.ini,config.genesis,nodes.json,conf/…,data/…}
//! nodes/NODE/GROUP.genesis                     of each further group
//! accounts/ORG/NAME.pem
//! sent/…                                       transactions of steps, to be found again after a crash
//! ```
//!
//! A folder appears under its name only when it is complete.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use konsort_crypto::random_bytes;
use serde::Deserialize;

use super::{Bcos, ini, plan};
use crate::spec::{ChannelSpec, NetworkSpec, NodeSpec};
use crate::{EngineError, Place};

/// Says what was tried with which file.
pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(Error) -> EngineError + use<> {
    let what = format!("{what} {}", path.display());
    move |source| EngineError::Io { what, source }
}

pub(super) fn remove_file(path: &Path) -> Result<(), EngineError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(path: &Path) -> Result<(), EngineError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a folder that only its owner may enter.
pub(super) fn private_folder(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make the folder", path))
}

/// Writes a file whole or not at all, and only when it changes: nodes look at the time of some of them.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), EngineError> {
    write_by_way_of(&path.with_extension("new"), path, content)
}

fn write_by_way_of(fresh: &Path, path: &Path, content: &[u8]) -> Result<(), EngineError> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let attempt = || {
        fs::write(fresh, content)?;
        fs::File::open(fresh)?.sync_all()?;
        fs::rename(fresh, path)
    };
    attempt().map_err(io("write", path))
}

pub(super) fn read(path: &Path) -> Result<String, EngineError> {
    fs::read_to_string(path).map_err(io("read", path))
}

pub(super) fn node(network: &Path, id: &str) -> PathBuf {
    network.join("nodes").join(id)
}

pub(super) fn agency(network: &Path, organisation: &str) -> PathBuf {
    network.join("agencies").join(organisation)
}

/// Where the platform's own connection to an organisation's nodes has its certificates.
pub(super) fn sdk(network: &Path, organisation: &str) -> PathBuf {
    agency(network, organisation).join("sdk")
}

/// The genesis file of a group in a node's folder; the first group has upstream's name.
pub(super) fn genesis_name(spec: &NetworkSpec, group: &str) -> String {
    match spec.channels.first() {
        Some(first) if first.name != group => format!("{group}.genesis"),
        _ => "config.genesis".to_owned(),
    }
}

/// What the chain builder prints.
#[derive(Deserialize)]
struct Built {
    nodes: Vec<BuiltNode>,
}

#[derive(Deserialize)]
struct BuiltNode {
    node_id: String,
}

impl Bcos {
    /// Runs the chain builder.
    async fn build_chain(&self, args: Vec<String>) -> Result<Vec<String>, EngineError> {
        let failed = |why: String| EngineError::Io { what: "run the chain builder".into(), source: Error::other(why) };
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("build_chain").args(args).args(["--output", "json"]).kill_on_drop(true).env_clear();
        let output = command.output().await.map_err(io("run", &self.program))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let built: Built = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        Ok(built.nodes.into_iter().map(|node| node.node_id).collect())
    }

    /// Makes an organisation's authority, its SDK's certificate, and the folders of its first nodes. What is there stays.
    pub(super) async fn make_agency(
        &self,
        place: Place<'_>,
        organisation: &str,
        nodes: &[&NodeSpec],
    ) -> Result<(), EngineError> {
        let home = agency(place.folder, organisation);
        if !home.exists() {
            let work = fresh(&place.folder.join("agencies"), organisation)?;
            let program = stub(&work)?;
            let text = |path: &Path| path.display().to_string();
            let chain = place.spec.chain_id.clone().unwrap_or_else(|| "chain0".into());
            let group = place.spec.channels.first().map_or("group0", |group| group.name.as_str()).to_owned();
            let mut args =
                vec!["-l".into(), format!("127.0.0.1:{}", nodes.len().max(1)), "-o".into(), text(&work.join("built"))];
            args.extend([
                "-p".into(),
                "30300,20200".into(),
                "--web3-port".into(),
                "8545".into(),
                "-e".into(),
                text(&program),
            ]);
            args.extend(["-I".into(), chain, "-g".into(), group, "-T".into(), place.spec.consensus.clone()]);
            self.build_chain(args).await?;
            let built = work.join("built");
            for (from, to) in [("ca", "ca"), ("127.0.0.1/sdk", "sdk")] {
                let (from, to) = (built.join(from), work.join(to));
                fs::rename(&from, &to).map_err(io("move", &from))?;
            }
            fs::rename(&work, &home).map_err(io("move", &work))?;
        }
        let built = home.join("built/127.0.0.1");
        for (index, spec) in nodes.iter().enumerate() {
            let (from, to) = (built.join(format!("node{index}")), node(place.folder, &spec.id));
            if from.exists() {
                private_folder(&place.folder.join("nodes"))?;
                finish(&from)?;
                remove_folder(&to)?;
                fs::rename(&from, &to).map_err(io("move", &from))?;
            }
        }
        remove_folder(&home.join("built"))
    }

    /// Makes the folder of one more node of an organisation.
    pub(super) async fn make_node(&self, place: Place<'_>, spec: &NodeSpec) -> Result<(), EngineError> {
        let home = node(place.folder, &spec.id);
        if home.exists() {
            return Ok(());
        }
        let pattern = place
            .spec
            .nodes
            .iter()
            .map(|other| node(place.folder, &other.id))
            .find(|other| other.join("config.genesis").exists())
            .ok_or_else(|| {
                EngineError::Unsupported("this network was not made here, so no node can be added to it here".into())
            })?;
        let work = fresh(&place.folder.join("nodes"), &spec.id)?;
        let program = stub(&work)?;
        let made = work.join("node");
        let text = |path: &Path| path.display().to_string();
        let authority = agency(place.folder, &spec.organisation).join("ca");
        let mut args = vec!["-C".into(), "expand".into(), "-c".into(), text(&pattern), "-d".into(), text(&authority)];
        args.extend(["-o".into(), text(&made), "-e".into(), text(&program)]);
        self.build_chain(args).await?;
        finish(&made)?;
        fs::rename(&made, &home).map_err(io("move", &made))?;
        remove_folder(&work)
    }
}

/// An empty folder to make something in. What earlier attempts left is taken away as far as that goes: a chain builder may still be
/// writing there that a server started which was killed since.
fn fresh(folder: &Path, name: &str) -> Result<PathBuf, EngineError> {
    let start = format!(".{name}.new-");
    for left in fs::read_dir(folder).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().starts_with(&start) {
            let _in_use = remove_folder(&left.path());
        }
    }
    let work = folder.join(format!("{start}{}", hex::encode(random_bytes::<8>())));
    private_folder(&work)?;
    Ok(work)
}

/// What the chain builder takes for the node's program; drivers start the real one.
fn stub(folder: &Path) -> Result<PathBuf, EngineError> {
    let path = folder.join("program");
    write(&path, b"The platform starts the nodes of this network.\n")?;
    Ok(path)
}

/// Takes away what a node under the platform has no use for.
fn finish(folder: &Path) -> Result<(), EngineError> {
    for script in ["start.sh", "stop.sh"] {
        remove_file(&folder.join(script))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io("protect", folder))
}

/// The node's id in consensus, from its folder.
pub(super) fn node_id(network: &Path, id: &str) -> Result<String, EngineError> {
    let path = node(network, id).join("conf/node.nodeid");
    read(&path).map(|text| text.trim().to_owned())
}

/// The consensus ids of nodes, in their order.
pub(super) fn sealers<'a>(
    network: &Path,
    nodes: impl Iterator<Item = &'a NodeSpec>,
) -> Result<Vec<String>, EngineError> {
    nodes.filter(|node| node.role == "sealer").map(|node| node_id(network, &node.id)).collect()
}

/// The text of a group's genesis, from one that the chain builder wrote.
pub(super) fn genesis(spec: &NetworkSpec, pattern: &str, group: &str, sealers: &[String]) -> String {
    let mut text = ini::without(pattern, "consensus", "node.");
    for (index, id) in sealers.iter().enumerate() {
        text = ini::set(&text, "consensus", &format!("node.{index}"), &format!("{id}:1"));
    }
    let transactions = spec.block_transactions.to_string();
    let web3 = plan::web3_chain_id(&spec.id).to_string();
    for (section, key, value) in [
        ("chain", "group_id", group),
        ("web3", "chain_id", &web3),
        ("consensus", "consensus_type", &spec.consensus),
        ("consensus", "block_tx_count_limit", &transactions),
    ] {
        text = ini::set(&text, section, key, value);
    }
    if let Some(chain) = &spec.chain_id {
        text = ini::set(&text, "chain", "chain_id", chain);
    }
    text
}

/// Writes what may change while a network lives: ports, partners and trusted authorities of one node.
pub(super) fn configure(place: Place<'_>, spec: &NodeSpec) -> Result<(), EngineError> {
    let home = node(place.folder, &spec.id);
    let path = home.join("config.ini");
    let mut text = read(&path)?;
    let listen = place.driver.listen_address();
    let port = |name: &str| spec.ports.get(name).map(ToString::to_string).unwrap_or_default();
    let seal = place.spec.block_time_ms.to_string();
    for section in ["p2p", "rpc", "web3_rpc"] {
        text = ini::set(&text, section, "listen_ip", listen);
    }
    let metrics = port("metrics");
    let metrics = if metrics.is_empty() { metrics } else { format!("{listen}:{metrics}") };
    for (section, key, value) in [
        ("p2p", "listen_port", port("p2p")),
        ("rpc", "listen_port", port("rpc")),
        ("web3_rpc", "listen_port", port("web3")),
        ("consensus", "min_seal_time", seal),
        ("metrics", "listen", metrics),
    ] {
        text = ini::set(&text, section, key, &value);
    }
    write(&path, text.as_bytes())?;
    write_partners(place, spec)?;
    trust(place, spec)
}

/// Writes which other nodes a node dials; it looks at the file while it runs.
pub(super) fn write_partners(place: Place<'_>, spec: &NodeSpec) -> Result<(), EngineError> {
    let mut partners = BTreeMap::new();
    for other in &place.spec.nodes {
        let address = match other.external.as_ref().and_then(|external| external.get("p2p")) {
            Some(address) => Some(address.clone()),
            None => other.ports.get("p2p").map(|port| place.driver.between_nodes(&other.hostname, *port)),
        };
        if let Some(address) = address {
            partners.insert(other.id.clone(), address);
        }
    }
    let list: Vec<&String> = partners.values().collect();
    let text = format!("{}\n", serde_json::json!({ "nodes": list }));
    write(&node(place.folder, &spec.id).join("nodes.json"), text.as_bytes())
}

/// Gives a node the authorities of the other organisations, which it reads when it starts.
fn trust(place: Place<'_>, spec: &NodeSpec) -> Result<(), EngineError> {
    let conf = node(place.folder, &spec.id).join("conf");
    let folder = conf.join("multiCaPath");
    private_folder(&folder)?;
    for other in &place.spec.organisations {
        let from = agency(place.folder, &other.name).join("ca/ca.crt");
        if other.name != spec.organisation && from.exists() {
            let certificate = fs::read(&from).map_err(io("read", &from))?;
            // The node reads every file in that folder, half a one too.
            let name = format!("{}.crt", other.name);
            write_by_way_of(&conf.join(&name), &folder.join(&name), &certificate)?;
        }
    }
    Ok(())
}

/// The text of a group's genesis as its nodes have it.
pub(super) fn genesis_of(place: Place<'_>, group: &str) -> Result<String, EngineError> {
    let name = genesis_name(place.spec, group);
    let mut nodes = place.spec.nodes.iter().map(|other| node(place.folder, &other.id).join(&name));
    let path = nodes.find(|path| path.exists());
    let path = path.ok_or_else(|| EngineError::NotFound { what: format!("the genesis of the group {group}") })?;
    read(&path)
}

/// Puts a group's genesis into the folder of every node that runs it.
pub(super) fn write_genesis(place: Place<'_>, channel: &ChannelSpec, text: &str) -> Result<(), EngineError> {
    let name = genesis_name(place.spec, &channel.name);
    for id in &channel.nodes {
        write(&node(place.folder, id).join(&name), text.as_bytes())?;
    }
    Ok(())
}
