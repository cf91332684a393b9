//! A group of one sealer, accounts with fixed keys, and three small contracts.

use std::{collections::HashMap, sync::Mutex};

use alloy_primitives::{Address, B256};
use bcos_chain::{Chain, ChainConfig, CommittedBlock, ExecutedBlock, Proposal};
use bcos_types::{HeaderSignature, Transaction, TransactionData, VerifiedTx};
use konsort_crypto::{SuiteKey, SuiteKind, suite};

pub(crate) const SEALER: &str = "12c6a293eb6e3e51a1f83cdfe3c6af0d9fb5d7095b4bbd3f1b633b8ddaad87818b58d53123baa07e2b6ad6c72256e8afadcc788791da91185b8e8cfccbdbb4e1";

/// Adds one to slot 0.
const COUNTER: &str = "600160005401600055 00";
/// `f(to, amount)`: takes from the caller's slot, adds to the slot of `to`, logs.
const TOKEN: &str = "3354 602435 90 03 33 55 600435 54 602435 01 600435 55 33 6020 6000 a1 00";
/// Deployed like any other, but its constructor reverts.
const BROKEN: &str = "60006000fd";

pub(crate) fn config() -> ChainConfig {
    let mut config = ChainConfig::new(SuiteKind::International, vec![(SEALER.into(), 1)]);
    config.threads = 4;
    config
}

pub(crate) fn key(number: u8) -> SuiteKey {
    SuiteKey::from_bytes(SuiteKind::International, &[number + 1; 32]).unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    alloy_primitives::hex::decode(text.replace(' ', "")).unwrap()
}

/// Init code that returns a runtime code of at most 255 bytes.
fn init(runtime: &str) -> Vec<u8> {
    let code = bytes(runtime);
    let length = u8::try_from(code.len()).unwrap();
    // CODECOPY(0, 12, length); RETURN(0, length)
    let mut out = vec![0x60, length, 0x60, 12, 0x60, 0, 0x39, 0x60, length, 0x60, 0, 0xf3];
    out.extend(code);
    out
}

pub(crate) fn counter() -> Vec<u8> {
    init(COUNTER)
}

pub(crate) fn token() -> Vec<u8> {
    init(TOKEN)
}

pub(crate) fn broken() -> Vec<u8> {
    bytes(BROKEN)
}

/// A signed transaction; the nonce makes it one of its kind.
pub(crate) fn send(from: u8, nonce: &str, to: Option<Address>, input: Vec<u8>) -> VerifiedTx {
    let transaction = Transaction::signed(data(nonce, to, input), &key(from));
    VerifiedTx::verify(transaction, suite(SuiteKind::International)).unwrap()
}

/// The same without a signature, as if it had been verified before: signing is most of the work in tests.
pub(crate) fn unsigned(from: Address, nonce: &str, to: Option<Address>, input: Vec<u8>) -> VerifiedTx {
    let data = data(nonce, to, input);
    let hash = data.hash(suite(SuiteKind::International));
    let transaction = Transaction { data, sender: from.0.0.into(), ..Transaction::default() };
    VerifiedTx::from_store(hash, transaction.encode().into()).unwrap()
}

fn data(nonce: &str, to: Option<Address>, input: Vec<u8>) -> TransactionData {
    TransactionData {
        chain_id: "chain0".into(),
        group_id: "group0".into(),
        block_limit: 600,
        nonce: nonce.into(),
        to: to.map_or_else(String::new, |to| format!("{to:#x}")),
        input: input.into(),
        abi: if to.is_none() { "[]".into() } else { String::new() },
        ..TransactionData::default()
    }
}

pub(crate) fn account(number: u8) -> Address {
    key(number).address().into()
}

/// The input of the token's only method.
pub(crate) fn transfer(to: Address, amount: u64) -> Vec<u8> {
    let mut input = vec![1, 2, 3, 4];
    input.extend([0; 12]);
    input.extend(to);
    input.extend([0; 24]);
    input.extend(amount.to_be_bytes());
    input
}

pub(crate) fn propose(parent: (u64, B256), transactions: Vec<VerifiedTx>) -> Proposal {
    let number = parent.0 + 1;
    Proposal { number, parent: parent.1, timestamp_ms: 1_700_000_000_000 + number * 1000, sealer: 0, transactions }
}

pub(crate) fn next(chain: &Chain, transactions: Vec<VerifiedTx>) -> Proposal {
    let tip = chain.tip();
    propose((tip.number(), tip.hash()), transactions)
}

/// The chain keeps signatures and does not judge them.
pub(crate) fn signatures(block: &ExecutedBlock) -> Vec<HeaderSignature> {
    vec![HeaderSignature { sealer_index: 0, signature: block.hash().repeat(2).into() }]
}

/// Executes and commits the next block.
pub(crate) fn extend(chain: &Chain, transactions: Vec<VerifiedTx>) -> CommittedBlock {
    let block = chain.execute(&next(chain, transactions)).unwrap();
    chain.commit(&block, signatures(&block)).unwrap()
}

/// Block `number` of a chain everybody can make again: block 1 deploys, the others call.
pub(crate) fn scripted(chain: &Chain, number: u64) -> Vec<VerifiedTx> {
    static SIGNED: Mutex<Option<HashMap<u64, Vec<VerifiedTx>>>> = Mutex::new(None);
    // Signing is most of the work in tests, and every chain of the script has the same addresses.
    if let Some(block) = SIGNED.lock().unwrap().get_or_insert_default().get(&number) {
        return block.clone();
    }
    let block = sign_script(chain, number);
    SIGNED.lock().unwrap().get_or_insert_default().insert(number, block.clone());
    block
}

fn sign_script(chain: &Chain, number: u64) -> Vec<VerifiedTx> {
    if number == 1 {
        return vec![send(0, "deploy counter", None, counter()), send(0, "deploy token", None, token())];
    }
    let first = chain.block(1).unwrap().unwrap();
    let contract = |index: usize| first.receipt(index).unwrap().unwrap().contract_address.unwrap();
    let (counter, token) = (contract(0), contract(1));
    let mut block = vec![send(1, &format!("count {number}"), Some(counter), Vec::new())];
    for i in 0..4u8 {
        let input = transfer(account((i + number as u8) % 6), number);
        block.push(send(i, &format!("{number} {i}"), Some(token), input));
    }
    block
}
