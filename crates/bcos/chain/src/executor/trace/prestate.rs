//! The accounts a transaction finds and leaves, in the meaning of geth's `prestateTracer`.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256};
use revm::inspector::NoOpInspector;

use super::Traced;
use crate::access::{AccessError, AccountRecord, BlockEnv, StateAccess, StateKey, StateRead, TxOutcome};
use crate::executor::Executor;

/// An account before or after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountState {
    /// Balance in wei.
    pub balance: U256,
    /// Next nonce.
    pub nonce: u64,
    /// Code; empty without.
    pub code: Bytes,
    /// The slots the transaction looked at or wrote.
    pub storage: BTreeMap<B256, B256>,
}

impl AccountState {
    /// Whether there is anything to it.
    pub fn is_empty(&self) -> bool {
        self.balance.is_zero() && self.nonce == 0 && self.code.is_empty() && self.storage.values().all(B256::is_zero)
    }
}

/// Every account a transaction touched, as it was before and as it is after. Rows of tables are not accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Before.
    pub before: BTreeMap<Address, AccountState>,
    /// After; the same accounts and slots.
    pub after: BTreeMap<Address, AccountState>,
}

impl Executor {
    /// Runs and returns the accounts that were touched.
    pub fn trace_state(
        &self,
        state: &dyn StateAccess,
        env: &BlockEnv,
        traced: &Traced<'_>,
    ) -> Result<(TxOutcome, Touched), AccessError> {
        let (input, index, gas_limit, charged) = traced.parts(state, env)?;
        let outcome = self.run(state, env, &input, index, gas_limit, charged, None::<&mut NoOpInspector>)?;
        let mut accounts: BTreeSet<Address> = [Some(input.sender), input.to].into_iter().flatten().collect();
        let mut slots = BTreeSet::new();
        let read = outcome.reads.iter().filter_map(|read| match read {
            StateRead::Key(key) => Some(key),
            StateRead::Table(_) => None,
        });
        for key in read.chain(outcome.writes.iter().map(|(key, _)| key)) {
            match key {
                StateKey::Account(address) => {
                    accounts.insert(*address);
                }
                StateKey::Slot(address, slot) => {
                    accounts.insert(*address);
                    slots.insert((*address, *slot));
                }
                _ => {}
            }
        }
        let mut touched = Touched::default();
        for address in accounts {
            let stored = state.get(&StateKey::Account(address))?;
            touched.before.insert(address, account(stored, |hash| state.get(&StateKey::Code(hash)))?);
        }
        for (address, slot) in slots {
            let value = word(state.get(&StateKey::Slot(address, slot))?);
            touched.before.entry(address).or_default().storage.insert(slot, value);
        }
        touched.after = touched.before.clone();
        // The writes are in the keys' order.
        let written = |key: &StateKey| {
            let at = outcome.writes.binary_search_by(|(of, _)| of.cmp(key)).ok()?;
            outcome.writes.get(at).map(|(_, value)| value.clone())
        };
        for (key, value) in &outcome.writes {
            match key {
                StateKey::Account(address) => {
                    let code = |hash: B256| {
                        let key = StateKey::Code(hash);
                        written(&key).map_or_else(|| state.get(&key), Ok)
                    };
                    let now = account(value.clone(), code)?;
                    let entry = touched.after.entry(*address).or_default();
                    (entry.balance, entry.nonce, entry.code) = (now.balance, now.nonce, now.code);
                }
                StateKey::Slot(address, slot) => {
                    touched.after.entry(*address).or_default().storage.insert(*slot, word(value.clone()));
                }
                _ => {}
            }
        }
        Ok((outcome, touched))
    }
}

fn word(value: Option<Bytes>) -> B256 {
    value.map_or(B256::ZERO, |bytes| U256::try_from_be_slice(&bytes).unwrap_or_default().into())
}

fn account(
    value: Option<Bytes>,
    code: impl Fn(B256) -> Result<Option<Bytes>, AccessError>,
) -> Result<AccountState, AccessError> {
    let record = value.and_then(|bytes| AccountRecord::decode(&bytes)).unwrap_or_default();
    let code = if record.code_hash.is_zero() { None } else { code(record.code_hash)? };
    Ok(AccountState {
        balance: record.balance,
        nonce: record.nonce,
        code: code.unwrap_or_default(),
        storage: BTreeMap::new(),
    })
}
