//! Transactions, receipts, headers and blocks of a chain compatible with FISCO BCOS 3.x: codecs and hash rules.
//!
//! ```
//! use bcos_types::{Transaction, TransactionData, VerifiedTx};
//! use konsort_crypto::{SuiteKey, SuiteKind, suite};
//!
//! let chain = suite(SuiteKind::International);
//! let key = SuiteKey::generate(SuiteKind::International);
//! let data = TransactionData {
//!     chain_id: "chain0".into(),
//!     group_id: "group0".into(),
//!     block_limit: 500,
//!     nonce: "4711".into(),
//!     to: "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8f1".into(),
//!     ..TransactionData::default()
//! };
//! let sent = Transaction::signed(data, &key).encode();
//!
//! let received = Transaction::decode(&sent)?;
//! let verified = VerifiedTx::verify(received, chain)?;
//! assert_eq!(verified.sender, key.address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * [`Transaction`], [`VerifiedTx`]: a transaction's hash and signer are worked out once, at the pool's door; what
//!   follows handles the verified form.
//! * [`web3`]: Ethereum transactions and the form they travel in through the chain.
//! * [`Receipt`], [`BlockHeader`], [`Block`], [`merkle`], [`genesis`], [`address`]: structures, hashes, proofs.
//! * [`frame`]: the SDK's WebSocket frame. [`status`], [`codes`]: numbers that clients know, with their names.
//! * [`tars`]: the codec itself. Hashes never cover its bytes, so reading is tolerant; every length is bounded.
//!
//! What this crate does not do: it keeps nothing, executes nothing, and knows no JSON. It does not read transactions
//! of the 2.x series.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod address;
mod block;
pub mod codes;
pub mod frame;
pub mod genesis;
mod header;
pub mod merkle;
mod receipt;
pub mod status;
pub mod tars;
mod transaction;
mod verified;
pub mod web3;

pub use alloy_primitives::{Address, B256, Bytes, U256};
pub use block::{Block, TransactionMetadata, encode_block};
pub use header::{BlockHeader, HeaderSignature, ParentInfo};
pub use receipt::{LogEntry, Receipt};
pub use tars::TarsError;
pub use transaction::{Transaction, TransactionData, TransactionError, TxKind, signed_call_hash};
pub use verified::{Verified, VerifiedTx, verify_batch};

use konsort_crypto::CryptoSuite;

/// The first four bytes of the hash of a method's signature, such as `transfer(address,uint256)`. Chains with SM3 have
/// their own selectors for every method.
pub fn selector(suite: &dyn CryptoSuite, signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = suite.hash(signature.as_bytes());
    [a, b, c, d]
}
