//! Transactions of both worlds (transactions.json, web3_transactions.json).

use bcos_types::{Transaction, TransactionData, TransactionError, TxKind, VerifiedTx, verify_batch, web3};
use konsort_crypto::{SuiteKey, SuiteKind, suite};
use serde_json::Value;

use crate::golden::{address, bytes, chain, data, hash, kind, list, load, text};

fn fields(value: &Value) -> TransactionData {
    let string = |name: &str| text(&value[name]).to_owned();
    TransactionData {
        version: value["version"].as_i64().unwrap() as i32,
        chain_id: string("chainID"),
        group_id: string("groupID"),
        block_limit: value["blockLimit"].as_i64().unwrap(),
        nonce: string("nonce"),
        to: string("to"),
        input: data(&value["input"]),
        abi: string("abi"),
        value: string("value"),
        gas_price: string("gasPrice"),
        gas_limit: value["gasLimit"].as_i64().unwrap(),
        max_fee_per_gas: string("maxFeePerGas"),
        max_priority_fee_per_gas: string("maxPriorityFeePerGas"),
        extension: data(&value["extension"]),
    }
}

/// Older encoders write version 0 where current ones leave it out.
fn without_version_zero(mut encoded: Vec<u8>, at: usize) -> Vec<u8> {
    if encoded[at] == 0x1c {
        encoded.remove(at);
    }
    encoded
}

#[test]
fn native_transactions_match() {
    let all = load("transactions");
    for vector in list(&all["vectors"]) {
        let name = text(&vector["name"]);
        let chain = chain(vector);
        let data = fields(&vector["fields"]);
        assert_eq!(data.hash(chain), hash(&vector["hash"]), "{name}");

        if let Some(encoded) = vector.get("tars_tx_data") {
            let encoded = bytes(encoded);
            assert_eq!(TransactionData::decode(&encoded).unwrap(), data, "{name}");
            assert_eq!(data.encode(), without_version_zero(encoded, 0), "{name}");
        }
        let tx = match vector.get("tars_tx") {
            Some(encoded) => {
                let encoded = bytes(encoded);
                let tx = Transaction::decode(&encoded).unwrap();
                assert_eq!(tx.data, data, "{name}");
                assert_eq!(&tx.signature[..], bytes(&vector["signature"]), "{name}");
                assert_eq!(tx.encode(), without_version_zero(encoded, 1), "{name}");
                tx
            }
            None => Transaction { data, signature: bytes(&vector["signature"]).into(), ..Transaction::default() },
        };
        let verified = VerifiedTx::verify(tx, chain).unwrap();
        assert_eq!(verified.hash, hash(&vector["hash"]), "{name}");
        assert_eq!(verified.sender, address(&vector["sender"]), "{name}");
        let stored = VerifiedTx::from_store(verified.hash, verified.raw.clone()).unwrap();
        assert_eq!((stored.sender, &stored.tx), (verified.sender, &verified.tx), "{name}");
    }
}

#[test]
fn our_signature_equals_the_constructed_one() {
    let all = load("transactions");
    let vector = list(&all["vectors"]).iter().find(|it| text(&it["name"]) == "constructed_v2_keccak256").unwrap();
    let key = SuiteKey::from_bytes(kind(&vector["suite"]), &bytes(&vector["private_key"]).try_into().unwrap()).unwrap();
    let tx = Transaction::signed(fields(&vector["fields"]), &key);
    assert_eq!(&tx.signature[..], bytes(&vector["signature"]));
}

#[test]
fn ethereum_transactions_match() {
    let all = load("web3_transactions");
    let sm = suite(SuiteKind::Sm);
    let mut recovered = 0;
    for vector in list(&all["vectors"]) {
        let raw = bytes(&vector["raw"]);
        let tx = web3::from_raw(&raw).unwrap();
        let wrapped = &vector["tars"];
        assert_eq!(tx.data, fields(&wrapped["fields"]), "{vector}");
        assert_eq!(tx.data_hash, data(&wrapped["dataHash"]), "{vector}");
        assert_eq!(tx.data_hash, data(&vector["signing_hash"]), "{vector}");
        assert_eq!(tx.extra_bytes, data(&wrapped["extraTransactionBytes"]), "{vector}");
        assert_eq!(tx.extra_bytes, data(&vector["signing_payload"]), "{vector}");
        assert_eq!(tx.extra_hash, data(&vector["hash"]), "{vector}");
        assert_eq!(tx.signature, data(&vector["signature"]), "{vector}");
        assert_eq!(&web3::signed_raw(&tx).unwrap()[..], raw, "{vector}");
        assert_eq!(web3::fields(&tx).unwrap().kind as i64, vector["type"].as_i64().unwrap());

        let encoded = bytes(&wrapped["tars_tx"]);
        let mut decoded = Transaction::decode(&encoded).unwrap();
        assert_eq!(decoded.encode(), encoded, "{vector}");
        if vector["sender"].is_null() {
            continue;
        }
        recovered += 1;
        // A chain with SM2 and SM3 still checks Ethereum transactions as Ethereum does.
        let verified = VerifiedTx::verify(decoded.clone(), sm).unwrap();
        assert_eq!((verified.hash, verified.sender), (hash(&vector["hash"]), address(&vector["sender"])));
        let direct = VerifiedTx::from_web3_raw(&raw, 0).unwrap();
        assert_eq!((direct.hash, direct.sender, &direct.raw), (verified.hash, verified.sender, &verified.raw));
        assert_eq!(direct.tx.hash(sm), verified.hash);
        assert_eq!(direct.tx.recover(sm).unwrap(), verified.sender);

        // What the wrapping claims is not believed.
        decoded.extra_hash = vec![7; 32].into();
        decoded.sender = vec![9; 20].into();
        let verified = VerifiedTx::verify(decoded.clone(), sm).unwrap();
        assert_eq!((verified.hash, &verified.tx), (direct.hash, &direct.tx));
        decoded.data.to = "0x0000000000000000000000000000000000001000".into();
        assert_eq!(VerifiedTx::verify(decoded, sm).unwrap_err(), TransactionError::Mismatch("data"));
    }
    assert!(recovered >= 12, "{recovered}");
}

