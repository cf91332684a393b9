//! The Tars codec: its building blocks, round trips, tolerance, bounds.

use bcos_types::tars::{MAX_DEPTH, Reader, Writer};
use bcos_types::{
    Block, BlockHeader, Bytes, HeaderSignature, LogEntry, ParentInfo, Receipt, TarsError, Transaction, TransactionData,
    TransactionMetadata, TxKind, VerifiedTx, web3,
};
use konsort_crypto::{SuiteKind, suite};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::golden::{bytes, list, load, text};

#[test]
fn building_blocks_match() {
    let all = load("tars_primitives");
    for vector in list(&all["vectors"]) {
        let tag = vector["tag"].as_u64().unwrap_or(1) as u8;
        let shown = text(&vector["hex"]);
        let mut writer = Writer::new();
        match text(&vector["kind"]) {
            "int" => {
                let value = text(&vector["value"]).parse().unwrap();
                writer.int(tag, value);
                assert_eq!(Reader::new(&bytes(&vector["hex"])).int(tag, "int").unwrap(), value, "{vector}");
            }
            "string" => {
                let length = vector["length"].as_u64().unwrap() as usize;
                let value = match text(&vector["value"]) {
                    "x repeated" => "x".repeat(length),
                    value => value.to_owned(),
                };
                writer.text(tag, &value);
                assert_eq!(Reader::new(&bytes(&vector["hex"])).text(tag, "string").unwrap(), value, "{vector}");
            }
            "bytes (SimpleList)" => {
                let length = vector["length"].as_u64().unwrap() as usize;
                let fill = match length {
                    1 => 0x01,
                    32768 => 0xbb,
                    _ => 0xaa,
                };
                writer.bytes(tag, &vec![fill; length]);
            }
            "struct" => {
                writer.structure(tag, |inner| {
                    inner.int(1, 5);
                });
            }
            "list of int" => {
                writer.list(tag, &[1, 1, 300], |list, &value| {
                    list.int(0, value);
                });
            }
            "list of bytes" => {
                writer.list(tag, &[vec![1], vec![2, 3]], |list, value| {
                    list.bytes(0, value);
                });
            }
            other => panic!("{other}"),
        }
        let written = format!("0x{}", hex::encode(writer.into_bytes()));
        match shown.split_once("...") {
            Some((start, _)) => assert!(written.starts_with(start), "{vector}"),
            None => assert_eq!(written, shown, "{vector}"),
        }
    }
}

fn byte_strings() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just(Bytes::new()), vec(any::<u8>(), 0..80).prop_map(Bytes::from), Just(vec![7; 300].into())]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), ".{0,20}", Just("long".repeat(80))]
}

prop_compose! {
    fn datas()(
        version in any::<i32>(), block_limit in any::<i64>(), gas_limit in any::<i64>(),
        texts in proptest::array::uniform9(texts()), input in byte_strings(), extension in byte_strings(),
    ) -> TransactionData {
        let [chain_id, group_id, nonce, to, abi, value, gas_price, max_fee_per_gas, max_priority_fee_per_gas] = texts;
        TransactionData {
            version, chain_id, group_id, block_limit, nonce, to, input, abi, value, gas_price, gas_limit,
            max_fee_per_gas, max_priority_fee_per_gas, extension,
        }
    }
}

prop_compose! {
    fn transactions()(
        data in datas(), bytes in proptest::array::uniform5(byte_strings()), import_time in any::<i64>(),
        attribute in any::<i32>(), extra_data in texts(), web3 in any::<bool>(),
    ) -> Transaction {
        let [data_hash, signature, sender, extra_bytes, extra_hash] = bytes;
        let kind = if web3 { TxKind::Web3 } else { TxKind::Bcos };
        Transaction {
            data, data_hash, signature, import_time, attribute, sender, extra_data, kind, extra_bytes, extra_hash,
        }
    }
}

prop_compose! {
    fn receipts()(
        version in 0..3_i32, gas_used in any::<u64>(), contract in any::<Option<[u8; 20]>>(), status in any::<i32>(),
        output in byte_strings(), block_number in 0..i64::MAX as u64, price in texts(), hash in any::<[u8; 32]>(),
        message in texts(), cumulative_gas_used in any::<u64>(), indexes in any::<(u32, u32)>(),
        logs in vec((any::<[u8; 20]>(), vec(any::<[u8; 32]>(), 0..5), byte_strings()), 0..4),
    ) -> Receipt {
        Receipt {
            version, gas_used, contract_address: contract.map(Into::into), status, output,
            logs: logs.into_iter().map(|(address, topics, data)| LogEntry {
                address: address.into(), topics: topics.into_iter().map(Into::into).collect(), data,
            }).collect(),
            block_number, effective_gas_price: price, hash: hash.into(), message, cumulative_gas_used,
            logs_bloom: Bytes::new(), transaction_index: indexes.0, log_index: indexes.1,
        }
    }
}

