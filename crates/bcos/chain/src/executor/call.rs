//! Calls that leave nothing behind: `call`, `eth_call`, gas estimation.

use alloy_primitives::{Address, Bytes, U256};
use revm::inspector::NoOpInspector;

use super::{Executor, TxInput};
use crate::access::{AccessError, AccountRecord, BlockEnv, Log, StateAccess, StateKey, TxOutcome};

/// A call to be tried on a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallRequest {
    /// Sender; zero when nobody in particular.
    pub from: Address,
    /// Called address; `None` tries a deployment.
    pub to: Option<Address>,
    /// Call data or init code.
    pub data: Bytes,
    /// Value the contract sees.
    pub value: U256,
    /// Gas limit, the chain's when absent or larger.
    pub gas: Option<u64>,
    /// The call is made as an Ethereum client's transaction.
    pub web3: bool,
}

/// Outcome of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallOutcome {
    /// Transaction status: 0, or why it failed.
    pub status: i32,
    /// Return data or revert data.
    pub output: Bytes,
    /// Gas used.
    pub gas_used: u64,
    /// Events it would leave.
    pub logs: Vec<Log>,
    /// Address a tried deployment would get.
    pub contract_address: Option<Address>,
}

impl CallOutcome {
    pub(super) fn of(outcome: TxOutcome) -> Self {
        Self {
            status: outcome.status,
            output: outcome.output,
            gas_used: outcome.gas_used,
            logs: outcome.logs,
            contract_address: outcome.contract_address,
        }
    }
}

impl CallRequest {
    /// The transaction it would be on this state; an Ethereum client's deployment takes the account's next nonce.
    pub(super) fn input(&self, state: &dyn StateAccess) -> Result<TxInput, AccessError> {
        let mut nonce = 0;
        if self.web3
            && self.to.is_none()
            && let Some(bytes) = state.get(&StateKey::Account(self.from))?
        {
            let damaged = || AccessError::Store(format!("account {} has a damaged record", self.from));
            nonce = AccountRecord::decode(&bytes).ok_or_else(damaged)?.nonce;
        }
        Ok(TxInput {
            web3: self.web3,
            sender: self.from,
            to: self.to,
            input: self.data.clone(),
            value: self.value,
            nonce,
            abi: String::new(),
        })
    }
}

impl Executor {
    /// Tries a call on a state; nothing is written.
    pub fn call(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        request: &CallRequest,
    ) -> Result<CallOutcome, AccessError> {
        let gas_limit = request.gas.map_or(env.gas_limit, |gas| gas.min(env.gas_limit));
        let outcome = self.run(state, env, &request.input(state)?, 0, gas_limit, false, None::<&mut NoOpInspector>)?;
        Ok(CallOutcome::of(outcome))
    }

    /// The least gas with which the call succeeds, or the failed outcome when no gas helps.
    pub fn estimate_gas(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        request: &CallRequest,
    ) -> Result<Result<u64, CallOutcome>, AccessError> {
        let tried = |gas: u64| self.call(state, env, &CallRequest { gas: Some(gas), ..request.clone() });
        let most = request.gas.map_or(env.gas_limit, |gas| gas.min(env.gas_limit));
        let first = tried(most)?;
        if first.status != 0 {
            return Ok(Err(first));
        }
        // Mostly what was used is enough; only calls that pass on a share of their gas need more.
        let (mut low, mut high) = (first.gas_used.saturating_sub(1), most);
        let guesses = [first.gas_used, first.gas_used.saturating_mul(64) / 63 + 2_300];
        for guess in guesses {
            if guess <= low || guess >= high {
                continue;
            }
            if tried(guess)?.status == 0 {
                high = guess;
                break;
            }
            low = guess;
        }
        while high - low > 1 && high - low > high / 1_000 {
            let middle = low + (high - low) / 2;
            if tried(middle)?.status == 0 {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(Ok(high))
    }
}
