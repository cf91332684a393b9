//! JSON-RPC of `FISCO BCOS` 3.x: every method over the node's door, and the edge that carries it.

pub(crate) mod criteria;
pub(crate) mod edge;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod filters;
pub(crate) mod groups;
pub(crate) mod json;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod params;
pub(crate) mod serve;
pub(crate) mod text;
pub(crate) mod views;

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use bcos_chain::Located;
use bcos_types::{Transaction, VerifiedTx, signed_call_hash};
use konsort_crypto::CryptoSuite;
use konsort_node::Metrics;
use konsort_node::metrics::Counter;
use serde_json::{Map, Value, json};

use crate::api::{Committed, Group, Node, SubmitError};
use criteria::Criteria;
use envelope::{Manner, Request};
use error::{GROUP_NOT_EXIST, LEDGER_ABSENT, METHOD_NOT_FOUND, NODE_NOT_EXIST, RpcError};
use filters::{Changes, Filters, Kind};
use json::{Object, Show};
use ledger::Ledger;
use params::Params;

/// Requests of one batch.
const MOST_BATCHED: usize = 100;

/// The methods, over a node.
#[derive(Debug)]
pub(crate) struct Rpc {
    node: Node,
    filters: Arc<Filters>,
    counted: Counted,
}

/// What a method answers with.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Anything.
    Value(Value),
    /// A receipt.
    Receipt(Box<Settled>),
}

/// A committed transaction's receipt, with the proofs that were asked for.
#[derive(Debug)]
pub(crate) struct Settled {
    receipt: Arc<bcos_types::Receipt>,
    transaction: VerifiedTx,
    /// The transaction's input is shown.
    input: bool,
    suite: &'static dyn CryptoSuite,
    proofs: Map<String, Value>,
}

impl Show for Answer {
    fn show(&self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value) => value.show(out),
            Self::Receipt(settled) => {
                let mut object = Object::new(out);
                views::receipt(&mut object, &settled.receipt, &settled.transaction, settled.input, settled.suite);
                for (name, proof) in &settled.proofs {
                    object.value(name, proof);
                }
                object.end();
            }
        }
    }
}

/// Requests of one surface.
#[derive(Debug)]
pub(crate) struct Counted {
    answered: Counter,
    refused: Counter,
}

impl Counted {
    pub(crate) fn new(metrics: &Metrics, surface: &str) -> Self {
        let requests = metrics.counter(
            "bcos_rpc_requests",
            "Requests of clients, by surface and outcome.",
            &["surface", "outcome"],
        );
        Self { answered: requests.with(&[surface, "answered"]), refused: requests.with(&[surface, "refused"]) }
    }

    pub(crate) fn count<T>(&self, answer: &Result<T, RpcError>) {
        match answer {
            Ok(_) => self.answered.inc(),
            Err(_) => self.refused.inc(),
        }
    }
}

impl Rpc {
    pub(crate) fn new(node: Node) -> Self {
        let filters = Arc::new(Filters::new(node.config().rpc.filter_timeout));
        let counted = Counted::new(node.metrics(), "bcos");
        Self { node, filters, counted }
    }

    /// The filters, to be swept from time to time.
    pub(crate) fn filters(&self) -> &Arc<Filters> {
        &self.filters
    }

    /// Answers the JSON text of a request or a batch.
    pub(crate) async fn answer(&self, body: &[u8]) -> Vec<u8> {
        let serve = async |request| {
            let answer = self.call(request).await;
            self.counted.count(&answer);
            answer
        };
        envelope::answer(body, Manner::Bcos, MOST_BATCHED, serve).await
    }

