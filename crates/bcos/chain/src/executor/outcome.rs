//! From a finished first frame to a [`TxOutcome`]: status, output, fee, logs, reads and writes.

use alloy_primitives::{B256, Bytes, U256};
use revm::context::JournalTr;
use revm::context_interface::journaled_state::JournalCheckpoint;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::interpreter::InstructionResult;
use revm::primitives::KECCAK_EMPTY;

use bcos_types::status;

use super::TxInput;
use crate::access::{AccessError, AccountRecord, BlockEnv, Log, StateKey, StateRead, TxOutcome};
use crate::evm::{Finished, Runner};
use crate::precompiled::error_output;

/// Where the row log and the journal stood before the first frame.
#[derive(Debug)]
pub(super) struct Checkpoint {
    journal: JournalCheckpoint,
    rows: usize,
}

/// A finished transaction with its fee paid.
#[derive(Debug)]
pub(super) struct Settled {
    status: i32,
    gas_used: u64,
    output: Bytes,
    contract_address: Option<alloy_primitives::Address>,
    effective_gas_price: String,
}

impl Finished {
    /// A first frame that could not start.
    pub(crate) fn out_of_gas() -> Self {
        Self { result: InstructionResult::OutOfGas, output: Bytes::new(), gas_left: 0, status: None, created: None }
    }
}

/// Next nonce of a web3 sender: one more than the larger of the transaction's and the stored one.
pub(super) fn raise_nonce(runner: &mut Runner<'_>, tx: &TxInput) -> Result<u64, AccessError> {
    let mut account = runner.machine.ctx.journaled_state.load_account_mut(tx.sender)?;
    let next = account.data.nonce().max(tx.nonce).saturating_add(1);
    account.data.set_nonce(next);
    Ok(next)
}

pub(super) fn checkpoint(runner: &mut Runner<'_>) -> Checkpoint {
    let ctx = &mut runner.machine.ctx;
    Checkpoint { journal: ctx.journaled_state.checkpoint(), rows: ctx.chain.rows.mark() }
}

/// Takes the fee and turns the machine's result into status and output.
pub(super) fn settle(
    runner: &mut Runner<'_>,
    env: &BlockEnv,
    tx: &TxInput,
    finished: Finished,
    gas_limit: u64,
    charged: bool,
    checkpoint: Checkpoint,
) -> Result<Settled, AccessError> {
    let ctx = &mut runner.machine.ctx;
    let gas_used = gas_limit - finished.gas_left;
    let mut settled = Settled {
        status: finished.status.unwrap_or_else(|| status_of(finished.result)),
        gas_used,
        output: finished.output,
        contract_address: finished.created,
        effective_gas_price: String::new(),
    };
    let mut undone = false;
    if charged && !ctx.chain.free && !env.gas_price.is_zero() {
        settled.effective_gas_price = format!("{:#x}", env.gas_price);
        let fee = env.gas_price.saturating_mul(U256::from(gas_used));
        let mut sender = ctx.journaled_state.load_account_mut(tx.sender)?;
        if *sender.data.balance() >= fee {
            sender.data.decr_balance(fee);
        } else {
            settled.status = status::NOT_ENOUGH_CASH;
            settled.output = Bytes::new();
            settled.contract_address = None;
            undone = true;
        }
    }
    if undone {
        ctx.journaled_state.checkpoint_revert(checkpoint.journal);
        ctx.chain.rows.revert_to(checkpoint.rows);
    } else {
        ctx.journaled_state.checkpoint_commit();
    }
    if settled.status == status::NONE {
        if settled.contract_address.is_some() {
            // The new code is known by its address; receipts of deployments carry no output.
            settled.output = Bytes::new();
        }
    } else if finished.status.is_none()
        && let Some(text) = reason(finished.result)
    {
        settled.output = error_output(ctx.chain.suite, text);
    }
    Ok(settled)
}

