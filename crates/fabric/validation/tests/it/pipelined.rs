//! The pipeline gives the verdicts of the serial walk, whatever its depth and however many threads there are.

use std::sync::{Arc, mpsc};

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::protoutil;
use fabric_ledger::{Ledger, Options};
use fabric_proto::common::Block;
use fabric_validation::{ChannelCollections, Committed, Pipeline, PipelineOptions, ValidationError};
use proptest::prelude::*;
use prost::Message;

use crate::golden::{BLOCKS, CHANNEL, Chain, as_ordered, block, genesis};

#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    flags: Vec<u8>,
    commit_hash: Bytes,
}

fn serial(blocks: &[Bytes]) -> Vec<Outcome> {
    let mut chain = genesis();
    let mut results = Vec::new();
    for block in blocks {
        match chain.try_stage(block) {
            Ok(committed) => results.push(of(&committed)),
            Err(_) => break,
        }
    }
    results
}

fn of(committed: &Committed) -> Outcome {
    Outcome { flags: committed.staged.flags.clone(), commit_hash: committed.staged.commit_hash.clone() }
}

fn pipelined(blocks: &[Bytes], options: PipelineOptions) -> (Vec<Outcome>, Option<ValidationError>) {
    let Chain { ledger, bundle, collections, .. } = &genesis();
    let (sender, receiver) = mpsc::channel();
    let options = PipelineOptions { collections: collections.clone(), ..options };
    let pipeline = Pipeline::start(ledger.clone(), bundle.clone(), options, move |result| {
        sender.send(result).unwrap();
    })
    .unwrap();
    for block in blocks {
        if pipeline.submit(block.clone()).is_err() {
            break;
        }
    }
    pipeline.finish();
    let mut results = Vec::new();
    let mut error = None;
    for result in receiver {
        match result {
            Ok(committed) => results.push(of(&committed)),
            Err(stopped) => error = Some(stopped),
        }
    }
    assert_eq!(ledger.height() as usize, results.len() + 1, "what was reported is durable");
    (results, error)
}

fn chain() -> Vec<Bytes> {
    (1..BLOCKS).map(as_ordered).collect()
}

#[test]
fn any_depth_gives_the_serial_verdicts() {
    let blocks = chain();
    let expected = serial(&blocks);
    assert_eq!(expected.len() as u64, BLOCKS - 1);
    for depth in [1, 3, 16] {
        let (results, error) = pipelined(&blocks, PipelineOptions { depth, ..PipelineOptions::default() });
        assert!(error.is_none(), "{error:?}");
        assert_eq!(results, expected, "depth {depth}");
    }
}

#[test]
fn a_refused_block_stops_the_pipeline_behind_the_good_ones() {
    let mut blocks = chain();
    blocks.swap(40, 41);
    let (results, error) = pipelined(&blocks, PipelineOptions::default());
    assert_eq!(results.len(), 40);
    assert!(matches!(error, Some(ValidationError::Number { expected: 41, found: 42 })), "{error:?}");
}

#[test]
fn thread_counts_do_not_matter() {
    let blocks = chain();
    let expected = serial(&blocks);
    for threads in [1, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| serial(&blocks)), expected, "{threads} threads");
    }
}

#[test]
fn an_aborted_pipeline_leaves_a_ledger_that_goes_on_after_reopening() {
    let blocks = chain();
    let expected = serial(&blocks);
    let folder = tempfile::tempdir().unwrap();
    let genesis = block(0);
    let mut bundle = Arc::new(Bundle::from_config_block(&genesis).unwrap());
    let collections = ChannelCollections::new(&bundle);
    let options = || Options { collections: Arc::new(collections.clone()), ..Options::default() };
    drop(Ledger::create(folder.path().join("ledger"), CHANNEL, &genesis, options()).unwrap());
    let mut results = Vec::new();
    for stop in [30, 59, 75, blocks.len()] {
        let ledger = Ledger::open(folder.path().join("ledger"), CHANNEL, options()).unwrap();
        let (sender, receiver) = mpsc::channel();
        let pipeline_options = PipelineOptions { collections: collections.clone(), ..PipelineOptions::default() };
        let pipeline = Pipeline::start(ledger.clone(), bundle.clone(), pipeline_options, move |result| {
            sender.send(of(&result.unwrap())).unwrap();
        })
        .unwrap();
        let height = usize::try_from(ledger.height()).unwrap();
        for block in &blocks[height - 1..stop] {
            pipeline.submit(block.clone()).unwrap();
        }
        if stop == blocks.len() {
            pipeline.finish();
        } else {
            pipeline.abort();
        }
        results.extend(receiver);
        assert_eq!(results.len() + 1, usize::try_from(ledger.height()).unwrap());
        // The configuration in force is that of the last configuration block, as a node finds it after a restart.
        let last = (0..ledger.height()).rev().map(block).find(protoutil::is_config_block).unwrap();
        bundle = Arc::new(Bundle::from_config_block(&last).unwrap());
        collections.update(&bundle);
    }
    assert_eq!(results, expected);
}

/// Damages envelopes of some blocks and links the chain again, so that only verdicts can differ.
fn mutated(damage: &[(prop::sample::Index, prop::sample::Index, u8)]) -> Vec<Bytes> {
    let mut blocks: Vec<Block> = chain().into_iter().take(60).map(|bytes| Block::decode(bytes).unwrap()).collect();
    for (block, at, mask) in damage {
        let data = &mut blocks[block.index(60)].data.as_mut().unwrap().data;
        let index = at.index(data.len());
        let mut raw = data[index].to_vec();
        let position = at.index(raw.len());
        raw[position] ^= mask;
        data[index] = Bytes::from(raw);
    }
    let mut previous = None;
    for block in &mut blocks {
        let data_hash = protoutil::data_hash(&block.data.as_ref().unwrap().data);
        let header = block.header.as_mut().unwrap();
        header.data_hash = Bytes::copy_from_slice(&data_hash);
        if let Some(hash) = previous {
            header.previous_hash = hash;
        }
        previous = Some(Bytes::copy_from_slice(&protoutil::header_hash(header)));
    }
    blocks.iter().map(|block| Bytes::from(block.encode_to_vec())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn damaged_chains_get_the_same_verdicts_in_both_ways(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..), 1..12),
        depth in 1_usize..10,
    ) {
        let blocks = mutated(&damage);
        let expected = serial(&blocks);
        let options = PipelineOptions { depth, verify_blocks: false, ..PipelineOptions::default() };
        let (results, _) = pipelined(&blocks, options);
        prop_assert_eq!(results, expected);
    }
}
