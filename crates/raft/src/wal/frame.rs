//! Frames: how one write is told from the next, and a torn one from a damaged one.

use bytes::Bytes;

const MAGIC: u32 = 0x4B57_414C;
/// Bytes before a frame's payload.
pub const FRAME_HEADER: usize = 20;
/// The largest payload of one frame, in bytes.
pub const MAX_PAYLOAD: usize = 512 * 1024 * 1024;

/// Leaves room for the header.
pub(super) fn begin(buffer: &mut Vec<u8>) {
    buffer.resize(FRAME_HEADER, 0);
}

/// Fills the header in.
pub(super) fn finish(buffer: &mut [u8], durable: u64) {
    let length = (buffer.len() - FRAME_HEADER) as u32;
    buffer[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    buffer[4..8].copy_from_slice(&length.to_le_bytes());
    buffer[8..16].copy_from_slice(&durable.to_le_bytes());
    let crc = checksum(&buffer[4..16], &buffer[FRAME_HEADER..]);
    buffer[16..20].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(payload);
    hasher.finalize()
}

/// The good part of a file.
#[derive(Debug, Default)]
pub struct Scanned {
    /// Payloads of the frames, in order.
    pub payloads: Vec<Bytes>,
    /// Where each frame begins.
    pub offsets: Vec<u64>,
    /// Length of the good part.
    pub valid_length: u64,
}

fn frame_at(bytes: &Bytes, offset: usize) -> Option<(u64, Bytes)> {
    let header = bytes.get(offset..offset + FRAME_HEADER)?;
    let word = |at: usize| header[at..at + 4].iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
    let length = word(4) as usize;
    if word(0) != MAGIC || length > MAX_PAYLOAD {
        return None;
    }
    let start = offset + FRAME_HEADER;
    let payload = bytes.get(start..start.checked_add(length)?)?;
    if checksum(&header[4..16], payload) != word(16) {
        return None;
    }
    let durable = u64::from(word(12)) << 32 | u64::from(word(8));
    Some((durable, bytes.slice(start..start + length)))
}

/// Reads frames until the first bad one; refuses when a frame behind it says it was durable.
pub fn scan(bytes: &Bytes) -> Result<Scanned, (u64, &'static str)> {
    let mut scanned = Scanned::default();
    let mut offset = 0;
    while let Some((_, payload)) = frame_at(bytes, offset) {
        scanned.offsets.push(offset as u64);
        offset += FRAME_HEADER + payload.len();
        scanned.payloads.push(payload);
    }
    scanned.valid_length = offset as u64;
    let magic = MAGIC.to_le_bytes();
    let mut at = offset + 1;
    while at + FRAME_HEADER <= bytes.len() {
        let Some(found) = bytes[at..].windows(4).position(|w| w == magic) else { break };
        at += found;
        if let Some((durable, _)) = frame_at(bytes, at)
            && durable > offset as u64
        {
            return Err((offset as u64, "a frame that was durable does not match its checksum"));
        }
        at += 1;
    }
    Ok(scanned)
}
