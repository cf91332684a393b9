//! The pool's books: pure, without clock-driven tasks or locks of their own.

mod claims;

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::map::{AddressMap, AddressSet, B256Map, HashMap};
use alloy_primitives::{Address, B256};
use bcos_types::{Receipt, TxKind, VerifiedTx};
use tokio::sync::oneshot;

use super::{SubmitError, web3_nonce};
use crate::Committed;

pub(super) type Waiter = oneshot::Sender<Result<Committed, SubmitError>>;
/// Who waited for a transaction that was dropped, if anybody, and the answer.
pub(super) type Dropped = (Option<Waiter>, Result<Committed, SubmitError>);

/// An Ethereum transaction waits this long for those before it; upstream executes nonces with gaps, so later it goes.
const GAP_PATIENCE: Duration = Duration::from_secs(3);

/// Contracts whose calls change how the next block is agreed on; nothing is sealed after them until they are committed.
const SYSTEM: [u32; 8] = [0x1000, 0x1003, 0x1005, 0x100b, 0x1010, 0x10001, 0x10003, 0x10004];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// May be sealed.
    Ready,
    /// In the proposal for this block.
    Sealed(u64),
    /// An Ethereum nonce before it is missing.
    Gapped,
}

#[derive(Debug)]
struct Entry {
    tx: VerifiedTx,
    waiter: Option<Waiter>,
    arrived: Instant,
    sequence: u64,
    place: Place,
    /// The last block it may be in.
    last_block: u64,
    system: bool,
}

#[derive(Debug, Default)]
struct Account {
    /// The first nonce that is neither committed nor ready.
    next: u64,
    by_nonce: BTreeMap<u64, B256>,
}

/// Transactions taken for a block.
#[derive(Debug, Default)]
pub(crate) struct Seal {
    pub transactions: Vec<VerifiedTx>,
    /// One of them is a system transaction.
    pub system: bool,
}

/// The outcome of reserving somebody's proposal.
#[derive(Debug)]
pub(crate) enum Claim {
    /// All are here and reserved, in the order asked.
    Found(Vec<VerifiedTx>),
    /// These are not here; the others are reserved.
    Missing(Vec<B256>),
    /// One of them is in an earlier proposal, stands twice, or may not be in this block.
    Conflict,
}

#[derive(Debug)]
pub(super) struct Waiting {
    limit: usize,
    sequence: u64,
    entries: B256Map<Entry>,
    ready: BTreeMap<u64, B256>,
    /// Those of the ready that are system transactions.
    ready_system: BTreeSet<u64>,
    /// The transactions of every proposal in flight, by number and by what identifies the proposal.
    claims: BTreeMap<u64, HashMap<u64, Vec<B256>>>,
    fingerprints: RandomState,
    nonces: HashMap<String, B256>,
    /// Nonces that several transactions share, which only another node's proposal can bring about.
    rivals: HashMap<String, Vec<B256>>,
    accounts: AddressMap<Account>,
}

impl Waiting {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            sequence: 0,
            entries: B256Map::default(),
            ready: BTreeMap::new(),
            ready_system: BTreeSet::new(),
            claims: BTreeMap::new(),
            fingerprints: RandomState::new(),
            nonces: HashMap::default(),
            rivals: HashMap::default(),
            accounts: AddressMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    pub(super) fn has_nonce(&self, nonce: &str) -> bool {
        self.nonces.contains_key(nonce)
    }

    pub(super) fn contains(&self, hash: &B256) -> bool {
        self.entries.contains_key(hash)
    }

    pub(super) fn get(&self, hash: &B256) -> Option<VerifiedTx> {
        self.entries.get(hash).map(|entry| entry.tx.clone())
    }

    pub(super) fn oldest(&self, limit: usize) -> Vec<VerifiedTx> {
        let mut all: Vec<&Entry> = self.entries.values().collect();
        all.sort_unstable_by_key(|entry| entry.sequence);
        all.into_iter().take(limit).map(|entry| entry.tx.clone()).collect()
    }

    pub(super) fn next_nonce(&self, account: &Address) -> Option<u64> {
        self.accounts.get(account).map(|account| account.next)
    }

    /// `None` when the transaction is not here; false when somebody waits already.
    pub(super) fn attach(&mut self, hash: &B256, waiter: Waiter) -> Option<bool> {
        let entry = self.entries.get_mut(hash)?;
        if entry.waiter.as_ref().is_some_and(|waiter| !waiter.is_closed()) {
            return Some(false);
        }
        entry.waiter = Some(waiter);
        Some(true)
    }

