//! Builds the folders of a new chain, or of one more node, in upstream's layout: configuration, certificates, keys and
//! scripts, ready to be copied to the hosts.
//!
//! ```text
//! nodes/ca/{ca.crt,ca.key}
//! nodes/127.0.0.1/{start_all.sh,stop_all.sh,fisco-bcos}
//! nodes/127.0.0.1/sdk/{ca.crt,sdk.crt,sdk.key}
//! nodes/127.0.0.1/node0/{config.ini,config.genesis,nodes.json,start.sh,stop.sh}
//! nodes/127.0.0.1/node0/conf/{ca.crt,ssl.crt,ssl.key,ssl.nodeid,node.pem,node.nodeid}
//! ```

mod certificates;
mod files;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use konsort_crypto::{SuiteKey, SuiteKind};
use konsort_pki::key_file;

use certificates::Authority;
pub use files::{Consensus, NodeFiles};

/// The version that new chains are compatible with.
pub const COMPATIBILITY_VERSION: &str = "3.16.4";
/// Nodes one plan may ask for.
const MOST_NODES: usize = 1000;

/// Why a chain cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A file could not be written or read.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Something that would be overwritten is there.
    #[error("{0} exists already; choose another output folder with -o, or remove it")]
    Exists(PathBuf),
    /// Something needed is not there.
    #[error("{path} does not exist; {hint}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// The plan makes no chain.
    #[error("{0}")]
    Plan(String),
    /// A key or certificate cannot be made or read.
    #[error("{path}: {reason}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

pub(crate) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_path_buf();
    move |source| BuildError::File { action, path, source }
}

/// The hosts of `-l`: an address and how many nodes run there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// IPv4 or IPv6 address (without brackets) or a DNS name.
    pub address: String,
    /// Nodes on it.
    pub nodes: usize,
}

impl Host {
    /// Reads `ip1:n1,ip2:n2`; an IPv6 address stands in brackets; a missing count means one.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, BuildError> {
        let wrong = |part: &str, reason: &str| {
            BuildError::Plan(format!("-l {part:?}: {reason}; write address:count, for example 127.0.0.1:4"))
        };
        let mut hosts: Vec<Self> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (address, count) = if let Some(rest) = part.strip_prefix('[') {
                let (address, rest) = rest.split_once(']').ok_or_else(|| wrong(part, "the bracket is not closed"))?;
                (address, rest.strip_prefix(':').unwrap_or("1"))
            } else {
                part.rsplit_once(':').unwrap_or((part, "1"))
            };
            let nodes = count.parse().ok().filter(|nodes| (1..=MOST_NODES).contains(nodes));
            let nodes = nodes.ok_or_else(|| wrong(part, "the count is no number from 1 to 1000"))?;
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
            if address.is_empty() || address.starts_with('.') || !address.chars().all(plain) {
                return Err(wrong(part, "the address is no IP address or host name"));
            }
            match hosts.iter_mut().find(|host| host.address == address) {
                Some(host) => host.nodes += nodes,
                None => hosts.push(Self { address: address.to_owned(), nodes }),
            }
        }
        match hosts.iter().map(|host| host.nodes).sum::<usize>() {
            0 => Err(BuildError::Plan("-l names no host; write for example -l 127.0.0.1:4".into())),
            1..=MOST_NODES => Ok(hosts),
            count => {
                Err(BuildError::Plan(format!("-l asks for {count} nodes; at most {MOST_NODES} are built at once")))
            }
        }
    }
}

/// What is to be built; the letters are upstream's options.
#[derive(Clone, Debug)]
pub struct ChainPlan {
    /// `-l`
    pub hosts: Vec<Host>,
    /// `-o`
    pub output: PathBuf,
    /// `-d`: a folder with `ca.crt` and `ca.key` to issue from; without it an authority is made in `OUTPUT/ca`.
    pub authority: Option<PathBuf>,
    /// `-e`: the program that is copied beside the nodes.
    pub program: PathBuf,
    /// `-n`: a folder whose PEM files become the nodes' keys, in the order of their names.
    pub keys: Option<PathBuf>,
    /// What all nodes share.
    pub files: NodeFiles,
}

