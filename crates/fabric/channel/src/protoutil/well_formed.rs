//! The canonical-form check of transactions: an envelope must be exactly what a conforming encoder writes.
//!
//! Upstream decodes every envelope of a block, encodes it again and compares. This module gives the same verdict without
//! encoding in the common case. Unknown fields are kept by upstream's decoder and written behind the known ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fabric_proto::common::{BlockData, Envelope};

use super::ProtoutilError;
use super::block::is_config_data;

const PAYLOAD_TAG: u64 = 0x0a;
const SIGNATURE_TAG: u64 = 0x12;
const MAX_GROUP_DEPTH: usize = 10_000;
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for index in 0..10 {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if index == 9 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn skip(&mut self, count: u64) -> Option<()> {
        let left = (self.bytes.len() - self.at) as u64;
        if count > left {
            return None;
        }
        self.at += count as usize;
        Some(())
    }

    fn tag(&mut self) -> Option<(u64, u64)> {
        let tag = self.varint()?;
        let number = tag >> 3;
        (1..=MAX_FIELD_NUMBER).contains(&number).then_some((number, tag & 7))
    }

    /// Skips one field's content; groups nest.
    fn skip_value(&mut self, number: u64, wire_type: u64) -> Option<()> {
        let mut open = Vec::new();
        let mut current = (number, wire_type);
        loop {
            match current.1 {
                0 => {
                    self.varint()?;
                }
                1 => self.skip(8)?,
                2 => {
                    let length = self.varint()?;
                    self.skip(length)?;
                }
                3 if open.len() < MAX_GROUP_DEPTH => open.push(current.0),
                4 if open.pop() == Some(current.0) => {}
                5 => self.skip(4)?,
                _ => return None,
            }
            if open.is_empty() {
                return Some(());
            }
            current = self.tag()?;
        }
    }
}

struct Scan {
    payload: Option<(usize, usize)>,
    signature: Option<(usize, usize)>,
    unknown: Vec<(usize, usize)>,
}

fn scan(bytes: &[u8]) -> Option<Scan> {
    let mut reader = Reader { bytes, at: 0 };
    let mut found = Scan { payload: None, signature: None, unknown: Vec::new() };
    while reader.at < bytes.len() {
        let start = reader.at;
        let (number, wire_type) = reader.tag()?;
        if let tag @ (PAYLOAD_TAG | SIGNATURE_TAG) = (number << 3) | wire_type {
            let length = reader.varint()?;
            let from = reader.at;
            reader.skip(length)?;
            let slot = if tag == PAYLOAD_TAG { &mut found.payload } else { &mut found.signature };
            *slot = Some((from, reader.at));
        } else {
            reader.skip_value(number, wire_type)?;
            found.unknown.push((start, reader.at));
        }
    }
    Some(found)
}

fn varint_length(value: usize) -> usize {
    prost::encoding::encoded_len_varint(value as u64)
}

fn canonical(payload: &[u8], signature: &[u8], raw: &[u8], unknown: &[(usize, usize)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for (tag, content) in [(PAYLOAD_TAG, payload), (SIGNATURE_TAG, signature)] {
        out.push(tag as u8);
        prost::encoding::encode_varint(content.len() as u64, &mut out);
        out.extend_from_slice(content);
    }
    for (from, to) in unknown {
        out.extend_from_slice(&raw[*from..*to]);
    }
    out
}

/// Decodes a transaction of a block and refuses every other form than the canonical one; `index` is for the error's text.
/// The envelope's fields share the memory of `raw`.
pub fn well_formed_envelope(index: usize, raw: &Bytes) -> Result<Envelope, ProtoutilError> {
    let ill = |text: String| ProtoutilError::IllFormed(format!("transaction {index} {text}"));
    let found = scan(raw).ok_or_else(|| ill("is invalid: proto: cannot parse invalid wire-format data".into()))?;
    let (from, to) = found.payload.filter(|(from, to)| from < to).ok_or_else(|| ill("has no payload".into()))?;
    let payload = raw.slice(from..to);
    let (from, to) = found.signature.filter(|(from, to)| from < to).ok_or_else(|| ill("has no signature".into()))?;
    let signature = raw.slice(from..to);
    // Canonical already: minimal lengths, payload first, signature next, and nothing else.
    let minimal = 2 + varint_length(payload.len()) + payload.len() + varint_length(signature.len()) + signature.len();
    if found.unknown.is_empty() && minimal == raw.len() && raw.first() == Some(&(PAYLOAD_TAG as u8)) {
        return Ok(Envelope { payload, signature });
    }
    let expected = canonical(&payload, &signature, raw, &found.unknown);
    if expected.len() < raw.len() {
        return Err(ill(format!("has {} trailing bytes", raw.len() - expected.len())));
    }
    if expected != raw.as_ref() {
        let (expected, raw) = (STANDARD.encode(&expected), STANDARD.encode(raw));
        return Err(ill(format!("({expected}) does not match its raw form ({raw})")));
    }
    Ok(Envelope { payload, signature })
}

/// The check that a node makes of a whole block before it looks inside; configuration blocks are exempt, as upstream.
pub fn check_block_data(data: &BlockData) -> Result<(), ProtoutilError> {
    if data.data.is_empty() {
        return Err(ProtoutilError::IllFormed("empty block".into()));
    }
    if is_config_data(data) {
        return Ok(());
    }
    for (index, raw) in data.data.iter().enumerate() {
        well_formed_envelope(index, raw)?;
    }
    Ok(())
}
