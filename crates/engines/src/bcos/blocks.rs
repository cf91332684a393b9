//! The stream of a group's blocks: many are fetched at a time, so that it keeps up with a chain at full load.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::history::Histories;
use super::rpc::{Client, RpcError, RpcResult, first};
use super::send::Receipt;
use super::views::{Block, EthReceipt, Outcome, Transaction, block_record, inner, record};
use super::{Bcos, words};
use crate::ledger::{BlockRecord, TransactionDetail};
use crate::{EngineError, Place};

/// Blocks on their way at a time.
const AT_A_TIME: usize = 8;
/// Blocks that wait for the reader.
const AHEAD: usize = 32;
/// Requests of one batch; nodes refuse more than a hundred.
const BATCH: usize = 50;
/// How often the height is asked while blocks come, and while none do.
const BUSY: Duration = Duration::from_millis(40);
const QUIET: Duration = Duration::from_millis(250);
const ASLEEP: Duration = Duration::from_secs(1);
/// Without a block for so long the chain is quiet, and after so long it may be asleep.
const RECENT: Duration = Duration::from_secs(3);
const LONG_AGO: Duration = Duration::from_mins(5);

/// One group as the stream reads it.
struct Reader {
    group: String,
    /// Whether the Ethereum surface speaks of this group.
    first: bool,
    clients: Vec<Arc<Client>>,
    histories: Arc<Histories>,
    history: PathBuf,
}

impl Reader {
    async fn fetch(&self, client: &Client, number: u64) -> RpcResult<(Block, Vec<Outcome>)> {
        let params = [json!(number), json!(false), json!(false)];
        let block = client.call::<Block>(&self.group, "getBlockByNumber", &params);
        let (block, receipts) = if self.first && client.has_web3() && number > 0 {
            // Both at once; a node without the method says so in an instant.
            let receipts =
                client.eth::<Option<Vec<EthReceipt>>>("eth_getBlockReceipts", json!([format!("{number:#x}")]));
            let (block, receipts) = tokio::join!(block, receipts);
            (block?, receipts.ok().flatten())
        } else {
            (block.await?, None)
        };
        let mut known: HashMap<String, Outcome> = receipts
            .into_iter()
            .flatten()
            .filter(EthReceipt::ok)
            .map(|receipt| (receipt.transaction_hash.clone(), receipt.outcome()))
            .collect();
        let missing: Vec<String> = block
            .transactions
            .iter()
            .map(|transaction| transaction.hash.clone())
            .filter(|hash| !known.contains_key(hash))
            .collect();
        known.extend(receipts_of(client, &self.group, missing).await?);
        let outcomes: Vec<Outcome> =
            block.transactions.iter().map(|transaction| known.remove(&transaction.hash).unwrap_or_default()).collect();
        Ok((block, outcomes))
    }

    /// Sends blocks until nobody wants them, or no node answers.
    async fn run(self, mut next: u64, into: mpsc::Sender<Result<BlockRecord, EngineError>>) {
        let mut at = 0;
        let mut failures = 0;
        let mut seen = Instant::now();
        while !into.is_closed() {
            let Some(client) = self.clients.get(at % self.clients.len().max(1)) else { return };
            let outcome = self.advance(client, &mut next, &into).await;
            match outcome {
                Ok(true) => {
                    failures = 0;
                    seen = Instant::now();
                }
                Ok(false) => {
                    failures = 0;
                    let quiet = seen.elapsed();
                    if quiet >= RECENT {
                        // It may be this node alone that gets no blocks any more.
                        at += 1;
                    }
                    let pause = match quiet {
                        quiet if quiet < RECENT => BUSY,
                        quiet if quiet < LONG_AGO => QUIET,
                        _ => ASLEEP,
                    };
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    failures += 1;
                    at += 1;
                    if failures >= self.clients.len() {
                        let _nobody_listens = into.send(Err(error.into())).await;
                        return;
                    }
                }
            }
        }
    }

    /// Sends what a node has; says whether that was anything.
    async fn advance(
        &self,
        client: &Arc<Client>,
        next: &mut u64,
        into: &mpsc::Sender<Result<BlockRecord, EngineError>>,
    ) -> RpcResult<bool> {
        let height = client.height(&self.group).await?;
        if height < *next {
            return Ok(false);
        }
        let mut blocks = stream::iter(*next..=height).map(|number| self.fetch(client, number)).buffered(AT_A_TIME);
        while let Some((block, outcomes)) = blocks.try_next().await? {
            let number = block.number;
            self.histories.note(&self.history, client, &self.group, self.first, &block).await;
            if into.send(Ok(block_record(&self.group, block, &outcomes))).await.is_err() {
                return Ok(true);
            }
            *next = number + 1;
        }
        Ok(true)
    }
}

