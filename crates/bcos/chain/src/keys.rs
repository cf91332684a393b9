//! How the ledger's rows are named in the store and in the state root.

use alloy_primitives::{B256, Bytes, hex};
use konsort_store::Space;

use crate::access::StateKey;

/// Newest value of every cell.
pub(crate) const STATE: Space = Space(0);
/// Every value a cell ever had, by cell and block, newest first.
pub(crate) const HISTORY: Space = Space(1);
/// Blocks by hash, transactions by hash, nonces and hashes by block.
pub(crate) const INDEX: Space = Space(2);
/// Names of the spaces.
pub(crate) const SPACES: [&str; 3] = ["state", "history", "index"];
/// In each space: how many blocks it holds. Sorts behind all other keys.
pub(crate) const SAVEPOINT: &[u8] = &[0xff];

const ACCOUNT: u8 = 0;
const SLOT: u8 = 1;
const CODE: u8 = 2;
const ABI: u8 = 3;
const ROW: u8 = 4;

const END: [u8; 2] = [0, 0];
const ESCAPED_ZERO: [u8; 2] = [0, 0xff];

/// Keeps the order of what it writes, and no text is the beginning of another.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if *byte == 0 {
            out.extend_from_slice(&ESCAPED_ZERO);
        } else {
            out.push(*byte);
        }
    }
}

fn unescape(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte == 0 && *rest.next()? != ESCAPED_ZERO[1] {
            return None;
        }
        out.push(*byte);
    }
    Some(out)
}

/// The key of a cell in [`STATE`]. No cell's key is the beginning of another's.
pub(crate) fn cell(key: &StateKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    match key {
        StateKey::Account(address) => {
            out.push(ACCOUNT);
            out.extend_from_slice(address.as_slice());
        }
        StateKey::Slot(address, slot) => {
            // The slot first: the slots of one contract's mappings differ in their first bytes, and the store's memory compares
            // those without following a pointer.
            out.push(SLOT);
            out.extend_from_slice(slot.as_slice());
            out.extend_from_slice(address.as_slice());
        }
        StateKey::Code(hash) => {
            out.push(CODE);
            out.extend_from_slice(hash.as_slice());
        }
        StateKey::Abi(hash) => {
            out.push(ABI);
            out.extend_from_slice(hash.as_slice());
        }
        StateKey::Row { table, key } => {
            out = rows(table);
            escape(&mut out, key);
            out.extend_from_slice(&END);
        }
    }
    out
}

/// The beginning of the keys of all rows of a table.
pub(crate) fn rows(table: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(table.len() + 32);
    out.push(ROW);
    escape(&mut out, table.as_bytes());
    out.extend_from_slice(&END);
    out
}

/// The first key of a table's rows that is not below `from`.
pub(crate) fn rows_from(table: &str, from: &[u8]) -> Vec<u8> {
    let mut out = rows(table);
    escape(&mut out, from);
    out
}

/// The row key inside a cell key that begins with `prefix`, the beginning of its table's keys.
pub(crate) fn row_key(prefix: &[u8], cell: &[u8]) -> Option<Bytes> {
    let escaped = cell.strip_prefix(prefix)?.strip_suffix(&END)?;
    unescape(escaped).map(Bytes::from)
}

/// Reads a cell key back.
pub(crate) fn decode_cell(bytes: &[u8]) -> Option<StateKey> {
    let (tag, rest) = bytes.split_first()?;
    Some(match (*tag, rest.len()) {
        (ACCOUNT, 20) => StateKey::Account(rest.try_into().ok()?),
        (SLOT, 52) => StateKey::Slot(rest[32..].try_into().ok()?, B256::from_slice(&rest[..32])),
        (CODE, 32) => StateKey::Code(B256::from_slice(rest)),
        (ABI, 32) => StateKey::Abi(B256::from_slice(rest)),
        (ROW, _) => {
            // A pair of zeros only ends a text: inside it every zero is followed by 0xff.
            let mut at = 0;
            while rest.get(at..at + 2)? != END {
                at += if rest[at] == 0 { 2 } else { 1 };
            }
            let table = String::from_utf8(unescape(&rest[..at])?).ok()?;
            let key = unescape(rest[at + 2..].strip_suffix(&END)?)?;
            StateKey::row(table, key)
        }
        _ => return None,
    })
}

/// The key in [`HISTORY`] of the value a cell was given in a block; newer blocks sort first.
pub(crate) fn version(cell: &[u8], block: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(cell.len() + 8);
    out.extend_from_slice(cell);
    out.extend_from_slice(&(!block).to_be_bytes());
    out
}

/// Splits a key of [`HISTORY`].
pub(crate) fn split_version(key: &[u8]) -> Option<(&[u8], u64)> {
    let (cell, block) = key.split_last_chunk::<8>()?;
    Some((cell, !u64::from_be_bytes(*block)))
}