/// Reads and writes of the transaction.
pub(super) fn collect(runner: &mut Runner<'_>, tx: &TxInput, settled: Settled, web3_nonce: Option<u64>) -> TxOutcome {
    let ctx = &mut runner.machine.ctx;
    let mut writes: Vec<(StateKey, Option<Bytes>)> = Vec::new();
    let journal = &mut ctx.journaled_state;
    for (address, account) in &journal.inner.state {
        for (slot, value) in &account.storage {
            if value.present_value != value.original_value {
                let bytes = (!value.present_value.is_zero())
                    .then(|| Bytes::copy_from_slice(&value.present_value.to_be_bytes::<32>()));
                writes.push((StateKey::Slot(*address, B256::from(*slot)), bytes));
            }
        }
        if !account.is_touched() {
            continue;
        }
        let Some((_, original)) = journal.database.originals.iter().find(|(known, _)| known == address) else {
            continue;
        };
        let before = original.unwrap_or_default();
        let code_hash = if account.info.code_hash == KECCAK_EMPTY { B256::ZERO } else { account.info.code_hash };
        let new_code = code_hash != before.code_hash;
        // Only Ethereum transactions count creations in nonces; a new contract always starts at 1.
        let nonce = match web3_nonce {
            Some(next) if *address == tx.sender => next,
            Some(_) => account.info.nonce,
            None if account.is_created() => 1,
            None => before.nonce,
        };
        let record = AccountRecord { nonce, balance: account.info.balance, code_hash };
        if record != before || (account.is_created() && original.is_none()) {
            writes.push((StateKey::Account(*address), Some(record.encode())));
        }
        if new_code {
            if let Some(code) = &account.info.code {
                writes.push((StateKey::Code(code_hash), Some(code.original_bytes())));
            }
            if settled.contract_address == Some(*address) && !tx.abi.is_empty() {
                writes.push((StateKey::Abi(code_hash), Some(Bytes::copy_from_slice(tx.abi.as_bytes()))));
            }
        }
    }
    let rows = std::mem::take(&mut ctx.chain.rows).into_changed();
    writes.extend(rows.into_iter().map(|((table, key), value)| (StateKey::Row { table, key }, value)));
    writes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    // Two new contracts may share their code.
    writes.dedup_by(|a, b| a.0 == b.0);
    let logs = if settled.status == status::NONE {
        let logs = std::mem::take(&mut journal.inner.logs);
        logs.into_iter()
            .map(|log| {
                let (topics, data) = log.data.split();
                Log { address: log.address, topics, data }
            })
            .collect()
    } else {
        Vec::new()
    };
    let mut reads = std::mem::take(&mut journal.database.reads);
    if reads.iter().any(|read| !matches!(read, StateRead::Key(StateKey::Account(_) | StateKey::Slot(..)))) {
        // The machine asks once per account and slot; precompiled contracts may ask for a row again.
        reads.sort_unstable();
        reads.dedup();
    }
    TxOutcome {
        status: settled.status,
        gas_used: settled.gas_used,
        contract_address: settled.contract_address,
        output: settled.output,
        logs,
        effective_gas_price: settled.effective_gas_price,
        reads,
        writes,
    }
}

fn status_of(result: InstructionResult) -> i32 {
    use InstructionResult as R;
    match result {
        R::Stop | R::Return | R::SelfDestruct | R::Suspend => status::NONE,
        R::Revert | R::CallTooDeep | R::PrecompileError => status::REVERT_INSTRUCTION,
        R::OutOfFunds | R::OverflowPayment => status::NOT_ENOUGH_CASH,
        R::OutOfGas
        | R::MemoryOOG
        | R::MemoryLimitOOG
        | R::PrecompileOOG
        | R::InvalidOperandOOG
        | R::ReentrancySentryOOG
        | R::CreateContractSizeLimit
        | R::CreateInitCodeSizeLimit => status::OUT_OF_GAS,
        R::OpcodeNotFound
        | R::InvalidFEOpcode
        | R::NotActivated
        | R::CreateContractStartingWithEF
        | R::CreateInitCodeStartingEF00
        | R::InvalidEOFInitCode
        | R::InvalidExtDelegateCallTarget
        | R::InvalidImmediateEncoding => status::BAD_INSTRUCTION,
        R::InvalidJump => status::BAD_JUMP_DESTINATION,
        R::StackOverflow => status::OUT_OF_STACK,
        R::StackUnderflow | R::OutOfOffset => status::STACK_UNDERFLOW,
        R::CreateCollision => status::CONTRACT_ADDRESS_ALREADY_USED,
        R::CallNotAllowedInsideStatic | R::StateChangeDuringStaticCall | R::NonceOverflow | R::FatalExternalError => {
            status::UNKNOWN
        }
    }
}

/// The reason a failed transaction shows when the contract gave none.
fn reason(result: InstructionResult) -> Option<&'static str> {
    Some(match status_of(result) {
        status::OUT_OF_GAS => "Execution out of gas.",
        status::OUT_OF_STACK => "Execution stack overflow.",
        status::STACK_UNDERFLOW => "Execution needs more items on EVM stack.",
        status::BAD_INSTRUCTION => "Execution invalid/undefined opcode.",
        status::BAD_JUMP_DESTINATION => "Execution has violated the jump destination restrictions.",
        status::CONTRACT_ADDRESS_ALREADY_USED => "Contract address already used.",
        status::UNKNOWN => "Execution tried to execute an operation which is restricted in static mode.",
        _ => return None,
    })
}
