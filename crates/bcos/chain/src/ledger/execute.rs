//! Executing a proposal: outcomes, receipts, roots, header.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256, hex, map::B256Set};
use bcos_types::{BlockHeader, LogEntry, ParentInfo, Receipt, VerifiedTx, genesis::version_number, merkle};
use konsort_crypto::CryptoSuite;
use rayon::prelude::*;

use super::Chain;
use crate::{
    ChainError, StateView,
    access::{AccessError, BlockEnv, NodeKind, StateAccess, TxOutcome},
    executor::{
        TxInput,
        call::{CallOutcome, CallRequest},
    },
    keys,
    rotation::Rotation,
    scheduler::{self, RunStats},
    state::{BlockLayer, Layer},
};

/// Receipts or cells that one thread hashes in some hundred microseconds: fewer are not worth waking another.
const MIN_PARALLEL: usize = 256;

/// What the group has agreed, or is about to agree, to execute.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Number of the block.
    pub number: u64,
    /// Hash of the parent's header: the last committed block or an executed one.
    pub parent: B256,
    /// Time of the block, milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Which of the group's sealers proposes it, by its place in [`Chain::sealers`] after the parent.
    pub sealer: u64,
    /// The transactions, in order.
    pub transactions: Vec<VerifiedTx>,
}

/// In which order the work of a block is done.
pub enum Order<'a> {
    /// On all cores, see [`crate::scheduler`].
    Parallel,
    /// One transaction after another.
    Serial,
    /// On one thread, as if workers had run just so: see [`scheduler::interleaved`].
    Simulated(&'a mut dyn FnMut(usize, usize) -> Vec<usize>),
}

impl std::fmt::Debug for Order<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parallel => "Parallel",
            Self::Serial => "Serial",
            Self::Simulated(_) => "Simulated",
        })
    }
}

#[derive(Debug)]
struct Inner {
    header: BlockHeader,
    transactions: Vec<VerifiedTx>,
    receipts: Vec<Arc<Receipt>>,
    encoded_receipts: Vec<Vec<u8>>,
    /// This block's cells and those of the executed blocks below, newest first.
    layers: Vec<Arc<BlockLayer>>,
    stats: RunStats,
}

/// A block that was executed but is not part of the chain yet; clones share it.
#[derive(Debug, Clone)]
pub struct ExecutedBlock(Arc<Inner>);

impl ExecutedBlock {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.0.header.number
    }

    /// Its header's hash: what sealers sign.
    pub fn hash(&self) -> B256 {
        self.0.header.hash
    }

    /// The parent's hash.
    pub fn parent(&self) -> B256 {
        self.0.header.parents.first().map_or(B256::ZERO, |parent| parent.hash)
    }

    /// The header, without signatures.
    pub fn header(&self) -> &BlockHeader {
        &self.0.header
    }

    /// The transactions, in order.
    pub fn transactions(&self) -> &[VerifiedTx] {
        &self.0.transactions
    }

    /// Their receipts.
    pub fn receipts(&self) -> &[Arc<Receipt>] {
        &self.0.receipts
    }

    /// How the transactions were executed.
    pub fn stats(&self) -> RunStats {
        self.0.stats
    }

    pub(super) fn encoded_receipts(&self) -> &[Vec<u8>] {
        &self.0.encoded_receipts
    }

    pub(super) fn cells(&self) -> &Layer {
        &self.0.layers[0].cells
    }

    /// True when the block `number` with this hash is below this block (or is its parent in the chain).
    pub(super) fn descends_from(&self, number: u64, hash: B256) -> bool {
        match self.0.layers.iter().find(|layer| layer.number == number) {
            Some(layer) => layer.hash == hash,
            None => self.number() == number + 1 && self.parent() == hash,
        }
    }
}

impl Chain {
    /// Executes a proposal on its parent's state. Nothing is written; the result can be committed, and be the parent of the next.
    pub fn execute(&self, proposal: &Proposal) -> Result<ExecutedBlock, ChainError> {
        self.execute_in(proposal, Order::Parallel)
    }

