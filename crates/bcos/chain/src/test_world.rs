//! World state as plain maps.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::access::{AccessError, AccountRecord, BlockEnv, StateAccess, StateKey, TxOutcome};
use crate::executor::{Executor, TxInput};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct World {
    cells: BTreeMap<StateKey, Bytes>,
    /// Every read of a slot says that a transaction before has still to write it.
    pub(crate) failing_slots: bool,
    /// What a unit of gas costs.
    pub(crate) gas_price: U256,
}

impl StateAccess for World {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        if self.failing_slots && matches!(key, StateKey::Slot(..)) {
            return Err(AccessError::Dependency { index: 3 });
        }
        Ok(self.cells.get(key).cloned())
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        Ok(self
            .cells
            .range(StateKey::row(table, from.to_vec())..)
            .map_while(|(key, value)| match key {
                StateKey::Row { table: name, key } if **name == *table => Some((key.clone(), value.clone())),
                _ => None,
            })
            .take(limit)
            .collect())
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        Ok(Some(B256::from(U256::from(number))))
    }
}

impl World {
    pub(crate) fn get_cell(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        StateAccess::get(self, key)
    }

    pub(crate) fn get(&self, key: &StateKey) -> Option<Bytes> {
        self.cells.get(key).cloned()
    }

    pub(crate) fn set(&mut self, key: StateKey, value: Bytes) {
        self.cells.insert(key, value);
    }

    pub(crate) fn account(&self, address: Address) -> AccountRecord {
        self.get(&StateKey::Account(address)).map(|bytes| AccountRecord::decode(&bytes).unwrap()).unwrap_or_default()
    }

    pub(crate) fn set_account(&mut self, address: Address, record: AccountRecord) {
        self.set(StateKey::Account(address), record.encode());
    }

    pub(crate) fn code_of(&self, address: Address) -> Bytes {
        self.get(&StateKey::Code(self.account(address).code_hash)).unwrap()
    }

    /// Runtime code as a deployed contract.
    pub(crate) fn install(&mut self, address: Address, code: &[u8]) {
        let hash = alloy_primitives::keccak256(code);
        self.set(StateKey::Code(hash), Bytes::copy_from_slice(code));
        self.set_account(address, AccountRecord { nonce: 1, code_hash: hash, ..AccountRecord::default() });
    }

    /// Executes and keeps what was written.
    pub(crate) fn apply(&mut self, executor: &Executor, number: u64, tx: &TxInput, index: u32) -> TxOutcome {
        let env = BlockEnv { gas_price: self.gas_price, ..env(number) };
        let outcome = executor.execute_transaction(self, &env, tx, index).unwrap();
        self.write(&outcome);
        outcome
    }

    pub(crate) fn write(&mut self, outcome: &TxOutcome) {
        assert!(outcome.writes.is_sorted_by(|a, b| a.0 < b.0));
        for (key, value) in &outcome.writes {
            match value {
                Some(value) => self.cells.insert(key.clone(), value.clone()),
                None => self.cells.remove(key),
            };
        }
    }
}

pub(crate) fn env(number: u64) -> BlockEnv {
    BlockEnv {
        number,
        timestamp_ms: 1_700_000_000_123,
        timestamp_in_seconds: false,
        gas_limit: 3_000_000_000,
        gas_price: U256::ZERO,
        web3_chain_id: 20_200,
        balance_transfer: false,
    }
}
