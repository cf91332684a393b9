//! Blocks and transactions of a network: lists from the index, details from its nodes, both in the words of its contracts.

mod trace;

use axum::extract::State;
use konsort_engines::TransactionDetail;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::app::{App, Routes};
use crate::contracts::known::{KnownByTarget, find};
use crate::db::{DbError, Kind, decode_token, encode_token};
use crate::http::{Json, Path, Query};
use crate::index::query::{self, BlockRow, LedgerRow, TransactionFilter, TransactionRow};
use crate::networks::model::NetworkDoc;
use crate::networks::reads::{ChannelQuery, channel_of};
use crate::problem::{Problem, kinds};

/// A block in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockView {
    /// Channel or group.
    pub channel: String,
    /// Height (number).
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Hash of the block before.
    pub parent_hash: String,
    /// Milliseconds since 1970.
    pub time: i64,
    /// Who made it.
    pub producer: String,
    /// Encoded size, bytes; 0 when the engine cannot tell.
    pub size: u64,
    /// Whether it holds configuration.
    pub config: bool,
    /// How many transactions.
    pub transactions: u64,
    /// How many of them took no effect.
    pub failed: u64,
}

/// A transaction in a list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransactionView {
    /// Channel or group.
    pub channel: String,
    /// Transaction id or hash.
    pub id: String,
    /// Height of its block.
    pub height: u64,
    /// Place in the block.
    pub index: u32,
    /// `call`, `deploy`, `config`, `transfer`.
    pub kind: String,
    /// Whether it took effect.
    pub ok: bool,
    /// The engine's code.
    pub code: String,
    /// Fabric: creator as `Org1MSP:User1@…`; BCOS: sender address.
    pub from: String,
    /// Fabric: chaincode name; BCOS: contract address.
    pub to: String,
    /// The contract's record on the platform, when there is one.
    pub contract: Option<ContractRef>,
    /// Method: its name where the contract's interface is known, else what the ledger has.
    pub method: String,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// A contract's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContractRef {
    /// Its id, `ctr_…`.
    pub id: String,
    /// Its name.
    pub name: String,
}

pub(crate) fn block_view(row: BlockRow, channel: &str) -> BlockView {
    BlockView {
        channel: channel.to_owned(),
        height: row.height,
        hash: row.hash,
        parent_hash: row.parent_hash,
        time: row.time,
        producer: row.producer,
        size: row.size,
        config: row.config,
        transactions: row.transactions,
        failed: row.failed,
    }
}

pub(crate) fn transaction_view(row: TransactionRow, channel: &str, known: &KnownByTarget) -> TransactionView {
    let (height, index) = row.place();
    let contract = find(known, channel, &row.contract);
    let method = contract.and_then(|contract| contract.method_name(&row.method)).map(str::to_owned);
    TransactionView {
        channel: channel.to_owned(),
        id: row.id,
        height,
        index,
        kind: row.kind,
        ok: row.ok,
        code: row.code,
        from: row.sender,
        to: row.contract,
        contract: contract.map(|contract| ContractRef { id: contract.id.clone(), name: contract.name.clone() }),
        method: method.unwrap_or(row.method),
        time: row.time,
    }
}

/// The indexed channel that a query means; `None` while nothing of it is indexed.
async fn ledger(app: &App, id: &str, channel: Option<&str>) -> Result<(String, Option<LedgerRow>), Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, id).await?;
    let channel = channel_of(&record.doc, channel)?;
    let ledger = app.control.index.ledger(id, &channel);
    Ok((channel, ledger))
}

fn size(asked: Option<u32>) -> Result<u32, Problem> {
    let size = asked.unwrap_or(50);
    if (1..=200).contains(&size) {
        return Ok(size);
    }
    Err(Problem::new(&kinds::INVALID_PARAMETER)
        .details(format!("page_size {size}: 1 to 200 are allowed"), format!("page_size {size}：取值范围为 1 到 200")))
}

/// Which blocks.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BlocksQuery {
    /// Channel or group; default: the network's first.
    channel: Option<String>,
    /// Only below this height.
    before: Option<u64>,
    /// Most items, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

/// Blocks.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockList {
    /// Newest first.
    pub items: Vec<BlockView>,
    /// Give it as `page_token` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Blocks of a channel, newest first. Pages go by height, so they stay the same while blocks arrive.
#[utoipa::path(get, path = "/v1/networks/{id}/blocks", tag = "explorer", operation_id = "list_blocks",
    params(("id" = String, Path, description = "Network"), BlocksQuery), responses((status = 200, body = BlockList)))]
