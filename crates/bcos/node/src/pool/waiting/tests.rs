use super::*;
use bcos_types::{Transaction, TransactionData, web3};
use konsort_crypto::{SuiteKey, SuiteKind, suite};

fn key() -> SuiteKey {
    SuiteKey::from_bytes(SuiteKind::International, &[7; 32]).unwrap()
}

fn native(nonce: &str, block_limit: i64, to: &str, input: u8) -> VerifiedTx {
    let data = TransactionData {
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        block_limit,
        nonce: nonce.into(),
        to: to.into(),
        input: vec![input].into(),
        ..TransactionData::default()
    };
    VerifiedTx::verify(Transaction::signed(data, &key()), suite(SuiteKind::International)).unwrap()
}

fn plain(nonce: &str) -> VerifiedTx {
    native(nonce, 500, "", 0)
}

/// The transaction of the golden vectors with another nonce would need another signature; the books only look at the nonce
/// text and the sender, so they get a native transaction that says it is an Ethereum one.
fn ethereum(nonce: u64, mark: u8) -> VerifiedTx {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/web3_transactions.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let raw = find_raw(&golden).unwrap();
    let mut tx: Transaction = web3::from_raw(&hex::decode(raw.trim_start_matches("0x")).unwrap()).unwrap();
    tx.data.nonce = nonce.to_string();
    tx.sender = vec![9; 20].into();
    let mut hash = B256::with_last_byte(mark);
    hash.0[0] = nonce as u8 + 1;
    VerifiedTx::from_store(hash, tx.encode().into()).unwrap()
}

fn find_raw(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::Object(map) => match map.get("raw").and_then(|raw| raw.as_str()) {
            Some(raw) => Some(raw.to_owned()),
            None => map.values().find_map(find_raw),
        },
        serde_json::Value::Array(list) => list.iter().find_map(find_raw),
        _ => None,
    }
}

fn add(waiting: &mut Waiting, tx: &VerifiedTx) -> oneshot::Receiver<Result<Committed, SubmitError>> {
    let (sender, receiver) = oneshot::channel();
    waiting.insert(tx.clone(), Some(sender), 0, false).unwrap();
    receiver
}

fn hashes(transactions: &[VerifiedTx]) -> Vec<B256> {
    transactions.iter().map(|tx| tx.hash).collect()
}

fn commit(waiting: &mut Waiting, number: u64, block: &[&VerifiedTx]) {
    let block: Vec<_> = block.iter().map(|tx| ((*tx).clone(), Arc::new(Receipt::default()))).collect();
    for (waiter, answer) in waiting.committed(number, block, |_| 0) {
        let _ = waiter.send(answer);
    }
}

#[test]
fn oldest_first_and_what_was_given_up_keeps_its_place() {
    let mut waiting = Waiting::new(10);
    let all: Vec<_> = ["a", "b", "c"].map(plain).into();
    for tx in &all {
        add(&mut waiting, tx);
    }
    assert_eq!(hashes(&waiting.seal(5, 0, 2, None).transactions), hashes(&all[..2]));
    assert_eq!(waiting.ready(), 1);
    waiting.release(5, 0, &hashes(&all[..2]));
    assert_eq!(hashes(&waiting.seal(6, 0, 9, None).transactions), hashes(&all));
    assert!(waiting.seal(7, 0, 9, None).transactions.is_empty());
}

#[test]
fn the_limit_holds_for_clients_but_not_for_proposals() {
    let mut waiting = Waiting::new(1);
    add(&mut waiting, &plain("a"));
    assert_eq!(waiting.insert(plain("b"), None, 0, false), Err(SubmitError::TxPoolIsFull));
    waiting.insert(plain("b"), None, 0, true).unwrap();
    assert_eq!(waiting.len(), 2);
}

#[test]
fn a_system_transaction_is_sealed_alone_and_first() {
    let mut waiting = Waiting::new(10);
    let system = native("s", 500, "0x0000000000000000000000000000000000001003", 0);
    let other = plain("a");
    add(&mut waiting, &other);
    add(&mut waiting, &system);
    let seal = waiting.seal(3, 0, 10, None);
    assert!(seal.system);
    assert_eq!(hashes(&seal.transactions), [system.hash]);
    waiting.release(3, 0, &[system.hash]);
    // Nobody may hide one among others, or call something else a system transaction.
    assert!(matches!(waiting.claim(3, 0, &[other.hash, system.hash], false, false), Claim::Conflict));
    assert!(matches!(waiting.claim(3, 0, &[other.hash], true, false), Claim::Conflict));
    assert!(matches!(waiting.claim(3, 0, &[system.hash], true, false), Claim::Found(_)));
}

