//! The Ethereum machine with the engine's rules: one transaction or call from its first frame to its last.
//!
//! Rules that differ from Ethereum (executor version 1 of the engine): no intrinsic gas but 21000 for a call, every
//! access costs as a cold one, refunds do not lower the gas used, SELFDESTRUCT only stops, contract addresses of BCOS
//! transactions come from block, transaction and sequence number, a call with data to an address without code fails,
//! and value moves only when the chain's setting says so.

pub(crate) mod db;
pub(crate) mod instructions;
pub(crate) mod rows;

use std::cell::RefCell;

use alloy_primitives::{Address, B256, Bytes, U256};
use konsort_crypto::CryptoSuite;
use revm::context::{CfgEnv, Context, Evm, FrameStack, LocalContext, TxEnv};
use revm::context_interface::context::ContextError;
use revm::context_interface::{CreateScheme, JournalTr, LocalContextTr};
use revm::handler::{EthFrame, EvmTr, FrameResult, ItemOrResult};
use revm::inspector::{Inspector, inspect_instructions};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::{
    CallInput, CallInputs, CallScheme, CallValue, CreateInputs, FrameInput, InstructionResult, InterpreterResult,
    SharedMemory,
};
use revm::{Journal, JournalEntry};

use crate::access::{AccessError, BlockEnv};
use crate::precompiled::Precompiles;
use db::StateDb;
use instructions::Instructions;
use rows::Rows;

/// Gas a call pays before its first instruction; deployments pay none.
pub(crate) const CALL_GAS: u64 = 21_000;

/// Everything a running frame can reach.
pub(crate) type Ctx<'a> =
    Context<revm::context::BlockEnv, TxEnv, CfgEnv, StateDb<'a>, Journal<StateDb<'a>>, Extension<'a>, LocalContext>;

type Machine<'a> = Evm<Ctx<'a>, (), Instructions<'a>, Precompiles, EthFrame<EthInterpreter>>;

/// The engine's own part of the context.
pub(crate) struct Extension<'a> {
    /// Block the transaction runs in.
    pub(crate) env: &'a BlockEnv,
    /// Hash of the chain, which also makes selectors and addresses.
    pub(crate) suite: &'static dyn CryptoSuite,
    /// Changed rows of tables.
    pub(crate) rows: Rows,
    /// Sender of the transaction.
    pub(crate) origin: Address,
    /// Status of the failure of the last precompiled contract or refused call.
    pub(crate) failure: Option<i32>,
    /// A read that failed inside a precompiled contract.
    pub(crate) access_error: Option<AccessError>,
    /// Transactions of Ethereum clients derive contract addresses from nonces.
    pub(crate) web3: bool,
    /// Position in the block.
    pub(crate) index: u32,
    /// Calls and creations made so far, part of contract addresses.
    pub(crate) sequence: u64,
    /// The chain itself has this transaction done: nobody pays for its gas.
    pub(crate) free: bool,
}

impl std::fmt::Debug for Extension<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extension").field("env", &self.env).finish_non_exhaustive()
    }
}

/// Allocations that outlive a transaction: stacks of 32 KiB per frame, the memory buffer, the journal's tables.
struct Scratch {
    frames: FrameStack<EthFrame<EthInterpreter>>,
    local: LocalContext,
    journal: revm::context::JournalInner<JournalEntry>,
}

/// Larger allocations are given back to the system.
const MOST_KEPT_ACCOUNTS: usize = 1_024;
const MOST_KEPT_MEMORY: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// First frame of a transaction or call.
#[derive(Debug, Clone)]
pub(crate) struct FirstFrame {
    pub(crate) caller: Address,
    /// `None` deploys.
    pub(crate) to: Option<Address>,
    pub(crate) input: Bytes,
    pub(crate) value: U256,
    pub(crate) gas: u64,
    /// Address of a contract to be deployed.
    pub(crate) create_address: Address,
}

/// What the first frame left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) result: InstructionResult,
    pub(crate) output: Bytes,
    pub(crate) gas_left: u64,
    /// Set by precompiled contracts and refusals that have a status of their own.
    pub(crate) status: Option<i32>,
    pub(crate) created: Option<Address>,
}

