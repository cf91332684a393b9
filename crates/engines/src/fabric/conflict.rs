//! Who changed what a transaction had read before it was committed.

use fabric_client::blocks::{Content, OpenBlock, OpenCall, OpenTransaction};
use fabric_proto::kvrwset::{Version, range_query_info::ReadsInfo};
use serde_json::{Value, json};

use super::record::shown_key;

/// Conflicts that are named.
const MAX_CONFLICTS: usize = 16;

/// A range of keys that was read: from the first key up to, but without, the second; an empty second key has no end.
#[derive(Debug)]
struct Range {
    namespace: String,
    from: String,
    to: String,
}

/// What a transaction had read and nobody has been found yet to have changed.
#[derive(Debug)]
pub(super) struct Search {
    keys: Vec<(String, String, Option<Version>)>,
    ranges: Vec<Range>,
    /// The newest version that it saw. All it read was so at that moment, so nothing before it was a conflict.
    seen: Option<(u64, u64)>,
    /// The conflicts.
    pub(super) found: Vec<Value>,
}

impl Search {
    pub(super) fn of(call: &OpenCall) -> Self {
        let mut search = Self { keys: Vec::new(), ranges: Vec::new(), seen: None, found: Vec::new() };
        for namespace in &call.effects {
            let name = &namespace.name;
            let reads = &namespace.public.reads;
            search.keys.extend(reads.iter().map(|read| (name.clone(), read.key.clone(), read.version)));
            for range in &namespace.public.range_queries_info {
                let (from, to) = (range.start_key.clone(), range.end_key.clone());
                search.ranges.push(Range { namespace: name.clone(), from, to });
                if let Some(ReadsInfo::RawReads(reads)) = &range.reads_info {
                    let versions = reads.kv_reads.iter().filter_map(|read| read.version);
                    search.seen = search.seen.max(versions.map(position).max());
                }
            }
        }
        search.seen = search.seen.max(search.keys.iter().filter_map(|(_, _, version)| version.map(position)).max());
        search
    }

    /// Looks at the transactions of a block, the newest first, that were before the one in question.
    pub(super) fn look_at(&mut self, block: &OpenBlock, own: (u64, usize)) {
        for by in block.transactions.iter().rev() {
            let at = (block.number, by.index as u64);
            let earlier = (block.number, by.index) < own && Some(at) > self.seen;
            if let Content::Call(other) = &by.content
                && earlier
                && by.code == fabric_proto::protos::TxValidationCode::Valid
            {
                self.look_at_one(block.number, by, other);
            }
        }
    }

    fn look_at_one(&mut self, height: u64, by: &OpenTransaction, other: &OpenCall) {
        let writes = |namespace: &str, wanted: &dyn Fn(&str) -> bool| {
            let own = other.effects.iter().filter(|known| known.name == namespace);
            own.flat_map(|known| &known.public.writes).map(|write| write.key.clone()).find(|key| wanted(key))
        };
        let mut found = Vec::new();
        self.keys.retain(|(namespace, key, version)| {
            let hit = writes(namespace, &|written| written == key);
            found.extend(hit.iter().map(|_| conflict(namespace, key, version.as_ref(), None, height, by)));
            hit.is_none()
        });
        self.ranges.retain(|range| {
            let inside = |key: &str| key >= range.from.as_str() && (range.to.is_empty() || key < range.to.as_str());
            let hit = writes(&range.namespace, &inside);
            found.extend(hit.iter().map(|key| conflict(&range.namespace, key, None, Some(range), height, by)));
            hit.is_none()
        });
        self.found.extend(found);
        self.found.truncate(MAX_CONFLICTS);
    }

    /// Whether blocks before this one can hold further conflicts.
    pub(super) fn goes_on_before(&self, number: u64) -> bool {
        let open = !self.keys.is_empty() || !self.ranges.is_empty();
        open && self.found.len() < MAX_CONFLICTS && self.seen.is_none_or(|(seen, _)| number > seen)
    }
}

fn position(version: Version) -> (u64, u64) {
    (version.block_num, version.tx_num)
}

