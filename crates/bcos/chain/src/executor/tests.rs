//! Compiled Solidity contracts on a world of plain maps.

mod traces;

use alloy_primitives::{Address, B256, Bytes, U256, address, hex, keccak256};
use alloy_sol_types::{SolType, sol_data};
use konsort_crypto::SuiteKind;

use super::call::CallRequest;
use super::*;
use crate::access::{AccountRecord, StateKey, StateRead};
use crate::test_world::{World, env};

const ALICE: Address = address!("1111111111111111111111111111111111111111");
const BOB: Address = address!("2222222222222222222222222222222222222222");

fn code(name: &str) -> Vec<u8> {
    let text = match name {
        "Token" => include_str!("../../tests/fixtures/Token.hex"),
        _ => include_str!("../../tests/fixtures/Probe.hex"),
    };
    hex::decode(text.trim()).unwrap()
}

fn bcos(to: Option<Address>, input: Vec<u8>) -> TxInput {
    TxInput {
        web3: false,
        sender: ALICE,
        to,
        input: input.into(),
        value: U256::ZERO,
        nonce: 0,
        abi: if to.is_none() { "[]".into() } else { String::new() },
    }
}

/// Selector by the chain's hash and encoded arguments.
fn data(executor: &Executor, signature: &str, arguments: &[u8]) -> Vec<u8> {
    let mut out = executor.suite().hash(signature.as_bytes())[..4].to_vec();
    out.extend_from_slice(arguments);
    out
}

fn uint(value: u64) -> Vec<u8> {
    U256::from(value).to_be_bytes::<32>().to_vec()
}

fn transfer(executor: &Executor, to: Address, value: u64) -> Vec<u8> {
    let mut arguments = to.into_word().to_vec();
    arguments.extend(uint(value));
    data(executor, "transfer(address,uint256)", &arguments)
}

fn deploy(executor: &Executor, world: &mut World, name: &str, arguments: &[u8], number: u64) -> Address {
    let mut input = code(name);
    input.extend_from_slice(arguments);
    let outcome = world.apply(executor, number, &bcos(None, input), 0);
    assert_eq!(outcome.status, 0, "{}", String::from_utf8_lossy(&outcome.output));
    assert!(outcome.output.is_empty());
    outcome.contract_address.unwrap()
}

fn words(output: &[u8]) -> Vec<U256> {
    output.chunks(32).map(U256::from_be_slice).collect()
}

fn reason(output: &[u8]) -> String {
    <(sol_data::String,)>::abi_decode_params(&output[4..]).unwrap().0
}

#[test]
fn a_token_is_deployed_and_moves() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(1_000), 7);
    assert_eq!(token, Address::from_slice(&keccak256("7_0_0")[..20]));
    let record = world.account(token);
    assert_eq!(record.nonce, 1);
    let stored = world.get(&StateKey::Code(record.code_hash)).unwrap();
    assert_eq!(keccak256(&stored), record.code_hash);
    assert_eq!(world.get(&StateKey::Abi(record.code_hash)).unwrap().as_ref(), b"[]");
    // Native transactions have no account nonce.
    assert!(world.get(&StateKey::Account(ALICE)).is_none());

    let outcome = world.apply(&executor, 8, &bcos(Some(token), transfer(&executor, BOB, 30)), 1);
    assert_eq!(outcome.status, 0);
    assert_eq!(words(&outcome.output), [U256::from(1)]);
    assert_eq!(outcome.logs.len(), 1);
    assert_eq!(outcome.logs[0].address, token);
    assert_eq!(outcome.logs[0].topics[0], keccak256("Transfer(address,address,uint256)"));
    assert_eq!(outcome.logs[0].topics[2], BOB.into_word());
    // One account and two slots are all a transfer depends on; two slots are all it changes.
    assert_eq!(outcome.reads.len(), 3, "{:?}", outcome.reads);
    assert_eq!(outcome.writes.len(), 2, "{:?}", outcome.writes);
    assert!(outcome.writes.iter().all(|(key, _)| matches!(key, StateKey::Slot(at, _) if *at == token)));
    assert!(outcome.gas_used > CALL_GAS && outcome.gas_used < 60_000, "{}", outcome.gas_used);

    let balance = data(&executor, "balanceOf(address)", BOB.into_word().as_slice());
    let call = CallRequest { to: Some(token), data: balance.into(), ..CallRequest::default() };
    let answer = executor.call(&world, &env(8), &call).unwrap();
    assert_eq!(words(&answer.output), [U256::from(30)]);
}

