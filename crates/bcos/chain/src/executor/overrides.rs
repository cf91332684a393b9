//! A state as somebody imagines it, for calls that leave nothing behind.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256};
use konsort_crypto::CryptoSuite;

use crate::access::{AccessError, AccountRecord, StateAccess, StateKey};
use crate::state::{Layer, Overlay};

/// What is imagined of one account; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountOverride {
    /// Balance in wei.
    pub balance: Option<U256>,
    /// Next nonce.
    pub nonce: Option<u64>,
    /// Code; empty for an account without.
    pub code: Option<Bytes>,
    /// The whole storage: slots not named are zero.
    pub state: Option<Vec<(B256, B256)>>,
    /// Some slots of the storage.
    pub state_diff: Vec<(B256, B256)>,
}

/// What is imagined of several accounts.
pub type Overrides = Vec<(Address, AccountOverride)>;

/// A state with overrides above it.
pub struct Imagined<'a> {
    over: Overlay<'a>,
    /// Accounts whose stored slots do not show.
    emptied: BTreeSet<Address>,
}

impl std::fmt::Debug for Imagined<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imagined").field("emptied", &self.emptied).finish_non_exhaustive()
    }
}

impl<'a> Imagined<'a> {
    /// Lays overrides over a state of a chain with this suite.
    pub fn new(base: &'a dyn StateAccess, suite: &dyn CryptoSuite, overrides: &Overrides) -> Result<Self, AccessError> {
        let mut cells = Vec::new();
        let mut emptied = BTreeSet::new();
        for (address, wanted) in overrides {
            if wanted.balance.is_some() || wanted.nonce.is_some() || wanted.code.is_some() {
                let damaged = || AccessError::Store(format!("account {address} has a damaged record"));
                let mut record = match base.get(&StateKey::Account(*address))? {
                    Some(bytes) => AccountRecord::decode(&bytes).ok_or_else(damaged)?,
                    None => AccountRecord::default(),
                };
                record.balance = wanted.balance.unwrap_or(record.balance);
                record.nonce = wanted.nonce.unwrap_or(record.nonce);
                if let Some(code) = &wanted.code {
                    record.code_hash = B256::ZERO;
                    if !code.is_empty() {
                        record.code_hash = suite.hash(code).into();
                        cells.push((StateKey::Code(record.code_hash), Some(code.clone())));
                    }
                }
                cells.push((StateKey::Account(*address), Some(record.encode())));
            }
            if wanted.state.is_some() {
                emptied.insert(*address);
            }
            for (slot, value) in wanted.state.iter().flatten().chain(&wanted.state_diff) {
                let value = (!value.is_zero()).then(|| Bytes::copy_from_slice(value.as_slice()));
                cells.push((StateKey::Slot(*address, *slot), value));
            }
        }
        let mut layer = Layer::default();
        layer.apply(&cells);
        Ok(Self { over: Overlay { base, layer }, emptied })
    }
}

impl StateAccess for Imagined<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        if let StateKey::Slot(address, _) = key
            && self.emptied.contains(address)
        {
            return Ok(self.over.layer.get(key).cloned().flatten());
        }
        self.over.get(key)
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        self.over.rows(table, from, limit)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        self.over.block_hash(number)
    }
}

#[cfg(test)]
mod tests {
    use konsort_crypto::{SuiteKind, suite};

    use super::*;
    use crate::executor::Executor;
    use crate::executor::call::CallRequest;
    use crate::test_world::{World, env};

    /// Gives back slot 0 and slot 1, the own balance, and the first byte of the code at 0x77.
    const LOOK: &[u8] = &[
        0x5f, 0x54, 0x5f, 0x52, // slot 0 to memory 0
        0x60, 1, 0x54, 0x60, 0x20, 0x52, // slot 1 to memory 32
        0x47, 0x60, 0x40, 0x52, // own balance to memory 64
        0x60, 0x77, 0x3b, 0x60, 0x60, 0x52, // size of the code at 0x77 to memory 96
        0x60, 0x80, 0x5f, 0xf3,
    ];

    fn words(output: &[u8]) -> Vec<u64> {
        output.chunks(32).map(|word| U256::from_be_slice(word).to()).collect()
    }

    #[test]
    fn calls_see_what_is_imagined_and_nothing_stays() {
        let executor = Executor::new(SuiteKind::International);
        let contract = Address::repeat_byte(9);
        let mut world = World::default();
        world.install(contract, LOOK);
        for slot in 0..2_u8 {
            let value = B256::with_last_byte(slot + 5);
            world.set(StateKey::Slot(contract, B256::with_last_byte(slot)), Bytes::copy_from_slice(value.as_slice()));
        }
        let before = world.clone();
        let request = CallRequest { to: Some(contract), web3: true, ..CallRequest::default() };
        let look = |overrides: &Overrides| {
            let state = Imagined::new(&world, suite(SuiteKind::International), overrides).unwrap();
            words(&executor.call(&state, &env(3), &request).unwrap().output)
        };
        assert_eq!(look(&vec![]), [5, 6, 0, 0]);
        let slot = |slot: u8, value: u8| (B256::with_last_byte(slot), B256::with_last_byte(value));
        let own = |wanted: AccountOverride| (contract, wanted);
        let diff = AccountOverride { state_diff: vec![slot(1, 8)], ..AccountOverride::default() };
        assert_eq!(look(&vec![own(diff)]), [5, 8, 0, 0]);
        let whole = AccountOverride { state: Some(vec![slot(1, 8)]), ..AccountOverride::default() };
        assert_eq!(look(&vec![own(whole)]), [0, 8, 0, 0]);
        let emptied = AccountOverride { state_diff: vec![slot(0, 0)], ..AccountOverride::default() };
        assert_eq!(look(&vec![own(emptied)]), [0, 6, 0, 0]);
        let rich = AccountOverride { balance: Some(U256::from(77)), ..AccountOverride::default() };
        let other = AccountOverride { code: Some(Bytes::from_static(&[1, 2, 3])), ..AccountOverride::default() };
        let both = vec![own(rich), (Address::with_last_byte(0x77), other)];
        assert_eq!(look(&both), [5, 6, 77, 3]);
        // The contract's own code, and none at all.
        let mute =
            AccountOverride { code: Some(Bytes::from_static(&[0x5f, 0x5f, 0xf3])), ..AccountOverride::default() };
        assert!(look(&vec![own(mute)]).is_empty());
        let gone = AccountOverride { code: Some(Bytes::new()), ..AccountOverride::default() };
        assert!(look(&vec![own(gone)]).is_empty());
        assert_eq!(world, before);
    }

    #[test]
    fn a_nonce_decides_where_a_tried_deployment_goes() {
        let executor = Executor::new(SuiteKind::International);
        let world = World::default();
        let from = Address::repeat_byte(4);
        let request = CallRequest { from, web3: true, ..CallRequest::default() };
        for nonce in [0, 7] {
            let wanted = AccountOverride { nonce: Some(nonce), ..AccountOverride::default() };
            let state = Imagined::new(&world, suite(SuiteKind::International), &vec![(from, wanted)]).unwrap();
            let outcome = executor.call(&state, &env(3), &request).unwrap();
            assert_eq!(outcome.contract_address, Some(from.create(nonce)));
        }
    }
}
