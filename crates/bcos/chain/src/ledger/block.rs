//! A committed block, read as far as it is asked for.

use std::{ops::Range, sync::Arc};

use alloy_primitives::{B256, Bytes};
use bcos_types::{BlockHeader, Receipt, VerifiedTx};

use crate::ChainError;

/// How many transactions the chain holds up to a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// All of them.
    pub transactions: u64,
    /// Those whose status is not 0.
    pub failed: u64,
}

/// Where a transaction and its receipt stand in a record.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) hash: B256,
    pub(super) receipt_hash: B256,
    pub(super) transaction: Range<usize>,
    pub(super) receipt: Range<usize>,
}

#[derive(Debug)]
enum Body {
    Memory { transactions: Vec<VerifiedTx>, receipts: Vec<Arc<Receipt>>, receipt_hashes: Vec<B256> },
    Record { places: Vec<Place>, record: bytes::Bytes },
}

#[derive(Debug)]
struct Inner {
    hash: B256,
    header: BlockHeader,
    totals: Totals,
    body: Body,
}

/// A committed block; clones share it.
#[derive(Debug, Clone)]
pub struct CommittedBlock(Arc<Inner>);

impl CommittedBlock {
    pub(super) fn memory(
        hash: B256,
        header: BlockHeader,
        totals: Totals,
        transactions: Vec<VerifiedTx>,
        receipts: Vec<Arc<Receipt>>,
        receipt_hashes: Vec<B256>,
    ) -> Self {
        Self(Arc::new(Inner { hash, header, totals, body: Body::Memory { transactions, receipts, receipt_hashes } }))
    }

    pub(super) fn stored(
        hash: B256,
        header: BlockHeader,
        totals: Totals,
        places: Vec<Place>,
        record: bytes::Bytes,
    ) -> Self {
        Self(Arc::new(Inner { hash, header, totals, body: Body::Record { places, record } }))
    }

    /// Block number.
    pub fn number(&self) -> u64 {
        self.0.header.number
    }

    /// Header hash.
    pub fn hash(&self) -> B256 {
        self.0.hash
    }

    /// The header, with its signatures.
    pub fn header(&self) -> &BlockHeader {
        &self.0.header
    }

    /// Transactions of the chain up to and including this block.
    pub fn totals(&self) -> Totals {
        self.0.totals
    }

    /// Number of transactions.
    pub fn len(&self) -> usize {
        match &self.0.body {
            Body::Memory { transactions, .. } => transactions.len(),
            Body::Record { places, .. } => places.len(),
        }
    }

    /// True without transactions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hashes of the transactions, in order.
    pub fn transaction_hashes(&self) -> Vec<B256> {
        match &self.0.body {
            Body::Memory { transactions, .. } => transactions.iter().map(|transaction| transaction.hash).collect(),
            Body::Record { places, .. } => places.iter().map(|place| place.hash).collect(),
        }
    }

    /// Hashes of the receipts, in order.
    pub fn receipt_hashes(&self) -> Vec<B256> {
        match &self.0.body {
            Body::Memory { receipt_hashes, .. } => receipt_hashes.clone(),
            Body::Record { places, .. } => places.iter().map(|place| place.receipt_hash).collect(),
        }
    }

    fn damaged(&self, what: &str, index: usize) -> ChainError {
        ChainError::damaged(format!("{what} {index} of block {}", self.number()))
    }

    /// A transaction; `None` beyond the last.
    pub fn transaction(&self, index: usize) -> Result<Option<VerifiedTx>, ChainError> {
        match &self.0.body {
            Body::Memory { transactions, .. } => Ok(transactions.get(index).cloned()),
            Body::Record { places, record } => {
                let Some(place) = places.get(index) else { return Ok(None) };
                let raw = Bytes::from(record.slice(place.transaction.clone()));
                let transaction = VerifiedTx::from_store(place.hash, raw);
                transaction.map(Some).map_err(|_| self.damaged("transaction", index))
            }
        }
    }

    /// All transactions.
    pub fn transactions(&self) -> Result<Vec<VerifiedTx>, ChainError> {
        (0..self.len()).filter_map(|index| self.transaction(index).transpose()).collect()
    }

    /// A receipt; `None` beyond the last.
    pub fn receipt(&self, index: usize) -> Result<Option<Arc<Receipt>>, ChainError> {
        match &self.0.body {
            Body::Memory { receipts, .. } => Ok(receipts.get(index).cloned()),
            Body::Record { places, record } => {
                let Some(place) = places.get(index) else { return Ok(None) };
                let receipt = Receipt::decode(&record[place.receipt.clone()]);
                receipt.map(|receipt| Some(Arc::new(receipt))).map_err(|_| self.damaged("receipt", index))
            }
        }
    }

    /// All receipts.
    pub fn receipts(&self) -> Result<Vec<Arc<Receipt>>, ChainError> {
        (0..self.len()).filter_map(|index| self.receipt(index).transpose()).collect()
    }

    /// Bytes this block takes in memory, about.
    pub(super) fn weight(&self) -> usize {
        let body = match &self.0.body {
            Body::Memory { transactions, .. } => {
                transactions.iter().map(|transaction| transaction.raw.len() * 2 + 1024).sum()
            }
            Body::Record { places, record } => record.len() + places.len() * 112,
        };
        body + 1024
    }
}
