//! Founding, executing, committing, reading back, opening again.

use alloy_primitives::{B256, U256};
use bcos_chain::{
    Allocation, Chain, ChainError, FEATURES, NONCE_BLOCKS,
    access::{NodeKind, StateAccess as _, StateKey, TxOutcome},
    executor::call::CallRequest,
};
use bcos_types::{merkle, status};
use konsort_crypto::SuiteKind;

use crate::world::*;

fn golden() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/genesis_config.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn genesis_hashes_and_settings_are_upstreams() {
    let golden = golden();
    for example in golden["genesis"]["examples"].as_array().unwrap() {
        let text = example["extraData_text"].as_str().unwrap();
        if !text.contains("compatibility_version:3.16.4") {
            continue;
        }
        let sm = text.contains("sm_crypto:1");
        let sealers = text.lines().filter(|line| line.starts_with("node.")).map(|line| {
            let (id, weight) = line.split_once(':').unwrap().1.split_once(',').unwrap();
            (id.to_owned(), weight.parse().unwrap())
        });
        let kind = if sm { SuiteKind::Sm } else { SuiteKind::International };
        let mut config = bcos_chain::ChainConfig::new(kind, sealers.collect());
        config.genesis.sealers.reverse();
        let folder = tempfile::tempdir().unwrap();
        let chain = Chain::create_or_open(folder.path(), &config).unwrap();
        assert_eq!(chain.genesis_hash(), example["hash"].as_str().unwrap().parse::<B256>().unwrap());
        assert_eq!(chain.tip().hash(), chain.genesis_hash());
        let header = chain.header(0).unwrap().unwrap();
        assert_eq!(&header.extra_data[..], text.as_bytes());
        let value = |key: &str| chain.system_config(key).unwrap().map(|value| (value.value, value.enable_number));
        for (key, expected) in [
            ("tx_count_limit", "1000"),
            ("tx_gas_limit", "3000000000"),
            ("tx_gas_price", "0x0"),
            ("consensus_leader_period", "1"),
            ("auth_check_status", "0"),
            ("compatibility_version", "3.16.4"),
            ("web3_chain_id", "20200"),
            ("executor_version", "1"),
            ("balance_transfer", "1"),
        ] {
            assert_eq!(value(key), Some((expected.into(), 0)), "{key}");
        }
        for key in FEATURES {
            assert_eq!(value(key), key.starts_with("bugfix_").then(|| ("1".into(), 0)), "{key}");
        }
        let nodes = chain.nodes().unwrap();
        assert_eq!(nodes.len(), 4);
        assert!(nodes.is_sorted_by_key(|node| node.node_id.clone()));
        assert!(nodes.iter().all(|node| node.kind == NodeKind::Sealer && node.weight == 1 && node.enable_number == 0));
    }
    let keys: Vec<_> = golden["feature_keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    assert_eq!(keys, FEATURES);
}

#[test]
fn a_chain_is_founded_extended_read_and_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut founding = config();
    founding.alloc =
        vec![Allocation { address: account(5), balance: U256::from(70), nonce: 3, ..Allocation::default() }];
    let chain = Chain::create_or_open(folder.path(), &founding).unwrap();
    assert_eq!((chain.height(), chain.total_counts().transactions), (0, 0));

    let deploy = send(0, "one", None, counter());
    let fail = send(0, "two", None, broken());
    let first = extend(&chain, vec![deploy.clone(), fail.clone()]);
    let counter = first.receipt(0).unwrap().unwrap().contract_address.unwrap();
    let failed = first.receipt(1).unwrap().unwrap();
    assert_eq!((failed.status, failed.contract_address), (status::REVERT_INSTRUCTION, None));
    let calls: Vec<_> = (0..3).map(|i| send(i, &format!("call {i}"), Some(counter), Vec::new())).collect();
    let second = extend(&chain, calls.clone());
    let third = extend(&chain, vec![]);

    let check = |chain: &Chain| {
        assert_eq!((chain.height(), chain.tip().hash()), (3, third.hash()));
        assert_eq!((chain.total_counts().transactions, chain.total_counts().failed), (5, 1));
        for block in [&first, &second, &third] {
            let read = chain.block(block.number()).unwrap().unwrap();
            assert_eq!(read.header(), block.header());
            assert_eq!(read.header().compute_hash(chain.suite()), block.hash());
            assert_eq!(read.header().signatures.len(), 1);
            assert_eq!(read.transaction_hashes(), block.transaction_hashes());
            assert_eq!(read.receipts().unwrap(), block.receipts().unwrap());
            assert_eq!(chain.number_by_hash(&block.hash()).unwrap(), Some(block.number()));
            assert_eq!(chain.hash_by_number(block.number()).unwrap(), Some(block.hash()));
            assert_eq!(read.header().transactions_root, merkle::root(chain.suite(), &read.transaction_hashes()));
            assert_eq!(read.header().receipts_root, merkle::root(chain.suite(), &read.receipt_hashes()));
        }
        assert_eq!(
            first.header().gas_used,
            first.receipts().unwrap().iter().map(|receipt| receipt.gas_used).sum::<u64>()
        );
        assert_eq!(third.header().state_root, B256::ZERO);
        assert!(chain.block(4).unwrap().is_none() && chain.hash_by_number(4).unwrap().is_none());

        let found = chain.locate(&calls[1].hash).unwrap().unwrap();
        assert_eq!((found.block.number(), found.index, found.transaction.sender), (2, 1, account(1)));
        assert_eq!(found.transaction.raw, calls[1].raw);
        assert_eq!((found.receipt.transaction_index, found.receipt.block_number), (1, 2));
        let gas: Vec<_> = found.block.receipts().unwrap().iter().map(|receipt| receipt.gas_used).collect();
        assert!(gas.iter().all(|gas| *gas > 0));
        assert_eq!(found.receipt.cumulative_gas_used, gas[0] + gas[1]);
        let proof = chain.transaction_proof(&calls[1].hash).unwrap().unwrap();
        assert!(merkle::verify(chain.suite(), &calls[1].hash, &second.header().transactions_root, &proof));
        let proof = chain.receipt_proof(&calls[2].hash).unwrap().unwrap();
        assert!(merkle::verify(chain.suite(), &second.receipt_hashes()[2], &second.header().receipts_root, &proof));
        assert!(chain.locate(&B256::repeat_byte(9)).unwrap().is_none());

        let count = |at| chain.state_at(at).unwrap().storage(counter, B256::ZERO).unwrap();
        assert_eq!([count(Some(0)), count(Some(1)), count(Some(2)), count(None)], [0, 0, 3, 3].map(U256::from));
        assert!(chain.state_at(Some(0)).unwrap().code(counter).unwrap().is_empty());
        assert_eq!(chain.state_at(Some(1)).unwrap().code(counter).unwrap().len(), 10);
        assert_eq!(chain.state_at(None).unwrap().abi(counter).unwrap(), "[]");
        assert!(matches!(chain.state_at(Some(4)), Err(ChainError::NoSuchBlock { number: 4, height: 3 })));
        let rich = chain.state_at(Some(0)).unwrap().account(account(5)).unwrap();
        assert_eq!((rich.balance, rich.nonce), (U256::from(70), 3));
        assert_eq!(chain.state_at(None).unwrap().block_hash(2).unwrap(), Some(second.hash()));
        assert_eq!(chain.state_at(Some(1)).unwrap().block_hash(2).unwrap(), None);

        assert!(chain.has_nonce("call 2") && !chain.has_nonce("call 3"));
        let request = CallRequest { to: Some(counter), ..CallRequest::default() };
        let called = chain.call(&request, Some(1)).unwrap();
        assert_eq!(called.status, 0);
        assert_eq!(count(None), U256::from(3), "a call leaves nothing");
    };
    check(&chain);
    let hashes: Vec<_> = [None, Some(0), Some(1), Some(2)].map(|at| chain.state_hash(at).unwrap()).into();
    assert!(hashes[1] != hashes[2] && hashes[2] != hashes[3] && hashes[0] == hashes[3]);
    drop(chain);
    let chain = Chain::create_or_open(folder.path(), &founding).unwrap();
    check(&chain);
    assert_eq!(hashes, [None, Some(0), Some(1), Some(2)].map(|at| chain.state_hash(at).unwrap()));
    drop(chain);

    // State and indexes follow from the blocks.
    std::fs::remove_dir_all(folder.path().join("derived")).unwrap();
    let chain = Chain::create_or_open(folder.path(), &founding).unwrap();
    check(&chain);
    assert_eq!(hashes, [None, Some(0), Some(1), Some(2)].map(|at| chain.state_hash(at).unwrap()));
    drop(chain);

    let mut other = founding.clone();
    other.genesis.gas_limit += 1;
    let text = Chain::create_or_open(folder.path(), &other).unwrap_err().to_string();
    assert!(text.contains("gaslimit:3000000000") && text.contains("gaslimit:3000000001"), "{text}");
}

