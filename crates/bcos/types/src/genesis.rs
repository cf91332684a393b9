//! The genesis block: its text, in upstream's exact spelling, and its header.

use std::fmt::Write as _;

use crate::header::BlockHeader;

/// What the genesis text says; two nodes are on the same chain when it is equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisSettings {
    /// Whether the chain uses SM2 and SM3.
    pub sm_crypto: bool,
    /// The chain id.
    pub chain_id: String,
    /// The group id.
    pub group_id: String,
    /// `pbft` or `rpbft`, or another engine of this platform.
    pub consensus_type: String,
    /// The most transactions in a block.
    pub block_tx_count_limit: u64,
    /// How many blocks in a row one leader proposes.
    pub leader_period: u64,
    /// Such as `3.16.4`.
    pub compatibility_version: String,
    /// The gas limit of a transaction.
    pub gas_limit: u64,
    /// Whether contracts are WASM.
    pub is_wasm: bool,
    /// Whether the committee's permissions are on.
    pub is_auth_check: bool,
    /// The first governor's address, or empty.
    pub auth_admin_account: String,
    /// Whether execution is serial.
    pub is_serial_execute: bool,
    /// How many sealers work in an epoch of rotating PBFT.
    pub epoch_sealer_num: u64,
    /// How many blocks an epoch of rotating PBFT lasts.
    pub epoch_block_num: u64,
    /// The section `[features]` of config.genesis, in its order; `None` when it has none.
    pub features: Option<Vec<(String, bool)>>,
    /// Node ids in hex and weights of the first sealers, in any order.
    pub sealers: Vec<(String, u64)>,
}

/// Why a version text is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the version {0:?} is not three numbers below 256 with dots, such as 3.16.4")]
pub struct VersionError(String);

/// `3.16.4` as headers carry it: 0x03100400.
pub fn version_number(text: &str) -> Result<u32, VersionError> {
    let parts: Option<Vec<u8>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[major, minor, patch]) => Ok(u32::from_be_bytes([major, minor, patch, 0])),
        _ => Err(VersionError(text.to_owned())),
    }
}

/// A header's version as text: `3.16.4`.
pub fn version_text(version: u32) -> String {
    let [major, minor, patch, _] = version.to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

impl GenesisSettings {
    /// The text that is the genesis header's extra data. Keys are spelled and spaced as upstream writes them.
    pub fn text(&self) -> Result<String, VersionError> {
        let version = version_number(&self.compatibility_version)?;
        let flag = |on: bool| u8::from(on);
        let mut sealers: Vec<_> = self.sealers.iter().collect();
        sealers.sort();

        let mut out = format!(
            "[chain]\nsm_crypto:{}\nchainID: {}\ngrouID: {}\n\
             [consensys]\nconsensus_type: {}\nblock_tx_count_limit:{}\nleader_period:{}\n\
             [version]\ncompatibility_version:{}\n[tx]\ngaslimit:{}\n\
             [executor]\niswasm: {}\nisAuthCheck:{}\nauthAdminAccount:{}\nisSerialExecute:{}\n",
            flag(self.sm_crypto),
            self.chain_id,
            self.group_id,
            self.consensus_type,
            self.block_tx_count_limit,
            self.leader_period,
            self.compatibility_version,
            self.gas_limit,
            flag(self.is_wasm),
            flag(self.is_auth_check),
            self.auth_admin_account,
            flag(self.is_serial_execute),
        );
        // Writing to a String cannot fail.
        if version >= 0x0305_0000 {
            let _ = write!(out, "epochSealerNum:{}\nepochBlockNum:{}\n", self.epoch_sealer_num, self.epoch_block_num);
        }
        if let Some(features) = &self.features {
            out.push_str("[features]\n");
            for (name, on) in features {
                let _ = writeln!(out, "{name}:{}", flag(*on));
            }
        }
        for (index, (id, weight)) in sealers.into_iter().enumerate() {
            let _ = writeln!(out, "node.{index}:{id},{weight}");
        }
        Ok(out)
    }

    /// The genesis header; its hash is left to [`BlockHeader::seal`].
    pub fn header(&self) -> Result<BlockHeader, VersionError> {
        Ok(BlockHeader {
            version: version_number(&self.compatibility_version)?,
            extra_data: self.text()?.into_bytes().into(),
            ..BlockHeader::default()
        })
    }
}
