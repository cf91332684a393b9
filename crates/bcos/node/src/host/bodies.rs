//! From the hashes of a proposal to its transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use bcos_consensus::{NodeId, Proposal};
use bcos_types::VerifiedTx;

use crate::pool::{Claim, Pool};

/// How long to wait for an answer before somebody else is asked.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a proposal's transactions are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Verify { certified: bool },
    Execute,
}

#[derive(Debug)]
struct Wanted {
    proposal: Arc<Proposal>,
    purpose: Purpose,
    from: NodeId,
    asked: Option<Instant>,
    attempts: usize,
}

/// What came of looking.
#[derive(Debug)]
pub(super) enum Found {
    /// All transactions, in order.
    All(Vec<VerifiedTx>),
    /// The proposal breaks a rule.
    Wrong,
    /// Some have to come from others first; it was noted.
    Later,
}

/// A request to be sent.
#[derive(Debug)]
pub(super) struct Ask {
    pub to: NodeId,
    pub hashes: Vec<B256>,
}

/// Proposals that wait for their transactions.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    wanted: HashMap<B256, Wanted>,
    /// Transactions of proposals that were verified and will be executed.
    ready: HashMap<B256, (Arc<Proposal>, Vec<VerifiedTx>)>,
}

impl Bodies {
    pub(super) fn find(
        &mut self,
        pool: &Pool,
        proposal: &Arc<Proposal>,
        digest: B256,
        purpose: Purpose,
        from: NodeId,
    ) -> Found {
        if let Some((_, ready)) = self.ready.get(&digest) {
            return Found::All(ready.clone());
        }
        let trusted = purpose != (Purpose::Verify { certified: false });
        match pool.claim(proposal, trusted) {
            Claim::Found(found) => {
                self.ready.insert(digest, (Arc::clone(proposal), found.clone()));
                Found::All(found)
            }
            Claim::Conflict => Found::Wrong,
            Claim::Missing(_) => {
                let proposal = Arc::clone(proposal);
                self.wanted.insert(digest, Wanted { proposal, purpose, from, asked: None, attempts: 0 });
                Found::Later
            }
        }
    }

    /// Looks again for everything that waited: to be called when transactions arrived.
    pub(super) fn retry(&mut self, pool: &Pool) -> Vec<(Arc<Proposal>, B256, Purpose, Found)> {
        let mut outcomes = Vec::new();
        let wanted = std::mem::take(&mut self.wanted);
        for (digest, wanted) in wanted {
            let trusted = wanted.purpose != (Purpose::Verify { certified: false });
            match pool.claim(&wanted.proposal, trusted) {
                Claim::Missing(_) => {
                    self.wanted.insert(digest, wanted);
                }
                Claim::Found(found) => {
                    self.ready.insert(digest, (Arc::clone(&wanted.proposal), found.clone()));
                    outcomes.push((wanted.proposal, digest, wanted.purpose, Found::All(found)));
                }
                Claim::Conflict => outcomes.push((wanted.proposal, digest, wanted.purpose, Found::Wrong)),
            }
        }
        // Execution is in the order of numbers.
        outcomes.sort_by_key(|(proposal, ..)| proposal.number);
        outcomes
    }

    /// Requests that are due; after a silence another node is asked.
    pub(super) fn asks(&mut self, pool: &Pool, peers: &[NodeId]) -> Vec<Ask> {
        let now = Instant::now();
        let mut asks = Vec::new();
        for wanted in self.wanted.values_mut() {
            if wanted.asked.is_some_and(|asked| now.duration_since(asked) < PATIENCE) {
                continue;
            }
            let to = if wanted.attempts == 0 || peers.is_empty() {
                wanted.from.clone()
            } else {
                peers[wanted.attempts % peers.len()].clone()
            };
            wanted.attempts += 1;
            wanted.asked = Some(now);
            asks.push(Ask { to, hashes: pool.missing(&wanted.proposal.transactions) });
        }
        asks
    }

    /// When the next request is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.wanted.values().map(|wanted| wanted.asked.map_or_else(Instant::now, |asked| asked + PATIENCE)).min()
    }

    /// Whether the transactions of a proposal below this number are still on their way. Among them may be rivals of what waits
    /// here: sealing those would make a block that nobody accepts.
    pub(super) fn waits_below(&self, number: u64) -> bool {
        self.wanted.values().any(|wanted| wanted.proposal.number < number)
    }

    /// The proposal is not followed any more.
    pub(super) fn forget(&mut self, digest: &B256) {
        self.wanted.remove(digest);
        self.ready.remove(digest);
    }

    /// A proposal was given up: nobody waits for its transactions any more.
    pub(super) fn abandoned(&mut self, proposal: &Arc<Proposal>) {
        self.wanted.retain(|_, wanted| wanted.proposal != *proposal);
        // When it comes again its transactions have to be reserved again.
        self.ready.retain(|_, (ready, _)| ready != proposal);
    }

    /// Takes the transactions for execution.
    pub(super) fn take(&mut self, digest: &B256) {
        self.ready.remove(digest);
    }

    /// Blocks up to this number are final.
    pub(super) fn settled(&mut self, number: u64) {
        self.wanted.retain(|_, wanted| wanted.proposal.number > number);
        self.ready.retain(|_, (of, _)| of.number > number);
    }
}