#[test]
fn blocks_are_executed_ahead_and_forks_that_lost_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let genesis = (0, chain.genesis_hash());
    let one = chain.execute(&propose(genesis, vec![send(0, "a", None, counter())])).unwrap();
    let counter = one.receipts()[0].contract_address.unwrap();
    let at = |block: &bcos_chain::ExecutedBlock| (block.number(), block.hash());
    let call = |nonce: &str| send(1, nonce, Some(counter), Vec::new());
    let two = chain.execute(&propose(at(&one), vec![call("b")])).unwrap();
    let fork = chain.execute(&propose(at(&one), vec![call("b"), call("c")])).unwrap();
    let three = chain.execute(&propose(at(&two), vec![call("d")])).unwrap();
    let on_fork = chain.execute(&propose(at(&fork), vec![call("d")])).unwrap();
    assert_eq!(chain.height(), 0);
    assert_eq!(chain.state_of(three.hash()).unwrap().storage(counter, B256::ZERO).unwrap(), U256::from(2));
    assert_eq!(chain.state_of(on_fork.hash()).unwrap().storage(counter, B256::ZERO).unwrap(), U256::from(3));
    assert_eq!(chain.state_of(three.hash()).unwrap().block_hash(2).unwrap(), Some(two.hash()));

    assert!(matches!(chain.commit(&two, signatures(&two)), Err(ChainError::NotNext { number: 2, next: 1, .. })));
    chain.commit(&one, signatures(&one)).unwrap();
    assert!(chain.executed(&fork.hash()).is_some());
    chain.commit(&two, signatures(&two)).unwrap();
    assert!(matches!(chain.commit(&fork, signatures(&fork)), Err(ChainError::NotNext { number: 2, next: 3, .. })));
    assert!(chain.executed(&fork.hash()).is_none() && chain.executed(&on_fork.hash()).is_none());
    assert!(matches!(chain.commit(&on_fork, signatures(&on_fork)), Err(ChainError::NotNext { number: 3, .. })));
    // On top of a block whose lower part is committed meanwhile.
    let four = chain.execute(&propose(at(&three), vec![call("e")])).unwrap();
    chain.commit(&three, signatures(&three)).unwrap();
    chain.commit(&four, signatures(&four)).unwrap();
    assert_eq!(chain.state_at(None).unwrap().storage(counter, B256::ZERO).unwrap(), U256::from(3));
    let count = |at| chain.state_at(Some(at)).unwrap().storage(counter, B256::ZERO).unwrap();
    assert_eq!([count(1), count(2), count(3), count(4)], [0, 1, 2, 3].map(U256::from));
}

