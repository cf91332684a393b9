//! The pool against a ledger that grows while a transaction is being checked.

use std::sync::atomic::AtomicUsize;

use bcos_types::TransactionData;
use konsort_crypto::{SuiteKey, SuiteKind, suite};

use super::*;

/// Commits the block with every nonce and transaction after so many looks.
#[derive(Debug)]
struct Growing {
    looks: AtomicUsize,
    committed_after: usize,
}

impl Growing {
    fn is_in(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) >= self.committed_after
    }
}

impl LedgerView for Growing {
    fn height(&self) -> u64 {
        7
    }

    fn has_nonce(&self, _: &str) -> bool {
        self.is_in()
    }

    fn account_nonce(&self, _: &Address) -> u64 {
        0
    }

    fn web3_chain_id(&self) -> u64 {
        1
    }

    fn is_committed(&self, _: &B256) -> bool {
        self.is_in()
    }

    fn belongs(&self) -> bool {
        true
    }
}

fn pool(committed_after: usize) -> Pool {
    let rules = PoolRules {
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        limit: 10,
        expiry: Duration::from_mins(1),
        block_limit: 1000,
        check_block_limit: true,
        from_free_nodes: false,
        suite: suite(SuiteKind::International),
    };
    Pool::new(rules, Box::new(Growing { looks: AtomicUsize::new(0), committed_after }))
}

fn transaction() -> Transaction {
    let data = TransactionData {
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        block_limit: 500,
        nonce: "once".into(),
        ..TransactionData::default()
    };
    Transaction::signed(data, &SuiteKey::from_bytes(SuiteKind::International, &[7; 32]).unwrap())
}

/// Between the first look at the ledger and the pool's lock a signature is checked: time enough for the block.
#[tokio::test]
async fn what_was_committed_while_it_was_checked_does_not_enter() {
    let late = pool(1);
    assert_eq!(late.submit(transaction()).unwrap_err(), SubmitError::NonceCheckFail);
    assert!(pool(1).admit(vec![transaction()]).await.fresh.is_empty());
    assert_eq!(late.len(), 0);
    // The transactions of a proposal are not looked at before.
    let proposed = pool(0);
    proposed.admit_proposed(vec![transaction()]).await;
    assert_eq!(proposed.len(), 0);
    let early = pool(usize::MAX);
    early.submit(transaction()).unwrap();
    assert_eq!(early.len(), 1);
}
