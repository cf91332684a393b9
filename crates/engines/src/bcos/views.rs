//! Blocks, transactions and receipts as nodes show them, and the platform's records of them.

use serde::Deserialize;
use serde_json::Value;

use super::contracts;
use super::send::{Log, Receipt};
use crate::ledger::{BlockRecord, TransactionRecord};

/// Words a search should find a transaction by.
const MOST_TERMS: usize = 32;

/// `getBlockByNumber` with transactions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Block {
    pub hash: String,
    pub number: u64,
    pub timestamp: i64,
    #[serde(default)]
    pub sealer: u64,
    #[serde(default)]
    pub sealer_list: Vec<String>,
    #[serde(default)]
    pub parent_info: Vec<Parent>,
    #[serde(default)]
    pub transactions: Vec<Transaction>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parent {
    pub block_hash: String,
}

/// A transaction of a block.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Transaction {
    pub hash: String,
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub to: String,
    #[serde(default)]
    pub input: String,
}

/// What became of a transaction, from either surface.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub status: i32,
    pub contract: String,
    pub logs: Vec<Log>,
}

/// A receipt of the Ethereum surface.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EthReceipt {
    pub transaction_hash: String,
    pub status: String,
    #[serde(default)]
    pub contract_address: Option<String>,
    #[serde(default)]
    pub logs: Vec<Log>,
}

impl EthReceipt {
    pub(super) fn ok(&self) -> bool {
        self.status == "0x1"
    }

    /// Only for one that succeeded: the Ethereum surface knows no reasons.
    pub(super) fn outcome(self) -> Outcome {
        Outcome { status: 0, contract: self.contract_address.unwrap_or_default(), logs: self.logs }
    }
}

impl From<Receipt> for Outcome {
    fn from(receipt: Receipt) -> Self {
        Self { status: receipt.status, contract: receipt.contract_address, logs: receipt.log_entries }
    }
}

/// An address in its plain form; empty stays empty.
pub(super) fn plain_address(text: &str) -> String {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() { String::new() } else { format!("0x{}", digits.to_ascii_lowercase()) }
}

fn has_no_digits(text: &str) -> bool {
    text.strip_prefix("0x").unwrap_or(text).is_empty()
}

/// A transaction as lists show it.
pub(super) fn record(transaction: &Transaction, outcome: &Outcome, index: usize, time: i64) -> TransactionRecord {
    let to = plain_address(&transaction.to);
    let deploys = to.is_empty() || to.bytes().all(|byte| matches!(byte, b'0' | b'x'));
    let kind = if deploys {
        "deploy"
    } else if [contracts::SYSTEM_CONFIG, contracts::CONSENSUS].contains(&to.as_str()) {
        "config"
    } else if has_no_digits(&transaction.input) {
        "transfer"
    } else {
        "call"
    };
    let mut terms: Vec<String> = Vec::new();
    let mut add = |term: String| {
        if !term.is_empty() && terms.len() < MOST_TERMS && !terms.contains(&term) {
            terms.push(term);
        }
    };
    for log in &outcome.logs {
        add(plain_address(&log.address));
        for topic in &log.topics {
            // An indexed address is looked for by its own digits.
            match topic.strip_prefix("0x000000000000000000000000") {
                Some(address) if address.len() == 40 && !address.starts_with("0000000000") => {
                    add(format!("0x{address}"));
                }
                _ => add(topic.clone()),
            }
        }
    }
    TransactionRecord {
        id: transaction.hash.clone(),
        index: u32::try_from(index).unwrap_or(u32::MAX),
        kind: kind.to_owned(),
        ok: outcome.status == 0,
        code: outcome.status.to_string(),
        from: plain_address(&transaction.from),
        to: if deploys { plain_address(&outcome.contract) } else { to },
        method: if deploys {
            String::new()
        } else {
            transaction.input.get(..10).unwrap_or_default().to_ascii_lowercase()
        },
        time,
        terms,
        events: outcome.logs.iter().map(Log::record).collect(),
    }
}

/// A block as lists show it.
pub(super) fn block_record(channel: &str, block: Block, outcomes: &[Outcome]) -> BlockRecord {
    let sealer = usize::try_from(block.sealer).ok().and_then(|at| block.sealer_list.get(at));
    let producer =
        sealer.filter(|_| block.number > 0).map(|id| id.trim_start_matches("0x").to_owned()).unwrap_or_default();
    let transactions: Vec<TransactionRecord> = block
        .transactions
        .iter()
        .zip(outcomes)
        .enumerate()
        .map(|(index, (transaction, outcome))| record(transaction, outcome, index, block.timestamp))
        .collect();
    BlockRecord {
        channel: channel.to_owned(),
        height: block.number,
        parent_hash: block.parent_info.first().map(|parent| parent.block_hash.clone()).unwrap_or_default(),
        hash: block.hash,
        time: block.timestamp,
        producer,
        size: 0,
        config: block.number == 0 || transactions.iter().any(|transaction| transaction.kind == "config"),
        transactions,
    }
}

/// JSON that a node put into a text.
pub(super) fn inner(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(to: &str, input: &str) -> Transaction {
        Transaction { hash: "0x01".into(), from: "0xAB".into(), to: to.into(), input: input.into() }
    }

    #[test]
    fn kinds_methods_and_terms() {
        let address = "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8f1";
        let log = Log {
            address: address[2..].to_owned(),
            topics: vec![format!("0x{}", "ee".repeat(32)), format!("0x{}{}", "0".repeat(24), &address[2..])],
            data: "0x".into(),
        };
        let outcome = Outcome { status: 0, contract: address.into(), logs: vec![log] };
        let call = record(&transaction(address, "0xA9059cbb00"), &outcome, 3, 7);
        assert_eq!((call.kind.as_str(), call.method.as_str(), call.index), ("call", "0xa9059cbb", 3));
        // The address is in the log twice, as emitter and as a topic.
        assert_eq!(call.terms, [address.to_owned(), format!("0x{}", "ee".repeat(32))]);
        assert_eq!(call.events[0].contract, address);
        let deployed = record(&transaction("", "0x6001"), &outcome, 0, 7);
        assert_eq!((deployed.kind.as_str(), deployed.to.as_str(), deployed.method.as_str()), ("deploy", address, ""));
        let config =
            record(&transaction(contracts::CONSENSUS, "0x00"), &Outcome { status: 16, ..Outcome::default() }, 0, 7);
        assert_eq!((config.kind.as_str(), config.ok, config.code.as_str()), ("config", false, "16"));
        assert_eq!(record(&transaction(address, "0x"), &outcome, 0, 7).kind, "transfer");
    }
}