    /// Answers one request.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, RpcError> {
        let params = Params(&request.params);
        match request.method.as_str() {
            "sendTransaction" => self.send(params).await,
            "getTransactionReceipt" => self.receipt(params),
            // Boxed, as it is many times larger than what a transaction needs, which would carry it along.
            method => Box::pin(self.value(method, params)).await.map(Answer::Value),
        }
    }

    async fn value(&self, method: &str, params: Params<'_>) -> Result<Value, RpcError> {
        match method {
            "call" => self.execute(params).await,
            "getTransaction" => self.transaction(params),
            "getBlockByHash" => {
                let ledger = self.ledger(params, "getBlockByHash")?;
                let number = ledger.number_of(&params.hash(2, "block hash")?)?;
                Self::block(ledger, number, params)
            }
            "getBlockByNumber" => {
                let ledger = self.ledger(params, "getBlockByNumber")?;
                let number = ledger.existing(params.integer(2, "block number")?)?;
                Self::block(ledger, number, params)
            }
            "getBlockHashByNumber" => {
                let ledger = self.ledger(params, "getBlockHashByNumber")?;
                let number = ledger.existing(params.integer(2, "block number")?)?;
                Ok(text::data(ledger.block_hash(number)?.as_slice()).into())
            }
            "getBlockNumber" => Ok(self.ledger(params, "getBlockNumber")?.head().into()),
            "getCode" => {
                let ledger = self.ledger(params, "getCode")?;
                let code = ledger.code(params.address(2, "contract address")?)?;
                Ok(if code.is_empty() { String::new() } else { text::data(&code) }.into())
            }
            "getABI" => {
                let ledger = self.ledger(params, "getABI")?;
                Ok(ledger.abi(params.address(2, "contract address")?)?.into())
            }
            "getSealerList" => self.ledger(params, "getSealerList")?.nodes("consensus_sealer"),
            "getNodeListByType" => self.ledger(params, "getNodeListByType")?.nodes(params.text(2, "node type")?),
            "getObserverList" => self.ledger(params, "getObserverList")?.observers(),
            "getPbftView" => Ok(self.group(params, "getPbftView")?.consensus_status().view.into()),
            "getPendingTxSize" => Ok(self.group(params, "getPendingTxSize")?.pending_count().into()),
            "getSyncStatus" => Ok(groups::sync_status(self.group(params, "getSyncStatus")?).into()),
            "getConsensusStatus" => Ok(groups::consensus_status(self.group(params, "getConsensusStatus")?).into()),
            "getSystemConfigByKey" => {
                let ledger = self.ledger(params, "getSystemConfigByKey")?;
                let (value, number) = ledger.system_config(params.text(2, "key")?)?;
                Ok(json!({ "blockNumber": number, "value": value }))
            }
            "getTotalTransactionCount" => Ok(self.ledger(params, "getTotalTransactionCount")?.totals()),
            "getPeers" => Ok(groups::peers(&self.node)),
            "getGroupPeers" => Ok(match self.node.group(params.text(0, "group")?) {
                Some(group) => groups::group_peers(&self.node, group),
                None => json!([]),
            }),
            "getGroupList" => {
                let ids: Vec<&str> = self.node.groups().iter().map(Group::id).collect();
                Ok(json!({ "code": 0, "msg": "success", "groupList": ids }))
            }
            "getGroupInfo" => {
                let group = self.node.group(params.text(0, "group")?);
                Ok(group.map_or(Value::Null, |group| groups::info(&self.node, group)))
            }
            "getGroupInfoList" => Ok(self.node.groups().iter().map(|group| groups::info(&self.node, group)).collect()),
            "getGroupNodeInfo" => {
                let group = self.node.group(params.text(0, "group")?);
                let asked = params.optional_text(1, "node")?.unwrap_or_default();
                let here = asked.is_empty() || asked == groups::node_name(&self.node);
                Ok(group.filter(|_| here).map_or(Value::Null, |group| groups::node_info(&self.node, group)))
            }
            "newBlockFilter" | "newPendingTransactionFilter" | "newFilter" => self.new_filter(method, params),
            "uninstallFilter" => {
                let group = self.filter_group(params)?;
                Ok(self.filters.uninstall(group.id(), text::number(params.text(1, "filter id")?, "filter id")?).into())
            }
            "getFilterChanges" => {
                let group = self.filter_group(params)?;
                let id = text::number(params.text(1, "filter id")?, "filter id")?;
                let changes = self.filters.changes(group.id(), id, group.chain().height())?;
                changed(group, changes, Manner::Bcos).await
            }
            "getFilterLogs" => {
                let group = self.filter_group(params)?;
                let id = text::number(params.text(1, "filter id")?, "filter id")?;
                let criteria = self.filters.criteria(group.id(), id)?;
                logs::answer(group, criteria, Manner::Bcos).await
            }
            "getLogs" => {
                let group = self.filter_group(params)?;
                let criteria = Criteria::parse(params.required(1, "filter")?, Manner::Bcos)?;
                if criteria.block.is_none() {
                    criteria.check_range()?;
                }
                logs::answer(group, criteria, Manner::Bcos).await
            }
            _ => Err(RpcError::new(METHOD_NOT_FOUND, "The method does not exist/is not available.")),
        }
    }

    /// The group of the first parameter. The second names a node, which does not count: SDKs with several connections send
    /// a request through any of them, and upstream's node answers it too.
    fn group(&self, params: Params<'_>, method: &str) -> Result<&Group, RpcError> {
        let id = params.text(0, "group")?;
        self.node.group(id).ok_or_else(|| {
            let chain = self.node.groups().first().map_or("", Group::chain_id);
            let node = params.0.get(1).and_then(Value::as_str).unwrap_or_default();
            RpcError::new(
                NODE_NOT_EXIST,
                format!(
                    "Invalid request for the specified node of doesn't exist or doesn't started!,\
                     request={method},chain={chain},group={id},node={node}"
                ),
            )
        })
    }

    fn ledger(&self, params: Params<'_>, method: &str) -> Result<Ledger<'_>, RpcError> {
        self.group(params, method).map(Ledger)
    }

    fn filter_group(&self, params: Params<'_>) -> Result<&Group, RpcError> {
        let id = params.text(0, "group")?;
        self.node.group(id).ok_or_else(|| RpcError::new(GROUP_NOT_EXIST, format!("The group {id} does not exist!")))
    }

    async fn execute(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let group = self.group(params, "call")?;
        let to_text = params.text(2, "to")?;
        let to = text::address(to_text, "to")?;
        let data = params.bytes(3, "data")?;
        let from = match params.optional_text(4, "sign")? {
            None | Some("") => Address::ZERO,
            Some(sign) => {
                let sign = text::bytes(sign, "sign")?;
                let hash = signed_call_hash(group.suite(), to_text, &data);
                let signer = group.suite().sender(&hash.0, &sign);
                signer.map_err(|_| RpcError::new(10_008, "Invalid signature"))?.address.into()
            }
        };
        let outcome = ledger::call(group, from, to, data).await?;
        Ok(json!({
            "blockNumber": outcome.block_number,
            "status": outcome.status,
            "output": text::data(&outcome.output),
        }))
    }

    async fn send(&self, params: Params<'_>) -> Result<Answer, RpcError> {
        let group = self.group(params, "sendTransaction")?;
        let raw = params.bytes(2, "transaction")?;
        let transaction = Transaction::decode(&raw)
            .map_err(|error| RpcError::params(format!("the transaction is not in Tars form: {error}")))?;
        let committed = group.submit(transaction).await.map_err(refused)?;
        let mut proofs = Map::new();
        if params.flag(3, false) {
            let proof = Ledger(group).receipt_proof(&committed.transaction.hash)?;
            proofs.insert("txReceiptProof".to_owned(), views::proof(&proof));
            // The older member, of another shape: upstream repeats the proof in it, and its own SDK cannot read that.
            proofs.insert("receiptProof".to_owned(), json!([]));
        }
        let Committed { transaction, receipt, .. } = committed;
        let input = self.node.config().rpc.return_input;
        Ok(Answer::Receipt(Box::new(Settled { receipt, transaction, input, suite: group.suite(), proofs })))
    }

    fn transaction(&self, params: Params<'_>) -> Result<Value, RpcError> {
        let ledger = self.ledger(params, "getTransaction")?;
        let hash = params.hash(2, "transaction hash")?;
        let found = ledger.find(&hash)?.ok_or_else(|| absent(&hash))?;
        let mut out = views::transaction(&found.transaction);
        if params.flag(3, false)
            && let Value::Object(fields) = &mut out
        {
            fields.insert("transactionProof".to_owned(), json!([]));
            fields.insert("txProof".to_owned(), views::proof(&ledger.transaction_proof(&hash)?));
        }
        Ok(out)
    }

    fn receipt(&self, params: Params<'_>) -> Result<Answer, RpcError> {
        let ledger = self.ledger(params, "getTransactionReceipt")?;
        let hash = params.hash(2, "transaction hash")?;
        let found = ledger.find(&hash)?.ok_or_else(|| absent(&hash))?;
        let mut proofs = Map::new();
        let prove = params.flag(3, false);
        proofs.insert("transactionProof".to_owned(), if prove { json!([]) } else { Value::Null });
        if prove {
            proofs.insert("receiptProof".to_owned(), json!([]));
            proofs.insert("txReceiptProof".to_owned(), views::proof(&ledger.receipt_proof(&hash)?));
        }
        let Located { transaction, receipt, .. } = found;
        Ok(Answer::Receipt(Box::new(Settled { receipt, transaction, input: true, suite: ledger.0.suite(), proofs })))
    }

    fn block(ledger: Ledger<'_>, number: u64, params: Params<'_>) -> Result<Value, RpcError> {
        let block = ledger.block(number)?;
        let mut out = views::header(block.header(), &block.hash());
        if params.flag(3, true) {
            return Ok(Value::Object(out));
        }
        let transactions: Value = if params.flag(4, true) {
            text::list(block.transaction_hashes())
        } else {
            ledger::chain(block.transactions())?.iter().map(views::transaction).collect()
        };
        out.insert("transactions".to_owned(), transactions);
        Ok(Value::Object(out))
    }

    fn new_filter(&self, method: &str, params: Params<'_>) -> Result<Value, RpcError> {
        let group = self.filter_group(params)?;
        let next = group.chain().height() + 1;
        let kind = match method {
            "newBlockFilter" => Kind::Blocks(next),
            "newPendingTransactionFilter" => Kind::Pending(group.subscribe_pending()),
            _ => {
                let criteria = Criteria::parse(params.required(1, "filter")?, Manner::Bcos)?;
                criteria.check_range()?;
                Kind::Logs(Box::new(criteria), next)
            }
        };
        Ok(text::quantity(self.filters.install(group.id(), kind)?).into())
    }
}

