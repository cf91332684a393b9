//! Looking into a transaction while it runs: the tree of calls, every single instruction, the places it touches.

mod calls;
mod prestate;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use revm::inspector::NoOpInspector;

pub use calls::{CallKind, CallOptions, TracedCall, TracedLog};
pub use prestate::{AccountState, Touched};
pub use steps::{Step, StepOptions};

use super::call::{CallOutcome, CallRequest};
use super::{Executor, TxInput};
use crate::access::{AccessError, BlockEnv, StateAccess, StateKey, StateRead, TxOutcome};
use crate::precompiled::low_number;
use calls::CallTracer;
use steps::StepTracer;

/// What is traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traced<'t> {
    /// A transaction of a block on the state before it, and its position in the block.
    Transaction(&'t TxInput, u32),
    /// A call that leaves nothing behind.
    Call(&'t CallRequest),
}

impl Traced<'_> {
    /// Input, position, gas limit, whether a fee is due.
    fn parts(&self, state: &dyn StateAccess, env: &BlockEnv) -> Result<(TxInput, u32, u64, bool), AccessError> {
        match self {
            Self::Transaction(tx, index) => Ok(((*tx).clone(), *index, env.gas_limit, true)),
            Self::Call(request) => {
                let gas = request.gas.map_or(env.gas_limit, |gas| gas.min(env.gas_limit));
                Ok((request.input(state)?, 0, gas, false))
            }
        }
    }
}

/// Places a call touches, by account.
pub type AccessList = Vec<(Address, Vec<B256>)>;

impl Executor {
    /// Runs and returns the tree of calls.
    pub fn trace_calls(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        traced: &Traced<'_>,
        options: CallOptions,
    ) -> Result<(TxOutcome, TracedCall), AccessError> {
        let (input, index, gas_limit, charged) = traced.parts(state, env)?;
        let mut tracer = CallTracer::new(options);
        let outcome = self.run(state, env, &input, index, gas_limit, charged, Some(&mut tracer))?;
        let call = tracer.finish(&input, gas_limit, &outcome, self.suite());
        Ok((outcome, call))
    }

    /// Runs and returns every instruction, up to the limit in `options`.
    pub fn trace_steps(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        traced: &Traced<'_>,
        options: &StepOptions,
    ) -> Result<(TxOutcome, Vec<Step>), AccessError> {
        let (input, index, gas_limit, charged) = traced.parts(state, env)?;
        let mut tracer = StepTracer::new(options.clone());
        let outcome = self.run(state, env, &input, index, gas_limit, charged, Some(&mut tracer))?;
        Ok((outcome, tracer.finish()))
    }

    /// Runs a call and returns the accounts and slots it touched. Sender, receiver and precompiled contracts are left
    /// out unless slots of theirs were touched, as clients expect.
    pub fn access_list(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        request: &CallRequest,
    ) -> Result<(CallOutcome, AccessList), AccessError> {
        let (input, index, gas_limit, charged) = Traced::Call(request).parts(state, env)?;
        let outcome = self.run(state, env, &input, index, gas_limit, charged, None::<&mut NoOpInspector>)?;
        let mut touched: BTreeMap<Address, BTreeSet<B256>> = BTreeMap::new();
        for read in &outcome.reads {
            match read {
                StateRead::Key(StateKey::Account(address)) => {
                    touched.entry(*address).or_default();
                }
                StateRead::Key(StateKey::Slot(address, slot)) => {
                    touched.entry(*address).or_default().insert(*slot);
                }
                _ => {}
            }
        }
        let list = touched
            .into_iter()
            .filter(|(address, slots)| {
                let implied = *address == request.from
                    || Some(*address) == request.to
                    || Some(*address) == outcome.contract_address
                    || low_number(address).is_some_and(|number| number <= 0xa);
                !slots.is_empty() || !implied
            })
            .map(|(address, slots)| (address, slots.into_iter().collect()))
            .collect();
        Ok((CallOutcome::of(outcome), list))
    }
}
