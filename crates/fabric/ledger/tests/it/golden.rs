//! The chain of a real network, replayed: verdicts of concurrency control, commit hashes, stored bytes, state, histories, read-write sets.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use fabric_ledger::{
    BlockToCommit, CollectionSet, Collections, Height, Ledger, LedgerError, Options, Simulator, StateGet, StateReader,
    StateSnapshot, TxToCommit, decode_metadata, mvcc, rwset::TxRwset, transaction_id,
};
use fabric_proto::{
    common::{Block, ChannelHeader, Envelope, Payload},
    kvrwset::{KvrwSet, QueryReads, RangeQueryInfo, range_query_info::ReadsInfo},
    protos::{
        BlockAndPrivateData, ChaincodeAction, ChaincodeActionPayload, ProposalResponsePayload, Transaction,
        TxValidationCode, deliver_response,
    },
};
use konsort_crypto::hash::sha256;
use prost::Message;
use serde_json::Value;

use crate::chain::dump;

const CONFLICTS: [u8; 2] = [11, 12];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric")
}

fn read(path: &str) -> Bytes {
    let path = folder().join(path);
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn golden_block(number: u64) -> (Bytes, Block) {
    let bytes = read(&format!("blocks/{number:03}.block"));
    let block = Block::decode(bytes.clone()).unwrap();
    (bytes, block)
}

/// The read-write set of an envelope, taken apart independently of the ledger's own code; with its bytes for chaincode.
fn rwset_of(envelope: &Bytes) -> Option<(TxRwset, Option<Bytes>)> {
    let payload = Payload::decode(Envelope::decode(envelope.clone()).ok()?.payload).ok()?;
    let channel = ChannelHeader::decode(payload.header?.channel_header).ok()?;
    if channel.r#type == 1 {
        return Some((TxRwset::config(payload.data), None));
    }
    let action = Transaction::decode(payload.data).ok()?.actions.into_iter().next()?;
    let action = ChaincodeActionPayload::decode(action.payload).ok()?.action?;
    let response = ProposalResponsePayload::decode(action.proposal_response_payload).ok()?;
    let results = ChaincodeAction::decode(response.extension).ok()?.results;
    Some((TxRwset::decode(&results).ok()?, Some(results)))
}

/// The collections of the golden network: definitions as of the blocks that use them.
#[derive(Debug)]
struct GoldenCollections;

impl Collections for GoldenCollections {
    fn collections(&self, _: &dyn StateGet, namespace: &str) -> Result<Option<Arc<CollectionSet>>, LedgerError> {
        let known = [("collShared", 3), ("collOrg1", 0), ("collThird", 100)];
        let set = known.iter().map(|(name, lives)| ((*name).to_owned(), *lives)).collect();
        Ok((namespace == "kv").then(|| Arc::new(set)))
    }
}

fn options() -> Options {
    Options { collections: Arc::new(GoldenCollections), history: true }
}

/// What a peer hands to the ledger: the block as an orderer delivers it, and the verdicts before concurrency control.
fn to_commit(golden: &Block) -> BlockToCommit {
    let mut block = golden.clone();
    let slots = &mut block.metadata.as_mut().unwrap().metadata;
    let flags = std::mem::take(&mut slots[2]);
    slots[4] = Bytes::new();
    let envelopes = &golden.data.as_ref().unwrap().data;
    let transactions = envelopes
        .iter()
        .zip(flags)
        .map(|(envelope, flag)| {
            let flag = if CONFLICTS.contains(&flag) { 0 } else { flag };
            let code = TxValidationCode::try_from(i32::from(flag)).unwrap();
            let rwset = if flag == 0 { rwset_of(envelope).map(|(rwset, _)| rwset) } else { None };
            TxToCommit { txid: transaction_id(envelope).unwrap_or_default(), code, rwset }
        })
        .collect();
    BlockToCommit { block, transactions }
}

