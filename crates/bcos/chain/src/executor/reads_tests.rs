//! The scheduler relies on it: whatever a transaction asks of the state is in its reads.

use std::cell::RefCell;
use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_sol_types::{SolType, sol_data};
use konsort_crypto::SuiteKind;

use super::{Executor, TxInput};
use crate::access::{AccessError, BlockEnv, StateAccess, StateKey, StateRead};
use crate::test_world::{World, env};

/// Notes every question.
struct Listening<'w> {
    world: &'w World,
    asked: RefCell<BTreeSet<StateRead>>,
}

impl StateAccess for Listening<'_> {
    fn get(&self, key: &StateKey) -> Result<Option<Bytes>, AccessError> {
        // Code never changes under its hash.
        if !matches!(key, StateKey::Code(_)) {
            self.asked.borrow_mut().insert(StateRead::Key(key.clone()));
        }
        self.world.get_cell(key)
    }

    fn rows(&self, table: &str, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, AccessError> {
        self.asked.borrow_mut().insert(StateRead::Table(table.into()));
        self.world.rows(table, from, limit)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, AccessError> {
        self.world.block_hash(number)
    }
}

fn input(sender: u8, to: Option<Address>, input: Vec<u8>, web3: bool) -> TxInput {
    TxInput {
        web3,
        sender: Address::repeat_byte(sender),
        to,
        input: input.into(),
        value: U256::from(sender),
        nonce: 3,
        abi: "[]".into(),
    }
}

fn call_data(signature: &str, arguments: &[u8]) -> Vec<u8> {
    let hash = alloy_primitives::keccak256(signature);
    [&hash[..4], arguments].concat()
}

#[test]
fn every_question_is_a_read() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let probe_code = hex::decode(include_str!("../../tests/fixtures/Probe.hex").trim()).unwrap();
    let probe = executor
        .execute_transaction(
            &world,
            &env(1),
            &TxInput { value: U256::ZERO, ..input(1, None, probe_code.clone(), false) },
            0,
        )
        .map(|outcome| {
            world.write(&outcome);
            outcome.contract_address.unwrap()
        })
        .unwrap();
    type Text = sol_data::String;
    let low = |number: u64| Some(Address::from_word(U256::from(number).into()));
    let three = <(Text, Text, Text)>::abi_encode_params(&("t_r", "k", "v"));
    let name = <(Text,)>::abi_encode_params(&("t_r",));
    let root = <(Text,)>::abi_encode_params(&("/tables",));
    let word = |value: u64| U256::from(value).to_be_bytes::<32>().to_vec();
    let user = <(Text, sol_data::Uint<256>)>::abi_encode_params(&("u", U256::from(5)));
    let transactions = [
        input(1, None, probe_code, true),
        input(1, Some(probe), call_data("makeChild()", &[]), true),
        input(2, Some(probe), call_data("makeChild()", &[]), false),
        input(2, Some(probe), call_data("keyValue(string,string,string)", &three), false),
        input(2, Some(probe), call_data("tableThenFail(string)", &name), false),
        input(2, Some(probe), call_data("fail(uint256)", &word(0)), true),
        input(2, Some(probe), call_data("callNobody(address)", &word(77)), false),
        input(3, Some(Address::repeat_byte(9)), Vec::new(), false),
        input(3, low(0x1002), call_data("openTable(string)", &name), false),
        input(3, low(0x100e), call_data("list(string)", &root), false),
        input(3, low(0x100c), call_data("userAdd(string,uint256)", &user), false),
        input(3, low(0x100c), call_data("userSave(string,uint256)", &user), false),
    ];
    for (balance_transfer, gas_price) in [(false, 0), (true, 0), (false, 1)] {
        let block = BlockEnv { balance_transfer, gas_price: U256::from(gas_price), ..env(2) };
        for (index, tx) in transactions.iter().enumerate() {
            for value in [U256::ZERO, tx.value] {
                let tx = TxInput { value, ..tx.clone() };
                let listening = Listening { world: &world, asked: RefCell::default() };
                let outcome = executor.execute_transaction(&listening, &block, &tx, index as u32).unwrap();
                let reads: BTreeSet<StateRead> = outcome.reads.iter().cloned().collect();
                assert_eq!(reads, *listening.asked.borrow(), "transaction {index} {value}");
                assert_eq!(reads.len(), outcome.reads.len(), "each once");
                if value.is_zero() && gas_price == 0 {
                    world.write(&outcome);
                }
            }
        }
    }
}

#[test]
fn a_failing_read_deep_down_is_an_error_and_the_thread_goes_on() {
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let (inner, outer) = (Address::repeat_byte(0xaa), Address::repeat_byte(0xbb));
    // Reads slot 0.
    world.install(inner, &hex!("5f5400"));
    // Calls it and goes on whatever the answer.
    let call = [&hex!("5f5f5f5f5f73")[..], inner.as_slice(), &hex!("5af100")].concat();
    world.install(outer, &call);
    let tx = input(1, Some(outer), Vec::new(), false);
    world.failing_slots = true;
    for _ in 0..3 {
        let error = executor.execute_transaction(&world, &env(2), &tx, 0).unwrap_err();
        assert_eq!(error, AccessError::Dependency { index: 3 });
    }
    world.failing_slots = false;
    assert_eq!(executor.execute_transaction(&world, &env(2), &tx, 0).unwrap().status, 0);
}

#[test]
fn any_code_ends_and_asks_only_what_it_says() {
    use rand::{Rng as _, SeedableRng as _};

    let seed: u64 = rand::random();
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let executor = Executor::new(SuiteKind::International);
    let mut world = World::default();
    let contracts: Vec<Address> = (0..8_u8).map(|byte| Address::repeat_byte(0xc0 + byte)).collect();
    // Instructions that reach state, calls and creations more often than chance would.
    let favoured = hex!("54555c5d31333b3c3f40f0f1f2f4f5fafdff5f60015f5f5f5f5a80905152");
    for round in 0..1_500 {
        let target = contracts[random.random_range(0..contracts.len())];
        let mut code = Vec::new();
        for _ in 0..random.random_range(1..200) {
            match random.random_range(0..10_u8) {
                0..6 => code.push(favoured[random.random_range(0..favoured.len())]),
                6 | 7 => code.push(random.random()),
                8 => {
                    code.push(0x73);
                    code.extend_from_slice(contracts[random.random_range(0..contracts.len())].as_slice());
                }
                _ => code.extend([0x61, 0x10, random.random_range(0..16)]),
            }
        }
        world.install(target, &code);
        let block = BlockEnv { gas_limit: 300_000, balance_transfer: random.random(), ..env(round + 1) };
        let create = random.random_range(0..4) == 0;
        let tx = TxInput {
            value: U256::from(random.random_range(0..2_u8)),
            ..input(1, (!create).then_some(target), if create { code } else { vec![1, 2, 3] }, random.random())
        };
        let listening = Listening { world: &world, asked: RefCell::default() };
        let outcome = executor.execute_transaction(&listening, &block, &tx, 0).unwrap();
        let reads: BTreeSet<StateRead> = outcome.reads.iter().cloned().collect();
        assert_eq!(reads, *listening.asked.borrow(), "seed {seed} round {round}");
        assert!(outcome.gas_used <= 300_000, "seed {seed} round {round}");
        if outcome.status != 0 {
            let nonce_only = |key: &StateKey| matches!(key, StateKey::Account(address) if *address == tx.sender);
            assert!(outcome.writes.iter().all(|(key, _)| nonce_only(key)), "seed {seed} round {round}");
        }
        world.write(&outcome);
    }
}
