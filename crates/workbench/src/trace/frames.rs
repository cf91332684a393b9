//! The calls of an execution: who runs at which step, on whose storage, and how it ends.

use std::collections::BTreeMap;

use alloy_primitives::U256;
use serde_json::Value;

use super::TraceInput;
use super::layout::Preimages;

/// The most words of memory that are followed.
const MAX_WORDS: usize = 4096;

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) parent: Option<usize>,
    pub(super) kind: String,
    /// Whose code runs.
    pub(super) code: String,
    /// Whose storage is used.
    pub(super) storage: String,
    pub(super) create: bool,
    pub(super) value: U256,
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) ok: bool,
    pub(super) selector: Option<[u8; 4]>,
}

/// A write to storage.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) frame: usize,
    pub(super) slot: U256,
    pub(super) before: Option<U256>,
    pub(super) after: U256,
}

/// What one pass over the steps finds.
#[derive(Debug, Default)]
pub(super) struct Execution {
    pub(super) frames: Vec<Frame>,
    /// The frame of each step.
    pub(super) of: Vec<usize>,
    pub(super) writes: Vec<Write>,
    pub(super) preimages: Preimages,
}

struct Step<'a> {
    raw: &'a Value,
    op: &'a str,
}

impl<'a> Step<'a> {
    fn new(raw: &'a Value) -> Self {
        Self { raw, op: raw["op"].as_str().unwrap_or_default() }
    }

    /// A word of the stack, 0 being the top.
    fn stack(&self, index: usize) -> Option<U256> {
        let stack = self.raw["stack"].as_array()?;
        let text = stack.get(stack.len().checked_sub(index + 1)?)?.as_str()?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.is_empty() { Some(U256::ZERO) } else { U256::from_str_radix(digits, 16).ok() }
    }

    fn depth(&self) -> usize {
        self.raw["depth"].as_u64().unwrap_or(1).clamp(1, 2000) as usize
    }

    fn fails(&self) -> bool {
        matches!(self.op, "REVERT" | "INVALID") || self.raw["error"].as_str().is_some_and(|error| !error.is_empty())
    }
}

fn address(word: U256) -> String {
    format!("0x{}", hex::encode(&word.to_be_bytes::<32>()[12..]))
}

/// Memory as far as plain stores tell it.
type Memory = BTreeMap<u64, [u8; 32]>;

