//! The door: what goes into a consensus and what comes out.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::proposal::Proposal;
use crate::record::RecordKey;
use crate::settings::{NodeId, Settings};

/// A member's signature over a header's hash: index in the sealer list, signature.
pub type HeaderSignature = (u64, Bytes);

/// The last final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Its number; 0 is the genesis block.
    pub number: u64,
    /// Its header's hash.
    pub header_hash: B256,
    /// Its [`content_hash`](crate::content_hash).
    pub content: B256,
    /// Its signature list; empty for the genesis block.
    pub signatures: Vec<HeaderSignature>,
}

impl Tip {
    /// The last blocks a host knows, oldest first; where it names none the chain has its genesis block only.
    pub(crate) fn known(recent: Vec<Self>) -> VecDeque<Self> {
        let genesis = || Self { number: 0, header_hash: B256::ZERO, content: B256::ZERO, signatures: Vec::new() };
        if recent.is_empty() { VecDeque::from([genesis()]) } else { recent.into() }
    }
}

/// What the sealer put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// As asked for by [`Effect::WantProposal`].
    pub number: u64,
    /// As asked for by [`Effect::WantProposal`].
    pub view: u64,
    /// The block's time in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// Whether it is one system transaction alone.
    pub system: bool,
    /// Transaction hashes in order.
    pub transactions: Vec<B256>,
}

/// What the host found out about a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every transaction is at hand and the proposal follows the rules.
    Valid,
    /// It breaks a rule that every honest node would see the same way; this node will not vote for it.
    Invalid,
}

/// What happens to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Bytes from a peer whose identity the transport has checked.
    Message {
        /// The peer.
        from: NodeId,
        /// As given to [`Effect::Send`] or [`Effect::Broadcast`] there.
        bytes: Bytes,
    },
    /// The answer to [`Effect::WantProposal`]; may come late, a stale one comes back as [`Effect::Abandon`].
    Sealed(Sealed),
    /// The answer to [`Effect::Verify`].
    Verified {
        /// The proposal's number.
        number: u64,
        /// The proposal's digest.
        digest: B256,
        /// What was found.
        verdict: Verdict,
    },
    /// The answer to [`Effect::Execute`].
    Executed {
        /// The block's number.
        number: u64,
        /// The hash of its complete header.
        header_hash: B256,
    },
    /// The answer to [`Effect::Commit`]: the block is durable.
    Committed {
        /// The block's number.
        number: u64,
        /// What holds for the next block.
        next: Settings,
    },
    /// A block that was fetched from peers, whose signature list was checked, is durable. To be given for every
    /// such block, in order.
    Synced {
        /// That block.
        tip: Tip,
        /// What holds for the next block.
        next: Settings,
    },
    /// Whether transactions wait in the pool: a leader that does not propose them is replaced.
    Work {
        /// Some are waiting.
        pending: bool,
    },
    /// Whether a peer can be reached: an unreachable leader is replaced without waiting for the time-out.
    Reachable {
        /// The peer.
        node: NodeId,
        /// Whether it can be reached.
        reachable: bool,
    },
    /// Time passed; wanted no later than the last [`Effect::Timer`] said, harmless at any other time.
    Tick,
}