#[test]
fn proposals_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let good = next(&chain, vec![send(0, "a", None, counter())]);
    let tried = |change: &dyn Fn(&mut bcos_chain::Proposal)| {
        let mut proposal = good.clone();
        change(&mut proposal);
        chain.execute(&proposal).unwrap_err()
    };
    assert!(matches!(tried(&|p| p.number = 2), ChainError::WrongNumber { number: 2, parent: 0 }));
    assert!(matches!(tried(&|p| p.parent = B256::ZERO), ChainError::UnknownParent { number: 1, tip: 0, .. }));
    assert!(matches!(tried(&|p| p.sealer = 1), ChainError::UnknownSealer { sealer: 1, sealers: 1, .. }));
    let twice = |p: &mut bcos_chain::Proposal| p.transactions.push(p.transactions[0].clone());
    assert!(matches!(tried(&twice), ChainError::Twice { number: 1, .. }));
    let mut data = good.transactions[0].tx.data.clone();
    data.to = "no address".into();
    let odd = bcos_types::Transaction::signed(data, &key(0));
    let odd = bcos_types::VerifiedTx::verify(odd, chain.suite()).unwrap();
    let block = extend(&chain, vec![odd]);
    assert_eq!(block.receipt(0).unwrap().unwrap().status, status::MALFORMED);
}

