//! Ethereum transactions: legacy (with and without EIP-155), access list (EIP-2930), dynamic fee (EIP-1559) and the
//! canonical form of blob transactions (EIP-4844), and how a chain carries them.
//!
//! A chain's transaction holds the bytes that the Ethereum signature covers, the signature as `r‖s‖v`, and the fields
//! in text form. The signed bytes decide; [`VerifiedTx::verify`](crate::VerifiedTx::verify) refuses wrappings that say
//! something else. Encodings that are not exactly Ethereum's (padded numbers, spare items) are refused, so the bytes a
//! client sent can always be given back.

use alloy_primitives::{Address, B256, Bytes, U256, hex};
use alloy_rlp::{Decodable, Encodable, Header};
use konsort_crypto::hash::keccak256;

use crate::transaction::{Transaction, TransactionData, TxKind};

/// Half of the order of secp256k1; s above it is refused (EIP-2), since a second hash would name the same transaction.
const HALF_ORDER: U256 =
    U256::from_limbs([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, u64::MAX, 0x7fff_ffff_ffff_ffff]);

/// Why bytes are not an Ethereum transaction this chain takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Web3Error {
    /// No bytes at all.
    #[error("the raw transaction is empty")]
    Empty,
    /// A type this chain does not take.
    #[error("transaction type {0:#04x} is not supported; use legacy, 0x01, 0x02 or 0x03")]
    Type(u8),
    /// Not canonical RLP, or not the items of this type.
    #[error("the raw transaction is not valid RLP at {field}: {reason}")]
    Rlp {
        /// The item.
        field: &'static str,
        /// What the decoder says.
        reason: alloy_rlp::Error,
    },
    /// Items or bytes after the last one.
    #[error("the raw transaction has spare bytes after {0}")]
    Trailing(&'static str),
    /// A number that Ethereum does not allow there.
    #[error("the raw transaction's {0} is out of range")]
    Range(&'static str),
    /// A blob transaction that deploys.
    #[error("a blob transaction must name a contract or account in its field to")]
    BlobCreate,
    /// A blob transaction with its blobs.
    #[error("send the blob transaction without its blobs, this chain does not keep them")]
    BlobSidecar,
}

/// The type of an Ethereum transaction (EIP-2718).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Web3Type {
    /// Before EIP-2718.
    Legacy = 0,
    /// EIP-2930
    AccessList = 1,
    /// EIP-1559
    DynamicFee = 2,
    /// EIP-4844
    Blob = 3,
}

/// An entry of an access list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessListItem {
    /// The account.
    pub address: Address,
    /// Its slots.
    pub storage_keys: Vec<B256>,
}

/// An Ethereum transaction's fields as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web3Fields {
    /// The type.
    pub kind: Web3Type,
    /// The chain it is for; `None` for legacy transactions from before EIP-155.
    pub chain_id: Option<u64>,
    /// The account's number of this transaction.
    pub nonce: u64,
    /// Legacy and access list: the gas price. Others: the most paid for a unit of gas.
    pub max_fee_per_gas: u128,
    /// Legacy and access list: the gas price. Others: the most paid to the proposer for a unit of gas.
    pub max_priority_fee_per_gas: u128,
    /// The gas limit.
    pub gas_limit: u64,
    /// Where it goes; `None` deploys.
    pub to: Option<Address>,
    /// The value transferred.
    pub value: U256,
    /// Call data or code.
    pub input: Bytes,
    /// Accounts and slots named beforehand.
    pub access_list: Vec<AccessListItem>,
    /// The most paid for a unit of blob gas.
    pub max_fee_per_blob_gas: u128,
    /// The blobs' hashes.
    pub blob_hashes: Vec<B256>,
}

impl Web3Fields {
    /// Whether it names one gas price instead of two fees.
    pub fn has_gas_price(&self) -> bool {
        matches!(self.kind, Web3Type::Legacy | Web3Type::AccessList)
    }
}

/// The signature of a wrapped transaction as Ethereum's JSON shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Web3Signature {
    /// 0 or 1.
    pub y_parity: u8,
    /// `v` as in JSON: 27 or 28, or with the chain id in it, for legacy transactions; else the parity.
    pub v: u128,
    /// r
    pub r: U256,
    /// s
    pub s: U256,
}

type Result<T> = std::result::Result<T, Web3Error>;

fn item<T: Decodable>(buffer: &mut &[u8], field: &'static str) -> Result<T> {
    T::decode(buffer).map_err(|reason| Web3Error::Rlp { field, reason })
}

fn list<'a>(buffer: &mut &'a [u8], field: &'static str) -> Result<&'a [u8]> {
    Header::decode_bytes(buffer, true).map_err(|reason| Web3Error::Rlp { field, reason })
}

