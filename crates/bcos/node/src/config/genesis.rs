//! `config.genesis`: what all nodes of a group must agree on.

use std::path::Path;

use super::{ConfigError, Ini};

/// How the sealers agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsensusKind {
    /// Practical Byzantine fault tolerance among all sealers.
    Pbft,
    /// The same among working sealers that rotate.
    Rpbft,
    /// Raft: tolerates crashes only. Upstream 3.x has no such choice; the name is the one of its 2.x.
    Raft,
}

impl ConsensusKind {
    /// The name in `config.genesis`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pbft => "pbft",
            Self::Rpbft => "rpbft",
            Self::Raft => "raft",
        }
    }
}

/// A sealer of the first block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisNode {
    /// Public key, 128 lower-case hex digits.
    pub id: String,
    /// Voting weight.
    pub weight: u64,
    /// Weight in the choice of working sealers (rPBFT).
    pub term_weight: u64,
}

/// The content of `config.genesis`.
#[derive(Clone, Debug)]
pub struct GenesisConfig {
    /// `chain.chain_id`.
    pub chain_id: String,
    /// `chain.group_id`.
    pub group_id: String,
    /// `chain.sm_crypto`.
    pub sm_crypto: bool,
    /// `chain.block_limit`: how far ahead a transaction's blockLimit may be.
    pub block_limit: u64,
    /// `web3.chain_id`.
    pub web3_chain_id: u64,
    /// `consensus.consensus_type`.
    pub consensus: ConsensusKind,
    /// `consensus.block_tx_count_limit`.
    pub tx_count_limit: u64,
    /// `consensus.consensus_timeout` in milliseconds.
    pub consensus_timeout_ms: u64,
    /// `consensus.leader_period`.
    pub leader_period: u64,
    /// `consensus.node.N`.
    pub nodes: Vec<GenesisNode>,
    /// `version.compatibility_version`.
    pub compatibility: String,
    /// `tx.gas_limit`.
    pub gas_limit: u64,
    /// `executor.is_auth_check`.
    pub auth_check: bool,
    /// `executor.auth_admin_account`, with 0x, or empty.
    pub auth_admin: String,
    /// `executor.is_serial_execute`.
    pub serial: bool,
    /// `[features]`: flag and whether it is on, in file order; `None` without the section.
    pub features: Option<Vec<(String, bool)>>,
    /// `consensus.epoch_sealer_num` (the genesis text carries it under every engine).
    pub epoch_sealer_num: u64,
    /// `consensus.epoch_block_num`.
    pub epoch_block_num: u64,
}

const SUPPORTED: (u32, u32) = (3, 16);