#[test]
fn configurations_that_cannot_found_a_chain_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut bcos_chain::ChainConfig), expected: &str| {
        let mut config = config();
        change(&mut config);
        let folder = tempfile::tempdir().unwrap();
        let text = Chain::create_or_open(folder.path(), &config).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    refused(&|config| config.genesis.compatibility_version = "3.9.0".into(), "3.9.0");
    refused(&|config| config.genesis.compatibility_version = "3.17.0".into(), "3.17.0");
    refused(&|config| config.genesis.compatibility_version = "new".into(), "new");
    refused(&|config| config.genesis.is_wasm = true, "is_wasm");
    refused(&|config| config.executor_version = 0, "executor.version");
    refused(&|config| config.genesis.gas_limit = 99_999, "gas_limit");
    refused(&|config| config.genesis.block_tx_count_limit = 0, "block_tx_count_limit");
    refused(&|config| config.web3_chain_id = 1 << 32, "web3.chain_id");
    refused(&|config| config.genesis.sealers.clear(), "node.0");
    refused(&|config| config.genesis.sealers[0].0.push('0'), "node id");
    refused(&|config| config.genesis.sealers[0].1 = 0, "weight 0");
    refused(&|config| config.genesis.sealers.push((SEALER.into(), 2)), "twice");
    refused(&|config| config.genesis.features = Some(vec![("feature_magic".into(), true)]), "feature_magic");
}

#[test]
fn nonces_are_known_for_a_thousand_blocks_across_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    extend(&chain, vec![send(0, "old", None, counter())]);
    extend(&chain, vec![send(0, "young", None, counter())]);
    while chain.height() < NONCE_BLOCKS {
        extend(&chain, vec![]);
    }
    assert!(chain.has_nonce("old") && chain.has_nonce("young"));
    drop(chain);
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    assert!(chain.has_nonce("old") && chain.has_nonce("young"));
    extend(&chain, vec![]);
    assert!(!chain.has_nonce("old") && chain.has_nonce("young"));
    drop(chain);
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    assert!(!chain.has_nonce("old") && chain.has_nonce("young"));
}