    /// [`Chain::execute`] in a chosen order of work: the result is the same.
    pub fn execute_in(&self, proposal: &Proposal, order: Order) -> Result<ExecutedBlock, ChainError> {
        let shared = &*self.shared;
        let (number, parent) = (proposal.number, proposal.parent);
        let (view, layers) = self.state_after(number, parent)?;
        let env = block_env(&view, number, proposal.timestamp_ms)?;
        let (sealer_list, consensus_weights) = sealers(&view, number)?;
        if proposal.sealer >= sealer_list.len() as u64 {
            return Err(ChainError::UnknownSealer { number, sealer: proposal.sealer, sealers: sealer_list.len() });
        }
        let mut seen = B256Set::default();
        if let Some(twice) = proposal.transactions.iter().find(|transaction| !seen.insert(transaction.hash)) {
            return Err(ChainError::Twice { number, hash: twice.hash });
        }

        let inputs: Vec<_> = proposal.transactions.iter().map(TxInput::of).collect();
        let execute = |state: &dyn StateAccess, index: usize| match &inputs[index] {
            Ok(input) => shared.executor.execute_transaction(state, &env, input, index as u32),
            // The pool should have refused it; it changes nothing.
            Err(error) => Ok(TxOutcome { status: error.status(), ..TxOutcome::default() }),
        };
        let run = match order {
            Order::Parallel => {
                let traits: Vec<_> = inputs.iter().map(|input| shared.scheduler.traits(input.as_ref().ok())).collect();
                shared.scheduler.run(&view, &traits, &execute)?
            }
            Order::Serial => scheduler::serial(&view, inputs.len(), &execute)?,
            Order::Simulated(speculate) => scheduler::interleaved(&view, inputs.len(), &execute, speculate)?,
        };

        let mut cells = Layer::default();
        for outcome in &run.outcomes {
            cells.apply(&outcome.writes);
        }
        let (receipts, encoded_receipts) = receipts(shared.suite, number, &proposal.transactions, run.outcomes);
        let hashes: Vec<B256> = proposal.transactions.iter().map(|transaction| transaction.hash).collect();
        let receipt_hashes: Vec<B256> = receipts.iter().map(|receipt| receipt.hash).collect();
        let version = view.system_config("compatibility_version")?;
        let version = version.and_then(|version| version_number(&version.value).ok());
        let mut header = BlockHeader {
            version: version.ok_or_else(|| ChainError::damaged("the setting compatibility_version"))?,
            parents: vec![ParentInfo { number: number - 1, hash: parent }],
            transactions_root: merkle::root(shared.suite, &hashes),
            receipts_root: merkle::root(shared.suite, &receipt_hashes),
            state_root: state_root(shared.suite, &cells),
            number,
            gas_used: receipts.last().map_or(0, |receipt| receipt.cumulative_gas_used),
            timestamp: proposal.timestamp_ms,
            sealer: proposal.sealer,
            sealer_list,
            consensus_weights,
            ..BlockHeader::default()
        };
        let hash = header.seal(shared.suite);
        let own = Arc::new(BlockLayer { number, hash, cells });
        let block = ExecutedBlock(Arc::new(Inner {
            header,
            transactions: proposal.transactions.clone(),
            receipts,
            encoded_receipts,
            layers: std::iter::once(own).chain(layers).collect(),
            stats: run.stats,
        }));
        self.keep_executed(&block);
        Ok(block)
    }

    /// The state that block `number` on `parent` is executed on, and the executed blocks it lies on.
    fn state_after(&self, number: u64, parent: B256) -> Result<(StateView, Vec<Arc<BlockLayer>>), ChainError> {
        let shared = &*self.shared;
        let tip = shared.tip.read();
        let (parent_number, layers) = if parent == tip.block.hash() {
            (tip.number(), Vec::new())
        } else if let Some(executed) = tip.executed.get(&parent) {
            // The lowest are committed meanwhile and part of the snapshot.
            let layers = executed.0.layers.iter().filter(|layer| layer.number > tip.number()).cloned().collect();
            (executed.number(), layers)
        } else {
            return Err(ChainError::UnknownParent { number, parent, tip: tip.number() });
        };
        if parent_number.checked_add(1) != Some(number) {
            return Err(ChainError::WrongNumber { number, parent: parent_number });
        }
        let view = StateView::over(layers.clone(), Arc::clone(&tip.snapshot), tip.place(), Arc::clone(&shared.cache));
        Ok((view, layers))
    }

    /// The state after a block that is committed last or executed, for what has to be known before the next is agreed.
    pub fn state_of(&self, hash: B256) -> Result<StateView, ChainError> {
        let number = {
            let tip = self.shared.tip.read();
            if hash == tip.block.hash() {
                Some(tip.number())
            } else {
                tip.executed.get(&hash).map(ExecutedBlock::number)
            }
        };
        let number = number.unwrap_or_default() + 1;
        Ok(self.state_after(number, hash)?.0)
    }

    /// Tries a call on the state after a block (`None`: the last); nothing is written. Block number and time are that block's.
    pub fn call(&self, request: &CallRequest, at: Option<u64>) -> Result<CallOutcome, ChainError> {
        let view = self.state_at(at)?;
        let env = self.env_at(&view)?;
        Ok(self.shared.executor.call(&view, &env, request)?)
    }

    /// The least gas with which a call succeeds on the state after a block, or the outcome with which it fails.
    pub fn estimate_gas(&self, request: &CallRequest, at: Option<u64>) -> Result<Result<u64, CallOutcome>, ChainError> {
        let view = self.state_at(at)?;
        let env = self.env_at(&view)?;
        Ok(self.shared.executor.estimate_gas(&view, &env, request)?)
    }

    /// The settings of the block whose state a view shows; for calls and traces on it.
    pub fn env_at(&self, view: &StateView) -> Result<BlockEnv, ChainError> {
        let height = self.height();
        let block = self.block(view.number())?.ok_or(ChainError::NoSuchBlock { number: view.number(), height })?;
        Ok(block_env(view, view.number(), block.header().timestamp)?)
    }