/// A value of [`HISTORY`]: one byte more than the cell's, so that "deleted" has a form.
pub(crate) fn encode_version(value: Option<&[u8]>) -> Vec<u8> {
    value.map_or_else(|| vec![0], |value| [&[1], value].concat())
}

/// Reads a value of [`HISTORY`].
#[expect(clippy::option_option, reason = "the inner one is the cell's value: none when it is deleted")]
pub(crate) fn decode_version(value: &bytes::Bytes) -> Option<Option<Bytes>> {
    match value.first()? {
        0 => Some(None),
        1 => Some(Some(Bytes::from(value.slice(1..)))),
        _ => None,
    }
}

/// Number of the block with a hash.
pub(crate) fn block_hash(hash: &B256) -> Vec<u8> {
    [b"b", hash.as_slice()].concat()
}

/// Hash of the block with a number.
pub(crate) fn block_number(number: u64) -> Vec<u8> {
    [&b"h"[..], &number.to_be_bytes()].concat()
}

/// Place of a transaction.
pub(crate) fn transaction(hash: &B256) -> Vec<u8> {
    [b"t", hash.as_slice()].concat()
}

/// Nonces of a block's transactions.
pub(crate) fn nonces(number: u64) -> Vec<u8> {
    [&b"n"[..], &number.to_be_bytes()].concat()
}

/// A place: block number and index.
pub(crate) fn encode_place(number: u64, index: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &index.to_be_bytes()].concat()
}

/// Reads a place.
pub(crate) fn decode_place(bytes: &[u8]) -> Option<(u64, u32)> {
    let (number, index) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), u32::from_be_bytes(index.try_into().ok()?)))
}

/// Reads a number.
pub(crate) fn decode_number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Table and key under which a cell enters the state root.
pub(crate) fn root_name(key: &StateKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    match key {
        StateKey::Account(address) => {
            out.extend_from_slice(b"/apps/");
            out.extend_from_slice(hex::encode(address).as_bytes());
            out.extend_from_slice(b"account");
        }
        StateKey::Slot(address, slot) => {
            out.extend_from_slice(b"/apps/");
            out.extend_from_slice(hex::encode(address).as_bytes());
            out.extend_from_slice(slot.as_slice());
        }
        StateKey::Code(hash) => {
            out.extend_from_slice(b"s_code_binary");
            out.extend_from_slice(hash.as_slice());
        }
        StateKey::Abi(hash) => {
            out.extend_from_slice(b"s_contract_abi");
            out.extend_from_slice(hash.as_slice());
        }
        StateKey::Row { table, key } => {
            out.extend_from_slice(table.as_bytes());
            out.extend_from_slice(key);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;
    use proptest::prelude::*;

    use super::*;

    fn any_key() -> impl Strategy<Value = StateKey> {
        let byte = prop_oneof![Just(0u8), Just(1), Just(0xfe), Just(0xff), any::<u8>()];
        prop_oneof![
            any::<[u8; 20]>().prop_map(|bytes| StateKey::Account(Address::from(bytes))),
            (any::<[u8; 20]>(), any::<[u8; 32]>()).prop_map(|(of, slot)| StateKey::Slot(of.into(), slot.into())),
            any::<[u8; 32]>().prop_map(|hash| StateKey::Code(hash.into())),
            any::<[u8; 32]>().prop_map(|hash| StateKey::Abi(hash.into())),
            ("[\0ab/]{0,3}", prop::collection::vec(byte, 0..6)).prop_map(|(table, key)| StateKey::row(table, key)),
        ]
    }

    proptest! {
        #[test]
        fn cells_come_back_keep_their_order_and_none_begins_another(a in any_key(), b in any_key()) {
            let (x, y) = (cell(&a), cell(&b));
            prop_assert_eq!(decode_cell(&x), Some(a.clone()));
            prop_assert_eq!(a == b, x.starts_with(&y) || y.starts_with(&x));
            prop_assert!(x.as_slice() < SAVEPOINT);
            if let (StateKey::Row { table, key }, StateKey::Row { table: other, key: from }) = (&a, &b) && table == other {
                prop_assert_eq!(key.cmp(from), x.cmp(&y));
                prop_assert_eq!(key >= from, x >= rows_from(table, from));
                prop_assert_eq!(row_key(&rows(table), &x), Some(key.clone()));
            }
        }
    }

    #[test]
    fn newer_versions_come_first() {
        let cell = cell(&StateKey::row("t", "k"));
        assert!(version(&cell, 9) < version(&cell, 8));
        assert_eq!(split_version(&version(&cell, 9)), Some((&cell[..], 9)));
        for value in [None, Some(&b""[..]), Some(b"x")] {
            let read = decode_version(&encode_version(value).into()).unwrap();
            assert_eq!(read.as_ref().map(|read| &read[..]), value);
        }
    }
}
