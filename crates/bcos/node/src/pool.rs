//! The transaction pool: what waits to be sealed, in what order, and who waits for it.
//!
//! A transaction is verified once, at this door, and answered once: committed, or refused with upstream's code.

mod refusal;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use bcos_consensus::Proposal;
use bcos_types::{Receipt, Transaction, TransactionError, TxKind, VerifiedTx};
use konsort_crypto::CryptoSuite;
use parking_lot::Mutex;
use rayon::prelude::*;
use tokio::sync::{Notify, broadcast, oneshot};

pub use refusal::SubmitError;
pub(crate) use waiting::Claim;
use waiting::{Seal, Waiting};

use crate::Committed;
use crate::host::wall_ms;

/// A transaction's value may be this many characters long (upstream's bound).
const MAX_VALUE: usize = 514;
/// EIP-3860, checked by upstream for Ethereum transactions only.
const MAX_INIT_CODE: usize = 2 * 0x6000;
/// An Ethereum nonce may be this far ahead of the account (upstream's bound).
const MAX_NONCE_GAP: u64 = 1_000_000;
/// Announcements kept for slow readers.
const ANNOUNCED: usize = 4096;

/// What the pool must know of the ledger.
pub(crate) trait LedgerView: Send + Sync + std::fmt::Debug {
    /// The committed height.
    fn height(&self) -> u64;
    /// Whether a transaction of the last blocks used this nonce.
    fn has_nonce(&self, nonce: &str) -> bool;
    /// The next nonce of an Ethereum account.
    fn account_nonce(&self, account: &Address) -> u64;
    /// The chain id Ethereum transactions must carry.
    fn web3_chain_id(&self) -> u64;
    /// Whether this very transaction is committed.
    fn is_committed(&self, hash: &B256) -> bool;
    /// Whether this node belongs to the group.
    fn belongs(&self) -> bool;
}

/// The rules of one group's pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolRules {
    pub chain_id: String,
    pub group_id: String,
    pub limit: usize,
    pub expiry: Duration,
    pub block_limit: u64,
    pub check_block_limit: bool,
    /// Clients of a node outside the group are served, too.
    pub from_free_nodes: bool,
    pub suite: &'static dyn CryptoSuite,
}

/// What came of a list of transactions from another node.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Accepted and new.
    pub fresh: Vec<VerifiedTx>,
    /// How many carried no valid signature or belong elsewhere: the sender should have known.
    pub invalid: usize,
}

/// The pool of one group. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: PoolRules,
    ledger: Box<dyn LedgerView>,
    waiting: Mutex<Waiting>,
    arrivals: Notify,
    /// Transactions that fill a block.
    block_size: AtomicUsize,
    announced: broadcast::Sender<B256>,
    local: broadcast::Sender<VerifiedTx>,
}

/// The promise of an answer.
#[derive(Debug)]
pub(crate) struct Ticket {
    hash: B256,
    answer: oneshot::Receiver<Result<Committed, SubmitError>>,
}

impl Ticket {
    pub(crate) fn hash(&self) -> B256 {
        self.hash
    }

    /// Waits for the answer.
    pub(crate) async fn committed(self) -> Result<Committed, SubmitError> {
        // The sender is only dropped without an answer when the whole pool goes.
        self.answer.await.unwrap_or(Err(SubmitError::NodeStopping))
    }
}

impl Pool {
    pub(crate) fn new(rules: PoolRules, ledger: Box<dyn LedgerView>) -> Self {
        let waiting = Mutex::new(Waiting::new(rules.limit));
        Self(Arc::new(Inner {
            rules,
            ledger,
            waiting,
            arrivals: Notify::new(),
            block_size: AtomicUsize::new(usize::MAX),
            announced: broadcast::channel(ANNOUNCED).0,
            local: broadcast::channel(16_384).0,
        }))
    }

    /// Takes a client's transaction.
    ///
    /// Recovering the signer takes some 40 µs, less than handing it to another thread and back, so it happens right here;
    /// the connections of many clients spread it over all cores.
    pub(crate) fn submit(&self, transaction: Transaction) -> Result<Ticket, SubmitError> {
        let inner = &*self.0;
        self.check_belonging()?;
        if let Err(refusal) = self.precheck(&transaction) {
            // The same transaction again is another refusal, or another waiter, than a used nonce.
            if refusal != SubmitError::NonceCheckFail {
                return Err(refusal);
            }
            let hash = transaction.hash(inner.rules.suite);
            return self.attach(hash).unwrap_or(Err(refusal));
        }
        self.enter(VerifiedTx::verify(transaction, inner.rules.suite).map_err(refusal_of)?)
    }

