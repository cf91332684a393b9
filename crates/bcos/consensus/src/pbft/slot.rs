//! Everything a node knows about one number above the last final block.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::api::HeaderSignature;
use crate::message::Certificate;
use crate::proposal::{Head, Proposal};
use crate::settings::Settings;

/// A member's latest vote: view, digest, signature.
pub(super) type Cell = (u64, B256, Bytes);

/// What the host said about a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Asked,
    Valid,
    Invalid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Execution {
    #[default]
    NotStarted,
    Started,
    Done(B256),
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Proposals by digest.
    pub(super) contents: BTreeMap<B256, (Arc<Proposal>, Head)>,
    /// The latest proposal of each leader.
    pub(super) candidates: BTreeMap<usize, Cell>,
    pub(super) prepares: BTreeMap<usize, Cell>,
    pub(super) commits: BTreeMap<usize, Cell>,
    pub(super) checkpoints: BTreeMap<usize, (B256, Bytes)>,
    /// View and digest of the proposal this node follows.
    pub(super) accepted: Option<(u64, B256)>,
    /// Proposals the host was shown (it has marked their transactions).
    pub(super) checks: BTreeMap<B256, Check>,
    /// The last prepare vote, which is on disk.
    pub(super) voted: Option<(u64, B256)>,
    /// The last certificate, which is on disk, and the digest it is for.
    pub(super) certificate: Option<(Certificate, B256)>,
    /// View of the last commit vote.
    pub(super) commit_voted: Option<u64>,
    /// A quorum's choice, whether its contents are known or not.
    pub(super) decided: Option<B256>,
    pub(super) execution: Execution,
    /// What was handed out for commit.
    pub(super) commit: Option<(B256, Vec<HeaderSignature>)>,
    pub(super) diverged: bool,
}

impl Slot {
    /// The digest whose order is final and whose contents are known.
    pub(super) fn ordered(&self) -> Option<B256> {
        self.decided.filter(|digest| self.contents.contains_key(digest))
    }

    /// What this node builds the next proposal on, in `view`.
    pub(super) fn current(&self, view: u64) -> Option<B256> {
        self.ordered().or_else(|| self.accepted.filter(|(v, _)| *v == view).map(|(_, digest)| digest))
    }

    pub(super) fn certified_in(&self, view: u64) -> Option<B256> {
        self.certificate.as_ref().filter(|(c, _)| c.view == view).map(|(_, digest)| *digest)
    }

    /// Keeps a proposal; drops what nothing refers to when there are more than `limit`.
    pub(super) fn learn(&mut self, digest: B256, proposal: Arc<Proposal>, head: Head, limit: usize) {
        self.contents.entry(digest).or_insert((proposal, head));
        if self.contents.len() > limit {
            let kept: Vec<B256> = self
                .candidates
                .values()
                .map(|cell| cell.1)
                .chain(self.accepted.map(|a| a.1))
                .chain(self.certificate.as_ref().map(|c| c.1))
                .chain(self.decided)
                .chain([digest])
                .collect();
            self.contents.retain(|digest, _| kept.contains(digest));
        }
    }

    /// Votes cast in this slot by anybody.
    pub(super) fn has_votes(&self) -> bool {
        !self.prepares.is_empty() || !self.commits.is_empty() || self.voted.is_some() || self.accepted.is_some()
    }
}

/// The weight behind one choice.
pub(super) fn weight(settings: &Settings, cells: &BTreeMap<usize, Cell>, view: u64, digest: &B256) -> u64 {
    cells.iter().filter(|(_, c)| c.0 == view && c.1 == *digest).map(|(i, _)| settings.weight(*i)).sum()
}

/// The weight that signed one header.
pub(super) fn signed(settings: &Settings, cells: &BTreeMap<usize, (B256, Bytes)>, hash: &B256) -> u64 {
    cells.iter().filter(|(_, c)| c.0 == *hash).map(|(i, _)| settings.weight(*i)).sum()
}
