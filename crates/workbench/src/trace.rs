//! Executed instructions back to source lines: steps, call tree, storage by variable name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::compiler::{Compilation, CompiledContract};

/// A contract whose instructions may be in the trace.
#[derive(Debug, Clone, Copy)]
pub struct TracedContract<'a> {
    /// What compiled it.
    pub compilation: &'a Compilation,
    /// Which contract of it.
    pub contract: &'a CompiledContract,
}

/// Who was called with what.
#[derive(Debug, Clone, Default)]
pub struct TraceInput<'a> {
    /// `structLogs` of `debug_traceTransaction`, with stack and storage.
    pub steps: &'a [Value],
    /// Address called, or created, by the transaction, 0x-hex.
    pub to: String,
    /// Whether the transaction created a contract.
    pub create: bool,
    /// Known contracts by lower-case address.
    pub contracts: BTreeMap<String, TracedContract<'a>>,
    /// Values that may be keys of mappings (addresses, numbers, texts as 0x-hex of 32 bytes or UTF-8 texts), beside those seen hashed.
    pub keys: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TraceStep {
    /// Position in `structLogs`.
    pub index: u32,
    /// Program counter.
    pub pc: u32,
    /// Instruction.
    pub op: String,
    /// Gas left.
    pub gas: u64,
    /// Gas it costs.
    pub cost: u64,
    /// Depth of calls, from 1.
    pub depth: u32,
    /// Contract address.
    pub address: String,
    /// Source file; empty when unknown.
    pub file: String,
    /// First line, from 1; 0 when unknown.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// Column after the last character.
    pub end_column: u32,
    /// `i` into a function, `o` out of one, empty otherwise.
    pub jump: String,
    /// Why it failed here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// One call in the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallNode {
    /// `CALL`, `DELEGATECALL`, `STATICCALL`, `CREATE`, …
    pub kind: String,
    /// Contract called.
    pub address: String,
    /// Its name; empty when unknown.
    pub contract: String,
    /// Its method; empty when unknown.
    pub method: String,
    /// First step.
    pub first_step: u32,
    /// Last step.
    pub last_step: u32,
    /// Whether it ended well.
    pub ok: bool,
    /// Value sent, decimal.
    pub value: String,
    /// Calls it made.
    #[schema(no_recursion)]
    pub calls: Vec<CallNode>,
}

/// A changed storage slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StorageChange {
    /// Contract address.
    pub address: String,
    /// Slot, 0x-hex.
    pub slot: String,
    /// Variable, as in source: `balances[0x…].amount`; empty when unknown.
    pub variable: String,
    /// Its type; empty when unknown.
    pub kind: String,
    /// Before: decoded when the variable is known, else 0x-hex; absent when the trace does not tell.
    pub before: Option<String>,
    /// After, in the same form.
    pub after: String,
}

/// A trace for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// Steps.
    pub steps: Vec<TraceStep>,
    /// Calls.
    pub calls: CallNode,
    /// Storage that changed and was kept.
    pub storage: Vec<StorageChange>,
    /// Step that reverted first, the one to look at.
    pub failed_step: Option<u32>,
    /// Sources by path, for display.
    pub sources: BTreeMap<String, String>,
}

/// Turns instructions into a trace for people.
pub fn explain(input: &TraceInput<'_>) -> Trace {
    todo!()
}
