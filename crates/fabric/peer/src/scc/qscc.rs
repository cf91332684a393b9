//! `qscc`: a channel's blocks and transactions.

use bytes::Bytes;
use fabric_ledger::BlockStore;
use fabric_proto::common::{BlockchainInfo, Envelope};
use fabric_proto::protos::{ProcessedTransaction, Response};
use prost::Message;

use super::{SystemCall, error, success};

pub(super) fn invoke(call: &SystemCall) -> Response {
    if call.args.len() < 2 {
        return error(format!("Incorrect number of arguments, {}", call.args.len()));
    }
    let (function, channel_id) = (call.text(0), call.text(1));
    if call.original != "qscc" {
        return error(format!(
            "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original invocation for '{}'",
            call.original
        ));
    }
    if function != "GetChainInfo" && call.args.len() < 3 {
        return error(format!("missing 3rd argument for {function}"));
    }
    let Some(channel) = call.shared.channels.get(&channel_id) else {
        return error(format!("Invalid chain ID, {channel_id}"));
    };
    if let Err(reason) = call.check(&format!("qscc/{function}"), Some(&channel)) {
        return error(format!("access denied for [{function}][{channel_id}]: [{reason}]"));
    }
    let blocks = channel.ledger.blocks();
    let argument = call.argument(2);
    let result = match function.as_str() {
        "GetChainInfo" => {
            let info = channel.ledger.info();
            let info = BlockchainInfo {
                height: info.height,
                current_block_hash: info.current_hash,
                previous_block_hash: info.previous_hash,
                ..BlockchainInfo::default()
            };
            Ok(Bytes::from(info.encode_to_vec()))
        }
        "GetBlockByNumber" => by_number(blocks, argument),
        "GetBlockByHash" => by_hash(blocks, argument),
        "GetBlockByTxID" => by_txid(blocks, argument),
        "GetTransactionByID" => transaction(blocks, argument),
        other => Err(format!("Requested function {other} not found.")),
    };
    result.map_or_else(error, success)
}

fn by_number(blocks: &BlockStore, argument: &[u8]) -> Result<Bytes, String> {
    let text = String::from_utf8_lossy(argument);
    let number: u64 = text.parse().map_err(|_| {
        format!("Failed to parse block number with error strconv.ParseUint: parsing {text:?}: invalid syntax")
    })?;
    // The highest number means the newest block, as in the original's store.
    let number = if number == u64::MAX { blocks.height().saturating_sub(1) } else { number };
    let found = blocks.block(number).map_err(|error| error.to_string());
    found
        .and_then(|block| block.ok_or_else(|| format!("no such block number [{number}] in index")))
        .map_err(|reason| format!("Failed to get block number {number}, error {reason}"))
}

fn by_hash(blocks: &BlockStore, hash: &[u8]) -> Result<Bytes, String> {
    let shown = String::from_utf8_lossy(hash);
    if hash.is_empty() {
        return Err("Block hash must not be nil.".into());
    }
    let found = blocks.block_by_hash(hash).map_err(|error| error.to_string());
    found
        .and_then(|block| block.ok_or_else(|| format!("no such block hash [{}] in index", hex::encode(hash))))
        .map_err(|reason| format!("Failed to get block hash {shown}, error {reason}"))
}

fn by_txid(blocks: &BlockStore, argument: &[u8]) -> Result<Bytes, String> {
    let txid = String::from_utf8_lossy(argument);
    let found = blocks.block_by_txid(&txid).map_err(|error| error.to_string());
    found
        .and_then(|block| block.ok_or_else(|| format!("no such transaction ID [{txid}] in index")))
        .map_err(|reason| format!("Failed to get block for txID {txid}, error {reason}"))
}

fn transaction(blocks: &BlockStore, argument: &[u8]) -> Result<Bytes, String> {
    let txid = String::from_utf8_lossy(argument);
    let failed = |reason: String| format!("Failed to get transaction with id {txid}, error {reason}");
    let found = blocks
        .transaction(&txid)
        .map_err(|error| failed(error.to_string()))?
        .ok_or_else(|| failed(format!("no such transaction ID [{txid}] in index")))?;
    let envelope = Envelope::decode(found.envelope).map_err(|error| failed(error.to_string()))?;
    let processed =
        ProcessedTransaction { transaction_envelope: Some(envelope), validation_code: i32::from(found.code) };
    Ok(processed.encode_to_vec().into())
}
