//! One block as it rests in the block files: header, transactions, receipts, and the cells it wrote. Everything else follows from it.

use alloy_primitives::{B256, Bytes};
use bcos_types::BlockHeader;

use crate::{
    ChainError,
    access::StateKey,
    keys,
    ledger::{CommittedBlock, Totals, block::Place},
    state::Layer,
};

/// The form of the records this version writes and reads.
const FORM: u8 = 2;
/// Length that stands for a deleted cell.
const DELETED: u32 = u32::MAX;

/// What one record is made of.
pub(super) struct Parts<'a> {
    pub(super) hash: B256,
    /// The header with its signatures, in Tars.
    pub(super) header: Vec<u8>,
    pub(super) totals: Totals,
    /// Hash and Tars form of each transaction.
    pub(super) transactions: Vec<(B256, &'a [u8])>,
    /// The same of each receipt.
    pub(super) receipts: Vec<(B256, &'a [u8])>,
    pub(super) cells: &'a Layer,
}

fn put_u32(out: &mut Vec<u8>, number: usize) -> Result<(), ChainError> {
    let number = u32::try_from(number).ok().filter(|number| *number != DELETED);
    let number = number.ok_or_else(|| ChainError::damaged("a block of 4 GiB or more"))?;
    out.extend_from_slice(&number.to_be_bytes());
    Ok(())
}

/// The bytes of a record.
pub(super) fn encode(parts: &Parts<'_>) -> Result<Vec<u8>, ChainError> {
    let payload: usize = parts.transactions.iter().chain(&parts.receipts).map(|(_, bytes)| bytes.len()).sum();
    let mut out = Vec::with_capacity(
        256 + parts.header.len() + payload + parts.transactions.len() * 80 + parts.cells.len() * 128,
    );
    out.push(FORM);
    out.extend_from_slice(parts.hash.as_slice());
    out.extend_from_slice(&parts.totals.transactions.to_be_bytes());
    out.extend_from_slice(&parts.totals.failed.to_be_bytes());
    put_u32(&mut out, parts.header.len())?;
    out.extend_from_slice(&parts.header);
    put_u32(&mut out, parts.transactions.len())?;
    for ((hash, transaction), (receipt_hash, receipt)) in parts.transactions.iter().zip(&parts.receipts) {
        out.extend_from_slice(hash.as_slice());
        out.extend_from_slice(receipt_hash.as_slice());
        put_u32(&mut out, transaction.len())?;
        put_u32(&mut out, receipt.len())?;
    }
    for ((_, transaction), (_, receipt)) in parts.transactions.iter().zip(&parts.receipts) {
        out.extend_from_slice(transaction);
        out.extend_from_slice(receipt);
    }
    put_u32(&mut out, parts.cells.len())?;
    for (key, value) in parts.cells.iter() {
        let key = keys::cell(key);
        put_u32(&mut out, key.len())?;
        out.extend_from_slice(&key);
        match value {
            Some(value) => {
                put_u32(&mut out, value.len())?;
                out.extend_from_slice(value);
            }
            None => out.extend_from_slice(&DELETED.to_be_bytes()),
        }
    }
    Ok(out)
}

struct Cursor {
    bytes: bytes::Bytes,
    at: usize,
}

impl Cursor {
    fn take(&mut self, length: usize) -> Option<bytes::Bytes> {
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn u32(&mut self) -> Option<usize> {
        let bytes = self.take(4)?;
        Some(u32::from_be_bytes(bytes[..].try_into().ok()?) as usize)
    }

    fn u64(&mut self) -> Option<u64> {
        keys::decode_number(&self.take(8)?)
    }

    fn hash(&mut self) -> Option<B256> {
        Some(B256::from_slice(&self.take(32)?))
    }
}

/// Reads a record, its transactions and receipts only as far as their places; the second part is where the cells begin.
pub(super) fn decode(number: u64, bytes: bytes::Bytes) -> Result<(CommittedBlock, usize), ChainError> {
    let unreadable = || ChainError::damaged(format!("block {number}"));
    let mut cursor = Cursor { bytes, at: 0 };
    let form = cursor.take(1).ok_or_else(unreadable)?[0];
    if form != FORM {
        return Err(ChainError::damaged(format!("block {number} (form {form}; this version reads form {FORM})")));
    }
    let hash = cursor.hash().ok_or_else(unreadable)?;
    let (header, totals, places) = read_places(&mut cursor).ok_or_else(unreadable)?;
    let header = BlockHeader::decode(&header)
        .map_err(|error| ChainError::damaged(format!("the header of block {number} ({error})")))?;
    let cells = cursor.at;
    Ok((CommittedBlock::stored(hash, header, totals, places, cursor.bytes), cells))
}

fn read_places(cursor: &mut Cursor) -> Option<(bytes::Bytes, Totals, Vec<Place>)> {
    let totals = Totals { transactions: cursor.u64()?, failed: cursor.u64()? };
    let header_length = cursor.u32()?;
    let header = cursor.take(header_length)?;
    let count = cursor.u32()?;
    // Every place takes 72 bytes, so a count beyond the record's end is refused before anything is reserved.
    let mut entries = Cursor { bytes: cursor.take(count.checked_mul(72)?)?, at: 0 };
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let (hash, receipt_hash) = (entries.hash()?, entries.hash()?);
        let (transaction, receipt) = (entries.u32()?, entries.u32()?);
        let start = cursor.at;
        cursor.take(transaction)?;
        cursor.take(receipt)?;
        places.push(Place {
            hash,
            receipt_hash,
            transaction: start..start + transaction,
            receipt: start + transaction..cursor.at,
        });
    }
    Some((header, totals, places))
}

/// The cells that a record's block wrote.
pub(super) fn cells(number: u64, record: &bytes::Bytes, at: usize) -> Result<Layer, ChainError> {
    let mut cursor = Cursor { bytes: record.clone(), at };
    let mut layer = Layer::default();
    let mut read = || -> Option<()> {
        let count = cursor.u32()?;
        for _ in 0..count {
            let length = cursor.u32()?;
            let key: StateKey = keys::decode_cell(&cursor.take(length)?)?;
            let length = cursor.u32()?;
            let value = if length == DELETED as usize { None } else { Some(Bytes::from(cursor.take(length)?)) };
            layer.apply(&[(key, value)]);
        }
        (cursor.at == cursor.bytes.len()).then_some(())
    };
    read().ok_or_else(|| ChainError::damaged(format!("the cells that block {number} wrote")))?;
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> bytes::Bytes {
        let mut cells = Layer::default();
        cells.apply(&[(StateKey::row("t", "a"), Some("value".into())), (StateKey::Code(B256::ZERO), None)]);
        let header = BlockHeader { number: 7, ..BlockHeader::default() };
        let parts = Parts {
            hash: B256::with_last_byte(1),
            header: header.encode(),
            totals: Totals { transactions: 9, failed: 2 },
            transactions: vec![(B256::with_last_byte(2), b"one"), (B256::with_last_byte(3), b"two")],
            receipts: vec![(B256::with_last_byte(4), b"receipt"), (B256::with_last_byte(5), b"")],
            cells: &cells,
        };
        encode(&parts).unwrap().into()
    }

    #[test]
    fn a_record_comes_back() {
        let record = record();
        let (block, at) = decode(7, record.clone()).unwrap();
        assert_eq!((block.number(), block.hash(), block.len()), (7, B256::with_last_byte(1), 2));
        assert_eq!(block.totals(), Totals { transactions: 9, failed: 2 });
        assert_eq!(block.transaction_hashes(), [2, 3].map(B256::with_last_byte));
        assert_eq!(block.receipt_hashes(), [4, 5].map(B256::with_last_byte));
        let cells = cells(7, &record, at).unwrap();
        assert_eq!(cells.len(), 2);
        assert_eq!(cells.get(&StateKey::row("t", "a")), Some(&Some("value".into())));
        assert_eq!(cells.get(&StateKey::Code(B256::ZERO)), Some(&None));
    }

    proptest! {
        #[test]
        fn a_damaged_record_is_an_error_or_another_record(at in 0_usize..400, byte: u8, cut in 0_usize..400) {
            let mut bytes = record().to_vec();
            let length = bytes.len();
            bytes[at % length] = byte;
            bytes.truncate(length - cut % length);
            let bytes = bytes::Bytes::from(bytes);
            if let Ok((block, at)) = decode(7, bytes.clone()) {
                let _ = cells(7, &bytes, at);
                for index in 0..block.len() {
                    let _ = (block.transaction(index), block.receipt(index));
                }
                prop_assert!(block.transaction(block.len()).unwrap().is_none());
            }
        }
    }
}
