//! Receipts, headers, Merkle proofs, genesis, addresses, frames.

use bcos_types::frame::{AmopMessage, Frame};
use bcos_types::genesis::{GenesisSettings, version_number, version_text};
use bcos_types::{
    B256, Block, BlockHeader, HeaderSignature, LogEntry, ParentInfo, Receipt, Transaction, TransactionData, VerifiedTx,
    address as addresses, encode_block, merkle,
};
use konsort_crypto::{SuiteKey, SuiteKind, suite};
use serde_json::Value;

use crate::golden::{address, bytes, chain, data, hash, kind, list, load, text};

fn receipt(fields: &Value) -> Receipt {
    Receipt {
        version: fields["version"].as_i64().unwrap() as i32,
        gas_used: text(&fields["gasUsed"]).parse().unwrap(),
        contract_address: match text(&fields["contractAddress"]) {
            "" => None,
            text => Some(text.parse().unwrap()),
        },
        status: fields["status"].as_i64().unwrap() as i32,
        output: data(&fields["output"]),
        logs: list(&fields["logEntries"])
            .iter()
            .map(|log| LogEntry {
                address: address(&log["address"]),
                topics: list(&log["topics"]).iter().map(hash).collect(),
                data: data(&log["data"]),
            })
            .collect(),
        block_number: fields["blockNumber"].as_u64().unwrap(),
        effective_gas_price: fields["effectiveGasPrice"].as_str().unwrap_or_default().to_owned(),
        ..Receipt::default()
    }
}

#[test]
fn receipts_match() {
    let all = load("receipts");
    for vector in list(&all["vectors"]) {
        let mut receipt = receipt(&vector["fields"]);
        assert_eq!(receipt.seal(chain(vector)), hash(&vector["hash"]), "{vector}");
        assert_eq!(receipt.encode(), bytes(&vector["tars_receipt"]), "{vector}");
        assert_eq!(Receipt::decode(&bytes(&vector["tars_receipt"])).unwrap(), receipt, "{vector}");
        if let (Some(json), Some(contract)) = (vector.get("json_checksumContractAddress"), receipt.contract_address) {
            assert_eq!(addresses::checksum(chain(vector), &contract), text(json));
        }
    }
}

fn header(fields: &Value) -> BlockHeader {
    let root = |name: &str| if fields[name] == "0x" { B256::ZERO } else { hash(&fields[name]) };
    let number = |name: &str| fields[name].as_u64().unwrap();
    BlockHeader {
        version: number("version") as u32,
        parents: list(&fields["parentInfo"])
            .iter()
            .map(|it| ParentInfo { number: it["blockNumber"].as_u64().unwrap(), hash: hash(&it["blockHash"]) })
            .collect(),
        transactions_root: root("txsRoot"),
        receipts_root: root("receiptsRoot"),
        state_root: root("stateRoot"),
        number: number("number"),
        gas_used: text(&fields["gasUsed"]).parse().unwrap_or_default(),
        timestamp: number("timestamp"),
        sealer: number("sealer"),
        sealer_list: list(&fields["sealerList"]).iter().map(data).collect(),
        extra_data: data(&fields["extraData"]),
        consensus_weights: list(&fields["consensusWeights"]).iter().map(|it| it.as_u64().unwrap()).collect(),
        ..BlockHeader::default()
    }
}

#[test]
fn headers_and_their_signatures_match() {
    let all = load("headers");
    for vector in list(&all["vectors"]) {
        let chain = chain(vector);
        let mut sealers = vector.get("sealerList").map(|ids| list(ids).iter().map(bytes).collect::<Vec<_>>());
        let signatures: Vec<HeaderSignature> = vector.get("signatureList").map_or_else(Vec::new, |entries| {
            list(entries)
                .iter()
                .map(|it| HeaderSignature {
                    sealer_index: it["sealerIndex"].as_u64().unwrap(),
                    signature: data(&it["signature"]),
                })
                .collect()
        });
        if let Some(fields) = vector.get("fields") {
            let mut header = header(fields);
            assert_eq!(header.seal(chain), hash(&vector["hash"]), "{vector}");
            header.signatures.clone_from(&signatures);
            let encoded = bytes(&vector["tars_header"]);
            assert_eq!(hex::encode(header.encode()), hex::encode(&encoded), "{}", vector["name"]);
            assert_eq!(BlockHeader::decode(&encoded).unwrap(), header, "{vector}");
            sealers = Some(header.sealer_list.iter().map(|id| id.to_vec()).collect());
        }
        for entry in &signatures {
            let sealer = &sealers.as_ref().unwrap()[entry.sealer_index as usize];
            chain.verify(sealer, &hash(&vector["hash"]).0, &entry.signature).unwrap();
            let other = chain.hash(b"another header");
            assert!(chain.verify(sealer, &other, &entry.signature).is_err());
        }
        if let Some(keys) = vector.get("private_keys_in_sealer_order") {
            for (private, sealer) in list(keys).iter().zip(sealers.unwrap()) {
                let key = SuiteKey::from_bytes(kind(&vector["suite"]), &bytes(private).try_into().unwrap()).unwrap();
                assert_eq!(key.public_key().to_vec(), sealer);
                let signature = key.sign_header(&hash(&vector["hash"]).0);
                assert_eq!(signature.len(), signatures[0].signature.len());
            }
        }
    }
}

