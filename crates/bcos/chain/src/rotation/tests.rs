use std::collections::HashMap;

use alloy_primitives::hex;
use konsort_crypto::{SuiteKind, suite};

use super::*;

fn node(id: u8, kind: NodeKind, term_weight: u64) -> ConsensusNode {
    ConsensusNode { node_id: hex::encode([id; 64]), kind, weight: 1, term_weight, enable_number: 0 }
}

fn group(working: u8, candidates: u8) -> Vec<ConsensusNode> {
    let sealers = (0..working).map(|id| node(id, NodeKind::Sealer, 0));
    sealers.chain((working..working + candidates).map(|id| node(id, NodeKind::Candidate, 0))).collect()
}

fn working(nodes: &[ConsensusNode]) -> Vec<usize> {
    (0..nodes.len()).filter(|index| nodes[*index].kind == NodeKind::Sealer).collect()
}

fn every(blocks: u64, sealers: u64) -> Rotation {
    Rotation { sealers, sealers_since: 0, blocks, blocks_since: 0, on_since: 0 }
}

fn settings(entries: &[(&str, &str, u64)]) -> impl Fn(&str) -> Result<Option<SystemValue>, ()> {
    let entries: HashMap<String, SystemValue> = entries
        .iter()
        .map(|(key, value, from)| ((*key).to_owned(), SystemValue { value: (*value).to_owned(), enable_number: *from }))
        .collect();
    move |key| Ok(entries.get(key).cloned())
}

#[test]
fn settings_are_read_as_far_as_they_are_in_force() {
    let given = settings(&[(SWITCH, "1", 7), (EPOCH_SEALERS, "3", 9), (EPOCH_BLOCKS, "10", 0)]);
    assert_eq!(Rotation::read(6, &given), Ok(None));
    let found = Rotation::read(8, &given).unwrap().unwrap();
    assert_eq!(found, Rotation { sealers: 4, sealers_since: 0, blocks: 10, blocks_since: 0, on_since: 7 });
    let found = Rotation::read(9, &given).unwrap().unwrap();
    assert_eq!((found.sealers, found.sealers_since), (3, 9));
    // Zeros, which only a damaged state holds, do not divide.
    let found = Rotation::read(9, settings(&[(SWITCH, "1", 0), (EPOCH_BLOCKS, "0", 0)])).unwrap().unwrap();
    assert!(found.is_due(9, &group(4, 2)));
}

#[test]
fn changes_are_due_at_epochs_new_settings_and_gaps() {
    let nodes = group(4, 2);
    let rotation = Rotation { sealers: 4, sealers_since: 17, blocks: 5, blocks_since: 3, on_since: 21 };
    let due: Vec<u64> = (1..25).filter(|number| rotation.is_due(*number, &nodes)).collect();
    assert_eq!(due, [3, 8, 13, 17, 18, 21, 23]);
    // What agreement has to be told of each block by itself; the rest it can count.
    let untold: Vec<u64> = (1..25).filter(|number| rotation.is_out_of_turn(*number, &nodes)).collect();
    assert_eq!(untold, [17, 21]);
    // A working sealer less than there should be, and a candidate to take its place.
    assert!(rotation.is_due(9, &group(3, 1)));
    assert!(!rotation.is_due(9, &group(3, 0)));
    // A candidate counts from the block its entry is in force.
    let mut nodes = group(3, 1);
    nodes[3].enable_number = 10;
    assert!(!rotation.is_due(9, &nodes) && rotation.is_due(10, &nodes));
}

#[test]
fn one_changes_per_epoch_and_everybody_serves() {
    let suite = suite(SuiteKind::International);
    let mut nodes = group(4, 3);
    let mut served = [0; 7];
    for number in 1..400 {
        let before = working(&nodes);
        let drawn = U256::from_be_bytes(suite.hash(&[number as u8, (number >> 8) as u8]));
        assert!(rotate(&every(1, 4), suite, number, drawn, false, &mut nodes));
        let now = working(&nodes);
        assert_eq!(now.len(), 4);
        assert_eq!(now.iter().filter(|index| !before.contains(index)).count(), 1);
        for index in now {
            served[index] += 1;
            assert!(nodes[index].enable_number <= number + 1);
        }
    }
    assert!(served.iter().all(|count| *count > 100), "{served:?}");
}

