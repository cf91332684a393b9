//! Whole blocks.

use alloy_primitives::{B256, Bytes};

use crate::header::BlockHeader;
use crate::receipt::Receipt;
use crate::tars::{Reader, TarsError, Writer};
use crate::transaction::Transaction;
use crate::verified::VerifiedTx;

/// A transaction named by its hash, as proposals carry it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionMetadata {
    /// The transaction's hash.
    pub hash: B256,
    /// The contract it calls.
    pub to: String,
    /// Where it came from.
    pub source: String,
    /// Bits for the scheduler.
    pub attribute: u32,
}

/// A block with what a message needs of it; absent parts are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The block format's version.
    pub version: i32,
    /// Upstream's block type: 1 complete, 2 with hashes only.
    pub kind: i32,
    /// The header.
    pub header: BlockHeader,
    /// The transactions.
    pub transactions: Vec<Transaction>,
    /// Their receipts.
    pub receipts: Vec<Receipt>,
    /// The transactions' hashes.
    pub metadata: Vec<TransactionMetadata>,
    /// The receipts' hashes.
    pub receipt_hashes: Vec<B256>,
    /// The transactions' nonces.
    pub nonces: Vec<String>,
    /// Inner nodes of the transactions' tree.
    pub transactions_merkle: Vec<B256>,
    /// Inner nodes of the receipts' tree.
    pub receipts_merkle: Vec<B256>,
    /// The bloom of all logs.
    pub logs_bloom: Bytes,
}

fn hash_list(reader: &mut Reader<'_>, tag: u8, field: &'static str) -> Result<Vec<B256>, TarsError> {
    reader.list(tag, field, |item| item.hash(0, field))
}

fn write_hash(list: &mut Writer, hash: &B256) {
    list.bytes(0, hash.as_slice());
}

impl Block {
    /// Reads the Tars form.
    pub fn decode(bytes: &[u8]) -> Result<Self, TarsError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            version: reader.number(1, "version")?,
            kind: reader.number(2, "type")?,
            header: reader.structure(3, "blockHeader", BlockHeader::read)?.unwrap_or_default(),
            transactions: reader.structures(4, "transactions", Transaction::read)?,
            receipts: reader.structures(5, "receipts", Receipt::read)?,
            metadata: reader.structures(6, "transactionsMetaData", |entry| {
                Ok(TransactionMetadata {
                    hash: entry.hash(1, "hash")?,
                    to: entry.string(2, "to")?,
                    source: entry.string(3, "source")?,
                    attribute: entry.number(4, "attribute")?,
                })
            })?,
            receipt_hashes: hash_list(&mut reader, 7, "receiptsHash")?,
            nonces: reader.list(8, "nonceList", |nonce| nonce.string(0, "nonceList"))?,
            transactions_merkle: hash_list(&mut reader, 9, "transactionsMerkle")?,
            receipts_merkle: hash_list(&mut reader, 10, "receiptsMerkle")?,
            logs_bloom: reader.bytes(11, "logsBloom")?,
        })
    }

    /// The Tars form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer
            .optional_int(1, self.version.into())
            .optional_int(2, self.kind.into())
            .structure(3, |header| self.header.write(header))
            .optional_list(4, &self.transactions, |list, tx| {
                list.structure(0, |entry| tx.write(entry));
            })
            .optional_list(5, &self.receipts, |list, receipt| {
                list.structure(0, |entry| receipt.write(entry));
            })
            .optional_list(6, &self.metadata, |list, entry| {
                list.structure(0, |metadata| {
                    metadata
                        .bytes(1, entry.hash.as_slice())
                        .optional_text(2, &entry.to)
                        .optional_text(3, &entry.source)
                        .optional_int(4, entry.attribute.into());
                });
            })
            .optional_list(7, &self.receipt_hashes, write_hash)
            .optional_list(8, &self.nonces, |list, nonce| {
                list.text(0, nonce);
            })
            .optional_list(9, &self.transactions_merkle, write_hash)
            .optional_list(10, &self.receipts_merkle, write_hash)
            .optional_bytes(11, &self.logs_bloom);
        writer.into_bytes()
    }
}

/// A complete block in Tars, built from what a node holds: the transactions' own bytes are used as they are.
/// [`Block::decode`] reads it.
pub fn encode_block(header: &BlockHeader, transactions: &[VerifiedTx], receipts: &[Receipt]) -> Vec<u8> {
    let bytes: usize = transactions.iter().map(|tx| tx.raw.len() + 2).sum();
    let mut writer = Writer::with_capacity(2048 + bytes + receipts.len() * 512);
    writer
        .int(2, 1)
        .structure(3, |fields| header.write(fields))
        .optional_list(4, transactions, |list, tx| {
            list.encoded_structure(0, &tx.raw);
        })
        .optional_list(5, receipts, |list, receipt| {
            list.structure(0, |entry| receipt.write(entry));
        });
    writer.into_bytes()
}