async fn blocks(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<BlocksQuery>,
) -> Result<Json<BlockList>, Problem> {
    let (channel, ledger) = ledger(&app, &id, asked.channel.as_deref()).await?;
    let limit = size(asked.page_size)?;
    let token = asked.page_token.as_deref().map(decode_token::<u64>).transpose()?;
    let Some(ledger) = ledger else { return Ok(Json(BlockList { items: Vec::new(), next_page_token: None })) };
    let before = token.or(asked.before);
    let rows = query::blocks(app.db.read(), ledger.id, before, limit).await.map_err(DbError::from)?;
    let next_page_token = rows.last().filter(|row| row.height > 0).map(|row| encode_token(&row.height));
    Ok(Json(BlockList { items: rows.into_iter().map(|row| block_view(row, &channel)).collect(), next_page_token }))
}

/// A block with its transactions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BlockDetail {
    /// The block.
    #[serde(flatten)]
    pub block: BlockView,
    /// The first thousand of its transactions.
    pub items: Vec<TransactionView>,
    /// Hash of the block after it, when there is one.
    pub next_hash: Option<String>,
}

/// A block by its height or hash, with its transactions.
#[utoipa::path(get, path = "/v1/networks/{id}/blocks/{block}", tag = "explorer", operation_id = "get_block",
    params(("id" = String, Path, description = "Network"), ("block" = String, Path, description = "Height or hash"), ChannelQuery),
    responses((status = 200, body = BlockDetail)))]
async fn block(
    State(app): State<App>,
    Path((id, wanted)): Path<(String, String)>,
    Query(asked): Query<ChannelQuery>,
) -> Result<Json<BlockDetail>, Problem> {
    let (channel, ledger) = ledger(&app, &id, asked.channel.as_deref()).await?;
    let missing = || Problem::not_found("block", &wanted);
    let ledger = ledger.ok_or_else(missing)?;
    let pool = app.db.read();
    let row = if let Ok(height) = wanted.parse::<u64>() {
        query::blocks_at(pool, &[ledger.id], height).await.map_err(DbError::from)?.pop()
    } else {
        let found = query::blocks_by_hash(pool, &[ledger.id], &wanted, 2).await.map_err(DbError::from)?;
        found.into_iter().find(|row| row.hash.eq_ignore_ascii_case(&wanted))
    }
    .ok_or_else(missing)?;
    let rows = query::transactions_of_block(pool, ledger.id, row.height, 0, 1000).await.map_err(DbError::from)?;
    let next = query::blocks_at(pool, &[ledger.id], row.height + 1).await.map_err(DbError::from)?.pop();
    let known = app.control.contracts.of(&app.control, &id).await?;
    Ok(Json(BlockDetail {
        block: block_view(row, &channel),
        items: rows.into_iter().map(|row| transaction_view(row, &channel, &known)).collect(),
        next_hash: next.map(|next| next.hash),
    }))
}

/// Which transactions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TransactionsQuery {
    /// Channel or group; default: the network's first.
    channel: Option<String>,
    /// Only of this contract: id (`ctr_…`), chaincode name or address.
    contract: Option<String>,
    /// Only from this sender.
    from: Option<String>,
    /// Only those that took effect (`true`) or did not (`false`).
    ok: Option<bool>,
    /// Most items, 1 to 200; default 50.
    #[param(minimum = 1, maximum = 200)]
    page_size: Option<u32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

/// Transactions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransactionList {
    /// Newest first.
    pub items: Vec<TransactionView>,
    /// Give it as `page_token` to get the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// Transactions of a channel, newest first.
#[utoipa::path(get, path = "/v1/networks/{id}/transactions", tag = "explorer", operation_id = "list_transactions",
    params(("id" = String, Path, description = "Network"), TransactionsQuery),
    responses((status = 200, body = TransactionList)))]
async fn transactions(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(asked): Query<TransactionsQuery>,
) -> Result<Json<TransactionList>, Problem> {
    let (channel, ledger) = ledger(&app, &id, asked.channel.as_deref()).await?;
    let limit = size(asked.page_size)?;
    let before = asked.page_token.as_deref().map(decode_token::<i64>).transpose()?;
    let Some(ledger) = ledger else { return Ok(Json(TransactionList { items: Vec::new(), next_page_token: None })) };
    let known = app.control.contracts.of(&app.control, &id).await?;
    let contract = asked.contract.map(|asked| {
        let by_id = known.iter().find(|(_, contract)| contract.id == asked);
        by_id.map_or(asked, |((_, target), _)| target.clone())
    });
    let filter = TransactionFilter { contract, sender: asked.from, ok: asked.ok, before };
    let mut rows = query::transactions(app.db.read(), ledger.id, &filter, limit + 1).await.map_err(DbError::from)?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next_page_token = rows.last().filter(|_| more).map(|row| encode_token(&row.position));
    let items = rows.into_iter().map(|row| transaction_view(row, &channel, &known)).collect();
    Ok(Json(TransactionList { items, next_page_token }))
}

