//! `config.ini`: how this node runs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, GenesisConfig, GroupConfig, Ini, read};

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The `config.ini` it came from.
    pub file: PathBuf,
    /// The groups, one per `config.genesis`.
    pub groups: Vec<GroupConfig>,
    /// `[p2p]`.
    pub p2p: P2pConfig,
    /// `[rpc]`.
    pub rpc: RpcConfig,
    /// `[web3_rpc]`.
    pub web3: Web3RpcConfig,
    /// `[cert]`.
    pub cert: CertConfig,
    /// `security.private_key_path`: the key whose public half is the node id.
    pub key: PathBuf,
    /// `[consensus]`.
    pub consensus: ConsensusConfig,
    /// `[storage]`.
    pub storage: StorageConfig,
    /// `[txpool]`.
    pub pool: PoolConfig,
    /// `[sync]`.
    pub sync: SyncConfig,
    /// `[log]`.
    pub log: LogConfig,
    /// `metrics.listen` (ours): host:port of the Prometheus endpoint; `None` without.
    pub metrics: Option<String>,
}

/// `[p2p]`.
#[derive(Clone, Debug)]
pub struct P2pConfig {
    /// `listen_ip`.
    pub listen_ip: String,
    /// `listen_port`; 0 takes a free one.
    pub listen_port: u16,
    /// `nodes_path`/`nodes_file`: JSON `{"nodes":["ip:port"]}`.
    pub nodes_file: PathBuf,
    /// What that file said at the start.
    pub nodes: Vec<String>,
    /// `sm_ssl`.
    pub sm_ssl: bool,
    /// `allow_max_msg_size` in bytes.
    pub max_message: usize,
    /// `[certificate_blacklist]` `crl.N`, lower case.
    pub deny: Vec<String>,
    /// `[certificate_whitelist]` `cal.N`, lower case; empty lets everybody in that the CA vouches for.
    pub allow: Vec<String>,
}

/// `[rpc]`.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// `listen_ip`.
    pub listen_ip: String,
    /// `listen_port`.
    pub listen_port: u16,
    /// `enable_ssl` (or not `disable_ssl`).
    pub ssl: bool,
    /// `sm_ssl`.
    pub sm_ssl: bool,
    /// `filter_timeout`.
    pub filter_timeout: Duration,
    /// `filter_max_process_block`.
    pub filter_max_blocks: u64,
    /// `return_input_params`.
    pub return_input: bool,
}

/// `[web3_rpc]`.
#[derive(Clone, Debug)]
pub struct Web3RpcConfig {
    /// `enable`.
    pub enable: bool,
    /// `listen_ip`.
    pub listen_ip: String,
    /// `listen_port`.
    pub listen_port: u16,
    /// `filter_timeout`.
    pub filter_timeout: Duration,
    /// `filter_max_process_block`.
    pub filter_max_blocks: u64,
    /// `batch_request_size_limit`; upstream's default is 8, fewer than stock Ethereum clients send unasked.
    pub batch_limit: usize,
    /// `request_body_size_limit` in bytes.
    pub body_limit: usize,
    /// `sync_transaction`: eth_sendRawTransaction waits for the receipt.
    pub sync_transaction: bool,
    /// `enable_cors`.
    pub cors: bool,
    /// `cors_allow_credentials`.
    pub cors_credentials: bool,
    /// `cors_allowed_origins`.
    pub cors_origins: String,
    /// `cors_allowed_methods`.
    pub cors_methods: String,
    /// `cors_allowed_headers`.
    pub cors_headers: String,
    /// `cors_max_age` in seconds.
    pub cors_max_age: u64,
}

/// `[cert]`: TLS material, for p2p and for SDKs alike.
#[derive(Clone, Debug)]
pub struct CertConfig {
    /// `ca_path`/`ca_cert`.
    pub ca: PathBuf,
    /// `ca_path`/`node_cert`.
    pub certificate: PathBuf,
    /// `ca_path`/`node_key`.
    pub key: PathBuf,
    /// `ca_path`/`multi_ca_path`: a folder of further CA certificates; may be missing.
    pub more_ca: PathBuf,
}

/// `[consensus]`.
#[derive(Clone, Debug)]
pub struct ConsensusConfig {
    /// `min_seal_time`: a block that is not full is sealed at most this often.
    pub min_seal: Duration,
    /// `checkpoint_timeout`.
    pub checkpoint_timeout: Duration,
    /// `pipeline_size`: proposals in flight.
    pub pipeline: u64,
}