prop_compose! {
    fn headers()(
        version in any::<u32>(), parents in vec((0..i64::MAX as u64, any::<[u8; 32]>()), 0..3),
        roots in any::<[[u8; 32]; 4]>(), numbers in proptest::array::uniform3(1..i64::MAX as u64), gas_used in any::<u64>(),
        sealer_list in vec(byte_strings(), 0..4), extra_data in byte_strings(),
        consensus_weights in vec(0..i64::MAX as u64, 0..4), signatures in vec((0..9_u64, byte_strings()), 0..4),
    ) -> BlockHeader {
        let [number, timestamp, sealer] = numbers;
        let [transactions_root, receipts_root, state_root, hash] = roots.map(Into::into);
        BlockHeader {
            version,
            parents: parents.into_iter().map(|(number, hash)| ParentInfo { number, hash: hash.into() }).collect(),
            transactions_root, receipts_root, state_root, number, gas_used, timestamp, sealer, sealer_list, extra_data,
            consensus_weights, hash,
            signatures: signatures.into_iter()
                .map(|(sealer_index, signature)| HeaderSignature { sealer_index, signature }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn structures_read_back(tx in transactions(), receipt in receipts(), header in headers(), nonce in texts()) {
        prop_assert_eq!(&Transaction::decode(&tx.encode()).unwrap(), &tx);
        prop_assert_eq!(&TransactionData::decode(&tx.data.encode()).unwrap(), &tx.data);
        prop_assert_eq!(&Receipt::decode(&receipt.encode()).unwrap(), &receipt);
        prop_assert_eq!(&BlockHeader::decode(&header.encode()).unwrap(), &header);
        let block = Block {
            version: 1, kind: 2, metadata: vec![TransactionMetadata {
                hash: header.hash, to: tx.data.to.clone(), source: nonce.clone(), attribute: 3,
            }],
            receipt_hashes: vec![receipt.hash], nonces: vec![nonce], transactions_merkle: vec![header.hash],
            receipts_merkle: vec![], logs_bloom: tx.data.input.clone(),
            header, transactions: vec![tx.clone(), tx], receipts: vec![receipt],
        };
        prop_assert_eq!(Block::decode(&block.encode()).unwrap(), block);
    }

    /// Fields that a newer encoder might add, of any type, after ours and between ours.
    #[test]
    fn unknown_fields_are_skipped(tx in transactions(), number in any::<i64>(), filler in texts(), depth in 0..10_u8) {
        fn unknown(writer: &mut Writer, tag: u8, number: i64, filler: &str, depth: u8) {
            match depth {
                0 => { writer.int(tag, number); }
                1 => { writer.text(tag, filler); }
                2 => { writer.bytes(tag, filler.as_bytes()); }
                3 => { writer.list(tag, &[number; 3], |list, &value| { list.int(0, value); }); }
                _ => {
                    writer.structure(tag, |inner| {
                        unknown(inner, 1, number, filler, depth - 1);
                        unknown(inner, 200, number, filler, depth % 4);
                    });
                }
            }
        }
        let mut writer = Writer::new();
        writer.encoded_structure(1, &tx.data.encode());
        writer.bytes(2, &tx.data_hash).bytes(3, &tx.signature).int(4, tx.import_time).int(5, tx.attribute.into());
        unknown(&mut writer, 6, number, &filler, depth);
        writer.bytes(7, &tx.sender).text(8, &tx.extra_data).int(9, i64::from(tx.kind == TxKind::Web3));
        writer.bytes(10, &tx.extra_bytes).bytes(11, &tx.extra_hash);
        unknown(&mut writer, 12, number, &filler, depth);
        unknown(&mut writer, 255, number, &filler, depth);
        prop_assert_eq!(Transaction::decode(&writer.into_bytes()).unwrap(), tx);
    }

    /// Upstream's reader only moves forward: a field after a higher tag counts as absent.
    #[test]
    fn fields_out_of_order_count_as_absent(limit in 1..i64::MAX, nonce in "[a-z]{1,9}") {
        let mut writer = Writer::new();
        writer.text(5, &nonce).int(4, limit).text(6, "to");
        let data = TransactionData::decode(&writer.into_bytes()).unwrap();
        prop_assert_eq!((data.block_limit, data.nonce, data.to), (0, nonce, "to".to_owned()));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = Transaction::decode(&bytes);
        let _ = TransactionData::decode(&bytes);
        let _ = Receipt::decode(&bytes);
        let _ = BlockHeader::decode(&bytes);
        let _ = Block::decode(&bytes);
        let _ = web3::from_raw(&bytes);
        let _ = bcos_types::frame::Frame::decode(bytes.clone().into());
        let _ = bcos_types::frame::AmopMessage::decode(&bytes.into());
    }

    #[test]
    fn damaged_transactions_are_errors_or_other_transactions(tx in transactions(), at in any::<usize>(), flip in 1..=255_u8) {
        let good = tx.encode();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(read) = Transaction::decode(&bytes) {
            // Whatever was read is written so that it is read again.
            prop_assert_eq!(Transaction::decode(&read.encode()).unwrap(), read);
        }
        prop_assert!(Transaction::decode(&good[..at]).is_err() || at < good.len());
    }

    #[test]
    fn any_claim_of_an_ethereum_wrapping_is_checked_without_panic(mut tx in transactions()) {
        tx.kind = TxKind::Web3;
        prop_assert!(VerifiedTx::verify(tx, suite(SuiteKind::International)).is_err());
    }
}

#[test]
fn claims_of_length_and_depth_are_bounded() {
    // A byte string, a text and a list that claim more than is there.
    assert_eq!(
        Transaction::decode(&[0x2d, 0, 2, 0x7f, 0xff, 0xff, 0xff]).unwrap_err(),
        TarsError::Count { field: "dataHash", count: 0x7fff_ffff }
    );
    assert_eq!(
        Transaction::decode(&[0x2d, 0, 2, 0, 0xff, 0xff, 0xff]).unwrap_err(),
        TarsError::Truncated { field: "dataHash" }
    );
    assert_eq!(Transaction::decode(&[0x2d, 0, 0, 0xff]).unwrap_err(), TarsError::Range { field: "dataHash" });
    assert_eq!(
        TransactionData::decode(&[0x27, 0xff, 0xff, 0xff, 0xff]).unwrap_err(),
        TarsError::Count { field: "chainID", count: 0xffff_ffff }
    );
    assert_eq!(
        Block::decode(&[0x49, 2, 0, 0xff, 0xff, 0xff]).unwrap_err(),
        TarsError::Count { field: "transactions", count: 0x00ff_ffff }
    );
    assert_eq!(Block::decode(&[0x49, 1, 0x7f, 0xff]).unwrap_err(), TarsError::Truncated { field: "transactions" });
    // Unknown structures in each other, far more than any encoder writes.
    let mut deep = vec![0x0a; 100_000];
    deep.extend(vec![0x0b; 100_000]);
    assert_eq!(Transaction::decode(&deep).unwrap_err(), TarsError::Depth);
    let mut allowed = vec![0x0a; usize::from(MAX_DEPTH)];
    allowed.extend(vec![0x0b; usize::from(MAX_DEPTH)]);
    assert_eq!(Transaction::decode(&allowed).unwrap(), Transaction::default());
    // A list of lists of lists, each claiming as much as it can.
    let lists: Vec<u8> = std::iter::repeat_n([0x09, 0x00, 0x7f], 1000).flatten().collect();
    assert_eq!(Transaction::decode(&lists).unwrap_err(), TarsError::Depth);
}

#[test]
fn wrong_types_and_values_name_the_field() {
    let mut writer = Writer::new();
    writer.text(4, "not a number");
    let error = TransactionData::decode(&writer.into_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the Tars field blockLimit has type 6, which does not fit it");
    let mut writer = Writer::new();
    writer.int(1, i64::from(i32::MAX) + 1);
    assert_eq!(TransactionData::decode(&writer.into_bytes()).unwrap_err(), TarsError::Range { field: "version" });
    assert_eq!(TransactionData::decode(&[0x56, 1, 0xff]).unwrap_err(), TarsError::Text { field: "nonce" });
    assert_eq!(Transaction::decode(&[0x90, 2]).unwrap_err(), TarsError::Range { field: "type" });
    assert_eq!(Receipt::decode(&[0x1a, 0x0b]).unwrap_err(), TarsError::Missing { field: "version" });
    // A byte string as a list of small integers, as old encoders write it.
    let listed = TransactionData::decode(&[0x79, 0, 2, 0x00, 0x05, 0x00, 0xff]).unwrap();
    assert_eq!(&listed.input[..], [5, 0xff]);
}