#[test]
fn the_committee_grows_and_shrinks_to_its_size() {
    let suite = suite(SuiteKind::Sm);
    for (before, size, after) in [((6, 1), 4, 4), ((2, 5), 4, 4), ((1, 2), 9, 3), ((5, 0), 2, 2)] {
        let mut nodes = group(before.0, before.1);
        assert!(rotate(&every(1, size), suite, 4, U256::from(77), false, &mut nodes), "{before:?}");
        assert_eq!(working(&nodes).len(), after);
    }
    for (before, size) in [((4, 0), 4), ((3, 0), 9), ((1, 0), 4)] {
        let mut nodes = group(before.0, before.1);
        assert!(!rotate(&every(1, size), suite, 4, U256::from(77), false, &mut nodes), "{before:?}");
        assert_eq!(nodes, group(before.0, before.1));
    }
}

#[test]
fn the_shuffle_is_upstream_s() {
    // By hand: 5 % 3 = 2 stays, then hash("2") % 2 decides about the first two.
    let suite = suite(SuiteKind::International);
    let nodes = group(3, 0);
    let mut list = vec![2, 0, 1];
    let second = U256::from_be_bytes(suite.hash(b"2")) % U256::from(2);
    let expected = if second.is_zero() { [1, 0, 2] } else { [0, 1, 2] };
    assert_eq!(shuffled(&nodes, &mut list, suite, U256::from(5), 3), expected);
}

#[test]
fn term_weights_decide_where_they_are_on() {
    let suite = suite(SuiteKind::International);
    let mut nodes = group(2, 3);
    for (node, weight) in nodes.iter_mut().zip([1, 0, 9, 9, 1]) {
        node.term_weight = weight;
    }
    let mut served = [0; 5];
    for number in 1..600_u64 {
        let drawn = U256::from_be_bytes(suite.hash(&number.to_be_bytes()));
        rotate(&every(1, 2), suite, number, drawn, true, &mut nodes);
        assert_eq!(working(&nodes).len(), 2);
        for index in working(&nodes) {
            served[index] += 1;
        }
    }
    assert_eq!(served[1], 0, "weight 0 never serves");
    assert!(served[2] > 3 * served[0] && served[3] > 3 * served[4], "{served:?}");
    // Huge weights do not overflow, and no weight at all leaves everything as it is.
    for weight in [u64::MAX, 0] {
        for node in &mut nodes {
            node.term_weight = weight;
        }
        rotate(&every(1, 2), suite, 1, U256::MAX, true, &mut nodes);
        assert_eq!(working(&nodes).len(), 2);
    }
}

#[test]
fn draws_travel_as_call_data_and_are_checked() {
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let key = SuiteKey::generate(kind);
        let draw = Draw::new(&key, 1000);
        let call = draw.call(suite(kind));
        assert_eq!(Draw::of_call(suite(kind), &call), Some(draw.clone()));
        assert_eq!(Draw::of_call(suite(kind), &call[..100]), None);
        assert_eq!(Draw::of_call(suite(kind), b"1234"), None);
        // The same number whoever asks, another for another block or node.
        let number = draw.check(1000).unwrap();
        assert_eq!(Draw::new(&key, 1000).check(1000), Ok(number));
        assert_ne!(Draw::new(&key, 1001).check(1001), Ok(number));
        assert_ne!(Draw::new(&SuiteKey::generate(kind), 1000).check(1000), Ok(number));
        assert_eq!(draw.check(1001), Err("Invalid VRFInput, must be the parentHash!"));
        let no_key = Draw { public_key: Bytes::from_static(&[1; 31]), ..draw.clone() };
        assert_eq!(no_key.check(1000), Err("Invalid VRF Public Key!"));
        let other = Draw { proof: Draw::new(&key, 7).proof, ..draw };
        assert_eq!(other.check(1000), Err("Verify VRF proof failed!"));
    }
}