#[test]
fn failures_have_upstreams_status_and_leave_nothing() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe = deploy(&executor, &mut world, "Probe", &[], 1);
    let token = deploy(&executor, &mut world, "Token", &uint(5), 2);
    let before = world.clone();
    let cases = [
        (0_u64, bcos_types::status::REVERT_INSTRUCTION, Some("as told")),
        (1, bcos_types::status::BAD_INSTRUCTION, Some("Execution invalid/undefined opcode.")),
        (2, bcos_types::status::OUT_OF_GAS, Some("Execution out of gas.")),
        (3, bcos_types::status::REVERT_INSTRUCTION, None),
    ];
    for (how, status, text) in cases {
        let mut environment = env(3);
        environment.gas_limit = 30_000_000;
        let input = bcos(Some(probe), data(&executor, "fail(uint256)", &uint(how)));
        let outcome = executor.execute_transaction(&world, &environment, &input, 0).unwrap();
        assert_eq!(outcome.status, status, "case {how}");
        assert!(outcome.writes.is_empty() && outcome.logs.is_empty());
        if let Some(text) = text {
            assert_eq!(reason(&outcome.output), text);
        }
        if how == 1 || how == 2 {
            assert_eq!(outcome.gas_used, 30_000_000);
        }
    }
    let outcome = world.apply(&executor, 4, &bcos(Some(token), transfer(&executor, BOB, 6)), 0);
    assert_eq!(outcome.status, 16);
    assert_eq!(reason(&outcome.output), "balance too low");
    // Data for an address without code.
    let outcome = world.apply(&executor, 4, &bcos(Some(BOB), vec![1, 2, 3, 4]), 0);
    assert_eq!(outcome.status, 16);
    assert_eq!(reason(&outcome.output), "Call address error.");
    assert_eq!(outcome.gas_used, CALL_GAS);
    let outcome = world.apply(&executor, 4, &bcos(Some(BOB), Vec::new()), 0);
    assert_eq!((outcome.status, outcome.gas_used), (0, CALL_GAS));
    assert_eq!(world, before);
}

#[test]
fn contracts_see_the_engines_environment() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe = deploy(&executor, &mut world, "Probe", &[], 1);
    let mut tx = bcos(Some(probe), data(&executor, "environment()", &[]));
    tx.value = U256::from(12);
    let environment = env(9);
    let outcome = executor.execute_transaction(&world, &environment, &tx, 0).unwrap();
    let expected = [environment.timestamp_ms, 3_000_000_000, 0, 0, 0, 20_200, 12, 9].map(U256::from);
    assert_eq!(words(&outcome.output), expected);
    // Value is seen but nothing moved.
    assert!(outcome.writes.is_empty(), "{:?}", outcome.writes);
    let seconds = BlockEnv { timestamp_in_seconds: true, ..environment.clone() };
    let outcome = executor.execute_transaction(&world, &seconds, &tx, 0).unwrap();
    assert_eq!(words(&outcome.output)[0], U256::from(environment.timestamp_ms / 1000));
    // With the setting on, the value must be there.
    let moving = BlockEnv { balance_transfer: true, ..environment };
    let outcome = executor.execute_transaction(&world, &moving, &tx, 0).unwrap();
    assert_eq!(outcome.status, bcos_types::status::NOT_ENOUGH_CASH);
    world.set_account(ALICE, AccountRecord { balance: U256::from(20), ..AccountRecord::default() });
    let outcome = executor.execute_transaction(&world, &moving, &tx, 0).unwrap();
    assert_eq!(outcome.status, 0);
    world.write(&outcome);
    assert_eq!(world.account(ALICE).balance, U256::from(8));
    assert_eq!(world.account(probe).balance, U256::from(12));
}