fn absent(hash: &B256) -> RpcError {
    RpcError::new(LEDGER_ABSENT, format!("transaction {hash} is not on the chain"))
}

/// What a poll found, as JSON.
pub(crate) async fn changed(group: &Group, changes: Changes, manner: Manner) -> Result<Value, RpcError> {
    match changes {
        Changes::None => Ok(json!([])),
        Changes::Pending(hashes) => Ok(text::list(hashes)),
        Changes::Blocks(numbers) => {
            let ledger = Ledger(group);
            let hashes = numbers.map(|number| ledger.block_hash(number)).collect::<Result<Vec<_>, _>>()?;
            Ok(text::list(hashes))
        }
        Changes::Logs(criteria, range) => {
            let matcher = Arc::new(criteria.matcher);
            let found = logs::scan(group, *range.start(), *range.end(), matcher, logs::MOST_LOGS).await?;
            Ok(found.iter().map(|log| log.to_json(manner)).collect())
        }
    }
}

/// Reads bytes in every way that clients' requests are read; for fuzzing, which wants to see no panic.
pub fn fuzz_request(bytes: &[u8]) {
    let _short = envelope::plain(bytes);
    for manner in [Manner::Bcos, Manner::Ethereum] {
        let requests = match envelope::read(bytes, manner, MOST_BATCHED) {
            Ok(envelope::Body::One(request)) => vec![request],
            Ok(envelope::Body::Batch(requests)) => requests,
            Err(_) => return,
        };
        for request in requests {
            let Ok(request) = envelope::check(request, manner) else { continue };
            let params = Params(&request.params);
            for at in 0..params.0.len() {
                let _checked =
                    (params.hash(at, ""), params.address(at, ""), params.bytes(at, ""), params.integer(at, ""));
                let _ = Criteria::parse(&params.0[at], manner).map(|criteria| criteria.check_range());
                crate::eth::fuzz_parameter(&params.0[at]);
                crate::sdk::fuzz_event(&params.0[at]);
            }
        }
    }
}

/// A transaction the pool does not take, with its code and name.
pub(crate) fn refused(error: SubmitError) -> RpcError {
    RpcError::new(error.code().into(), error.name())
}

#[cfg(test)]
mod tests;