/// Simulates again what a valid transaction did and expects its very bytes.
fn simulate_again(state: Arc<dyn StateReader>, rwset: &TxRwset) -> Bytes {
    let simulator = Simulator::new("again", state, Arc::new(GoldenCollections));
    for ns in rwset.namespaces.iter().rev() {
        let name = ns.namespace.as_str();
        for write in ns.public.writes.iter().rev() {
            simulator.set_state(name, &write.key, write.value.clone()).unwrap();
        }
        for write in &ns.public.metadata_writes {
            let metadata = write.entries.iter().map(|entry| (entry.name.clone(), entry.value.clone())).collect();
            simulator.set_state_metadata(name, &write.key, metadata).unwrap();
        }
        for query in &ns.public.range_queries_info {
            run_range(&simulator, name, query);
        }
        for read in ns.public.reads.iter().rev() {
            simulator.get_state(name, &read.key).unwrap();
            simulator.get_state(name, &read.key).unwrap();
        }
    }
    simulator.finish().unwrap().public
}

fn run_range(simulator: &Simulator, namespace: &str, query: &RangeQueryInfo) {
    let end = if query.itr_exhausted { query.end_key.as_str() } else { "" };
    let mut rows = simulator.range(namespace, &query.start_key, end).unwrap();
    while let Some(row) = rows.next_row().unwrap() {
        if !query.itr_exhausted && row.key == query.end_key {
            break;
        }
    }
}

#[derive(Default)]
struct Seen {
    resimulated: usize,
    merkle: usize,
    raw: usize,
    conflicts: BTreeMap<u8, usize>,
    private: usize,
}

#[test]
fn the_chain_replays_with_every_verdict_hash_and_row() {
    let scratch = tempfile::tempdir().unwrap();
    let blocks = json("blocks.json");
    let queries = json("queries.json");
    let (_, genesis) = golden_block(0);
    let ledger = Ledger::create(scratch.path(), "goldenchannel", &genesis, options()).unwrap();
    assert_eq!(ledger.blocks().block(0).unwrap().unwrap(), golden_block(0).0);
    let mut seen = Seen::default();
    let mut asked = 0;
    for number in 1..105 {
        let (bytes, golden) = golden_block(number);
        resimulate(&ledger, &golden, &mut seen);
        let staged = ledger.stage(to_commit(&golden)).unwrap();
        // Every third block waits for its successors, so that validation also runs over blocks that are not on disk.
        if number % 3 == 0 || number == 54 || number == 104 {
            ledger.flush().unwrap();
        }
        assert_eq!(
            hex::encode(&staged.flags),
            text(&blocks[number as usize]["transaction_filter_hex"]),
            "block {number}"
        );
        for flag in staged.flags.iter().filter(|flag| CONFLICTS.contains(flag)) {
            *seen.conflicts.entry(*flag).or_default() += 1;
        }
        assert_eq!(hex::encode(&staged.commit_hash), text(&blocks[number as usize]["commit_hash"]), "block {number}");
        assert_eq!(hex::encode(&staged.hash), text(&blocks[number as usize]["header_hash"]), "block {number}");
        assert_eq!(staged.bytes, bytes, "block {number}");
        if number + 1 == 55 {
            asked += ask(&ledger, &queries);
        }
    }
    // How many transactions of this chain can be simulated again: a lower number would mean that the test looks away.
    assert_eq!((seen.resimulated, seen.private, seen.merkle), (57, 4, 3));
    assert!(seen.raw >= 3, "{}", seen.raw);
    assert!(seen.conflicts.contains_key(&11) && seen.conflicts.contains_key(&12), "{:?}", seen.conflicts);
    assert_eq!(asked, 6);
    compare_state(&ledger.snapshot());
    compare_index(&ledger, &blocks);
    assert_eq!(ledger.info().height, 105);
    assert_eq!(hex::encode(ledger.info().current_hash), text(&blocks[104]["header_hash"]));

    // The same after opening, and after deriving everything from the blocks again (which also checks all commit hashes).
    let before = dump(&ledger.snapshot());
    let commit_hash = ledger.commit_hash();
    drop(ledger);
    let ledger = Ledger::open(scratch.path(), "goldenchannel", options()).unwrap();
    assert_eq!(ledger.commit_hash(), commit_hash);
    assert_eq!(dump(&ledger.snapshot()), before);
    drop(ledger);
    let ledger = Ledger::rebuild(scratch.path(), "goldenchannel", options()).unwrap();
    assert_eq!(dump(&ledger.snapshot()), before);
    compare_index(&ledger, &blocks);
    delete_then_metadata(&ledger.snapshot());
    drop(ledger);
    assert!(matches!(Ledger::open(scratch.path(), "other", options()), Err(LedgerError::Folder(_))));
}