/// `[storage]`.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// `data_path`; every group has a folder of its own in it.
    pub data: PathBuf,
}

/// `[txpool]`.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// `limit`: transactions that may wait.
    pub limit: usize,
    /// `txs_expiration_time`.
    pub expiry: Duration,
    /// `check_block_limit`.
    pub check_block_limit: bool,
    /// `enable_txs_from_free_node`.
    pub from_free_nodes: bool,
}

/// `[sync]`.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// `allow_free_node`: nodes outside the group may fetch blocks.
    pub allow_free_node: bool,
}

/// `[log]`.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `enable`.
    pub enable: bool,
    /// `enable_console_output`.
    pub console: bool,
    /// `log_path`.
    pub path: PathBuf,
    /// `level`: fatal, error, warning, info, debug or trace.
    pub level: String,
    /// `max_log_file_size` in MiB.
    pub max_mib: u64,
}

impl NodeConfig {
    /// Reads `config.ini` and one `config.genesis` per group.
    pub fn load(ini: &Path, genesis: &[PathBuf]) -> Result<Self, ConfigError> {
        let file = Ini::parse(&read("the node's configuration", ini)?, ini)?;
        let mut config = Self::of(&file)?;
        for path in genesis {
            let text = read("the genesis configuration", path)?;
            let parsed = GenesisConfig::parse(&text, path)?;
            if let Some(other) = config.groups.iter().find(|other| other.genesis.group_id == parsed.group_id) {
                let reason = format!(
                    "group {} is also described by {}; give each group once",
                    parsed.group_id,
                    other.file.display()
                );
                return Err(ConfigError::Groups { path: path.clone(), reason });
            }
            if let Some(first) = config.groups.first()
                && (first.genesis.chain_id != parsed.chain_id || first.genesis.sm_crypto != parsed.sm_crypto)
            {
                let reason = format!(
                    "group {} belongs to chain {} (sm_crypto={}) and group {} to chain {} (sm_crypto={}); one process runs groups of \
                     one chain",
                    parsed.group_id,
                    parsed.chain_id,
                    parsed.sm_crypto,
                    first.genesis.group_id,
                    first.genesis.chain_id,
                    first.genesis.sm_crypto
                );
                return Err(ConfigError::Groups { path: path.clone(), reason });
            }
            let data = config.storage.data.join(&parsed.group_id);
            config.groups.push(GroupConfig { genesis: parsed, data, file: path.clone(), text: text.into() });
        }
        if config.groups.is_empty() {
            let reason = "no config.genesis was given; start with -c config.ini -g config.genesis".to_owned();
            return Err(ConfigError::Groups { path: ini.to_path_buf(), reason });
        }
        Ok(config)
    }

