//! What travels between nodes and into the log.
//!
//! Field numbers and enumeration values are those of etcd's `raftpb` package. Decoding accepts both the
//! explicit zeros that its generated code writes and the omitted fields that ours does.

use bytes::Bytes;

/// Terms and indices above this do not occur; refusing them keeps arithmetic on them exact.
pub(crate) const MAX_POSITION: u64 = 1 << 62;

/// What an [`Entry`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryType {
    /// The application's bytes; empty for the entry that opens a leader's term.
    Normal = 0,
    /// A serialized [`ConfChange`].
    ConfChange = 1,
    /// A joint configuration change; never proposed here, refused when received.
    ConfChangeV2 = 2,
}

/// One position of the replicated log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Entry {
    /// What the data is.
    #[prost(enumeration = "EntryType", tag = "1")]
    pub entry_type: i32,
    /// Term of the leader that appended it.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Position, from 1.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// The application's bytes or a serialized [`ConfChange`].
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

impl Entry {
    /// The configuration change in this entry, when it is one and is well formed.
    pub fn conf_change(&self) -> Option<ConfChange> {
        if self.entry_type != EntryType::ConfChange as i32 {
            return None;
        }
        prost::Message::decode(self.data.clone()).ok()
    }

    /// Bytes this entry counts for in batches and windows.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + 24
    }
}

/// The voters after some index.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfState {
    /// Voting members.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Members without a vote; always empty here.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
}

/// Where a snapshot stands in the log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SnapshotMetadata {
    /// The voters at `index`.
    #[prost(message, optional, tag = "1")]
    pub conf_state: Option<ConfState>,
    /// The last entry the snapshot covers.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// Term of that entry.
    #[prost(uint64, tag = "3")]
    pub term: u64,
}

/// State that replaces a prefix of the log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Snapshot {
    /// The application's state, or what it needs to fetch it.
    #[prost(bytes = "bytes", tag = "1")]
    pub data: Bytes,
    /// Position and membership.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<SnapshotMetadata>,
}

impl Snapshot {
    /// The last index covered; 0 for the empty snapshot.
    pub fn index(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.index)
    }

    /// Term of the last index covered.
    pub fn term(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |m| m.term)
    }

    /// The voters at that index.
    pub fn voters(&self) -> &[u64] {
        self.metadata.as_ref().and_then(|m| m.conf_state.as_ref()).map_or(&[], |c| &c.voters)
    }
}

/// What a node must remember to vote and to restart.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardState {
    /// The latest term seen.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Who got this node's vote in that term; 0 for nobody.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// The highest index known committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// What a [`ConfChange`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConfChangeType {
    /// Add a voter.
    AddNode = 0,
    /// Remove a voter.
    RemoveNode = 1,
    /// Nothing for the algorithm; the application changed a member's description.
    UpdateNode = 2,
    /// Add a member without a vote; refused here.
    AddLearnerNode = 3,
}

/// One membership change.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfChange {
    /// Free for the application.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What to do.
    #[prost(enumeration = "ConfChangeType", tag = "2")]
    pub change_type: i32,
    /// To whom.
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// Free for the application.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// The kind of a [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MessageType {
    /// Local to etcd's library: start a campaign. Ignored from the network.
    Hup = 0,
    /// Local: send heartbeats. Ignored from the network.
    Beat = 1,
    /// A forwarded proposal. Ignored: the host forwards proposals itself.
    Prop = 2,
    /// Entries to append.
    App = 3,
    /// Answer to [`MessageType::App`] and [`MessageType::Snap`].
    AppResp = 4,
    /// Request for a vote.
    Vote = 5,
    /// Answer to [`MessageType::Vote`].
    VoteResp = 6,
    /// A snapshot to install.
    Snap = 7,
    /// The leader lives.
    Heartbeat = 8,
    /// Answer to [`MessageType::Heartbeat`].
    HeartbeatResp = 9,
    /// Local: a peer cannot be reached.
    Unreachable = 10,
    /// Local: how sending a snapshot ended.
    SnapStatus = 11,
    /// Local: time to check the quorum.
    CheckQuorum = 12,
    /// Please hand leadership over.
    TransferLeader = 13,
    /// Start an election at once, leadership is handed to you.
    TimeoutNow = 14,
    /// Linearisable read; not used here.
    ReadIndex = 15,
    /// Answer to it.
    ReadIndexResp = 16,
    /// Would you vote for me?
    PreVote = 17,
    /// Answer to [`MessageType::PreVote`].
    PreVoteResp = 18,
}

/// What nodes say to each other.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Message {
    /// What is said.
    #[prost(enumeration = "MessageType", tag = "1")]
    pub message_type: i32,
    /// To whom.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// By whom.
    #[prost(uint64, tag = "3")]
    pub from: u64,
    /// The sender's term (for a pre-vote the term it would start).
    #[prost(uint64, tag = "4")]
    pub term: u64,
    /// Term of the entry at `index`.
    #[prost(uint64, tag = "5")]
    pub log_term: u64,
    /// The entry before `entries`, the last entry of a candidate, or the index acknowledged or rejected.
    #[prost(uint64, tag = "6")]
    pub index: u64,
    /// Entries to append.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Entry>,
    /// The sender's commit index.
    #[prost(uint64, tag = "8")]
    pub commit: u64,
    /// The snapshot to install.
    #[prost(message, optional, tag = "9")]
    pub snapshot: Option<Snapshot>,
    /// The answer is no.
    #[prost(bool, tag = "10")]
    pub reject: bool,
    /// Where the rejecting log might agree.
    #[prost(uint64, tag = "11")]
    pub reject_hint: u64,
    /// Marks a vote request that may disturb a living leader.
    #[prost(bytes = "bytes", tag = "12")]
    pub context: Bytes,
}

impl Message {
    /// The kind, when it is one of the known ones.
    pub fn kind(&self) -> Option<MessageType> {
        MessageType::try_from(self.message_type).ok()
    }
}
