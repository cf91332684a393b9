//! Ethereum's JSON-RPC: `eth_*`, `net_*`, `web3_*`, `debug_*` over the node's first group, by HTTP and WebSocket.

mod calls;
mod fees;
mod objects;
mod overrides;
mod prestate;
mod subscriptions;
mod traces;

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bloom, keccak256};
use bcos_chain::{CommittedBlock, StateView};
use bcos_types::web3;
use serde_json::{Value, json};

use crate::api::{Group, Node, SubmitError};
use crate::rpc::criteria::{Bound, Criteria};
use crate::rpc::edge::{Incoming, Session, Surface, Work};
use crate::rpc::envelope::{self, Manner, Request};
use crate::rpc::error::{INTERNAL_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, RpcError};
use crate::rpc::filters::{Filters, Kind};
use crate::rpc::ledger::{self, Ledger, access};
use crate::rpc::params::Params;
use crate::rpc::{Counted, changed, groups, logs, text};
use objects::Place;
use subscriptions::Subscriptions;

/// What an answer with transactions from the pool holds at most.
const MOST_POOLED: usize = 4_096;

/// The methods, over the group that Ethereum's clients see.
#[derive(Debug)]
pub(crate) struct Eth {
    node: Node,
    group: Group,
    filters: Arc<Filters>,
    subscriptions: Subscriptions,
    batch: usize,
    wait_for_receipt: bool,
    counted: Counted,
}

impl Eth {
    pub(crate) fn new(node: Node, group: Group) -> Self {
        let web3 = &node.config().web3;
        Self {
            filters: Arc::new(Filters::new(web3.filter_timeout)),
            subscriptions: Subscriptions::default(),
            batch: web3.batch_limit,
            wait_for_receipt: web3.sync_transaction,
            counted: Counted::new(node.metrics(), "eth"),
            node,
            group,
        }
    }

    /// The filters, to be swept from time to time.
    pub(crate) fn filters(&self) -> &Arc<Filters> {
        &self.filters
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger(&self.group)
    }

