//! Receipts and their logs.

use alloy_primitives::{Address, B256, Bytes, hex};
use konsort_crypto::CryptoSuite;

use crate::tars::{Reader, TarsError, Writer};

/// An event that a contract has logged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogEntry {
    /// The contract.
    pub address: Address,
    /// Up to four topics.
    pub topics: Vec<B256>,
    /// The data.
    pub data: Bytes,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Receipt {
    /// 0, or 1 when the effective gas price is part of the hash.
    pub version: i32,
    /// Gas used by the transaction.
    pub gas_used: u64,
    /// The contract made by it.
    pub contract_address: Option<Address>,
    /// 0 or a code of [`crate::status`].
    pub status: i32,
    /// What the call returned.
    pub output: Bytes,
    /// The events.
    pub logs: Vec<LogEntry>,
    /// The block.
    pub block_number: u64,
    /// The price paid for a unit of gas, hex with 0x.
    pub effective_gas_price: String,
    /// The receipt's own hash; zero until [`seal`](Self::seal).
    pub hash: B256,
    /// Why the transaction failed, for people. Not hashed, as everything below.
    pub message: String,
    /// Gas used in the block up to here.
    pub cumulative_gas_used: u64,
    /// The bloom of the logs, 256 bytes, or empty.
    pub logs_bloom: Bytes,
    /// The place in the block.
    pub transaction_index: u32,
    /// How many logs stand before this receipt's in the block.
    pub log_index: u32,
}

fn write_address(address: &Address) -> String {
    hex::encode(address)
}

fn read_address(text: &str, field: &'static str) -> Result<Address, TarsError> {
    text.parse().map_err(|_| TarsError::Range { field })
}

impl LogEntry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, TarsError> {
        Ok(Self {
            address: read_address(reader.text(1, "address")?, "address")?,
            topics: reader.list(2, "topic", |topic| topic.hash(0, "topic"))?,
            data: reader.bytes(3, "data")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer
            .text(1, &write_address(&self.address))
            .optional_list(2, &self.topics, |list, topic| {
                list.bytes(0, topic.as_slice());
            })
            .optional_bytes(3, &self.data);
    }
}

impl Receipt {
    /// The hash: addresses enter as lower-case hex without 0x, numbers of gas as decimal text.
    pub fn compute_hash(&self, suite: &dyn CryptoSuite) -> B256 {
        let version = self.version.to_be_bytes();
        let gas_used = self.gas_used.to_string();
        let contract = self.contract_address.as_ref().map_or_else(String::new, write_address);
        let status = self.status.to_be_bytes();
        let block_number = self.block_number.to_be_bytes();
        let log_addresses: Vec<String> = self.logs.iter().map(|log| write_address(&log.address)).collect();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(8 + self.logs.len() * 6);
        parts.extend([&version[..], gas_used.as_bytes(), contract.as_bytes(), &status, &self.output]);
        if self.version >= 1 {
            parts.push(self.effective_gas_price.as_bytes());
        }
        for (log, address) in self.logs.iter().zip(&log_addresses) {
            parts.push(address.as_bytes());
            parts.extend(log.topics.iter().map(B256::as_slice));
            parts.push(&log.data);
        }
        parts.push(&block_number);
        suite.hash_parts(&parts).into()
    }

    /// Fills in the hash.
    pub fn seal(&mut self, suite: &dyn CryptoSuite) -> B256 {
        self.hash = self.compute_hash(suite);
        self.hash
    }

    /// Reads the Tars form.
    pub fn decode(bytes: &[u8]) -> Result<Self, TarsError> {
        Self::read(&mut Reader::new(bytes))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, TarsError> {
        let data = reader
            .structure(1, "data", |data| {
                Ok(Self {
                    version: data
                        .required_int(1, "version")?
                        .try_into()
                        .map_err(|_| TarsError::Range { field: "version" })?,
                    gas_used: data.decimal(2, "gasUsed")?,
                    contract_address: match data.text(3, "contractAddress")? {
                        "" => None,
                        text => Some(read_address(text, "contractAddress")?),
                    },
                    status: data.number(4, "status")?,
                    output: data.bytes(5, "output")?,
                    logs: data.structures(6, "logEntries", LogEntry::read)?,
                    block_number: data.number(7, "blockNumber")?,
                    effective_gas_price: data.string(8, "effectiveGasPrice")?,
                    ..Self::default()
                })
            })?
            .ok_or(TarsError::Missing { field: "data" })?;
        Ok(Self {
            hash: reader.hash(2, "dataHash")?,
            message: reader.string(3, "message")?,
            cumulative_gas_used: reader.decimal(4, "cumulativeGasUsed")?,
            logs_bloom: reader.bytes(5, "logsBloom")?,
            transaction_index: reader.number(6, "transactionIndex")?,
            log_index: reader.number(7, "logIndex")?,
            ..data
        })
    }

    /// The Tars form.
    pub fn encode(&self) -> Vec<u8> {
        let logs: usize = self.logs.iter().map(|log| 64 + log.topics.len() * 36 + log.data.len()).sum();
        let mut writer =
            Writer::with_capacity(192 + self.output.len() + logs + self.message.len() + self.logs_bloom.len());
        self.write(&mut writer);
        writer.into_bytes()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        let decimal = |value: u64| if value == 0 { String::new() } else { value.to_string() };
        writer
            .structure(1, |data| {
                data.int(1, self.version.into())
                    .optional_text(2, &self.gas_used.to_string())
                    .optional_text(3, &self.contract_address.as_ref().map_or_else(String::new, write_address))
                    .optional_int(4, self.status.into())
                    .optional_bytes(5, &self.output)
                    .optional_list(6, &self.logs, |list, log| {
                        list.structure(0, |entry| log.write(entry));
                    })
                    .optional_int(7, self.block_number as i64)
                    .optional_text(8, &self.effective_gas_price);
            })
            .optional_bytes(2, if self.hash.is_zero() { &[] } else { self.hash.as_slice() })
            .optional_text(3, &self.message)
            .optional_text(4, &decimal(self.cumulative_gas_used))
            .optional_bytes(5, &self.logs_bloom)
            .optional_int(6, self.transaction_index.into())
            .optional_int(7, self.log_index.into());
    }
}