fn address(buffer: &mut &[u8]) -> Result<Option<Address>> {
    let bytes = Header::decode_bytes(buffer, false).map_err(|reason| Web3Error::Rlp { field: "to", reason })?;
    match bytes {
        [] => Ok(None),
        bytes => Address::try_from(bytes).map(Some).map_err(|_| Web3Error::Range("to")),
    }
}

fn hashes(buffer: &mut &[u8], field: &'static str) -> Result<Vec<B256>> {
    let mut rest = list(buffer, field)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        out.push(item(&mut rest, field)?);
    }
    Ok(out)
}

fn access_list(buffer: &mut &[u8]) -> Result<Vec<AccessListItem>> {
    let mut rest = list(buffer, "accessList")?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let mut entry = list(&mut rest, "accessList entry")?;
        let address = item(&mut entry, "accessList address")?;
        let storage_keys = hashes(&mut entry, "accessList storageKeys")?;
        if !entry.is_empty() {
            return Err(Web3Error::Trailing("accessList entry"));
        }
        out.push(AccessListItem { address, storage_keys });
    }
    Ok(out)
}

/// Splits the type from the list's contents.
fn open(raw: &[u8]) -> Result<(Web3Type, &[u8])> {
    let (kind, mut rest) = match *raw.first().ok_or(Web3Error::Empty)? {
        1 => (Web3Type::AccessList, &raw[1..]),
        2 => (Web3Type::DynamicFee, &raw[1..]),
        3 => (Web3Type::Blob, &raw[1..]),
        0xc0.. => (Web3Type::Legacy, raw),
        other => return Err(Web3Error::Type(other)),
    };
    let items = list(&mut rest, "transaction")?;
    if !rest.is_empty() {
        return Err(Web3Error::Trailing("transaction"));
    }
    if kind == Web3Type::Blob && items.first().is_some_and(|&first| first >= 0xc0) {
        return Err(Web3Error::BlobSidecar);
    }
    Ok((kind, items))
}

/// Reads the items that the signature covers, without the three that EIP-155 adds.
fn read(kind: Web3Type, items: &mut &[u8]) -> Result<Web3Fields> {
    let chain_id = match kind {
        Web3Type::Legacy => None,
        _ => Some(item(items, "chainId")?),
    };
    let nonce: u64 = item(items, "nonce")?;
    if nonce == u64::MAX {
        // EIP-2681
        return Err(Web3Error::Range("nonce"));
    }
    let max_priority_fee_per_gas: u128 = item(items, "gasPrice or maxPriorityFeePerGas")?;
    let max_fee_per_gas = match kind {
        Web3Type::Legacy | Web3Type::AccessList => max_priority_fee_per_gas,
        _ => item(items, "maxFeePerGas")?,
    };
    let gas_limit: u64 = item(items, "gas")?;
    if i64::try_from(gas_limit).is_err() {
        return Err(Web3Error::Range("gas"));
    }
    let to = address(items)?;
    let value = item(items, "value")?;
    let input = item(items, "data")?;
    let access_list = match kind {
        Web3Type::Legacy => Vec::new(),
        _ => access_list(items)?,
    };
    let (max_fee_per_blob_gas, blob_hashes) = match kind {
        Web3Type::Blob => (item(items, "maxFeePerBlobGas")?, hashes(items, "blobVersionedHashes")?),
        _ => (0, Vec::new()),
    };
    if kind == Web3Type::Blob && to.is_none() {
        return Err(Web3Error::BlobCreate);
    }
    Ok(Web3Fields {
        kind,
        chain_id,
        nonce,
        max_fee_per_gas,
        max_priority_fee_per_gas,
        gas_limit,
        to,
        value,
        input,
        access_list,
        max_fee_per_blob_gas,
        blob_hashes,
    })
}

