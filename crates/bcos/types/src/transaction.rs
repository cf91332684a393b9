//! Transactions: fields, Tars form, hash, signer.

use alloy_primitives::{Address, B256, Bytes, U256};
use konsort_crypto::{CryptoSuite, SignatureError, SuiteKey, SuiteKind, suite};

use crate::tars::{Reader, TarsError, Writer};
use crate::web3::Web3Error;

/// Which client world a transaction comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TxKind {
    /// A native transaction, signed over the hash of its data.
    #[default]
    Bcos,
    /// An Ethereum transaction, carried in `extra_bytes`; see [`crate::web3`].
    Web3,
}

/// Why a transaction is refused before it is looked at by the pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// Not a transaction's encoding.
    #[error(transparent)]
    Tars(#[from] TarsError),
    /// Not an Ethereum transaction's encoding.
    #[error(transparent)]
    Web3(#[from] Web3Error),
    /// The signature is not one over this transaction.
    #[error("the transaction's signature: {0}")]
    Signature(#[from] SignatureError),
    /// A field of a wrapped Ethereum transaction says something else than its signed bytes.
    #[error("the wrapped Ethereum transaction differs from its signed bytes in {0}")]
    Mismatch(&'static str),
    /// A number or address in the transaction cannot be read.
    #[error("the transaction's {field} {text:?} is neither empty nor a number or address; send 0x and hex digits")]
    Field {
        /// Upstream's name of the field.
        field: &'static str,
        /// What it holds, cut to 80 characters.
        text: String,
    },
}

impl TransactionError {
    /// The code of the pool that clients get for this: InvalidSignature or Malformed.
    pub fn status(&self) -> i32 {
        match self {
            Self::Signature(_) => crate::status::INVALID_SIGNATURE,
            _ => crate::status::MALFORMED,
        }
    }
}

/// The part of a transaction that its hash covers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionData {
    /// Which fields the hash covers: 0, 1 (value and prices too) or 2 (extension too).
    pub version: i32,
    /// The chain it is for.
    pub chain_id: String,
    /// The group it is for.
    pub group_id: String,
    /// The last block it may be in.
    pub block_limit: i64,
    /// A text no other transaction of the last 1,000 blocks has; the account's number in hex for Ethereum ones.
    pub nonce: String,
    /// The contract called, hex with or without 0x as sent; empty to deploy.
    pub to: String,
    /// Call data, or code to deploy.
    pub input: Bytes,
    /// The ABI in JSON, kept with a deployed contract.
    pub abi: String,
    /// The value transferred, hex with 0x; version 1.
    pub value: String,
    /// The price of gas, hex with 0x; version 1.
    pub gas_price: String,
    /// The gas limit; version 1.
    pub gas_limit: i64,
    /// The most paid for a unit of gas, hex with 0x; version 1.
    pub max_fee_per_gas: String,
    /// The most paid to the sealer for a unit of gas, hex with 0x; version 1.
    pub max_priority_fee_per_gas: String,
    /// Free bytes; version 2.
    pub extension: Bytes,
}

/// A transaction as it travels. `data_hash`, `sender` and `extra_hash` are what the sender claims.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// What is signed.
    pub data: TransactionData,
    /// The hash of `data`, or of `extra_bytes` for Ethereum ones.
    pub data_hash: Bytes,
    /// As [`CryptoSuite::sender`] takes it.
    pub signature: Bytes,
    /// When the first node took it, milliseconds since 1970.
    pub import_time: i64,
    /// Bits for the scheduler.
    pub attribute: i32,
    /// The signer's address.
    pub sender: Bytes,
    /// Free text of the client, not signed.
    pub extra_data: String,
    /// Native or Ethereum.
    pub kind: TxKind,
    /// The bytes an Ethereum transaction's signature covers.
    pub extra_bytes: Bytes,
    /// The hash of an Ethereum transaction with its signature: its hash everywhere.
    pub extra_hash: Bytes,
}

impl TransactionData {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, TarsError> {
        Ok(Self {
            version: reader.number(1, "version")?,
            chain_id: reader.string(2, "chainID")?,
            group_id: reader.string(3, "groupID")?,
            block_limit: reader.int(4, "blockLimit")?,
            nonce: reader.string(5, "nonce")?,
            to: reader.string(6, "to")?,
            input: reader.bytes(7, "input")?,
            abi: reader.string(8, "abi")?,
            value: reader.string(9, "value")?,
            gas_price: reader.string(10, "gasPrice")?,
            gas_limit: reader.int(11, "gasLimit")?,
            max_fee_per_gas: reader.string(12, "maxFeePerGas")?,
            max_priority_fee_per_gas: reader.string(13, "maxPriorityFeePerGas")?,
            extension: reader.bytes(14, "extension")?,
        })
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .optional_int(1, self.version.into())
            .optional_text(2, &self.chain_id)
            .optional_text(3, &self.group_id)
            .optional_int(4, self.block_limit)
            .optional_text(5, &self.nonce)
            .optional_text(6, &self.to)
            .optional_bytes(7, &self.input)
            .optional_text(8, &self.abi)
            .optional_text(9, &self.value)
            .optional_text(10, &self.gas_price)
            .optional_int(11, self.gas_limit)
            .optional_text(12, &self.max_fee_per_gas)
            .optional_text(13, &self.max_priority_fee_per_gas)
            .optional_bytes(14, &self.extension);
    }

    /// Reads the data alone, as SDKs that sign elsewhere pass it around.
    pub fn decode(bytes: &[u8]) -> Result<Self, TarsError> {
        Self::read(&mut Reader::new(bytes))
    }

    /// The data alone in Tars.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.size_hint());
        self.write(&mut writer);
        writer.into_bytes()
    }

    fn size_hint(&self) -> usize {
        128 + self.nonce.len() + self.to.len() + self.input.len() + self.abi.len() + self.extension.len()
    }

    /// The hash a native transaction's signature covers: the fields joined, integers big-endian.
    pub fn hash(&self, suite: &dyn CryptoSuite) -> B256 {
        let version = self.version.to_be_bytes();
        let block_limit = self.block_limit.to_be_bytes();
        let gas_limit = self.gas_limit.to_be_bytes();
        let parts: [&[u8]; 14] = [
            &version,
            self.chain_id.as_bytes(),
            self.group_id.as_bytes(),
            &block_limit,
            self.nonce.as_bytes(),
            self.to.as_bytes(),
            &self.input,
            self.abi.as_bytes(),
            self.value.as_bytes(),
            self.gas_price.as_bytes(),
            &gas_limit,
            self.max_fee_per_gas.as_bytes(),
            self.max_priority_fee_per_gas.as_bytes(),
            &self.extension,
        ];
        let covered = match self.version {
            ..=0 => 8,
            1 => 13,
            2.. => 14,
        };
        suite.hash_parts(&parts[..covered]).into()
    }

    /// Where the transaction goes: `None` deploys.
    pub fn to_address(&self) -> Result<Option<Address>, TransactionError> {
        if self.to.is_empty() {
            return Ok(None);
        }
        self.to.parse().map(Some).map_err(|_| unreadable("to", &self.to))
    }

    /// The value transferred; empty means zero.
    pub fn value(&self) -> Result<U256, TransactionError> {
        quantity("value", &self.value)
    }

    /// The price of gas; empty means zero.
    pub fn gas_price(&self) -> Result<U256, TransactionError> {
        quantity("gasPrice", &self.gas_price)
    }
}

