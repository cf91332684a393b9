//! Decoding a block, once: everything later stages need, and the verdicts that follow from shape alone.

mod transaction;

use bytes::Bytes;
use fabric_ledger::rwset::TxRwset;
use fabric_proto::common::{Block, BlockHeader, BlockMetadata, HeaderType};
use fabric_proto::protos::{ChaincodeEvent, Endorsement, TxValidationCode};
use prost::Message;

use crate::ValidationError;

pub use transaction::decode_transaction;

/// A block taken apart. The byte fields share the received buffer.
#[derive(Debug, Clone)]
pub struct DecodedBlock {
    /// The header as received.
    pub header: BlockHeader,
    /// The metadata as received.
    pub metadata: BlockMetadata,
    /// The transactions in order.
    pub transactions: Vec<DecodedTx>,
}

/// One transaction of a block.
#[derive(Debug, Clone)]
pub struct DecodedTx {
    /// The envelope's bytes as they stand in the block.
    pub envelope: Bytes,
    /// The transaction id of the channel header, as claimed; empty when there is no readable header.
    pub txid: String,
    /// The channel of the channel header, as claimed.
    pub channel_id: String,
    /// The type of the channel header; -1 when there is no readable header.
    pub header_type: i32,
    /// The verdict; `NotValidated` until a stage has decided.
    pub code: TxValidationCode,
    /// What the transaction carries, as far as it could be read.
    pub body: TxBody,
    /// Nonce and creator hashed, where the header claims no id.
    pub(crate) computed_txid: Option<String>,
    /// Who signed the envelope.
    pub(crate) creator: Option<CreatorSignature>,
    /// The verdict that holds if the creator's signature is good.
    pub(crate) after_signature: Option<TxValidationCode>,
    /// The verdict that holds if, besides, the transaction id is new to the ledger.
    pub(crate) after_duplicate: Option<TxValidationCode>,
}

/// The content of a transaction.
#[derive(Debug, Clone)]
pub enum TxBody {
    /// Nothing usable: the verdict says why.
    None,
    /// A configuration transaction: the bytes of its `common.ConfigEnvelope`.
    Config(Bytes),
    /// A chaincode transaction.
    Endorser(Box<EndorserTx>),
}

/// The parts of a chaincode transaction.
#[derive(Debug, Clone)]
pub struct EndorserTx {
    /// The invoked chaincode.
    pub chaincode: String,
    /// Its version, as the endorsers saw it.
    pub version: String,
    /// The read-write set.
    pub rwset: TxRwset,
    /// The chaincode event, when there is one.
    pub event: Option<ChaincodeEvent>,
    /// The endorsed bytes (`protos.ProposalResponsePayload`).
    pub response_payload: Bytes,
    /// Who endorsed.
    pub endorsements: Vec<Endorsement>,
    /// The identities whose endorsements are genuine, each once, in order; filled by the signature stage.
    pub(crate) endorsers: Vec<std::sync::Arc<fabric_channel::msp::Identity>>,
}

/// An envelope's signature and what it is over.
#[derive(Debug, Clone)]
pub(crate) struct CreatorSignature {
    pub(crate) identity: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) signature: Bytes,
}

impl DecodedBlock {
    /// The block's number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Whether this is a configuration block: exactly one transaction, of type CONFIG.
    pub fn is_config(&self) -> bool {
        matches!(self.transactions.as_slice(), [only] if only.header_type == HeaderType::Config as i32)
    }

    /// One byte per transaction, as in the block's metadata.
    pub fn codes(&self) -> Vec<u8> {
        self.transactions.iter().map(|tx| tx.code as u8).collect()
    }

    /// The message again, with the metadata it holds now.
    pub fn to_block(&self) -> Block {
        Block {
            header: Some(self.header.clone()),
            data: Some(fabric_proto::common::BlockData {
                data: self.transactions.iter().map(|tx| tx.envelope.clone()).collect(),
            }),
            metadata: Some(self.metadata.clone()),
        }
    }
}

impl DecodedTx {
    /// The chaincode transaction, if it is one.
    pub fn endorser(&self) -> Option<&EndorserTx> {
        match &self.body {
            TxBody::Endorser(endorser) => Some(endorser),
            _ => None,
        }
    }

    /// The id under which the ledger indexes the transaction: the claimed one, and where none is claimed the one that its nonce
    /// and creator give. Refused transactions are indexed too, and make later ones of the same id duplicates.
    pub fn index_txid(&self) -> &str {
        self.computed_txid.as_deref().unwrap_or(&self.txid)
    }

    /// Whether no stage has decided on this transaction yet.
    pub fn undecided(&self) -> bool {
        self.code == TxValidationCode::NotValidated
    }
}

/// Takes serialized block bytes apart.
pub fn decode_block(bytes: &Bytes) -> Result<DecodedBlock, ValidationError> {
    let block = Block::decode(bytes.clone()).map_err(ValidationError::BlockBytes)?;
    decode_message(block)
}

/// Takes an already decoded block message apart.
pub fn decode_message(block: Block) -> Result<DecodedBlock, ValidationError> {
    let header = block.header.ok_or(ValidationError::NoHeader)?;
    let data = block.data.unwrap_or_default().data;
    // Decoding one envelope costs a few microseconds; small blocks are not worth waking other threads for.
    let transactions = if data.len() < PARALLEL_FROM {
        data.iter().map(decode_transaction).collect()
    } else {
        use rayon::prelude::*;
        data.par_iter().with_min_len(PARALLEL_FROM / 2).map(decode_transaction).collect()
    };
    Ok(DecodedBlock { header, metadata: block.metadata.unwrap_or_default(), transactions })
}

const PARALLEL_FROM: usize = 64;
