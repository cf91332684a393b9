//! What is on a ledger, the same for both engines.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A committed block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockRecord {
    /// Channel or group.
    pub channel: String,
    /// Height (number).
    pub height: u64,
    /// Block hash, 0x-hex on BCOS, hex of the header hash on Fabric.
    pub hash: String,
    /// Hash of the block before.
    pub parent_hash: String,
    /// Time of the block (BCOS) or of its newest transaction (Fabric), milliseconds since 1970.
    pub time: i64,
    /// Who made it: BCOS sealer's node id, Fabric orderer's identity.
    pub producer: String,
    /// Encoded size, bytes; 0 when the engine cannot tell.
    pub size: u64,
    /// Whether it holds configuration.
    pub config: bool,
    /// Its transactions in order.
    pub transactions: Vec<TransactionRecord>,
}

/// A transaction as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransactionRecord {
    /// Transaction id or hash.
    pub id: String,
    /// Position in its block.
    pub index: u32,
    /// `call`, `deploy`, `config`, `transfer`.
    pub kind: String,
    /// Whether it took effect.
    pub ok: bool,
    /// The engine's code (`VALID`, `MVCC_READ_CONFLICT`, `0`, `22`).
    pub code: String,
    /// Fabric: creator as `Org1MSP:User1@org1.example.com`; BCOS: sender address.
    pub from: String,
    /// Fabric: chaincode name; BCOS: contract address.
    pub to: String,
    /// Method as far as the input tells: Fabric function name; BCOS selector 0x-hex.
    pub method: String,
    /// Time, milliseconds since 1970.
    pub time: i64,
    /// Further words a search should find it by (keys written, addresses in logs, event names); at most 32.
    pub terms: Vec<String>,
    /// Events of contracts.
    pub events: Vec<EventRecord>,
}

/// An event of a contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventRecord {
    /// Chaincode name or contract address.
    pub contract: String,
    /// Fabric: event name; BCOS: first topic.
    pub name: String,
    /// Fabric: payload (text when it is UTF-8, else 0x-hex); BCOS: `{topics, data}`.
    pub payload: Value,
}

/// Everything about one transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TransactionDetail {
    /// Its row.
    pub record: TransactionRecord,
    /// Height of its block.
    pub height: u64,
    /// Hash of its block.
    pub block_hash: String,
    /// The input: Fabric arguments as texts; BCOS call data 0x-hex.
    pub input: Value,
    /// The output: Fabric response; BCOS receipt output.
    pub output: Value,
    /// Fabric: endorsers `[{mspid, subject, same_result}]`; BCOS: empty.
    #[schema(value_type = Vec<Object>)]
    pub endorsements: Vec<Value>,
    /// Fabric: read-write set by namespace; BCOS: logs.
    pub effects: Value,
    /// The code in words, with what to do.
    pub explanation: String,
    /// The whole transaction, decoded, as the engine shows it.
    pub raw: Value,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeHealth {
    /// The node's id.
    pub node: String,
    /// Whether it answered.
    pub reachable: bool,
    /// Why not, or what is wrong, in words.
    pub problem: Option<String>,
    /// Version it reports.
    pub version: Option<String>,
    /// Role in consensus as the network says (`leader`, `follower`, `sealer`, `observer`, `peer`).
    pub role: String,
    /// Height of each channel or group.
    pub heights: std::collections::BTreeMap<String, u64>,
    /// How many other nodes it is connected to.
    pub peers: Option<u32>,
    /// Days until its first certificate expires.
    pub certificate_days: Option<i64>,
    /// Transactions waiting (BCOS pool).
    pub pending: Option<u64>,
}

/// A change of a channel's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConfigChange {
    /// Block height.
    pub height: u64,
    /// Transaction that made it.
    pub transaction: String,
    /// When, milliseconds since 1970.
    pub time: i64,
    /// Who signed.
    pub signers: Vec<String>,
    /// What changed, as readable lines: path, value before, value after.
    pub changes: Vec<FieldChange>,
}

/// One changed field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Where: `Application.groups.Org3MSP`, `tx_count_limit`.
    pub path: String,
    /// Before; absent when new.
    pub before: Option<Value>,
    /// After; absent when removed.
    pub after: Option<Value>,
}