/// What has to be done, in the order given. Effects of several steps may be carried out together as long as
/// their order is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write (or, with none, remove) a small record. **Every record must be durable before any [`Send`](Self::Send),
    /// [`Broadcast`](Self::Broadcast) or [`Commit`](Self::Commit) that follows it is carried out**: that is what keeps a restarted node from
    /// contradicting itself. Several records before one message need one sync.
    Persist {
        /// Where.
        key: RecordKey,
        /// What; none removes the record.
        value: Option<Bytes>,
    },
    /// Send to one node; may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        bytes: Bytes,
    },
    /// Send to every other member of the committee; may be lost.
    Broadcast {
        /// What.
        bytes: Bytes,
    },
    /// This node leads: answer with [`Input::Sealed`] as soon as the sealer has a block.
    WantProposal {
        /// The block's number.
        number: u64,
        /// The view in which it is wanted.
        view: u64,
    },
    /// Check a proposal and mark its transactions as sealed: all transactions at hand (fetch them from `from` when
    /// they are not), rules kept, none of them in the chain or in the proposals between (to be found by their
    /// `parent`). The verdict must not depend on this node's clock or pool. Answer with [`Input::Verified`]. Comes
    /// for this node's own proposals, too, and in order of numbers.
    Verify {
        /// What.
        proposal: Arc<Proposal>,
        /// Its digest, for the answer.
        digest: B256,
        /// A quorum has found it valid, or this node sealed it: only make sure that the transactions are at hand; the verdict cannot be
        /// [`Verdict::Invalid`].
        certified: bool,
        /// Who has the transactions.
        from: NodeId,
    },
    /// The order is final: execute on top of the block before (executed, maybe not committed). Answer with [`Input::Executed`].
    Execute {
        /// What.
        proposal: Arc<Proposal>,
        /// Its digest.
        digest: B256,
    },
    /// A quorum signed the executed header: write the block. Given in order of numbers; answer with [`Input::Committed`].
    Commit {
        /// The block's number.
        number: u64,
        /// The header that was signed.
        header_hash: B256,
        /// At least a quorum, in order of indices.
        signatures: Vec<HeaderSignature>,
    },
    /// The proposal will not become a block (at least not as it is): its transactions may be sealed again.
    Abandon {
        /// What.
        proposal: Arc<Proposal>,
    },
    /// Give [`Input::Tick`] no later than this. Replaces earlier timers.
    Timer {
        /// In the clock that `step` gets.
        at_ms: u64,
    },
    /// Blocks up to this number are final elsewhere: fetch them and give [`Input::Synced`].
    CatchUp {
        /// The highest number known.
        number: u64,
        /// Who has them.
        from: Vec<NodeId>,
    },
    /// This node executed a block to another result than a quorum. It cannot go on by itself: an operator has to
    /// see it, and the block has to be fetched from the others after the cause is gone.
    Diverged {
        /// The block.
        number: u64,
        /// This node's header hash.
        ours: B256,
        /// The quorum's.
        theirs: B256,
    },
    /// The view changed (or is about to: `entered` is false).
    View {
        /// The new view.
        view: u64,
        /// Whether its new view message arrived.
        entered: bool,
    },
    /// A peer broke the protocol in a way that only a faulty node does.
    Misbehaviour {
        /// The peer.
        node: NodeId,
        /// What it did.
        what: &'static str,
    },
}

/// A look inside, for RPC and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its index in the committee; none for an observer.
    pub index: Option<u64>,
    /// Number of the last final block.
    pub number: u64,
    /// Hash of the last final block.
    pub header_hash: B256,
    /// The view (under Raft: the term).
    pub view: u64,
    /// Whether the view is entered; false during a view change.
    pub entered: bool,
    /// Index of the member that proposes the next block.
    pub leader: u64,
    /// Weight that decides.
    pub quorum: u64,
    /// Weight that may be faulty.
    pub max_faulty: u64,
    /// The time-out in force, in milliseconds.
    pub timeout_ms: u64,
    /// View changes since the last progress.
    pub change_cycle: u64,
    /// Highest number whose order is final here.
    pub ordered: u64,
    /// Highest number executed here.
    pub executed: u64,
}

/// An agreement protocol as a state machine: inputs in, effects out; no clock, network, disk or randomness.
pub trait Consensus: Debug + Send {
    /// Takes one input at a time in milliseconds (any clock that does not run backwards).
    fn step(&mut self, now_ms: u64, input: Input, out: &mut Vec<Effect>);

    /// What holds for the next block.
    fn settings(&self) -> &Settings;

    /// A look inside.
    fn status(&self) -> Status;
}
