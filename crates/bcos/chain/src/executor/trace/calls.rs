//! The tree of calls, in the shape of geth's `callTracer`.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolType, sol_data};
use konsort_crypto::CryptoSuite;
use revm::context::ContextTr;
use revm::context_interface::CreateScheme;
use revm::inspector::Inspector;
use revm::interpreter::{
    CallInputs, CallOutcome, CallScheme, CallValue, CreateInputs, CreateOutcome, InstructionResult, InterpreterTypes,
};

use crate::access::{Log, TxOutcome};
use crate::executor::TxInput;

/// Calls and events kept in one tree; the rest of a transaction with more is run but not shown.
const MOST_CALLS: usize = 100_000;

/// How a frame was entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// `CALL`
    Call,
    /// `CALLCODE`
    CallCode,
    /// `DELEGATECALL`
    DelegateCall,
    /// `STATICCALL`
    StaticCall,
    /// `CREATE`
    Create,
    /// `CREATE2`
    Create2,
}

impl CallKind {
    /// The instruction's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Call => "CALL",
            Self::CallCode => "CALLCODE",
            Self::DelegateCall => "DELEGATECALL",
            Self::StaticCall => "STATICCALL",
            Self::Create => "CREATE",
            Self::Create2 => "CREATE2",
        }
    }
}

/// What the tree shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallOptions {
    /// The root alone.
    pub only_top: bool,
    /// The events of every call that lasted.
    pub with_log: bool,
}

/// An event in the call that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedLog {
    /// The event.
    pub log: Log,
    /// How many calls its call had made before.
    pub position: usize,
    /// Its place among the transaction's events.
    pub index: usize,
}

/// One call and the calls it made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedCall {
    /// How it was entered.
    pub kind: CallKind,
    /// Caller.
    pub from: Address,
    /// Code that ran, or the new contract; `None` when a creation failed before it had an address.
    pub to: Option<Address>,
    /// Value passed, `None` where none can be.
    pub value: Option<U256>,
    /// Gas given.
    pub gas: u64,
    /// Gas used.
    pub gas_used: u64,
    /// Call data or init code.
    pub input: Bytes,
    /// Return data, revert data or new code.
    pub output: Bytes,
    /// Why it failed, in the words Ethereum clients know.
    pub error: Option<String>,
    /// Text the contract gave for its failure.
    pub revert_reason: Option<String>,
    /// Calls it made, in order.
    pub calls: Vec<TracedCall>,
    /// Its events, none when it failed or was undone.
    pub logs: Vec<TracedLog>,
}

/// Collects the calls.
#[derive(Debug)]
pub(super) struct CallTracer {
    open: Vec<TracedCall>,
    root: Option<TracedCall>,
    options: CallOptions,
    seen: usize,
}

impl CallTracer {
    pub(super) fn new(options: CallOptions) -> Self {
        Self { open: Vec::new(), root: None, options, seen: 0 }
    }

    fn enter(&mut self, call: TracedCall) {
        self.seen += 1;
        self.open.push(call);
    }

    fn leave(&mut self, result: InstructionResult, gas_left: u64, output: &Bytes, created: Option<Address>) {
        let Some(mut call) = self.open.pop() else { return };
        let gas_left = if result.is_ok_or_revert() { gas_left } else { 0 };
        call.gas_used = call.gas.saturating_sub(gas_left);
        call.output = output.clone();
        call.error = error_of(result).map(str::to_owned);
        if matches!(call.kind, CallKind::Create | CallKind::Create2) {
            call.to = created;
        }
        match self.open.last_mut() {
            None => self.root = Some(call),
            Some(_) if self.options.only_top || self.seen > MOST_CALLS => {}
            Some(parent) => parent.calls.push(call),
        }
    }

    /// The finished tree; its root shows the transaction as its receipt does.
    pub(super) fn finish(
        self,
        input: &TxInput,
        gas_limit: u64,
        outcome: &TxOutcome,
        suite: &dyn CryptoSuite,
    ) -> TracedCall {
        let kind = if input.to.is_some() { CallKind::Call } else { CallKind::Create };
        let mut root = self.root.unwrap_or(TracedCall {
            kind,
            from: input.sender,
            to: input.to,
            value: Some(input.value),
            gas: gas_limit,
            gas_used: 0,
            input: input.input.clone(),
            output: Bytes::new(),
            error: None,
            revert_reason: None,
            calls: Vec::new(),
            logs: Vec::new(),
        });
        root.gas = gas_limit;
        root.gas_used = outcome.gas_used;
        root.kind = kind;
        if outcome.status != 0 {
            let name = || bcos_types::status::name(outcome.status).to_owned();
            root.error.get_or_insert_with(name);
            root.output = outcome.output.clone();
        }
        name_reasons(&mut root, suite);
        drop_undone(&mut root, false);
        let mut logs = Vec::new();
        all_logs(&mut root, &mut logs);
        logs.sort_unstable_by_key(|log| log.index);
        for (index, log) in logs.into_iter().enumerate() {
            log.index = index;
        }
        root
    }
}

