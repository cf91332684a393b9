//! How rows are laid out in the key-value store.
//!
//! Names are length-prefixed, so that no name can reach into another's rows whatever bytes it holds.

use bytes::{Buf as _, Bytes};
use konsort_store::Space;

use crate::{Height, LedgerError, UpdateValue, VersionedValue};

/// Transaction ids and block hashes.
pub(crate) const INDEX: Space = Space(0);
/// World state, hashed rows, expiry schedule.
pub(crate) const STATE: Space = Space(1);
/// Which transactions changed a key.
pub(crate) const HISTORY: Space = Space(2);
/// Names of the spaces, in their order.
pub(crate) const SPACES: [&str; 3] = ["index", "state", "history"];

/// In each space: the number of blocks it reflects.
pub(crate) const SAVEPOINT: &[u8] = b"s";
/// In the index: the channel's name.
pub(crate) const CHANNEL: &[u8] = b"c";

fn named(kind: u8, names: &[&str], rest: &[u8]) -> Vec<u8> {
    let length: usize = names.iter().map(|name| name.len() + 4).sum();
    let mut key = Vec::with_capacity(1 + length + rest.len());
    key.push(kind);
    for name in names {
        key.extend_from_slice(&(name.len() as u32).to_be_bytes());
        key.extend_from_slice(name.as_bytes());
    }
    key.extend_from_slice(rest);
    key
}

/// Row of a public key.
pub(crate) fn public(namespace: &str, key: &str) -> Vec<u8> {
    named(b'p', &[namespace], key.as_bytes())
}

/// Row of a hashed private key.
pub(crate) fn hashed(namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    named(b'h', &[namespace, collection], key_hash)
}

/// First key of the schedule of what expires with block `expiry`.
pub(crate) fn expiry_prefix(expiry: u64) -> Vec<u8> {
    let mut key = vec![b'e'];
    key.extend_from_slice(&expiry.to_be_bytes());
    key
}

/// A hashed row written by block `written` that expires with block `expiry`.
pub(crate) fn expiry(expiry: u64, written: u64, namespace: &str, collection: &str, key_hash: &[u8]) -> Vec<u8> {
    let mut key = expiry_prefix(expiry);
    key.extend_from_slice(&written.to_be_bytes());
    key.extend_from_slice(&named(b' ', &[namespace, collection], key_hash)[1..]);
    key
}

/// Takes a length-prefixed name off the front.
fn name(rest: &mut Bytes) -> Option<String> {
    let length = rest.try_get_u32().ok()? as usize;
    let bytes = (length <= rest.len()).then(|| rest.split_to(length))?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// Takes the names off a state key and leaves the key itself.
pub(crate) fn split(key: &mut Bytes, is_hashed: bool) -> Option<(String, Option<String>)> {
    key.try_get_u8().ok()?;
    let namespace = name(key)?;
    let collection = if is_hashed { Some(name(key)?) } else { None };
    Some((namespace, collection))
}

/// The parts of an expiry key: the writing block, namespace, collection, key hash.
pub(crate) fn parse_expiry(key: &Bytes) -> Option<(u64, String, String, Bytes)> {
    let mut rest = key.clone();
    rest.try_get_u8().ok()?;
    rest.try_get_u64().ok()?;
    let written = rest.try_get_u64().ok()?;
    let (namespace, collection) = (name(&mut rest)?, name(&mut rest)?);
    Some((written, namespace, collection, rest))
}

/// First key of the history of a key.
pub(crate) fn history_prefix(namespace: &str, key: &str) -> Vec<u8> {
    named(b'k', &[namespace, key], &[])
}

/// One change in the history of a key; newer ones sort first.
pub(crate) fn history(namespace: &str, key: &str, height: Height) -> Vec<u8> {
    let mut out = history_prefix(namespace, key);
    out.extend_from_slice(&(!height.block).to_be_bytes());
    out.extend_from_slice(&(!(height.tx as u32)).to_be_bytes());
    out
}

/// The transaction of a history key.
pub(crate) fn parse_history(key: &[u8], prefix: usize) -> Option<Height> {
    let mut rest = key.get(prefix..)?;
    let block = !rest.try_get_u64().ok()?;
    let tx = !rest.try_get_u32().ok()?;
    Some(Height::new(block, u64::from(tx)))
}

/// Where a transaction is found by its id. The usual 64 hex digits take half the room.
pub(crate) fn txid(txid: &str) -> Vec<u8> {
    let mut raw = [0; 32];
    if hex::decode_to_slice(txid, &mut raw).is_ok() && !txid.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let mut key = Vec::with_capacity(33);
        key.push(b't');
        key.extend_from_slice(&raw);
        return key;
    }
    named(b'u', &[], txid.as_bytes())
}

