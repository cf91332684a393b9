//! What nodes say to each other, and its bytes. Every length and count is checked before anything is allocated for it.

use std::sync::Arc;

use alloy_primitives::B256;
use bytes::{BufMut, Bytes, BytesMut};

/// Hashes in one message.
pub(crate) const MAX_HASHES: usize = 100_000;
/// Transactions or blocks in one message.
pub(crate) const MAX_ITEMS: usize = 100_000;

/// Why bytes from a peer are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the frame ends early")]
    Short,
    #[error("the frame has {0} bytes too many")]
    Trailing(usize),
    #[error("message kind {0} is unknown")]
    Kind(u8),
    #[error("{0} items in one message are too many")]
    Count(usize),
}

/// Where a node's chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub genesis: B256,
    pub number: u64,
    pub hash: B256,
    pub archived: u64,
    /// The sender's clock, milliseconds since 1970.
    pub time_ms: u64,
}

/// A message about one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// For the agreement.
    Consensus(Bytes),
    /// Transactions of the sender's clients, as they were encoded.
    Push(Vec<Bytes>),
    /// Transactions the sender has.
    Have(Vec<B256>),
    /// Wants transactions.
    WantTransactions { id: u64, hashes: Vec<B256> },
    /// Those of the wanted that the sender has.
    Transactions { id: u64, items: Vec<Bytes> },
    /// Sent when it changes and every few seconds.
    Standing(Standing),
    /// Wants blocks.
    WantBlocks { id: u64, from: u64, count: u32 },
    /// The blocks from the wanted number on, as many as fit.
    Blocks { id: u64, items: Vec<Bytes> },
    /// AMOP, about no group: the topics clients of the sender listen to.
    Topics(Vec<Bytes>),
    /// AMOP: for one listener.
    AmopRequest { id: u64, payload: Bytes },
    /// AMOP: the listener's answer, or why there is none.
    AmopAnswer { id: u64, status: i16, payload: Bytes },
    /// AMOP: for all listeners.
    AmopBroadcast(Bytes),
}

/// The place of messages about no group.
pub(crate) const NO_GROUP: u8 = u8::MAX;

impl Message {
    /// Whether it may overtake bulk data on the connection.
    pub(crate) fn is_urgent(&self) -> bool {
        matches!(self, Self::Consensus(_) | Self::Standing(_))
    }

    /// The frame without its length; `group` is the place of the group in the sender's own list.
    pub(crate) fn encode(&self, group: u8) -> Bytes {
        let mut out = BytesMut::with_capacity(self.size() + 2);
        let kind = match self {
            Self::Consensus(_) => 1,
            Self::Push(_) => 2,
            Self::Have(_) => 3,
            Self::WantTransactions { .. } => 4,
            Self::Transactions { .. } => 5,
            Self::Standing(_) => 6,
            Self::WantBlocks { .. } => 7,
            Self::Blocks { .. } => 8,
            Self::Topics(_) => 9,
            Self::AmopRequest { .. } => 10,
            Self::AmopAnswer { .. } => 11,
            Self::AmopBroadcast(_) => 12,
        };
        out.put_u8(kind);
        out.put_u8(group);
        match self {
            Self::Consensus(bytes) | Self::AmopBroadcast(bytes) => out.put_slice(bytes),
            Self::Push(items) | Self::Topics(items) => put_items(&mut out, items),
            Self::AmopRequest { id, payload } => {
                out.put_u64(*id);
                out.put_slice(payload);
            }
            Self::AmopAnswer { id, status, payload } => {
                out.put_u64(*id);
                out.put_i16(*status);
                out.put_slice(payload);
            }
            Self::Have(hashes) => put_hashes(&mut out, hashes),
            Self::WantTransactions { id, hashes } => {
                out.put_u64(*id);
                put_hashes(&mut out, hashes);
            }
            Self::Transactions { id, items } | Self::Blocks { id, items } => {
                out.put_u64(*id);
                put_items(&mut out, items);
            }
            Self::Standing(standing) => {
                out.put_slice(standing.genesis.as_slice());
                out.put_u64(standing.number);
                out.put_slice(standing.hash.as_slice());
                out.put_u64(standing.archived);
                out.put_u64(standing.time_ms);
            }
            Self::WantBlocks { id, from, count } => {
                out.put_u64(*id);
                out.put_u64(*from);
                out.put_u32(*count);
            }
        }
        out.freeze()
    }

    fn size(&self) -> usize {
        let items = |items: &[Bytes]| items.iter().map(|item| item.len() + 4).sum::<usize>() + 16;
        match self {
            Self::Consensus(bytes)
            | Self::AmopBroadcast(bytes)
            | Self::AmopRequest { payload: bytes, .. }
            | Self::AmopAnswer { payload: bytes, .. } => bytes.len() + 16,
            Self::Push(list)
            | Self::Topics(list)
            | Self::Transactions { items: list, .. }
            | Self::Blocks { items: list, .. } => items(list),
            Self::Have(hashes) | Self::WantTransactions { hashes, .. } => hashes.len() * 32 + 16,
            Self::Standing(_) | Self::WantBlocks { .. } => 96,
        }
    }