impl GenesisConfig {
    /// Reads and checks the file's text.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let ini = Ini::parse(text, path)?;
        let chain_id = identifier(&ini, "chain_id", "chain")?;
        let group_id = identifier(&ini, "group_id", "group")?;
        let compatibility = compatibility(&ini)?;
        if ini.flag("executor", "is_wasm", false)? {
            return Err(ini.error("executor", "is_wasm", "WASM chains are not supported; write false"));
        }
        if ini.number("executor", "version", 1, 0, 1)? == 0 {
            return Err(ini.error("executor", "version", "executor version 0 is not supported; write 1"));
        }
        // Upstream reads the epoch only for rPBFT and keeps these two numbers otherwise.
        let (epoch_sealer_num, epoch_block_num) = if ini.get("consensus", "consensus_type") == Some("rpbft") {
            (
                ini.number("consensus", "epoch_sealer_num", 4, 1, 10_000)?,
                ini.number("consensus", "epoch_block_num", 1000, 1, u64::from(u32::MAX))?,
            )
        } else {
            (4, 1000)
        };
        let consensus = match ini.get("consensus", "consensus_type").unwrap_or("pbft") {
            "pbft" => ConsensusKind::Pbft,
            "rpbft" => ConsensusKind::Rpbft,
            "raft" => ConsensusKind::Raft,
            other => {
                let reason = format!("{other:?} is no consensus type; write pbft, rpbft or raft");
                return Err(ini.error("consensus", "consensus_type", reason));
            }
        };
        if let Some((key, _)) = ini.section("alloc").and_then(<[_]>::first) {
            return Err(ini.error(
                "alloc",
                key,
                "accounts in the first block are not supported; remove the section [alloc]",
            ));
        }
        let sm_crypto = ini.flag("chain", "sm_crypto", false)?;
        let auth_check = ini.flag("executor", "is_auth_check", false)?;
        let auth_admin = ini.text("executor", "auth_admin_account", "");
        if auth_check {
            // A chain that promises checks which nobody makes is worse than none.
            let reason = "permissions of contracts and the committee are not there yet; write false";
            return Err(ini.error("executor", "is_auth_check", reason));
        }
        Ok(Self {
            chain_id,
            group_id,
            sm_crypto,
            block_limit: ini.number("chain", "block_limit", 1000, 1, 5000)?,
            web3_chain_id: ini.number("web3", "chain_id", 0, 0, u64::from(u32::MAX))?,
            consensus,
            tx_count_limit: ini.number("consensus", "block_tx_count_limit", 1000, 1, 1_000_000)?,
            consensus_timeout_ms: ini.number("consensus", "consensus_timeout", 3000, 3000, 3_600_000)?,
            leader_period: ini.number("consensus", "leader_period", 1, 1, u64::from(u32::MAX))?,
            nodes: sealers(&ini)?,
            compatibility,
            gas_limit: ini.number("tx", "gas_limit", 3_000_000_000, 100_001, i64::MAX as u64)?,
            auth_check,
            auth_admin,
            serial: ini.flag("executor", "is_serial_execute", true)?,
            features: features(&ini)?,
            epoch_sealer_num,
            epoch_block_num,
        })
    }

    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&super::read("the genesis configuration", path)?, path)
    }
}

fn identifier(ini: &Ini, key: &str, default: &str) -> Result<String, ConfigError> {
    let value = ini.text("chain", key, default);
    // It names a folder, too.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if value.is_empty() || value.len() > 64 || value.starts_with('.') || !value.bytes().all(plain) {
        let reason = format!("{value:?} is no identifier; write 1 to 64 letters and digits");
        return Err(ini.error("chain", key, reason));
    }
    Ok(value)
}

/// One behaviour is implemented: the one of 3.16 with every fix on. A chain of an older version expects other results.
fn compatibility(ini: &Ini) -> Result<String, ConfigError> {
    const KEY: &str = "compatibility_version";
    let Some(text) = ini.get("version", KEY) else {
        return Err(ini.error("version", KEY, "it is missing; write compatibility_version=3.16.4"));
    };
    let parts: Vec<Option<u32>> =
        text.trim_start_matches(['v', 'V']).split('.').map(|part| part.parse().ok()).collect();
    let [Some(major), Some(minor), Some(patch)] = parts[..] else {
        return Err(ini.error("version", KEY, format!("{text:?} is no version; write three numbers such as 3.16.4")));
    };
    if (major, minor) != SUPPORTED {
        let reason = format!(
            "version {major}.{minor}.{patch} is not supported, only 3.16.x is: an older chain relies on behaviour that was \
             corrected since; create the chain with compatibility_version=3.16.4"
        );
        return Err(ini.error("version", KEY, reason));
    }
    Ok(format!("{major}.{minor}.{patch}"))
}