    /// Answers one request that needs no connection of its own.
    pub(crate) async fn call(&self, request: Request) -> Result<Value, RpcError> {
        let params = Params(&request.params);
        let ledger = self.ledger();
        match request.method.as_str() {
            "web3_clientVersion" => Ok(format!(
                "Konsort/v{}/{}-{}/FISCO-BCOS-Web3RPC/{}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH,
                groups::VERSION,
            )
            .into()),
            "web3_sha3" => Ok(text::data(keccak256(params.bytes(0, "data")?)).into()),
            "net_version" => Ok(ledger.settings()?.web3_chain_id.to_string().into()),
            "net_listening" => Ok(true.into()),
            "net_peerCount" => Ok(text::quantity(self.group.peers().len() as u64).into()),
            "rpc_modules" => {
                Ok(json!({ "debug": "1.0", "eth": "1.0", "net": "1.0", "rpc": "1.0", "txpool": "1.0", "web3": "1.0" }))
            }
            "eth_chainId" => Ok(text::quantity(ledger.settings()?.web3_chain_id).into()),
            "eth_protocolVersion" => Err(RpcError::new(METHOD_NOT_FOUND, "This API has not been implemented yet!")),
            "eth_syncing" => Ok(self.syncing()),
            "eth_coinbase" => Ok(text::data(self.coinbase()).into()),
            "eth_mining" => Ok(false.into()),
            "eth_hashrate"
            | "eth_maxPriorityFeePerGas"
            | "eth_blobBaseFee"
            | "eth_getUncleCountByBlockHash"
            | "eth_getUncleCountByBlockNumber" => Ok("0x0".into()),
            "eth_gasPrice" => Ok(text::quantity_256(&ledger.settings()?.gas_price).into()),
            "eth_feeHistory" => self.fee_history(params),
            "eth_accounts" => Ok(json!([])),
            "eth_sign" | "eth_signTransaction" | "eth_sendTransaction" => Err(RpcError::new(
                -32000,
                "unknown account: this node keeps no accounts; sign on the client and use eth_sendRawTransaction",
            )),
            "eth_blockNumber" => Ok(text::quantity(ledger.head()).into()),
            "eth_getBalance" => {
                let address = params.address(0, "address")?;
                let state = self.state(params.get(1))?;
                Ok(text::quantity_256(&access(state.account(address))?.balance).into())
            }
            "eth_getStorageAt" => {
                let address = params.address(0, "address")?;
                let slot = slot(params.text(1, "position")?)?;
                let state = self.state(params.get(2))?;
                Ok(text::word(&access(state.storage(address, slot))?).into())
            }
            "eth_getCode" => {
                let address = params.address(0, "address")?;
                let state = self.state(params.get(1))?;
                Ok(text::data(&access(state.code(address))?).into())
            }
            "eth_getTransactionCount" => self.transaction_count(params),
            "eth_getProof" => Err(RpcError::new(
                -32000,
                "eth_getProof cannot be answered: the chain's state root is no Merkle root, so no account has a proof; \
                 prove receipts with getTransactionReceipt (requireProof) instead",
            )),
            "eth_call" => {
                let call = calls::request(params.required(0, "call")?)?;
                let (at, imagined) = (self.at(params.get(1))?, overrides::of_call(params)?);
                let outcome = ledger::execute(&self.group, call, at, imagined).await?;
                calls::output(outcome).map(|output| text::data(&output).into())
            }
            "eth_estimateGas" => {
                let call = calls::request(params.required(0, "call")?)?;
                let (at, imagined) = (self.at(params.get(1))?, overrides::of_call(params)?);
                match ledger::estimate(&self.group, call, at, imagined).await? {
                    Ok(gas) => Ok(text::quantity(gas).into()),
                    Err(outcome) => Err(calls::failure(&outcome)),
                }
            }
            "eth_createAccessList" => {
                let call = calls::request(params.required(0, "call")?)?;
                let at = self.at(params.get(1))?;
                traces::access_list(&self.group, call, at).await
            }
            "eth_sendRawTransaction" => self.send(params).await,
            "eth_getBlockByHash" => {
                let hash = params.hash(0, "block hash")?;
                match ledger.find_number(&hash)? {
                    Some(number) => self.block(number, params.flag(1, false)),
                    None => Ok(Value::Null),
                }
            }
            "eth_getBlockByNumber" => match self.known(params.text(0, "block")?)? {
                Some(number) => self.block(number, params.flag(1, false)),
                None => Ok(Value::Null),
            },
            "eth_getBlockTransactionCountByHash" => match ledger.find_number(&params.hash(0, "block hash")?)? {
                Some(number) => Ok(text::quantity(ledger.block(number)?.len() as u64).into()),
                None => Ok(Value::Null),
            },
            "eth_getBlockTransactionCountByNumber" => match self.known(params.text(0, "block")?)? {
                Some(number) => Ok(text::quantity(ledger.block(number)?.len() as u64).into()),
                None => Ok(Value::Null),
            },
            "eth_getUncleByBlockHashAndIndex" | "eth_getUncleByBlockNumberAndIndex" => Ok(Value::Null),
            "eth_getTransactionByHash" => self.transaction(params),
            "eth_getRawTransactionByHash" => {
                let hash = params.hash(0, "transaction hash")?;
                let found = match ledger.find(&hash)? {
                    Some(found) => Some(found.transaction),
                    None => self.group.pending(&hash),
                };
                Ok(found.map_or(Value::Null, |found| raw(&found.tx)))
            }
            "eth_getTransactionByBlockHashAndIndex" => {
                let number = ledger.find_number(&params.hash(0, "block hash")?)?;
                self.transaction_at(number, params)
            }
            "eth_getTransactionByBlockNumberAndIndex" => {
                let number = self.known(params.text(0, "block")?)?;
                self.transaction_at(number, params)
            }
            "eth_getTransactionReceipt" => self.receipt(params),
            "eth_getBlockReceipts" => {
                let asked = params.text(0, "block")?;
                let number = match text::hash(asked, "block") {
                    Ok(hash) => ledger.find_number(&hash)?,
                    Err(_) => self.known(asked)?,
                };
                number.map_or(Ok(Value::Null), |number| self.receipts(number))
            }
            "eth_newFilter" => {
                let criteria = Criteria::parse(params.required(0, "filter")?, Manner::Ethereum)?;
                criteria.check_range()?;
                self.install(Kind::Logs(Box::new(criteria), ledger.head() + 1))
            }
            "eth_newBlockFilter" => self.install(Kind::Blocks(ledger.head() + 1)),
            "eth_newPendingTransactionFilter" => self.install(Kind::Pending(self.group.subscribe_pending())),
            "eth_uninstallFilter" => {
                let id = text::number(params.text(0, "filter id")?, "filter id")?;
                Ok(self.filters.uninstall(self.group.id(), id).into())
            }
            "eth_getFilterChanges" => {
                let id = text::number(params.text(0, "filter id")?, "filter id")?;
                let changes = self.filters.changes(self.group.id(), id, ledger.head())?;
                changed(&self.group, changes, Manner::Ethereum).await
            }
            "eth_getFilterLogs" => {
                let id = text::number(params.text(0, "filter id")?, "filter id")?;
                let criteria = self.filters.criteria(self.group.id(), id)?;
                logs::answer(&self.group, criteria, Manner::Ethereum).await
            }
            "eth_getLogs" => {
                let criteria = Criteria::parse(params.required(0, "filter")?, Manner::Ethereum)?;
                if criteria.block.is_none() {
                    criteria.check_range()?;
                }
                logs::answer(&self.group, criteria, Manner::Ethereum).await
            }
            "eth_subscribe" | "eth_unsubscribe" => {
                Err(RpcError::new(INVALID_REQUEST, "Subscribe request only support websocket protocol"))
            }
            "txpool_status" => Ok(json!({
                "pending": text::quantity(self.group.pending_count() as u64),
                "queued": "0x0",
            })),
            "txpool_content" => Ok(self.pool_content()),
            "debug_traceTransaction" => traces::transaction(&self.group, params).await,
            "debug_traceCall" => {
                let call = calls::request(params.required(0, "call")?)?;
                let at = self.at(params.get(1))?;
                traces::call(&self.group, call, at, params.get(2)).await
            }
            "debug_traceBlockByNumber" => match self.known(params.text(0, "block")?)? {
                Some(number) => traces::block(&self.group, number, params.get(1)).await,
                None => Err(RpcError::new(-32000, "block not found")),
            },
            "debug_traceBlockByHash" => match ledger.find_number(&params.hash(0, "block hash")?)? {
                Some(number) => traces::block(&self.group, number, params.get(1)).await,
                None => Err(RpcError::new(-32000, "block not found")),
            },
            other => {
                Err(RpcError::new(METHOD_NOT_FOUND, format!("the method {other} does not exist/is not available")))
            }
        }
    }

