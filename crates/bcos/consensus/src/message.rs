//! What members say to each other.
//!
//! ```text
//! version u8 | kind u8 | settings hash 32 | sender's index u16 | body | signature (length u8)
//! ```
//!
//! A message can be passed on by anybody: it is the signature that says whose it is.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::api::HeaderSignature;
use crate::codec::{DecodeError, Reader, Writer};
use crate::keys::Keys;
use crate::proposal::{Head, Proposal};

const VERSION: u8 = 1;
/// Members a committee may have.
pub(crate) const MAX_MEMBERS: usize = 1024;
/// Certificates or proofs one message may carry.
pub(crate) const MAX_WINDOW: usize = 256;

/// What a vote is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The leader proposed this and it is valid.
    Prepare,
    /// A quorum prepared this.
    Commit,
    /// The view's leader does not get the chain on.
    Suspect,
}

/// A vote without its signature; the message says who votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The view.
    pub view: u64,
    /// The proposal's number.
    pub number: u64,
    /// The proposal's digest.
    pub digest: B256,
}

/// That a quorum voted to prepare a proposal in a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The view.
    pub view: u64,
    /// The proposal.
    pub head: Head,
    /// Votes in order of indices.
    pub votes: Vec<HeaderSignature>,
}

/// That a quorum gave a view up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeoutCertificate {
    /// The view that was given up.
    pub view: u64,
    /// Suspicions in order of indices.
    pub votes: Vec<HeaderSignature>,
}

/// That a block is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its number.
    pub number: u64,
    /// Its header's hash.
    pub header_hash: B256,
    /// Its signature list; empty for the genesis block.
    pub signatures: Vec<HeaderSignature>,
}

/// A member's state when it leaves a view; it does not vote in lower views any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// The view it goes to.
    pub view: u64,
    /// Why.
    pub reason: TimeoutCertificate,
    /// Its last final block.
    pub tip: Proof,
    /// What it prepared above that, in order of numbers.
    pub prepared: Vec<Certificate>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A leader's proposal; the signature is that of its prepare vote.
    PrePrepare {
        /// The view.
        view: u64,
        /// The proposal.
        proposal: Arc<Proposal>,
    },
    /// A prepare vote.
    Prepare(Vote),
    /// A commit vote.
    Commit(Vote),
    /// An executed block; the signature is the header's.
    Checkpoint {
        /// The block's number.
        number: u64,
        /// Its header's hash.
        header_hash: B256,
    },
    /// The sender wants to leave this view (but is still in it).
    Suspect {
        /// The view.
        view: u64,
    },
    /// The sender left its view.
    ViewChange(ViewChange),
    /// The leader of a new view shows that a quorum went to it.
    NewView {
        /// The view.
        view: u64,
        /// [`content_hash`](crate::content_hash) of the highest final block among the changes.
        base: B256,
        /// View change messages of a quorum, as they were sent.
        changes: Vec<Bytes>,
    },
    /// The sender may have missed something.
    RecoverRequest {
        /// Its view.
        view: u64,
        /// Its last final block.
        number: u64,
        /// Up to where it knows the order.
        ordered: u64,
    },
    /// The answer; votes follow as messages of their own.
    RecoverResponse {
        /// The sender's view.
        view: u64,
        /// Whether it entered it.
        entered: bool,
        /// The new view message by which it did; none for a view from before the present settings.
        new_view: Option<Bytes>,
        /// Final blocks the other does not have.
        proofs: Vec<Proof>,
    },
    /// The sender misses a proposal.
    ProposalRequest {
        /// Its number.
        number: u64,
        /// Its digest.
        digest: B256,
    },
    /// The answer.
    ProposalResponse {
        /// The proposal.
        proposal: Arc<Proposal>,
    },
}

/// A message with its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Hash of the settings under which it was said.
    pub settings: B256,
    /// The sender's index in the committee.
    pub from: usize,
    /// What it says.
    pub body: Body,
    /// The sender's signature.
    pub signature: Bytes,
}

/// What is signed for a vote.
pub fn statement(keys: &dyn Keys, settings: &B256, from: usize, phase: Phase, vote: &Vote) -> B256 {
    keys.hash(&[
        b"konsort vote 1",
        settings.as_slice(),
        &(from as u64).to_be_bytes(),
        &[phase as u8],
        &vote.view.to_be_bytes(),
        &vote.number.to_be_bytes(),
        vote.digest.as_slice(),
    ])
}