fn sealers(ini: &Ini) -> Result<Vec<GenesisNode>, ConfigError> {
    let mut nodes: Vec<GenesisNode> = Vec::new();
    for (key, value) in ini.numbered("consensus", "node.") {
        let wrong = |reason: String| ini.error("consensus", key, reason);
        let mut parts = value.split(':').map(str::trim);
        let id = parts.next().unwrap_or_default().to_ascii_lowercase();
        if id.len() != 128 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
            let reason =
                format!("{id:?} is no node id; write the content of the node's conf/node.nodeid, 128 hex digits");
            return Err(wrong(reason));
        }
        let mut weight = |default: u64, low: u64, what: &str| match parts.next() {
            None => Ok(default),
            Some(text) => match text.parse::<u64>() {
                Ok(weight) if weight >= low && u32::try_from(weight).is_ok() => Ok(weight),
                _ => Err(wrong(format!("the {what} {text:?} is no number from {low} on; write <node id>:<weight>"))),
            },
        };
        let (weight, term_weight) = (weight(1, 1, "weight")?, weight(0, 0, "term weight")?);
        if nodes.iter().any(|node| node.id == id) {
            return Err(wrong(format!("node {id} is listed twice; remove one of the lines")));
        }
        nodes.push(GenesisNode { id, weight, term_weight });
    }
    if nodes.is_empty() {
        return Err(ini.error("consensus", "node.0", "no sealer is listed; write node.0=<node id>:1 for each of them"));
    }
    if nodes.len() > 1000 {
        return Err(ini.error("consensus", "node.1000", "more than 1000 sealers are listed"));
    }
    Ok(nodes)
}

fn features(ini: &Ini) -> Result<Option<Vec<(String, bool)>>, ConfigError> {
    let Some(entries) = ini.section("features") else { return Ok(None) };
    entries
        .iter()
        .map(|(key, _)| Ok((key.clone(), ini.flag("features", key, false)?)))
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(version: &str, node: &str) -> String {
        format!(
            "[chain]\nsm_crypto=false\ngroup_id=group0\nchain_id=chain0\n[web3]\nchain_id=20200\n[consensus]\nconsensus_type=pbft\n\
             block_tx_count_limit=1000\nleader_period=1\n{node}\n[version]\ncompatibility_version={version}\n[tx]\n\
             gas_limit=3000000000\n[executor]\nis_wasm=false\nis_auth_check=false\nauth_admin_account=\n\
             is_serial_execute=true\nversion=1\n"
        )
    }

    fn parse(text: &str) -> Result<GenesisConfig, ConfigError> {
        GenesisConfig::parse(text, Path::new("config.genesis"))
    }

    #[test]
    fn the_builder_s_file_is_read() {
        let id = "AB".repeat(64);
        let genesis = parse(&text("3.16.4", &format!("node.0={id}: 2"))).unwrap();
        assert_eq!(genesis.nodes, [GenesisNode { id: id.to_lowercase(), weight: 2, term_weight: 0 }]);
        assert_eq!((genesis.web3_chain_id, genesis.block_limit), (20200, 1000));
        assert_eq!(genesis.consensus, ConsensusKind::Pbft);
    }

    #[test]
    fn old_versions_and_wrong_nodes_are_refused_by_name() {
        let promised = text("3.16.4", "").replace("is_auth_check=false", "is_auth_check=true");
        assert!(parse(&promised).unwrap_err().to_string().contains("is_auth_check"));
        let node = format!("node.0={}:1", "ab".repeat(64));
        for version in ["3.2.0", "3.15.2", "3.17.0", "2.11.0"] {
            let error = parse(&text(version, &node)).unwrap_err().to_string();
            assert!(error.contains(&format!("version {version} is not supported, only 3.16.x is")), "{error}");
            assert!(error.starts_with("config.genesis, section [version], key compatibility_version"), "{error}");
        }
        assert!(parse(&text("3.16", &node)).is_err());
        assert!(parse(&text("3.16.4", "")).unwrap_err().to_string().contains("no sealer is listed"));
        let short = parse(&text("3.16.4", "node.0=abcd:1")).unwrap_err().to_string();
        assert!(short.contains("128 hex digits"), "{short}");
        let zero = parse(&text("3.16.4", &format!("{node}0").replace(":10", ":0"))).unwrap_err().to_string();
        assert!(zero.contains("the weight \"0\""), "{zero}");
        let twice = parse(&text("3.16.4", &format!("{node}\n{}", node.replace("node.0", "node.1")))).unwrap_err();
        assert!(twice.to_string().contains("is listed twice"));
    }
}