fn conflict(
    namespace: &str,
    key: &str,
    read: Option<&Version>,
    range: Option<&Range>,
    height: u64,
    by: &OpenTransaction,
) -> Value {
    let (key, id) = (shown_key(key), &by.id);
    let (english, chinese) = match (range, read) {
        (Some(range), _) => {
            let (from, to) = (shown_key(&range.from), shown_key(&range.to));
            (
                format!("key {key} lies in the range from {from:?} to {to:?} that was read"),
                format!("键 {key} 位于所读取的范围 {from:?} 至 {to:?} 内"),
            )
        }
        (None, Some(read)) => (
            format!("key {key} came from block {} when it was read", read.block_num),
            format!("读取时键 {key} 来自区块 {}", read.block_num),
        ),
        (None, None) => (format!("key {key} did not exist when it was read"), format!("读取时键 {key} 尚不存在")),
    };
    json!({
        "namespace": namespace,
        "key": key,
        "read": read.map(|read| json!({"block": read.block_num, "transaction": read.tx_num})),
        "range": range.map(|range| json!({"from": shown_key(&range.from), "to": shown_key(&range.to)})),
        "changed_by": {"transaction": id, "height": height, "index": by.index, "from": by.creator.to_string()},
        "explanation": {
            "en": format!("{english}; transaction {id} in block {height} changed it"),
            "zh": format!("{chinese}；区块 {height} 中的交易 {id} 修改了它"),
        },
    })
}

#[cfg(test)]
mod tests {
    use fabric_client::blocks::{Member, Namespace};
    use fabric_proto::kvrwset::{KvRead, KvWrite, KvrwSet, RangeQueryInfo};
    use fabric_proto::protos::TxValidationCode;

    use super::*;

    fn read(key: &str, block: u64) -> KvRead {
        KvRead { key: key.into(), version: Some(Version { block_num: block, tx_num: 0 }) }
    }

    fn call(public: KvrwSet) -> OpenCall {
        let namespace = Namespace { name: "basic".into(), public, collections: Vec::new() };
        OpenCall { chaincode: "basic".into(), effects: vec![namespace], ..OpenCall::default() }
    }

    fn block(number: u64, written: &[&str]) -> OpenBlock {
        let writes = |key: &&str| KvWrite { key: (*key).into(), is_delete: false, value: "1".into() };
        let public = KvrwSet { writes: written.iter().map(writes).collect(), ..KvrwSet::default() };
        let transaction = OpenTransaction {
            id: format!("tx{number}"),
            index: 0,
            code: TxValidationCode::Valid,
            creator: Member::default(),
            time: 0,
            content: Content::Call(Box::new(call(public))),
            envelope: fabric_proto::common::Envelope::default(),
        };
        OpenBlock {
            number,
            hash: [0; 32],
            previous_hash: "".into(),
            size: 0,
            is_config: false,
            signers: Vec::new(),
            transactions: vec![transaction],
        }
    }

    #[test]
    fn only_what_changed_after_the_newest_read_is_a_conflict() {
        let mut search = Search::of(&call(KvrwSet { reads: vec![read("a", 2), read("b", 7)], ..KvrwSet::default() }));
        let own = (9, 3);
        search.look_at(&block(9, &["x"]), own);
        assert!(search.goes_on_before(9));
        search.look_at(&block(8, &["a"]), own);
        assert_eq!(search.found[0]["changed_by"]["transaction"], "tx8");
        assert_eq!((&search.found[0]["key"], &search.found[0]["read"]["block"]), (&json!("a"), &json!(2)));
        // When b was read at block 7, everything until then had been written: older blocks need not be fetched.
        assert!(search.goes_on_before(8) && !search.goes_on_before(7));
        search.look_at(&block(5, &["b"]), own);
        assert_eq!(search.found.len(), 1);
    }

    #[test]
    fn a_key_that_appears_in_a_range_is_named_with_the_range() {
        let info = ReadsInfo::RawReads(fabric_proto::kvrwset::QueryReads { kv_reads: vec![read("c2", 4)] });
        let range = RangeQueryInfo {
            start_key: "c".into(),
            end_key: "d".into(),
            reads_info: Some(info),
            ..RangeQueryInfo::default()
        };
        let mut search = Search::of(&call(KvrwSet { range_queries_info: vec![range], ..KvrwSet::default() }));
        search.look_at(&block(6, &["d"]), (7, 0));
        assert!(search.found.is_empty());
        search.look_at(&block(5, &["c1"]), (7, 0));
        assert_eq!((&search.found[0]["key"], &search.found[0]["range"]["to"]), (&json!("c1"), &json!("d")));
        assert!(search.found[0]["explanation"]["en"].as_str().unwrap().contains("range"));
        assert!(!search.goes_on_before(5));
    }
}
