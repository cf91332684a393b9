//! Who waits for which transaction.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use fabric_proto::protos::TxValidationCode;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::code_of;

/// The verdict on a committed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxStatus {
    /// Its validation code.
    pub code: TxValidationCode,
    /// The number of its block.
    pub block: u64,
}

type Waiting = HashMap<String, Vec<oneshot::Sender<TxStatus>>>;

#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: Arc<Mutex<Waiting>>,
}

/// Takes the entry away when whoever waits gives up.
struct Entry {
    waiting: Arc<Mutex<Waiting>>,
    txid: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        if let Some(senders) = waiting.get_mut(&self.txid) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.txid);
            }
        }
    }
}

impl Commits {
    /// Starts listening at once; the future resolves at the commit.
    pub(super) fn listen(&self, txid: &str) -> impl Future<Output = TxStatus> + Send + 'static {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().entry(txid.to_owned()).or_default().push(sender);
        let entry = Entry { waiting: Arc::clone(&self.waiting), txid: txid.to_owned() };
        // The receiver is dropped before the entry, so that the entry sees its sender closed.
        let guarded = (receiver, entry);
        async move {
            let (receiver, _entry) = guarded;
            match receiver.await {
                Ok(status) => status,
                // The channel is gone: nothing will come.
                Err(_) => std::future::pending().await,
            }
        }
    }

    pub(super) fn notify(&self, block: u64, txids: &[String], codes: &[u8]) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        for (txid, code) in txids.iter().zip(codes) {
            for sender in waiting.remove(txid).unwrap_or_default() {
                // Whoever gave up meanwhile needs no answer.
                let _ = sender.send(TxStatus { code: code_of(*code), block });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiters_hear_of_their_transaction_and_leave_nothing_behind() {
        let commits = Commits::default();
        let (first, second) = (commits.listen("a"), commits.listen("a"));
        let given_up = commits.listen("b");
        drop(given_up);
        assert_eq!(commits.waiting.lock().len(), 1);
        commits.notify(7, &["x".to_owned(), "a".to_owned()], &[0, 11]);
        let expected = TxStatus { code: TxValidationCode::MvccReadConflict, block: 7 };
        assert_eq!((first.await, second.await), (expected, expected));
        assert!(commits.waiting.lock().is_empty());
    }
}
