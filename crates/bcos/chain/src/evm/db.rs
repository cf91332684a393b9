//! The machine's view of the state: reads through the door, notes what was read.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use alloy_primitives::{Address, B256, U256};
use revm::database_interface::{DBErrorMarker, Database};
use revm::primitives::KECCAK_EMPTY;
use revm::state::{AccountInfo, Bytecode};

use crate::access::{AccessError, AccountRecord, StateAccess, StateKey, StateRead};

impl DBErrorMarker for AccessError {}

/// Analysed code (with its table of jump targets) by hash, shared by all threads.
#[derive(Debug, Default, Clone)]
pub(crate) struct CodeCache(Arc<RwLock<Cached>>);

#[derive(Debug, Default)]
struct Cached {
    codes: HashMap<B256, Bytecode, alloy_primitives::map::FbBuildHasher<32>>,
    bytes: usize,
}

/// The cache starts anew when the code in it exceeds this many bytes.
const CODE_CACHE_BYTES: usize = 64 << 20;

impl CodeCache {
    fn get(&self, hash: &B256) -> Option<Bytecode> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).codes.get(hash).cloned()
    }

    fn insert(&self, hash: B256, code: Bytecode) {
        let mut cached = self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if cached.bytes > CODE_CACHE_BYTES {
            *cached = Cached::default();
        }
        cached.bytes += code.len();
        cached.codes.insert(hash, code);
    }
}

/// State of one transaction.
pub(crate) struct StateDb<'a> {
    state: &'a dyn StateAccess,
    codes: &'a CodeCache,
    /// Everything read from below.
    pub(crate) reads: Vec<StateRead>,
    /// Accounts as they were before the transaction.
    pub(crate) originals: Vec<(Address, Option<AccountRecord>)>,
}

impl std::fmt::Debug for StateDb<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDb").field("reads", &self.reads).finish_non_exhaustive()
    }
}

impl<'a> StateDb<'a> {
    pub(crate) fn new(state: &'a dyn StateAccess, codes: &'a CodeCache) -> Self {
        Self { state, codes, reads: Vec::with_capacity(8), originals: Vec::with_capacity(4) }
    }

    /// A cell below, noted as read.
    pub(crate) fn read(&mut self, key: StateKey) -> Result<Option<alloy_primitives::Bytes>, AccessError> {
        let value = self.state.get(&key)?;
        self.reads.push(StateRead::Key(key));
        Ok(value)
    }

    /// A range of a table below, noted as read.
    pub(crate) fn read_rows(
        &mut self,
        table: &Arc<str>,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(alloy_primitives::Bytes, alloy_primitives::Bytes)>, AccessError> {
        let read = StateRead::Table(Arc::clone(table));
        if !self.reads.contains(&read) {
            self.reads.push(read);
        }
        self.state.rows(table, from, limit)
    }
}

impl Database for StateDb<'_> {
    type Error = AccessError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, AccessError> {
        if crate::precompiled::is_chain_contract(&address) {
            // Compilers check that a called contract has code.
            let code = crate::precompiled::placeholder_code();
            return Ok(Some(AccountInfo::new(U256::ZERO, 0, code.hash_slow(), code)));
        }
        let key = StateKey::Account(address);
        let record = match self.state.get(&key)? {
            None => None,
            Some(bytes) => Some(
                AccountRecord::decode(&bytes)
                    .ok_or_else(|| AccessError::Store(format!("account {address} has a damaged record")))?,
            ),
        };
        self.reads.push(StateRead::Key(key));
        self.originals.push((address, record));
        Ok(record.map(|record| {
            let code_hash = if record.code_hash.is_zero() { KECCAK_EMPTY } else { record.code_hash };
            AccountInfo { balance: record.balance, nonce: record.nonce, code_hash, account_id: None, code: None }
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, AccessError> {
        if code_hash == KECCAK_EMPTY || code_hash.is_zero() {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.codes.get(&code_hash) {
            return Ok(code);
        }
        // Code never changes under its hash, so it is not a read that can become stale.
        let bytes = self
            .state
            .get(&StateKey::Code(code_hash))?
            .ok_or_else(|| AccessError::Store(format!("code {code_hash} of an account is missing")))?;
        let code = Bytecode::new_legacy(bytes);
        self.codes.insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, index: U256) -> Result<U256, AccessError> {
        let value = self.read(StateKey::Slot(address, index.into()))?;
        Ok(value.map_or(U256::ZERO, |bytes| U256::try_from_be_slice(&bytes).unwrap_or_default()))
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, AccessError> {
        Ok(self.state.block_hash(number)?.unwrap_or_default())
    }
}
