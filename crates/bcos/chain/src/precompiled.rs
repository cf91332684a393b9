//! Precompiled contracts: Ethereum's at 0x1 to 0xa, the engine's own from 0x1000 on, and the contracts of tables.
//!
//! A method is found by its selector, which the chain's hash makes from the same signature text, so SM chains have
//! other selectors for the same methods.

mod abi;
mod bfs;
mod cast;
mod consensus;
mod cpu_heavy;
mod crypto;
mod kv_table;
pub(crate) mod registry;
mod system_config;
mod table;
mod table_manager;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::{Arc, OnceLock};

use alloy_primitives::{Address, Bytes};
use alloy_sol_types::SolType;
use bcos_types::status;
use konsort_crypto::{CryptoSuite, SuiteKind};
use revm::context::JournalTr;
use revm::handler::{EthPrecompiles, PrecompileProvider};
use revm::interpreter::{CallInputs, CallScheme, Gas, InstructionResult, InterpreterResult};
use revm::primitives::AddressSet;
use revm::primitives::hardfork::SpecId;
use revm::state::Bytecode;

use crate::access::{AccessError, BlockEnv, CONSENSUS_TABLE, SYSTEM_CONFIG_TABLE};
use crate::evm::Ctx;
use registry::{Method, Registry};

/// First bytes of the code of a contract that stands for a table: then address of the implementation and table name.
pub(crate) const TABLE_CODE_PREFIX: &str = "[PRECOMPILED]";

/// Number of a low address, `None` when the address is not below 2^32.
pub(crate) fn low_number(address: &Address) -> Option<u32> {
    let (high, low) = address.0.split_at(16);
    if high != [0; 16] {
        return None;
    }
    low.try_into().ok().map(u32::from_be_bytes)
}

/// Whether one of the engine's own contracts lives here.
pub(crate) fn is_chain_contract(address: &Address) -> bool {
    low_number(address).is_some_and(|number| registry::kind_of(number).is_some())
}

/// One byte of code that the engine's own contracts show.
pub(crate) fn placeholder_code() -> Bytecode {
    static CODE: OnceLock<Bytecode> = OnceLock::new();
    CODE.get_or_init(|| Bytecode::new_legacy(Bytes::from_static(&[0xfe]))).clone()
}

/// Code of the contract that stands for `table`.
pub(crate) fn table_code(implementation: &str, table: &str) -> Bytes {
    format!("{TABLE_CODE_PREFIX},{implementation},{table}").into_bytes().into()
}

/// The encoded `Error(string)` a failed transaction shows.
pub(crate) fn error_output(suite: &dyn CryptoSuite, text: &str) -> Bytes {
    let selector = suite.hash(b"Error(string)");
    let mut out = selector[..4].to_vec();
    out.extend(<(alloy_sol_types::sol_data::String,)>::abi_encode_params(&(text,)));
    out.into()
}

/// Why a precompiled contract did not answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call is refused; the text goes to the caller.
    Refused(String),
    /// The state could not be read.
    Access(AccessError),
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        Self::Access(error)
    }
}

/// Answer of a method: encoded return values.
pub(crate) type Answer = Result<Vec<u8>, Failure>;

/// One call of a precompiled contract.
pub(crate) struct Call<'c, 'a> {
    ctx: &'c mut Ctx<'a>,
    /// Who calls.
    pub(crate) caller: Address,
    /// Table behind the called address, for contracts that stand for a table.
    pub(crate) table: Option<String>,
    address: Address,
    is_static: bool,
    /// Whether the transaction itself makes this call, not a contract.
    is_direct: bool,
    gas_used: u64,
}

impl std::fmt::Debug for Call<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("caller", &self.caller).field("table", &self.table).finish_non_exhaustive()
    }
}

impl Call<'_, '_> {
    pub(crate) fn env(&self) -> &BlockEnv {
        self.ctx.chain.env
    }

