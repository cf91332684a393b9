//! Full disks, torn writes and lost batches: what was acknowledged is there, and what is there is the chain.

use std::sync::Arc;

use alloy_primitives::B256;
use bcos_chain::{Chain, ChainError};
use konsort_store::{
    LogOptions, SegmentLog, Space,
    faults::{MemoryFiles, MemoryStore},
};

use crate::world::*;

const BLOCKS: u64 = 12;

fn open(files: &MemoryFiles, store: &MemoryStore) -> Result<Chain, ChainError> {
    // Small files, so that the log rolls over in between.
    let options = LogOptions { segment_bytes: 6 << 10, ..LogOptions::default() };
    Chain::open_over(SegmentLog::open_in(Arc::new(files.clone()), options)?, Arc::new(store.clone()), &config())
}

/// Hash and state of every block of the scripted chain.
fn reference() -> Vec<(B256, B256)> {
    let chain = open(&MemoryFiles::default(), &MemoryStore::default()).unwrap();
    let mut all = vec![(chain.tip().hash(), chain.state_hash(None).unwrap())];
    for number in 1..=BLOCKS {
        let hash = extend(&chain, scripted(&chain, number)).hash();
        all.push((hash, chain.state_hash(None).unwrap()));
    }
    all
}

/// The chain goes on to its end exactly as the reference did.
fn finish(chain: &Chain, reference: &[(B256, B256)]) {
    for (number, (hash, _)) in (0..).zip(reference).take(chain.height() as usize + 1) {
        assert_eq!(chain.hash_by_number(number).unwrap(), Some(*hash), "block {number}");
    }
    for number in chain.height() + 1..=BLOCKS {
        assert_eq!(extend(chain, scripted(chain, number)).hash(), reference[number as usize].0);
    }
    for (number, (_, state)) in (0..).zip(reference) {
        assert_eq!(chain.state_hash(Some(number)).unwrap(), *state, "state after block {number}");
    }
    assert_eq!(chain.total_counts().transactions, 2 + (BLOCKS - 1) * 5);
    assert!(chain.has_nonce("deploy counter") && chain.has_nonce(&format!("count {BLOCKS}")));
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash_whatever_reached_the_disk() {
    let reference = reference();
    for crash_at in 0..=BLOCKS {
        for variant in 0..12u64 {
            let (files, store) = (MemoryFiles::default(), MemoryStore::default());
            let chain = open(&files, &store).unwrap();
            for number in 1..=crash_at {
                extend(&chain, scripted(&chain, number));
            }
            // The next block is being written when the power goes: after the k-th operation on the files.
            let proposal = next(&chain, scripted(&chain, crash_at + 1));
            let block = chain.execute(&proposal).unwrap();
            files.fail_after((variant % 3) as u32);
            let acknowledged = chain.height() + u64::from(chain.commit(&block, signatures(&block)).is_ok());
            let after_files = match variant {
                0..4 => files.crash_keeping(variant as usize * 700),
                4..6 => files.crash_keeping(usize::MAX / 2),
                _ => files.crash_scrambled(variant * 31 + crash_at),
            };
            let kept = |space: Space| (variant as usize * 7 + usize::from(space.0) * 5) % 9;
            let after_store = store.crash(kept);
            std::mem::forget(chain);
            let chain = open(&after_files, &after_store)
                .unwrap_or_else(|error| panic!("crash at {crash_at}, variant {variant}: {error}"));
            assert!(
                chain.height() >= acknowledged && chain.height() <= crash_at + 1,
                "{} of {acknowledged}",
                chain.height()
            );
            if chain.height() < BLOCKS {
                finish(&chain, &reference);
            }
        }
    }
}

#[test]
fn a_full_disk_stops_the_chain_with_a_clear_text_and_it_resumes() {
    let reference = reference();
    for operations in 0..24 {
        let (files, store) = (MemoryFiles::default(), MemoryStore::default());
        let mut chain = open(&files, &store).unwrap();
        files.fail_after(operations);
        while chain.height() < BLOCKS {
            let number = chain.height() + 1;
            let block = chain.execute(&next(&chain, scripted(&chain, number))).unwrap();
            let Err(error) = chain.commit(&block, signatures(&block)) else { continue };
            assert!(matches!(error, ChainError::Store(_)), "{error}");
            assert_eq!(chain.height(), number - 1, "a block that was refused is not seen");
            files.free_space();
            // A refused write can be repeated at once, a refused sync needs a new start.
            if chain.commit(&block, signatures(&block)).is_err() {
                std::mem::forget(chain);
                chain = open(&files, &store).unwrap();
                assert!(chain.height() + 1 >= number);
            }
        }
        finish(&chain, &reference);
    }
}

#[test]
fn a_block_that_is_written_but_not_in_the_state_comes_before_any_other() {
    let (files, store) = (MemoryFiles::default(), MemoryStore::default());
    let chain = open(&files, &store).unwrap();
    extend(&chain, scripted(&chain, 1));
    let proposal = next(&chain, scripted(&chain, 2));
    let block = chain.execute(&proposal).unwrap();
    let mut other = proposal.clone();
    other.timestamp_ms += 1;
    let other = chain.execute(&other).unwrap();
    store.fail_after(0);
    assert!(matches!(chain.commit(&block, signatures(&block)), Err(ChainError::Store(_))));
    store.free_space();
    let text = chain.commit(&other, signatures(&other)).unwrap_err().to_string();
    assert!(text.contains("commit it again"), "{text}");
    assert_eq!(chain.height(), 1);
    chain.commit(&block, signatures(&block)).unwrap();
    assert_eq!(chain.tip().hash(), block.hash());
    // Or the process dies in between.
    let block = chain.execute(&next(&chain, scripted(&chain, 3))).unwrap();
    store.fail_after(0);
    assert!(chain.commit(&block, signatures(&block)).is_err());
    let after = store.crash(|_| usize::MAX);
    std::mem::forget(chain);
    let chain = open(&files, &after).unwrap();
    assert_eq!((chain.height(), chain.tip().hash()), (3, block.hash()));
}

#[test]
fn a_state_without_its_blocks_is_refused() {
    let (files, store) = (MemoryFiles::default(), MemoryStore::default());
    let chain = open(&files, &store).unwrap();
    extend(&chain, scripted(&chain, 1));
    drop(chain);
    let text = open(&MemoryFiles::default(), &store).unwrap_err().to_string();
    assert!(text.contains("2 blocks") && text.contains("derived"), "{text}");
}

#[test]
fn a_flipped_bit_in_a_block_is_refused_by_name() {
    let (files, store) = (MemoryFiles::default(), MemoryStore::default());
    let chain = open(&files, &store).unwrap();
    for number in 1..=4 {
        extend(&chain, scripted(&chain, number));
    }
    drop(chain);
    let name = konsort_store::LogFiles::list(&files)
        .unwrap()
        .into_iter()
        .find(|name| name.starts_with('0') && !name.contains("idx"))
        .unwrap();
    files.flip(&name, 900);
    let error = open(&files, &MemoryStore::default()).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&name), "{error}");
}
