//! The door between execution and state: what a transaction may ask of the state below it, and what it leaves behind.
//!
//! Execution never writes. It reads through [`StateAccess`] and hands back a [`TxOutcome`] with every key it read (also
//! the absent ones) and every key it wants written, so that a scheduler may run transactions speculatively, prove that
//! no read is stale, and run again those whose reads are.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};

/// Table of system settings. Key: name in lower case; value: [`SystemValue`].
pub const SYSTEM_CONFIG_TABLE: &str = "s_config";
/// Table of consensus nodes. One row under [`CONSENSUS_NODES_KEY`]; value: [`ConsensusNodes`].
pub const CONSENSUS_TABLE: &str = "s_consensus";
/// The only key of [`CONSENSUS_TABLE`].
pub const CONSENSUS_NODES_KEY: &[u8] = b"key";

/// One cell of the world state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateKey {
    /// Nonce, balance and code hash of an account; value: [`AccountRecord`].
    Account(Address),
    /// One storage slot of a contract; value: 32 bytes, big-endian. Zero is absent.
    Slot(Address, B256),
    /// Contract code by its hash (of the chain's suite). Never rewritten with other bytes.
    Code(B256),
    /// ABI text by code hash, as given at deployment.
    Abi(B256),
    /// A row of a named table: system tables, directories of the contract file system, user tables.
    Row {
        /// Table name, for example `s_config` or `u_person`.
        table: Arc<str>,
        /// Row key.
        key: Bytes,
    },
}

impl StateKey {
    /// A row of a table.
    pub fn row(table: impl Into<Arc<str>>, key: impl Into<Bytes>) -> Self {
        Self::Row { table: table.into(), key: key.into() }
    }
}

/// One thing a transaction looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateRead {
    /// One cell, present or absent.
    Key(StateKey),
    /// A range of a table: stale as soon as any row of the table was written in between.
    Table(Arc<str>),
}

/// Why the state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The store failed; the block cannot be executed now.
    #[error("state store failed: {0}; check the disk and the node's log, then restart the node")]
    Store(String),
    /// Speculative execution read a cell that transaction `index` of the block has still to write.
    #[error("cell is still to be written by transaction {index} of the block; run this transaction again after it")]
    Dependency {
        /// Position in the block of the transaction waited for.
        index: u32,
    },
}

/// World state as one transaction sees it.
pub trait StateAccess {
    /// Value of one cell, `None` when absent.
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError>;

    /// Up to `limit` rows of a table in key order, starting with the first key that is not below `from`.
    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError>;

    /// Hash of a committed or executed ancestor block, `None` when not kept.
    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError>;
}

/// Settings of the block a transaction runs in. System settings are those in force at [`number`](Self::number).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEnv {
    /// Height of the block.
    pub number: u64,
    /// Time of the block, milliseconds since 1970.
    pub timestamp_ms: u64,
    /// `feature_evm_timestamp`: TIMESTAMP answers in seconds. Off by default: it answers in milliseconds.
    pub timestamp_in_seconds: bool,
    /// System setting `tx_gas_limit`: gas every transaction may use; also what GASLIMIT answers.
    pub gas_limit: u64,
    /// System setting `tx_gas_price`: zero unless a price was set.
    pub gas_price: U256,
    /// System setting `web3_chain_id`.
    pub web3_chain_id: u64,
    /// System setting `balance_transfer`: value moves between accounts. Off by default.
    pub balance_transfer: bool,
}

/// An event of a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Contract that wrote it.
    pub address: Address,
    /// Up to four topics.
    pub topics: Vec<B256>,
    /// Data as the contract encoded it.
    pub data: Bytes,
}

/// What one transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxOutcome {
    /// Transaction status: 0, or a code of `bcos_types::status`.
    pub status: i32,
    /// The chain's gas limit less the gas left.
    pub gas_used: u64,
    /// New contract, for successful deployments.
    pub contract_address: Option<Address>,
    /// Return data, revert data, or the encoded reason of a failure.
    pub output: Bytes,
    /// Events, empty unless [`status`](Self::status) is 0.
    pub logs: Vec<Log>,
    /// Gas price as the receipt states it: empty, or hex with 0x when the chain sets a price.
    pub effective_gas_price: String,
    /// Everything read, each once, in no particular order.
    pub reads: Vec<StateRead>,
    /// Everything to write, sorted by key, each key once; `None` deletes.
    pub writes: Vec<(StateKey, Option<Bytes>)>,
}

/// Value of [`StateKey::Account`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AccountRecord {
    /// Next nonce.
    pub nonce: u64,
    /// Balance in wei.
    pub balance: U256,
    /// Hash of the code, zero when the account has none.
    pub code_hash: B256,
}