#[test]
fn merkle_roots_and_proofs_match() {
    let all = load("merkle");
    for vector in list(&all["vectors"]) {
        let chain = chain(vector);
        let root = hash(&vector["root"]);
        let leaves: Vec<B256> = vector.get("leaves").map_or_else(Vec::new, |it| list(it).iter().map(hash).collect());
        let mut proofs: Vec<(B256, Option<usize>, Vec<B256>)> = Vec::new();
        if let Some(proof) = vector.get("proof") {
            let leaf = vector.get("leaf").map_or_else(|| leaves[0], hash);
            let index = (!leaves.is_empty()).then_some(0);
            proofs.push((leaf, index, list(proof).iter().map(hash).collect()));
        }
        for (index, proof) in vector.get("proofs").and_then(Value::as_object).into_iter().flatten() {
            let index: usize = index.parse().unwrap();
            proofs.push((leaves[index], Some(index), list(proof).iter().map(hash).collect()));
        }
        assert!(!proofs.is_empty());
        if !leaves.is_empty() {
            assert_eq!(merkle::root(chain, &leaves), root, "{vector}");
        }
        for (leaf, index, proof) in proofs {
            if let Some(index) = index {
                assert_eq!(merkle::proof(chain, &leaves, index).unwrap(), proof, "{vector}");
            }
            assert!(merkle::verify(chain, &leaf, &root, &proof));
            assert!(!merkle::verify(chain, &B256::repeat_byte(1), &root, &proof));
            assert!(!merkle::verify(chain, &leaf, &B256::repeat_byte(1), &proof));
            for cut in 0..proof.len() {
                assert!(!merkle::verify(chain, &leaf, &root, &proof[..cut]), "{cut}");
            }
        }
    }
    let chain = suite(SuiteKind::International);
    assert_eq!(merkle::root(chain, &[]), B256::ZERO);
    assert_eq!(merkle::proof(chain, &[], 0), None);
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(&format!("{key}:")));
    line.map_or("", |line| line[key.len() + 1..].trim())
}

#[test]
fn genesis_texts_and_hashes_match() {
    let all = load("genesis_config");
    for example in list(&all["genesis"]["examples"]) {
        let expected = text(&example["extraData_text"]);
        let number = |key: &str| line(expected, key).parse().unwrap_or_default();
        let mut sealers: Vec<(String, u64)> = expected
            .lines()
            .filter_map(|line| line.strip_prefix("node.")?.split_once(':')?.1.split_once(','))
            .map(|(id, weight)| (id.to_owned(), weight.parse().unwrap()))
            .collect();
        assert_eq!(sealers.len(), 4);
        sealers.reverse();
        let settings = GenesisSettings {
            sm_crypto: line(expected, "sm_crypto") == "1",
            chain_id: line(expected, "chainID").into(),
            group_id: line(expected, "grouID").into(),
            consensus_type: line(expected, "consensus_type").into(),
            block_tx_count_limit: number("block_tx_count_limit"),
            leader_period: number("leader_period"),
            compatibility_version: line(expected, "compatibility_version").into(),
            gas_limit: number("gaslimit"),
            is_wasm: line(expected, "iswasm") == "1",
            is_auth_check: line(expected, "isAuthCheck") == "1",
            auth_admin_account: line(expected, "authAdminAccount").into(),
            is_serial_execute: line(expected, "isSerialExecute") == "1",
            epoch_sealer_num: number("epochSealerNum"),
            epoch_block_num: number("epochBlockNum"),
            features: None,
            sealers,
        };
        assert_eq!(settings.text().unwrap(), expected);
        let mut header = settings.header().unwrap();
        assert_eq!(u64::from(header.version), example["version"].as_u64().unwrap());
        assert_eq!(header.seal(chain(example)), hash(&example["hash"]));
        assert_eq!(BlockHeader::decode(&header.encode()).unwrap(), header);

        let with = GenesisSettings { features: Some(vec![("feature_raw_address".into(), true)]), ..settings.clone() };
        assert!(with.text().unwrap().contains("[features]\nfeature_raw_address:1\nnode.0:"));
        assert!(GenesisSettings { compatibility_version: "3.16".into(), ..settings }.text().is_err());
    }
    for (version, vector) in all["block_versions"].as_object().unwrap() {
        if let Some(decimal) = vector.get("decimal") {
            assert_eq!(u64::from(version_number(version).unwrap()), decimal.as_u64().unwrap());
            assert_eq!(version_text(version_number(version).unwrap()), *version);
        }
    }
}