    /// Adds a verified transaction. `base` is the account's committed nonce (Ethereum transactions only); `forced` ones belong
    /// to a proposal and are neither counted nor compared with what waits.
    pub(super) fn insert(
        &mut self,
        tx: VerifiedTx,
        waiter: Option<Waiter>,
        base: u64,
        forced: bool,
    ) -> Result<(), SubmitError> {
        let hash = tx.hash;
        if self.entries.contains_key(&hash) {
            if let Some(waiter) = waiter
                && self.attach(&hash, waiter) == Some(true)
            {
                return Ok(());
            }
            return Err(SubmitError::AlreadyInTxPool);
        }
        if !forced && self.is_full() {
            return Err(SubmitError::TxPoolIsFull);
        }
        let mut place = Place::Ready;
        let mut last_block = u64::MAX;
        let mut account = None;
        match tx.tx.kind {
            TxKind::Bcos => {
                last_block = u64::try_from(tx.tx.data.block_limit).unwrap_or(0);
                match self.nonces.get(&tx.tx.data.nonce) {
                    None => {
                        self.nonces.insert(tx.tx.data.nonce.clone(), hash);
                    }
                    Some(_) if !forced => return Err(SubmitError::NonceCheckFail),
                    Some(first) => {
                        let first = *first;
                        let rivals = self.rivals.entry(tx.tx.data.nonce.clone()).or_insert_with(|| vec![first]);
                        rivals.push(hash);
                    }
                }
            }
            TxKind::Web3 => {
                let nonce = web3_nonce(&tx).ok_or(SubmitError::Malformed)?;
                let books = self.accounts.entry(tx.sender).or_default();
                books.next = books.next.max(base);
                match books.by_nonce.entry(nonce) {
                    btree_map::Entry::Vacant(free) => {
                        free.insert(hash);
                    }
                    btree_map::Entry::Occupied(_) if forced => {}
                    btree_map::Entry::Occupied(_) => return Err(SubmitError::NonceCheckFail),
                }
                if nonce > books.next {
                    place = Place::Gapped;
                }
                account = Some(tx.sender);
            }
        }
        self.sequence += 1;
        let sequence = self.sequence;
        let system = is_system(&tx);
        if place == Place::Ready {
            self.make_ready(sequence, hash, system);
        }
        self.entries.insert(hash, Entry { tx, waiter, arrived: Instant::now(), sequence, place, last_block, system });
        if let Some(account) = account {
            self.promote(&account);
        }
        Ok(())
    }

    fn make_ready(&mut self, sequence: u64, hash: B256, system: bool) {
        self.ready.insert(sequence, hash);
        if system {
            self.ready_system.insert(sequence);
        }
    }

    fn unready(&mut self, sequence: u64) {
        self.ready.remove(&sequence);
        self.ready_system.remove(&sequence);
    }

    /// Moves the account's frontier over everything that is here, and makes it ready.
    fn promote(&mut self, account: &Address) {
        let Some(books) = self.accounts.get_mut(account) else { return };
        while let Some(hash) = books.by_nonce.get(&books.next) {
            books.next += 1;
            if let Some(entry) = self.entries.get_mut(hash)
                && entry.place == Place::Gapped
            {
                // A fresh number: it must come after those it waited for.
                self.sequence += 1;
                entry.sequence = self.sequence;
                entry.place = Place::Ready;
                self.ready.insert(entry.sequence, *hash);
                if entry.system {
                    self.ready_system.insert(entry.sequence);
                }
            }
        }
    }

    /// Whether it is the one the pool stands for its nonce with (a proposal may have brought a rival).
    fn is_tracked(&self, tx: &VerifiedTx) -> bool {
        match tx.tx.kind {
            TxKind::Bcos => self.nonces.get(&tx.tx.data.nonce) == Some(&tx.hash),
            TxKind::Web3 => {
                let tracked = web3_nonce(tx).and_then(|nonce| self.accounts.get(&tx.sender)?.by_nonce.get(&nonce));
                tracked == Some(&tx.hash)
            }
        }
    }