#[test]
fn a_cell_of_the_past_can_be_read_with_every_cell_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let mut dumps = vec![chain.state_at(None).unwrap().cells().unwrap()];
    for number in 1..8 {
        extend(&chain, scripted(&chain, number));
        dumps.push(chain.state_at(None).unwrap().cells().unwrap());
    }
    for (number, dump) in dumps.iter().enumerate() {
        let view = chain.state_at(Some(number as u64)).unwrap();
        assert_eq!(&view.cells().unwrap(), dump);
        for (key, value) in dump {
            assert_eq!(view.get(key).unwrap().as_ref(), Some(value), "{key:?} at {number}");
        }
        let rows: Vec<_> = dump
            .iter()
            .filter_map(|(key, value)| match key {
                StateKey::Row { table, key } if **table == *"s_config" => Some((key.clone(), value.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(view.rows("s_config", b"", usize::MAX).unwrap(), rows);
        assert_eq!(
            view.rows("s_config", b"bugfix_z", 2).unwrap(),
            rows.iter().filter(|(key, _)| key[..] >= b"bugfix_z"[..]).take(2).cloned().collect::<Vec<_>>()
        );
    }
}

/// The input of a method with two texts.
fn two_texts(chain: &Chain, signature: &str, one: &str, two: &str) -> Vec<u8> {
    use alloy_sol_types::SolValue as _;
    let mut input = bcos_types::selector(chain.suite(), signature).to_vec();
    input.extend((one.to_owned(), two.to_owned()).abi_encode_params());
    input
}

#[test]
fn settings_and_nodes_change_from_the_next_block_on() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let system = "0x0000000000000000000000000000000000001000".parse().unwrap();
    let set = |nonce: &str, key: &str, value: &str| {
        send(0, nonce, Some(system), two_texts(&chain, "setValueByKey(string,string)", key, value))
    };
    let block = extend(&chain, vec![set("limit", "tx_gas_limit", "500000"), send(0, "same block", None, counter())]);
    for receipt in block.receipts().unwrap() {
        assert_eq!(receipt.status, 0, "{receipt:?}");
    }
    let setting = chain.system_config("tx_gas_limit").unwrap().unwrap();
    assert_eq!((setting.value.as_str(), setting.enable_number), ("500000", 2));
    let env = |at| chain.env_at(&chain.state_at(at).unwrap()).unwrap();
    // A call on block 1 is made under that block's settings, block 2 is executed under the new ones.
    assert_eq!((env(Some(0)).gas_limit, env(None).gas_limit), (3_000_000_000, 3_000_000_000));
    extend(&chain, vec![]);
    assert_eq!((env(Some(1)).gas_limit, env(None).gas_limit), (3_000_000_000, 500_000));

    let consensus = "0x0000000000000000000000000000000000001003".parse().unwrap();
    let node = "ab".repeat(64);
    let add_observer = {
        use alloy_sol_types::SolValue as _;
        let mut input = bcos_types::selector(chain.suite(), "addObserver(string)").to_vec();
        input.extend((node.clone(),).abi_encode_params());
        input
    };
    let add_sealer = {
        use alloy_sol_types::SolValue as _;
        let mut input = bcos_types::selector(chain.suite(), "addSealer(string,uint256)").to_vec();
        input.extend((node.clone(), U256::from(7)).abi_encode_params());
        input
    };
    let block = extend(&chain, vec![send(0, "observer", Some(consensus), add_observer)]);
    assert_eq!(block.receipt(0).unwrap().unwrap().status, 0);
    let nodes = chain.nodes().unwrap();
    assert_eq!((nodes.len(), nodes[1].kind, nodes[1].enable_number), (2, NodeKind::Observer, 4));
    let block = extend(&chain, vec![send(0, "sealer", Some(consensus), add_sealer)]);
    assert_eq!(block.receipt(0).unwrap().unwrap().status, 0);
    assert_eq!((block.header().sealer_list.len(), &block.header().consensus_weights[..]), (1, &[1][..]));
    let block = extend(&chain, vec![]);
    assert_eq!((block.header().sealer_list.len(), &block.header().consensus_weights[..]), (2, &[1, 7][..]));
    assert_eq!(alloy_primitives::hex::encode(&block.header().sealer_list[1]), node);
    let (ids, weights) = chain.sealers(&chain.state_of(chain.tip().hash()).unwrap()).unwrap();
    assert_eq!((ids, weights), (block.header().sealer_list.clone(), vec![1, 7]));
}

#[test]
fn committed_transactions_can_be_executed_again_on_what_they_met() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    for number in 1..5 {
        let block = extend(&chain, scripted(&chain, number));
        let seen = chain.replay(number, 1..=usize::MAX, |executor, state, env, input, index| {
            let outcome = executor.execute_transaction(state, env, input, index)?;
            Ok((outcome.clone(), (index, outcome)))
        });
        let seen = seen.unwrap();
        assert_eq!(seen.len(), block.len() - 1);
        for (index, outcome) in seen.into_iter().flatten() {
            let receipt = block.receipt(index as usize).unwrap().unwrap();
            let expected = (receipt.gas_used, receipt.status, receipt.output.clone());
            assert_eq!((outcome.gas_used, outcome.status, outcome.output), expected);
        }
    }
    let nothing = |number| chain.replay(number, 0..=0, |_, _, _, _, _| Ok((TxOutcome::default(), ()))).unwrap_err();
    assert!(
        matches!(nothing(0), ChainError::NoSuchBlock { .. }) && matches!(nothing(5), ChainError::NoSuchBlock { .. })
    );
}

#[test]
fn a_damaged_state_is_moved_away_and_derived_again() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    for number in 1..6 {
        extend(&chain, scripted(&chain, number));
    }
    let (tip, state) = (chain.tip().hash(), chain.state_hash(None).unwrap());
    drop(chain);
    let mut folders = vec![folder.path().join("derived")];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                std::fs::write(entry.path(), b"not what was written").unwrap();
            }
        }
    }
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    assert_eq!((chain.tip().hash(), chain.state_hash(None).unwrap()), (tip, state));
    assert!(folder.path().join("derived.damaged").exists());
    extend(&chain, scripted(&chain, 6));
}