    pub(crate) fn suite(&self) -> &'static dyn CryptoSuite {
        self.ctx.chain.suite
    }

    /// Number of the called contract's low address.
    pub(crate) fn number(&self) -> u32 {
        low_number(&self.address).unwrap_or_default()
    }

    /// Position of the transaction in its block.
    pub(crate) fn index(&self) -> u32 {
        self.ctx.chain.index
    }

    /// Counts on as a creation by a contract would.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.ctx.chain.sequence += 1;
        self.ctx.chain.sequence
    }

    /// Adds to the gas this call costs.
    pub(crate) fn charge(&mut self, gas: u64) {
        self.gas_used = self.gas_used.saturating_add(gas);
    }

    /// The transaction costs its sender nothing.
    pub(crate) fn waive_fee(&mut self) {
        self.ctx.chain.free = true;
    }

    /// A row of a table.
    pub(crate) fn row(&mut self, table: &Arc<str>, key: &Bytes) -> Result<Option<Bytes>, Failure> {
        if let Some(changed) = self.ctx.chain.rows.get(table, key) {
            return Ok(changed);
        }
        let key = crate::access::StateKey::Row { table: Arc::clone(table), key: key.clone() };
        Ok(self.ctx.journaled_state.database.read(key)?)
    }

    /// Sets or deletes a row.
    pub(crate) fn set_row(&mut self, table: &Arc<str>, key: Bytes, value: Option<Bytes>) -> Result<(), Failure> {
        if self.is_static {
            return Err(Failure::Refused("state must not change in a static call".into()));
        }
        // Agreement treats a transaction to these contracts apart, as the next block's rules may be others. It cannot see
        // what contracts call.
        if !self.is_direct && [SYSTEM_CONFIG_TABLE, CONSENSUS_TABLE].contains(&&**table) {
            let text =
                "settings and nodes of the chain are changed by a transaction's own call, not through a contract";
            return Err(Failure::Refused(text.into()));
        }
        self.ctx.chain.rows.set(Arc::clone(table), key, value);
        Ok(())
    }

    /// Rows of a table in key order from `from` on, this transaction's changes included, at most `limit`.
    pub(crate) fn rows(&mut self, table: &Arc<str>, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        let changed: Vec<(Bytes, Option<Bytes>)> = self
            .ctx
            .chain
            .rows
            .of_table(table)
            .filter(|(key, _)| key.as_ref() >= from)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        // Each changed row hides at most one below.
        let below = self.ctx.journaled_state.database.read_rows(table, from, limit.saturating_add(changed.len()))?;
        let mut merged: std::collections::BTreeMap<Bytes, Bytes> = below.into_iter().collect();
        for (key, value) in changed {
            match value {
                Some(value) => merged.insert(key, value),
                None => merged.remove(&key),
            };
        }
        Ok(merged.into_iter().take(limit).collect())
    }

    /// Gives `address` code, for contracts that stand for a table.
    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) -> Result<(), Failure> {
        if self.is_static {
            return Err(Failure::Refused("state must not change in a static call".into()));
        }
        let hash = self.suite().hash(&code);
        let journal = &mut self.ctx.journaled_state;
        journal.load_account(address)?;
        journal.inner.set_code_with_hash(address, Bytecode::new_legacy(code), hash.into());
        Ok(())
    }

    /// Code of an account.
    pub(crate) fn code(&mut self, address: Address) -> Result<Bytes, Failure> {
        let account = self.ctx.journaled_state.load_account_with_code(address)?;
        Ok(account.data.info.code.as_ref().map(Bytecode::original_bytes).unwrap_or_default())
    }
}

/// All precompiled contracts of a chain.
#[derive(Debug, Clone)]
pub(crate) struct Precompiles {
    ethereum: EthPrecompiles,
    registry: &'static Registry,
}

impl Precompiles {
    pub(crate) fn new(suite: SuiteKind, spec: SpecId) -> Self {
        Self { ethereum: EthPrecompiles::new(spec), registry: Registry::of(suite) }
    }