    fn of(ini: &Ini) -> Result<Self, ConfigError> {
        let folder = ini.path().parent().unwrap_or(Path::new(""));
        let place = |section: &str, key: &str, default: &str| folder.join(ini.text(section, key, default));
        for (section, key) in [("storage_security", "enable"), ("security", "enable_hsm")] {
            if ini.flag(section, key, false)? {
                return Err(ini.error(section, key, "this is not supported yet; write false"));
            }
        }
        let sm_ssl = ini.flag("p2p", "sm_ssl", false)?;
        if sm_ssl || ini.flag("rpc", "sm_ssl", false)? {
            let section = if sm_ssl { "p2p" } else { "rpc" };
            return Err(ini.error(section, "sm_ssl", "TLS with SM certificates is not supported yet; write false"));
        }
        let nodes_file = place("p2p", "nodes_path", "./").join(ini.text("p2p", "nodes_file", "nodes.json"));
        let certificates = place("cert", "ca_path", "./");
        let certificate = |key: &str, default: &str| certificates.join(ini.text("cert", key, default));
        let port =
            |section: &str, default: u64| ini.number(section, "listen_port", default, 0, 65535).map(|port| port as u16);
        let seconds = |section: &str, key: &str, default: u64, low: u64| {
            ini.number(section, key, default, low, 100_000_000).map(Duration::from_secs)
        };
        let level = ini.text("log", "level", "info").to_ascii_lowercase();
        if !["fatal", "error", "warning", "info", "debug", "trace"].contains(&level.as_str()) {
            let reason = format!("{level:?} is no level; write error, warning, info, debug or trace");
            return Err(ini.error("log", "level", reason));
        }
        let ssl = match ini.get("rpc", "enable_ssl") {
            Some(_) => ini.flag("rpc", "enable_ssl", true)?,
            None => !ini.flag("rpc", "disable_ssl", false)?,
        };
        // Upstream never lets a transaction expire within one consensus timeout.
        let expiry = seconds("txpool", "txs_expiration_time", 600, 1)?.max(Duration::from_secs(3));
        Ok(Self {
            file: ini.path().to_path_buf(),
            groups: Vec::new(),
            p2p: P2pConfig {
                listen_ip: ini.text("p2p", "listen_ip", "0.0.0.0"),
                listen_port: port("p2p", 30300)?,
                nodes: nodes(&nodes_file)?,
                nodes_file,
                sm_ssl,
                max_message: ini.number("p2p", "allow_max_msg_size", 32 << 20, 1 << 20, 512 << 20)? as usize,
                deny: ids(ini, "certificate_blacklist", "crl.")?,
                allow: ids(ini, "certificate_whitelist", "cal.")?,
            },
            rpc: RpcConfig {
                listen_ip: ini.text("rpc", "listen_ip", "0.0.0.0"),
                listen_port: port("rpc", 20200)?,
                ssl,
                sm_ssl: false,
                filter_timeout: seconds("rpc", "filter_timeout", 300, 1)?,
                filter_max_blocks: ini.number("rpc", "filter_max_process_block", 10, 1, 100_000)?,
                return_input: ini.flag("rpc", "return_input_params", true)?,
            },
            web3: Web3RpcConfig {
                enable: ini.flag("web3_rpc", "enable", false)?,
                listen_ip: ini.text("web3_rpc", "listen_ip", "127.0.0.1"),
                listen_port: port("web3_rpc", 8545)?,
                filter_timeout: seconds("web3_rpc", "filter_timeout", 300, 1)?,
                filter_max_blocks: ini.number("web3_rpc", "filter_max_process_block", 10, 1, 100_000)?,
                batch_limit: ini.number("web3_rpc", "batch_request_size_limit", 1_000, 1, 100_000)? as usize,
                body_limit: ini.number("web3_rpc", "request_body_size_limit", 10_240_000, 1024, 1 << 30)? as usize,
                sync_transaction: ini.flag("web3_rpc", "sync_transaction", false)?,
                cors: ini.flag("web3_rpc", "enable_cors", true)?,
                cors_credentials: ini.flag("web3_rpc", "cors_allow_credentials", true)?,
                cors_origins: ini.text("web3_rpc", "cors_allowed_origins", "*"),
                cors_methods: ini.text("web3_rpc", "cors_allowed_methods", "GET, POST, OPTIONS"),
                cors_headers: ini.text(
                    "web3_rpc",
                    "cors_allowed_headers",
                    "Content-Type, Authorization, X-Requested-With",
                ),
                cors_max_age: ini.number("web3_rpc", "cors_max_age", 86_400, 0, u64::from(u32::MAX))?,
            },
            cert: CertConfig {
                ca: certificate("ca_cert", "ca.crt"),
                certificate: certificate("node_cert", "ssl.crt"),
                key: certificate("node_key", "ssl.key"),
                more_ca: certificate("multi_ca_path", "multiCaPath"),
            },
            key: place("security", "private_key_path", "node.pem"),
            consensus: ConsensusConfig {
                min_seal: Duration::from_millis(ini.number("consensus", "min_seal_time", 500, 0, 3_600_000)?),
                checkpoint_timeout: Duration::from_millis(ini.number(
                    "consensus",
                    "checkpoint_timeout",
                    3000,
                    3000,
                    3_600_000,
                )?),
                pipeline: ini.number("consensus", "pipeline_size", 50, 50, 10_000)?,
            },
            storage: StorageConfig { data: place("storage", "data_path", "data") },
            pool: PoolConfig {
                limit: ini.number("txpool", "limit", 15_000, 1, 10_000_000)? as usize,
                expiry,
                check_block_limit: ini.flag("txpool", "check_block_limit", true)?,
                from_free_nodes: ini.flag("txpool", "enable_txs_from_free_node", false)?,
            },
            sync: SyncConfig { allow_free_node: ini.flag("sync", "allow_free_node", false)? },
            log: LogConfig {
                enable: ini.flag("log", "enable", true)?,
                console: ini.flag("log", "enable_console_output", false)?,
                path: place("log", "log_path", "./log"),
                level,
                max_mib: ini.number("log", "max_log_file_size", 1024, 1, 1 << 20)?,
            },
            metrics: ini.get("metrics", "listen").filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }

    /// Reads the lists of denied and allowed nodes again, as `config.ini` says at this moment.
    pub(crate) fn reload_lists(path: &Path) -> Result<(Vec<String>, Vec<String>), ConfigError> {
        let ini = Ini::parse(&read("the node's configuration", path)?, path)?;
        Ok((ids(&ini, "certificate_blacklist", "crl.")?, ids(&ini, "certificate_whitelist", "cal.")?))
    }
}

/// Upstream names a p2p partner by the modulus of its RSA key; here the node id (the public key it signs with) does as well.
fn ids(ini: &Ini, section: &str, prefix: &str) -> Result<Vec<String>, ConfigError> {
    let mut all = Vec::new();
    for (key, value) in ini.numbered(section, prefix) {
        let id = value.trim_start_matches("0x").to_ascii_lowercase();
        if id.len() < 64 || id.len() > 2048 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            let reason = format!(
                "{value:?} is no node id; write the 128 hex digits of its conf/node.nodeid or its certificate's modulus"
            );
            return Err(ini.error(section, key, reason));
        }
        all.push(id);
    }
    Ok(all)
}

#[derive(Deserialize)]
struct Nodes {
    #[serde(default)]
    nodes: Vec<String>,
}

/// The partners to dial. A node without partners needs no file.
pub(crate) fn nodes(path: &Path) -> Result<Vec<String>, ConfigError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = read("the list of p2p nodes", path)?;
    let wrong = |reason: String| ConfigError::Value {
        path: path.to_path_buf(),
        section: "p2p".into(),
        key: "nodes_file".into(),
        reason,
    };
    let Nodes { nodes } = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("the file is not of the form {{\"nodes\":[\"ip:port\"]}}: {error}")))?;
    if nodes.len() > 10_000 {
        return Err(wrong(format!("{} nodes are too many; list at most 10000", nodes.len())));
    }
    for node in &nodes {
        let valid = node.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !valid {
            return Err(wrong(format!("{node:?} is no address; write ip:port")));
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<NodeConfig, ConfigError> {
        NodeConfig::of(&Ini::parse(text, Path::new("/nodes/node0/config.ini")).unwrap())
    }

    #[test]
    fn defaults_are_upstream_s() {
        let config = of("").unwrap();
        assert_eq!((config.p2p.listen_port, config.rpc.listen_port, config.web3.listen_port), (30300, 20200, 8545));
        assert_eq!((config.pool.limit, config.pool.expiry.as_secs()), (15_000, 600));
        assert_eq!(config.consensus.min_seal.as_millis(), 500);
        assert!(config.rpc.ssl && !config.web3.enable);
        assert_eq!(config.storage.data, Path::new("/nodes/node0/data"));
    }

    #[test]
    fn wrong_values_say_what_to_write() {
        let text = |text: &str| of(text).unwrap_err().to_string();
        assert!(text("[certificate_blacklist]\ncrl.0=xyz").contains("key crl.0: \"xyz\" is no node id"));
        assert!(text("[rpc]\nsm_ssl=true").contains("not supported yet"));
        assert!(text("[log]\nlevel=loud").contains("write error, warning"));
        assert!(!of("[rpc]\ndisable_ssl=true").unwrap().rpc.ssl);
    }

    #[test]
    fn two_files_for_one_group_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let ini = folder.path().join("config.ini");
        std::fs::write(&ini, "[p2p]\nlisten_port=0\n").unwrap();
        let genesis = |name: &str, chain: &str, group: &str| {
            let path = folder.path().join(name);
            let text = format!(
                "[chain]\nchain_id={chain}\ngroup_id={group}\n[consensus]\nnode.0={}:1\n[version]\n\
                 compatibility_version=3.16.4\n",
                "ab".repeat(64)
            );
            std::fs::write(&path, text).unwrap();
            path
        };
        let first = genesis("a", "chain0", "group0");
        assert!(NodeConfig::load(&ini, &[]).unwrap_err().to_string().contains("no config.genesis was given"));
        let both = NodeConfig::load(&ini, &[first.clone(), genesis("b", "chain0", "group1")]).unwrap();
        assert_eq!(both.groups[1].data, folder.path().join("data/group1"));
        let same = NodeConfig::load(&ini, &[first.clone(), genesis("c", "chain0", "group0")]).unwrap_err();
        assert!(same.to_string().contains("give each group once"));
        let other = NodeConfig::load(&ini, &[first, genesis("d", "chain1", "group1")]).unwrap_err();
        assert!(other.to_string().contains("one process runs groups of one chain"));
    }
}
