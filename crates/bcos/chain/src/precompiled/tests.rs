//! Calls of precompiled contracts as clients make them.

mod draws;

use alloy_primitives::{Address, B256, Bytes, I256, U256, hex};
use alloy_sol_types::{SolType, sol_data as sol};
use konsort_crypto::SuiteKind;

use super::*;
use crate::access::{
    CONSENSUS_NODES_KEY, CONSENSUS_TABLE, ConsensusNode, ConsensusNodes, NodeKind, SYSTEM_CONFIG_TABLE, StateKey,
    StateRead, SystemValue, TxOutcome,
};
use crate::executor::{Executor, TxInput};
use crate::test_world::World;
use bcos_types::codes;

type Text = sol::String;
type Number = sol::Uint<256>;

struct Chain {
    executor: Executor,
    world: World,
    height: u64,
}

fn at(number: u64) -> Address {
    Address::from_word(U256::from(number).into())
}

impl Chain {
    fn new(kind: SuiteKind) -> Self {
        Self { executor: Executor::new(kind), world: World::default(), height: 1 }
    }

    fn send(&mut self, to: Address, signature: &str, arguments: &[u8]) -> TxOutcome {
        let mut input = self.executor.suite().hash(signature.as_bytes())[..4].to_vec();
        input.extend_from_slice(arguments);
        let tx = TxInput {
            web3: false,
            sender: Address::repeat_byte(1),
            to: Some(to),
            input: input.into(),
            value: U256::ZERO,
            nonce: 0,
            abi: String::new(),
        };
        self.height += 1;
        self.world.apply(&self.executor, self.height, &tx, 0)
    }

    /// Answer of a successful call that is one number.
    fn code(&mut self, to: Address, signature: &str, arguments: &[u8]) -> i64 {
        let outcome = self.send(to, signature, arguments);
        assert_eq!(outcome.status, 0, "{signature}: {}", String::from_utf8_lossy(&outcome.output));
        assert_eq!(outcome.output.len(), 32);
        I256::from_raw(U256::from_be_slice(&outcome.output)).as_i64()
    }

    /// Reason of a refused call.
    fn refusal(&mut self, to: Address, signature: &str, arguments: &[u8]) -> String {
        let before = self.world.clone();
        let outcome = self.send(to, signature, arguments);
        assert_eq!(outcome.status, bcos_types::status::PRECOMPILED_ERROR, "{signature}");
        assert_eq!(self.world, before);
        <(Text,)>::abi_decode_params(&outcome.output[4..]).unwrap().0
    }

    fn open(&mut self, name: &str) -> Address {
        let outcome = self.send(at(0x1002), "openTable(string)", &text(name));
        <(sol::Address,)>::abi_decode_params(&outcome.output).unwrap().0
    }
}

fn text(value: &str) -> Vec<u8> {
    <(Text,)>::abi_encode_params(&(value,))
}

fn texts(first: &str, second: &str) -> Vec<u8> {
    <(Text, Text)>::abi_encode_params(&(first, second))
}

fn user_amount(user: &str, amount: u64) -> Vec<u8> {
    <(Text, Number)>::abi_encode_params(&(user, U256::from(amount)))
}