    fn run_method(
        &self,
        ctx: &mut Ctx<'_>,
        inputs: &CallInputs,
        kind: registry::Kind,
        table: Option<String>,
    ) -> Result<InterpreterResult, String> {
        let suite = ctx.chain.suite;
        if inputs.transfers_value() {
            // The contract has no account to keep it in.
            ctx.chain.failure = Some(status::PRECOMPILED_ERROR);
            let output = error_output(suite, "precompiled contracts take no value");
            return Ok(InterpreterResult::new(InstructionResult::Revert, output, Gas::new(inputs.gas_limit)));
        }
        let input = inputs.input.bytes(ctx);
        let method: Option<Method> = input.first_chunk::<4>().and_then(|selector| self.registry.find(kind, *selector));
        let mut call = Call {
            is_direct: table.is_none() && inputs.caller == ctx.tx.caller,
            ctx,
            caller: inputs.caller,
            table,
            address: inputs.bytecode_address,
            is_static: inputs.is_static,
            gas_used: input.len() as u64 / 32 * 3,
        };
        let answer = match method {
            Some(method) => method(&mut call, &input[4..]),
            None => registry::unknown_method(kind),
        };
        let gas_used = call.gas_used;
        let mut gas = Gas::new(inputs.gas_limit);
        match answer {
            Ok(output) if gas.record_regular_cost(gas_used) => {
                Ok(InterpreterResult::new(InstructionResult::Return, output.into(), gas))
            }
            Ok(_) => Ok(InterpreterResult::new(InstructionResult::PrecompileOOG, Bytes::new(), gas)),
            Err(Failure::Refused(text)) => {
                ctx.chain.failure = Some(status::PRECOMPILED_ERROR);
                Ok(InterpreterResult::new(InstructionResult::Revert, error_output(suite, &text), gas))
            }
            Err(Failure::Access(error)) => {
                let text = error.to_string();
                ctx.chain.access_error = Some(error);
                Err(text)
            }
        }
    }
}

/// The implementation and table a contract's code names.
fn table_of_code(code: &[u8]) -> Option<(registry::Kind, String)> {
    let text = std::str::from_utf8(code.strip_prefix(TABLE_CODE_PREFIX.as_bytes())?).ok()?;
    let (implementation, table) = text.strip_prefix(',')?.split_once(',')?;
    let number = u32::from_str_radix(implementation.trim_start_matches('0'), 16).ok()?;
    // Anybody can deploy code with this prefix. The other contracts answer at their own addresses only, where agreement
    // sees that they are called.
    let kind =
        registry::kind_of(number).filter(|kind| matches!(kind, registry::Kind::Table | registry::Kind::KvTable))?;
    Some((kind, table.to_owned()))
}

/// The interface description of a contract that stands for a table.
pub(crate) fn interface_of(code: &[u8]) -> Option<&'static str> {
    table::interface::of(table_of_code(code)?.0)
}

impl<'a> PrecompileProvider<Ctx<'a>> for Precompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _spec: SpecId) -> bool {
        false
    }

    fn run(&mut self, ctx: &mut Ctx<'a>, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        let delegated = inputs.scheme == CallScheme::DelegateCall;
        if let Some(number) = low_number(&inputs.bytecode_address) {
            if (1..=0xa).contains(&number) {
                return PrecompileProvider::<Ctx<'a>>::run(&mut self.ethereum, ctx, inputs);
            }
            if let Some(kind) = registry::kind_of(number) {
                if delegated {
                    // They work on their own state only; upstream finds no code here and lets the call succeed.
                    return Ok(Some(empty_success(inputs)));
                }
                return self.run_method(ctx, inputs, kind, None).map(Some);
            }
        }
        let code = &inputs.known_bytecode.1;
        if code.is_empty() {
            if inputs.input.is_empty() || inputs.is_static || delegated {
                return Ok(None);
            }
            ctx.chain.failure = Some(status::REVERT_INSTRUCTION);
            let output = error_output(ctx.chain.suite, "Call address error.");
            let result = InterpreterResult::new(InstructionResult::Revert, output, Gas::new(inputs.gas_limit));
            return Ok(Some(result));
        }
        match table_of_code(code.original_byte_slice()) {
            Some((kind, table)) => self.run_method(ctx, inputs, kind, Some(table)).map(Some),
            None => Ok(None),
        }
    }

    fn warm_addresses(&self) -> &AddressSet {
        self.ethereum.warm_addresses()
    }
}

fn empty_success(inputs: &CallInputs) -> InterpreterResult {
    InterpreterResult::new(InstructionResult::Stop, Bytes::new(), Gas::new(inputs.gas_limit))
}