    fn remove(&mut self, hash: &B256) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        if entry.place == Place::Ready {
            self.unready(entry.sequence);
        }
        match entry.tx.tx.kind {
            TxKind::Bcos => {
                let nonce = &entry.tx.tx.data.nonce;
                if self.nonces.get(nonce) == Some(hash) {
                    self.nonces.remove(nonce);
                }
            }
            TxKind::Web3 => {
                if let (Some(books), Some(nonce)) = (self.accounts.get_mut(&entry.tx.sender), web3_nonce(&entry.tx)) {
                    if books.by_nonce.get(&nonce) == Some(hash) {
                        books.by_nonce.remove(&nonce);
                    }
                    if books.by_nonce.is_empty() {
                        self.accounts.remove(&entry.tx.sender);
                    }
                }
            }
        }
        Some(entry)
    }

    /// Takes a committed block out. The answers are to be given outside of any lock.
    pub(super) fn committed(
        &mut self,
        number: u64,
        block: impl IntoIterator<Item = (VerifiedTx, Arc<Receipt>)>,
        account_nonce: impl Fn(&Address) -> u64,
    ) -> Vec<(Waiter, Result<Committed, SubmitError>)> {
        let mut answers = Vec::new();
        let mut senders = AddressSet::default();
        for (index, (tx, receipt)) in block.into_iter().enumerate() {
            let entry = self.remove(&tx.hash);
            if tx.tx.kind == TxKind::Web3 {
                senders.insert(tx.sender);
            } else {
                // Another transaction with this nonce can never be committed now.
                let mut lost = self.rivals.remove(&tx.tx.data.nonce).unwrap_or_default();
                lost.extend(self.nonces.get(&tx.tx.data.nonce));
                for rival in lost {
                    if let Some(waiter) = self.remove(&rival).and_then(|entry| entry.waiter) {
                        answers.push((waiter, Err(SubmitError::NonceCheckFail)));
                    }
                }
            }
            if let Some(waiter) = entry.and_then(|entry| entry.waiter) {
                answers.push((waiter, Ok(Committed { transaction: tx, receipt, number, index: index as u64 })));
            }
        }
        for sender in senders {
            let base = account_nonce(&sender);
            let Some(books) = self.accounts.get_mut(&sender) else { continue };
            books.next = books.next.max(base);
            let stale: Vec<B256> = books.by_nonce.range(..base).map(|(_, hash)| *hash).collect();
            for hash in stale {
                if let Some(waiter) = self.remove(&hash).and_then(|entry| entry.waiter) {
                    answers.push((waiter, Err(SubmitError::NonceCheckFail)));
                }
            }
            self.promote(&sender);
        }
        // What had been reserved for a proposal that lost is free again.
        let later = self.claims.split_off(&(number + 1));
        let over = std::mem::replace(&mut self.claims, later);
        let lost: Vec<B256> = over.into_values().flat_map(HashMap::into_values).flatten().collect();
        if lost.iter().any(|hash| self.entries.contains_key(hash)) {
            self.set_free(lost);
        }
        answers
    }

    /// Removes what waited too long or can no longer be in a block; true when something became ready.
    pub(super) fn expire(&mut self, expiry: Duration, head: u64, check_block_limit: bool) -> (Vec<Dropped>, bool) {
        let now = Instant::now();
        let mut dropped = Vec::new();
        let mut impatient: AddressMap<u64> = AddressMap::default();
        for (hash, entry) in &self.entries {
            if matches!(entry.place, Place::Sealed(_)) {
                continue;
            }
            let age = now.saturating_duration_since(entry.arrived);
            if age >= expiry {
                dropped.push((*hash, SubmitError::TransactionPoolTimeout));
            } else if check_block_limit && entry.last_block <= head {
                dropped.push((*hash, SubmitError::BlockLimitCheckFail));
            } else if entry.place == Place::Gapped
                && age >= GAP_PATIENCE
                && let Some(nonce) = web3_nonce(&entry.tx)
            {
                let lowest = impatient.entry(entry.tx.sender).or_insert(nonce);
                *lowest = nonce.min(*lowest);
            }
        }
        let mut answers = Vec::with_capacity(dropped.len());
        for (hash, refusal) in dropped {
            if let Some(entry) = self.remove(&hash) {
                answers.push((entry.waiter, Err(refusal)));
            }
        }
        let released = !impatient.is_empty();
        for (account, nonce) in impatient {
            if let Some(books) = self.accounts.get_mut(&account) {
                books.next = books.next.max(nonce);
                self.promote(&account);
            }
        }
        (answers, released)
    }
}

fn is_system(tx: &VerifiedTx) -> bool {
    // The address itself: a text may write it in more than one way.
    let Ok(Some(to)) = tx.tx.data.to_address() else { return false };
    let (high, low) = to.split_at(16);
    high.iter().all(|byte| *byte == 0)
        && low.first_chunk().is_some_and(|low| SYSTEM.contains(&u32::from_be_bytes(*low)))
}

#[cfg(test)]
mod tests;
