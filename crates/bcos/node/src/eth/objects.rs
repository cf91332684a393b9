//! Transactions, receipts and blocks as Ethereum's clients know them.
//!
//! Addresses are lower case, as most nodes write them; clients put them into mixed case themselves.

use alloy_primitives::{Address, B256, Bloom, U256, keccak256};
use bcos_types::web3::Web3Type;
use bcos_types::{BlockHeader, LogEntry, Receipt, Transaction, TxKind, VerifiedTx, web3};
use serde_json::{Map, Value, json};

use crate::rpc::logs::bloom;
use crate::rpc::text;

/// The hash of an empty list of uncles.
const NO_UNCLES: &str = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347";
/// What a header's extra data may hold; clients refuse more.
const MOST_EXTRA: usize = 32;

/// Where a transaction stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) block_hash: B256,
    pub(crate) block_number: u64,
    pub(crate) index: u64,
}

/// Price, limit and type of a transaction of either kind.
#[derive(Debug)]
struct Terms {
    kind: Web3Type,
    nonce: String,
    gas: u64,
    value: U256,
    gas_price: U256,
    fees: Option<(U256, U256)>,
    chain_id: Option<u64>,
    access_list: Option<Value>,
}

fn terms(transaction: &Transaction) -> Terms {
    let data = &transaction.data;
    if transaction.kind == TxKind::Web3
        && let Ok(fields) = web3::fields(transaction)
    {
        let access_list: Vec<Value> = fields
            .access_list
            .iter()
            .map(|item| json!({ "address": text::data(item.address), "storageKeys": text::list(&item.storage_keys) }))
            .collect();
        let price = U256::from(fields.max_fee_per_gas);
        let dynamic = !fields.has_gas_price();
        return Terms {
            kind: fields.kind,
            nonce: text::quantity(fields.nonce),
            gas: fields.gas_limit,
            value: fields.value,
            gas_price: price,
            fees: dynamic.then(|| (price, U256::from(fields.max_priority_fee_per_gas))),
            chain_id: fields.chain_id,
            access_list: (fields.kind != Web3Type::Legacy).then(|| access_list.into()),
        };
    }
    Terms {
        kind: Web3Type::Legacy,
        // A native nonce is free text; its hash is a number that clients can hold.
        nonce: text::quantity(u64::from_be_bytes(first_eight(&keccak256(&data.nonce)))),
        gas: u64::try_from(data.gas_limit).unwrap_or_default(),
        value: text::number_of_text(&data.value),
        gas_price: text::number_of_text(&data.gas_price),
        fees: None,
        chain_id: None,
        access_list: None,
    }
}

fn first_eight(hash: &B256) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&hash[..8]);
    // Clients read nonces into 53 bits.
    out[0] = 0;
    out[1] &= 0x1f;
    out
}

/// The called contract; null for a deployment.
fn to(transaction: &Transaction) -> Value {
    match transaction.data.to_address() {
        Ok(Some(address)) => text::data(address).into(),
        _ => Value::Null,
    }
}

/// A transaction; without a place it waits in the pool.
pub(crate) fn transaction(verified: &VerifiedTx, place: Option<Place>) -> Value {
    let transaction = &verified.tx;
    let terms = terms(transaction);
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("blockHash", place.map_or(Value::Null, |place| text::data(place.block_hash).into()));
    put("blockNumber", place.map_or(Value::Null, |place| text::quantity(place.block_number).into()));
    put("transactionIndex", place.map_or(Value::Null, |place| text::quantity(place.index).into()));
    put("hash", text::data(verified.hash).into());
    put("from", text::data(verified.sender).into());
    put("to", to(transaction));
    put("input", text::data(&transaction.data.input).into());
    put("nonce", terms.nonce.into());
    put("gas", text::quantity(terms.gas).into());
    put("value", text::quantity_256(&terms.value).into());
    put("gasPrice", text::quantity_256(&terms.gas_price).into());
    put("type", text::quantity(terms.kind as u64).into());
    if let Some((most, priority)) = terms.fees {
        put("maxFeePerGas", text::quantity_256(&most).into());
        put("maxPriorityFeePerGas", text::quantity_256(&priority).into());
    }
    if let Some(chain_id) = terms.chain_id {
        put("chainId", text::quantity(chain_id).into());
    }
    if let Some(list) = terms.access_list {
        put("accessList", list);
    }
    put_signature(&mut out, transaction, terms.kind);
    Value::Object(out)
}