#[test]
fn every_published_method_answers_in_both_suites() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/selectors.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut seen = 0;
    for contract in golden["contracts"].as_array().unwrap() {
        let Some(number) = contract["address"]
            .as_str()
            .and_then(|text| u32::from_str_radix(text.trim_start_matches("0x").trim_end_matches("+n"), 16).ok())
        else {
            continue;
        };
        let Some(kind) = registry::kind_of(number) else { continue };
        for method in contract["methods"].as_array().unwrap() {
            let signature = method["signature"].as_str().unwrap();
            // What a contract calls elsewhere is listed with it; 0x100b has no contract, rotation is called at 0x1003.
            let elsewhere = kind == registry::Kind::Table && signature.starts_with("desc");
            if elsewhere || signature.starts_with("rotateWorkingSealer") {
                continue;
            }
            for (suite, field) in [(SuiteKind::International, "keccak256"), (SuiteKind::Sm, "sm3")] {
                let selector = hex::decode(method[field].as_str().unwrap()).unwrap();
                let found = Registry::of(suite).find(kind, selector.try_into().unwrap());
                assert!(found.is_some(), "{kind:?} {signature} {field}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "only {seen} methods compared");
}

#[test]
fn tables_of_rows() {
    type Entry = (Text, sol::Array<Text>);
    type Conditions = sol::Array<(sol::Uint<8>, Text, Text)>;
    type Limit = (sol::Uint<32>, sol::Uint<32>);
    for kind in [SuiteKind::International, SuiteKind::Sm] {
        let mut chain = Chain::new(kind);
        let create = |name: &str, order: u8| {
            let columns = vec!["age".to_owned(), "city".to_owned()];
            <(Text, (sol::Uint<8>, Text, sol::Array<Text>))>::abi_encode_params(&(name, (order, "id", columns)))
        };
        let signature = "createTable(string,(uint8,string,string[]))";
        assert_eq!(chain.code(at(0x1002), signature, &create("person", 1)), 0);
        assert_eq!(chain.code(at(0x1002), signature, &create("person", 1)), i64::from(codes::TABLE_NAME_ALREADY_EXIST));
        assert_eq!(chain.refusal(at(0x1002), signature, &create("person2", 2)), "2 KeyOrder not exist!");
        assert!(chain.refusal(at(0x1002), signature, &create("a b", 0)).starts_with("Invalid table name"));
        assert_eq!(chain.open("nobody"), Address::ZERO);
        let table = chain.open("person");
        assert_ne!(table, Address::ZERO);
        assert_eq!(chain.open("/tables/person"), table);

        let entry = |key: &str, age: &str, city: &str| {
            <(Entry,)>::abi_encode_params(&((key, vec![age.to_owned(), city.to_owned()]),))
        };
        for (key, age, city) in [("10", "40", "Xian"), ("-2", "30", "Wuhan"), ("9", "20", "Xiamen")] {
            assert_eq!(chain.code(table, "insert((string,string[]))", &entry(key, age, city)), 1);
        }
        let again = chain.code(table, "insert((string,string[]))", &entry("9", "1", "x"));
        assert_eq!(again, i64::from(codes::INSERT_KEY_EXIST));
        assert!(chain.refusal(table, "insert((string,string[]))", &entry("x", "1", "x")).contains("int64"));

        let outcome = chain.send(table, "select(string)", &text("9"));
        let ((key, fields),) = <(Entry,)>::abi_decode_params(&outcome.output).unwrap();
        assert_eq!((key.as_str(), fields), ("9", vec!["20".to_owned(), "Xiamen".to_owned()]));
        let select = |conditions: Vec<(u8, &str, &str)>, offset: u32, count: u32| {
            <(Conditions, Limit)>::abi_encode_params(&(conditions, (offset, count)))
        };
        let signature = "select((uint8,string,string)[],(uint32,uint32))";
        let keys = |chain: &mut Chain, input: &[u8]| -> Vec<String> {
            let outcome = chain.send(table, signature, input);
            assert_eq!(outcome.status, 0);
            assert!(
                outcome
                    .reads
                    .iter()
                    .any(|read| matches!(read, StateRead::Table(name) if &**name == "u_/tables/person"))
            );
            let (rows,) = <(sol::Array<Entry>,)>::abi_decode_params(&outcome.output).unwrap();
            rows.into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys(&mut chain, &select(vec![(1, "id", "-100")], 0, 10)), ["-2", "9", "10"]);
        assert_eq!(keys(&mut chain, &select(vec![(1, "id", "-100")], 1, 1)), ["9"]);
        assert_eq!(keys(&mut chain, &select(vec![(6, "city", "Xia")], 0, 10)), ["9", "10"]);
        assert_eq!(keys(&mut chain, &select(vec![(0, "id", "-2"), (5, "age", "20")], 0, 10)), ["10"]);
        assert_eq!(chain.refusal(table, signature, &select(vec![(0, "id", "1")], 0, 501)), "Limit overflow.");
        assert_eq!(chain.refusal(table, signature, &select(vec![], 0, 1)), "Condition is empty");
        let unknown = select(vec![(0, "height", "1")], 0, 1);
        assert_eq!(chain.refusal(table, signature, &unknown), "Table condition fields not found");
        let count = <(Conditions,)>::abi_encode_params(&(vec![(4_u8, "age", "30")],));
        assert_eq!(chain.code(table, "count((uint8,string,string)[])", &count), 1);

        type Updates = sol::Array<(Text, Text)>;
        let update = <(Text, Updates)>::abi_encode_params(&("9", vec![("age", "21")]));
        assert_eq!(chain.code(table, "update(string,(string,string)[])", &update), 1);
        let missing = <(Text, Updates)>::abi_encode_params(&("77", vec![("age", "21")]));
        let code = chain.code(table, "update(string,(string,string)[])", &missing);
        assert_eq!(code, i64::from(codes::UPDATE_KEY_NOT_EXIST));
        let all = <(Conditions, Limit, Updates)>::abi_encode_params(&(
            vec![(2_u8, "id", "10")],
            (0_u32, 10_u32),
            vec![("city", "Beijing")],
        ));
        let signature = "update((uint8,string,string)[],(uint32,uint32),(string,string)[])";
        assert_eq!(chain.code(table, signature, &all), 2);
        assert_eq!(keys(&mut chain, &select(vec![(4, "city", "Beijing")], 0, 10)), ["-2", "9"]);
        assert_eq!(chain.code(table, "remove(string)", &text("9")), 1);
        assert_eq!(chain.code(table, "remove(string)", &text("9")), i64::from(codes::REMOVE_KEY_NOT_EXIST));
        let signature = "remove((uint8,string,string)[],(uint32,uint32))";
        assert_eq!(chain.code(table, signature, &select(vec![(8, "city", "i")], 0, 10)), 2);
        assert!(keys(&mut chain, &select(vec![(1, "id", "-100")], 0, 10)).is_empty());

        let append = <(Text, sol::Array<Text>)>::abi_encode_params(&("person", vec!["job".to_owned()]));
        assert_eq!(chain.code(at(0x1002), "appendColumns(string,string[])", &append), 0);
        let twice = chain.code(at(0x1002), "appendColumns(string,string[])", &append);
        assert_eq!(twice, i64::from(codes::TABLE_DUPLICATE_FIELD));
        let outcome = chain.send(at(0x1002), "descWithKeyOrder(string)", &text("person"));
        let ((order, key, columns),) =
            <((sol::Uint<8>, Text, sol::Array<Text>),)>::abi_decode_params(&outcome.output).unwrap();
        assert_eq!((order, key.as_str(), columns.len()), (1, "id", 3));
    }
}

#[test]
fn tables_of_keys_and_values() {
    let mut chain = Chain::new(SuiteKind::International);
    let create = <(Text, Text, Text)>::abi_encode_params(&("t_kv", "k", "v"));
    assert_eq!(chain.code(at(0x1002), "createKVTable(string,string,string)", &create), 0);
    let table = chain.open("t_kv");
    assert_eq!(chain.code(table, "set(string,string)", &texts("name", "konsort")), 1);
    let outcome = chain.send(table, "get(string)", &text("name"));
    assert_eq!(<(sol::Bool, Text)>::abi_decode_params(&outcome.output).unwrap(), (true, "konsort".into()));
    let outcome = chain.send(table, "get(string)", &text("other"));
    assert_eq!(<(sol::Bool, Text)>::abi_decode_params(&outcome.output).unwrap(), (false, String::new()));
    assert_eq!(chain.refusal(table, "set(string,string)", &texts("", "x")), "Table insert entry key is empty");
    let long = "k".repeat(256);
    assert!(chain.refusal(table, "set(string,string)", &texts(&long, "x")).contains("-50005"));
    assert_eq!(chain.refusal(table, "put(string)", &text("x")), "KVTablePrecompiled call undefined function!");
    // Without a table behind it the contract has nothing to work on.
    assert_eq!(chain.refusal(at(0x1009), "get(string)", &text("name")), "InternalPrecompiledFailed");
}

#[test]
fn the_file_system_of_contracts() {
    type Entries = sol::Array<(Text, Text, sol::Array<Text>)>;
    let mut chain = Chain::new(SuiteKind::International);
    let bfs = at(0x100e);
    let list = |chain: &mut Chain, path: &str| -> (i64, Vec<String>) {
        let outcome = chain.send(bfs, "list(string)", &text(path));
        let (code, entries) = <(sol::Int<256>, Entries)>::abi_decode_params(&outcome.output).unwrap();
        (code.as_i64(), entries.into_iter().map(|(name, kind, _)| format!("{name}:{kind}")).collect())
    };
    let top = ["apps:directory", "sys:directory", "tables:directory", "usr:directory"].map(str::to_owned).to_vec();
    assert_eq!(list(&mut chain, "/"), (0, top));
    assert_eq!(list(&mut chain, "/nowhere").0, i64::from(codes::FILE_NOT_EXIST));
    assert_eq!(list(&mut chain, "/a b").0, i64::from(codes::FILE_INVALID_PATH));
    assert!(list(&mut chain, "/sys").1.contains(&"consensus:link".to_owned()));
    assert_eq!(chain.code(bfs, "mkdir(string)", &text("/apps/one/two")), 0);
    assert_eq!(chain.code(bfs, "mkdir(string)", &text("/apps/one")), i64::from(codes::FILE_ALREADY_EXIST));
    assert_eq!(chain.code(bfs, "mkdir(string)", &text("/sys/mine")), i64::from(codes::FILE_INVALID_PATH));
    assert_eq!(list(&mut chain, "/apps/one"), (0, vec!["two:directory".into()]));

    let contract = Address::repeat_byte(0x77);
    let address = format!("{contract:#x}");
    let versioned = <(Text, Text, Text, Text)>::abi_encode_params(&("Hello", "1.0", address.as_str(), "[]"));
    let signature = "link(string,string,string,string)";
    assert_eq!(chain.code(bfs, signature, &versioned), i64::from(codes::ADDRESS_OR_VERSION_ERROR));
    let link = <(Text, Text, Text)>::abi_encode_params(&("/apps/Hello/latest", address.as_str(), "[]"));
    assert_eq!(chain.code(bfs, "link(string,string,string)", &link), 0);
    let outcome = chain.send(bfs, "readlink(string)", &text("/apps/Hello/latest"));
    assert_eq!(<(sol::Address,)>::abi_decode_params(&outcome.output).unwrap().0, contract);
    let below = chain.code(bfs, "mkdir(string)", &text("/apps/Hello/latest/x"));
    assert_eq!(below, i64::from(codes::FILE_BUILD_DIR_FAILED));
    let outcome = chain.send(bfs, "list(string)", &text("/apps/Hello/latest"));
    let (_, entries) = <(sol::Int<256>, Entries)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!(entries[0].2, [hex::encode(contract), "[]".to_owned()]);
    for name in ["a", "b", "c"] {
        assert_eq!(chain.code(bfs, "touch(string,string)", &texts(&format!("/apps/many/{name}"), "contract")), 0);
    }
    let page = <(Text, Number, Number)>::abi_encode_params(&("/apps/many", U256::from(1), U256::from(1)));
    let outcome = chain.send(bfs, "list(string,uint256,uint256)", &page);
    let (left, entries) = <(sol::Int<256>, Entries)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!((left.as_i64(), entries.len(), entries[0].0.as_str()), (1, 1, "b"));
}

#[test]
fn settings_are_in_force_from_the_next_block() {
    let mut chain = Chain::new(SuiteKind::International);
    let config = at(0x1000);
    let genesis = SystemValue { value: "3.16.4".into(), enable_number: 0 };
    chain.world.set(StateKey::row(SYSTEM_CONFIG_TABLE, b"compatibility_version".as_slice()), genesis.encode());
    let set = "setValueByKey(string,string)";
    assert_eq!(chain.code(config, set, &texts("TX_Gas_Limit", "300000")), 0);
    let height = chain.height;
    let outcome = chain.send(config, "getValueByKey(string)", &text("tx_gas_limit"));
    let (value, number) = <(Text, sol::Int<256>)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!((value.as_str(), number.as_i64()), ("300000", height as i64 + 1));
    let outcome = chain.send(config, "getValueByKey(string)", &text("unknown"));
    let (value, number) = <(Text, sol::Int<256>)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!((value.as_str(), number.as_i64()), ("", -1));
    for (key, value, reason) in [
        ("tx_gas_limit", "99999", "Invalid value 99999 ,the value for tx_gas_limit must be no less than 100000"),
        ("tx_count_limit", "0", "Invalid value 0 ,the value for tx_count_limit must be no less than 1"),
        ("tx_count_limit", "x", "The value for tx_count_limit must be a valid number."),
        ("tx_count_limit", "", "The value for tx_count_limit must be non-empty."),
        ("nothing", "1", "unsupported key nothing"),
        ("feature_evm_timestamp", "0", "The value for feature_evm_timestamp must be 1."),
        ("tx_gas_price", "10", "Invalid value 10 ,the value for tx_gas_price must be a hex number like 0xa."),
        (
            "web3_chain_id",
            "4294967296",
            "Invalid value 4294967296, the value for web3_chain_id must be less than UINT32_MAX.",
        ),
        ("compatibility_version", "3.15.0", "Set compatibility version should not lower than version nowadays."),
    ] {
        assert_eq!(chain.refusal(config, set, &texts(key, value)), reason);
    }
    for (key, value) in [("tx_gas_price", "0xa"), ("web3_chain_id", "7"), ("feature_evm_timestamp", "1")] {
        assert_eq!(chain.code(config, set, &texts(key, value)), 0);
    }
}

#[test]
fn code_that_names_a_contract_of_the_chain_is_not_that_contract() {
    let mut chain = Chain::new(SuiteKind::International);
    let id = hex::encode([1; 64]);
    let key = StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY);
    let observer =
        ConsensusNode { node_id: id.clone(), kind: NodeKind::Observer, weight: 0, term_weight: 0, enable_number: 0 };
    chain.world.set(key.clone(), ConsensusNodes(vec![observer]).encode());
    let before = chain.world.get(&key);
    let add = <(Text, Number)>::abi_encode_params(&(id, U256::from(1)));
    let settings = texts("tx_count_limit", "1");
    for (number, signature, arguments) in
        [("1003", "addSealer(string,uint256)", &add), ("1000", "setValueByKey(string,string)", &settings)]
    {
        let forged = Address::repeat_byte(0x77);
        for implementation in [number.to_owned(), format!("{number:0>40}")] {
            chain.world.install(forged, format!("{TABLE_CODE_PREFIX},{implementation},x").as_bytes());
            assert_ne!(chain.send(forged, signature, arguments).status, 0, "{implementation}");
        }
    }
    assert_eq!(chain.world.get(&key), before);
    let limit = StateKey::row(SYSTEM_CONFIG_TABLE, b"tx_count_limit".to_vec());
    assert_eq!(chain.world.get(&limit), None);
    assert_eq!(chain.code(at(0x1003), "addSealer(string,uint256)", &add), 0);
}

#[test]
fn nodes_of_the_group() {
    let mut chain = Chain::new(SuiteKind::International);
    let consensus = at(0x1003);
    let id = |byte: u8| hex::encode([byte; 64]);
    let node = |byte, kind, weight| ConsensusNode { node_id: id(byte), kind, weight, term_weight: 1, enable_number: 0 };
    let key = StateKey::row(CONSENSUS_TABLE, CONSENSUS_NODES_KEY);
    chain.world.set(key.clone(), ConsensusNodes(vec![node(1, NodeKind::Sealer, 1)]).encode());
    let weighted = |byte: u8, weight: u64| <(Text, Number)>::abi_encode_params(&(id(byte), U256::from(weight)));
    let add = "addSealer(string,uint256)";
    let should = i64::from(codes::ADD_SEALER_SHOULD_IN_OBSERVER);
    assert_eq!(chain.code(consensus, add, &weighted(2, 1)), should);
    assert_eq!(chain.code(consensus, "addObserver(string)", &text(&id(2).to_uppercase())), 0);
    assert_eq!(chain.code(consensus, add, &weighted(2, 0)), i64::from(codes::INVALID_WEIGHT));
    assert_eq!(chain.code(consensus, add, &weighted(2, 3)), 0);
    let stored = ConsensusNodes::decode(&chain.world.get(&key).unwrap()).unwrap().0;
    let height = chain.height;
    assert_eq!(stored[1], ConsensusNode { term_weight: 0, enable_number: height + 1, ..node(2, NodeKind::Sealer, 3) });
    assert_eq!(chain.code(consensus, "addObserver(string)", &text("ab")), i64::from(codes::INVALID_NODE_ID));
    // On a chain that rotates a new sealer waits, and one that works goes on working with its new weight.
    let on = SystemValue { value: "1".into(), enable_number: 0 };
    let switch = StateKey::row(SYSTEM_CONFIG_TABLE, b"feature_rpbft".to_vec());
    let plain = chain.world.clone();
    chain.world.set(switch, on.encode());
    assert_eq!(chain.code(consensus, "addObserver(string)", &text(&id(3))), 0);
    assert_eq!(chain.code(consensus, add, &weighted(3, 1)), 0);
    assert_eq!(chain.code(consensus, add, &weighted(1, 4)), 0);
    let rotating = ConsensusNodes::decode(&chain.world.get(&key).unwrap()).unwrap().0;
    assert_eq!(
        rotating.iter().map(|n| (n.kind, n.weight)).collect::<Vec<_>>(),
        [(NodeKind::Sealer, 4), (NodeKind::Sealer, 3), (NodeKind::Candidate, 1)]
    );
    chain.world = plain;
    let set = "setWeight(string,uint256)";
    assert_eq!(chain.code(consensus, set, &weighted(9, 1)), i64::from(codes::NODE_NOT_EXIST));
    assert_eq!(chain.code(consensus, set, &weighted(2, 5)), 0);
    assert_eq!(chain.code(consensus, "addObserver(string)", &text(&id(1))), 0);
    assert_eq!(chain.refusal(consensus, set, &weighted(1, 5)), "Cannot set weight to observer.");
    assert_eq!(chain.code(consensus, "remove(string)", &text(&id(2))), i64::from(codes::LAST_SEALER));
    assert_eq!(chain.code(consensus, "remove(string)", &text(&id(1))), 0);
    let stored = ConsensusNodes::decode(&chain.world.get(&key).unwrap()).unwrap().0;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].weight, 5);
}