/// Everything about a transaction.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransactionFull {
    /// Channel or group.
    pub channel: String,
    /// What its node tells.
    #[serde(flatten)]
    pub detail: TransactionDetail,
    /// The contract's record on the platform, when there is one.
    pub contract: Option<ContractRef>,
    /// In the words of the contract's interface: `{call: {method, arguments}, output, events: [{name, arguments}]}`.
    pub decoded: Value,
}

/// The channel that has a transaction: the asked one, or the one whose index knows it, or the network's first.
async fn channel_with(app: &App, id: &str, asked: Option<&str>, transaction: &str) -> Result<String, Problem> {
    let record = app.records.get::<NetworkDoc>(Kind::Network, id).await?;
    if asked.is_some() || record.doc.spec.channels.len() < 2 {
        return channel_of(&record.doc, asked);
    }
    let ledgers: Vec<i64> = app.control.index.ledgers_of(id).iter().map(|ledger| ledger.id).collect();
    let rows = query::transactions_by_id(app.db.read(), &ledgers, transaction, 2).await.map_err(DbError::from)?;
    let found = rows.into_iter().find(|row| row.id.eq_ignore_ascii_case(transaction));
    match found.and_then(|row| app.control.index.ledger_by_id(row.ledger)) {
        Some(ledger) => Ok(ledger.channel),
        None => channel_of(&record.doc, None),
    }
}

/// Everything about a transaction: input and output, endorsements or receipt, read-write set or logs.
#[utoipa::path(get, path = "/v1/networks/{id}/transactions/{tx}", tag = "explorer", operation_id = "get_transaction",
    params(("id" = String, Path, description = "Network"), ("tx" = String, Path, description = "Transaction id or hash"), ChannelQuery),
    responses((status = 200, body = TransactionFull)))]
async fn transaction(
    State(app): State<App>,
    Path((id, tx)): Path<(String, String)>,
    Query(asked): Query<ChannelQuery>,
) -> Result<Json<TransactionFull>, Problem> {
    let channel = channel_with(&app, &id, asked.channel.as_deref(), &tx).await?;
    let network = app.control.network(&id).await?;
    let detail = network.engine.transaction(network.place(), &channel, &tx).await?;
    let known = app.control.contracts.of(&app.control, &id).await?;
    let contract = find(&known, &channel, &detail.record.to);
    let call = contract.and_then(|contract| contract.call(&detail.input));
    let method = call.as_ref().and_then(|call| call["method"].as_str()).map(str::to_owned);
    let output = contract
        .zip(method)
        .filter(|_| detail.record.ok)
        .and_then(|(contract, method)| contract.output(&method, &detail.output));
    let events: Vec<Value> = detail
        .record
        .events
        .iter()
        .map(|event| {
            let decoded = find(&known, &channel, &event.contract).and_then(|contract| contract.event(&event.payload));
            decoded.unwrap_or_else(|| json!({ "name": event.name, "payload": event.payload }))
        })
        .collect();
    let decoded = json!({ "call": call, "output": output, "events": events });
    let contract = contract.map(|contract| ContractRef { id: contract.id.clone(), name: contract.name.clone() });
    Ok(Json(TransactionFull { channel, detail, contract, decoded }))
}

/// Steps of an executed transaction. BCOS: opcodes with source lines where the sources are known, call tree, storage; Fabric: read-write
/// set, comparison of the endorsements, conflicts in words.
#[utoipa::path(get, path = "/v1/networks/{id}/transactions/{tx}/trace", tag = "explorer", operation_id = "trace_transaction",
    params(("id" = String, Path, description = "Network"), ("tx" = String, Path, description = "Transaction id or hash"), ChannelQuery),
    responses((status = 200, body = Object)))]
async fn trace_transaction(
    State(app): State<App>,
    Path((id, tx)): Path<(String, String)>,
    Query(asked): Query<ChannelQuery>,
) -> Result<Json<Value>, Problem> {
    let channel = channel_with(&app, &id, asked.channel.as_deref(), &tx).await?;
    let network = app.control.network(&id).await?;
    let raw = network.engine.trace(network.place(), &channel, &tx).await?;
    Ok(Json(trace::explained(&app, &id, &channel, raw).await?))
}

/// The routes.
pub fn routes() -> Routes {
    Routes::new()
        .routes(routes!(blocks))
        .routes(routes!(block))
        .routes(routes!(transactions))
        .routes(routes!(transaction))
        .routes(routes!(trace_transaction))
}