/// What became of transactions, by the chain's own surface.
async fn receipts_of(client: &Client, group: &str, hashes: Vec<String>) -> RpcResult<Vec<(String, Outcome)>> {
    let batches: Vec<Vec<String>> = hashes.chunks(BATCH).map(<[String]>::to_vec).collect();
    let found: Vec<Vec<(String, Outcome)>> =
        stream::iter(batches).map(|hashes| batch_of(client, group, hashes)).buffered(AT_A_TIME).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn batch_of(client: &Client, group: &str, hashes: Vec<String>) -> RpcResult<Vec<(String, Outcome)>> {
    let calls: Vec<(&str, Vec<Value>)> =
        hashes.iter().map(|hash| ("getTransactionReceipt", vec![json!(hash), json!(false)])).collect();
    let receipts: Vec<Receipt> = if let Ok(receipts) = client.batch::<Receipt>(group, &calls).await {
        receipts.into_iter().collect::<RpcResult<_>>()?
    } else {
        // Upstream's nodes take no batches.
        let single = hashes.iter().cloned().map(|hash| receipt_of(client, group, hash)).collect::<Vec<_>>();
        stream::iter(single).buffered(AT_A_TIME).try_collect().await?
    };
    Ok(hashes.into_iter().zip(receipts.into_iter().map(Outcome::from)).collect())
}

async fn receipt_of(client: &Client, group: &str, hash: String) -> RpcResult<Receipt> {
    client.call(group, "getTransactionReceipt", &[json!(hash), json!(false)]).await
}

impl Bcos {
    pub(super) fn block_stream(
        &self,
        place: Place<'_>,
        channel: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        let reader = Reader {
            group: channel.to_owned(),
            first: is_first(place, channel),
            clients: self.clients.of_group(place, channel, None)?,
            histories: Arc::clone(&self.histories),
            history: super::history::path(place, channel),
        };
        let (into, mut out) = mpsc::channel(AHEAD);
        tokio::spawn(reader.run(from, into));
        Ok(stream::poll_fn(move |context| out.poll_recv(context)).boxed())
    }

    pub(super) async fn detail(
        &self,
        place: Place<'_>,
        group: &str,
        id: &str,
    ) -> Result<TransactionDetail, EngineError> {
        let id = &hash(id)?;
        let clients = self.clients.of_group(place, group, None)?;
        let (transaction, receipt, block) = first(&clients, |client| async move {
            let params = [json!(id), json!(false)];
            let transaction = client.call::<Value>(group, "getTransaction", &params);
            let receipt = client.call::<Value>(group, "getTransactionReceipt", &params);
            let (transaction, receipt) = tokio::join!(transaction, receipt);
            let (transaction, receipt) = (known(transaction, id)?, known(receipt, id)?);
            let number = receipt["blockNumber"].clone();
            let block: Value = client.call(group, "getBlockByNumber", &[number, json!(false), json!(true)]).await?;
            Ok((transaction, receipt, block))
        })
        .await?;
        let unread = |error: serde_json::Error| EngineError::Unreachable {
            node: group.to_owned(),
            why: format!("{id}: {error}"),
        };
        let shown: Transaction = serde_json::from_value(transaction.clone()).map_err(unread)?;
        let executed: Receipt = serde_json::from_value(receipt.clone()).map_err(unread)?;
        let hashes = block["transactions"].as_array().cloned().unwrap_or_default();
        let index = hashes.iter().position(|hash| hash.as_str() == Some(id.as_str())).unwrap_or_default();
        let abi = if executed.status == 0 { None } else { self.stored_abi(place, group, &shown.to).await };
        let explanation = words::outcome(executed.status, &executed.output_bytes(), &executed.message, abi.as_deref());
        let height = executed.block_number;
        let (output, logs) = (receipt["output"].clone(), receipt["logEntries"].clone());
        let time = block["timestamp"].as_i64().unwrap_or_default();
        let record = record(&shown, &Outcome::from(executed), index, time);
        Ok(TransactionDetail {
            record,
            height,
            block_hash: block["hash"].as_str().unwrap_or_default().to_owned(),
            input: transaction["input"].clone(),
            output,
            endorsements: Vec::new(),
            effects: logs,
            explanation,
            raw: json!({ "transaction": transaction, "receipt": receipt }),
        })
    }
}

/// A ledger's way of saying that it has no such transaction.
fn known(answer: RpcResult<Value>, id: &str) -> RpcResult<Value> {
    match answer {
        Ok(Value::Null) | Err(RpcError::Refused(_)) => {
            Err(RpcError::Final(EngineError::NotFound { what: format!("the transaction {id}") }))
        }
        other => other,
    }
}

/// Whether the Ethereum surface speaks of this group.
pub(super) fn is_first(place: Place<'_>, group: &str) -> bool {
    place.spec.channels.first().is_some_and(|first| first.name == group)
}

/// A transaction's hash in its plain form.
pub(super) fn hash(text: &str) -> Result<String, EngineError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(format!("0x{}", digits.to_ascii_lowercase()));
    }
    Err(super::plan::invalid("id", format!("{text:?} is no transaction hash; write 0x and 64 hex digits")))
}

/// Version, and what else a node says of itself inside a text.
pub(super) fn version(info: &Value) -> Option<String> {
    let ini = inner(info["iniConfig"].as_str()?);
    let binary = &ini["binaryInfo"];
    let (version, commit) = (binary["version"].as_str()?, binary["gitCommitHash"].as_str().unwrap_or_default());
    Some(if commit.is_empty() { version.to_owned() } else { format!("{version} ({commit})") })
}