#[test]
fn native_transfers_touch_only_their_users() {
    let mut chain = Chain::new(SuiteKind::International);
    let dag = at(0x100c);
    assert_eq!(chain.code(dag, "userAdd(string,uint256)", &user_amount("a", 10)), 0);
    let twice = chain.code(dag, "userAdd(string,uint256)", &user_amount("a", 10));
    assert_eq!(twice, i64::from(codes::INVALID_USER_ALREADY_EXIST));
    let transfer =
        |from: &str, to: &str, amount: u64| <(Text, Text, Number)>::abi_encode_params(&(from, to, U256::from(amount)));
    let signature = "userTransfer(string,string,uint256)";
    let outcome = chain.send(dag, signature, &transfer("a", "b", 4));
    assert_eq!(outcome.status, 0);
    assert_eq!((outcome.reads.len(), outcome.writes.len()), (2, 2), "{outcome:?}");
    for (arguments, code) in [
        (transfer("a", "b", 7), codes::INVALID_INSUFFICIENT_BALANCE),
        (transfer("x", "b", 7), codes::INVALID_USER_NOT_EXIST),
        (transfer("a", "b", 0), codes::INVALID_AMOUNT),
        (transfer("", "b", 1), codes::INVALID_USER_NAME),
        (transfer("a", "a", 100), codes::SUCCESS),
    ] {
        assert_eq!(chain.code(dag, signature, &arguments), i64::from(code));
    }
    assert_eq!(chain.code(dag, "userSave(string,uint256)", &user_amount("b", 1)), 0);
    assert_eq!(chain.code(dag, "userDraw(string,uint256)", &user_amount("a", 6)), 0);
    for (user, left) in [("a", 0), ("b", 5)] {
        let outcome = chain.send(dag, "userBalance(string)", &text(user));
        let answer = <(Number, Number)>::abi_decode_params(&outcome.output).unwrap();
        assert_eq!(answer, (U256::ZERO, U256::from(left)));
    }
    // The instances of a bench contract do not see each other.
    for bank in [0x6200, 0x6201] {
        let outcome = chain.send(at(bank), "updateBalance(string,uint256)", &user_amount("a", bank));
        assert_eq!((outcome.status, outcome.writes.len()), (0, 1));
        let pay = <(Text, Text, Number)>::abi_encode_params(&("a", "b", U256::from(1)));
        assert_eq!(chain.send(at(bank), "sendPayment(string,string,uint256)", &pay).writes.len(), 2);
    }
    let sort = <(Number, Number)>::abi_encode_params(&(U256::from(1000), U256::ZERO));
    assert_eq!(chain.send(at(0x5200), "sort(uint256,uint256)", &sort).status, 0);
}