fn encode_list(kind: Web3Type, parts: &[&[u8]]) -> Vec<u8> {
    let payload_length = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(payload_length + 10);
    if kind != Web3Type::Legacy {
        out.push(kind as u8);
    }
    Header { list: true, payload_length }.encode(&mut out);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// Takes a signed Ethereum transaction apart and wraps it for the chain. The sender is left empty: recovering it is
/// [`VerifiedTx::from_web3_raw`](crate::VerifiedTx::from_web3_raw)'s work.
pub fn from_raw(raw: &[u8]) -> Result<Transaction> {
    let (kind, items) = open(raw)?;
    let mut rest = items;
    let mut fields = read(kind, &mut rest)?;
    let covered = &items[..items.len() - rest.len()];

    let (y_parity, extra_bytes) = if kind == Web3Type::Legacy {
        let v: u128 = item(&mut rest, "v")?;
        match v {
            27 | 28 => ((v - 27) as u8, encode_list(kind, &[covered])),
            35.. => {
                fields.chain_id = Some(u64::try_from((v - 35) / 2).map_err(|_| Web3Error::Range("v"))?);
                (((v - 35) % 2) as u8, encode_list(kind, &[covered, &chain_suffix(fields.chain_id)]))
            }
            _ => return Err(Web3Error::Range("v")),
        }
    } else {
        let parity: u8 = item(&mut rest, "yParity")?;
        if parity > 1 {
            return Err(Web3Error::Range("yParity"));
        }
        (parity, encode_list(kind, &[covered]))
    };
    let r: U256 = item(&mut rest, "r")?;
    let s: U256 = item(&mut rest, "s")?;
    if !rest.is_empty() {
        return Err(Web3Error::Trailing("s"));
    }
    if r.is_zero() || s.is_zero() || s > HALF_ORDER {
        return Err(Web3Error::Range("r or s"));
    }
    let mut signature = Vec::with_capacity(65);
    signature.extend_from_slice(&r.to_be_bytes::<32>());
    signature.extend_from_slice(&s.to_be_bytes::<32>());
    signature.push(y_parity);

    Ok(Transaction {
        data: data(fields),
        data_hash: keccak256(&extra_bytes).into(),
        signature: signature.into(),
        kind: TxKind::Web3,
        extra_bytes: extra_bytes.into(),
        extra_hash: keccak256(raw).into(),
        ..Transaction::default()
    })
}

/// What EIP-155 adds to the signed items: chain id, 0, 0.
fn chain_suffix(chain_id: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(11);
    if let Some(chain_id) = chain_id {
        chain_id.encode(&mut out);
        out.extend_from_slice(&[0x80, 0x80]);
    }
    out
}

/// The text fields of the wrapping.
fn data(fields: Web3Fields) -> TransactionData {
    let with_price = fields.has_gas_price();
    let fee = |applies: bool, value: u128| if applies { format!("{value:#x}") } else { String::new() };
    TransactionData {
        chain_id: fields.chain_id.unwrap_or_default().to_string(),
        nonce: format!("{:#x}", fields.nonce),
        to: fields.to.map_or_else(String::new, hex::encode_prefixed),
        value: format!("{:#x}", fields.value),
        gas_price: fee(with_price, fields.max_fee_per_gas),
        gas_limit: fields.gas_limit as i64,
        max_fee_per_gas: fee(!with_price, fields.max_fee_per_gas),
        max_priority_fee_per_gas: fee(!with_price, fields.max_priority_fee_per_gas),
        input: fields.input,
        ..TransactionData::default()
    }
}

/// Reads the bytes that a wrapped transaction's signature covers; gives the items before EIP-155's too.
fn unsigned(extra_bytes: &[u8]) -> Result<(Web3Fields, &[u8])> {
    let (kind, items) = open(extra_bytes)?;
    let mut rest = items;
    let mut fields = read(kind, &mut rest)?;
    let covered = &items[..items.len() - rest.len()];
    if kind == Web3Type::Legacy && !rest.is_empty() {
        fields.chain_id = Some(item(&mut rest, "chainId")?);
        if rest != [0x80, 0x80] {
            return Err(Web3Error::Trailing("chainId"));
        }
    } else if !rest.is_empty() {
        return Err(Web3Error::Trailing("transaction"));
    }
    Ok((fields, covered))
}

/// A wrapped transaction's fields, read from the bytes its signature covers.
pub fn fields(tx: &Transaction) -> Result<Web3Fields> {
    unsigned(&tx.extra_bytes).map(|(fields, _)| fields)
}

/// A wrapped transaction's signature with Ethereum's `v`.
pub fn signature(tx: &Transaction) -> Result<Web3Signature> {
    let (fields, _) = unsigned(&tx.extra_bytes)?;
    split_signature(&tx.signature, &fields)
}

fn split_signature(signature: &[u8], fields: &Web3Fields) -> Result<Web3Signature> {
    let signature: &[u8; 65] = signature.try_into().map_err(|_| Web3Error::Range("signature"))?;
    let y_parity = signature[64];
    if y_parity > 1 {
        return Err(Web3Error::Range("v"));
    }
    let v = match (fields.kind, fields.chain_id) {
        (Web3Type::Legacy, None) => 27 + u128::from(y_parity),
        (Web3Type::Legacy, Some(chain_id)) => 35 + 2 * u128::from(chain_id) + u128::from(y_parity),
        _ => u128::from(y_parity),
    };
    Ok(Web3Signature {
        y_parity,
        v,
        r: U256::from_be_slice(&signature[..32]),
        s: U256::from_be_slice(&signature[32..64]),
    })
}

/// The signed Ethereum transaction inside a wrapped one, byte for byte as its client sent it.
pub fn signed_raw(tx: &Transaction) -> Result<Bytes> {
    let (fields, covered) = unsigned(&tx.extra_bytes)?;
    let signature = split_signature(&tx.signature, &fields)?;
    let mut tail = Vec::with_capacity(76);
    signature.v.encode(&mut tail);
    signature.r.encode(&mut tail);
    signature.s.encode(&mut tail);
    Ok(encode_list(fields.kind, &[covered, &tail]).into())
}
