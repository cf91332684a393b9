//! One node alone.

use std::collections::HashSet;

use alloy_primitives::U256;
use bcos_node::SubmitError;

use crate::cluster::{Account, COUNTER, Cluster, count, deploy, group};

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_seals_answers_and_remembers() {
    let cluster = Cluster::build(1);
    let running = cluster.start(0).await;
    let alone = group(&running);
    let account = Account::new();
    let contract = deploy(&alone, &account).await;
    let calls: Vec<_> =
        (0..50).map(|_| tokio::spawn(alone.submit(account.transaction(&alone, Some(contract), &[])))).collect();
    let mut places = HashSet::new();
    for call in calls {
        let committed = call.await.unwrap().unwrap();
        assert_eq!(committed.receipt.status, 0);
        assert!(places.insert((committed.number, committed.index)));
        let stored = alone.chain().locate(&committed.transaction.hash).unwrap().unwrap();
        assert_eq!((stored.block.number(), u64::from(stored.index)), (committed.number, committed.index));
    }
    assert_eq!(count(&alone, contract), U256::from(50));
    assert_eq!(alone.pending_count(), 0);
    let height = alone.chain().height();
    assert_eq!(*alone.head().borrow(), height);
    let header = alone.chain().header(height).unwrap().unwrap();
    assert_eq!(header.signatures.len(), 1);
    let status = alone.consensus_status();
    assert_eq!((status.min_required_quorum, status.index), (1, Some(0)));
    drop(alone);
    assert!(running.stop().await);

    let again = cluster.start(0).await;
    let alone = group(&again);
    assert_eq!((alone.chain().height(), count(&alone, contract)), (height, U256::from(50)));
    alone.submit(account.transaction(&alone, Some(contract), &[])).await.unwrap();
    assert_eq!(count(&alone, contract), U256::from(51));
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_is_refused_with_upstream_s_code() {
    let cluster = Cluster::build(1);
    let running = cluster.start(0).await;
    let alone = group(&running);
    let account = Account::new();
    let contract = deploy(&alone, &account).await;
    let good = account.transaction(&alone, Some(contract), &[]);
    let refused = async |change: &dyn Fn(&mut bcos_types::TransactionData)| {
        let mut data = good.data.clone();
        data.nonce = format!("{}x", data.nonce);
        change(&mut data);
        alone.submit(account.signed(data)).await.unwrap_err()
    };
    assert_eq!(refused(&|data| data.chain_id = "chain1".into()).await, SubmitError::InvalidChainId);
    assert_eq!(refused(&|data| data.group_id = "group1".into()).await, SubmitError::InvalidGroupId);
    let head = alone.chain().height() as i64;
    assert_eq!(refused(&|data| data.block_limit = head).await, SubmitError::BlockLimitCheckFail);
    assert_eq!(refused(&|data| data.block_limit = head + 1001).await, SubmitError::BlockLimitCheckFail);
    assert_eq!(refused(&|data| data.block_limit = -1).await, SubmitError::BlockLimitCheckFail);
    assert_eq!(refused(&|data| data.value = "1".repeat(600)).await, SubmitError::OverFlowValue);
    let mut forged = good.clone();
    forged.signature = vec![0; 65].into();
    assert_eq!(alone.submit(forged).await.unwrap_err(), SubmitError::InvalidSignature);

    let committed = alone.submit(good.clone()).await.unwrap();
    assert_eq!(alone.submit(good.clone()).await.unwrap_err(), SubmitError::TxAlreadyInChain);
    let rival = account.with_nonce(&alone, None, COUNTER, &good.data.nonce);
    assert_eq!(alone.submit(rival).await.unwrap_err(), SubmitError::NonceCheckFail);
    assert_eq!(committed.receipt.status, 0);
    assert_eq!(count(&alone, contract), U256::from(1));
    running.stop().await;
}
