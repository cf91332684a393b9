//! Deliver requests as clients make them.

use bytes::Bytes;
use fabric_channel::protoutil::{seek_envelope, seek_newest, seek_oldest, seek_specified};
use fabric_proto::common::Envelope;
use fabric_proto::orderer::{SeekInfo, SeekPosition, seek_info};

use crate::Signer;

/// Where a deliver request starts and stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// The first block.
    Oldest,
    /// The last block at the time of asking.
    Newest,
    /// A block by number.
    Number(u64),
}

impl Seek {
    /// As the wire has it.
    pub fn position(self) -> SeekPosition {
        match self {
            Self::Oldest => seek_oldest(),
            Self::Newest => seek_newest(),
            Self::Number(number) => seek_specified(number),
        }
    }
}

/// A deliver request that waits for blocks not there yet. `best_effort`: the node answers even when it cannot serve safely.
pub fn seek(
    signer: &dyn Signer,
    channel: &str,
    start: Seek,
    stop: Seek,
    best_effort: bool,
    tls_cert_hash: Bytes,
) -> Envelope {
    let error_response =
        if best_effort { seek_info::SeekErrorResponse::BestEffort } else { seek_info::SeekErrorResponse::Strict };
    let info = SeekInfo {
        start: Some(start.position()),
        stop: Some(stop.position()),
        behavior: seek_info::SeekBehavior::BlockUntilReady as i32,
        error_response: error_response as i32,
        content_type: seek_info::SeekContentType::Block as i32,
    };
    let hash = Some(tls_cert_hash).filter(|hash| !hash.is_empty());
    seek_envelope(channel, Some(signer), &info, hash)
}