#[test]
fn addresses_of_new_contracts_follow_the_client_and_the_suite() {
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let executor = Executor::new(kind);
        let suite = executor.suite();
        let mut world = World::default();
        let probe = deploy(&executor, &mut world, "Probe", &[], 3);
        assert_eq!(probe.as_slice(), &suite.hash(b"3_0_0")[..20]);
        assert_eq!(
            world.account(probe).code_hash,
            suite.hash(&world.code_of(probe)),
            "code is named by the chain's hash"
        );
        // A nested creation counts on.
        let outcome = world.apply(&executor, 4, &bcos(Some(probe), keccak_data("makeChild()", &[])), 5);
        assert_eq!(outcome.status, 0);
        assert_eq!(&outcome.output[12..32], &suite.hash(b"4_5_1")[..20]);
        assert_eq!(world.account(probe).nonce, 1, "native transactions leave nonces alone");
        let outcome = world.apply(&executor, 5, &bcos(Some(probe), keccak_data("makeChild2(bytes32)", &[9; 32])), 0);
        assert_eq!(outcome.status, 0);
        let child = Address::from_slice(&outcome.output[12..32]);
        assert_ne!(child, Address::ZERO);
        let again = world.apply(&executor, 6, &bcos(Some(probe), keccak_data("makeChild2(bytes32)", &[9; 32])), 0);
        assert_ne!(again.status, 0, "the address is taken");
        // The opcode hashes as the chain does.
        let mut arguments = uint(32);
        arguments.extend(uint(3));
        arguments.extend_from_slice(b"abc");
        arguments.extend([0; 29]);
        let outcome = world.apply(&executor, 7, &bcos(Some(probe), keccak_data("hashOf(bytes)", &arguments)), 0);
        assert_eq!(outcome.output.as_ref(), suite.hash(b"abc"));
    }
}

/// The fixtures are compiled with Keccak selectors on either suite.
fn keccak_data(signature: &str, arguments: &[u8]) -> Vec<u8> {
    data(&Executor::new(SuiteKind::International), signature, arguments)
}

#[test]
fn web3_transactions_count_nonces() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let web3 = |to, input, nonce| TxInput { web3: true, nonce, ..bcos(to, input) };
    let outcome = world.apply(&executor, 1, &web3(None, code("Probe"), 0), 0);
    let probe = outcome.contract_address.unwrap();
    assert_eq!(probe, ALICE.create(0));
    assert_eq!(world.account(ALICE).nonce, 1);
    // A gap is no fault; a failure counts too.
    let fail = data(&executor, "fail(uint256)", &uint(0));
    let outcome = world.apply(&executor, 2, &web3(Some(probe), fail, 5), 0);
    assert_eq!(outcome.status, 16);
    assert_eq!(world.account(ALICE).nonce, 6);
    world.apply(&executor, 3, &web3(Some(BOB), Vec::new(), 2), 0);
    assert_eq!(world.account(ALICE).nonce, 7);
    let outcome = world.apply(&executor, 4, &web3(Some(probe), data(&executor, "makeChild()", &[]), 7), 0);
    assert_eq!(Address::from_slice(&outcome.output[12..32]), probe.create(1));
    assert_eq!(world.account(probe).nonce, 2);
    let again = CallRequest { from: ALICE, data: code("Probe").into(), web3: true, ..CallRequest::default() };
    assert_eq!(executor.call(&world, &env(5), &again).unwrap().contract_address, Some(ALICE.create(8)));
}

#[test]
fn selfdestruct_only_stops_and_ordinary_calls_go_on() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe = deploy(&executor, &mut world, "Probe", &[], 1);
    let outcome = world.apply(&executor, 2, &bcos(Some(probe), data(&executor, "destroy()", &[])), 0);
    assert_eq!(outcome.status, 0);
    assert!(outcome.writes.is_empty());
    assert!(!world.account(probe).code_hash.is_zero());
    let nobody = data(&executor, "callNobody(address)", BOB.into_word().as_slice());
    let outcome = world.apply(&executor, 3, &bcos(Some(probe), nobody), 0);
    assert_eq!(words(&outcome.output), [U256::ZERO], "a call with data to no code fails inside too");
}

#[test]
fn a_price_of_gas_is_paid_or_the_transaction_undone() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(100), 1);
    let priced = BlockEnv { gas_price: U256::from(2), ..env(2) };
    let tx = bcos(Some(token), transfer(&executor, BOB, 1));
    let outcome = executor.execute_transaction(&world, &priced, &tx, 0).unwrap();
    assert_eq!(outcome.status, bcos_types::status::NOT_ENOUGH_CASH);
    assert!(outcome.writes.is_empty() && outcome.logs.is_empty());
    world.set_account(ALICE, AccountRecord { balance: U256::from(1_000_000), ..AccountRecord::default() });
    let outcome = executor.execute_transaction(&world, &priced, &tx, 0).unwrap();
    assert_eq!(outcome.status, 0);
    assert_eq!(outcome.effective_gas_price, "0x2");
    world.write(&outcome);
    assert_eq!(world.account(ALICE).balance, U256::from(1_000_000 - 2 * outcome.gas_used));
}