/// Reads hex with 0x, or decimal; empty means zero.
fn quantity(field: &'static str, text: &str) -> Result<U256, TransactionError> {
    let number = match text.strip_prefix("0x") {
        Some("") => return Err(unreadable(field, text)),
        Some(digits) => U256::from_str_radix(digits, 16),
        None if text.is_empty() => return Ok(U256::ZERO),
        None => U256::from_str_radix(text, 10),
    };
    number.map_err(|_| unreadable(field, text))
}

fn unreadable(field: &'static str, text: &str) -> TransactionError {
    TransactionError::Field { field, text: text.chars().take(80).collect() }
}

impl Transaction {
    /// Signs `data` as a native transaction.
    pub fn signed(data: TransactionData, key: &SuiteKey) -> Self {
        let hash = data.hash(suite(key.kind()));
        Self {
            data_hash: hash.0.into(),
            signature: key.sign(&hash.0).into(),
            sender: key.address().into(),
            data,
            ..Self::default()
        }
    }

    /// Reads the Tars form.
    pub fn decode(bytes: &[u8]) -> Result<Self, TarsError> {
        Self::read(&mut Reader::new(bytes))
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, TarsError> {
        Ok(Self {
            data: reader.structure(1, "data", TransactionData::read)?.unwrap_or_default(),
            data_hash: reader.bytes(2, "dataHash")?,
            signature: reader.bytes(3, "signature")?,
            import_time: reader.int(4, "importTime")?,
            attribute: reader.number(5, "attribute")?,
            sender: reader.bytes(7, "sender")?,
            extra_data: reader.string(8, "extraData")?,
            kind: match reader.int(9, "type")? {
                0 => TxKind::Bcos,
                1 => TxKind::Web3,
                _ => return Err(TarsError::Range { field: "type" }),
            },
            extra_bytes: reader.bytes(10, "extraTransactionBytes")?,
            extra_hash: reader.bytes(11, "extraTransactionHash")?,
        })
    }

    /// The Tars form.
    pub fn encode(&self) -> Vec<u8> {
        let extra = self.extra_bytes.len() + self.extra_data.len() + 160;
        let mut writer = Writer::with_capacity(self.data.size_hint() + self.signature.len() + extra);
        self.write(&mut writer);
        writer.into_bytes()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .structure(1, |data| self.data.write(data))
            .optional_bytes(2, &self.data_hash)
            .optional_bytes(3, &self.signature)
            .optional_int(4, self.import_time)
            .optional_int(5, self.attribute.into())
            .optional_bytes(7, &self.sender)
            .optional_text(8, &self.extra_data)
            .optional_int(9, i64::from(self.kind == TxKind::Web3))
            .optional_bytes(10, &self.extra_bytes)
            .optional_bytes(11, &self.extra_hash);
    }

    /// The transaction's hash in roots and lookups. For Ethereum transactions this is the hash it carries, which is
    /// right in every [`VerifiedTx`](crate::VerifiedTx) and zero when there is none.
    pub fn hash(&self, suite: &dyn CryptoSuite) -> B256 {
        match self.kind {
            TxKind::Bcos => self.data.hash(suite),
            TxKind::Web3 => B256::try_from(&self.extra_hash[..]).unwrap_or_default(),
        }
    }

    /// The signer, worked out from the signature. Ethereum transactions are Keccak and secp256k1 on every chain.
    pub fn recover(&self, suite: &dyn CryptoSuite) -> Result<Address, SignatureError> {
        let signer = match self.kind {
            TxKind::Bcos => suite.sender(&self.data.hash(suite).0, &self.signature),
            TxKind::Web3 => {
                let ethereum = konsort_crypto::suite(SuiteKind::International);
                ethereum.sender(&ethereum.hash(&self.extra_bytes), &self.signature)
            }
        }?;
        Ok(signer.address.into())
    }
}

/// The hash that the signature of a `call` covers: the contract's text without 0x, then the call data.
pub fn signed_call_hash(suite: &dyn CryptoSuite, to: &str, data: &[u8]) -> B256 {
    suite.hash_parts(&[to.strip_prefix("0x").unwrap_or(to).as_bytes(), data]).into()
}