fn resimulate(ledger: &Ledger, golden: &Block, seen: &mut Seen) {
    let state: Arc<dyn StateReader> = Arc::new(ledger.view());
    let number = golden.header.as_ref().unwrap().number;
    let flags = golden.metadata.as_ref().unwrap().metadata[2].clone();
    let pvt = folder().join(format!("deliver/{number:03}.withpvt.pb"));
    let private = std::fs::read(pvt).ok().map(|bytes| private_data(Bytes::from(bytes)));
    for (index, envelope) in golden.data.as_ref().unwrap().data.iter().enumerate() {
        let Some((rwset, Some(bytes))) = rwset_of(envelope).filter(|_| flags[index] == 0) else { continue };
        let ranges = rwset.namespaces.iter().flat_map(|ns| &ns.public.range_queries_info);
        for query in ranges {
            match query.reads_info {
                Some(ReadsInfo::ReadsMerkleHashes(_)) => seen.merkle += 1,
                _ => seen.raw += 1,
            }
        }
        if rwset.namespaces.iter().any(|ns| !ns.collections.is_empty()) {
            if let Some(private) = &private {
                seen.private += usize::from(resimulate_private(&state, &rwset, &bytes, private, index as u64));
            }
            continue;
        }
        // From block 75 on endorsed results are crafted by hand, in any order.
        if number < 75 || number == 104 {
            assert_eq!(simulate_again(Arc::clone(&state), &rwset), bytes, "block {number} transaction {index}");
            seen.resimulated += 1;
        }
    }
}