#[test]
fn hashes_and_conversions() {
    let mut chain = Chain::new(SuiteKind::International);
    let bytes = <(sol::Bytes,)>::abi_encode_params(&(Bytes::from_static(b"abc"),));
    let outcome = chain.send(at(0x100a), "sm3(bytes)", &bytes);
    assert_eq!(outcome.output.as_ref(), konsort_crypto::hash::sm3(b"abc"));
    let outcome = chain.send(at(0x100a), "keccak256Hash(bytes)", &bytes);
    assert_eq!(outcome.output.as_ref(), alloy_primitives::keccak256(b"abc").as_slice());

    let key = konsort_crypto::SuiteKey::generate(SuiteKind::Sm);
    let message = [7; 32];
    let signature = key.sign(&message);
    let arguments = |r: &[u8]| {
        <(sol::FixedBytes<32>, sol::Bytes, sol::FixedBytes<32>, sol::FixedBytes<32>)>::abi_encode_params(&(
            B256::from(message),
            Bytes::copy_from_slice(&signature[64..]),
            B256::from_slice(r),
            B256::from_slice(&signature[32..64]),
        ))
    };
    let verify = "sm2Verify(bytes32,bytes,bytes32,bytes32)";
    let outcome = chain.send(at(0x100a), verify, &arguments(&signature[..32]));
    let answer = <(sol::Bool, sol::Address)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!(answer, (true, Address::from(key.address())));
    let outcome = chain.send(at(0x100a), verify, &arguments(&[9; 32]));
    let answer = <(sol::Bool, sol::Address)>::abi_decode_params(&outcome.output).unwrap();
    assert_eq!(answer, (false, Address::ZERO));

    let cast = at(0x100f);
    assert_eq!(chain.code(cast, "stringToS256(string)", &text("-12")), -12);
    assert_eq!(chain.code(cast, "stringToS64(string)", &text("12")), 12);
    assert_eq!(chain.code(cast, "stringToU256(string)", &text("99")), 99);
    assert_eq!(chain.refusal(cast, "stringToU256(string)", &text("x")), "InternalPrecompiledFailed");
    let back = chain.send(cast, "s256ToString(int256)", &[0xff; 32]);
    assert_eq!(<(Text,)>::abi_decode_params(&back.output).unwrap().0, "-1");
    let back = chain.send(cast, "addrToString(address)", at(0xab).into_word().as_slice());
    assert_eq!(<(Text,)>::abi_decode_params(&back.output).unwrap().0, format!("{:0>40}", "ab"));
    let bytes32 = chain.send(cast, "stringToBytes32(string)", &text("hello"));
    assert_eq!(&bytes32.output[..6], b"hello\0");
}

