//! Every instruction, in the shape of geth's struct logs.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::bytecode::opcode::{self, OpCode};
use revm::inspector::Inspector;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr as _, Jumps as _};
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter};

use super::calls::error_of;

/// What is kept of every instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepOptions {
    /// The stack before it.
    pub stack: bool,
    /// The memory before it.
    pub memory: bool,
    /// Slots of the contract read or written so far, for instructions that do so.
    pub storage: bool,
    /// Data the last call returned.
    pub return_data: bool,
    /// Instructions kept; later ones are run but not shown.
    pub limit: usize,
}

impl Default for StepOptions {
    fn default() -> Self {
        Self { stack: true, memory: false, storage: true, return_data: false, limit: 1_000_000 }
    }
}

/// Bytes of memory and stack kept over all instructions; later ones come without.
const MOST_BYTES: usize = 256 << 20;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Position in the code.
    pub pc: usize,
    /// Name of the instruction.
    pub op: &'static str,
    /// Gas before it.
    pub gas: u64,
    /// Gas it took, gas passed to a call included.
    pub gas_cost: u64,
    /// Depth of the frame, 1 for the first.
    pub depth: usize,
    /// Stack before it, top last.
    pub stack: Option<Vec<U256>>,
    /// Memory before it.
    pub memory: Option<Vec<u8>>,
    /// Slots of the contract touched so far; only with instructions that touch one.
    pub storage: Option<BTreeMap<B256, B256>>,
    /// Data the last call returned.
    pub return_data: Option<Bytes>,
    /// Why the frame ended here, when it failed.
    pub error: Option<&'static str>,
}

/// Collects the instructions.
#[derive(Debug)]
pub(super) struct StepTracer {
    options: StepOptions,
    steps: Vec<Step>,
    /// Position of the instruction that runs now, if it is kept.
    current: Option<usize>,
    depth: usize,
    kept_bytes: usize,
    storage: BTreeMap<Address, BTreeMap<B256, B256>>,
    /// Slot that the running SLOAD will tell.
    loading: Option<(Address, B256)>,
}

impl StepTracer {
    pub(super) fn new(options: StepOptions) -> Self {
        Self {
            options,
            steps: Vec::new(),
            current: None,
            depth: 0,
            kept_bytes: 0,
            storage: BTreeMap::new(),
            loading: None,
        }
    }

    pub(super) fn finish(self) -> Vec<Step> {
        self.steps
    }

    fn has_room(&mut self, bytes: usize) -> bool {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        self.kept_bytes <= MOST_BYTES
    }

    fn note_storage(&mut self, interpreter: &Interpreter<EthInterpreter>, op: u8) {
        let stack = interpreter.stack.data();
        let target = interpreter.input.target_address();
        match (op, stack.as_slice()) {
            (opcode::SLOAD, [.., slot]) => self.loading = Some((target, B256::from(*slot))),
            (opcode::SSTORE, [.., value, slot]) => {
                let slots = self.storage.entry(target).or_default();
                slots.insert(B256::from(*slot), B256::from(*value));
                let slots = slots.clone();
                self.show_storage(slots);
            }
            _ => {}
        }
    }

    fn show_storage(&mut self, slots: BTreeMap<B256, B256>) {
        if !self.has_room(slots.len() * 64) {
            return;
        }
        if let Some(step) = self.current.and_then(|at| self.steps.get_mut(at)) {
            step.storage = Some(slots);
        }
    }
}

impl<CTX> Inspector<CTX, EthInterpreter> for StepTracer {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _context: &mut CTX) {
        self.current = None;
        self.loading = None;
        if self.steps.len() >= self.options.limit {
            return;
        }
        let op = interpreter.bytecode.opcode();
        let stack_bytes = interpreter.stack.data().len() * 32;
        let memory_bytes = interpreter.memory.len();
        let stack = (self.options.stack && self.has_room(stack_bytes)).then(|| interpreter.stack.data().clone());
        let memory =
            (self.options.memory && self.has_room(memory_bytes)).then(|| interpreter.memory.context_memory().to_vec());
        let return_data = self.options.return_data.then(|| {
            Bytes::copy_from_slice(revm::interpreter::interpreter_types::ReturnData::buffer(&interpreter.return_data))
        });
        self.current = Some(self.steps.len());
        self.steps.push(Step {
            pc: interpreter.bytecode.pc(),
            op: OpCode::name_by_op(op),
            gas: interpreter.gas.remaining(),
            gas_cost: 0,
            depth: self.depth,
            stack,
            memory,
            storage: None,
            return_data,
            error: None,
        });
        if self.options.storage {
            self.note_storage(interpreter, op);
        }
    }

    fn step_end(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _context: &mut CTX) {
        let left = interpreter.gas.remaining();
        if let Some((target, slot)) = self.loading.take()
            && let Some(value) = interpreter.stack.data().last()
        {
            let slots = self.storage.entry(target).or_default();
            slots.insert(slot, B256::from(*value));
            let slots = slots.clone();
            self.show_storage(slots);
        }
        if let Some(step) = self.current.and_then(|at| self.steps.get_mut(at)) {
            step.gas_cost = step.gas.saturating_sub(left);
            let result =
                revm::interpreter::interpreter_types::LoopControl::instruction_result(&mut interpreter.bytecode);
            step.error = result.and_then(error_of);
        }
    }

    fn call(&mut self, _context: &mut CTX, _inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.depth += 1;
        None
    }

    fn call_end(&mut self, _context: &mut CTX, _inputs: &CallInputs, _outcome: &mut CallOutcome) {
        self.depth -= 1;
    }

    fn create(&mut self, _context: &mut CTX, _inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.depth += 1;
        None
    }

    fn create_end(&mut self, _context: &mut CTX, _inputs: &CreateInputs, _outcome: &mut CreateOutcome) {
        self.depth -= 1;
    }
}
