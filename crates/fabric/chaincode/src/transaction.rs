//! A transaction that a chaincode is working on: its call, open queries, and the place where the answer goes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fabric_proto::protos::ChaincodeMessage;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    call::{Call, CollectionPermission, Dispatcher},
    session::query::Query,
};

/// One execution in progress.
pub(crate) struct Transaction {
    pub(crate) call: Call,
    pub(crate) dispatcher: Arc<dyn Dispatcher>,
    /// A call to another chaincode is under way; a second request of the same transaction would be out of order.
    pub(crate) busy: AtomicBool,
    pub(crate) state: Mutex<State>,
    answer: Mutex<Option<oneshot::Sender<ChaincodeMessage>>>,
}

/// What a transaction accumulates.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) permissions: HashMap<String, CollectionPermission>,
    pub(crate) queries: HashMap<String, Query>,
    pub(crate) queries_made: u64,
}

impl Transaction {
    pub(crate) fn new(call: Call, dispatcher: Arc<dyn Dispatcher>) -> (Arc<Self>, oneshot::Receiver<ChaincodeMessage>) {
        let (sender, receiver) = oneshot::channel();
        let transaction = Self {
            call,
            dispatcher,
            busy: AtomicBool::new(false),
            state: Mutex::default(),
            answer: Mutex::new(Some(sender)),
        };
        (Arc::new(transaction), receiver)
    }

    /// Hands the final message to whoever waits; later ones are dropped.
    pub(crate) fn complete(&self, message: ChaincodeMessage) {
        self.state.lock().queries.clear();
        if let Some(sender) = self.answer.lock().take() {
            // The receiver is gone when the execution timed out in this instant.
            let _ = sender.send(message);
        }
    }

    /// Tells the waiting execution that no answer will come.
    pub(crate) fn abandon(&self) {
        self.state.lock().queries.clear();
        self.answer.lock().take();
    }

    pub(crate) fn set_busy(&self) -> bool {
        !self.busy.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn clear_busy(&self) {
        self.busy.store(false, Ordering::Release);
    }
}

/// The transactions of one chaincode stream by transaction id and channel.
#[derive(Default)]
pub(crate) struct Transactions {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    by_txid: HashMap<String, Vec<Arc<Transaction>>>,
    closed: bool,
}

/// Why a transaction could not be added.
pub(crate) enum Rejected {
    Duplicate,
    Closed,
}

impl Transactions {
    pub(crate) fn add(&self, transaction: &Arc<Transaction>) -> Result<(), Rejected> {
        let mut open = self.open.lock();
        if open.closed {
            return Err(Rejected::Closed);
        }
        let same_id = open.by_txid.entry(transaction.call.txid.clone()).or_default();
        if same_id.iter().any(|other| other.call.channel == transaction.call.channel) {
            return Err(Rejected::Duplicate);
        }
        same_id.push(Arc::clone(transaction));
        Ok(())
    }

    pub(crate) fn get(&self, channel: &str, txid: &str) -> Option<Arc<Transaction>> {
        let open = self.open.lock();
        open.by_txid.get(txid)?.iter().find(|transaction| transaction.call.channel == channel).cloned()
    }

    pub(crate) fn remove(&self, channel: &str, txid: &str) {
        let mut open = self.open.lock();
        if let Some(same_id) = open.by_txid.get_mut(txid) {
            same_id.retain(|transaction| transaction.call.channel != channel);
            if same_id.is_empty() {
                open.by_txid.remove(txid);
            }
        }
    }

    /// Ends all of them and lets none in any more.
    pub(crate) fn close(&self) {
        let mut open = self.open.lock();
        open.closed = true;
        for transaction in open.by_txid.drain().flat_map(|(_txid, same_id)| same_id) {
            transaction.abandon();
        }
    }
}
