//! Making chains: blocks around read-write sets, deterministic random ones among them.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_ledger::{
    BlockToCommit, DumpedRow, Height, Ledger, StateReader, StateSnapshot, TxToCommit, VersionedValue,
    rwset::{CollectionRwset, NsRwset, TxRwset},
};
use fabric_proto::{
    common::{Block, BlockData, BlockHeader, BlockMetadata, ChannelHeader, Envelope, Header, Payload, SignatureHeader},
    kvrwset::{
        HashedRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash, KvWrite, KvWriteHash,
        KvrwSet, QueryReads, RangeQueryInfo, Version, range_query_info::ReadsInfo,
    },
    protos::{
        ChaincodeAction, ChaincodeActionPayload, ChaincodeEndorsedAction, ProposalResponsePayload, Transaction,
        TransactionAction, TxValidationCode,
    },
};
use konsort_crypto::hash::sha256;
use prost::Message;

fn encode(message: impl Message) -> Bytes {
    Bytes::from(message.encode_to_vec())
}

/// An endorser transaction that carries the set; unsigned, as the ledger judges no signature.
pub(crate) fn envelope(txid: &str, rwset: &TxRwset) -> Bytes {
    let action = ChaincodeAction { results: rwset.encode(), ..ChaincodeAction::default() };
    let response = ProposalResponsePayload { extension: encode(action), ..ProposalResponsePayload::default() };
    let endorsed =
        ChaincodeEndorsedAction { proposal_response_payload: encode(response), ..ChaincodeEndorsedAction::default() };
    let payload = ChaincodeActionPayload { action: Some(endorsed), ..ChaincodeActionPayload::default() };
    let transaction =
        Transaction { actions: vec![TransactionAction { payload: encode(payload), ..TransactionAction::default() }] };
    wrap(3, txid, encode(transaction))
}

fn wrap(kind: i32, txid: &str, data: Bytes) -> Bytes {
    let channel = ChannelHeader {
        r#type: kind,
        tx_id: txid.into(),
        channel_id: "ch".into(),
        timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 }),
        ..ChannelHeader::default()
    };
    let header = Header { channel_header: encode(channel), signature_header: encode(SignatureHeader::default()) };
    encode(Envelope { payload: encode(Payload { header: Some(header), data }), signature: Bytes::from("s") })
}

pub(crate) fn block(number: u64, previous_hash: Bytes, data: Vec<Bytes>) -> Block {
    let data_hash = Bytes::copy_from_slice(&sha256(&data.concat()));
    Block {
        header: Some(BlockHeader { number, previous_hash, data_hash }),
        data: Some(BlockData { data }),
        metadata: Some(BlockMetadata { metadata: vec![Bytes::new(); 5] }),
    }
}

pub(crate) fn genesis() -> Block {
    block(0, Bytes::new(), vec![wrap(1, "", Bytes::from("configuration"))])
}

/// A block of these transactions that follows the ledger's last staged block.
pub(crate) fn next(number: u64, previous_hash: Bytes, rwsets: Vec<TxRwset>) -> BlockToCommit {
    let txids: Vec<String> =
        (0..rwsets.len()).map(|index| hex::encode(sha256(format!("{number}/{index}").as_bytes()))).collect();
    let data = txids.iter().zip(&rwsets).map(|(txid, rwset)| envelope(txid, rwset)).collect();
    let transactions = txids
        .into_iter()
        .zip(rwsets)
        .map(|(txid, rwset)| TxToCommit { txid, code: TxValidationCode::Valid, rwset: Some(rwset) })
        .collect();
    BlockToCommit { block: block(number, previous_hash, data), transactions }
}

pub(crate) fn write(key: &str, value: &str) -> KvWrite {
    KvWrite { key: key.into(), is_delete: value.is_empty(), value: Bytes::copy_from_slice(value.as_bytes()) }
}

pub(crate) fn metadata(value: &str) -> Vec<KvMetadataEntry> {
    if value.is_empty() {
        return Vec::new();
    }
    vec![KvMetadataEntry { name: "VALIDATION_PARAMETER".into(), value: Bytes::copy_from_slice(value.as_bytes()) }]
}

/// A set with public writes in one namespace.
pub(crate) fn writes(namespace: &str, writes: &[(&str, &str)]) -> TxRwset {
    let writes = writes.iter().map(|(key, value)| write(key, value)).collect();
    TxRwset {
        namespaces: vec![NsRwset {
            namespace: namespace.into(),
            public: KvrwSet { writes, ..KvrwSet::default() },
            collections: Vec::new(),
        }],
    }
}

pub(crate) fn dump(state: &StateSnapshot) -> Vec<DumpedRow> {
    state.dump().collect::<Result<_, _>>().unwrap()
}