/// A node that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltNode {
    /// Its folder.
    pub folder: PathBuf,
    /// Its id in consensus: 128 hex digits.
    pub node_id: String,
    /// Address and port of its peer-to-peer listener.
    pub p2p: String,
    /// Address and port of its JSON-RPC listener.
    pub rpc: String,
    /// Address and port of its Ethereum JSON-RPC listener, where it has one.
    pub web3: Option<String>,
}

/// A chain that was built.
#[derive(Clone, Debug)]
pub struct BuiltChain {
    /// The nodes, host by host.
    pub nodes: Vec<BuiltNode>,
    /// The SDK's certificate folders, one per host.
    pub sdk: Vec<PathBuf>,
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn make_folder(path: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(path).map_err(file_error("make the folder", path))
}

fn refuse_existing(path: &Path) -> Result<(), BuildError> {
    if path.exists() { Err(BuildError::Exists(path.to_path_buf())) } else { Ok(()) }
}

/// Builds a chain; `say` gets a line per step.
///
/// What exists is never overwritten: the first folder that is there already ends the work before anything is written.
pub fn build(plan: &ChainPlan, say: &mut dyn FnMut(&str)) -> Result<BuiltChain, BuildError> {
    files::check_name("group", "-g", &plan.files.group_id)?;
    files::check_name("chain", "-I", &plan.files.chain_id)?;
    for host in &plan.hosts {
        refuse_existing(&plan.output.join(&host.address))?;
        let last = u16::try_from(host.nodes - 1).ok();
        let top = plan.files.p2p_port.max(plan.files.rpc_port).max(plan.files.web3_port.unwrap_or(0));
        if last.and_then(|last| top.checked_add(last)).is_none() {
            return Err(BuildError::Plan(format!(
                "-p: {} nodes on {} from port {top} leave the range of ports; choose lower ones",
                host.nodes, host.address
            )));
        }
    }
    if !plan.program.is_file() {
        return Err(BuildError::Missing { path: plan.program.clone(), hint: "name the node's program with -e" });
    }
    let keys = plan.keys.as_deref().map(key_files).transpose()?;
    let wanted: usize = plan.hosts.iter().map(|host| host.nodes).sum();
    if let Some(keys) = keys.as_ref().filter(|keys| keys.len() < wanted) {
        return Err(BuildError::Plan(format!("-n holds {} keys, but {wanted} nodes are to be built", keys.len())));
    }
    let authority = if let Some(folder) = &plan.authority {
        Authority::read(folder)?
    } else {
        let folder = plan.output.join("ca");
        refuse_existing(&folder)?;
        let authority = Authority::make(&plan.files.chain_id, &folder)?;
        say("Generate ca cert successfully!");
        authority
    };
    // Keys of 2048 bits take a while, so all cores make them.
    let certificates = authority.issue(wanted + plan.hosts.len())?;
    let mut certificates = certificates.into_iter();
    let mut built = BuiltChain { nodes: Vec::new(), sdk: Vec::new() };
    for host in &plan.hosts {
        let folder = plan.output.join(&host.address);
        let sdk = folder.join("sdk");
        if let Some(certificate) = certificates.next() {
            certificate.write(&authority, &sdk, "sdk")?;
        }
        built.sdk.push(sdk);
        files::write_host(&folder, &plan.program)?;
        for index in 0..host.nodes {
            let node = folder.join(format!("node{index}"));
            let conf = node.join("conf");
            if let Some(certificate) = certificates.next() {
                certificate.write(&authority, &conf, "ssl")?;
            }
            let key = keys.as_ref().map(|keys| read_key(&keys[built.nodes.len()])).transpose()?;
            let node_id = write_key(&conf, key.unwrap_or_else(|| SuiteKey::generate(SuiteKind::International)))?;
            say(&format!("Generate {} cert successful!", conf.display()));
            let offset = u16::try_from(index).unwrap_or(u16::MAX);
            let address = |port: u16| with_port(&host.address, port + offset);
            built.nodes.push(BuiltNode {
                folder: node,
                node_id,
                p2p: address(plan.files.p2p_port),
                rpc: address(plan.files.rpc_port),
                web3: plan.files.web3_port.map(address),
            });
        }
    }
    let sealers: Vec<&str> = built.nodes.iter().map(|node| node.node_id.as_str()).collect();
    let genesis = plan.files.genesis(&sealers);
    let peers: Vec<&str> = built.nodes.iter().map(|node| node.p2p.as_str()).collect();
    for (node, index) in built.nodes.iter().zip(plan.hosts.iter().flat_map(|host| 0..host.nodes)) {
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        files::write_text(&node.folder.join("config.genesis"), &genesis)?;
        files::write_text(&node.folder.join("config.ini"), &plan.files.config(offset))?;
        files::write_text(&node.folder.join("nodes.json"), &files::connected(&peers))?;
        files::write_node_scripts(&node.folder)?;
    }
    Ok(built)
}

/// One more node of a chain.
#[derive(Clone, Debug)]
pub struct ExpandPlan {
    /// `-c`: the folder with the `config.ini`, `config.genesis` and `nodes.json` the node gets.
    pub configuration: PathBuf,
    /// `-d`: the folder with the chain's `ca.crt` and `ca.key`.
    pub authority: PathBuf,
    /// `-o`: the node's folder.
    pub output: PathBuf,
    /// `-e`
    pub program: PathBuf,
}

/// Builds the folder of one more node and gives its id; it starts as an observer once a member has added it.
pub fn expand(plan: &ExpandPlan, say: &mut dyn FnMut(&str)) -> Result<String, BuildError> {
    refuse_existing(&plan.output)?;
    let sources = ["config.ini", "config.genesis", "nodes.json"].map(|name| plan.configuration.join(name));
    for path in &sources {
        if !path.is_file() {
            let hint = "copy config.ini, config.genesis and nodes.json of a node there, adapt ports and peers, and name the folder with -c";
            return Err(BuildError::Missing { path: path.clone(), hint });
        }
    }
    let authority = Authority::read(&plan.authority)?;
    let host = plan.output.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut certificates = authority.issue(2)?.into_iter();
    let conf = plan.output.join("conf");
    if let Some(certificate) = certificates.next() {
        certificate.write(&authority, &conf, "ssl")?;
    }
    say(&format!("Generate {} cert successful!", conf.display()));
    let node_id = write_key(&conf, SuiteKey::generate(SuiteKind::International))?;
    let sdk = host.join("sdk");
    if !sdk.exists()
        && let Some(certificate) = certificates.next()
    {
        certificate.write(&authority, &sdk, "sdk")?;
        say(&format!("generate sdk cert, path: {} ..", sdk.display()));
    }
    files::write_host(&host, &plan.program)?;
    files::write_node_scripts(&plan.output)?;
    for path in &sources {
        let to = plan.output.join(path.file_name().unwrap_or_default());
        fs::copy(path, &to).map_err(file_error("write", &to))?;
    }
    Ok(node_id)
}

fn key_files(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(folder).map_err(file_error("read the folder", folder))?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .collect();
    paths.sort();
    Ok(paths)
}

fn read_key(path: &Path) -> Result<SuiteKey, BuildError> {
    let text = zeroize::Zeroizing::new(fs::read_to_string(path).map_err(file_error("read", path))?);
    let wrong = |reason: String| BuildError::Certificate { path: path.to_path_buf(), reason };
    let key = SuiteKey::from_pem(&text).map_err(|error| wrong(error.to_string()))?;
    if key.kind() == SuiteKind::International {
        Ok(key)
    } else {
        Err(wrong("this is an SM2 key; nodes of this chain have keys on secp256k1".into()))
    }
}

fn write_key(conf: &Path, key: SuiteKey) -> Result<String, BuildError> {
    make_folder(conf)?;
    let path = conf.join("node.pem");
    key_file::write_secret(&path, key.to_pem().as_bytes()).map_err(file_error("write", &path))?;
    let node_id = hex::encode(key.public_key());
    files::write_text(&conf.join("node.nodeid"), &node_id)?;
    Ok(node_id)
}

#[cfg(test)]
mod tests;
