//! The chain as agreement, pool and synchronisation need it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{Address, B256};
use bcos_chain::{Chain, ChainConfig, ChainError, CommittedBlock, ExecutedBlock};
use bcos_consensus::{HeaderSignature, Keys, Member, NodeId, NodeKeys, Proposal, Settings, Tip, content_hash};
use bcos_types::genesis::GenesisSettings;
use bcos_types::tars::TarsError;
use bcos_types::{BlockHeader, Transaction, TransactionError, VerifiedTx};
use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::{Mutex, RwLock};
use rayon::prelude::*;

use super::pipeline::Done;
use crate::config::{ConsensusKind, GroupConfig};
use crate::pool::LedgerView;

/// Transactions in one block from another node.
const MAX_TRANSACTIONS: usize = 1_000_000;

/// Why a block of another node is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the block cannot be read: {0}")]
    Unreadable(#[from] TarsError),
    #[error("the block is cut short")]
    Short,
    #[error("block {number} comes where block {expected} is due")]
    NotNext { number: u64, expected: u64 },
    #[error("block {0} does not follow this node's last block")]
    OtherParent(u64),
    #[error("the signatures of block {number} weigh {weight}, {quorum} are needed")]
    Signatures { number: u64, weight: u64, quorum: u64 },
    #[error("a transaction of block {number} is not valid: {error}")]
    Transaction { number: u64, error: TransactionError },
    #[error("block {number} gives {ours} when executed here, a quorum signed {theirs}")]
    Diverged { number: u64, ours: B256, theirs: B256 },
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// The chain with what is cached of its settings.
#[derive(Debug)]
pub(crate) struct Ledger {
    chain: Chain,
    keys: Arc<NodeKeys>,
    consensus: ConsensusKind,
    /// Executed blocks above the head.
    executed: Mutex<BTreeMap<u64, ExecutedBlock>>,
    cached: RwLock<Cached>,
    tx_count_limit: AtomicU64,
}

#[derive(Debug, Default)]
struct Cached {
    members: HashSet<NodeId>,
    /// How often the nodes serve in rotating agreement; those with 0 are left out.
    term_weights: HashMap<NodeId, u64>,
    web3_chain_id: u64,
    nonces: HashMap<Address, u64>,
}

/// The configuration of the chain that `config.genesis` describes.
pub(crate) fn chain_config(group: &GroupConfig) -> ChainConfig {
    let genesis = &group.genesis;
    ChainConfig {
        genesis: GenesisSettings {
            sm_crypto: genesis.sm_crypto,
            chain_id: genesis.chain_id.clone(),
            group_id: genesis.group_id.clone(),
            consensus_type: genesis.consensus.name().to_owned(),
            block_tx_count_limit: genesis.tx_count_limit,
            leader_period: genesis.leader_period,
            compatibility_version: genesis.compatibility.clone(),
            gas_limit: genesis.gas_limit,
            is_wasm: false,
            is_auth_check: genesis.auth_check,
            auth_admin_account: genesis.auth_admin.clone(),
            is_serial_execute: genesis.serial,
            epoch_sealer_num: genesis.epoch_sealer_num,
            epoch_block_num: genesis.epoch_block_num,
            features: genesis.features.clone(),
            sealers: genesis.nodes.iter().map(|node| (node.id.clone(), node.weight)).collect(),
        },
        term_weights: genesis.nodes.iter().map(|node| (node.id.clone(), node.term_weight)).collect(),
        web3_chain_id: genesis.web3_chain_id,
        executor_version: 1,
        alloc: Vec::new(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

impl Ledger {
    pub(crate) fn open(group: &GroupConfig, keys: Arc<NodeKeys>) -> Result<Self, ChainError> {
        let chain = Chain::create_or_open(group.data.join("chain"), &chain_config(group))?;
        let ledger = Self {
            chain,
            keys,
            consensus: group.genesis.consensus,
            executed: Mutex::default(),
            cached: RwLock::default(),
            tx_count_limit: AtomicU64::new(group.genesis.tx_count_limit),
        };
        ledger.refresh()?;
        Ok(ledger)
    }

    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    pub(crate) fn height(&self) -> u64 {
        self.chain.height()
    }

    pub(crate) fn genesis_hash(&self) -> B256 {
        self.chain.genesis_hash()
    }

    pub(crate) fn head(&self) -> (u64, B256) {
        let tip = self.chain.tip();
        (tip.number(), tip.hash())
    }

    pub(crate) fn head_time(&self) -> u64 {
        self.chain.tip().header().timestamp
    }

    pub(crate) fn tx_count_limit(&self) -> u64 {
        self.tx_count_limit.load(Ordering::Relaxed)
    }

    /// Whether the node is a sealer, observer or candidate of the group.
    pub(crate) fn is_member(&self, node: &NodeId) -> bool {
        self.cached.read().members.contains(node)
    }

    /// How often a node serves in rotating agreement, compared with others.
    pub(crate) fn term_weight(&self, node: &NodeId) -> u64 {
        self.cached.read().term_weights.get(node).copied().unwrap_or_default()
    }

    pub(crate) fn is_committed(&self, hash: &B256) -> bool {
        // What cannot be read now is treated as new: the commit will find out.
        self.chain.place(hash).ok().flatten().is_some()
    }

    /// Takes over what the last block may have changed.
    fn refresh(&self) -> Result<(), ChainError> {
        let state = self.chain.state_at(None)?;
        let next = state.number() + 1;
        let setting = |key: &str| -> Result<Option<u64>, ChainError> {
            let value = state.system_config(key)?.filter(|setting| setting.enable_number <= next);
            Ok(value.and_then(|setting| setting.value.parse().ok()))
        };
        if let Some(limit) = setting("tx_count_limit")? {
            self.tx_count_limit.store(limit, Ordering::Relaxed);
        }
        let web3_chain_id = setting("web3_chain_id")?.unwrap_or(0);
        let mut members = HashSet::new();
        let mut term_weights = HashMap::new();
        for node in state.nodes()? {
            let Some(id) = NodeId::from_hex(&node.node_id) else { continue };
            if node.term_weight > 0 {
                term_weights.insert(id.clone(), node.term_weight);
            }
            members.insert(id);
        }
        *self.cached.write() = Cached { members, term_weights, web3_chain_id, nonces: HashMap::new() };
        Ok(())
    }

    /// What holds for the block after the last one.
    pub(crate) fn settings(&self) -> Result<Settings, ChainError> {
        let state = self.chain.state_at(None)?;
        let (ids, weights) = self.chain.sealers(&state)?;
        let members =
            ids.into_iter().zip(weights).map(|(id, weight)| Member { node_id: NodeId(id.0), weight }).collect();
        let period = state
            .system_config("consensus_leader_period")?
            .filter(|setting| setting.enable_number <= state.number() + 1)
            .and_then(|setting| setting.value.parse().ok())
            .unwrap_or(1);
        // A setting may turn rotation on later; Raft has no use for it.
        let rotation = if self.consensus == ConsensusKind::Raft { None } else { self.chain.rotation(&state)? };
        Ok(Settings {
            members,
            leader_period: period,
            epoch: rotation.map(|(rotation, _)| (rotation.blocks_since, rotation.blocks)),
            rotate_at: rotation.filter(|(_, out_of_turn)| *out_of_turn).map(|_| state.number() + 1),
        })
    }

    /// The last block as agreement names it.
    pub(crate) fn tip(&self) -> Tip {
        self.name(&self.chain.tip())
    }

    /// The last `count` blocks as agreement names them, oldest first.
    pub(crate) fn recent(&self, count: u64) -> Result<Vec<Tip>, ChainError> {
        let height = self.height();
        let mut recent = Vec::new();
        for number in (height + 1).saturating_sub(count)..=height {
            if let Some(block) = self.chain.block(number)? {
                recent.push(self.name(&block));
            }
        }
        Ok(recent)
    }

    fn name(&self, block: &CommittedBlock) -> Tip {
        let header = block.header();
        let hashes = block.transaction_hashes();
        Tip {
            number: header.number,
            header_hash: block.hash(),
            content: content_hash(&*self.keys, header.number, header.timestamp, header.sealer, &hashes),
            signatures: signatures(header),
        }
    }

    fn parent_of(&self, number: u64) -> Option<B256> {
        let executed = self.executed.lock().get(&number.checked_sub(1)?).map(ExecutedBlock::hash);
        // In this order: a block leaves the executed ones only after it became the head.
        executed.or_else(|| {
            let (height, hash) = self.head();
            (number == height + 1).then_some(hash)
        })
    }

    /// Executes an ordered block; `None` when its number is committed already.
    pub(crate) fn execute(
        &self,
        proposal: &Proposal,
        transactions: Vec<VerifiedTx>,
    ) -> Result<Option<B256>, ChainError> {
        let number = proposal.number;
        if number <= self.height() {
            return Ok(None);
        }
        let parent = self.parent_of(number).unwrap_or_default();
        let block = self.chain.execute(&bcos_chain::Proposal {
            number,
            parent,
            timestamp_ms: proposal.timestamp_ms,
            sealer: proposal.sealer,
            transactions,
        })?;
        let hash = block.hash();
        self.executed.lock().insert(number, block);
        Ok(Some(hash))
    }

    /// Makes an executed block durable; `None` when its number is committed already.
    pub(crate) fn commit(
        &self,
        number: u64,
        header_hash: B256,
        signatures: &[HeaderSignature],
    ) -> Result<Option<Done>, ChainError> {
        if number <= self.height() {
            return Ok(None);
        }
        let executed = self.executed.lock().get(&number).filter(|block| block.hash() == header_hash).cloned();
        let (next, tip) = (self.height() + 1, self.head().1);
        let Some(block) = executed.or_else(|| self.chain.executed(&header_hash)) else {
            return Err(ChainError::NotNext { number, hash: header_hash, next, tip });
        };
        let list = signatures
            .iter()
            .map(|(index, signature)| bcos_types::HeaderSignature {
                sealer_index: *index,
                signature: signature.clone().into(),
            })
            .collect();
        self.chain.commit(&block, list)?;
        {
            let mut executed = self.executed.lock();
            *executed = executed.split_off(&(number + 1));
        }
        self.refresh()?;
        let body = block.transactions().iter().cloned().zip(block.receipts().iter().cloned()).collect();
        Ok(Some(Done { tip: self.tip(), next: self.settings()?, body }))
    }

    /// Checks and executes a block of another node; `None` when its number is committed already.
    pub(crate) fn import(&self, bytes: &Bytes) -> Result<Option<(u64, B256, Vec<HeaderSignature>)>, ImportError> {
        let (header, raws) = decode_block(bytes)?;
        let number = header.number;
        if number <= self.height() {
            return Ok(None);
        }
        let suite = self.chain.suite();
        let theirs = header.compute_hash(suite);
        let parent = self.parent_of(number).ok_or(ImportError::NotNext { number, expected: self.height() + 1 })?;
        if header.parents.first().is_none_or(|named| named.hash != parent) {
            return Err(ImportError::OtherParent(number));
        }
        self.check_signatures(&header, parent, theirs)?;
        // Agreement may have executed it already.
        if self.executed.lock().get(&number).is_some_and(|block| block.hash() == theirs) {
            return Ok(Some((number, theirs, signatures(&header))));
        }
        let transactions: Vec<VerifiedTx> = raws
            .into_par_iter()
            .with_min_len(4)
            .map(|raw| {
                let transaction = Transaction::decode(&raw)?;
                VerifiedTx::verify(transaction, suite).map_err(|error| ImportError::Transaction { number, error })
            })
            .collect::<Result<_, ImportError>>()?;
        let block = self.chain.execute(&bcos_chain::Proposal {
            number,
            parent,
            timestamp_ms: header.timestamp,
            sealer: header.sealer,
            transactions,
        })?;
        if block.hash() != theirs {
            return Err(ImportError::Diverged { number, ours: block.hash(), theirs });
        }
        let mut executed = self.executed.lock();
        // What agreement had executed above another block of this number has no parent any more.
        executed.split_off(&number);
        executed.insert(number, block);
        Ok(Some((number, theirs, signatures(&header))))
    }

    /// Whether enough of the sealers in force for the block signed its header.
    fn check_signatures(&self, header: &BlockHeader, parent: B256, hash: B256) -> Result<(), ImportError> {
        let state = self.chain.state_of(parent)?;
        let (ids, weights) = self.chain.sealers(&state)?;
        let raft = self.consensus == ConsensusKind::Raft;
        let member =
            |(id, weight): (&alloy_primitives::Bytes, &u64)| Member { node_id: NodeId(id.0.clone()), weight: *weight };
        let settings = Settings::new(ids.iter().zip(&weights).map(member).collect());
        // Raft counts heads.
        let quorum = if raft { settings.majority() } else { settings.quorum() };
        let mut seen = HashSet::new();
        let signed: Vec<(usize, &[u8])> = header
            .signatures
            .iter()
            .map(|signature| (signature.sealer_index as usize, &signature.signature[..]))
            .filter(|(index, _)| *index < ids.len() && seen.insert(*index))
            .collect();
        let weight: u64 = signed
            .into_par_iter()
            .filter(|(index, signature)| self.keys.verify(&settings.members[*index].node_id, &hash, signature))
            .map(|(index, _)| if raft { 1 } else { settings.weight(index) })
            .sum();
        if weight < quorum { Err(ImportError::Signatures { number: header.number, weight, quorum }) } else { Ok(()) }
    }

    /// Blocks from `from` on for another node: at most `count`, and about `limit` bytes.
    pub(crate) fn encoded_blocks(&self, from: u64, count: u32, limit: usize) -> Result<Vec<Bytes>, ChainError> {
        let mut blocks = Vec::new();
        let mut size = 0;
        let last = self.height().min(from.saturating_add(u64::from(count.min(1024))).saturating_sub(1));
        for number in from.max(1)..=last {
            let Some(block) = self.chain.block(number)? else { break };
            let encoded = encode_block(block.header(), &block.transactions()?);
            size += encoded.len();
            if size > limit && !blocks.is_empty() {
                break;
            }
            blocks.push(encoded);
        }
        Ok(blocks)
    }
}

fn signatures(header: &BlockHeader) -> Vec<HeaderSignature> {
    header.signatures.iter().map(|s| (s.sealer_index, s.signature.0.clone())).collect()
}

/// Receipts are left out: whoever gets the block executes it.
fn encode_block(header: &BlockHeader, transactions: &[VerifiedTx]) -> Bytes {
    let header = header.encode();
    let size = transactions.iter().map(|transaction| transaction.raw.len() + 4).sum::<usize>();
    let mut out = BytesMut::with_capacity(header.len() + size + 8);
    out.put_u32(header.len() as u32);
    out.put_slice(&header);
    out.put_u32(transactions.len() as u32);
    for transaction in transactions {
        out.put_u32(transaction.raw.len() as u32);
        out.put_slice(&transaction.raw);
    }
    out.freeze()
}

fn decode_block(bytes: &Bytes) -> Result<(BlockHeader, Vec<Bytes>), ImportError> {
    let mut rest = bytes.clone();
    fn number(rest: &mut Bytes) -> Result<usize, ImportError> {
        let (head, _) = rest.split_first_chunk::<4>().ok_or(ImportError::Short)?;
        let value = u32::from_be_bytes(*head) as usize;
        drop(rest.split_to(4));
        Ok(value)
    }
    fn part(rest: &mut Bytes) -> Result<Bytes, ImportError> {
        let length = number(rest)?;
        if length > rest.len() { Err(ImportError::Short) } else { Ok(rest.split_to(length)) }
    }
    let header = BlockHeader::decode(&part(&mut rest)?)?;
    let count = number(&mut rest)?;
    if count > MAX_TRANSACTIONS || count * 4 > rest.len() {
        return Err(ImportError::Short);
    }
    let raws = (0..count).map(|_| part(&mut rest)).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok((header, raws)) } else { Err(ImportError::Short) }
}

/// The pool's view of the chain.
#[derive(Debug)]
pub(crate) struct PoolView(pub Arc<Ledger>);

impl LedgerView for PoolView {
    fn height(&self) -> u64 {
        self.0.height()
    }

    fn has_nonce(&self, nonce: &str) -> bool {
        self.0.chain.has_nonce(nonce)
    }

    fn account_nonce(&self, account: &Address) -> u64 {
        if let Some(nonce) = self.0.cached.read().nonces.get(account) {
            return *nonce;
        }
        let state = self.0.chain.state_at(None);
        let nonce = state.and_then(|state| Ok(state.account(*account)?)).map_or(0, |account| account.nonce);
        self.0.cached.write().nonces.insert(*account, nonce);
        nonce
    }

    fn web3_chain_id(&self) -> u64 {
        self.0.cached.read().web3_chain_id
    }

    fn is_committed(&self, hash: &B256) -> bool {
        self.0.is_committed(hash)
    }

    fn belongs(&self) -> bool {
        self.0.is_member(self.0.keys.me())
    }
}