#[test]
fn the_leader_s_own_transaction_goes_first_and_makes_no_block_alone() {
    let mut waiting = Waiting::new(10);
    let draw = native("d", 500, "0000000000000000000000000000000000001003", 7);
    assert!(waiting.seal(3, 0, 10, Some(&draw)).transactions.is_empty());
    assert_eq!(waiting.len(), 0);
    let all = [plain("a"), plain("b")];
    let _answers: Vec<_> = all.iter().map(|tx| add(&mut waiting, tx)).collect();
    let seal = waiting.seal(3, 0, 2, Some(&draw));
    assert!(seal.system);
    let together = [draw.hash, all[0].hash, all[1].hash];
    assert_eq!(hashes(&seal.transactions), together);
    // The block came to nothing: the same draw goes first again, also when nothing else is left.
    waiting.release(3, 0, &together);
    assert_eq!(hashes(&waiting.seal(3, 1, 2, Some(&draw)).transactions), together);
    waiting.release(3, 1, &together);
    commit(&mut waiting, 3, &[&all[0], &all[1]]);
    assert_eq!(hashes(&waiting.seal(4, 0, 2, Some(&draw)).transactions), [draw.hash]);
    waiting.release(4, 0, &[draw.hash]);
    // Others may have it before their ordinary transactions or before one system transaction, and nowhere else.
    let ordinary = plain("c");
    let system = |nonce| native(nonce, 500, "0000000000000000000000000000000000001000", 0);
    let (one, two) = (system("s"), system("t"));
    for tx in [&ordinary, &one, &two] {
        drop(add(&mut waiting, tx));
    }
    let mut claim = |list: &[&VerifiedTx]| {
        let list: Vec<B256> = list.iter().map(|tx| tx.hash).collect();
        let claim = waiting.claim(5, 0, &list, true, false);
        waiting.release(5, 0, &list);
        matches!(claim, Claim::Found(_))
    };
    assert!(claim(&[&draw, &ordinary]) && claim(&[&draw, &one]) && claim(&[&draw]));
    assert!(!claim(&[&ordinary, &draw]) && !claim(&[&draw, &one, &two]) && !claim(&[&draw, &one, &ordinary]));
}

#[test]
fn of_two_with_one_nonce_only_one_gets_through_and_both_are_answered() {
    let mut waiting = Waiting::new(10);
    let ours = plain("n");
    let theirs = native("n", 500, "", 1);
    let mut answer = add(&mut waiting, &ours);
    assert_eq!(waiting.insert(theirs.clone(), None, 0, false), Err(SubmitError::NonceCheckFail));
    // Another node's proposal brings the other one: it is no reason to refuse the proposal.
    waiting.insert(theirs.clone(), None, 0, true).unwrap();
    assert!(matches!(waiting.claim(4, 0, &[ours.hash, theirs.hash], false, false), Claim::Conflict));
    assert!(matches!(waiting.claim(4, 0, &[theirs.hash], false, false), Claim::Found(_)));
    // But the next block must not have the first.
    assert!(matches!(waiting.claim(5, 0, &[ours.hash], false, false), Claim::Conflict));
    assert!(waiting.seal(5, 0, 10, None).transactions.is_empty());
    commit(&mut waiting, 4, &[&theirs]);
    assert_eq!(answer.try_recv().unwrap().unwrap_err(), SubmitError::NonceCheckFail);
    assert_eq!(waiting.len(), 0);
}

#[test]
fn a_lost_proposal_frees_its_transactions_when_the_block_is_there() {
    let mut waiting = Waiting::new(10);
    let (first, second) = (plain("a"), plain("b"));
    let mut answer = add(&mut waiting, &first);
    add(&mut waiting, &second);
    assert!(matches!(waiting.claim(4, 0, &hashes(&[first.clone(), second.clone()]), false, false), Claim::Found(_)));
    assert!(
        matches!(waiting.claim(5, 0, &[second.hash], false, false), Claim::Conflict),
        "it is in an earlier proposal"
    );
    commit(&mut waiting, 4, &[&first]);
    assert_eq!(answer.try_recv().unwrap().unwrap().number, 4);
    assert_eq!(hashes(&waiting.seal(5, 0, 9, None).transactions), [second.hash]);
}

