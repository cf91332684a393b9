//! The text files of a node: configuration with upstream's keys, the genesis, and the scripts that start and stop it.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{BuildError, file_error, make_folder};

/// How the chain agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consensus {
    /// Byzantine faults are tolerated.
    #[default]
    Pbft,
    /// PBFT among sealers that rotate by epochs.
    Rpbft,
    /// Crash faults only.
    Raft,
}

impl Consensus {
    /// The word in `config.genesis` and behind `-T`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pbft => "pbft",
            Self::Rpbft => "rpbft",
            Self::Raft => "raft",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pbft, Self::Rpbft, Self::Raft].into_iter().find(|kind| kind.name() == text.to_ascii_lowercase())
    }
}

/// What the configuration files of all nodes of a chain say; the letters are upstream's options.
#[derive(Clone, Debug)]
pub struct NodeFiles {
    /// `-g`
    pub group_id: String,
    /// `-I`
    pub chain_id: String,
    /// `-T`
    pub consensus: Consensus,
    /// First port of `-p`; node n of a host listens n above it.
    pub p2p_port: u16,
    /// Second port of `-p`.
    pub rpc_port: u16,
    /// Port of the Ethereum JSON-RPC; `None` switches it off.
    pub web3_port: Option<u16>,
    /// Chain id of the Ethereum JSON-RPC.
    pub web3_chain_id: u32,
    /// The address that all listeners are bound to.
    pub listen_ip: String,
    /// Whether SDKs connect by mutual TLS.
    pub rpc_tls: bool,
    /// `-E` makes it `debug`.
    pub log_level: &'static str,
    /// `-R`: whether transactions are executed one after another (the results are the same).
    pub serial: bool,
    /// `min_seal_time`, ms: how long a block that is not full waits for more transactions.
    pub min_seal_ms: u64,
}

impl Default for NodeFiles {
    fn default() -> Self {
        Self {
            group_id: "group0".into(),
            chain_id: "chain0".into(),
            consensus: Consensus::default(),
            p2p_port: 30300,
            rpc_port: 20200,
            web3_port: None,
            web3_chain_id: 20200,
            listen_ip: "0.0.0.0".into(),
            rpc_tls: true,
            log_level: "info",
            serial: false,
            min_seal_ms: 500,
        }
    }
}

pub(super) fn check_name(what: &str, option: &str, name: &str) -> Result<(), BuildError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.chars().all(plain) {
        return Ok(());
    }
    Err(BuildError::Plan(format!("{option}: {what} name [{name}] invalid, it should match regex: ^[a-zA-Z0-9._-]+$")))
}

impl NodeFiles {
    /// `config.genesis` with these sealers, each of weight one.
    pub(super) fn genesis(&self, sealers: &[&str]) -> String {
        let mut nodes = String::new();
        for (index, id) in sealers.iter().enumerate() {
            let _ = writeln!(nodes, "    node.{index}={id}:1");
        }
        format!(
            "[chain]
    ; hash and signatures of the chain: false is Keccak-256 with secp256k1. Never changes.
    sm_crypto=false
    ; never changes
    group_id={group}
    ; never changes
    chain_id={chain}

[web3]
    ; chain id of the Ethereum JSON-RPC
    chain_id={web3}

[consensus]
    ; pbft, rpbft or raft (crash faults only)
    consensus_type={consensus}
    ; most transactions in a block
    block_tx_count_limit=1000
    ; ms, at least 3000
    consensus_timeout=3000
    ; blocks in a row by one leader
    leader_period=1
    ; rpbft: sealers that work at a time
    epoch_sealer_num=4
    ; rpbft: blocks until they rotate
    epoch_block_num=1000
    ; the sealers, node.N=<node id>:<weight>
{nodes}
[version]
    compatibility_version={version}

[tx]
    gas_limit=3000000000

[executor]
    is_wasm=false
    is_auth_check=false
    auth_admin_account=
    ; the results do not depend on it
    is_serial_execute={serial}
    version=1
",
            group = self.group_id,
            chain = self.chain_id,
            web3 = self.web3_chain_id,
            consensus = self.consensus.name(),
            version = super::COMPATIBILITY_VERSION,
            serial = self.serial,
        )
    }