#[test]
fn a_chain_with_the_other_suite_lives_as_well() {
    let mut founding = bcos_chain::ChainConfig::new(SuiteKind::Sm, vec![(SEALER.into(), 1)]);
    founding.genesis.consensus_type = "rpbft".into();
    founding.genesis.epoch_sealer_num = 2;
    for number in 0..4_u8 {
        founding.genesis.sealers.push((format!("{number:0128x}"), 1));
    }
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &founding).unwrap();
    let nodes = chain.nodes().unwrap();
    assert_eq!(nodes.iter().filter(|node| node.kind == NodeKind::Sealer).count(), 2);
    assert_eq!(nodes.iter().filter(|node| node.kind == NodeKind::Candidate).count(), 3);
    assert_eq!(chain.system_config("feature_rpbft").unwrap().unwrap().value, "1");
    let key = konsort_crypto::SuiteKey::from_bytes(SuiteKind::Sm, &[7; 32]).unwrap();
    let sign = |nonce: &str, to: Option<alloy_primitives::Address>, input: Vec<u8>| {
        let data = bcos_types::TransactionData {
            nonce: nonce.into(),
            to: to.map_or_else(String::new, |to| format!("{to:#x}")),
            input: input.into(),
            ..bcos_types::TransactionData::default()
        };
        bcos_types::VerifiedTx::verify(bcos_types::Transaction::signed(data, &key), chain.suite()).unwrap()
    };
    let block = extend(&chain, vec![sign("one", None, counter())]);
    assert_eq!(block.header().sealer_list.len(), 2);
    let counter = block.receipt(0).unwrap().unwrap().contract_address.unwrap();
    let block = extend(&chain, vec![sign("two", Some(counter), Vec::new())]);
    let hash = block.transaction_hashes()[0];
    let proof = chain.transaction_proof(&hash).unwrap().unwrap();
    assert!(merkle::verify(chain.suite(), &hash, &block.header().transactions_root, &proof));
    let before = chain.state_hash(None).unwrap();
    drop(chain);
    let chain = Chain::create_or_open(folder.path(), &founding).unwrap();
    assert_eq!(chain.state_hash(None).unwrap(), before);
    assert_eq!(chain.state_at(None).unwrap().storage(counter, B256::ZERO).unwrap(), U256::from(1));
}

#[test]
fn ethereum_transactions_are_found_by_their_own_hash_and_count_in_their_account() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/web3_transactions.json");
    let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::create_or_open(folder.path(), &config()).unwrap();
    let mut found = 0;
    for vector in golden["vectors"].as_array().unwrap() {
        let Some(raw) = vector["raw"].as_str().and_then(|raw| alloy_primitives::hex::decode(raw).ok()) else {
            continue;
        };
        let Ok(transaction) = bcos_types::VerifiedTx::from_web3_raw(&raw, 1) else { continue };
        if chain.place(&transaction.hash).unwrap().is_some() {
            continue;
        }
        let nonce = bcos_types::web3::fields(&transaction.tx).unwrap().nonce;
        let before = chain.state_at(None).unwrap().account(transaction.sender).unwrap().nonce;
        extend(&chain, vec![transaction.clone()]);
        assert_eq!(vector["hash"].as_str().unwrap().parse::<B256>().unwrap(), transaction.hash);
        assert_eq!(chain.place(&transaction.hash).unwrap(), Some((chain.height(), 0)));
        let after = chain.state_at(None).unwrap().account(transaction.sender).unwrap().nonce;
        assert_eq!(after, before.max(nonce) + 1);
        assert!(!chain.has_nonce(&transaction.tx.data.nonce));
        found += 1;
    }
    assert!(found >= 3, "{found} vectors");
}