#[test]
fn damaged_ethereum_transactions_are_refused() {
    let all = load("web3_transactions");
    for vector in list(&all["vectors"]) {
        let raw = bytes(&vector["raw"]);
        let hash = web3::from_raw(&raw).unwrap().extra_hash;
        for cut in 0..raw.len() {
            assert!(web3::from_raw(&raw[..cut]).is_err());
        }
        let mut long = raw.clone();
        long.push(0);
        assert!(web3::from_raw(&long).is_err());
        for at in 0..raw.len() {
            let mut changed = raw.clone();
            changed[at] ^= 0x55;
            if let Ok(tx) = web3::from_raw(&changed) {
                assert_ne!(tx.extra_hash, hash);
                assert_eq!(&web3::signed_raw(&tx).unwrap()[..], changed, "every accepted encoding is given back");
            }
        }
    }
    for kind in [0x00, 0x04, 0x05, 0x7f, 0x80, 0xbf] {
        assert_eq!(web3::from_raw(&[kind, 0xc0]).unwrap_err(), web3::Web3Error::Type(kind));
    }
}

#[test]
fn high_s_is_another_hash_of_the_same_transaction_and_refused() {
    let order =
        bcos_types::U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16)
            .unwrap();
    let all = load("web3_transactions");
    let vector = list(&all["vectors"]).iter().find(|it| it["type"] == 2 && !it["sender"].is_null()).unwrap();
    let mut tx = web3::from_raw(&bytes(&vector["raw"])).unwrap();
    let mut signature = tx.signature.to_vec();
    let s = order - bcos_types::U256::from_be_slice(&signature[32..64]);
    signature[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    signature[64] ^= 1;
    tx.signature = signature.into();
    assert_eq!(tx.recover(suite(SuiteKind::International)).unwrap(), address(&vector["sender"]));
    assert_eq!(web3::from_raw(&web3::signed_raw(&tx).unwrap()).unwrap_err(), web3::Web3Error::Range("r or s"));
}

#[test]
fn a_batch_keeps_its_order_and_its_errors() {
    let chain = suite(SuiteKind::International);
    let key = SuiteKey::generate(SuiteKind::International);
    let mut batch: Vec<Transaction> = (0..40)
        .map(|nonce: u32| {
            Transaction::signed(TransactionData { nonce: nonce.to_string(), ..TransactionData::default() }, &key)
        })
        .collect();
    batch[7].data.nonce = "changed".into();
    batch[9].signature = vec![1; 64].into();
    let results = verify_batch(batch, chain);
    for (index, result) in results.iter().enumerate() {
        match (index, result) {
            // A changed transaction is a valid one of somebody else.
            (7, Ok(tx)) => assert_ne!(tx.sender, key.address()),
            (7 | 9, Err(error)) => assert_eq!(error.status(), bcos_types::status::INVALID_SIGNATURE),
            (_, Ok(tx)) => {
                assert_eq!(tx.tx.data.nonce, index.to_string());
                assert_eq!((tx.sender, tx.tx.kind), (key.address().into(), TxKind::Bcos));
            }
            (_, Err(error)) => panic!("{index}: {error}"),
        }
    }
    assert!(results[9].is_err());
}

#[test]
fn values_and_destinations_are_read_as_sent() {
    let data = |to: &str, value: &str| TransactionData { to: to.into(), value: value.into(), ..Default::default() };
    assert_eq!(data("", "").to_address().unwrap(), None);
    let contract = "6849f21d1e455e9f0712b1e99fa4fcd23758e8f1";
    let with = data(&format!("0x{contract}"), "0x11").to_address().unwrap();
    assert_eq!(data(contract, "").to_address().unwrap(), with);
    for wrong in ["0x", "0x12", "hello", "/apps/hello", "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8fg"] {
        assert!(data(wrong, "").to_address().is_err(), "{wrong}");
    }
    assert_eq!(data("", "").value().unwrap(), bcos_types::U256::ZERO);
    assert_eq!(data("", "0x11").value().unwrap(), bcos_types::U256::from(17));
    assert_eq!(data("", "17").value().unwrap(), bcos_types::U256::from(17));
    for wrong in ["0x", "-1", "1.5", "ten", &format!("0x1{}", "0".repeat(64))] {
        assert!(data("", wrong).value().is_err(), "{wrong}");
    }
}
