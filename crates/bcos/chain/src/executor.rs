//! Execution of transactions and calls against a state that is only read.

pub mod call;
mod outcome;
pub mod overrides;
#[cfg(test)]
mod reads_tests;
#[cfg(test)]
mod tests;
pub mod trace;

use alloy_primitives::{Address, Bytes, U256};
use bcos_types::{TransactionError, TxKind, VerifiedTx};
use konsort_crypto::{CryptoSuite, SuiteKind, suite};
use revm::context::CfgEnv;
use revm::inspector::{Inspector, NoOpInspector};
use revm::interpreter::interpreter::EthInterpreter;

use crate::access::{AccessError, BlockEnv, StateAccess, TxOutcome};
use crate::evm::db::{CodeCache, StateDb};
use crate::evm::instructions::{SPEC, gas_params};
use crate::evm::rows::Rows;
use crate::evm::{CALL_GAS, Ctx, Extension, Finished, FirstFrame, Runner, sequence_address};
use crate::precompiled::Precompiles;

/// Contract code may be this long.
pub const MAX_CODE_BYTES: usize = 1 << 20;

/// Init code may be this long: the code, and room for constructor and arguments.
const MAX_INIT_CODE_BYTES: usize = 4 << 20;

/// What the executor needs of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxInput {
    /// Came from an Ethereum client: its nonce counts and makes contract addresses.
    pub web3: bool,
    /// Signer.
    pub sender: Address,
    /// Called address; `None` deploys.
    pub to: Option<Address>,
    /// Call data, or init code with arguments.
    pub input: Bytes,
    /// Value, visible to the contract even when nothing moves.
    pub value: U256,
    /// Nonce of a web3 transaction.
    pub nonce: u64,
    /// ABI text that a deployment stores beside the code.
    pub abi: String,
}

impl TxInput {
    /// What a verified transaction asks for; fails when its address, value or nonce cannot be read.
    pub fn of(tx: &VerifiedTx) -> Result<Self, TransactionError> {
        let data = &tx.tx.data;
        let web3 = tx.tx.kind == TxKind::Web3;
        let nonce = if web3 {
            let digits = data.nonce.strip_prefix("0x").unwrap_or(&data.nonce);
            u64::from_str_radix(digits, 16)
                .map_err(|_| TransactionError::Field { field: "nonce", text: data.nonce.chars().take(80).collect() })?
        } else {
            0
        };
        Ok(Self {
            web3,
            sender: tx.sender,
            to: data.to_address()?,
            input: data.input.clone(),
            value: data.value()?,
            nonce,
            abi: data.abi.clone(),
        })
    }
}

/// Executes transactions of one chain. Cheap to clone; clones share the cache of analysed code.
#[derive(Debug, Clone)]
pub struct Executor {
    suite: &'static dyn CryptoSuite,
    codes: CodeCache,
    cfg: CfgEnv,
    precompiles: Precompiles,
}

impl Executor {
    /// An executor for chains of a suite.
    pub fn new(kind: SuiteKind) -> Self {
        let mut cfg = CfgEnv::new_with_spec(SPEC);
        cfg.set_gas_params(gas_params());
        cfg.limit_contract_code_size = Some(MAX_CODE_BYTES);
        cfg.limit_contract_initcode_size = Some(MAX_INIT_CODE_BYTES);
        Self { suite: suite(kind), codes: CodeCache::default(), cfg, precompiles: Precompiles::new(kind, SPEC) }
    }

    /// The chain's hash and signatures.
    pub fn suite(&self) -> &'static dyn CryptoSuite {
        self.suite
    }

    /// Executes a verified transaction; one whose fields cannot be read fails with the pool's code and changes nothing.
    pub fn execute_verified(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        tx: &VerifiedTx,
        index: u32,
    ) -> Result<TxOutcome, AccessError> {
        match TxInput::of(tx) {
            Ok(input) => self.execute_transaction(state, env, &input, index),
            Err(error) => Ok(TxOutcome { status: error.status(), ..TxOutcome::default() }),
        }
    }

    /// Executes transaction `index` of the block on the state as it is before it.
    pub fn execute_transaction(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        tx: &TxInput,
        index: u32,
    ) -> Result<TxOutcome, AccessError> {
        self.run(state, env, tx, index, env.gas_limit, true, None::<&mut NoOpInspector>)
    }

    /// Runs one transaction or call. `charged`: a gas price, if the chain has one, is paid.
    #[expect(clippy::too_many_arguments, reason = "the one place where a transaction, a call and a trace meet")]
    fn run<'a, I>(
        &'a self,
        state: &'a dyn StateAccess,
        env: &'a BlockEnv,
        tx: &TxInput,
        index: u32,
        gas_limit: u64,
        charged: bool,
        inspector: Option<&mut I>,
    ) -> Result<TxOutcome, AccessError>
    where
        I: Inspector<Ctx<'a>, EthInterpreter>,
    {
        let extension = Extension {
            env,
            suite: self.suite,
            rows: Rows::default(),
            origin: tx.sender,
            failure: None,
            access_error: None,
            web3: tx.web3,
            index,
            sequence: 0,
            free: false,
        };
        let db = StateDb::new(state, &self.codes);
        let mut runner = Runner::new(db, &self.cfg, self.precompiles.clone(), extension);
        // The nonce rises even when the transaction fails.
        let web3_nonce = if tx.web3 { Some(outcome::raise_nonce(&mut runner, tx)?) } else { None };
        let checkpoint = outcome::checkpoint(&mut runner);
        let intrinsic = if tx.to.is_some() { CALL_GAS } else { 0 };
        let finished = if gas_limit < intrinsic {
            Finished::out_of_gas()
        } else {
            let create_address = match tx.to {
                Some(_) => Address::ZERO,
                None if tx.web3 => tx.sender.create(tx.nonce),
                None => sequence_address(self.suite, env.number, index, 0),
            };
            let first = FirstFrame {
                caller: tx.sender,
                to: tx.to,
                input: tx.input.clone(),
                value: tx.value,
                gas: gas_limit - intrinsic,
                create_address,
            };
            runner.run(first, inspector)?
        };
        let settled = outcome::settle(&mut runner, env, tx, finished, gas_limit, charged, checkpoint)?;
        let outcome = outcome::collect(&mut runner, tx, settled, web3_nonce);
        runner.recycle();
        Ok(outcome)
    }
}