    /// `config.ini` of the node whose ports are this far from the first ones.
    pub(super) fn config(&self, offset: u16) -> String {
        format!(
            "[p2p]
    listen_ip={ip}
    listen_port={p2p}
    ; the nodes to connect to
    nodes_path=./
    nodes_file=nodes.json

[certificate_blacklist]
    ; nodes that may not connect, by node id; read again while the node runs
    ;crl.0=

[certificate_whitelist]
    ; the only nodes that may connect, by node id; read again while the node runs
    ;cal.0=

[rpc]
    listen_ip={ip}
    listen_port={rpc}
    ; mutual TLS with the SDK
    enable_ssl={tls}
    ; whether receipts repeat the transaction's input
    return_input_params=true

[web3_rpc]
    enable={web3}
    listen_ip={ip}
    listen_port={web3_port}
    request_body_size_limit=10240000
    ; true: eth_sendRawTransaction answers after the transaction is in a block
    sync_transaction=false
    enable_cors=true
    cors_allow_credentials=true
    cors_allowed_origins=*
    cors_allowed_methods=GET, POST, OPTIONS
    cors_allowed_headers=Content-Type, Authorization, X-Requested-With
    cors_max_age=86400

[cert]
    ca_path=./conf
    ca_cert=ca.crt
    node_key=ssl.key
    node_cert=ssl.crt
    ; folder of further authorities
    multi_ca_path=multiCaPath

[security]
    private_key_path=conf/node.pem

[consensus]
    ; ms that a block which is not full waits for transactions
    min_seal_time={seal}

[storage]
    data_path=data

[txpool]
    ; most transactions that wait
    limit=15000
    ; seconds until one that was not sealed is given up
    txs_expiration_time=600

[log]
    enable=true
    enable_console_output=false
    log_path=./log
    ; error, warning, info, debug or trace
    level={level}
    ; MiB
    max_log_file_size=1024

[metrics]
    ; host:port of the Prometheus endpoint; empty switches it off
    listen=
",
            ip = self.listen_ip,
            p2p = self.p2p_port + offset,
            rpc = self.rpc_port + offset,
            tls = self.rpc_tls,
            web3 = self.web3_port.is_some(),
            web3_port = self.web3_port.unwrap_or(8545) + offset,
            seal = self.min_seal_ms,
            level = self.log_level,
        )
    }
}

/// `nodes.json`.
pub(super) fn connected(peers: &[&str]) -> String {
    format!("{}\n", serde_json::json!({ "nodes": peers }))
}

pub(super) fn write_text(path: &Path, text: &str) -> Result<(), BuildError> {
    fs::write(path, text).map_err(file_error("write", path))
}

fn write_script(path: &Path, text: &str) -> Result<(), BuildError> {
    write_text(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(file_error("make executable", path))
}

/// The program and the two scripts for all nodes of a host.
pub(super) fn write_host(folder: &Path, program: &Path) -> Result<(), BuildError> {
    make_folder(folder)?;
    let copy = folder.join("fisco-bcos");
    if !copy.exists() {
        fs::copy(program, &copy).map_err(file_error("copy the program to", &copy))?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).map_err(file_error("make executable", &copy))?;
    }
    for (name, wait) in [("start", " &"), ("stop", "")] {
        let path = folder.join(format!("{name}_all.sh"));
        if path.exists() {
            continue;
        }
        let text = format!(
            "#!/bin/bash
# Every node beside this script.
cd \"$(dirname \"$0\")\" || exit 1
for script in */{name}.sh; do
    [ -f \"$(dirname \"$script\")/config.ini\" ] || continue
    echo \"try to {name} $(dirname \"$script\")\"
    bash \"$script\"{wait}
done
wait
"
        );
        write_script(&path, &text)?;
    }
    Ok(())
}

/// What both scripts need: the node's name and, while it runs, its process.
const FIND: &str = r#"#!/bin/bash
cd "$(dirname "$0")" || exit 1
node=$(basename "$PWD")

# The process that works in this folder under the number it left behind.
running() {
    node_pid=$(cat node.pid 2>/dev/null)
    [ -n "$node_pid" ] && [ "$(readlink "/proc/$node_pid/cwd")" = "$(pwd -P)" ] && kill -0 "$node_pid" 2>/dev/null
}
"#;

const START: &str = r#"
if running; then
    echo " $node is running, pid is $node_pid."
    exit 0
fi
: > nohup.out
nohup ../fisco-bcos -c config.ini -g config.genesis >> nohup.out 2>&1 < /dev/null &
echo $! > node.pid
for _ in $(seq 100); do
    sleep 0.1
    if ! running; then
        break
    fi
    if grep -q running nohup.out; then
        echo -e "\033[32m $node start successfully pid=$node_pid\033[0m"
        exit 0
    fi
done
running || rm -f node.pid
echo -e "\033[31m  Exceed waiting time. Please try again to start $node \033[0m"
tail -n20 nohup.out
exit 1
"#;

const STOP: &str = r#"
if ! running; then
    echo " $node isn't running."
    exit 0
fi
kill "$node_pid"
for _ in $(seq 100); do
    sleep 0.1
    if ! running; then
        rm -f node.pid
        echo -e "\033[32m stop $node success.\033[0m"
        exit 0
    fi
done
echo "  Exceed maximum number of retries. Please try again to stop $node"
exit 1
"#;

pub(super) fn write_node_scripts(folder: &Path) -> Result<(), BuildError> {
    write_script(&folder.join("start.sh"), &format!("{FIND}{START}"))?;
    write_script(&folder.join("stop.sh"), &format!("{FIND}{STOP}"))
}
