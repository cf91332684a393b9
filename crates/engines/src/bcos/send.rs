//! Transactions: signed with the platform's accounts, sent, and found again after a crash.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_json_abi::JsonAbi;
use bcos_types::{Transaction, TransactionData};
use konsort_crypto::{SuiteKey, random_bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rpc::{Client, READ, RpcError, RpcResult};
use super::{Bcos, files, words};
use crate::call::{CallInput, CallRequest, CallResult};
use crate::ledger::EventRecord;
use crate::{EngineError, Place};

/// Blocks after which a transaction that was not sealed is void.
const BLOCK_LIMIT: u64 = 500;
/// How long a transaction may take to be in a block.
const COMMIT: Duration = Duration::from_secs(90);
/// How long one node may take for it while there are others to try.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interfaces of contracts that are remembered.
const MOST_INTERFACES: usize = 1_000;
/// For how long it is remembered that there is none.
const NO_ABI: Duration = Duration::from_secs(5);

/// A receipt as nodes show it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub status: i32,
    #[serde(default)]
    pub block_number: u64,
    #[serde(default)]
    pub output: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub transaction_hash: String,
    #[serde(default)]
    pub contract_address: String,
    #[serde(default)]
    pub gas_used: String,
    #[serde(default)]
    pub log_entries: Vec<Log>,
}

/// An event in a receipt.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Log {
    pub address: String,
    pub topics: Vec<String>,
    pub data: String,
}

impl Log {
    pub(super) fn record(&self) -> EventRecord {
        let address = self.address.strip_prefix("0x").unwrap_or(&self.address);
        EventRecord {
            contract: format!("0x{}", address.to_ascii_lowercase()),
            name: self.topics.first().cloned().unwrap_or_default(),
            payload: json!({ "topics": self.topics, "data": self.data }),
        }
    }
}

impl Receipt {
    pub(super) fn output_bytes(&self) -> Vec<u8> {
        words::bytes(&self.output).unwrap_or_default()
    }

    /// Fails when the transaction, or the chain's own contract it called, refused.
    pub(super) fn succeeded(self, own_contract: bool) -> Result<Self, EngineError> {
        if self.status != 0 {
            let code = bcos_types::status::name(self.status).to_owned();
            return Err(EngineError::Refused {
                code,
                why: words::outcome(self.status, &self.output_bytes(), &self.message, None),
            });
        }
        let refusal = if own_contract { words::precompiled(&self.output_bytes()) } else { None };
        match refusal {
            Some(why) => {
                let (code, why) = why.split_once(": ").unwrap_or(("PrecompiledError", &why));
                Err(EngineError::Refused { code: code.to_owned(), why: why.to_owned() })
            }
            None => Ok(self),
        }
    }

    pub(super) fn result(&self, abi: Option<&JsonAbi>) -> CallResult {
        CallResult {
            transaction: self.transaction_hash.clone(),
            height: self.block_number,
            ok: self.status == 0,
            code: self.status.to_string(),
            explanation: words::outcome(self.status, &self.output_bytes(), &self.message, abi),
            output: json!(self.output),
            events: self.log_entries.iter().map(Log::record).collect(),
            gas_used: self.gas_used.parse().ok(),
        }
    }
}

/// A transaction as a step keeps it before it is sent.
#[derive(Debug, Serialize, Deserialize)]
struct Sent {
    hash: String,
    raw: String,
}

/// What is to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub to: String,
    pub input: Vec<u8>,
    /// The ABI, kept on the chain with a deployed contract.
    pub abi: String,
}