#[test]
fn estimates_are_enough_and_close() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe = deploy(&executor, &mut world, "Probe", &[], 1);
    let input = data(&executor, "makeChild()", &[]);
    let request = CallRequest { from: ALICE, to: Some(probe), data: input.into(), ..CallRequest::default() };
    let used = executor.call(&world, &env(2), &request).unwrap().gas_used;
    let estimate = executor.estimate_gas(&world, &env(2), &request).unwrap().unwrap();
    assert!(estimate >= used && estimate < used + used / 20, "{estimate} for {used}");
    let enough = executor.call(&world, &env(2), &CallRequest { gas: Some(estimate), ..request.clone() }).unwrap();
    assert_eq!(enough.status, 0);
    let fail = data(&executor, "fail(uint256)", &uint(0));
    let refused = executor.estimate_gas(&world, &env(2), &CallRequest { data: fail.into(), ..request }).unwrap();
    assert_eq!(reason(&refused.unwrap_err().output), "as told");
}

#[test]
fn a_failing_store_is_an_error_and_not_a_result() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(100), 1);
    world.failing_slots = true;
    let tx = bcos(Some(token), transfer(&executor, BOB, 1));
    let error = executor.execute_transaction(&world, &env(2), &tx, 0).unwrap_err();
    assert_eq!(error, AccessError::Dependency { index: 3 });
    world.failing_slots = false;
    assert_eq!(executor.execute_transaction(&world, &env(2), &tx, 0).unwrap().status, 0);
    let reads = executor.execute_transaction(&world, &env(2), &tx, 0).unwrap().reads;
    assert!(reads.contains(&StateRead::Key(StateKey::Account(token))));
}

/// Not a benchmark, only a line to look at: `cargo test -p bcos-chain --release speed -- --nocapture --ignored`.
#[test]
#[ignore = "prints a duration"]
fn speed_of_token_transfers() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(1_000_000_000), 1);
    let environment = env(2);
    let transactions: Vec<TxInput> = (0..1_000_u64)
        .map(|n| bcos(Some(token), transfer(&executor, Address::from_word(B256::from(U256::from(n + 1))), 1)))
        .collect();
    let start = std::time::Instant::now();
    for _ in 0..20 {
        for tx in &transactions {
            assert_eq!(executor.execute_transaction(&world, &environment, tx, 0).unwrap().status, 0);
        }
    }
    #[expect(clippy::print_stdout, reason = "the figure is all this test is for")]
    {
        println!("{:?} per transfer", start.elapsed() / 20_000);
    }
}

#[test]
fn outcomes_do_not_depend_on_what_the_thread_ran_before() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let token = deploy(&executor, &mut world, "Token", &uint(100), 1);
    let probe = deploy(&executor, &mut world, "Probe", &[], 2);
    let tx = bcos(Some(token), transfer(&executor, BOB, 1));
    let first = executor.execute_transaction(&world, &env(3), &tx, 0).unwrap();
    for how in 0..4 {
        let fail = bcos(Some(probe), data(&executor, "fail(uint256)", &uint(how)));
        let small = BlockEnv { gas_limit: 1_000_000, ..env(3) };
        executor.execute_transaction(&world, &small, &fail, 0).unwrap();
        let mut again = executor.execute_transaction(&world, &env(3), &tx, 0).unwrap();
        again.reads.sort_unstable();
        let mut expected = first.clone();
        expected.reads.sort_unstable();
        assert_eq!(again, expected);
    }
    let _: Bytes = first.output;
}

#[test]
fn contracts_reach_tables() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe = deploy(&executor, &mut world, "Probe", &[], 2);
    type Text = sol_data::String;
    let arguments = <(Text, Text, Text)>::abi_encode_params(&("t_x", "key", "value"));
    let tx = bcos(Some(probe), data(&executor, "keyValue(string,string,string)", &arguments));
    let outcome = world.apply(&executor, 3, &tx, 0);
    assert_eq!(outcome.status, 0, "{}", String::from_utf8_lossy(&outcome.output));
    let answer = <(sol_data::Bool, Text)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!(answer, (true, "value".to_owned()));
    // The second time the table is there.
    let outcome = world.apply(&executor, 4, &tx, 0);
    assert_eq!((outcome.status, reason(&outcome.output).as_str()), (16, "table"));
}