#[test]
fn contract_addresses_match() {
    let all = load("addresses");
    for vector in list(&all["bcos_rule"]) {
        let [block, index, seq] = ["block", "index", "seq"].map(|name| vector[name].as_u64().unwrap());
        assert_eq!(addresses::native_create(chain(vector), block, index, seq), address(&vector["address"]), "{vector}");
    }
    for vector in list(&all["ethereum_create"]) {
        let made = addresses::ethereum_create(&address(&vector["sender"]), vector["nonce"].as_u64().unwrap());
        assert_eq!(made, address(&vector["address"]), "{vector}");
    }
    for vector in list(&all["create2"]) {
        let (sender, salt) = (address(&vector["sender"]), hash(&vector["salt"]));
        let made = addresses::create2(chain(vector), &sender, &salt, &bytes(&vector["init_code"]));
        assert_eq!(made, address(&vector["address"]), "{vector}");
        if let Some(checksum) = vector["checksum"].as_str() {
            assert_eq!(addresses::checksum(chain(vector), &made).trim_start_matches("0x"), checksum);
        }
    }
}

#[test]
fn frames_and_amop_payloads_match() {
    let all = load("ws_frames");
    for vector in list(&all["frames"]) {
        let number = |name: &str| vector[name].as_i64().unwrap();
        let frame = Frame {
            version: number("version") as u16,
            kind: u16::from_str_radix(text(&vector["type"]).trim_start_matches("0x"), 16).unwrap(),
            status: number("status_field") as i16,
            seq: text(&vector["seq"]).as_bytes().to_vec().into(),
            ext: number("ext") as u16,
            payload: data(&vector["payload_hex"]),
        };
        assert_eq!(frame.encode(), bytes(&vector["frame"]), "{vector}");
        assert_eq!(Frame::decode(data(&vector["frame"])).unwrap(), frame, "{vector}");
        let head = 10 + frame.seq.len();
        for cut in 0..head {
            assert!(Frame::decode(data(&vector["frame"]).slice(..cut)).is_err());
        }
    }
    for vector in list(&all["amop"]) {
        let message = AmopMessage {
            version: vector["version"].as_u64().unwrap() as u32,
            topic: text(&vector["topic"]).into(),
            data: text(&vector["data_text"]).as_bytes().to_vec().into(),
        };
        assert_eq!(message.encode().unwrap(), bytes(&vector["payload"]));
        assert_eq!(AmopMessage::decode(&data(&vector["payload"])).unwrap(), message);
    }
}

#[test]
fn a_block_built_from_verified_transactions_reads_back() {
    let chain = suite(SuiteKind::International);
    let key = SuiteKey::generate(SuiteKind::International);
    let transactions: Vec<VerifiedTx> = (0..3)
        .map(|nonce: u8| TransactionData { nonce: nonce.to_string(), ..TransactionData::default() })
        .map(|data| VerifiedTx::verify(Transaction::signed(data, &key), chain).unwrap())
        .collect();
    let receipts =
        vec![Receipt { message: "out of gas".into(), logs_bloom: vec![0; 256].into(), ..Default::default() }];
    let mut header = BlockHeader { number: 5, sealer_list: vec![vec![1; 64].into()], ..BlockHeader::default() };
    header.seal(chain);
    let block = Block::decode(&encode_block(&header, &transactions, &receipts)).unwrap();
    assert_eq!((&block.header, &block.receipts), (&header, &receipts));
    assert!(block.transactions.iter().zip(&transactions).all(|(read, sent)| *read == sent.tx));
    assert_eq!(block.transactions.len(), 3);
    assert_eq!(Block::decode(&block.encode()).unwrap(), block);
}
