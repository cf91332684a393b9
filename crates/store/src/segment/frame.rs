//! One framed record.

/// Marks the beginning of a frame, so that intact frames can be found behind a damaged one.
pub(super) const MAGIC: [u8; 4] = *b"KSg1";

/// Magic, length, number, durable offset, checksum.
pub(super) const HEADER_BYTES: usize = 4 + 4 + 8 + 8 + 4;

/// What stands before a record's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the record.
    pub(super) length: u32,
    /// Number of the record.
    pub(super) number: u64,
    /// Offset before which the file was durable when this frame was written.
    pub(super) durable: u64,
}

impl Header {
    /// The header bytes for a record given in parts.
    pub(super) fn encode(&self, parts: &[&[u8]]) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        out[16..24].copy_from_slice(&self.durable.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&out[4..24]);
        for part in parts {
            crc.update(part);
        }
        out[24..].copy_from_slice(&crc.finalize().to_le_bytes());
        out
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The header at the beginning of `bytes`, unchecked against the record; `None` when it is no header.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    if array::<4>(bytes, 0)? != MAGIC {
        return None;
    }
    Some(Header {
        length: u32::from_le_bytes(array(bytes, 4)?),
        number: u64::from_le_bytes(array(bytes, 8)?),
        durable: u64::from_le_bytes(array(bytes, 16)?),
    })
}

/// The frame at the beginning of `bytes`, if it is whole and its checksum holds.
pub(super) fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let found = header(bytes)?;
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(found.length as usize)?)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[4..24]);
    crc.update(payload);
    (crc.finalize() == u32::from_le_bytes(array(bytes, 24)?)).then_some((found, payload))
}