/// A machine on the state of one transaction.
pub(crate) struct Runner<'a> {
    pub(crate) machine: Machine<'a>,
    /// Lengths of the row log at the start of every open frame.
    row_marks: Vec<usize>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(db: StateDb<'a>, cfg: &CfgEnv, precompiles: Precompiles, extension: Extension<'a>) -> Self {
        let scratch = SCRATCH.with(|cell| cell.borrow_mut().take());
        let (frames, mut local, mut inner) = match scratch {
            Some(scratch) => (scratch.frames, scratch.local, scratch.journal),
            None => (FrameStack::new(), LocalContext::default(), revm::context::JournalInner::new()),
        };
        local.clear();
        inner.set_spec_id(cfg.spec);
        let env = extension.env;
        let timestamp = if env.timestamp_in_seconds { env.timestamp_ms / 1000 } else { env.timestamp_ms };
        let block = revm::context::BlockEnv {
            number: U256::from(env.number),
            beneficiary: Address::ZERO,
            timestamp: U256::from(timestamp),
            gas_limit: env.gas_limit,
            basefee: 0,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            blob_excess_gas_and_price: None,
            slot_num: 0,
        };
        let tx = TxEnv {
            caller: extension.origin,
            gas_limit: env.gas_limit,
            gas_price: u128::try_from(env.gas_price).unwrap_or(u128::MAX),
            ..TxEnv::default()
        };
        let sm = extension.suite.kind() == konsort_crypto::SuiteKind::Sm;
        let mut cfg = cfg.clone();
        cfg.chain_id = env.web3_chain_id;
        let ctx = Context {
            block,
            tx,
            cfg,
            journaled_state: Journal::new_with_inner(db, inner),
            chain: extension,
            local,
            error: Ok(()),
        };
        let machine = Evm { ctx, inspector: (), instruction: Instructions::new(sm), precompiles, frame_stack: frames };
        Self { machine, row_marks: Vec::new() }
    }

    /// Gives the allocations back to the next transaction of this thread.
    pub(crate) fn recycle(self) {
        let ctx = self.machine.ctx;
        let mut journal = ctx.journaled_state.inner;
        let mut state = journal.finalize();
        // Clearing a table costs its capacity: one large transaction must not slow all that follow.
        if state.capacity() <= MOST_KEPT_ACCOUNTS {
            state.clear();
            journal.state = state;
        }
        let mut local = ctx.local;
        if local.shared_memory_buffer.borrow().capacity() > MOST_KEPT_MEMORY {
            local = LocalContext::default();
        }
        let scratch = Scratch { frames: self.machine.frame_stack, local, journal };
        SCRATCH.with(|cell| *cell.borrow_mut() = Some(scratch));
    }

    /// Runs the first frame and all it calls.
    pub(crate) fn run<I>(&mut self, first: FirstFrame, inspector: Option<&mut I>) -> Result<Finished, AccessError>
    where
        I: Inspector<Ctx<'a>, EthInterpreter>,
    {
        let outcome = self.run_frames(first, inspector);
        if let Some(error) = self.machine.ctx.chain.access_error.take() {
            return Err(error);
        }
        let result = outcome.map_err(access_error)?;
        if let Err(error) = std::mem::replace(&mut self.machine.ctx.error, Ok(())) {
            return Err(access_error(error));
        }
        let (interpreter, created): (InterpreterResult, _) = match result {
            FrameResult::Call(outcome) => (outcome.result, None),
            FrameResult::Create(outcome) => {
                let created = outcome.address.filter(|_| outcome.result.result.is_ok());
                (outcome.result, created)
            }
        };
        let gas_left = if interpreter.result.is_ok_or_revert() { interpreter.gas.remaining() } else { 0 };
        Ok(Finished {
            result: interpreter.result,
            output: interpreter.output,
            gas_left,
            status: self.machine.ctx.chain.failure.take(),
            created,
        })
    }

    fn run_frames<I>(
        &mut self,
        first: FirstFrame,
        mut inspector: Option<&mut I>,
    ) -> Result<FrameResult, ContextError<AccessError>>
    where
        I: Inspector<Ctx<'a>, EthInterpreter>,
    {
        let frame = self.first_frame(first)?;
        if let Some(result) = self.start_frame(frame, &mut inspector)? {
            return Ok(result);
        }
        // Only a first frame that never ran keeps the status a precompiled contract gave it.
        self.machine.ctx.chain.failure = None;
        loop {
            let next = self.run_top_frame(&mut inspector)?;
            let result = match next {
                ItemOrResult::Item(init) => match self.start_frame(init, &mut inspector)? {
                    None => continue,
                    Some(result) => {
                        self.machine.ctx.chain.failure = None;
                        result
                    }
                },
                ItemOrResult::Result(result) => result,
            };
            if let Some(result) = self.machine.frame_return_result(result)? {
                return Ok(result);
            }
        }
    }

    fn first_frame(&mut self, first: FirstFrame) -> Result<FrameInit, ContextError<AccessError>> {
        let ctx = &mut self.machine.ctx;
        let memory = SharedMemory::new_with_buffer(ctx.local.shared_memory_buffer().clone());
        let frame_input = if let Some(to) = first.to {
            let account = &ctx.journaled_state.load_account_with_code(to)?.data.info;
            let known_bytecode = (account.code_hash, account.code.clone().unwrap_or_default());
            // Without the setting the contract sees the value, but nothing moves.
            let value = if ctx.chain.env.balance_transfer && !first.value.is_zero() {
                ctx.journaled_state.load_account(first.caller)?;
                CallValue::Transfer(first.value)
            } else {
                CallValue::Apparent(first.value)
            };
            FrameInput::Call(Box::new(CallInputs {
                input: CallInput::Bytes(first.input),
                return_memory_offset: 0..0,
                gas_limit: first.gas,
                reservoir: 0,
                bytecode_address: to,
                known_bytecode,
                target_address: to,
                caller: first.caller,
                value,
                scheme: CallScheme::Call,
                is_static: false,
                charged_new_account_state_gas: false,
            }))
        } else {
            let scheme = CreateScheme::Custom { address: first.create_address };
            FrameInput::Create(Box::new(CreateInputs::new(
                first.caller,
                scheme,
                first.value,
                first.input,
                first.gas,
                0,
            )))
        };
        Ok(FrameInit { depth: 0, memory, frame_input })
    }

    /// Opens a frame; a result comes back when there is nothing to run (precompiled contract, no code, failure).
    fn start_frame<I>(
        &mut self,
        mut init: FrameInit,
        inspector: &mut Option<&mut I>,
    ) -> Result<Option<FrameResult>, ContextError<AccessError>>
    where
        I: Inspector<Ctx<'a>, EthInterpreter>,
    {
        let nested = init.depth > 0;
        let ctx = &mut self.machine.ctx;
        if nested {
            ctx.chain.sequence += 1;
        }
        // Value that the new contract sees although it does not move.
        let mut shown_value = None;
        match &mut init.frame_input {
            FrameInput::Create(inputs) => {
                if nested {
                    set_address(&ctx.chain, inputs);
                }
                if !inputs.value().is_zero() && owns_still_value(ctx, nested, inputs.caller(), inputs.value())? {
                    shown_value = Some(inputs.value());
                    inputs.set_value(U256::ZERO);
                }
            }
            FrameInput::Call(inputs) if nested => {
                if let CallValue::Transfer(value) = inputs.value {
                    // A transfer of nothing would touch the receiver.
                    if value.is_zero() || owns_still_value(ctx, nested, inputs.caller, value)? {
                        inputs.value = CallValue::Apparent(value);
                    }
                }
            }
            _ => {}
        }
        if let Some(inspector) = inspector {
            match &mut init.frame_input {
                FrameInput::Call(inputs) => drop(inspector.call(ctx, inputs)),
                FrameInput::Create(inputs) => drop(inspector.create(ctx, inputs)),
                FrameInput::Empty => {}
            }
        }
        // An inspector needs the inputs again when the frame ends at once.
        let inputs_for_inspector = inspector.as_ref().map(|_| init.frame_input.clone());
        let mark = ctx.chain.rows.mark();
        match self.machine.frame_init(init)? {
            ItemOrResult::Item(frame) => {
                if let Some(value) = shown_value {
                    frame.interpreter.input.call_value = value;
                }
                self.row_marks.push(mark);
                Ok(None)
            }
            ItemOrResult::Result(mut result) => {
                if !result.instruction_result().is_ok() {
                    self.machine.ctx.chain.rows.revert_to(mark);
                }
                if let (Some(inspector), Some(inputs)) = (inspector, inputs_for_inspector) {
                    end_inspection(*inspector, &mut self.machine.ctx, &inputs, &mut result);
                }
                Ok(Some(result))
            }
        }
    }

    fn run_top_frame<I>(
        &mut self,
        inspector: &mut Option<&mut I>,
    ) -> Result<ItemOrResult<FrameInit, FrameResult>, ContextError<AccessError>>
    where
        I: Inspector<Ctx<'a>, EthInterpreter>,
    {
        let mut next = match inspector {
            None => self.machine.frame_run()?,
            Some(inspector) => {
                let Evm { ctx, instruction, frame_stack, .. } = &mut self.machine;
                let frame = frame_stack.get();
                use revm::handler::instructions::InstructionProvider as _;
                let action = inspect_instructions(
                    ctx,
                    &mut frame.interpreter,
                    &mut **inspector,
                    instruction.instruction_table(),
                    instruction.gas_table(),
                );
                let mut next = frame.process_next_action::<_, ContextError<AccessError>>(ctx, action)?;
                if let ItemOrResult::Result(result) = &mut next {
                    frame.set_finished(true);
                    let inputs = frame.input.clone();
                    end_inspection(*inspector, ctx, &inputs, result);
                }
                next
            }
        };
        if let ItemOrResult::Result(result) = &mut next {
            let mark = self.row_marks.pop().unwrap_or(0);
            if !result.instruction_result().is_ok() {
                self.machine.ctx.chain.rows.revert_to(mark);
            } else if let FrameResult::Create(outcome) = result {
                self.rehash_code(outcome.address);
            }
        }
        Ok(next)
    }

    /// The machine names new code by its Keccak hash; chains with another hash name it by theirs.
    fn rehash_code(&mut self, created: Option<Address>) {
        let ctx = &mut self.machine.ctx;
        if ctx.chain.suite.kind() == konsort_crypto::SuiteKind::International {
            return;
        }
        let Some(address) = created else { return };
        let Some(code) = ctx.journaled_state.inner.state.get(&address).and_then(|account| account.info.code.clone())
        else {
            return;
        };
        if code.is_empty() {
            return;
        }
        let hash = ctx.chain.suite.hash(code.original_byte_slice());
        ctx.journaled_state.inner.set_code_with_hash(address, code, hash.into());
    }
}