/// What is signed for a suspicion.
pub fn suspicion(keys: &dyn Keys, settings: &B256, from: usize, view: u64) -> B256 {
    statement(keys, settings, from, Phase::Suspect, &Vote { view, number: 0, digest: B256::ZERO })
}

impl Message {
    /// Makes and signs a message.
    pub fn sign(keys: &dyn Keys, settings: B256, from: usize, body: Body) -> Self {
        let mut message = Self { settings, from, body, signature: Bytes::new() };
        message.signature = keys.sign(&message.signed_hash(keys));
        message
    }

    /// The hash that is signed.
    pub fn signed_hash(&self, keys: &dyn Keys) -> B256 {
        let vote = |phase, vote: &Vote| statement(keys, &self.settings, self.from, phase, vote);
        match &self.body {
            Body::PrePrepare { view, proposal } => {
                let digest = proposal.head(keys).digest(keys);
                vote(Phase::Prepare, &Vote { view: *view, number: proposal.number, digest })
            }
            Body::Prepare(v) => vote(Phase::Prepare, v),
            Body::Commit(v) => vote(Phase::Commit, v),
            Body::Suspect { view } => suspicion(keys, &self.settings, self.from, *view),
            Body::Checkpoint { header_hash, .. } => *header_hash,
            _ => {
                let mut body = Writer::default();
                self.body.write(&mut body);
                keys.hash(&[
                    b"konsort message 1",
                    self.settings.as_slice(),
                    &(self.from as u64).to_be_bytes(),
                    &[self.body.kind()],
                    &body.0,
                ])
            }
        }
    }

    /// The bytes that travel.
    pub fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION).u8(self.body.kind()).hash(&self.settings).u16(self.from);
        self.body.write(&mut out);
        out.signature(&self.signature).finish()
    }

    /// Reads what [`encode`](Self::encode) wrote, with at most `max_transactions` in a proposal.
    pub fn decode(bytes: Bytes, max_transactions: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::Unknown("version"));
        }
        let kind = reader.u8("kind")?;
        let settings = reader.hash("settings")?;
        let from = reader.u16("sender")?;
        if from >= MAX_MEMBERS {
            return Err(DecodeError::Limit("sender"));
        }
        let body = Body::read(kind, &mut reader, max_transactions)?;
        let signature = reader.signature("signature")?;
        reader.end()?;
        Ok(Self { settings, from, body, signature })
    }
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Self::PrePrepare { .. } => 0,
            Self::Prepare(_) => 1,
            Self::Commit(_) => 2,
            Self::Checkpoint { .. } => 3,
            Self::Suspect { .. } => 4,
            Self::ViewChange(_) => 5,
            Self::NewView { .. } => 6,
            Self::RecoverRequest { .. } => 7,
            Self::RecoverResponse { .. } => 8,
            Self::ProposalRequest { .. } => 9,
            Self::ProposalResponse { .. } => 10,
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::PrePrepare { view, proposal } => {
                out.u64(*view);
                write_proposal(out, proposal);
            }
            Self::Prepare(vote) | Self::Commit(vote) => {
                out.u64(vote.view).u64(vote.number).hash(&vote.digest);
            }
            Self::Checkpoint { number, header_hash } => {
                out.u64(*number).hash(header_hash);
            }
            Self::Suspect { view } => {
                out.u64(*view);
            }
            Self::ViewChange(change) => {
                out.u64(change.view);
                write_timeout(out, &change.reason);
                write_proof(out, &change.tip);
                out.u32(change.prepared.len());
                for certificate in &change.prepared {
                    write_certificate(out, certificate);
                }
            }
            Self::NewView { view, base, changes } => {
                out.u64(*view).hash(base).u32(changes.len());
                for change in changes {
                    out.bytes(change);
                }
            }
            Self::RecoverRequest { view, number, ordered } => {
                out.u64(*view).u64(*number).u64(*ordered);
            }
            Self::RecoverResponse { view, entered, new_view, proofs } => {
                out.u64(*view).u8(u8::from(*entered)).u8(u8::from(new_view.is_some()));
                if let Some(new_view) = new_view {
                    out.bytes(new_view);
                }
                out.u32(proofs.len());
                for proof in proofs {
                    write_proof(out, proof);
                }
            }
            Self::ProposalRequest { number, digest } => {
                out.u64(*number).hash(digest);
            }
            Self::ProposalResponse { proposal } => write_proposal(out, proposal),
        }
    }

    fn read(kind: u8, reader: &mut Reader, max_transactions: usize) -> Result<Self, DecodeError> {
        Ok(match kind {
            0 => Self::PrePrepare {
                view: reader.position("view")?,
                proposal: Arc::new(read_proposal(reader, max_transactions)?),
            },
            1 => Self::Prepare(read_vote(reader)?),
            2 => Self::Commit(read_vote(reader)?),
            3 => Self::Checkpoint { number: reader.position("number")?, header_hash: reader.hash("header hash")? },
            4 => Self::Suspect { view: reader.position("view")? },
            5 => {
                let view = reader.position("view")?;
                let reason = read_timeout(reader)?;
                let tip = read_proof(reader)?;
                let count = reader.count(MAX_WINDOW, 100, "certificates")?;
                let prepared = (0..count).map(|_| read_certificate(reader)).collect::<Result<_, _>>()?;
                Self::ViewChange(ViewChange { view, reason, tip, prepared })
            }
            6 => {
                let view = reader.position("view")?;
                let base = reader.hash("base")?;
                let count = reader.count(MAX_MEMBERS, 50, "view changes")?;
                let changes = (0..count).map(|_| reader.bytes("view change")).collect::<Result<_, _>>()?;
                Self::NewView { view, base, changes }
            }
            7 => Self::RecoverRequest {
                view: reader.position("view")?,
                number: reader.position("number")?,
                ordered: reader.position("ordered number")?,
            },
            8 => {
                let view = reader.position("view")?;
                let entered = reader.flag("entered")?;
                let new_view = if reader.flag("new view")? { Some(reader.bytes("new view")?) } else { None };
                let count = reader.count(MAX_WINDOW, 40, "proofs")?;
                let proofs = (0..count).map(|_| read_proof(reader)).collect::<Result<_, _>>()?;
                Self::RecoverResponse { view, entered, new_view, proofs }
            }
            9 => Self::ProposalRequest { number: reader.position("number")?, digest: reader.hash("digest")? },
            10 => Self::ProposalResponse { proposal: Arc::new(read_proposal(reader, max_transactions)?) },
            _ => return Err(DecodeError::Unknown("message kind")),
        })
    }
}