    fn syncing(&self) -> Value {
        let status = self.group.sync_status();
        if !status.syncing {
            return false.into();
        }
        json!({
            "startingBlock": "0x0",
            "currentBlock": text::quantity(status.block_number),
            "highestBlock": text::quantity(status.known_highest_number),
        })
    }

    /// The address of this node's key, as it stands in the blocks it seals.
    fn coinbase(&self) -> Address {
        match alloy_primitives::hex::decode(self.node.node_id()) {
            Ok(key) => Address::from_slice(&keccak256(key)[12..]),
            Err(_) => Address::ZERO,
        }
    }

    /// The block a tag, a number or an object `{blockNumber}` or `{blockHash}` means; `None` is the newest.
    fn at(&self, asked: Option<&Value>) -> Result<Option<u64>, RpcError> {
        let ledger = self.ledger();
        let tag = match asked {
            None => return Ok(None),
            Some(Value::String(tag)) if tag.len() == 66 => {
                return ledger.number_of(&text::hash(tag, "block")?).map(Some);
            }
            Some(Value::String(tag)) => tag.as_str(),
            Some(Value::Object(fields)) => {
                if let Some(Value::String(hash)) = fields.get("blockHash") {
                    return ledger.number_of(&text::hash(hash, "blockHash")?).map(Some);
                }
                let tag = fields.get("blockNumber").and_then(Value::as_str);
                tag.ok_or_else(|| RpcError::params("the block object needs blockHash or blockNumber"))?
            }
            Some(_) => return Err(RpcError::params("the block must be a tag, a hex number or an object")),
        };
        match Bound::parse(tag)? {
            Bound::Latest => Ok(None),
            Bound::Number(number) if number <= ledger.head() => Ok(Some(number)),
            Bound::Number(_) => Err(RpcError::new(-32000, "header not found")),
        }
    }

    /// The number a tag means, when there is such a block.
    fn known(&self, tag: &str) -> Result<Option<u64>, RpcError> {
        let head = self.ledger().head();
        let number = Bound::parse(tag)?.resolve(head);
        Ok((number <= head).then_some(number))
    }

