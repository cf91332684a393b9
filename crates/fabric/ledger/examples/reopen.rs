//! How long creating, opening after a kill, opening after a clean close and closing take: `reopen BLOCKS TRANSACTIONS BYTES`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::{path::Path, time::Instant};

use bytes::Bytes;
use fabric_ledger::{
    BlockStore, BlockToCommit, Ledger, LedgerError, Options, TxToCommit,
    rwset::{NsRwset, TxRwset},
};
use fabric_proto::{
    common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload, SignatureHeader},
    kvrwset::{KvWrite, KvrwSet},
    protos::{
        ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ProposalResponsePayload, Transaction,
        TransactionAction, TxValidationCode,
    },
};
use prost::Message;

const FOLDER: &str = "KONSORT_REOPEN_FOLDER";

fn encode(message: impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

fn envelope(txid: &str, rwset: &TxRwset, padding: &Bytes) -> Bytes {
    let action = ChaincodeAction { results: rwset.encode(), ..ChaincodeAction::default() };
    let response = ProposalResponsePayload { extension: encode(action), ..ProposalResponsePayload::default() };
    let endorsed =
        ChaincodeEndorsedAction { proposal_response_payload: encode(response), ..ChaincodeEndorsedAction::default() };
    let payload = ChaincodeActionPayload { action: Some(endorsed), ..ChaincodeActionPayload::default() };
    let transaction =
        Transaction { actions: vec![TransactionAction { payload: encode(payload), ..TransactionAction::default() }] };
    wrap(3, txid, encode(transaction), padding)
}

fn wrap(kind: i32, txid: &str, data: Bytes, padding: &Bytes) -> Bytes {
    let channel =
        ChannelHeader { r#type: kind, tx_id: txid.into(), channel_id: "ch".into(), ..ChannelHeader::default() };
    let header = Header { channel_header: encode(channel), signature_header: encode(SignatureHeader::default()) };
    encode(Envelope { payload: encode(Payload { header: Some(header), data }), signature: padding.clone() })
}

fn block(number: u64, previous_hash: Bytes, data: Vec<Bytes>) -> Block {
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash: Bytes::from_static(&[7; 32]) }),
        data: Some(BlockData { data }),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); 5] }),
    }
}

fn next(number: u64, previous: Bytes, count: u64, padding: &Bytes) -> BlockToCommit {
    let (mut data, mut transactions) = (Vec::new(), Vec::new());
    for index in 0..count {
        let id = number * count + index;
        let txid = format!("{id:064x}");
        let write = KvWrite { key: format!("key{id:08}"), is_delete: false, value: Bytes::from(vec![b'v'; 100]) };
        let namespace = NsRwset {
            namespace: "basic".into(),
            public: KvrwSet { writes: vec![write], ..KvrwSet::default() },
            collections: Vec::new(),
        };
        let rwset = TxRwset { namespaces: vec![namespace] };
        data.push(envelope(&txid, &rwset, padding));
        transactions.push(TxToCommit { txid, code: TxValidationCode::Valid, rwset: Some(rwset) });
    }
    BlockToCommit { block: block(number, previous, data), transactions }
}

/// CPU time of this process so far, all threads; the kernel counts in hundredths of a second.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let (start, before) = (Instant::now(), cpu());
    let out = run();
    println!("{what:<34} {:>8.1} ms, {:>5} ms of CPU", start.elapsed().as_secs_f64() * 1e3, cpu() - before);
    out
}

fn fill(folder: &Path, blocks: u64, count: u64, bytes: usize) -> Result<(), LedgerError> {
    let genesis = block(0, Bytes::new(), vec![wrap(1, "", Bytes::from_static(b"configuration"), &Bytes::new())]);
    let ledger = timed("create", || Ledger::create(folder, "ch", &genesis, Options::default()))?;
    let padding = Bytes::from(vec![b's'; bytes]);
    timed("write", || {
        for _ in 0..blocks {
            ledger.commit(next(ledger.height(), ledger.info().current_hash, count, &padding))?;
        }
        Ok::<(), LedgerError>(())
    })?;
    // As a kill does: nothing is closed.
    std::process::abort();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [blocks, count, bytes] = numbers[..] else { return Err("give BLOCKS TRANSACTIONS BYTES".into()) };
    if let Some(folder) = std::env::var_os(FOLDER) {
        return Ok(fill(Path::new(&folder), blocks, count, usize::try_from(bytes)?)?);
    }
    let scratch = std::env::temp_dir().join(format!("konsort-reopen-{}", std::process::id()));
    let folder = scratch.join("ledger");
    let status = std::process::Command::new(std::env::current_exe()?)
        .args(std::env::args().skip(1))
        .env(FOLDER, &folder)
        .status()?;
    println!("writer ended: {status}");
    drop(timed("block files alone", || BlockStore::open(folder.join("blocks")))?);
    let ledger = timed("open after the kill", || Ledger::open(&folder, "ch", Options::default()))?;
    timed("close", || drop(ledger));
    let ledger = timed("open after a clean close", || Ledger::open(&folder, "ch", Options::default()))?;
    timed("close", || drop(ledger));
    std::fs::remove_dir_all(&scratch)?;
    Ok(())
}
