//! Parallel equals serial, on toy transactions that read, write, delete, scan and fail as randomly as they can.

#![allow(clippy::print_stdout)]

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use alloy_primitives::{Address, B256, Bytes};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::access::{StateKey, StateRead};

#[derive(Debug, Default)]
struct World(BTreeMap<StateKey, Bytes>);

impl StateAccess for World {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        Ok(self.0.get(key).cloned())
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        let start = StateKey::row(table, from.to_vec());
        let rows = self.0.range(start..).map_while(|(key, value)| match key {
            StateKey::Row { table: of, key } if **of == *table => Some((key.clone(), value.clone())),
            _ => None,
        });
        Ok(rows.take(limit).collect())
    }

    fn block_hash(&self, _: u64) -> Result<Option<B256>, AccessError> {
        Ok(None)
    }
}

/// One step of a toy transaction. Everything depends on what was read before.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read(u8),
    /// Reads the cell that the number read so far points to.
    Follow(u8),
    Write(u8),
    Delete(u8),
    /// Reads up to so many rows of the table.
    Scan(u8),
    /// Fails, leaving no writes, when the number read so far is odd.
    RevertIfOdd,
    /// Takes a while.
    Work(u16),
}

type Toy = Vec<Step>;

fn cell(number: u8) -> StateKey {
    match number % 4 {
        0 => StateKey::Account(Address::repeat_byte(number)),
        1 => StateKey::Slot(Address::repeat_byte(number), B256::ZERO),
        _ => StateKey::row("t", vec![number]),
    }
}

fn number(value: Option<&Bytes>) -> u64 {
    value.map_or(7, |value| value.iter().fold(value.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)))
}

fn play(toy: &Toy, state: &dyn StateAccess, index: usize) -> Result<TxOutcome, AccessError> {
    let mut outcome = TxOutcome::default();
    let mut writes: BTreeMap<StateKey, Option<Bytes>> = BTreeMap::new();
    let mut sum = index as u64;
    let read = |outcome: &mut TxOutcome, writes: &BTreeMap<_, Option<Bytes>>, key: StateKey| {
        if let Some(own) = writes.get(&key) {
            return Ok(number(own.as_ref()));
        }
        let value = number(state.get(&key)?.as_ref());
        outcome.reads.push(StateRead::Key(key));
        Ok::<_, AccessError>(value)
    };
    for step in toy {
        outcome.gas_used += 1;
        let mix = |sum: u64, value: u64| sum.wrapping_mul(0x9e37_79b9).wrapping_add(value);
        match *step {
            Step::Read(at) => sum = mix(sum, read(&mut outcome, &writes, cell(at))?),
            Step::Follow(width) => {
                sum = mix(sum, read(&mut outcome, &writes, cell((sum % u64::from(width.max(1))) as u8))?);
            }
            Step::Write(at) => drop(writes.insert(cell(at), Some(sum.to_be_bytes().to_vec().into()))),
            Step::Delete(at) => drop(writes.insert(cell(at), None)),
            Step::Scan(limit) => {
                outcome.reads.push(StateRead::Table("t".into()));
                for (key, value) in state.rows("t", &[limit], usize::from(limit % 16))? {
                    sum = mix(mix(sum, number(Some(&key))), number(Some(&value)));
                }
            }
            Step::RevertIfOdd if sum % 2 == 1 => {
                writes.clear();
                outcome.status = 16;
                break;
            }
            Step::RevertIfOdd => {}
            Step::Work(rounds) => {
                for _ in 0..rounds {
                    sum = std::hint::black_box(sum.rotate_left(1));
                }
            }
        }
    }
    outcome.output = sum.to_be_bytes().to_vec().into();
    outcome.writes = writes.into_iter().collect();
    Ok(outcome)
}

fn random_step(random: &mut StdRng, cells: u8) -> Step {
    let at = random.random_range(0..cells);
    match random.random_range(0..20) {
        0..6 => Step::Read(at),
        6..8 => Step::Follow(cells),
        8..13 => Step::Write(at),
        13..15 => Step::Delete(at),
        15 => Step::Scan(at),
        16 => Step::RevertIfOdd,
        _ => Step::Work(random.random_range(0..2000)),
    }
}

/// A block of one of the shapes that hurt: anything goes, one hot cell, a chain of dependencies, scans against inserts, no conflict.
fn random_block(random: &mut StdRng) -> Vec<Toy> {
    let count = random.random_range(0..120);
    let cells = *[2, 8, 64, 255].get(random.random_range(0..4)).unwrap();
    let shape = random.random_range(0..6);
    let toy = |index: usize, random: &mut StdRng| match shape {
        0 => vec![Step::Read(0), Step::Work(200), Step::Write(0)],
        1 => {
            let at = (index % 250) as u8;
            vec![Step::Read(at), Step::Work(100), Step::Write(at + 1)]
        }
        2 if index.is_multiple_of(3) => vec![Step::Scan(random.random_range(0..20)), Step::Write(2)],
        2 => vec![Step::Write(random.random_range(0..cells)), Step::Delete(random.random_range(0..cells))],
        3 => vec![Step::Read((index % 250) as u8), Step::Work(500), Step::Write((index % 250) as u8)],
        // Half of it on one hot cell.
        4 if random.random_bool(0.5) => vec![Step::Read(1), Step::Work(300), Step::Write(1)],
        _ => (0..random.random_range(0..12)).map(|_| random_step(random, cells)).collect(),
    };
    (0..count).map(|index| toy(index, random)).collect()
}

