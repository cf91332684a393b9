//! Executed instructions back to source lines: steps, call tree, storage by variable name.

mod frames;
mod layout;
mod program;

use std::collections::BTreeMap;

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::compiler::{Compilation, CompiledContract};
use crate::values::Suite;
use frames::{Execution, Frame};
use layout::Layout;
use program::Program;

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
    /// Values that may be keys of mappings (0x-hex or decimal), beside those that the execution itself hashed.
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
    /// Step that reverted first, the one to look at. In optimised code equal refusals may share one end and so one place.
    pub failed_step: Option<u32>,
    /// Sources by path, for display.
    pub sources: BTreeMap<String, String>,
}

/// The most steps that are explained; what comes after is left out.
const MAX_STEPS: usize = 200_000;

/// Turns instructions into a trace for people.
pub fn explain(input: &TraceInput<'_>) -> Trace {
    let raw = &input.steps[..input.steps.len().min(MAX_STEPS)];
    let mut run = frames::follow(input, raw);
    let mut sources = BTreeMap::new();
    // One per code, however often it is called.
    let mut programs: Vec<Program<'_>> = Vec::new();
    let mut numbers: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    let mut program_of: Vec<Option<usize>> = Vec::new();
    for frame in &run.frames {
        let known = input.contracts.get(&frame.code);
        program_of.push(known.map(|known| {
            *numbers.entry((&frame.code, frame.create)).or_insert_with(|| {
                sources.extend(known.compilation.sources.clone());
                programs.push(Program::new(known.compilation, known.contract, frame.create));
                programs.len() - 1
            })
        }));
    }
    let mut steps = Vec::new();
    for (index, (step, frame)) in raw.iter().zip(&run.of).enumerate() {
        let number = |key: &str| step[key].as_u64().unwrap_or(0);
        let pc = u32::try_from(number("pc")).unwrap_or(u32::MAX);
        let place = program_of[*frame].map(|program| programs[program].place(pc)).unwrap_or_default();
        steps.push(TraceStep {
            index: index as u32,
            pc,
            op: step["op"].as_str().unwrap_or_default().to_owned(),
            gas: number("gas"),
            cost: number("gasCost"),
            depth: u32::try_from(number("depth")).unwrap_or(1),
            address: run.frames[*frame].code.clone(),
            file: place.file,
            line: place.line,
            column: place.column,
            end_line: place.end_line,
            end_column: place.end_column,
            jump: place.jump,
            error: step["error"].as_str().unwrap_or_default().to_owned(),
        });
    }
    let storage = storage(input, &mut run);
    let mut children = vec![Vec::new(); run.frames.len()];
    for (number, frame) in run.frames.iter().enumerate() {
        if let Some(parent) = frame.parent {
            children[parent].push(number);
        }
    }
    Trace {
        calls: node(input, &run.frames, &children, 0),
        failed_step: failed_step(&run.frames, &steps),
        steps,
        storage,
        sources,
    }
}

/// The tree below a frame. Frames come after their callers, so the recursion ends; its depth is that of the machine, at most 1024.
fn node(input: &TraceInput<'_>, frames: &[Frame], children: &[Vec<usize>], number: usize) -> CallNode {
    let frame = &frames[number];
    let contract = input.contracts.get(&frame.code).map(|known| known.contract);
    let selector = frame.selector.map(|selector| format!("0x{}", hex::encode(selector)));
    let method = contract.zip(selector.as_ref()).and_then(|(contract, selector)| {
        let mut all = contract.selectors.iter().chain(&contract.selectors_sm3);
        all.find(|(_, known)| *known == selector).map(|(signature, _)| signature.clone())
    });
    let method = if frame.create { Some("constructor".to_owned()) } else { method.or(selector) };
    CallNode {
        kind: frame.kind.clone(),
        address: frame.code.clone(),
        contract: contract.map(|contract| contract.name.clone()).unwrap_or_default(),
        method: method.unwrap_or_default(),
        first_step: frame.first as u32,
        last_step: frame.last as u32,
        ok: frame.ok,
        value: frame.value.to_string(),
        calls: children[number].iter().map(|child| node(input, frames, children, *child)).collect(),
    }
}

/// The last step of the first call whose failure reached the transaction.
fn failed_step(frames: &[Frame], steps: &[TraceStep]) -> Option<u32> {
    let reaches = |number: usize| {
        let mut at = Some(number);
        while let Some(frame) = at {
            if frames[frame].ok {
                return false;
            }
            at = frames[frame].parent;
        }
        true
    };
    let first = (0..frames.len()).filter(|number| reaches(*number)).min_by_key(|number| frames[*number].last)?;
    // What a revert passes on comes from the code before; the instruction itself has the place in the source.
    let step = frames[first].last;
    (step < steps.len()).then_some(step as u32)
}

/// The slots that differ at the end, without what was undone.
fn storage(input: &TraceInput<'_>, run: &mut Execution) -> Vec<StorageChange> {
    for known in input.contracts.values() {
        let layout = Layout::new(&known.contract.storage_layout);
        for slot in layout.mappings() {
            for key in &input.keys {
                let Some(word) = key_word(key) else { continue };
                let mut preimage = word.to_vec();
                preimage.extend_from_slice(&slot.to_be_bytes::<32>());
                let hash = match known.compilation.suite {
                    Suite::Keccak => konsort_crypto::hash::keccak256(&preimage),
                    Suite::Sm3 => konsort_crypto::hash::sm3(&preimage),
                };
                run.preimages.entry(U256::from_be_bytes(hash)).or_insert(preimage);
            }
        }
    }
    let mut changes: BTreeMap<(String, U256), (Option<U256>, U256, String)> = BTreeMap::new();
    for write in &run.writes {
        let mut frame = Some(write.frame);
        let mut kept = true;
        while let Some(number) = frame {
            kept &= run.frames[number].ok;
            frame = run.frames[number].parent;
        }
        if !kept {
            continue;
        }
        let at = &run.frames[write.frame];
        let entry = changes.entry((at.storage.clone(), write.slot));
        let entry = entry.or_insert_with(|| (write.before, write.after, at.code.clone()));
        entry.1 = write.after;
    }
    let mut shown = Vec::new();
    for ((address, slot), (before, after, code)) in changes {
        if before == Some(after) {
            continue;
        }
        let word = |word: U256| format!("0x{}", hex::encode(word.to_be_bytes::<32>()));
        let change = |variable: String, kind: String, before: Option<String>, after: String| StorageChange {
            address: address.clone(),
            slot: word(slot),
            variable,
            kind,
            before,
            after,
        };
        // Behind a proxy the code's layout is the one that counts.
        let known = input.contracts.get(&code).or_else(|| input.contracts.get(&address));
        let layout = known.map(|known| Layout::new(&known.contract.storage_layout));
        let variables = layout.as_ref().map(|layout| layout.find(slot, &run.preimages)).unwrap_or_default();
        let Some(layout) = layout.filter(|_| !variables.is_empty()) else {
            shown.push(change(String::new(), String::new(), before.map(word), word(after)));
            continue;
        };
        for variable in variables {
            let was = before.map(|before| layout.decode(&variable, before));
            let is = layout.decode(&variable, after);
            if was.as_ref() != Some(&is) {
                shown.push(change(variable.name.clone(), layout.label(&variable), was, is));
            }
        }
    }
    shown
}

/// A key as it is hashed: hex of up to 32 bytes or a number, at the right of its word.
fn key_word(key: &str) -> Option<[u8; 32]> {
    let number = match key.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16).ok()?,
        None => U256::from_str_radix(key, 10).ok()?,
    };
    Some(number.to_be_bytes())
}
