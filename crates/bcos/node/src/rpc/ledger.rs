//! A group's ledger in the terms of requests: numbers checked, absent things named, failures as JSON-RPC errors.

use alloy_primitives::{Address, B256, Bytes};
use bcos_chain::access::{AccessError, BlockEnv, ConsensusNode, NodeKind};
use bcos_chain::executor::call::{CallOutcome, CallRequest};
use bcos_chain::executor::overrides::{Imagined, Overrides};
use bcos_chain::{Chain, ChainError, CommittedBlock, Located, StateView};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::error::{LEDGER_ABSENT, LEDGER_ARGUMENT, RpcError};
use crate::api::Group;

/// Calls at one time: they take whole cores, which sealing and verifying need too.
static CALLS: Semaphore = Semaphore::const_new(8);
/// Traces and searches at one time, apart from calls, which they would hold up.
static SEARCHES: Semaphore = Semaphore::const_new(2);

/// A group's ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger<'a>(pub(crate) &'a Group);

/// A ledger that cannot be read is our own fault.
pub(crate) fn chain<T>(result: Result<T, ChainError>) -> Result<T, RpcError> {
    result.map_err(|error| {
        tracing::warn!("a request finds the ledger unreadable: {error}");
        RpcError::internal(error.to_string())
    })
}

/// Likewise for the state.
pub(crate) fn access<T>(result: Result<T, AccessError>) -> Result<T, RpcError> {
    result.map_err(|error| {
        tracing::warn!("a request finds the state unreadable: {error}");
        RpcError::internal(error.to_string())
    })
}

/// Does what takes long beside the threads that serve connections, two at a time.
pub(crate) async fn heavy<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    beside(&SEARCHES, work).await
}

async fn beside<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    let _place = places.acquire().await.map_err(|_| RpcError::internal("the node stops"))?;
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(RpcError::internal("the request could not be worked on to its end")),
    }
}

/// A call's outcome and the block it saw.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) block_number: u64,
    pub(crate) status: i32,
    pub(crate) output: Bytes,
}

/// `call` of the `FISCO BCOS` surface, at the newest block.
pub(crate) async fn call(group: &Group, from: Address, to: Address, data: Bytes) -> Result<Called, RpcError> {
    let block_number = group.chain().height();
    let request = CallRequest { from, to: Some(to), data, ..CallRequest::default() };
    let outcome = execute(group, request, None, Overrides::new()).await?;
    Ok(Called { block_number, status: outcome.status, output: outcome.output })
}

/// Tries a call at a block, on the state as the overrides have it.
pub(crate) async fn execute(
    group: &Group,
    request: CallRequest,
    at: Option<u64>,
    overrides: Overrides,
) -> Result<CallOutcome, RpcError> {
    let chain_of = group.chain().clone();
    beside(&CALLS, move || {
        if overrides.is_empty() {
            return chain(chain_of.call(&request, at));
        }
        let view = chain(chain_of.state_at(at))?;
        let env = chain(chain_of.env_at(&view))?;
        let state = access(Imagined::new(&view, chain_of.suite(), &overrides))?;
        access(chain_of.executor().call(&state, &env, &request))
    })
    .await
}

/// The least gas a call succeeds with, on the state as the overrides have it.
pub(crate) async fn estimate(
    group: &Group,
    request: CallRequest,
    at: Option<u64>,
    overrides: Overrides,
) -> Result<Result<u64, CallOutcome>, RpcError> {
    let chain_of = group.chain().clone();
    beside(&CALLS, move || {
        if overrides.is_empty() {
            return chain(chain_of.estimate_gas(&request, at));
        }
        let view = chain(chain_of.state_at(at))?;
        let env = chain(chain_of.env_at(&view))?;
        let state = access(Imagined::new(&view, chain_of.suite(), &overrides))?;
        access(chain_of.executor().estimate_gas(&state, &env, &request))
    })
    .await
}