    fn state(&self, asked: Option<&Value>) -> Result<StateView, RpcError> {
        self.ledger().state(self.at(asked)?)
    }

    fn transaction_count(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let address = params.address(0, "address")?;
        let stored = access(self.state(params.get(1))?.account(address))?.nonce;
        let pending = params.get(1).and_then(Value::as_str) == Some("pending");
        let next = if pending { self.group.pending_nonce(&address) } else { None };
        Ok(text::quantity(next.unwrap_or(0).max(stored)).into())
    }

    async fn send(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let raw = params.bytes(0, "transaction")?;
        let (hash, committed) = match self.group.submit_web3(&raw) {
            Ok(accepted) => accepted,
            Err(SubmitError::Malformed) => {
                let reason =
                    web3::from_raw(&raw).err().map_or("malformed transaction".to_owned(), |error| error.to_string());
                return Err(RpcError::new(-32000, reason));
            }
            Err(refusal) => return Err(calls::refused(refusal)),
        };
        if !self.wait_for_receipt {
            return Ok(text::data(hash).into());
        }
        let committed = committed.await.map_err(calls::refused)?;
        if committed.receipt.status == 0 {
            return Ok(text::data(hash).into());
        }
        let output = text::data(&committed.receipt.output);
        let name = bcos_types::status::name(committed.receipt.status);
        let message = format!("VM Exception while processing transaction, reason: {name}, msg: {output}");
        let data = json!({ "txHash": text::data(hash), "message": message, "data": output });
        Err(RpcError::new(INTERNAL_ERROR, message).with_data(data))
    }

    fn block(&self, number: u64, full: bool) -> Result<Value, RpcError> {
        let block = self.ledger().block(number)?;
        let mut out = self.members(&block)?;
        let transactions: Value = if full {
            let transactions = ledger::chain(block.transactions())?;
            transactions
                .iter()
                .zip(0..)
                .map(|(found, at)| objects::transaction(found, Some(place(&block, at))))
                .collect()
        } else {
            text::list(block.transaction_hashes())
        };
        out.insert("transactions".to_owned(), transactions);
        out.insert("uncles".to_owned(), json!([]));
        out.insert("withdrawals".to_owned(), json!([]));
        Ok(Value::Object(out))
    }

    /// A block's members without its transactions.
    fn members(&self, block: &CommittedBlock) -> Result<serde_json::Map<String, Value>, RpcError> {
        let mut bloom = Bloom::ZERO;
        for receipt in ledger::chain(block.receipts())? {
            bloom |= logs::bloom(&receipt);
        }
        let header = block.header();
        let bodies: usize = ledger::chain(block.transactions())?.iter().map(|transaction| transaction.raw.len()).sum();
        let size = (header.encode().len() + bodies) as u64;
        Ok(objects::header(header, &block.hash(), self.ledger().settings()?.gas_limit, &bloom, size))
    }

    /// A block as `newHeads` tells it.
    pub(crate) fn head(&self, number: u64) -> Result<serde_json::Map<String, Value>, RpcError> {
        self.members(&self.ledger().block(number)?)
    }

    fn transaction(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let hash = params.hash(0, "transaction hash")?;
        if let Some(found) = self.ledger().find(&hash)? {
            return Ok(objects::transaction(&found.transaction, Some(place(&found.block, found.index as usize))));
        }
        let pending = self.group.pending(&hash);
        Ok(pending.map_or(Value::Null, |pending| objects::transaction(&pending, None)))
    }

    fn transaction_at(&self, number: Option<u64>, params: Params<'_>) -> Result<Value, RpcError> {
        let index = text::number(params.text(1, "transaction index")?, "transaction index")?;
        let (Some(number), Ok(index)) = (number, usize::try_from(index)) else { return Ok(Value::Null) };
        let block = self.ledger().block(number)?;
        let found = ledger::chain(block.transaction(index))?;
        Ok(found.map_or(Value::Null, |found| objects::transaction(&found, Some(place(&block, index)))))
    }

    fn receipt(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let hash = params.hash(0, "transaction hash")?;
        let Some(found) = self.ledger().find(&hash)? else { return Ok(Value::Null) };
        Ok(objects::receipt(&found.receipt, &found.transaction, place(&found.block, found.index as usize)))
    }