    /// The sealers in force for the block after the one whose state this is: node ids (64 bytes) in order, and weights.
    pub fn sealers(&self, after: &StateView) -> Result<(Vec<Bytes>, Vec<u64>), ChainError> {
        sealers(after, after.number() + 1)
    }

    /// How the sealers rotate, and whether the block after the one whose state this is has to change them out of turn; `None`
    /// when they do not rotate.
    pub fn rotation(&self, after: &StateView) -> Result<Option<(Rotation, bool)>, ChainError> {
        let next = after.number() + 1;
        let Some(rotation) = Rotation::read(next, |key| after.system_config(key))? else { return Ok(None) };
        Ok(Some((rotation, rotation.is_out_of_turn(next, &after.nodes()?))))
    }
}

/// The settings in force for a block executed on a state.
pub(crate) fn block_env(view: &StateView, number: u64, timestamp_ms: u64) -> Result<BlockEnv, AccessError> {
    let setting = |key: &str| -> Result<Option<String>, AccessError> {
        let setting = view.system_config(key)?;
        Ok(setting.filter(|setting| setting.enable_number <= number).map(|setting| setting.value))
    };
    let decimal = |key: &str, default: u64| -> Result<u64, AccessError> {
        Ok(setting(key)?.and_then(|value| value.parse().ok()).unwrap_or(default))
    };
    let on = |key: &str| -> Result<bool, AccessError> { Ok(setting(key)?.is_some_and(|value| value == "1")) };
    let gas_price = setting("tx_gas_price")?.unwrap_or_default();
    let gas_price = U256::from_str_radix(gas_price.strip_prefix("0x").unwrap_or(&gas_price), 16);
    Ok(BlockEnv {
        number,
        timestamp_ms,
        timestamp_in_seconds: on("feature_evm_timestamp")?,
        gas_limit: decimal("tx_gas_limit", 3_000_000_000)?,
        gas_price: gas_price.unwrap_or_default(),
        web3_chain_id: decimal("web3_chain_id", 0)?,
        balance_transfer: on("balance_transfer")?,
    })
}

fn sealers(view: &StateView, number: u64) -> Result<(Vec<Bytes>, Vec<u64>), ChainError> {
    let mut ids = Vec::new();
    let mut weights = Vec::new();
    for node in view.nodes()? {
        if node.kind == NodeKind::Sealer && node.enable_number <= number {
            let id = hex::decode(&node.node_id).map_err(|_| ChainError::damaged("the node id of a sealer"))?;
            ids.push(Bytes::from(id));
            weights.push(node.weight);
        }
    }
    Ok((ids, weights))
}

fn receipts(
    suite: &dyn CryptoSuite,
    number: u64,
    transactions: &[VerifiedTx],
    outcomes: Vec<TxOutcome>,
) -> (Vec<Arc<Receipt>>, Vec<Vec<u8>>) {
    let mut cumulative_gas_used = 0u64;
    let mut log_index = 0u32;
    let mut receipts: Vec<Receipt> = outcomes
        .into_iter()
        .zip(transactions)
        .enumerate()
        .map(|(index, (outcome, transaction))| {
            cumulative_gas_used = cumulative_gas_used.saturating_add(outcome.gas_used);
            let logs = outcome.logs.into_iter();
            let logs: Vec<LogEntry> =
                logs.map(|log| LogEntry { address: log.address, topics: log.topics, data: log.data }).collect();
            let receipt = Receipt {
                version: transaction.tx.data.version,
                gas_used: outcome.gas_used,
                contract_address: outcome.contract_address,
                status: outcome.status,
                output: outcome.output,
                block_number: number,
                effective_gas_price: outcome.effective_gas_price,
                cumulative_gas_used,
                transaction_index: index as u32,
                log_index,
                logs,
                ..Receipt::default()
            };
            log_index = log_index.saturating_add(receipt.logs.len() as u32);
            receipt
        })
        .collect();
    let seal = |receipt: &mut Receipt| {
        receipt.seal(suite);
        receipt.encode()
    };
    let encoded = receipts.par_iter_mut().with_min_len(MIN_PARALLEL).map(seal).collect();
    (receipts.into_iter().map(Arc::new).collect(), encoded)
}

/// XOR over the written cells of H(table ‖ key ‖ value), of H(table ‖ key) for deleted ones; zero when nothing was written.
fn state_root(suite: &dyn CryptoSuite, cells: &Layer) -> B256 {
    let written: Vec<_> = cells.iter().collect();
    let hash = |(key, value): &(&crate::access::StateKey, &Option<Bytes>)| -> B256 {
        let name = keys::root_name(key);
        match value {
            Some(value) => suite.hash_parts(&[&name, value]).into(),
            None => suite.hash(&name).into(),
        }
    };
    written.par_iter().with_min_len(MIN_PARALLEL).map(hash).reduce(|| B256::ZERO, |a, b| a ^ b)
}
