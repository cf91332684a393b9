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
