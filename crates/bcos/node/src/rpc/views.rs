//! Transactions, receipts and blocks as the `FISCO BCOS` surface shows them.

use alloy_primitives::{Address, B256, hex};
use bcos_types::address::checksum;
use bcos_types::{BlockHeader, LogEntry, Receipt, TxKind, VerifiedTx, web3};
use konsort_crypto::CryptoSuite;
use serde_json::{Map, Value, json};

use super::json::Object;
use super::text;

/// `getTransaction` and the transactions of a block.
pub(crate) fn transaction(verified: &VerifiedTx) -> Value {
    let transaction = &verified.tx;
    let data = &transaction.data;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("version", data.version.into());
    put("hash", text::data(verified.hash.as_slice()).into());
    put("nonce", hex::encode(&data.nonce).into());
    put("blockLimit", data.block_limit.into());
    put("to", data.to.as_str().into());
    put("input", text::data(&data.input).into());
    put("from", text::data(verified.sender.as_slice()).into());
    put("importTime", transaction.import_time.into());
    put("chainID", data.chain_id.as_str().into());
    put("groupID", data.group_id.as_str().into());
    put("abi", data.abi.as_str().into());
    put("signature", text::data(&transaction.signature).into());
    put("extraData", transaction.extra_data.as_str().into());
    if data.version >= 1 {
        put("value", data.value.as_str().into());
        put("gasPrice", data.gas_price.as_str().into());
        put("gasLimit", data.gas_limit.into());
        put("maxFeePerGas", data.max_fee_per_gas.as_str().into());
        put("maxPriorityFeePerGas", data.max_priority_fee_per_gas.as_str().into());
    }
    if data.version >= 2 {
        put("extension", json!(data.extension.as_ref()));
    }
    if transaction.kind == TxKind::Web3
        && let Ok(fields) = web3::fields(transaction)
    {
        // Upstream shows these as decimal text, unlike the fields of native transactions.
        put("value", fields.value.to_string().into());
        put("gasLimit", fields.gas_limit.into());
        if fields.has_gas_price() {
            put("gasPrice", fields.max_fee_per_gas.to_string().into());
        } else {
            put("maxPriorityFeePerGas", fields.max_priority_fee_per_gas.to_string().into());
            put("maxFeePerGas", fields.max_fee_per_gas.to_string().into());
            put("gasPrice", "0".into());
        }
    }
    Value::Object(out)
}

/// A receipt with what clients want of its transaction: every `sendTransaction` is answered with one, so it is written as
/// it stands. `input`: the transaction's input and extra data are shown.
pub(crate) fn receipt(
    out: &mut Object<'_>,
    receipt: &Receipt,
    verified: &VerifiedTx,
    input: bool,
    suite: &dyn CryptoSuite,
) {
    let transaction = &verified.tx;
    let (contract_address, checksum_contract_address) = contract(receipt.contract_address.as_ref(), suite);
    let hash = if receipt.hash.is_zero() { receipt.compute_hash(suite) } else { receipt.hash };
    out.number("version", receipt.version)
        .text("contractAddress", &contract_address)
        .text("checksumContractAddress", &checksum_contract_address)
        .number_text("gasUsed", receipt.gas_used)
        .number("status", receipt.status)
        .number("blockNumber", receipt.block_number)
        .data("output", &receipt.output)
        .text("message", &receipt.message)
        .data("transactionHash", verified.hash)
        .data("hash", hash)
        .list("logEntries", &receipt.logs, log);
    if receipt.version >= 1 {
        out.text("effectiveGasPrice", &receipt.effective_gas_price);
    }
    out.text("to", &transaction.data.to).data("from", verified.sender);
    if input {
        out.data("input", &transaction.data.input).text("extraData", &transaction.extra_data);
    }
}

/// An event; its address is without `0x`.
fn log(log: &LogEntry, out: &mut Vec<u8>) {
    Object::new(out).digits("address", log.address).data_list("topics", &log.topics).data("data", &log.data).end();
}

/// The address in both spellings, each with `0x`; both empty when nothing was deployed.
fn contract(address: Option<&Address>, suite: &dyn CryptoSuite) -> (String, String) {
    match address {
        None => (String::new(), String::new()),
        Some(address) => (text::data(address.as_slice()), checksum(suite, address)),
    }
}

/// A block header.
pub(crate) fn header(header: &BlockHeader, hash: &B256) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("hash", text::data(hash.as_slice()).into());
    put("version", header.version.into());
    put("txsRoot", text::data(header.transactions_root.as_slice()).into());
    put("receiptsRoot", text::data(header.receipts_root.as_slice()).into());
    put("stateRoot", text::data(header.state_root.as_slice()).into());
    put("number", header.number.into());
    put("gasUsed", header.gas_used.to_string().into());
    put("timestamp", header.timestamp.into());
    put("sealer", header.sealer.into());
    put("extraData", text::data(&header.extra_data).into());
    put("consensusWeights", json!(header.consensus_weights));
    let sealers: Vec<String> = header.sealer_list.iter().map(text::data).collect();
    put("sealerList", json!(sealers));
    let parents: Vec<Value> = header
        .parents
        .iter()
        .map(|parent| json!({ "blockNumber": parent.number, "blockHash": text::data(parent.hash) }))
        .collect();
    put("parentInfo", parents.into());
    let signatures: Vec<Value> = header
        .signatures
        .iter()
        .map(
            |signature| json!({ "sealerIndex": signature.sealer_index, "signature": text::data(&signature.signature) }),
        )
        .collect();
    put("signatureList", signatures.into());
    out
}

/// A Merkle proof: its items in hex without `0x`.
pub(crate) fn proof(items: &[B256]) -> Value {
    items.iter().map(|item| Value::String(hex::encode(item))).collect()
}

#[cfg(test)]
mod tests;
