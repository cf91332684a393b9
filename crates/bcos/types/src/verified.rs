//! Transactions whose hash and signer are known to be right.

use std::ops::Deref;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes};
use konsort_crypto::{CryptoSuite, SuiteKind};
use rayon::prelude::*;

use crate::tars::TarsError;
use crate::transaction::{Transaction, TransactionError, TxKind};
use crate::web3;

/// What a [`VerifiedTx`] shares.
#[derive(Debug)]
pub struct Verified {
    /// The hash in roots and lookups.
    pub hash: B256,
    /// The signer.
    pub sender: Address,
    /// The transaction, with hash and sender filled in.
    pub tx: Transaction,
    /// The transaction in Tars, for peers and for the store.
    pub raw: Bytes,
}

/// A transaction that was hashed once and whose signer was recovered once, at the node's door. Cloning shares it.
#[derive(Debug, Clone)]
pub struct VerifiedTx(Arc<Verified>);

impl Deref for VerifiedTx {
    type Target = Verified;

    fn deref(&self) -> &Verified {
        &self.0
    }
}

impl VerifiedTx {
    /// Hashes the transaction and recovers its signer; what it claims about either is replaced. An Ethereum
    /// transaction's wrapping must be the one its signed bytes give.
    pub fn verify(mut tx: Transaction, suite: &dyn CryptoSuite) -> Result<Self, TransactionError> {
        match tx.kind {
            TxKind::Bcos => {
                let hash = tx.data.hash(suite);
                let signer = suite.sender(&hash.0, &tx.signature)?;
                tx.data_hash = hash.0.into();
                tx.extra_bytes = Bytes::new();
                tx.extra_hash = Bytes::new();
                Ok(Self::seal(tx, hash, signer.address.into()))
            }
            TxKind::Web3 => {
                let raw = web3::signed_raw(&tx)?;
                let own = web3::from_raw(&raw)?;
                if own.data != tx.data {
                    return Err(TransactionError::Mismatch("data"));
                }
                if own.extra_bytes != tx.extra_bytes || own.signature != tx.signature {
                    return Err(TransactionError::Mismatch("extraTransactionBytes or signature"));
                }
                Self::of_web3(Transaction {
                    import_time: tx.import_time,
                    attribute: tx.attribute,
                    extra_data: tx.extra_data,
                    ..own
                })
            }
        }
    }

    /// Takes a signed Ethereum transaction as `eth_sendRawTransaction` gets it. `import_time` is in milliseconds
    /// since 1970.
    pub fn from_web3_raw(raw: &[u8], import_time: i64) -> Result<Self, TransactionError> {
        let mut tx = web3::from_raw(raw)?;
        tx.import_time = import_time;
        Self::of_web3(tx)
    }

    /// Seals a transaction that [`web3::from_raw`] has made, so its hashes are right and are not made again.
    fn of_web3(tx: Transaction) -> Result<Self, TransactionError> {
        let fixed = |bytes: &[u8], field| B256::try_from(bytes).map_err(|_| TransactionError::Mismatch(field));
        let signed = fixed(&tx.data_hash, "dataHash")?;
        let hash = fixed(&tx.extra_hash, "extraTransactionHash")?;
        let signer = konsort_crypto::suite(SuiteKind::International).sender(&signed.0, &tx.signature)?;
        Ok(Self::seal(tx, hash, signer.address.into()))
    }

    /// Takes a transaction back from the node's own store, where only verified ones are, without checking it again.
    pub fn from_store(hash: B256, raw: Bytes) -> Result<Self, TarsError> {
        let tx = Transaction::decode(&raw)?;
        let sender = Address::try_from(&tx.sender[..]).map_err(|_| TarsError::Range { field: "sender" })?;
        Ok(Self(Arc::new(Verified { hash, sender, tx, raw })))
    }

    fn seal(mut tx: Transaction, hash: B256, sender: Address) -> Self {
        tx.sender = sender.0.0.into();
        let raw = tx.encode().into();
        Self(Arc::new(Verified { hash, sender, tx, raw }))
    }
}

/// Verifies many transactions on all cores, in order.
pub fn verify_batch(
    transactions: Vec<Transaction>,
    suite: &dyn CryptoSuite,
) -> Vec<Result<VerifiedTx, TransactionError>> {
    // One recovery takes about 40 µs; handing out fewer than a few of them costs more than it saves.
    transactions.into_par_iter().with_min_len(4).map(|tx| VerifiedTx::verify(tx, suite)).collect()
}