/// Fills in the texts of reverts.
fn name_reasons(call: &mut TracedCall, suite: &dyn CryptoSuite) {
    if call.error.is_some() {
        // Contracts are compiled with either hash's selector, whatever the chain's is.
        let own = suite.hash(b"Error(string)");
        let selectors = [[own[0], own[1], own[2], own[3]], [0x08, 0xc3, 0x79, 0xa0]];
        if let Some((selector, data)) = call.output.split_first_chunk::<4>()
            && selectors.contains(selector)
        {
            call.revert_reason = <(sol_data::String,)>::abi_decode_params(data).ok().map(|(text,)| text);
        }
    }
    for inner in &mut call.calls {
        name_reasons(inner, suite);
    }
}

/// Takes out the events of calls that failed and of what those had called.
fn drop_undone(call: &mut TracedCall, undone: bool) {
    let undone = undone || call.error.is_some();
    if undone {
        call.logs.clear();
    }
    for inner in &mut call.calls {
        drop_undone(inner, undone);
    }
}

fn all_logs<'a>(call: &'a mut TracedCall, into: &mut Vec<&'a mut TracedLog>) {
    into.extend(&mut call.logs);
    for inner in &mut call.calls {
        all_logs(inner, into);
    }
}

impl<CTX: ContextTr, INTR: InterpreterTypes> Inspector<CTX, INTR> for CallTracer {
    fn call(&mut self, context: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        let kind = match inputs.scheme {
            CallScheme::Call => CallKind::Call,
            CallScheme::CallCode => CallKind::CallCode,
            CallScheme::DelegateCall => CallKind::DelegateCall,
            CallScheme::StaticCall => CallKind::StaticCall,
        };
        let value = match inputs.value {
            _ if kind == CallKind::StaticCall => None,
            CallValue::Transfer(value) | CallValue::Apparent(value) => Some(value),
        };
        self.enter(TracedCall {
            kind,
            from: inputs.caller,
            to: Some(inputs.bytecode_address),
            value,
            gas: inputs.gas_limit,
            gas_used: 0,
            input: inputs.input.bytes(context),
            output: Bytes::new(),
            error: None,
            revert_reason: None,
            calls: Vec::new(),
            logs: Vec::new(),
        });
        None
    }

    fn call_end(&mut self, _context: &mut CTX, _inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.leave(outcome.result.result, outcome.result.gas.remaining(), &outcome.result.output, None);
    }

    fn log(&mut self, _context: &mut CTX, log: revm::primitives::Log) {
        self.seen += 1;
        let wanted = self.options.with_log && self.seen <= MOST_CALLS;
        let Some(call) = self.open.last_mut().filter(|_| wanted) else { return };
        let (topics, data) = log.data.split();
        let position = call.calls.len();
        call.logs.push(TracedLog { log: Log { address: log.address, topics, data }, position, index: self.seen });
    }

    fn create(&mut self, _context: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        let kind = match inputs.scheme() {
            CreateScheme::Create2 { .. } => CallKind::Create2,
            CreateScheme::Create | CreateScheme::Custom { .. } => CallKind::Create,
        };
        self.enter(TracedCall {
            kind,
            from: inputs.caller(),
            to: None,
            value: Some(inputs.value()),
            gas: inputs.gas_limit(),
            gas_used: 0,
            input: inputs.init_code().clone(),
            output: Bytes::new(),
            error: None,
            revert_reason: None,
            calls: Vec::new(),
            logs: Vec::new(),
        });
        None
    }

    fn create_end(&mut self, _context: &mut CTX, _inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        let result = &outcome.result;
        self.leave(result.result, result.gas.remaining(), &result.output, outcome.address);
    }
}

/// The words geth has for a failure.
pub(super) fn error_of(result: InstructionResult) -> Option<&'static str> {
    use InstructionResult as R;
    Some(match result {
        R::Stop | R::Return | R::SelfDestruct | R::Suspend => return None,
        R::Revert => "execution reverted",
        R::CallTooDeep => "max call depth exceeded",
        R::OutOfFunds => "insufficient balance for transfer",
        R::OutOfGas
        | R::MemoryOOG
        | R::MemoryLimitOOG
        | R::PrecompileOOG
        | R::InvalidOperandOOG
        | R::ReentrancySentryOOG => "out of gas",
        R::OpcodeNotFound | R::InvalidFEOpcode | R::NotActivated => "invalid opcode",
        R::InvalidJump => "invalid jump destination",
        R::StackUnderflow => "stack underflow",
        R::StackOverflow => "stack limit reached 1024",
        R::CreateCollision => "contract address collision",
        R::CreateContractSizeLimit => "max code size exceeded",
        R::CreateInitCodeSizeLimit => "max initcode size exceeded",
        R::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        R::CallNotAllowedInsideStatic | R::StateChangeDuringStaticCall => "write protection",
        R::NonceOverflow => "nonce uint64 overflow",
        _ => "execution failed",
    })
}
