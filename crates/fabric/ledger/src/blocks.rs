//! Blocks in append-only files, with indexes by hash and transaction id.

use std::{collections::VecDeque, path::Path, sync::Arc};

use bytes::Bytes;
use fabric_proto::common::Block;
use konsort_store::{LogOptions, SegmentLog, Store};
use parking_lot::Mutex;
use prost::Message as _;

use crate::{LedgerError, decode, keys};

/// Blocks kept in memory for those who follow the chain.
const RECENT_BLOCKS: usize = 16;
/// And their size at most, bytes.
const RECENT_BYTES: usize = 32 << 20;

/// A transaction found by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionLocation {
    /// The envelope as it stands in the block.
    pub envelope: Bytes,
    /// Its validation code.
    pub code: u8,
    /// Number of its block.
    pub block: u64,
    /// Index in the block.
    pub index: u32,
}

/// The blocks of one channel; clones share the files.
///
/// An orderer opens one by itself (then there is no index by hash or transaction id); a peer's is part of its [`crate::Ledger`].
#[derive(Debug, Clone)]
pub struct BlockStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    log: SegmentLog,
    index: Option<Arc<dyn Store>>,
    tip: Mutex<Tip>,
}

#[derive(Debug, Default)]
struct Tip {
    hash: Bytes,
    previous: Bytes,
    recent: VecDeque<(u64, Bytes)>,
    recent_bytes: usize,
}

impl BlockStore {
    /// Opens or creates the block store in `folder`, cutting a torn tail.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, LedgerError> {
        Self::over(SegmentLog::open(folder, LogOptions::default())?, None)
    }

    /// The block store over any log and, if given, index.
    pub(crate) fn over(log: SegmentLog, index: Option<Arc<dyn Store>>) -> Result<Self, LedgerError> {
        if let Some(torn) = log.torn_tail() {
            tracing::warn!(file = %torn.path.display(), offset = torn.offset, bytes = torn.bytes, "cut a half-written block");
        }
        let store = Self { shared: Arc::new(Shared { log, index, tip: Mutex::default() }) };
        if let Some(last) = store.height().checked_sub(1)
            && let Some(bytes) = store.shared.log.get(last)?
        {
            let block = decode::block(&bytes)?;
            let header = decode::header(&block)?;
            let mut tip = store.shared.tip.lock();
            tip.hash = decode::header_hash(header);
            tip.previous = header.previous_hash.clone();
        }
        Ok(store)
    }

    /// Writes the next block; durable after [`BlockStore::sync`]. The number and the link to the previous block are checked.
    pub fn append(&self, block: &Block) -> Result<(), LedgerError> {
        let header = decode::header(block)?;
        self.check_follows(header.number, &header.previous_hash)?;
        self.append_encoded(block, decode::header_hash(header), Bytes::from(block.encode_to_vec()))
    }

    fn check_follows(&self, number: u64, previous: &[u8]) -> Result<(), LedgerError> {
        let channel = || self.shared.log.path().display().to_string();
        let expected = self.height();
        if number != expected {
            return Err(LedgerError::WrongNumber { channel: channel(), number, expected });
        }
        let last = self.last_hash();
        if !last.is_empty() && last != previous {
            let (got, want) = (hex::encode(previous), hex::encode(&last));
            return Err(LedgerError::WrongPrevious { channel: channel(), number, got, want });
        }
        Ok(())
    }

    /// Writes a block that is known to follow.
    pub(crate) fn append_encoded(&self, block: &Block, hash: Bytes, bytes: Bytes) -> Result<(), LedgerError> {
        let header = decode::header(block)?;
        self.shared.log.append(&[&bytes])?;
        let mut tip = self.shared.tip.lock();
        tip.hash = hash;
        tip.previous = header.previous_hash.clone();
        tip.recent_bytes += bytes.len();
        tip.recent.push_back((header.number, bytes));
        while tip.recent.len() > RECENT_BLOCKS || tip.recent_bytes > RECENT_BYTES {
            let Some((_, dropped)) = tip.recent.pop_front() else { break };
            tip.recent_bytes -= dropped.len();
        }
        Ok(())
    }

    /// Makes everything appended durable with one sync.
    pub fn sync(&self) -> Result<(), LedgerError> {
        Ok(self.shared.log.sync()?)
    }

    /// Number of the next block; 0 when empty. Counts blocks that are appended but not yet synced.
    pub fn height(&self) -> u64 {
        self.shared.log.next()
    }

    /// Number of the first block kept here.
    pub fn first(&self) -> u64 {
        self.shared.log.first()
    }

    /// Header hash of the last block; empty when there is none.
    pub fn last_hash(&self) -> Bytes {
        self.shared.tip.lock().hash.clone()
    }

    /// Previous hash in the last block's header.
    pub(crate) fn last_previous_hash(&self) -> Bytes {
        self.shared.tip.lock().previous.clone()
    }

    /// The serialized `common.Block` with this number, as stored; `None` beyond the end.
    pub fn block(&self, number: u64) -> Result<Option<Bytes>, LedgerError> {
        let recent = {
            let tip = self.shared.tip.lock();
            tip.recent.iter().rev().find(|(of, _)| *of == number).map(|(_, bytes)| bytes.clone())
        };
        match recent {
            Some(bytes) => Ok(Some(bytes)),
            None => Ok(self.shared.log.get(number)?),
        }
    }

    /// The serialized block with this header hash.
    pub fn block_by_hash(&self, hash: &[u8]) -> Result<Option<Bytes>, LedgerError> {
        let Some(found) = self.index()?.get(keys::INDEX, &keys::block_hash(hash))? else { return Ok(None) };
        let number = keys::decode_number(&found).ok_or_else(|| damaged("block hash index"))?;
        self.block(number)
    }

    /// The serialized block that holds the first transaction with this id.
    pub fn block_by_txid(&self, txid: &str) -> Result<Option<Bytes>, LedgerError> {
        match self.location(txid)? {
            Some((block, _, _)) => self.block(block),
            None => Ok(None),
        }
    }

    /// The first transaction with this id.
    pub fn transaction(&self, txid: &str) -> Result<Option<TransactionLocation>, LedgerError> {
        let Some((number, index, code)) = self.location(txid)? else { return Ok(None) };
        let Some(bytes) = self.block(number)? else { return Ok(None) };
        let envelope = decode::block(&bytes)?.data.and_then(|data| data.data.into_iter().nth(index as usize));
        let envelope = envelope.ok_or_else(|| damaged("transaction index"))?;
        Ok(Some(TransactionLocation { envelope, code, block: number, index }))
    }

    /// Validation code and block of the first transaction with this id, without reading the block.
    pub fn transaction_code(&self, txid: &str) -> Result<Option<(u8, u64)>, LedgerError> {
        Ok(self.location(txid)?.map(|(block, _, code)| (code, block)))
    }

    fn location(&self, txid: &str) -> Result<Option<(u64, u32, u8)>, LedgerError> {
        let Some(found) = self.index()?.get(keys::INDEX, &keys::txid(txid))? else { return Ok(None) };
        keys::decode_location(&found).map(Some).ok_or_else(|| damaged("transaction index"))
    }

    fn index(&self) -> Result<&Arc<dyn Store>, LedgerError> {
        self.shared.index.as_ref().ok_or(LedgerError::NoIndex)
    }
}

