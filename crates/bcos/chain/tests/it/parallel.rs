//! Blocks executed in parallel, in simulated orders and serially with the real executor: the same receipts, state and roots.

#![allow(clippy::print_stdout)]

use alloy_primitives::{Address, B256};
use bcos_chain::{Chain, Order, Proposal};
use bcos_types::VerifiedTx;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::world::*;

const ACCOUNTS: u8 = 24;
/// One block in so many is committed; the others are tried on the same state.
const COMMIT_ONE_IN: u64 = 8;

fn someone(number: u8) -> Address {
    Address::with_last_byte(number + 1)
}

/// Any mix of transfers (few or many recipients, one hot one, a chain of them), counter calls, deployments and failures.
fn random_block(random: &mut StdRng, number: u64, counter: Address, token: Address) -> Vec<VerifiedTx> {
    let count = random.random_range(0..96);
    let shape = random.random_range(0..5);
    let recipients = *[1, 2, ACCOUNTS].get(random.random_range(0..3)).unwrap();
    let one = |index: usize, random: &mut StdRng| {
        let nonce = format!("{number} {index}");
        let sender = random.random_range(0..ACCOUNTS);
        let send = |from: u8, to: Option<Address>, input: Vec<u8>| unsigned(someone(from), &nonce, to, input);
        match (shape, random.random_range(0..12)) {
            (0, _) | (_, 0) => send(sender, Some(counter), Vec::new()),
            (1, 1) => send(sender, None, self::counter()),
            (1, 2) => send(sender, None, broken()),
            (2, _) => {
                let from = index as u8 % ACCOUNTS;
                send(from, Some(token), transfer(someone((from + 1) % ACCOUNTS), 3))
            }
            (3, 3..) => send(sender, Some(token), transfer(someone(sender), 1)),
            _ => send(sender, Some(token), transfer(someone(random.random_range(0..recipients)), 2)),
        }
    };
    (0..count).map(|index| one(index, random)).collect()
}

#[test]
fn parallel_blocks_equal_serial_ones_and_two_chains_agree() {
    let blocks: u64 = std::env::var("KONSORT_PARALLEL_BLOCKS").map_or(80, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("KONSORT_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("KONSORT_SEED={seed} KONSORT_PARALLEL_BLOCKS={blocks}");
    let mut random = StdRng::seed_from_u64(seed);
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let partner = Chain::create_or_open(other.path(), &config()).unwrap();
    let first = extend(&chain, scripted(&chain, 1));
    extend(&partner, scripted(&partner, 1));
    let contract = |index: usize| first.receipt(index).unwrap().unwrap().contract_address.unwrap();
    let (counter, token) = (contract(0), contract(1));
    let mut roots = std::collections::HashSet::<B256>::new();
    let (mut speculated, mut conflicts) = (0, 0);
    for tried in 1..=blocks {
        let proposal: Proposal = next(&chain, random_block(&mut random, tried, counter, token));
        let parallel = chain.execute(&proposal).unwrap();
        let serial = partner.execute_in(&proposal, Order::Serial).unwrap();
        let chance = random.random_range(0.0..0.4);
        let mut workers = |index: usize, count: usize| (index..count).filter(|_| random.random_bool(chance)).collect();
        let simulated = chain.execute_in(&proposal, Order::Simulated(&mut workers)).unwrap();
        for other in [&parallel, &simulated] {
            for (index, (a, b)) in other.receipts().iter().zip(serial.receipts()).enumerate() {
                assert_eq!(a, b, "seed {seed}, block {tried}, transaction {index}");
            }
            assert_eq!(other.header(), serial.header(), "seed {seed}, block {tried}");
            speculated += other.stats().speculated;
            conflicts += other.stats().conflicts;
        }
        roots.insert(serial.header().state_root);
        if tried.is_multiple_of(COMMIT_ONE_IN) {
            chain
                .commit(
                    if tried.is_multiple_of(2 * COMMIT_ONE_IN) { &parallel } else { &simulated },
                    signatures(&serial),
                )
                .unwrap();
            partner.commit(&serial, signatures(&serial)).unwrap();
        }
        if tried.is_multiple_of(4096) {
            assert_eq!(chain.state_hash(None).unwrap(), partner.state_hash(None).unwrap());
        }
    }
    assert_eq!(chain.state_hash(None).unwrap(), partner.state_hash(None).unwrap());
    assert_eq!(chain.total_counts(), partner.total_counts());
    println!("speculated {speculated}, in vain {conflicts}, different roots {}", roots.len());
    assert!(speculated > 0 && conflicts > 0 && roots.len() > 1);
}