fn read_vote(reader: &mut Reader) -> Result<Vote, DecodeError> {
    Ok(Vote { view: reader.position("view")?, number: reader.position("number")?, digest: reader.hash("digest")? })
}

fn write_signatures(out: &mut Writer, signatures: &[HeaderSignature]) {
    out.u32(signatures.len());
    for (index, signature) in signatures {
        out.u16(*index as usize).signature(signature);
    }
}

/// Indices must rise, so that nobody counts twice.
fn read_signatures(reader: &mut Reader) -> Result<Vec<HeaderSignature>, DecodeError> {
    let count = reader.count(MAX_MEMBERS, 3, "signatures")?;
    let mut out: Vec<HeaderSignature> = Vec::with_capacity(count);
    for _ in 0..count {
        let index = reader.u16("signer")? as u64;
        if index >= MAX_MEMBERS as u64 || out.last().is_some_and(|(last, _)| *last >= index) {
            return Err(DecodeError::Limit("signer"));
        }
        out.push((index, reader.signature("signature")?));
    }
    Ok(out)
}

fn write_timeout(out: &mut Writer, certificate: &TimeoutCertificate) {
    out.u64(certificate.view);
    write_signatures(out, &certificate.votes);
}

fn read_timeout(reader: &mut Reader) -> Result<TimeoutCertificate, DecodeError> {
    Ok(TimeoutCertificate { view: reader.position("view")?, votes: read_signatures(reader)? })
}

fn write_proof(out: &mut Writer, proof: &Proof) {
    out.u64(proof.number).hash(&proof.header_hash);
    write_signatures(out, &proof.signatures);
}

fn read_proof(reader: &mut Reader) -> Result<Proof, DecodeError> {
    Ok(Proof {
        number: reader.position("number")?,
        header_hash: reader.hash("header hash")?,
        signatures: read_signatures(reader)?,
    })
}

fn write_certificate(out: &mut Writer, certificate: &Certificate) {
    let Head { number, timestamp_ms, sealer, system, parent, transactions } = &certificate.head;
    out.u64(certificate.view).u64(*number).u64(*timestamp_ms).u64(*sealer).u8(u8::from(*system));
    out.hash(parent).hash(transactions);
    write_signatures(out, &certificate.votes);
}