impl<'a> Ledger<'a> {
    fn chain(self) -> &'a Chain {
        self.0.chain()
    }

    /// The newest block's number.
    pub(crate) fn head(self) -> u64 {
        self.chain().height()
    }

    /// A number that a block has.
    pub(crate) fn existing(self, number: i64) -> Result<u64, RpcError> {
        u64::try_from(number)
            .ok()
            .filter(|number| *number <= self.head())
            .ok_or_else(|| RpcError::new(LEDGER_ARGUMENT, format!("there is no block {number}")))
    }

    /// The number of a block, if there is such a block.
    pub(crate) fn find_number(self, hash: &B256) -> Result<Option<u64>, RpcError> {
        chain(self.chain().number_by_hash(hash))
    }

    /// The number of a block.
    pub(crate) fn number_of(self, hash: &B256) -> Result<u64, RpcError> {
        self.find_number(hash)?
            .ok_or_else(|| RpcError::new(LEDGER_ABSENT, format!("there is no block with hash {hash}")))
    }

    /// A block.
    pub(crate) fn block(self, number: u64) -> Result<CommittedBlock, RpcError> {
        chain(self.chain().block(number))?
            .ok_or_else(|| RpcError::new(LEDGER_ARGUMENT, format!("there is no block {number}")))
    }

    /// A block's hash.
    pub(crate) fn block_hash(self, number: u64) -> Result<B256, RpcError> {
        chain(self.chain().hash_by_number(number))?
            .ok_or_else(|| RpcError::new(LEDGER_ARGUMENT, format!("there is no block {number}")))
    }

    /// A transaction on the chain, with its receipt.
    pub(crate) fn find(self, hash: &B256) -> Result<Option<Located>, RpcError> {
        chain(self.chain().locate(hash))
    }

    /// That a transaction is in its block.
    pub(crate) fn transaction_proof(self, hash: &B256) -> Result<Vec<B256>, RpcError> {
        chain(self.chain().transaction_proof(hash)).map(Option::unwrap_or_default)
    }

    /// That a transaction's receipt is in its block.
    pub(crate) fn receipt_proof(self, hash: &B256) -> Result<Vec<B256>, RpcError> {
        chain(self.chain().receipt_proof(hash)).map(Option::unwrap_or_default)
    }

    /// The state after a block; `None` is the newest.
    pub(crate) fn state(self, at: Option<u64>) -> Result<StateView, RpcError> {
        chain(self.chain().state_at(at))
    }

    /// A contract's code.
    pub(crate) fn code(self, address: Address) -> Result<Bytes, RpcError> {
        access(self.state(None)?.code(address))
    }

    /// A contract's ABI.
    pub(crate) fn abi(self, address: Address) -> Result<String, RpcError> {
        access(self.state(None)?.abi(address))
    }

    fn members(self) -> Result<Vec<ConsensusNode>, RpcError> {
        access(self.state(None)?.nodes())
    }

    /// Nodes of a type under upstream's name for it.
    pub(crate) fn nodes(self, kind: &str) -> Result<Value, RpcError> {
        let wanted = match kind {
            "consensus_sealer" => NodeKind::Sealer,
            "consensus_observer" => NodeKind::Observer,
            "consensus_candidate_sealer" => NodeKind::Candidate,
            _ => return Ok(json!([])),
        };
        let members = self.members()?;
        Ok(members
            .iter()
            .filter(|node| node.kind == wanted)
            .map(|node| json!({ "nodeID": node.node_id, "weight": node.weight, "termWeight": node.term_weight }))
            .collect())
    }

    /// The ids of the observers.
    pub(crate) fn observers(self) -> Result<Value, RpcError> {
        let members = self.members()?;
        let ids = members.iter().filter(|node| node.kind == NodeKind::Observer).map(|node| node.node_id.as_str());
        Ok(json!(ids.collect::<Vec<_>>()))
    }

    /// A value of the system configuration and the block from which it counts.
    pub(crate) fn system_config(self, key: &str) -> Result<(String, u64), RpcError> {
        let found = access(self.state(None)?.system_config(key))?;
        let value = found
            .ok_or_else(|| RpcError::new(LEDGER_ABSENT, format!("the system configuration has no key {key:?}")))?;
        Ok((value.value, value.enable_number))
    }

    /// What is in force at the newest block: chain id, gas limit and price.
    pub(crate) fn settings(self) -> Result<BlockEnv, RpcError> {
        chain(self.chain().env_at(&self.state(None)?))
    }

    /// `getTotalTransactionCount`.
    pub(crate) fn totals(self) -> Value {
        let totals = self.chain().total_counts();
        json!({
            "blockNumber": self.head(),
            "transactionCount": totals.transactions,
            "failedTransactionCount": totals.failed,
        })
    }
}