fn put_signature(out: &mut Map<String, Value>, transaction: &Transaction, kind: Web3Type) {
    let mut put = |name: &str, value: String| {
        out.insert(name.to_owned(), value.into());
    };
    if transaction.kind == TxKind::Web3
        && let Ok(signature) = web3::signature(transaction)
    {
        put("r", text::quantity_256(&signature.r));
        put("s", text::quantity_256(&signature.s));
        put("v", text::quantity_256(&U256::from(signature.v)));
        if kind != Web3Type::Legacy {
            put("yParity", text::quantity(signature.y_parity.into()));
        }
        return;
    }
    // A native signature is r, s and v, or r, s and the SM2 key.
    let bytes = &transaction.signature;
    let part = |at: usize| bytes.get(at..at + 32).map(U256::from_be_slice).unwrap_or_default();
    put("r", text::quantity_256(&part(0)));
    put("s", text::quantity_256(&part(32)));
    let parity = if bytes.len() == 65 { u64::from(bytes[64] & 1) } else { 0 };
    put("v", text::quantity(27 + parity));
}

/// The Ethereum type; native transactions pass for legacy ones.
fn kind(transaction: &Transaction) -> Web3Type {
    match (transaction.kind, transaction.extra_bytes.first()) {
        (TxKind::Web3, Some(1)) => Web3Type::AccessList,
        (TxKind::Web3, Some(2)) => Web3Type::DynamicFee,
        (TxKind::Web3, Some(3)) => Web3Type::Blob,
        _ => Web3Type::Legacy,
    }
}

/// A log of a receipt or a filter.
pub(crate) fn log(entry: &LogEntry, transaction: &B256, place: Place, index: u64) -> Value {
    json!({
        "address": text::data(entry.address),
        "topics": text::list(&entry.topics),
        "data": text::data(&entry.data),
        "blockHash": text::data(place.block_hash),
        "blockNumber": text::quantity(place.block_number),
        "transactionHash": text::data(transaction),
        "transactionIndex": text::quantity(place.index),
        "logIndex": text::quantity(index),
        "removed": false,
    })
}

/// A receipt.
pub(crate) fn receipt(receipt: &Receipt, verified: &VerifiedTx, place: Place) -> Value {
    let (transaction, hash) = (&verified.tx, &verified.hash);
    let logs: Vec<Value> = receipt
        .logs
        .iter()
        .zip(u64::from(receipt.log_index)..)
        .map(|(entry, index)| log(entry, hash, place, index))
        .collect();
    json!({
        "transactionHash": text::data(hash),
        "transactionIndex": text::quantity(place.index),
        "blockHash": text::data(place.block_hash),
        "blockNumber": text::quantity(place.block_number),
        "from": text::data(verified.sender),
        "to": to(transaction),
        "contractAddress": receipt.contract_address.map(text::data),
        "gasUsed": text::quantity(receipt.gas_used),
        "cumulativeGasUsed": text::quantity(receipt.cumulative_gas_used),
        "effectiveGasPrice": text::quantity_256(&text::number_of_text(&receipt.effective_gas_price)),
        "status": if receipt.status == 0 { "0x1" } else { "0x0" },
        "type": text::quantity(kind(transaction) as u64),
        "logs": logs,
        "logsBloom": text::data(bloom(receipt).as_slice()),
    })
}

/// The address of the node that sealed the block, from its public key.
pub(crate) fn miner(header: &BlockHeader) -> Address {
    let sealer = usize::try_from(header.sealer).ok().and_then(|at| header.sealer_list.get(at));
    match sealer {
        Some(key) if header.number > 0 => Address::from_slice(&keccak256(key)[12..]),
        _ => Address::ZERO,
    }
}

/// A header with the members of a block that do not depend on its transactions.
pub(crate) fn header(
    header: &BlockHeader,
    hash: &B256,
    gas_limit: u64,
    bloom: &Bloom,
    size: u64,
) -> Map<String, Value> {
    let zero = text::data(B256::ZERO);
    let parent = header.parents.first().map_or(B256::ZERO, |parent| parent.hash);
    let extra = &header.extra_data[..header.extra_data.len().min(MOST_EXTRA)];
    let fields = json!({
        "number": text::quantity(header.number),
        "hash": text::data(hash),
        "parentHash": text::data(parent),
        "nonce": "0x0000000000000000",
        "sha3Uncles": NO_UNCLES,
        "logsBloom": text::data(bloom.as_slice()),
        "transactionsRoot": text::data(header.transactions_root),
        "stateRoot": text::data(header.state_root),
        "receiptsRoot": text::data(header.receipts_root),
        "miner": text::data(miner(header)),
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": text::data(extra),
        "size": text::quantity(size),
        "gasLimit": text::quantity(gas_limit),
        "gasUsed": text::quantity(header.gas_used),
        "timestamp": text::quantity(header.timestamp / 1_000),
        "mixHash": zero,
        "baseFeePerGas": "0x0",
        "withdrawalsRoot": zero,
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": zero,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
