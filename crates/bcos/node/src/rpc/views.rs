//! Transactions, receipts and blocks as the `FISCO BCOS` surface shows them.

use alloy_primitives::{Address, B256, hex};
use bcos_types::address::checksum;
use bcos_types::{BlockHeader, Receipt, TxKind, VerifiedTx, web3};
use konsort_crypto::CryptoSuite;
use serde_json::{Map, Value, json};

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

/// A receipt, without what it takes from its transaction.
pub(crate) fn receipt(receipt: &Receipt, transaction: &B256, suite: &dyn CryptoSuite) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    put("version", receipt.version.into());
    let (contract, checksummed) = contract(receipt.contract_address.as_ref(), suite);
    put("contractAddress", contract.into());
    put("checksumContractAddress", checksummed.into());
    put("gasUsed", receipt.gas_used.to_string().into());
    put("status", receipt.status.into());
    put("blockNumber", receipt.block_number.into());
    put("output", text::data(&receipt.output).into());
    put("message", receipt.message.as_str().into());
    put("transactionHash", text::data(transaction.as_slice()).into());
    let hash = if receipt.hash.is_zero() { receipt.compute_hash(suite) } else { receipt.hash };
    put("hash", text::data(hash.as_slice()).into());
    let logs: Vec<Value> = receipt
        .logs
        .iter()
        .map(|log| json!({ "address": hex::encode(log.address), "topics": text::list(&log.topics), "data": text::data(&log.data) }))
        .collect();
    put("logEntries", logs.into());
    if receipt.version >= 1 {
        put("effectiveGasPrice", receipt.effective_gas_price.as_str().into());
    }
    out
}

/// What `getTransactionReceipt` and `sendTransaction` add from the transaction.
pub(crate) fn add_transaction(out: &mut Map<String, Value>, verified: &VerifiedTx, input: bool) {
    let transaction = &verified.tx;
    out.insert("to".to_owned(), transaction.data.to.as_str().into());
    out.insert("from".to_owned(), text::data(verified.sender.as_slice()).into());
    if input {
        out.insert("input".to_owned(), text::data(&transaction.data.input).into());
        out.insert("extraData".to_owned(), transaction.extra_data.as_str().into());
    }
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