fn signed(place: Place<'_>, group: &str, key: &SuiteKey, content: &Content, head: u64) -> Sent {
    let data = TransactionData {
        chain_id: place.spec.chain_id.clone().unwrap_or_else(|| "chain0".into()),
        group_id: group.to_owned(),
        block_limit: i64::try_from(head + BLOCK_LIMIT).unwrap_or(i64::MAX),
        nonce: hex::encode(random_bytes::<16>()),
        to: content.to.clone(),
        input: content.input.clone().into(),
        abi: content.abi.clone(),
        ..TransactionData::default()
    };
    let transaction = Transaction::signed(data, key);
    let suite = konsort_crypto::suite(key.kind());
    let hash = transaction.hash(suite);
    Sent { hash: format!("0x{}", hex::encode(hash)), raw: format!("0x{}", hex::encode(transaction.encode())) }
}

/// Sends through one node after the other until one has the receipt. A node that takes a transaction and gets no further does not
/// hold it up: the others know the same transaction again.
async fn deliver(clients: &[Arc<Client>], group: &str, sent: &Sent) -> RpcResult<Receipt> {
    let Some((last, others)) = clients.split_last() else {
        return Err(RpcError::Final(EngineError::NotFound { what: "a node to send through".into() }));
    };
    for client in others {
        match tokio::time::timeout(PATIENCE, try_deliver(client, group, sent)).await {
            Ok(Err(RpcError::Unreachable(_))) | Err(_) => {}
            Ok(answer) => return answer,
        }
    }
    match tokio::time::timeout(COMMIT, try_deliver(last, group, sent)).await {
        Ok(answer) => answer,
        Err(_) => Err(RpcError::Final(EngineError::Unreachable {
            node: last.node.clone(),
            why: format!(
                "the transaction {} is in no block after {} s; check that enough sealers run",
                sent.hash,
                COMMIT.as_secs()
            ),
        })),
    }
}

async fn try_deliver(client: &Client, group: &str, sent: &Sent) -> RpcResult<Receipt> {
    let answer =
        client.call_within::<Receipt>(group, "sendTransaction", &[json!(sent.raw), json!(false)], 2 * COMMIT).await;
    match answer {
        // It is on its way already, or was executed: an earlier attempt sent it.
        Err(RpcError::Refused(failure)) if is_repeated(failure.code) => await_receipt(client, group, &sent.hash).await,
        other => other,
    }
}

fn is_repeated(code: i64) -> bool {
    use bcos_types::status;
    [
        status::NONCE_CHECK_FAIL,
        status::ALREADY_IN_TX_POOL,
        status::TX_ALREADY_IN_CHAIN,
        status::ALREADY_IN_TX_POOL_AND_ACCEPT,
    ]
    .iter()
    .any(|known| i64::from(*known) == code)
}

async fn find_receipt(client: &Client, group: &str, hash: &str) -> RpcResult<Option<Receipt>> {
    match client
        .call_within::<Option<Receipt>>(group, "getTransactionReceipt", &[json!(hash), json!(false)], READ)
        .await
    {
        Err(RpcError::Refused(_)) => Ok(None),
        other => other,
    }
}

