//! Blocks executed in parallel and serially with the real executor: the same receipts, state and roots.

use alloy_primitives::Address;
use bcos_chain::{Chain, Proposal};
use bcos_types::VerifiedTx;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::world::*;

const ACCOUNTS: u8 = 24;

/// Any mix of transfers (few or many recipients, one hot one), counter calls, deployments and failures.
fn random_block(random: &mut StdRng, number: u64, counter: Address, token: Address) -> Vec<VerifiedTx> {
    let count = random.random_range(0..60);
    let shape = random.random_range(0..5);
    let recipients = *[1, 2, ACCOUNTS].get(random.random_range(0..3)).unwrap();
    let one = |index: usize, random: &mut StdRng| {
        let nonce = format!("{number} {index}");
        let from = random.random_range(0..ACCOUNTS);
        match (shape, random.random_range(0..12)) {
            (0, _) | (_, 0) => send(from, &nonce, Some(counter), Vec::new()),
            (1, 1) => send(from, &nonce, None, self::counter()),
            (1, 2) => send(from, &nonce, None, broken()),
            (2, _) => {
                let from = index as u8 % ACCOUNTS;
                send(from, &nonce, Some(token), transfer(account((from + 1) % ACCOUNTS), 3))
            }
            (3, 3..) => send(from, &nonce, Some(token), transfer(account(from), 1)),
            _ => send(from, &nonce, Some(token), transfer(account(random.random_range(0..recipients)), 2)),
        }
    };
    (0..count).map(|index| one(index, random)).collect()
}

#[test]
fn parallel_blocks_equal_serial_ones_and_two_chains_agree() {
    let blocks: u64 = std::env::var("KONSORT_PARALLEL_BLOCKS").map_or(40, |text| text.parse().unwrap());
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
    let (mut speculated, mut conflicts) = (0, 0);
    for number in 2..2 + blocks {
        let proposal: Proposal = next(&chain, random_block(&mut random, number, counter, token));
        let parallel = chain.execute(&proposal).unwrap();
        let serial = partner.execute_serially(&proposal).unwrap();
        assert_eq!(parallel.header(), serial.header(), "seed {seed}, block {number}");
        for (index, (a, b)) in parallel.receipts().iter().zip(serial.receipts()).enumerate() {
            assert_eq!(a, b, "seed {seed}, block {number}, transaction {index}");
        }
        speculated += parallel.stats().speculated;
        conflicts += parallel.stats().conflicts;
        chain.commit(&parallel, signatures(&parallel)).unwrap();
        partner.commit(&serial, signatures(&serial)).unwrap();
        if number.is_multiple_of(256) {
            assert_eq!(chain.state_hash(None).unwrap(), partner.state_hash(None).unwrap());
        }
    }
    assert_eq!(chain.state_hash(None).unwrap(), partner.state_hash(None).unwrap());
    assert_eq!(chain.total_counts(), partner.total_counts());
    println!("speculated {speculated}, in vain {conflicts}");
    assert!(speculated > 0, "nothing was executed in parallel");
}