fn end_inspection<'a, I>(inspector: &mut I, ctx: &mut Ctx<'a>, inputs: &FrameInput, result: &mut FrameResult)
where
    I: Inspector<Ctx<'a>, EthInterpreter>,
{
    match (inputs, result) {
        (FrameInput::Call(inputs), FrameResult::Call(outcome)) => inspector.call_end(ctx, inputs, outcome),
        (FrameInput::Create(inputs), FrameResult::Create(outcome)) => inspector.create_end(ctx, inputs, outcome),
        _ => {}
    }
}

/// Whether a value is only shown: the chain's setting keeps balances still, and a contract that passes the value on owns it.
/// A contract that does not own it fails as Ethereum has it.
fn owns_still_value(
    ctx: &mut Ctx<'_>,
    nested: bool,
    caller: Address,
    value: U256,
) -> Result<bool, ContextError<AccessError>> {
    if ctx.chain.env.balance_transfer {
        return Ok(false);
    }
    Ok(!nested || ctx.journaled_state.load_account(caller)?.data.info.balance >= value)
}

/// Where the address of a contract's creation differs from Ethereum's, sets it.
fn set_address(extension: &Extension<'_>, inputs: &mut CreateInputs) {
    match inputs.scheme() {
        CreateScheme::Create if !extension.web3 => {
            let address = sequence_address(extension.suite, extension.env.number, extension.index, extension.sequence);
            inputs.set_scheme(CreateScheme::Custom { address });
        }
        CreateScheme::Create2 { salt } if extension.suite.kind() == konsort_crypto::SuiteKind::Sm => {
            let address = create2_address(extension.suite, inputs.caller(), salt, inputs.init_code());
            inputs.set_scheme(CreateScheme::Custom { address });
        }
        _ => {}
    }
}

/// Contract address of BCOS transactions: first 20 bytes of the hash of `<block>_<index>_<sequence>`.
pub(crate) fn sequence_address(suite: &dyn CryptoSuite, block: u64, index: u32, sequence: u64) -> Address {
    let hash = suite.hash(format!("{block}_{index}_{sequence}").as_bytes());
    Address::from_slice(&hash[..20])
}

/// CREATE2 with the chain's hash.
pub(crate) fn create2_address(suite: &dyn CryptoSuite, caller: Address, salt: U256, init_code: &[u8]) -> Address {
    let code_hash = suite.hash(init_code);
    let hash = suite.hash_parts(&[&[0xff], caller.as_slice(), &salt.to_be_bytes::<32>(), &code_hash]);
    Address::from_slice(&hash[12..])
}

fn access_error(error: ContextError<AccessError>) -> AccessError {
    match error {
        ContextError::Db(error) => error,
        ContextError::Custom(text) => AccessError::Store(text),
    }
}