impl AccountRecord {
    /// Nonce (8 bytes), code hash (32 bytes, left out when zero and the balance is zero), balance (32 bytes, left out when zero).
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(72);
        out.extend_from_slice(&self.nonce.to_be_bytes());
        if !self.code_hash.is_zero() || !self.balance.is_zero() {
            out.extend_from_slice(self.code_hash.as_slice());
        }
        if !self.balance.is_zero() {
            out.extend_from_slice(&self.balance.to_be_bytes::<32>());
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` for any other length.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (nonce, rest) = bytes.split_first_chunk::<8>()?;
        let mut record = Self { nonce: u64::from_be_bytes(*nonce), ..Self::default() };
        match rest.len() {
            0 => {}
            32 => record.code_hash = B256::from_slice(rest),
            64 => {
                record.code_hash = B256::from_slice(&rest[..32]);
                record.balance = U256::from_be_slice(&rest[32..]);
            }
            _ => return None,
        }
        Some(record)
    }
}

/// A system setting: its value and the first block it is in force for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemValue {
    /// Value as text.
    pub value: String,
    /// First block that obeys it.
    pub enable_number: u64,
}

impl SystemValue {
    /// Enable number (8 bytes), then the text.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(8 + self.value.len());
        out.extend_from_slice(&self.enable_number.to_be_bytes());
        out.extend_from_slice(self.value.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, text) = bytes.split_first_chunk::<8>()?;
        Some(Self { value: String::from_utf8(text.to_vec()).ok()?, enable_number: u64::from_be_bytes(*number) })
    }
}

/// Role of a node of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKind {
    /// Takes part in agreement.
    Sealer,
    /// Follows the chain without a vote.
    Observer,
    /// Waits for its turn in rotating agreement (rPBFT).
    Candidate,
}

/// One node of the group, as the consensus table keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsensusNode {
    /// Node id: public key as 128 lower-case hex digits.
    pub node_id: String,
    /// Role from [`enable_number`](Self::enable_number) on.
    pub kind: NodeKind,
    /// Vote weight; 0 for observers.
    pub weight: u64,
    /// Weight in the rotation of rPBFT.
    pub term_weight: u64,
    /// First block this entry is in force for.
    pub enable_number: u64,
}

/// Value of the only row of [`CONSENSUS_TABLE`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ConsensusNodes(pub Vec<ConsensusNode>);

impl ConsensusNodes {
    /// Per node: length of the id (2 bytes), id, kind (1), weight, term weight and enable number (8 each).
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        for node in &self.0 {
            out.extend_from_slice(&(node.node_id.len() as u16).to_be_bytes());
            out.extend_from_slice(node.node_id.as_bytes());
            out.push(match node.kind {
                NodeKind::Sealer => 0,
                NodeKind::Observer => 1,
                NodeKind::Candidate => 2,
            });
            for number in [node.weight, node.term_weight, node.enable_number] {
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        fn number(bytes: &mut &[u8]) -> Option<u64> {
            let (head, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Some(u64::from_be_bytes(*head))
        }
        let mut nodes = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_first_chunk::<2>()?;
            let (id, rest) = rest.split_at_checked(u16::from_be_bytes(*length) as usize)?;
            let (kind, rest) = rest.split_first()?;
            bytes = rest;
            nodes.push(ConsensusNode {
                node_id: String::from_utf8(id.to_vec()).ok()?,
                kind: match kind {
                    0 => NodeKind::Sealer,
                    1 => NodeKind::Observer,
                    2 => NodeKind::Candidate,
                    _ => return None,
                },
                weight: number(&mut bytes)?,
                term_weight: number(&mut bytes)?,
                enable_number: number(&mut bytes)?,
            });
        }
        Some(Self(nodes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        for record in [
            AccountRecord { nonce: 7, ..AccountRecord::default() },
            AccountRecord { nonce: 1, code_hash: B256::repeat_byte(3), balance: U256::ZERO },
            AccountRecord { nonce: 0, code_hash: B256::ZERO, balance: U256::from(5) },
        ] {
            assert_eq!(AccountRecord::decode(&record.encode()), Some(record));
        }
        assert_eq!(AccountRecord::decode(&[0; 9]), None);
        let value = SystemValue { value: "3000000000".into(), enable_number: 4 };
        assert_eq!(SystemValue::decode(&value.encode()), Some(value));
        let nodes = ConsensusNodes(vec![ConsensusNode {
            node_id: "ab".into(),
            kind: NodeKind::Observer,
            weight: 0,
            term_weight: 2,
            enable_number: 9,
        }]);
        assert_eq!(ConsensusNodes::decode(&nodes.encode()), Some(nodes.clone()));
        assert_eq!(ConsensusNodes::decode(&nodes.encode()[1..]), None);
    }
}
