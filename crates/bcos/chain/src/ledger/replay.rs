//! Running transactions of committed blocks again, to look into them.

use std::ops::RangeInclusive;

use super::{Chain, execute::block_env};
use crate::{
    ChainError,
    access::{AccessError, BlockEnv, StateAccess, TxOutcome},
    executor::{Executor, TxInput},
    state::{Layer, Overlay},
};

impl Chain {
    /// Runs the transactions of a committed block up to the last wanted one again, each on the state before it, the wanted ones by `look`;
    /// what that found, in order. `None` stands for a transaction that was refused before it ran.
    ///
    /// Nothing is written, and the outcomes are those of the receipts, because execution depends on state and block alone.
    pub fn replay<T>(
        &self,
        number: u64,
        wanted: RangeInclusive<usize>,
        mut look: impl FnMut(&Executor, &dyn StateAccess, &BlockEnv, &TxInput, u32) -> Result<(TxOutcome, T), AccessError>,
    ) -> Result<Vec<Option<T>>, ChainError> {
        let no_such_block = || ChainError::NoSuchBlock { number, height: self.height() };
        let block = self.block(number)?.ok_or_else(no_such_block)?;
        let before = self.state_at(Some(number.checked_sub(1).ok_or_else(no_such_block)?))?;
        let env = block_env(&before, number, block.header().timestamp)?;
        let executor = self.executor();
        let mut state = Overlay { base: &before, layer: Layer::default() };
        let mut found = Vec::new();
        for (transaction, position) in block.transactions()?.iter().zip(0_u32..) {
            let place = position as usize;
            if place > *wanted.end() {
                break;
            }
            let outcome = match TxInput::of(transaction) {
                Ok(input) if wanted.contains(&place) => {
                    let (outcome, seen) = look(executor, &state, &env, &input, position)?;
                    found.push(Some(seen));
                    outcome
                }
                Ok(input) => executor.execute_transaction(&state, &env, &input, position)?,
                Err(_) => {
                    if wanted.contains(&place) {
                        found.push(None);
                    }
                    continue;
                }
            };
            state.layer.apply(&outcome.writes);
        }
        Ok(found)
    }
}