    /// Takes a signed Ethereum transaction as `eth_sendRawTransaction` gets it.
    pub(crate) fn submit_web3(&self, raw: &[u8]) -> Result<Ticket, SubmitError> {
        self.check_belonging()?;
        let verified = VerifiedTx::from_web3_raw(raw, wall_ms() as i64).map_err(refusal_of)?;
        self.static_check(&verified.tx)?;
        match self.enter(verified.clone()) {
            Err(SubmitError::AlreadyInTxPool | SubmitError::NonceCheckFail) => {
                self.attach(verified.hash).unwrap_or(Err(SubmitError::NonceCheckFail))
            }
            other => other,
        }
    }

    fn check_belonging(&self) -> Result<(), SubmitError> {
        if self.0.rules.from_free_nodes || self.0.ledger.belongs() {
            Ok(())
        } else {
            Err(SubmitError::RequestNotBelongToTheGroup)
        }
    }

    fn enter(&self, verified: VerifiedTx) -> Result<Ticket, SubmitError> {
        let inner = &*self.0;
        let (waiter, answer) = oneshot::channel();
        let hash = verified.hash;
        let ready = self.insert(&verified, Some(waiter), false)?;
        // Without receivers there is nothing to tell.
        let _nobody = inner.announced.send(hash);
        let _alone = inner.local.send(verified);
        // In between the sealer waits for its time, not for one more.
        if ready <= 1 || ready == inner.block_size.load(Ordering::Relaxed) {
            inner.arrivals.notify_one();
        }
        Ok(Ticket { hash, answer })
    }

    /// Puts a checked transaction into the pool and says how many are ready; `proposed` ones pass the limit and the pool's nonces.
    ///
    /// The ledger is asked again under the pool's lock, under which blocks take their transactions out: one whose block was
    /// committed while its signature was checked would stay for ever, and be sealed into blocks that nobody accepts.
    fn insert(
        &self,
        verified: &VerifiedTx,
        waiter: Option<waiting::Waiter>,
        proposed: bool,
    ) -> Result<usize, SubmitError> {
        let inner = &*self.0;
        let mut waiting = inner.waiting.lock();
        let base = self.base_nonce(verified);
        if proposed {
            if inner.ledger.is_committed(&verified.hash) {
                return Err(SubmitError::TxAlreadyInChain);
            }
        } else {
            if self.is_used(verified) {
                return Err(SubmitError::NonceCheckFail);
            }
            self.check_account(verified, base)?;
        }
        waiting.insert(verified.clone(), waiter, base, proposed)?;
        Ok(waiting.ready())
    }

    /// Waits for a transaction that came from another node before its client's own submission arrived here.
    fn attach(&self, hash: B256) -> Option<Result<Ticket, SubmitError>> {
        let (waiter, answer) = oneshot::channel();
        match self.0.waiting.lock().attach(&hash, waiter) {
            Some(true) => Some(Ok(Ticket { hash, answer })),
            Some(false) => Some(Err(SubmitError::AlreadyInTxPool)),
            None if self.0.ledger.is_committed(&hash) => Some(Err(SubmitError::TxAlreadyInChain)),
            None => None,
        }
    }

    /// Everything that can be said without the signature, cheapest first.
    fn precheck(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        let inner = &*self.0;
        let data = &transaction.data;
        self.static_check(transaction)?;
        if transaction.kind == TxKind::Web3 {
            let waiting = inner.waiting.lock();
            return if waiting.contains(&transaction.hash(inner.rules.suite)) {
                Err(SubmitError::AlreadyInTxPool)
            } else if waiting.is_full() {
                Err(SubmitError::TxPoolIsFull)
            } else {
                Ok(())
            };
        }
        {
            let waiting = inner.waiting.lock();
            if waiting.has_nonce(&data.nonce) {
                return Err(SubmitError::NonceCheckFail);
            }
            if waiting.is_full() {
                return Err(SubmitError::TxPoolIsFull);
            }
        }
        self.ledger_check(transaction)
    }

    fn static_check(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        let rules = &self.0.rules;
        let data = &transaction.data;
        match transaction.kind {
            TxKind::Bcos => {
                if data.group_id != rules.group_id {
                    return Err(SubmitError::InvalidGroupId);
                }
                if data.chain_id != rules.chain_id {
                    return Err(SubmitError::InvalidChainId);
                }
            }
            TxKind::Web3 => {
                if data.input.len() > MAX_INIT_CODE {
                    return Err(SubmitError::MaxInitCodeSizeExceeded);
                }
                // Transactions from before EIP-155 name no chain.
                let named = data.chain_id.as_str();
                if !named.is_empty() && named != "0" && named.parse() != Ok(self.0.ledger.web3_chain_id()) {
                    return Err(SubmitError::InvalidChainId);
                }
            }
        }
        if data.value.len() > MAX_VALUE { Err(SubmitError::OverFlowValue) } else { Ok(()) }
    }