#[test]
fn missing_ones_are_named_and_the_others_are_not_sealed_again() {
    let mut waiting = Waiting::new(10);
    let (here, gone) = (plain("a"), plain("b"));
    add(&mut waiting, &here);
    let Claim::Missing(missing) = waiting.claim(4, 0, &[here.hash, gone.hash], false, false) else { panic!() };
    assert_eq!(missing, [gone.hash]);
    assert_eq!(waiting.ready(), 0);
    waiting.release(4, 0, &[here.hash, gone.hash]);
    assert_eq!(waiting.ready(), 1);
    assert!(matches!(waiting.claim(4, 0, &[here.hash, here.hash], false, false), Claim::Conflict), "it stands twice");
}

#[test]
fn what_waits_too_long_is_answered_with_its_code() {
    let mut waiting = Waiting::new(10);
    let mut late = add(&mut waiting, &native("a", 7, "", 0));
    let mut old = add(&mut waiting, &plain("b"));
    add(&mut waiting, &plain("c"));
    waiting.seal(1, 0, 0, None);
    let send = |(answers, _): (Vec<Dropped>, bool)| {
        for (waiter, answer) in answers {
            let _ = waiter.unwrap().send(answer);
        }
    };
    send(waiting.expire(Duration::from_mins(10), 7, true));
    assert_eq!(late.try_recv().unwrap().unwrap_err(), SubmitError::BlockLimitCheckFail);
    assert!(old.try_recv().is_err());
    let sealed = waiting.seal(9, 0, 1, None).transactions;
    send(waiting.expire(Duration::ZERO, 7, true));
    // One of the two is in a proposal and will be answered by the block.
    assert_eq!((sealed.len(), waiting.len()), (1, 1));
}

#[test]
fn ethereum_transactions_wait_for_the_nonces_before_them() {
    let mut waiting = Waiting::new(10);
    let [zero, one, two, five] = [0, 1, 2, 5].map(|nonce| ethereum(nonce, 1));
    add(&mut waiting, &two);
    add(&mut waiting, &one);
    add(&mut waiting, &five);
    assert_eq!((waiting.ready(), waiting.next_nonce(&zero.sender)), (0, Some(0)));
    assert_eq!(waiting.insert(ethereum(1, 2), None, 0, false), Err(SubmitError::NonceCheckFail));
    add(&mut waiting, &zero);
    assert_eq!(waiting.next_nonce(&zero.sender), Some(3));
    assert_eq!(hashes(&waiting.seal(1, 0, 9, None).transactions), hashes(&[zero.clone(), one.clone(), two.clone()]));
    let answers = waiting.committed(1, [zero, one, two].map(|tx| (tx, Arc::new(Receipt::default()))), |_| 3);
    assert_eq!((answers.len(), waiting.ready()), (3, 0));
    // Upstream executes nonces with gaps, so the last one does not wait for ever.
    waiting.entries.get_mut(&five.hash).unwrap().arrived -= GAP_PATIENCE;
    assert!(waiting.expire(Duration::from_mins(10), 1, true).1);
    assert_eq!(hashes(&waiting.seal(2, 0, 9, None).transactions), [five.hash]);
}

#[test]
fn a_proposal_that_was_given_up_frees_nothing_that_another_holds() {
    let mut waiting = Waiting::new(10);
    let [first, second, third] = ["a", "b", "c"].map(plain);
    for tx in [&first, &second, &third] {
        add(&mut waiting, tx);
    }
    // Two leaders' proposals for the same number share a transaction.
    let lost = hashes(&[first.clone(), second.clone()]);
    let kept = hashes(&[second.clone(), third.clone()]);
    assert!(matches!(waiting.claim(4, 1, &lost, false, false), Claim::Found(_)));
    assert!(matches!(waiting.claim(4, 2, &kept, false, false), Claim::Found(_)));
    waiting.release(4, 1, &lost);
    assert_eq!(hashes(&waiting.seal(5, 9, 9, None).transactions), [first.hash]);
    waiting.release(4, 1, &lost);
    assert_eq!(waiting.ready(), 0, "it holds nothing any more");
    waiting.release(5, 9, &[first.hash]);
    commit(&mut waiting, 4, &[&second, &third]);
    assert_eq!(hashes(&waiting.seal(5, 9, 9, None).transactions), [first.hash]);
}