fn traits(lanes: &Lanes, block: &[Toy]) -> Vec<Traits> {
    let call = |(index, toy): (usize, &Toy)| {
        // Everybody calls; what a toy does is its contract.
        lanes.call(&(index as u64).to_be_bytes(), format!("{toy:?}").as_bytes(), &[1, 2, 3, 4])
    };
    block.iter().enumerate().map(call).collect()
}

#[test]
fn every_random_block_has_the_outcomes_of_serial_execution() {
    let blocks: u64 = std::env::var("KONSORT_PARALLEL_BLOCKS").map_or(600, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("KONSORT_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("KONSORT_SEED={seed} KONSORT_PARALLEL_BLOCKS={blocks}");
    let mut random = StdRng::seed_from_u64(seed);
    let scheduler = Scheduler::new(4);
    let mut world = World::default();
    let mut total = RunStats::default();
    for block_number in 0..blocks {
        let block = random_block(&mut random);
        let execute = |state: &dyn StateAccess, index: usize| play(&block[index], state, index);
        let expected = serial(&world, block.len(), &execute).unwrap();
        let got = scheduler.run(&world, &traits(&scheduler.lanes, &block), &execute).unwrap();
        let chance = random.random_range(0.0..0.4);
        let simulated = interleaved(&world, block.len(), &execute, |index, count| {
            (index..count).filter(|_| random.random_bool(chance)).collect()
        });
        let simulated = simulated.unwrap();
        for (index, (expected, got)) in expected.outcomes.iter().zip(&simulated.outcomes).enumerate() {
            assert_eq!(expected, got, "seed {seed}, block {block_number}, transaction {index} of {block:?}, simulated");
        }
        assert_eq!(expected.outcomes.len(), simulated.outcomes.len());
        for stats in [got.stats, simulated.stats] {
            total.speculated += stats.speculated;
            total.conflicts += stats.conflicts;
            total.direct += stats.direct;
        }
        for (index, (expected, got)) in expected.outcomes.iter().zip(&got.outcomes).enumerate() {
            assert_eq!(expected, got, "seed {seed}, block {block_number}, transaction {index} of {block:?}");
        }
        assert_eq!(expected.outcomes.len(), got.outcomes.len());
        for (key, value) in expected.outcomes.into_iter().flat_map(|outcome| outcome.writes) {
            match value {
                Some(value) => drop(world.0.insert(key, value)),
                None => drop(world.0.remove(&key)),
            }
        }
    }
    println!("{total:?}");
    if blocks >= 100 {
        assert!(total.speculated > 0 && total.conflicts > 0 && total.direct > 0, "{total:?}: a way was never taken");
    }
}

#[test]
fn a_hot_block_is_soon_executed_once_per_transaction() {
    let scheduler = Scheduler::new(4);
    let block: Vec<Toy> = (0..200).map(|_| vec![Step::Read(0), Step::Work(500), Step::Write(0)]).collect();
    let executed = AtomicU64::new(0);
    let execute = |state: &dyn StateAccess, index: usize| {
        executed.fetch_add(1, Ordering::Relaxed);
        play(&block[index], state, index)
    };
    let world = World::default();
    let traits = traits(&scheduler.lanes, &block);
    for _ in 0..4 {
        scheduler.run(&world, &traits, &execute).unwrap();
    }
    executed.store(0, Ordering::Relaxed);
    for _ in 0..8 {
        scheduler.run(&world, &traits, &execute).unwrap();
    }
    let executed = executed.load(Ordering::Relaxed);
    assert!(executed <= 8 * 200 + 200, "{executed} executions of 1600 transactions");
}

#[test]
fn errors_and_panics_of_speculation_stay_with_the_transaction_that_has_them() {
    let scheduler = Scheduler::new(4);
    let world = World::default();
    let block: Vec<Toy> = (0..64).map(|index| vec![Step::Read(index), Step::Write(index)]).collect();
    let traits = traits(&scheduler.lanes, &block);
    let failing = |state: &dyn StateAccess, index: usize| {
        if index == 40 { Err(AccessError::Store("disk".into())) } else { play(&block[index], state, index) }
    };
    let error = scheduler.run(&world, &traits, &failing).unwrap_err();
    assert_eq!(error, AccessError::Store("disk".into()));
    let panicking = |state: &dyn StateAccess, index: usize| {
        assert!(index != 40, "transaction 40");
        play(&block[index], state, index)
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scheduler.run(&world, &traits, &panicking)));
    assert!(result.is_err());
}