fn read_certificate(reader: &mut Reader) -> Result<Certificate, DecodeError> {
    Ok(Certificate {
        view: reader.position("view")?,
        head: Head {
            number: reader.position("number")?,
            timestamp_ms: reader.u64("timestamp")?,
            sealer: reader.u64("sealer")?,
            system: reader.flag("system")?,
            parent: reader.hash("parent")?,
            transactions: reader.hash("transactions")?,
        },
        votes: read_signatures(reader)?,
    })
}

fn write_proposal(out: &mut Writer, proposal: &Proposal) {
    let Proposal { number, timestamp_ms, sealer, system, parent, transactions } = proposal;
    out.u64(*number).u64(*timestamp_ms).u64(*sealer).u8(u8::from(*system)).hash(parent).u32(transactions.len());
    for hash in transactions.iter() {
        out.hash(hash);
    }
}

fn read_proposal(reader: &mut Reader, max_transactions: usize) -> Result<Proposal, DecodeError> {
    let number = reader.position("number")?;
    let timestamp_ms = reader.u64("timestamp")?;
    let sealer = reader.u64("sealer")?;
    let system = reader.flag("system")?;
    let parent = reader.hash("parent")?;
    let count = reader.count(max_transactions, 32, "transactions")?;
    let transactions = (0..count).map(|_| reader.hash("transaction")).collect::<Result<_, _>>()?;
    Ok(Proposal { number, timestamp_ms, sealer, system, parent, transactions })
}

/// The view a node is in, as it survives a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ViewRecord {
    /// Hash of the settings under which it was written.
    pub(crate) settings: B256,
    pub(crate) view: u64,
    pub(crate) entered: bool,
    /// Why the view before was left, while the new one is not entered.
    pub(crate) reason: Option<TimeoutCertificate>,
    /// By which message it was entered.
    pub(crate) new_view: Option<Bytes>,
}

impl ViewRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::default();
        out.u8(VERSION).hash(&self.settings).u64(self.view).u8(u8::from(self.entered));
        out.u8(u8::from(self.reason.is_some()));
        if let Some(reason) = &self.reason {
            write_timeout(&mut out, reason);
        }
        out.u8(u8::from(self.new_view.is_some()));
        if let Some(new_view) = &self.new_view {
            out.bytes(new_view);
        }
        out.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader(bytes);
        if reader.u8("version")? != VERSION {
            return Err(DecodeError::Unknown("version"));
        }
        let settings = reader.hash("settings")?;
        let view = reader.position("view")?;
        let entered = reader.flag("entered")?;
        let reason = if reader.flag("reason")? { Some(read_timeout(&mut reader)?) } else { None };
        let new_view = if reader.flag("new view")? { Some(reader.bytes("new view")?) } else { None };
        reader.end()?;
        Ok(Self { settings, view, entered, reason, new_view })
    }
}

pub(crate) fn encode_voted(view: u64, digest: &B256) -> Bytes {
    Writer::default().u64(view).hash(digest).finish()
}

pub(crate) fn decode_voted(bytes: Bytes) -> Result<(u64, B256), DecodeError> {
    let mut reader = Reader(bytes);
    let out = (reader.position("view")?, reader.hash("digest")?);
    reader.end()?;
    Ok(out)
}

pub(crate) fn encode_prepared(certificate: &Certificate, proposal: &Proposal) -> Bytes {
    let mut out = Writer::default();
    write_certificate(&mut out, certificate);
    write_proposal(&mut out, proposal);
    out.finish()
}

pub(crate) fn decode_prepared(bytes: Bytes) -> Result<(Certificate, Proposal), DecodeError> {
    let mut reader = Reader(bytes);
    let out = (read_certificate(&mut reader)?, read_proposal(&mut reader, usize::MAX)?);
    reader.end()?;
    Ok(out)
}

pub(crate) fn encode_proposal(proposal: &Proposal) -> Bytes {
    let mut out = Writer::default();
    write_proposal(&mut out, proposal);
    out.finish()
}

pub(crate) fn decode_proposal(bytes: Bytes, max_transactions: usize) -> Result<Proposal, DecodeError> {
    let mut reader = Reader(bytes);
    let out = read_proposal(&mut reader, max_transactions)?;
    reader.end()?;
    Ok(out)
}
