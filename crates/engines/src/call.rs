//! Calls of contracts.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A call of a contract's method. The platform has already turned form values into what the engine takes: texts for Fabric,
/// call data for BCOS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallRequest {
    /// Channel or group.
    pub channel: String,
    /// Chaincode name or contract address.
    pub contract: String,
    /// Method name, for records.
    pub method: String,
    /// What is called.
    pub input: CallInput,
    /// Who signs: name of an identity of `organisation` (`Admin`, `User1`, …) or of an account.
    pub signer: Option<String>,
    /// Whose identity and nodes are used; default: the first organisation.
    pub organisation: Option<String>,
    /// Fabric: only these organisations endorse; default: what the policy asks for.
    #[serde(default)]
    pub endorsers: Vec<String>,
    /// BCOS: read at this height; default: newest.
    #[serde(default)]
    pub height: Option<u64>,
}

/// The input of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CallInput {
    /// Fabric: function and arguments.
    Texts {
        /// Arguments after the function name.
        arguments: Vec<String>,
        /// Transient data, base64 by key; not recorded.
        #[serde(default)]
        transient: std::collections::BTreeMap<String, String>,
    },
    /// BCOS: call data, 0x-hex.
    Data {
        /// Selector and encoded arguments.
        data: String,
    },
}

/// The outcome of a sent call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallResult {
    /// Transaction id or hash.
    pub transaction: String,
    /// Height of its block.
    pub height: u64,
    /// Whether it took effect.
    pub ok: bool,
    /// The engine's code.
    pub code: String,
    /// The code in words, with what to do; empty when it took effect.
    pub explanation: String,
    /// Output: Fabric payload (text, or 0x-hex when not UTF-8), BCOS output 0x-hex.
    pub output: Value,
    /// Events.
    pub events: Vec<super::ledger::EventRecord>,
    /// BCOS: gas used.
    pub gas_used: Option<u64>,
}

/// What a call would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Simulation {
    /// Whether it would take effect.
    pub ok: bool,
    /// Why not, in words.
    pub problem: Option<String>,
    /// Output as in [`CallResult`].
    pub output: Value,
    /// Events it would emit.
    pub events: Vec<super::ledger::EventRecord>,
    /// Fabric: reads and writes by namespace; BCOS: storage before and after by address.
    pub effects: Value,
    /// Fabric: each asked peer's answer `{peer, mspid, ok, same_result, message}`.
    #[schema(value_type = Vec<Object>)]
    pub answers: Vec<Value>,
    /// Fabric: organisations whose endorsement would still be missing for the policy.
    pub missing: Vec<String>,
    /// BCOS: gas it would use.
    pub gas_used: Option<u64>,
}

/// A file to download.
#[derive(Debug, Clone)]
pub struct Download {
    /// File name.
    pub name: String,
    /// Media type.
    pub media_type: String,
    /// Content.
    pub bytes: Vec<u8>,
}