/// Where a block number is found by header hash.
pub(crate) fn block_hash(hash: &[u8]) -> Vec<u8> {
    named(b'b', &[], hash)
}

/// Block, index and code of an indexed transaction.
pub(crate) fn encode_location(block: u64, index: u32, code: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    prost::encoding::encode_varint(block, &mut out);
    prost::encoding::encode_varint(u64::from(index), &mut out);
    out.push(code);
    out
}

pub(crate) fn decode_location(mut bytes: &[u8]) -> Option<(u64, u32, u8)> {
    let block = prost::encoding::decode_varint(&mut bytes).ok()?;
    let index = prost::encoding::decode_varint(&mut bytes).ok()?;
    Some((block, u32::try_from(index).ok()?, *bytes.first()?))
}

/// A state row: version, metadata, value.
pub(crate) fn encode_row(update: &UpdateValue, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + update.metadata.len() + value.len());
    prost::encoding::encode_varint(update.version.block, &mut out);
    prost::encoding::encode_varint(update.version.tx, &mut out);
    prost::encoding::encode_varint(update.metadata.len() as u64, &mut out);
    out.extend_from_slice(&update.metadata);
    out.extend_from_slice(value);
    out
}

pub(crate) fn decode_row(mut bytes: Bytes) -> Result<VersionedValue, LedgerError> {
    let damaged = || LedgerError::Corrupt { what: "state row".into() };
    let mut number = || prost::encoding::decode_varint(&mut bytes).map_err(|_| damaged());
    let version = Height::new(number()?, number()?);
    let length = number()? as usize;
    if length > bytes.len() {
        return Err(damaged());
    }
    let metadata = bytes.split_to(length);
    Ok(VersionedValue { value: bytes, metadata, version })
}

pub(crate) fn decode_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_locations_come_back() {
        let update = UpdateValue { value: None, metadata: Bytes::from("meta"), version: Height::new(300, 7) };
        let row = decode_row(Bytes::from(encode_row(&update, b"value"))).unwrap();
        assert_eq!((row.version, &row.metadata[..], &row.value[..]), (update.version, &b"meta"[..], &b"value"[..]));
        assert_eq!(decode_location(&encode_location(70_000, 499, 255)), Some((70_000, 499, 255)));
        assert!(decode_row(Bytes::from_static(&[1, 1, 200])).is_err());
    }

    #[test]
    fn expiry_and_history_keys_come_back() {
        let key = Bytes::from(expiry(9, 5, "ns", "coll", b"hash"));
        assert!(key.starts_with(&expiry_prefix(9)));
        assert_eq!(parse_expiry(&key), Some((5, "ns".into(), "coll".into(), Bytes::from("hash"))));
        let newer = history("ns", "k", Height::new(9, 1));
        assert!(newer < history("ns", "k", Height::new(9, 0)));
        assert_eq!(parse_history(&newer, history_prefix("ns", "k").len()), Some(Height::new(9, 1)));
    }

    #[test]
    fn txids_keep_apart() {
        let lower = "ab".repeat(32);
        assert_eq!(txid(&lower).len(), 33);
        assert_ne!(txid(&lower), txid(&lower.to_uppercase()));
        assert_ne!(txid("short"), txid("shorter"));
    }
}