    fn ledger_check(&self, transaction: &Transaction) -> Result<(), SubmitError> {
        let inner = &*self.0;
        if transaction.kind == TxKind::Web3 {
            return Ok(());
        }
        let data = &transaction.data;
        if inner.ledger.has_nonce(&data.nonce) {
            return Err(SubmitError::NonceCheckFail);
        }
        let head = inner.ledger.height();
        let limit = u64::try_from(data.block_limit).unwrap_or(0);
        if inner.rules.check_block_limit && (limit <= head || limit > head + inner.rules.block_limit) {
            return Err(SubmitError::BlockLimitCheckFail);
        }
        Ok(())
    }

    fn base_nonce(&self, transaction: &VerifiedTx) -> u64 {
        match transaction.tx.kind {
            TxKind::Web3 => self.0.ledger.account_nonce(&transaction.sender),
            TxKind::Bcos => 0,
        }
    }

    fn check_account(&self, transaction: &VerifiedTx, base: u64) -> Result<(), SubmitError> {
        if transaction.tx.kind != TxKind::Web3 {
            return Ok(());
        }
        match web3_nonce(transaction) {
            Some(nonce) if nonce >= base && nonce - base <= MAX_NONCE_GAP => Ok(()),
            Some(nonce) if nonce < base && self.0.ledger.is_committed(&transaction.hash) => {
                Err(SubmitError::TxAlreadyInChain)
            }
            Some(_) => Err(SubmitError::NonceCheckFail),
            None => Err(SubmitError::Malformed),
        }
    }

    /// Takes transactions another node pushed. Signatures are checked on all cores, away from the network's threads.
    pub(crate) async fn admit(&self, transactions: Vec<Transaction>) -> Admitted {
        let pool = self.clone();
        let work = move || {
            let checked = on_all_cores(transactions, |transaction| match pool.precheck(&transaction) {
                Ok(()) => Some(VerifiedTx::verify(transaction, pool.0.rules.suite).map_err(|_| ())),
                Err(SubmitError::InvalidChainId | SubmitError::InvalidGroupId) => Some(Err(())),
                Err(_) => None,
            });
            let mut admitted = Admitted::default();
            for outcome in checked.into_iter().flatten() {
                let Ok(verified) = outcome else {
                    admitted.invalid += 1;
                    continue;
                };
                if pool.insert(&verified, None, false).is_ok() {
                    let _nobody = pool.0.announced.send(verified.hash);
                    admitted.fresh.push(verified);
                }
            }
            admitted
        };
        let admitted = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        if !admitted.fresh.is_empty() {
            self.0.arrivals.notify_one();
        }
        admitted
    }

    /// Takes the transactions of somebody's proposal: neither the limit nor the pool's own nonces may stand in the way of a
    /// block, nor may this node's head, which may be behind. Those with a bad signature or for another chain are left out. Says
    /// whether any of them is in the pool now.
    pub(crate) async fn admit_proposed(&self, transactions: Vec<Transaction>) -> bool {
        let pool = self.clone();
        let work = move || {
            let here = on_all_cores(transactions, |transaction| {
                // A push may have been faster: nothing is verified twice.
                let known = pool.0.waiting.lock().contains(&transaction.hash(pool.0.rules.suite));
                if known || pool.static_check(&transaction).is_err() {
                    return known;
                }
                let Ok(verified) = VerifiedTx::verify(transaction, pool.0.rules.suite) else { return false };
                // Known in the meantime is as good as new.
                let _known = pool.insert(&verified, None, true);
                true
            });
            here.into_iter().any(|here| here)
        };
        // It fails only with the runtime.
        tokio::task::spawn_blocking(work).await.unwrap_or(false)
    }

    /// Takes transactions for block `number`, oldest first; they stay in the pool until they are committed. `first`, a
    /// transaction of the leader itself, goes before them and is not counted.
    pub(crate) fn seal(&self, number: u64, timestamp_ms: u64, limit: usize, first: Option<&VerifiedTx>) -> Seal {
        self.0.waiting.lock().seal(number, timestamp_ms, limit, first)
    }

    /// Reserves the transactions of somebody's proposal; `trusted` when a quorum has found it right.
    pub(crate) fn claim(&self, proposal: &Proposal, trusted: bool) -> Claim {
        let hashes = &proposal.transactions;
        let (number, time, system) = (proposal.number, proposal.timestamp_ms, proposal.system);
        let claim = self.0.waiting.lock().claim(number, time, hashes, system, trusted);
        match claim {
            // What is not in the pool may be committed: then the proposal is wrong, and asking for it helps nobody.
            Claim::Missing(missing) if !trusted && missing.iter().any(|hash| self.0.ledger.is_committed(hash)) => {
                Claim::Conflict
            }
            // What every honest node sees the same way, wherever its own head stands; blockLimit was looked at already.
            Claim::Found(found) if !trusted && found.iter().any(|tx| self.is_used(tx)) => Claim::Conflict,
            other => other,
        }
    }