pub(super) fn follow(input: &TraceInput<'_>, steps: &[Value]) -> Execution {
    let mut run = Execution::default();
    let to = input.to.to_ascii_lowercase();
    run.frames.push(Frame {
        parent: None,
        kind: if input.create { "CREATE".into() } else { "CALL".into() },
        code: to.clone(),
        storage: to,
        create: input.create,
        value: U256::ZERO,
        first: 0,
        last: steps.len().saturating_sub(1),
        ok: true,
        selector: None,
    });
    let mut open: Vec<(usize, Memory)> = vec![(0, Memory::new())];
    let mut known: BTreeMap<(String, U256), U256> = BTreeMap::new();
    let mut before: Option<Step<'_>> = None;
    for (index, raw) in steps.iter().enumerate() {
        let step = Step::new(raw);
        let depth = step.depth();
        while open.len() > depth {
            if let Some((frame, _)) = open.pop() {
                close(&mut run, frame, index, &step, before.as_ref());
            }
        }
        if depth > open.len()
            && let Some(caller) = &before
        {
            let parent = open.last().map_or(0, |(frame, _)| *frame);
            let frame = opened(&run.frames[parent], parent, caller, index);
            run.frames.push(frame);
            open.push((run.frames.len() - 1, Memory::new()));
        }
        let Some((frame, memory)) = open.last_mut() else { break };
        let frame = *frame;
        run.of.push(frame);
        // What the step before produced is on top now.
        if let (Some(done), Some(top)) = (&before, step.stack(0)) {
            let same = run.of.len() >= 2 && run.of[run.of.len() - 2] == frame;
            if same
                && done.op == "SLOAD"
                && let Some(slot) = done.stack(0)
            {
                known.insert((run.frames[frame].storage.clone(), slot), top);
            }
            if same
                && matches!(done.op, "SHA3" | "KECCAK256")
                && let Some(preimage) = hashed(done, memory)
            {
                run.preimages.insert(top, preimage);
            }
        }
        match step.op {
            "MSTORE" => {
                if let (Some(offset), Some(word)) = (step.stack(0), step.stack(1))
                    && let Ok(offset) = u64::try_from(offset)
                    && memory.len() < MAX_WORDS
                {
                    memory.insert(offset, word.to_be_bytes());
                }
            }
            "SSTORE" => {
                if let (Some(slot), Some(after)) = (step.stack(0), step.stack(1)) {
                    let place = (run.frames[frame].storage.clone(), slot);
                    let before = known.insert(place, after);
                    run.writes.push(Write { frame, slot, before, after });
                }
            }
            "EQ" if run.frames[frame].selector.is_none() => {
                // The dispatcher compares the selector of the call with each it knows.
                let pushed =
                    before.as_ref().is_some_and(|before| matches!(before.op, "PUSH4" | "DUP1" | "DUP2" | "DUP3"));
                if let (true, Some(one), Some(other)) = (pushed, step.stack(0), step.stack(1))
                    && one == other
                    && one.bit_len() <= 32
                    && !one.is_zero()
                {
                    let word = one.to_be_bytes::<32>();
                    run.frames[frame].selector = <[u8; 4]>::try_from(&word[28..]).ok();
                }
            }
            _ => {}
        }
        if step.fails() {
            run.frames[frame].ok = false;
        }
        run.frames[frame].last = index;
        before = Some(step);
    }
    // Frames that the recording ends in failed if the last step did.
    let failed = before.is_some_and(|step| step.fails());
    for (frame, _) in open.iter().skip(1) {
        run.frames[*frame].ok &= !failed;
    }
    run
}

fn opened(parent: &Frame, number: usize, caller: &Step<'_>, first: usize) -> Frame {
    let word = |index: usize| caller.stack(index).unwrap_or_default();
    let create = caller.op.starts_with("CREATE");
    let target = if create { String::new() } else { address(word(1)) };
    let own_code = matches!(caller.op, "DELEGATECALL" | "CALLCODE");
    Frame {
        parent: Some(number),
        kind: caller.op.to_owned(),
        storage: if own_code { parent.storage.clone() } else { target.clone() },
        code: target,
        create,
        value: match caller.op {
            "CREATE" | "CREATE2" => word(0),
            "CALL" | "CALLCODE" => word(2),
            _ => U256::ZERO,
        },
        first,
        last: first,
        ok: true,
        selector: None,
    }
}

/// A call has returned: what is on the caller's stack tells whether it went well, and which address was created.
fn close(run: &mut Execution, frame: usize, index: usize, now: &Step<'_>, last: Option<&Step<'_>>) {
    let failed = last.is_some_and(Step::fails);
    let made = &mut run.frames[frame];
    made.last = index.saturating_sub(1);
    if let Some(top) = now.stack(0) {
        made.ok = !top.is_zero();
        if made.create && !top.is_zero() {
            made.code = address(top);
            made.storage.clone_from(&made.code);
        }
    } else {
        made.ok = !failed;
    }
}

fn hashed(step: &Step<'_>, memory: &Memory) -> Option<Vec<u8>> {
    let (offset, length) = (u64::try_from(step.stack(0)?).ok()?, u64::try_from(step.stack(1)?).ok()?);
    if !matches!(length, 32 | 64) {
        return None;
    }
    let mut bytes = memory.get(&offset)?.to_vec();
    if length == 64 {
        bytes.extend_from_slice(memory.get(&offset.checked_add(32)?)?);
    }
    Some(bytes)
}