    fn receipts(&self, number: u64) -> Result<Value, RpcError> {
        let block = self.ledger().block(number)?;
        let transactions = ledger::chain(block.transactions())?;
        let receipts = ledger::chain(block.receipts())?;
        let pairs = receipts.iter().zip(&transactions).zip(0..);
        Ok(pairs
            .map(|((receipt, transaction), at)| objects::receipt(receipt, transaction, place(&block, at)))
            .collect())
    }

    fn install(&self, kind: Kind) -> Result<Value, RpcError> {
        Ok(text::quantity(self.filters.install(self.group.id(), kind)?).into())
    }

    fn pool_content(&self) -> Value {
        let mut pending = serde_json::Map::new();
        for waiting in self.group.pending_all(MOST_POOLED) {
            let object = objects::transaction(&waiting, None);
            let nonce = object["nonce"].as_str().and_then(|nonce| text::number(nonce, "nonce").ok()).unwrap_or(0);
            let account = pending.entry(waiting.sender.to_string()).or_insert_with(|| json!({}));
            if let Value::Object(account) = account {
                account.insert(nonce.to_string(), object);
            }
        }
        json!({ "pending": pending, "queued": {} })
    }

    async fn serve(self: &Arc<Self>, session: Option<&Arc<Session>>, request: Request) -> Result<Value, RpcError> {
        let answer = self.work(session, request).await;
        self.counted.count(&answer);
        answer
    }

    async fn work(self: &Arc<Self>, session: Option<&Arc<Session>>, request: Request) -> Result<Value, RpcError> {
        match (request.method.as_str(), session) {
            ("eth_subscribe", Some(session)) => {
                let params = Params(&request.params);
                self.subscriptions.subscribe(self, session, params)
            }
            ("eth_unsubscribe", Some(session)) => {
                let id = Params(&request.params).text(0, "subscription id")?;
                Ok(self.subscriptions.unsubscribe(session.id(), id).into())
            }
            _ => self.call(request).await,
        }
    }
}

impl Surface for Eth {
    async fn post(self: Arc<Self>, body: tokio_tungstenite::tungstenite::Bytes) -> Vec<u8> {
        envelope::answer(&body, Manner::Ethereum, self.batch, |request| self.serve(None, request)).await
    }

    fn opened(&self, _: &Arc<Session>) {}

    fn message(self: &Arc<Self>, session: &Arc<Session>, message: Incoming) -> Option<Work> {
        let (eth, session) = (Arc::clone(self), Arc::clone(session));
        let (Incoming::Text(body) | Incoming::Binary(body)) = message;
        Some(Box::pin(async move {
            let serve = |request| eth.serve(Some(&session), request);
            let answer = envelope::answer(&body, Manner::Ethereum, eth.batch, serve).await;
            session.send_json(answer);
        }))
    }

    fn closed(&self, session: &Arc<Session>) {
        self.subscriptions.closed(session.id());
    }
}

/// Reads a parameter in every way that methods here read one.
pub(crate) fn fuzz_parameter(value: &Value) {
    let _imagined = (overrides::of_account_list(Some(value)), traces::fuzz_options(value));
    if let Ok(call) = calls::request(value) {
        let _reason = calls::reason(&call.data);
    }
    if let Some(text) = value.as_str() {
        let _read = (slot(text), Bound::parse(text), text::number_256(text, ""));
        let _transaction = text::bytes(text, "").map(|raw| web3::from_raw(&raw).is_ok());
    }
}

/// Where a transaction of a block stands.
fn place(block: &CommittedBlock, index: usize) -> Place {
    Place { block_hash: block.hash(), block_number: block.number(), index: index as u64 }
}

/// The signed bytes of an Ethereum transaction; of a native one its Tars form.
fn raw(transaction: &bcos_types::Transaction) -> Value {
    match transaction.kind {
        bcos_types::TxKind::Web3 => web3::signed_raw(transaction).map_or(Value::Null, |raw| text::data(&raw).into()),
        bcos_types::TxKind::Bcos => text::data(transaction.encode()).into(),
    }
}

/// A storage position: a quantity, or up to 32 bytes.
fn slot(text: &str) -> Result<B256, RpcError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() || digits.len() > 64 {
        return Err(RpcError::params(format!("position {text:?} is not a storage position of at most 32 bytes")));
    }
    text::hash(&format!("{digits:0>64}"), "position")
}
