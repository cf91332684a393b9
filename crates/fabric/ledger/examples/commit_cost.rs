//! What a commit costs: CPU time per transaction of concurrency control, block file, indexes, state and history.
//!
//! `cargo run --release -p fabric-ledger --example commit_cost [BLOCKS] [TRANSACTIONS]`
//!
//! Every transaction reads one key and writes it (100 bytes); half of the keys are new. Envelopes weigh 4 KiB. Decoding and
//! signatures are not part of it: that is validation. The folder is on the disk of the system's temporary folder.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_ledger::{
    BlockToCommit, Ledger, Options, StateReader, TxToCommit,
    rwset::{NsRwset, TxRwset},
};
use fabric_proto::{
    common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload},
    kvrwset::{KvRead, KvWrite, KvrwSet},
    protos::TxValidationCode,
};
use konsort_crypto::hash::sha256;
use prost::Message as _;

/// CPU time of this process so far, all threads; the kernel counts in hundredths of a second.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn genesis() -> Block {
    let channel = ChannelHeader { r#type: 1, ..ChannelHeader::default() };
    let header = Header { channel_header: channel.encode_to_vec().into(), ..Header::default() };
    let payload = Payload { header: Some(header), data: Bytes::from("configuration") };
    let envelope = Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() };
    block(0, Bytes::new(), vec![envelope.encode_to_vec().into()])
}

fn block(number: u64, previous_hash: Bytes, data: Vec<Bytes>) -> Block {
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash: Bytes::from(vec![7; 32]) }),
        data: Some(BlockData { data }),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); 5] }),
    }
}

fn input(ledger: &Ledger, number: u64, previous: Bytes, count: u64) -> BlockToCommit {
    let view = ledger.view();
    let filler = Bytes::from(vec![b'e'; 4096]);
    let mut transactions = Vec::new();
    for index in 0..count {
        let serial = number * count + index;
        let key = format!("asset{:08}", if serial.is_multiple_of(2) { serial } else { serial / 3 * 2 });
        let version = view.version("basic", &key).unwrap().map(fabric_ledger::Height::to_proto);
        let public = KvrwSet {
            reads: vec![KvRead { key: key.clone(), version }],
            writes: vec![KvWrite { key, is_delete: false, value: Bytes::from(vec![b'v'; 100]) }],
            ..KvrwSet::default()
        };
        let namespaces = vec![NsRwset { namespace: "basic".into(), public, collections: Vec::new() }];
        transactions.push(TxToCommit {
            txid: hex(&sha256(&serial.to_be_bytes())),
            code: TxValidationCode::Valid,
            rwset: Some(TxRwset { namespaces }),
        });
    }
    BlockToCommit { block: block(number, previous, vec![filler; count as usize]), transactions }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let blocks = arguments.next().unwrap_or(200);
    let count = arguments.next().unwrap_or(500);
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), "bench", &genesis(), Options::default()).unwrap();
    let mut previous = ledger.info().current_hash;
    let (mut preparing, mut staging, mut flushing) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let mut preparing_cpu = Duration::ZERO;
    let started = cpu();
    let begun = Instant::now();
    for number in 1..=blocks {
        let (cpu_before, at) = (cpu(), Instant::now());
        let input = input(&ledger, number, previous, count);
        preparing += at.elapsed();
        preparing_cpu += cpu().saturating_sub(cpu_before);
        let at = Instant::now();
        let staged = ledger.stage(input).unwrap();
        staging += at.elapsed();
        let at = Instant::now();
        ledger.flush().unwrap();
        flushing += at.elapsed();
        previous = staged.hash.clone();
    }
    let per_tx = |time: Duration| time.as_secs_f64() * 1e6 / (blocks * count) as f64;
    println!("{blocks} blocks of {count} transactions in {:.2} s", begun.elapsed().as_secs_f64());
    println!(
        "wall us per transaction: making the input {:.1}, stage {:.1}, flush {:.1}",
        per_tx(preparing),
        per_tx(staging),
        per_tx(flushing)
    );
    let ledger_cpu = cpu().saturating_sub(started).saturating_sub(preparing_cpu);
    println!(
        "CPU us per transaction, all threads: {:.1} (making the input took {:.1} more)",
        per_tx(ledger_cpu),
        per_tx(preparing_cpu)
    );
    let height = ledger.height();
    drop(ledger);
    let at = Instant::now();
    let ledger = Ledger::open(folder.path(), "bench", Options::default()).unwrap();
    println!("opened {height} blocks again in {:.0} ms", at.elapsed().as_secs_f64() * 1e3);
    assert_eq!(ledger.height(), height);
}