fn damaged(what: &str) -> LedgerError {
    LedgerError::Corrupt { what: what.into() }
}

#[cfg(test)]
mod tests {
    use fabric_proto::common::{BlockData, BlockHeader};

    use super::*;

    fn block(number: u64, previous_hash: Bytes) -> Block {
        Block {
            header: Some(BlockHeader { number, previous_hash, data_hash: Bytes::from("data") }),
            data: Some(BlockData { data: vec![Bytes::from(vec![number as u8; 100])] }),
            metadata: None,
        }
    }

    #[test]
    fn an_orderers_blocks_are_kept_linked_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = BlockStore::open(folder.path()).unwrap();
        assert_eq!((store.height(), store.last_hash()), (0, Bytes::new()));
        let mut written = Vec::new();
        for number in 0..40 {
            let block = block(number, store.last_hash());
            store.append(&block).unwrap();
            written.push(block);
        }
        store.sync().unwrap();
        assert!(matches!(
            store.append(&block(41, store.last_hash())),
            Err(LedgerError::WrongNumber { number: 41, expected: 40, .. })
        ));
        assert!(matches!(store.append(&block(40, Bytes::from("x"))), Err(LedgerError::WrongPrevious { .. })));
        assert!(matches!(store.append(&Block::default()), Err(LedgerError::MalformedBlock { .. })));
        assert!(matches!(store.transaction("id"), Err(LedgerError::NoIndex)));
        let last = store.last_hash();
        drop(store);
        let store = BlockStore::open(folder.path()).unwrap();
        assert_eq!((store.height(), store.last_hash()), (40, last));
        for (number, block) in written.iter().enumerate() {
            assert_eq!(store.block(number as u64).unwrap().unwrap(), block.encode_to_vec());
        }
        assert!(store.block(40).unwrap().is_none());
    }
}
