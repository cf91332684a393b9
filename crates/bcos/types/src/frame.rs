//! The SDK's WebSocket frame, and the payload that AMOP messages have in it.
//!
//! One binary WebSocket message holds one frame, big-endian: version u16, type u16, status i16, length of seq u16, seq,
//! ext u16, payload.
//!
//! ```
//! use bcos_types::frame::{Frame, kind};
//!
//! let request = Frame::new(kind::RPC, "0123456789abcdef0123456789abcdef", b"{}".to_vec());
//! let received = Frame::decode(request.encode().into())?;
//! assert_eq!(received.reply(b"[]".to_vec()).kind, kind::NONE);
//! # Ok::<(), bcos_types::frame::FrameError>(())
//! ```

use alloy_primitives::Bytes;

/// The longest frame taken, 32 MiB as upstream.
pub const MAX_FRAME: usize = 32 << 20;
/// Bytes of a frame with empty seq and payload.
const FIXED: usize = 10;

/// Message types.
pub mod kind {
    /// An answer to a JSON-RPC request, and AMOP failures.
    pub const NONE: u16 = 0;
    /// Handshake, both ways.
    pub const HANDSHAKE: u16 = 0x100;
    /// Pushed: a new block's number.
    pub const BLOCK_NOTIFY: u16 = 0x101;
    /// A JSON-RPC request.
    pub const RPC: u16 = 0x102;
    /// Pushed: a group has changed.
    pub const GROUP_NOTIFY: u16 = 0x103;
    /// Topics that a client subscribes to.
    pub const AMOP_SUBSCRIBE: u16 = 0x110;
    /// A message to one subscriber.
    pub const AMOP_REQUEST: u16 = 0x111;
    /// A message to all subscribers.
    pub const AMOP_BROADCAST: u16 = 0x112;
    /// A subscriber's answer.
    pub const AMOP_RESPONSE: u16 = 0x113;
    /// Subscribes to contract events.
    pub const EVENT_SUBSCRIBE: u16 = 0x120;
    /// Ends such a subscription.
    pub const EVENT_UNSUBSCRIBE: u16 = 0x121;
    /// Pushed: contract events.
    pub const EVENT_PUSH: u16 = 0x122;
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too few bytes.
    #[error("the frame ends inside its {0}; it has at least 10 bytes and as many as its lengths say")]
    Truncated(&'static str),
    /// Too many bytes.
    #[error("the frame has {0} bytes, more than {MAX_FRAME}")]
    TooLong(usize),
    /// The topic of an AMOP message is not UTF-8.
    #[error("the topic is not UTF-8 text")]
    Topic,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// 0 in everything that nodes and native SDKs send.
    pub version: u16,
    /// One of [`kind`].
    pub kind: u16,
    /// 0 or an error.
    pub status: i16,
    /// Matches answers with requests: 32 hex digits; empty in pushes.
    pub seq: Bytes,
    /// 0 in everything that nodes and native SDKs send.
    pub ext: u16,
    /// What the type says.
    pub payload: Bytes,
}

impl Frame {
    /// A frame with version, status and ext 0.
    pub fn new(kind: u16, seq: &str, payload: impl Into<Bytes>) -> Self {
        Self { kind, seq: Bytes::copy_from_slice(seq.as_bytes()), payload: payload.into(), ..Self::default() }
    }

    /// A frame nobody asked for: its seq is empty.
    pub fn push(kind: u16, payload: impl Into<Bytes>) -> Self {
        Self::new(kind, "", payload)
    }

    /// The answer to this JSON-RPC request: type 0, with its version, seq and ext.
    #[must_use]
    pub fn reply(&self, payload: impl Into<Bytes>) -> Self {
        Self {
            version: self.version,
            kind: kind::NONE,
            status: 0,
            seq: self.seq.clone(),
            ext: self.ext,
            payload: payload.into(),
        }
    }

    /// Reads a frame; seq and payload share its memory.
    pub fn decode(message: Bytes) -> Result<Self, FrameError> {
        if message.len() > MAX_FRAME {
            return Err(FrameError::TooLong(message.len()));
        }
        let &[v0, v1, k0, k1, s0, s1, l0, l1, ..] = &message[..] else {
            return Err(FrameError::Truncated("head"));
        };
        let seq_end = 8 + usize::from(u16::from_be_bytes([l0, l1]));
        let Some(&[e0, e1]) = message.get(seq_end..seq_end + 2) else {
            return Err(FrameError::Truncated("seq or ext"));
        };
        Ok(Self {
            version: u16::from_be_bytes([v0, v1]),
            kind: u16::from_be_bytes([k0, k1]),
            status: i16::from_be_bytes([s0, s1]),
            seq: message.slice(8..seq_end),
            ext: u16::from_be_bytes([e0, e1]),
            payload: message.slice(seq_end + 2..),
        })
    }

    /// The frame's bytes. A seq longer than 65,535 bytes, which no received frame has, is cut.
    pub fn encode(&self) -> Vec<u8> {
        let seq = &self.seq[..self.seq.len().min(usize::from(u16::MAX))];
        let mut out = Vec::with_capacity(FIXED + seq.len() + self.payload.len());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.kind.to_be_bytes());
        out.extend_from_slice(&self.status.to_be_bytes());
        out.extend_from_slice(&(seq.len() as u16).to_be_bytes());
        out.extend_from_slice(seq);
        out.extend_from_slice(&self.ext.to_be_bytes());
        out.extend_from_slice(&self.payload);
        out
    }
}

/// The payload of AMOP requests and broadcasts: version u32, length of topic u16, topic, data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AmopMessage {
    /// The sender's version.
    pub version: u32,
    /// The topic.
    pub topic: String,
    /// The message.
    pub data: Bytes,
}

impl AmopMessage {
    /// Reads a payload; the data shares its memory.
    pub fn decode(payload: &Bytes) -> Result<Self, FrameError> {
        let &[v0, v1, v2, v3, l0, l1, ..] = &payload[..] else { return Err(FrameError::Truncated("AMOP head")) };
        let end = 6 + usize::from(u16::from_be_bytes([l0, l1]));
        let topic = payload.get(6..end).ok_or(FrameError::Truncated("topic"))?;
        Ok(Self {
            version: u32::from_be_bytes([v0, v1, v2, v3]),
            topic: std::str::from_utf8(topic).map_err(|_| FrameError::Topic)?.to_owned(),
            data: payload.slice(end..),
        })
    }

    /// The payload's bytes; `None` when the topic is longer than 65,535 bytes.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let length = u16::try_from(self.topic.len()).ok()?;
        let mut out = Vec::with_capacity(6 + self.topic.len() + self.data.len());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(self.topic.as_bytes());
        out.extend_from_slice(&self.data);
        Some(out)
    }
}
