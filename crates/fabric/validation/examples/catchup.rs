//! What validating and committing costs: a channel of two organisations, N endorsed transactions in blocks of 500, committed
//! through the pipeline into a fresh ledger. Prints CPU microseconds per transaction, without the making of the chain.
//!
//! ```text
//! cargo run --release -p fabric-validation --example catchup -- 20000 1
//! ```
//!
//! The arguments are the number of transactions and of endorsements on each (1 or 2).
#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code, unreachable_pub)]

#[path = "../tests/it/forge.rs"]
mod forge;
#[path = "../tests/it/golden.rs"]
mod golden;

use std::time::Instant;

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_ledger::rwset::{NsRwset, TxRwset};
use fabric_proto::common::{
    Block, BlockData, BlockHeader, BlockMetadata, LastConfig, Metadata, MetadataSignature, OrdererBlockMetadata,
};
use fabric_proto::kvrwset::{KvRead, KvWrite, Version};
use fabric_proto::protos::TxValidationCode;
use fabric_validation::{Pipeline, PipelineOptions};
use prost::Message;

use forge::{Actor, PEER1, PEER2, Spec};

const BLOCK_SIZE: usize = 500;

fn main() {
    let argument = |index: usize, default: usize| {
        std::env::args().nth(index).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (count, endorsements) = (argument(1, 20_000), argument(2, 1));
    let made = Instant::now();
    let blocks = chain(count, endorsements);
    let bytes: usize = blocks.iter().map(Bytes::len).sum();
    println!("made {} blocks, {} KiB, in {:.1} s", blocks.len(), bytes / 1024, made.elapsed().as_secs_f64());

    let chain = golden::genesis();
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let (sender, receiver) = std::sync::mpsc::channel();
    let options = PipelineOptions { depth: 8, ..PipelineOptions::default() };
    let pipeline = Pipeline::start(chain.ledger.clone(), chain.bundle.clone(), options, move |result| {
        let committed = result.unwrap();
        sender
            .send(committed.block.transactions.iter().filter(|tx| tx.code == TxValidationCode::Valid).count())
            .unwrap();
    })
    .unwrap();
    for block in blocks {
        pipeline.submit(block).unwrap();
    }
    pipeline.finish();
    let valid: usize = receiver.iter().sum();
    let (elapsed, used) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    assert_eq!(valid, count + 1, "every transaction is valid");
    println!(
        "{{\"transactions\":{count},\"endorsements\":{endorsements},\"seconds\":{elapsed:.2},\"tps\":{:.0},\"cpu_us_per_tx\":{:.1}}}",
        count as f64 / elapsed,
        used * 1e6 / count as f64
    );
}

/// A block that defines chaincode `cc`, then the transactions.
fn chain(count: usize, endorsements: usize) -> Vec<Bytes> {
    use rayon::prelude::*;
    let endorsers: &[&'static Actor] = if endorsements == 1 { &[&PEER1] } else { &[&PEER1, &PEER2] };
    let state = forge::State::with_chaincode("OR('Org1MSP.peer','Org2MSP.peer')", &[]);
    let mut definition = NsRwset { namespace: "_lifecycle".to_owned(), ..NsRwset::default() };
    for field in ["EndorsementInfo", "ValidationInfo", "Collections", "Sequence"] {
        let key = format!("namespaces/fields/cc/{field}");
        definition.public.writes.push(write(&state, key));
    }
    definition.public.writes.push(write(&state, "namespaces/metadata/cc".to_owned()));
    definition.public.writes.sort_by(|left, right| left.key.cmp(&right.key));
    let define =
        Spec { chaincode: "_lifecycle", ..Spec::new(0, TxRwset { namespaces: vec![definition] }, &[&PEER1, &PEER2]) };
    let genesis = golden::block(0);
    let mut previous = protoutil::header_hash(genesis.header.as_ref().unwrap());
    let mut blocks = Vec::new();
    let orderer = forge::orderer();
    let mut add = |envelopes: Vec<Bytes>| {
        let number = blocks.len() as u64 + 1;
        let header = BlockHeader {
            number,
            previous_hash: Bytes::copy_from_slice(&previous),
            data_hash: Bytes::copy_from_slice(&protoutil::data_hash(&envelopes)),
        };
        previous = protoutil::header_hash(&header);
        blocks.push(signed_block(header, envelopes, &orderer));
    };
    add(vec![define.build()]);
    let numbers: Vec<usize> = (1..=count).collect();
    for chunk in numbers.chunks(BLOCK_SIZE) {
        add(chunk.par_iter().map(|number| transaction(*number, endorsers)).collect());
    }
    blocks
}

fn write(state: &forge::State, key: String) -> KvWrite {
    use fabric_validation::lifecycle_state::ReadState;
    let value = state.get_state(&key).unwrap().unwrap();
    KvWrite { key, is_delete: false, value }
}

/// Reads the definition's sequence and its key, and writes the key: what an asset-transfer create leaves behind.
fn transaction(number: usize, endorsers: &[&'static Actor]) -> Bytes {
    let mut lifecycle = NsRwset { namespace: "_lifecycle".to_owned(), ..NsRwset::default() };
    let version = Version { block_num: 1, tx_num: 0 };
    lifecycle.public.reads = vec![KvRead { key: "namespaces/fields/cc/Sequence".to_owned(), version: Some(version) }];
    let mut own = NsRwset { namespace: "cc".to_owned(), ..NsRwset::default() };
    let key = format!("asset{number:08}");
    own.public.reads = vec![KvRead { key: key.clone(), version: None }];
    own.public.writes = vec![KvWrite { key, is_delete: false, value: Bytes::from(vec![b'v'; 100]) }];
    Spec::new(number as u64, TxRwset { namespaces: vec![lifecycle, own] }, endorsers).build()
}

fn signed_block(header: BlockHeader, envelopes: Vec<Bytes>, orderer: &Actor) -> Bytes {
    let value = OrdererBlockMetadata { last_config: Some(LastConfig { index: 0 }), ..OrdererBlockMetadata::default() };
    let value = Bytes::from(value.encode_to_vec());
    let signature_header = fabric_proto::common::SignatureHeader {
        creator: orderer.serialized.clone(),
        nonce: Bytes::from_static(b"nonce"),
    };
    let signature_header = Bytes::from(signature_header.encode_to_vec());
    let signature = orderer.sign(&protoutil::block_signed_bytes(&value, &signature_header, &header));
    let signature = MetadataSignature { signature_header, signature, ..MetadataSignature::default() };
    let signatures = Metadata { value, signatures: vec![signature] };
    let mut metadata = vec![Bytes::new(); protoutil::METADATA_SLOTS];
    metadata[0] = signatures.encode_to_vec().into();
    let block = Block {
        header: Some(header),
        data: Some(BlockData { data: envelopes }),
        metadata: Some(BlockMetadata { metadata }),
    };
    block.encode_to_vec().into()
}

/// User and system time of this process, from the kernel's account of it (ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|index| fields[*index].parse::<f64>().unwrap()).sum();
    ticks / 100.0
}