fn private_data(bytes: Bytes) -> BTreeMap<u64, Vec<(String, String, Bytes)>> {
    let message =
        fabric_proto::protos::DeliverResponse::decode(bytes.clone()).ok().and_then(|response| response.r#type);
    let found = match message {
        Some(deliver_response::Type::BlockAndPrivateData(found)) => found,
        _ => BlockAndPrivateData::decode(bytes).unwrap(),
    };
    found
        .private_data_map
        .into_iter()
        .map(|(index, set)| {
            let flat = set.ns_pvt_rwset.into_iter().flat_map(|ns| {
                ns.collection_pvt_rwset
                    .into_iter()
                    .map(move |collection| (ns.namespace.clone(), collection.collection_name, collection.rwset))
            });
            (index, flat.collect())
        })
        .collect()
}

/// Writes the delivered private values again: hashes, order and the hash of the private set must come out as they stand in the block.
fn resimulate_private(
    state: &Arc<dyn StateReader>,
    rwset: &TxRwset,
    bytes: &Bytes,
    private: &BTreeMap<u64, Vec<(String, String, Bytes)>>,
    index: u64,
) -> bool {
    let Some(sets) = private.get(&index) else { return false };
    let has_reads = rwset.namespaces.iter().flat_map(|ns| &ns.collections).any(|c| !c.hashed.hashed_reads.is_empty());
    let collections = rwset.namespaces.iter().map(|ns| ns.collections.len()).sum::<usize>();
    // What was purged later is no longer delivered whole.
    let whole = sets.iter().all(|(namespace, collection, set)| {
        let ns = rwset.namespaces.iter().find(|ns| ns.namespace == *namespace).unwrap();
        ns.collections.iter().any(|of| of.name == *collection && of.private_hash == sha256(set)[..])
    });
    if has_reads || !whole || collections != sets.len() {
        return false;
    }
    let simulator = Simulator::new("again", Arc::clone(state), Arc::new(GoldenCollections));
    for ns in &rwset.namespaces {
        for read in &ns.public.reads {
            simulator.get_state(&ns.namespace, &read.key).unwrap();
        }
        for write in &ns.public.writes {
            simulator.set_state(&ns.namespace, &write.key, write.value.clone()).unwrap();
        }
    }
    for (namespace, collection, set) in sets {
        let ns = rwset.namespaces.iter().find(|ns| ns.namespace == *namespace).unwrap();
        let hashed = &ns.collections.iter().find(|c| c.name == *collection).unwrap().hashed;
        for write in KvrwSet::decode(set.clone()).unwrap().writes {
            let key_hash = sha256(write.key.as_bytes());
            if hashed.hashed_writes.iter().any(|hash| hash.key_hash == key_hash[..] && hash.is_purge) {
                simulator.purge_private_data(namespace, collection, &write.key).unwrap();
            } else {
                simulator.set_private_data(namespace, collection, &write.key, write.value).unwrap();
            }
        }
    }
    let results = simulator.finish().unwrap();
    assert_eq!(results.public, bytes);
    let again = results.private.unwrap();
    let flat: Vec<Bytes> = again
        .ns_pvt_rwset
        .into_iter()
        .flat_map(|ns| ns.collection_pvt_rwset)
        .map(|collection| collection.rwset)
        .collect();
    assert_eq!(flat, sets.iter().map(|(_, _, set)| set.clone()).collect::<Vec<_>>());
    true
}

/// Histories, ranges and pages that the real network answered at this height.
fn ask(ledger: &Ledger, queries: &Value) -> usize {
    let mut asked = 0;
    for query in queries.as_array().unwrap() {
        let args: Vec<&str> = query["args"].as_array().into_iter().flatten().map(text).collect();
        let payload: Value = serde_json::from_str(text(&query["response"]["payload"])).unwrap_or_default();
        let items = |rows: &Value| -> Vec<(String, String)> {
            rows.as_array().unwrap().iter().map(|row| (text(&row["K"]).into(), text(&row["V"]).into())).collect()
        };
        let string = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        match args.first().copied() {
            Some("history") => {
                let got: Vec<_> = ledger.history("kv", args[1]).unwrap().map(|entry| entry.unwrap()).collect();
                let want = payload.as_array().unwrap();
                assert_eq!(got.len(), want.len());
                for (got, want) in got.iter().zip(want) {
                    assert_eq!(got.txid, text(&want["txid"]));
                    assert_eq!(string(&got.value), text(&want["value"]));
                    assert_eq!(got.is_delete, want["delete"]);
                    assert!(got.timestamp.is_some());
                }
            }
            Some("rangePage") => {
                let simulator = ledger.simulator("page");
                let start = if args[4].is_empty() { args[1] } else { args[4] };
                let mut rows = simulator.range_page("kv", start, args[2], args[3].parse().unwrap()).unwrap();
                let mut got = Vec::new();
                while let Some(row) = rows.next_row().unwrap() {
                    got.push((row.key, string(&row.value)));
                }
                assert_eq!(got, items(&payload["items"]));
                assert_eq!(rows.bookmark().unwrap(), text(&payload["bookmark"]));
            }
            Some("range") => {
                let simulator = ledger.query();
                let mut rows = simulator.range("kv", args[1], args[2]).unwrap();
                let mut got = Vec::new();
                while let Some(row) = rows.next_row().unwrap() {
                    got.push((row.key, string(&row.value)));
                }
                assert_eq!(got, items(&payload));
            }
            _ => continue,
        }
        asked += 1;
    }
    asked
}

type Row = (String, String, Vec<u8>);

fn compare_state(state: &StateSnapshot) {
    let mut got: BTreeMap<Row, _> = BTreeMap::new();
    for row in dump(state) {
        let key = (row.namespace, row.collection.unwrap_or_default(), row.key.to_vec());
        assert!(got.insert(key, row.value).is_none());
    }
    for dump in ["state/peer0_org1.json", "state/peer0_org2.json"] {
        let mut rows = 0;
        for row in json(dump)["state"].as_array().unwrap() {
            let namespace = text(&row["namespace"]);
            if namespace.contains("$$p") {
                continue;
            }
            let (namespace, collection) = namespace.split_once("$$h").unwrap_or((namespace, ""));
            let key = hex::decode(text(&row["key_hex"])).unwrap();
            let have = got.get(&(namespace.into(), collection.into(), key.clone()));
            let have = have.unwrap_or_else(|| panic!("{namespace} {collection} {} is missing", hex::encode(&key)));
            assert_eq!(hex::encode(&have.value), text(&row["value_hex"]));
            assert_eq!(hex::encode(&have.metadata), text(&row["metadata_hex"]));
            assert_eq!(have.version, Height::new(row["block"].as_u64().unwrap(), row["tx"].as_u64().unwrap()));
            if !have.metadata.is_empty() {
                assert!(!decode_metadata(&have.metadata).unwrap().is_empty());
            }
            rows += 1;
        }
        assert_eq!(rows, got.len(), "{dump}");
    }
}

fn compare_index(ledger: &Ledger, blocks: &Value) {
    let mut first: BTreeMap<String, (u64, usize)> = BTreeMap::new();
    for block in blocks.as_array().unwrap() {
        let number = block["number"].as_u64().unwrap();
        let hash = hex::decode(text(&block["header_hash"])).unwrap();
        assert_eq!(ledger.blocks().block_by_hash(&hash).unwrap(), ledger.blocks().block(number).unwrap());
        for (index, transaction) in block["transactions"].as_array().unwrap().iter().enumerate() {
            let txid = text(&transaction["txid"]);
            if !txid.is_empty() {
                first.entry(txid.to_owned()).or_insert((number, index));
            }
        }
    }
    for (txid, (number, index)) in &first {
        let found = ledger.blocks().transaction(txid).unwrap().unwrap();
        assert_eq!((found.block, found.index as usize), (*number, *index), "{txid}");
        let golden = golden_block(*number).1;
        assert_eq!(found.envelope, golden.data.unwrap().data[*index]);
        assert_eq!(found.code, golden.metadata.unwrap().metadata[2][*index]);
        assert_eq!(ledger.blocks().transaction_code(txid).unwrap(), Some((found.code, *number)));
        assert!(ledger.txid_exists(txid).unwrap());
    }
    assert!(!ledger.txid_exists("unknown").unwrap());
    assert!(ledger.blocks().transaction("unknown").unwrap().is_none());
    assert!(ledger.blocks().block(105).unwrap().is_none());
}

/// The block that stops a stock peer: a delete of a key, then a metadata write of the same key, both valid.
fn delete_then_metadata(state: &StateSnapshot) {
    let block = Block::decode(read("extra/delete_then_metadata/111.block")).unwrap();
    let mut transactions: Vec<TxToCommit> = Vec::new();
    for envelope in &block.data.unwrap().data {
        let (mut rwset, _) = rwset_of(envelope).unwrap();
        for ns in &mut rwset.namespaces {
            // Read at another height than this chain has.
            ns.public.reads.clear();
        }
        transactions.push(TxToCommit { txid: String::new(), code: TxValidationCode::Valid, rwset: Some(rwset) });
    }
    let updates = mvcc::validate(111, &mut transactions, state).unwrap();
    assert!(transactions.iter().all(|transaction| transaction.code == TxValidationCode::Valid));
    let keys = &updates.public["kv"];
    assert_eq!(keys.len(), 1);
    let update = &keys["a1"];
    assert_eq!((update.value.clone(), update.version), (None, Height::new(111, 0)));
}

#[test]
fn merkle_summaries_of_the_chain_are_of_the_expected_shape() {
    let mut summaries = 0;
    for number in 0..105 {
        for envelope in &golden_block(number).1.data.unwrap().data {
            let Some((rwset, _)) = rwset_of(envelope) else { continue };
            for query in rwset.namespaces.iter().flat_map(|ns| &ns.public.range_queries_info) {
                match &query.reads_info {
                    Some(ReadsInfo::ReadsMerkleHashes(summary)) => {
                        assert_eq!(summary.max_degree, 50);
                        summaries += 1;
                    }
                    Some(ReadsInfo::RawReads(QueryReads { kv_reads })) => assert!(kv_reads.len() <= 50),
                    None => {}
                }
            }
        }
    }
    assert!(summaries >= 3, "{summaries}");
}