    fn is_used(&self, transaction: &VerifiedTx) -> bool {
        transaction.tx.kind == TxKind::Bcos && self.0.ledger.has_nonce(&transaction.tx.data.nonce)
    }

    /// Gives back what was reserved for a proposal that was given up.
    pub(crate) fn release(&self, proposal: &Proposal) {
        self.0.waiting.lock().release(proposal.number, proposal.timestamp_ms, &proposal.transactions);
        self.0.arrivals.notify_one();
    }

    /// Says how many transactions fill a block.
    pub(crate) fn set_block_size(&self, size: usize) {
        self.0.block_size.store(size, Ordering::Relaxed);
    }

    /// How many transactions can be sealed at this moment.
    pub(crate) fn ready(&self) -> usize {
        self.0.waiting.lock().ready()
    }

    /// Resolves when something arrived since the last call.
    pub(crate) async fn arrived(&self) {
        self.0.arrivals.notified().await;
    }

    /// Answers everybody whose transaction is in a block that is now durable, and drops what the block made impossible.
    pub(crate) fn committed(&self, number: u64, block: impl IntoIterator<Item = (VerifiedTx, Arc<Receipt>)>) {
        let ledger = &self.0.ledger;
        let answers = {
            let mut waiting = self.0.waiting.lock();
            waiting.committed(number, block, |account| ledger.account_nonce(account))
        };
        for (waiter, answer) in answers {
            // Whoever asked may have gone.
            let _gone = waiter.send(answer);
        }
    }

    /// Drops what waited too long, lets nonces with gaps go, and answers their waiters. To be called every second or so.
    pub(crate) fn maintain(&self) -> usize {
        let head = self.0.ledger.height();
        let check = self.0.rules.check_block_limit;
        let (answers, released) = self.0.waiting.lock().expire(self.0.rules.expiry, head, check);
        if released {
            self.0.arrivals.notify_one();
        }
        let count = answers.len();
        for (waiter, answer) in answers {
            if let Some(waiter) = waiter {
                let _gone = waiter.send(answer);
            }
        }
        count
    }

    pub(crate) fn len(&self) -> usize {
        self.0.waiting.lock().len()
    }

    pub(crate) fn get(&self, hash: &B256) -> Option<VerifiedTx> {
        self.0.waiting.lock().get(hash)
    }

    /// Those of the list that are here, and those that are not.
    pub(crate) fn get_many(&self, hashes: &[B256]) -> Vec<VerifiedTx> {
        let waiting = self.0.waiting.lock();
        hashes.iter().filter_map(|hash| waiting.get(hash)).collect()
    }

    pub(crate) fn missing(&self, hashes: &[B256]) -> Vec<B256> {
        let waiting = self.0.waiting.lock();
        hashes.iter().filter(|hash| !waiting.contains(hash)).copied().collect()
    }

    pub(crate) fn retain_waiting(&self, hashes: &mut Vec<B256>) {
        let waiting = self.0.waiting.lock();
        hashes.retain(|hash| waiting.contains(hash));
    }

    pub(crate) fn snapshot(&self, limit: usize) -> Vec<VerifiedTx> {
        self.0.waiting.lock().oldest(limit)
    }

    pub(crate) fn next_nonce(&self, account: &Address) -> Option<u64> {
        self.0.waiting.lock().next_nonce(account)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<B256> {
        self.0.announced.subscribe()
    }

    /// Transactions of this node's own clients, to be told to the other nodes.
    pub(crate) fn subscribe_local(&self) -> broadcast::Receiver<VerifiedTx> {
        self.0.local.subscribe()
    }
}

fn refusal_of(error: TransactionError) -> SubmitError {
    if error.status() == SubmitError::InvalidSignature.code() {
        SubmitError::InvalidSignature
    } else {
        SubmitError::Malformed
    }
}

/// The nonce of an Ethereum transaction, which travels as decimal text (or hex with 0x).
pub(crate) fn web3_nonce(transaction: &VerifiedTx) -> Option<u64> {
    let text = transaction.tx.data.nonce.as_str();
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Signatures that one thread verifies in about two milliseconds: fewer are not worth waking others, who look for work for a while
/// before they sleep again.
const FEW: usize = 32;

fn on_all_cores<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if items.len() < 2 * FEW {
        return items.into_iter().map(work).collect();
    }
    items.into_par_iter().with_min_len(FEW).map(work).collect()
}

#[cfg(test)]
mod tests;
