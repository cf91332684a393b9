//! Addresses of new contracts, and the mixed-case form that guards against typing errors.

use alloy_primitives::{Address, B256, hex};
use konsort_crypto::CryptoSuite;
use konsort_crypto::hash::keccak256;

/// The address of the contract that a native transaction deploys: the first 20 bytes of the hash of
/// `block_index_sequence`, where `sequence` counts the contracts made by that transaction.
pub fn native_create(suite: &dyn CryptoSuite, block: u64, index: u64, sequence: u64) -> Address {
    let hash = suite.hash(format!("{block}_{index}_{sequence}").as_bytes());
    Address::from_slice(&hash[..20])
}

/// The address that an account's deployment with this nonce gets: Ethereum's rule, Keccak on every chain.
pub fn ethereum_create(sender: &Address, nonce: u64) -> Address {
    let mut items = Vec::with_capacity(40);
    alloy_rlp::Header { list: true, payload_length: 21 + alloy_rlp::Encodable::length(&nonce) }.encode(&mut items);
    alloy_rlp::Encodable::encode(sender, &mut items);
    alloy_rlp::Encodable::encode(&nonce, &mut items);
    Address::from_slice(&keccak256(&items)[12..])
}

/// CREATE2's address, with the chain's hash.
pub fn create2(suite: &dyn CryptoSuite, sender: &Address, salt: &B256, init_code: &[u8]) -> Address {
    let code_hash = suite.hash(init_code);
    let hash = suite.hash_parts(&[&[0xff], sender.as_slice(), salt.as_slice(), &code_hash]);
    Address::from_slice(&hash[12..])
}

/// The address in hex with 0x, letters upper-case where the chain's hash of the lower-case text has a digit above 7.
pub fn checksum(suite: &dyn CryptoSuite, address: &Address) -> String {
    let lower = hex::encode(address);
    let hash = suite.hash(lower.as_bytes());
    let digits = lower.chars().enumerate().map(|(index, digit)| {
        let nibble = hash[index / 2] >> (4 * (1 - index % 2)) & 15;
        if nibble > 7 { digit.to_ascii_uppercase() } else { digit }
    });
    "0x".chars().chain(digits).collect()
}