#[test]
fn bad_input_is_refused_and_not_a_panic() {
    let mut chain = Chain::new(SuiteKind::International);
    for number in [0x1000, 0x1001, 0x1002, 0x1003, 0x1009, 0x100a, 0x100c, 0x100e, 0x100f, 0x5200, 0x6200] {
        let kind = registry::kind_of(number).unwrap();
        for (signature, _) in kind.methods() {
            for arguments in [vec![], vec![0xff; 31], vec![0xff; 64], vec![0; 320]] {
                let outcome = chain.send(at(u64::from(number)), signature, &arguments);
                assert!([0, 15].contains(&outcome.status), "{signature} {}", outcome.status);
            }
        }
        let outcome = chain.send(at(u64::from(number)), "", &[]);
        assert!([0, 15].contains(&outcome.status));
    }
    // Ethereum's own contracts are there too.
    let hash = chain.send(at(2), "", b"");
    assert_eq!(hash.status, 0);
    assert_eq!(hash.output.len(), 32);
}

/// Passes its call data on to 0x1003 and gives back what came of it.
const FORWARDER: [u8; 29] = hex!("365f5f375f5f365f5f6110035af13d5f5f3e156019573d5ff35b3d5ffd");

#[test]
fn nodes_and_settings_do_not_change_through_a_contract() {
    let mut chain = Chain::new(SuiteKind::International);
    let forwarder = Address::repeat_byte(0xf0);
    chain.world.install(forwarder, &FORWARDER);
    let id = text(&"ab".repeat(64));
    let before = chain.world.clone();
    let outcome = chain.send(forwarder, "addObserver(string)", &id);
    assert_ne!(outcome.status, 0);
    assert_eq!(chain.world, before);
    let reason = <(Text,)>::abi_decode_params(&outcome.output[4..]).unwrap().0;
    assert!(reason.contains("not through a contract"), "{reason}");
    assert_eq!(chain.code(at(0x1003), "addObserver(string)", &id), 0);
}
