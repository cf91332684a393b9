//! Genesis to block 104 through the commit path: every code, hash and row equals the real network's.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use fabric_ledger::{StateReader, commit_hash};
use fabric_proto::protos::TxValidationCode;

use crate::golden::{self, BLOCKS, as_ordered, genesis};

fn hex_of(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

#[test]
fn every_code_commit_hash_and_state_row_equals_the_real_networks() {
    let facts = golden::json("blocks.json");
    let mut chain = genesis();
    let mut hashed_keys = BTreeSet::new();
    let mut codes_seen: BTreeMap<String, usize> = BTreeMap::new();
    for number in 1..BLOCKS {
        let expected = &facts[usize::try_from(number).unwrap()];
        let bytes = as_ordered(number);
        chain.verify(&bytes, number);
        let committed = chain.stage(&bytes);
        let staged = &committed.staged;
        let codes: Vec<&str> = committed.block.transactions.iter().map(|tx| tx.code.as_str_name()).collect();
        let expected_codes: Vec<&str> =
            expected["transactions"].as_array().unwrap().iter().map(|tx| tx["code"].as_str().unwrap()).collect();
        assert_eq!(codes, expected_codes, "codes of block {number}");
        assert_eq!(hex_of(&staged.flags), expected["transaction_filter_hex"], "filter of block {number}");
        let updates = commit_hash::update_bytes(&staged.updates);
        assert_eq!(
            hex_of(&konsort_crypto::hash::sha256(&updates)),
            expected["update_batch_bytes_sha256"],
            "update batch of block {number}: {}",
            hex_of(&updates)
        );
        assert_eq!(hex_of(&staged.commit_hash), expected["commit_hash"], "commit hash of block {number}");
        assert_eq!(hex_of(&staged.hash), expected["header_hash"], "header hash of block {number}");
        assert_eq!(staged.bytes, golden::block_bytes(number), "stored bytes of block {number}");
        for (tx, expected) in committed.block.transactions.iter().zip(expected["transactions"].as_array().unwrap()) {
            if let Some(txid) = expected["txid"].as_str() {
                assert_eq!(tx.txid, txid, "txid in block {number}");
            }
        }
        for code in codes {
            *codes_seen.entry(code.to_owned()).or_default() += 1;
        }
        for (namespace, collections) in &staged.updates.hashed {
            for (collection, rows) in collections {
                hashed_keys.extend(rows.keys().map(|key| (namespace.clone(), collection.clone(), key.clone())));
            }
        }
    }
    chain.ledger.flush().unwrap();
    assert_eq!(chain.ledger.height(), BLOCKS);
    let expected: BTreeMap<String, usize> = golden::json("codes.json")
        .as_object()
        .unwrap()
        .iter()
        // The genesis block is not validated; it is what the ledger starts with.
        .map(|(code, places)| (code.clone(), places.as_array().unwrap().iter().filter(|place| *place != "0.0").count()))
        .collect();
    assert_eq!(codes_seen, expected);
    compare_state(&chain.ledger.snapshot(), &hashed_keys);
}

fn compare_state(state: &dyn StateReader, hashed_keys: &BTreeSet<(String, String, Bytes)>) {
    for peer in ["peer0_org1", "peer0_org2"] {
        let dump = golden::json(&format!("state/{peer}.json"));
        let mut public: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        let mut hashed = BTreeSet::new();
        for row in dump["state"].as_array().unwrap() {
            let namespace = row["namespace"].as_str().unwrap();
            let key = hex::decode(row["key_hex"].as_str().unwrap()).unwrap();
            let found = if let Some((namespace, collection)) = namespace.split_once("$$h") {
                hashed.insert((namespace.to_owned(), collection.to_owned(), Bytes::from(key.clone())));
                state.get_hash(namespace, collection, &key).unwrap()
            } else if namespace.contains("$$p") {
                continue;
            } else {
                public.entry(namespace.to_owned()).or_default().push(key.clone());
                state.get(namespace, std::str::from_utf8(&key).unwrap()).unwrap()
            };
            let place = format!("{peer} {namespace} {}", row["key_hex"]);
            let found = found.unwrap_or_else(|| panic!("{place} is missing"));
            assert_eq!(hex_of(&found.value), row["value_hex"].as_str().unwrap(), "value of {place}");
            assert_eq!(found.version.block, row["block"].as_u64().unwrap(), "block of {place}");
            assert_eq!(found.version.tx, row["tx"].as_u64().unwrap(), "transaction of {place}");
            assert_eq!(
                hex_of(&found.metadata),
                row["metadata_hex"].as_str().unwrap_or_default(),
                "metadata of {place}"
            );
        }
        for (namespace, keys) in public {
            let found: Vec<Vec<u8>> =
                state.range(&namespace, "", "").unwrap().map(|row| row.unwrap().key.into_bytes()).collect();
            assert_eq!(found.len(), keys.len(), "number of rows in {namespace:?}");
        }
        let left: BTreeSet<_> = hashed_keys
            .iter()
            .filter(|(namespace, collection, key)| state.get_hash(namespace, collection, key).unwrap().is_some())
            .cloned()
            .collect();
        let ours: Vec<_> = left.difference(&hashed).collect();
        assert!(ours.is_empty(), "hashed rows that {peer} does not have: {ours:?}");
    }
}

#[test]
fn crafted_transactions_get_the_codes_of_the_real_network() {
    let mut chain = genesis();
    let mut verdicts: BTreeMap<u64, Vec<TxValidationCode>> = BTreeMap::new();
    for number in 1..BLOCKS {
        let committed = chain.stage(&as_ordered(number));
        verdicts.insert(number, committed.block.transactions.iter().map(|tx| tx.code).collect());
    }
    let crafted = golden::json("crafted.json");
    for case in crafted.as_array().unwrap() {
        let (Some(block), Some(index)) = (case["block"].as_u64(), case["index"].as_u64()) else { continue };
        let code = verdicts[&block][usize::try_from(index).unwrap()].as_str_name();
        assert_eq!(code, case["code"], "{}: {}", case["variant"], case["note"]);
    }
    assert!(crafted.as_array().unwrap().len() > 30);
}