/// A small generator, so that a child process and its parent make the same chain from a number.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

pub(crate) const COLLECTION: &str = "coll";

fn version(random: &mut Random, row: Option<&VersionedValue>) -> Option<Version> {
    match random.below(12) {
        0 => None,
        1 => Some(Height::new(1, 0).to_proto()),
        _ => row.map(|row| row.version.to_proto()),
    }
}

/// A random transaction over few keys, mostly reading what is there now: reads, ranges, writes, deletes, metadata, hashed collections.
pub(crate) fn random_rwset(random: &mut Random, state: &dyn StateReader) -> TxRwset {
    let mut namespaces = Vec::new();
    for namespace in ["a", "b"] {
        if random.one_in(3) {
            continue;
        }
        let mut public = KvrwSet::default();
        let key = |random: &mut Random| format!("k{}", random.below(9));
        let mut reads = BTreeMap::new();
        for _ in 0..random.below(3) {
            let key = key(random);
            let row = state.get(namespace, &key).unwrap();
            reads.insert(key, version(random, row.as_ref()));
        }
        public.reads = reads.into_iter().map(|(key, version)| KvRead { key, version }).collect();
        if random.one_in(3) {
            public.range_queries_info.push(range(random, namespace, state));
        }
        let mut values = BTreeMap::new();
        for _ in 0..random.below(3) {
            let value = if random.one_in(4) { String::new() } else { format!("v{}", random.below(1000)) };
            values.insert(key(random), value);
        }
        public.writes = values.iter().map(|(key, value)| write(key, value)).collect();
        if random.one_in(3) {
            let entries = if random.one_in(3) { Vec::new() } else { metadata("policy") };
            public.metadata_writes.push(KvMetadataWrite { key: key(random), entries });
        }
        let collections = if random.one_in(2) { vec![hashed(random, namespace, state)] } else { Vec::new() };
        namespaces.push(NsRwset { namespace: namespace.into(), public, collections });
    }
    TxRwset { namespaces }
}

fn hashed(random: &mut Random, namespace: &str, state: &dyn StateReader) -> CollectionRwset {
    let hash = |text: String| Bytes::copy_from_slice(&sha256(text.as_bytes()));
    let mut hashed = HashedRwSet::default();
    if random.one_in(2) {
        let key_hash = hash(format!("p{}", random.below(5)));
        let row = state.get_hash(namespace, COLLECTION, &key_hash).unwrap();
        hashed.hashed_reads.push(KvReadHash { key_hash, version: version(random, row.as_ref()) });
    }
    let is_delete = random.one_in(4);
    hashed.hashed_writes.push(KvWriteHash {
        key_hash: hash(format!("p{}", random.below(5))),
        is_delete,
        value_hash: if is_delete { Bytes::new() } else { hash(format!("v{}", random.below(50))) },
        is_purge: is_delete && random.one_in(2),
    });
    if random.one_in(4) {
        let key_hash = hash(format!("p{}", random.below(5)));
        hashed.metadata_writes.push(KvMetadataWriteHash { key_hash, entries: metadata("private policy") });
    }
    CollectionRwset { name: COLLECTION.into(), hashed, private_hash: hash("set".into()) }
}

fn range(random: &mut Random, namespace: &str, state: &dyn StateReader) -> RangeQueryInfo {
    let start = format!("k{}", random.below(9));
    let end = if random.one_in(3) { String::new() } else { format!("k{}", random.below(9)) };
    let all: Vec<KvRead> = state
        .range(namespace, &start, &end)
        .unwrap()
        .map(|row| row.unwrap())
        .map(|row| KvRead { key: row.key, version: Some(row.value.version.to_proto()) })
        .collect();
    let exhausted = all.is_empty() || random.one_in(2);
    let taken = if exhausted { all } else { all[..=random.below(all.len() as u64) as usize].to_vec() };
    let end_key = if exhausted { end } else { taken.last().unwrap().key.clone() };
    RangeQueryInfo {
        start_key: start,
        end_key,
        itr_exhausted: exhausted,
        reads_info: (!taken.is_empty()).then_some(ReadsInfo::RawReads(QueryReads { kv_reads: taken })),
    }
}

/// Block `number` of the random chain with this seed, over the ledger's current state.
pub(crate) fn random_block(seed: u64, ledger: &Ledger, previous: Bytes) -> BlockToCommit {
    let number = ledger.staged_height();
    let mut random = Random::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    let view = ledger.view();
    let count = 1 + random.below(6);
    let rwsets = (0..count).map(|_| random_rwset(&mut random, &view)).collect();
    next(number, previous, rwsets)
}