async fn await_receipt(client: &Client, group: &str, hash: &str) -> RpcResult<Receipt> {
    loop {
        if let Some(receipt) = find_receipt(client, group, hash).await? {
            return Ok(receipt);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

impl Bcos {
    /// Signs, sends, waits. When a node breaks off in between, the same transaction goes through the next one.
    pub(super) async fn send(
        &self,
        place: Place<'_>,
        group: &str,
        organisation: Option<&str>,
        key: &SuiteKey,
        content: &Content,
    ) -> Result<Receipt, EngineError> {
        let clients = self.clients.of_group(place, group, organisation)?;
        let head = super::rpc::first(&clients, |client| async move { client.recent_height(group).await }).await?;
        let sent = &signed(place, group, key, content, head);
        deliver(&clients, group, sent).await.map_err(EngineError::from)
    }

    /// As [`Bcos::send`], for a step that may run again: what was sent is kept under a name, and the next run waits for the same
    /// transaction instead of sending another one.
    pub(super) async fn send_once(
        &self,
        place: Place<'_>,
        group: &str,
        key: &SuiteKey,
        content: &Content,
        name: &str,
    ) -> Result<Receipt, EngineError> {
        let clients = self.clients.of_group(place, group, None)?;
        let path = sent_path(place, name);
        let kept: Option<Sent> = std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok());
        if let Some(kept) = kept {
            let hash = &kept.hash;
            let find = |client: Arc<Client>| async move { find_receipt(&client, group, hash).await };
            if let Some(receipt) = super::rpc::first(&clients, find).await? {
                return Ok(receipt);
            }
            match deliver(&clients, group, &kept).await {
                // Its time is over and it is in no block: it never will be.
                Err(RpcError::Refused(failure))
                    if failure.code == i64::from(bcos_types::status::BLOCK_LIMIT_CHECK_FAIL) => {}
                other => return other.map_err(EngineError::from),
            }
        }
        let head = super::rpc::first(&clients, |client| async move { client.recent_height(group).await }).await?;
        let fresh = &signed(place, group, key, content, head);
        if let Some(folder) = path.parent() {
            files::private_folder(folder)?;
        }
        files::write(&path, &serde_json::to_vec(fresh).unwrap_or_default())?;
        deliver(&clients, group, fresh).await.map_err(EngineError::from)
    }

    pub(super) async fn submitted(&self, place: Place<'_>, call: &CallRequest) -> Result<CallResult, EngineError> {
        let key = super::accounts::signer(place, call.organisation.as_deref(), call.signer.as_deref())?;
        let content = Content { to: contract(&call.contract)?, input: data(&call.input)?, abi: String::new() };
        let receipt = self.send(place, &call.channel, call.organisation.as_deref(), &key, &content).await?;
        let abi = if receipt.status == 0 { None } else { self.stored_abi(place, &call.channel, &call.contract).await };
        Ok(receipt.result(abi.as_deref()))
    }

    /// The ABI that the chain keeps with a contract, if it does.
    pub(super) async fn stored_abi(&self, place: Place<'_>, group: &str, contract: &str) -> Option<Arc<JsonAbi>> {
        let key = (place.folder.to_path_buf(), group.to_owned(), contract.to_ascii_lowercase());
        match self.interfaces.lock().get(&key) {
            Some((Some(known), _)) => return Some(Arc::clone(known)),
            // Contracts of Ethereum clients have none; every call of one would ask again.
            Some((None, asked)) if asked.elapsed() < NO_ABI => return None,
            _ => {}
        }
        let clients = self.clients.of_group(place, group, None).ok()?;
        let text: String =
            super::rpc::first(&clients, |client| async move { client.call(group, "getABI", &[json!(contract)]).await })
                .await
                .ok()?;
        // An ABI at an address never changes, so it need not be asked again.
        let abi: Option<Arc<JsonAbi>> = serde_json::from_str(&text).ok().map(Arc::new);
        let mut interfaces = self.interfaces.lock();
        if interfaces.len() >= MOST_INTERFACES {
            interfaces.clear();
        }
        interfaces.insert(key, (abi.clone(), Instant::now()));
        abi
    }
}

/// Where a step keeps what it sent.
pub(super) fn sent_path(place: Place<'_>, name: &str) -> PathBuf {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    place.folder.join("sent").join(format!("{plain}.json"))
}

/// A contract's address in its plain form.
pub(super) fn contract(text: &str) -> Result<String, EngineError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(format!("0x{}", digits.to_ascii_lowercase()));
    }
    Err(super::plan::invalid("contract", format!("{text:?} is no address; write 0x and 40 hex digits")))
}

/// The call data of a request.
pub(super) fn data(input: &CallInput) -> Result<Vec<u8>, EngineError> {
    match input {
        CallInput::Data { data } => words::bytes(data)
            .ok_or_else(|| super::plan::invalid("input.data", "call data must be hex digits after 0x")),
        CallInput::Texts { .. } => {
            Err(super::plan::invalid("input", "a BCOS contract is called with encoded data, not with texts"))
        }
    }
}

/// A number in hex or decimal text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
        _ => None,
    }
}