    /// Reads a frame; the first value is the place of the group in the sender's list.
    pub(crate) fn decode(frame: Bytes) -> Result<(u8, Self), FrameError> {
        let mut reader = Reader(frame);
        let (kind, group) = (reader.u8()?, reader.u8()?);
        let message = match kind {
            1 => Self::Consensus(reader.rest()),
            2 => Self::Push(reader.items()?),
            3 => Self::Have(reader.hashes()?),
            4 => Self::WantTransactions { id: reader.u64()?, hashes: reader.hashes()? },
            5 => Self::Transactions { id: reader.u64()?, items: reader.items()? },
            6 => Self::Standing(Standing {
                genesis: reader.hash()?,
                number: reader.u64()?,
                hash: reader.hash()?,
                archived: reader.u64()?,
                time_ms: reader.u64()?,
            }),
            7 => Self::WantBlocks { id: reader.u64()?, from: reader.u64()?, count: reader.u32()? },
            8 => Self::Blocks { id: reader.u64()?, items: reader.items()? },
            9 => Self::Topics(reader.items()?),
            10 => Self::AmopRequest { id: reader.u64()?, payload: reader.rest() },
            11 => Self::AmopAnswer { id: reader.u64()?, status: reader.u16()?.cast_signed(), payload: reader.rest() },
            12 => Self::AmopBroadcast(reader.rest()),
            other => return Err(FrameError::Kind(other)),
        };
        reader.end()?;
        Ok((group, message))
    }
}

fn put_items(out: &mut BytesMut, items: &[Bytes]) {
    out.put_u32(items.len() as u32);
    for item in items {
        out.put_u32(item.len() as u32);
        out.put_slice(item);
    }
}

fn put_hashes(out: &mut BytesMut, hashes: &[B256]) {
    out.put_u32(hashes.len() as u32);
    for hash in hashes {
        out.put_slice(hash.as_slice());
    }
}

/// Takes values from the front of a frame without copying.
pub(crate) struct Reader(pub Bytes);

impl Reader {
    pub(crate) fn bytes(&mut self, count: usize) -> Result<Bytes, FrameError> {
        if self.0.len() < count { Err(FrameError::Short) } else { Ok(self.0.split_to(count)) }
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let bytes = self.bytes(N)?;
        bytes.as_ref().try_into().map_err(|_| FrameError::Short)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn hash(&mut self) -> Result<B256, FrameError> {
        self.array().map(B256::new)
    }

    fn hashes(&mut self) -> Result<Vec<B256>, FrameError> {
        let count = self.u32()? as usize;
        if count > MAX_HASHES {
            return Err(FrameError::Count(count));
        }
        let bytes = self.bytes(count * 32)?;
        Ok(bytes.chunks_exact(32).map(B256::from_slice).collect())
    }

    fn items(&mut self) -> Result<Vec<Bytes>, FrameError> {
        let count = self.u32()? as usize;
        // Four bytes of length stand before each.
        if count > MAX_ITEMS || count * 4 > self.0.len() {
            return Err(FrameError::Count(count));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let length = self.u32()? as usize;
            items.push(self.bytes(length)?);
        }
        Ok(items)
    }

    pub(crate) fn text(&mut self) -> Result<Arc<str>, FrameError> {
        let length = self.u16()? as usize;
        let bytes = self.bytes(length)?;
        std::str::from_utf8(&bytes).map(Arc::from).map_err(|_| FrameError::Short)
    }

    pub(crate) fn end(&self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Message> {
        let hash = B256::repeat_byte(7);
        let items = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        vec![
            Message::Consensus(Bytes::from_static(b"vote")),
            Message::Push(items.clone()),
            Message::Have(vec![hash, B256::ZERO]),
            Message::WantTransactions { id: 9, hashes: vec![hash] },
            Message::Transactions { id: 9, items: items.clone() },
            Message::Standing(Standing { genesis: hash, number: 5, hash, archived: 1, time_ms: 77 }),
            Message::WantBlocks { id: 3, from: 4, count: 5 },
            Message::Blocks { id: 3, items: items.clone() },
            Message::Topics(items),
            Message::AmopRequest { id: 5, payload: Bytes::from_static(b"ask") },
            Message::AmopAnswer { id: 5, status: -4008, payload: Bytes::from_static(b"late") },
            Message::AmopBroadcast(Bytes::from_static(b"news")),
        ]
    }

    #[test]
    fn messages_come_back() {
        for message in all() {
            assert_eq!(Message::decode(message.encode(3)), Ok((3, message)));
        }
    }

    #[test]
    fn cut_and_padded_frames_are_refused() {
        for message in all() {
            let frame = message.encode(0);
            // Their payload is whatever is left.
            if matches!(
                message,
                Message::Consensus(_)
                    | Message::AmopRequest { .. }
                    | Message::AmopAnswer { .. }
                    | Message::AmopBroadcast(_)
            ) {
                continue;
            }
            for length in 0..frame.len() {
                assert!(Message::decode(frame.slice(..length)).is_err(), "{message:?} cut to {length}");
            }
            let mut longer = frame.to_vec();
            longer.push(0);
            assert_eq!(Message::decode(longer.into()), Err(FrameError::Trailing(1)));
        }
    }

    #[test]
    fn a_count_is_not_believed() {
        let lie = Bytes::from_static(&[2, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Message::decode(lie), Err(FrameError::Count(0xffff_ffff)));
        let lie = Bytes::from_static(&[3, 0, 0, 0, 0xff, 0xff]);
        assert_eq!(Message::decode(lie), Err(FrameError::Short));
        assert_eq!(Message::decode(Bytes::from_static(&[99, 0])), Err(FrameError::Kind(99)));
    }
}
