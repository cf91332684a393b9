//! Block headers and the signatures that make them final.

use alloy_primitives::{B256, Bytes};
use konsort_crypto::CryptoSuite;

use crate::tars::{Reader, TarsError, Writer};

/// A block this one follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ParentInfo {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
}

/// One sealer's signature over the header's hash.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderSignature {
    /// Which entry of the header's sealer list signed.
    pub sealer_index: u64,
    /// As [`CryptoSuite::verify`] takes it.
    pub signature: Bytes,
}

/// A block header. The genesis header (number 0) has no roots and no gas: they are empty in its hash, zero here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockHeader {
    /// The chain's compatibility version, such as 0x03100400 for 3.16.4.
    pub version: u32,
    /// The block before; none in the genesis header.
    pub parents: Vec<ParentInfo>,
    /// The root over the transactions' hashes.
    pub transactions_root: B256,
    /// The root over the receipts' hashes.
    pub receipts_root: B256,
    /// The state after this block.
    pub state_root: B256,
    /// The number.
    pub number: u64,
    /// Gas used by all transactions.
    pub gas_used: u64,
    /// Milliseconds since 1970.
    pub timestamp: u64,
    /// Which entry of the sealer list proposed the block.
    pub sealer: u64,
    /// The sealers' node ids, 64 bytes each, sorted.
    pub sealer_list: Vec<Bytes>,
    /// The genesis text, else empty.
    pub extra_data: Bytes,
    /// The sealers' weights.
    pub consensus_weights: Vec<u64>,
    /// The header's own hash; zero until [`seal`](Self::seal).
    pub hash: B256,
    /// Signatures of a quorum; not hashed.
    pub signatures: Vec<HeaderSignature>,
}

impl BlockHeader {
    /// The hash: the fields joined, integers big-endian. Signatures are not part of it.
    pub fn compute_hash(&self, suite: &dyn CryptoSuite) -> B256 {
        let version = self.version.to_be_bytes();
        let parents: Vec<[u8; 8]> = self.parents.iter().map(|parent| parent.number.to_be_bytes()).collect();
        let numbers = [self.number, self.timestamp, self.sealer].map(u64::to_be_bytes);
        let [number, timestamp, sealer] = &numbers;
        let gas_used = self.gas_used.to_string();
        let weights: Vec<[u8; 8]> = self.consensus_weights.iter().map(|weight| weight.to_be_bytes()).collect();

        let mut parts: Vec<&[u8]> = Vec::with_capacity(12 + 2 * parents.len() + 2 * weights.len());
        parts.push(&version);
        for (number, parent) in parents.iter().zip(&self.parents) {
            parts.extend([&number[..], parent.hash.as_slice()]);
        }
        if self.number == 0 {
            parts.extend([&number[..], timestamp, sealer]);
        } else {
            parts.extend([&self.transactions_root, &self.receipts_root, &self.state_root].map(B256::as_slice));
            parts.extend([&number[..], gas_used.as_bytes(), timestamp, sealer]);
        }
        parts.extend(self.sealer_list.iter().map(|id| &id[..]));
        parts.push(&self.extra_data);
        parts.extend(weights.iter().map(|weight| &weight[..]));
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
        let data = reader.structure(1, "data", Self::read_data)?.unwrap_or_default();
        Ok(Self {
            hash: reader.hash(2, "dataHash")?,
            signatures: reader.structures(3, "signatureList", |entry| {
                Ok(HeaderSignature {
                    sealer_index: entry.number(1, "sealerIndex")?,
                    signature: entry.bytes(2, "signature")?,
                })
            })?,
            ..data
        })
    }

    fn read_data(reader: &mut Reader<'_>) -> Result<Self, TarsError> {
        Ok(Self {
            version: reader.number(2, "version")?,
            parents: reader.structures(3, "parentInfo", |parent| {
                Ok(ParentInfo { number: parent.number(1, "blockNumber")?, hash: parent.hash(2, "blockHash")? })
            })?,
            transactions_root: reader.hash(4, "txsRoot")?,
            receipts_root: reader.hash(5, "receiptRoot")?,
            state_root: reader.hash(6, "stateRoot")?,
            number: reader.number(7, "blockNumber")?,
            gas_used: reader.decimal(8, "gasUsed")?,
            timestamp: reader.number(9, "timestamp")?,
            sealer: reader.number(10, "sealer")?,
            sealer_list: reader.list(11, "sealerList", |id| id.bytes(0, "sealerList"))?,
            extra_data: reader.bytes(12, "extraData")?,
            consensus_weights: reader.list(13, "consensusWeights", |weight| weight.number(0, "consensusWeights"))?,
            ..Self::default()
        })
    }

    /// The Tars form.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(
            320 + self.sealer_list.len() * 72 + self.extra_data.len() + self.signatures.len() * 80,
        );
        self.write(&mut writer);
        writer.into_bytes()
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer
            .structure(1, |data| self.write_data(data))
            .optional_bytes(2, if self.hash.is_zero() { &[] } else { self.hash.as_slice() })
            .optional_list(3, &self.signatures, |list, entry| {
                list.structure(0, |signature| {
                    signature.optional_int(1, entry.sealer_index as i64).optional_bytes(2, &entry.signature);
                });
            });
    }

    fn write_data(&self, writer: &mut Writer) {
        writer.optional_int(2, self.version.into()).optional_list(3, &self.parents, |list, parent| {
            list.structure(0, |entry| {
                entry.optional_int(1, parent.number as i64).bytes(2, parent.hash.as_slice());
            });
        });
        // The genesis header has neither roots nor gas.
        let genesis = self.number == 0;
        let root = |root: &B256| if genesis && root.is_zero() { Vec::new() } else { root.to_vec() };
        let gas_used = if genesis && self.gas_used == 0 { String::new() } else { self.gas_used.to_string() };
        writer
            .optional_bytes(4, &root(&self.transactions_root))
            .optional_bytes(5, &root(&self.receipts_root))
            .optional_bytes(6, &root(&self.state_root))
            .optional_int(7, self.number as i64)
            .optional_text(8, &gas_used);
        writer
            .optional_int(9, self.timestamp as i64)
            .optional_int(10, self.sealer as i64)
            .optional_list(11, &self.sealer_list, |list, id| {
                list.bytes(0, id);
            })
            .optional_bytes(12, &self.extra_data)
            .optional_list(13, &self.consensus_weights, |list, &weight| {
                list.int(0, weight as i64);
            });
    }
}