#[test]
fn published_addresses_come_out() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/addresses.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = golden["bcos_rule"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let kind = if case["suite"] == "sm3" { SuiteKind::Sm } else { SuiteKind::International };
        let executor = Executor::new(kind);
        let number = case["block"].as_u64().unwrap();
        let index = case["index"].as_u64().unwrap() as u32;
        let expected: Address = case["address"].as_str().unwrap().parse().unwrap();
        if case["seq"] != 0 {
            let sequence = case["seq"].as_u64().unwrap();
            assert_eq!(sequence_address(executor.suite(), number, index, sequence), expected);
            continue;
        }
        let outcome = World::default().apply(&executor, number, &bcos(None, code("Probe")), index);
        assert_eq!(outcome.contract_address, Some(expected), "{case}");
    }
}

#[test]
fn commitments_are_checked_without_a_library_in_c() {
    // A published case of the reference tests: verify_kzg_proof_case_correct_proof_4_4.
    let commitment =
        hex!("8f59a8d2a1a625a17f3fea0fe5eb8c896db3764f3185481bc22f91b4aaffcca25f26936857bc3a7c2539ea8ec3a952b7");
    let proof =
        hex!("a62ad71d14c5719385c0686f1871430475bf3a00f0aa3f7b8dd99a9abc2160744faf0070725e00b60ad9a026a15b1a8c");
    let z = hex!("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000000");
    let y = hex!("1522a4a7f34e1ea350ae07c29c96c7e79655aa926122e95fe69fcbd932ca49e9");
    let mut hash = konsort_crypto::hash::sha256(&commitment);
    hash[0] = 1;
    let executor = Executor::new(SuiteKind::International);
    let check = |y: &[u8]| {
        let input = [&hash[..], &z, y, &commitment, &proof].concat();
        let point_evaluation = Address::with_last_byte(0xa);
        executor.execute_transaction(&World::default(), &env(1), &bcos(Some(point_evaluation), input), 0).unwrap()
    };
    let outcome = check(&y);
    assert_eq!((outcome.status, outcome.output.len()), (0, 64));
    assert_ne!(check(&z).status, 0);
}

#[test]
fn constructors_see_a_value_that_does_not_move() {
    // CALLVALUE, kept in slot 0; no code.
    let init = hex!("345f55600080f3").to_vec();
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let mut tx = bcos(None, init);
    tx.value = U256::from(7);
    let outcome = world.apply(&executor, 1, &tx, 0);
    assert_eq!(outcome.status, 0);
    let contract = outcome.contract_address.unwrap();
    let slot = world.get(&StateKey::Slot(contract, B256::ZERO)).unwrap();
    assert_eq!(U256::from_be_slice(&slot), U256::from(7));
    assert_eq!(world.account(contract), AccountRecord { nonce: 1, ..AccountRecord::default() });
    let moving = BlockEnv { balance_transfer: true, ..env(2) };
    let outcome = executor.execute_transaction(&world, &moving, &tx, 0).unwrap();
    assert_eq!(outcome.status, bcos_types::status::NOT_ENOUGH_CASH);
    // The same place twice in one block cannot be; the same address again is refused.
    let again = world.apply(&executor, 1, &tx, 0);
    assert_eq!(again.status, bcos_types::status::CONTRACT_ADDRESS_ALREADY_USED);
    assert_eq!(reason(&again.output), "Contract address already used.");
}

#[test]
fn hashes_of_earlier_blocks_are_seen() {
    // BLOCKHASH(3), and of block 999.
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let code = hex!("6003405f526103e74060205260405ff3");
    let mut init = hex!("6010600c60003960106000f3").to_vec();
    init.extend_from_slice(&code);
    let outcome = world.apply(&executor, 1, &bcos(None, init), 0);
    let contract = outcome.contract_address.unwrap();
    let outcome = world.apply(&executor, 10, &bcos(Some(contract), Vec::new()), 0);
    assert_eq!(words(&outcome.output), [U256::from(3), U256::ZERO]);
}
