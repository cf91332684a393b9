//! The door to hashing and signatures.

use std::fmt::Debug;

use alloy_primitives::B256;
use bytes::Bytes;
use konsort_crypto::{CryptoSuite, SuiteKey, suite};

use crate::settings::NodeId;

/// What a node signs and checks with. The same signature that a block header carries is used for everything.
pub trait Keys: Debug + Send {
    /// This node.
    fn me(&self) -> &NodeId;

    /// The chain's hash of the parts joined.
    fn hash(&self, parts: &[&[u8]]) -> B256;

    /// This node's signature in the form that headers carry.
    fn sign(&self, hash: &B256) -> Bytes;

    /// Whether `signature` over `hash` is of `node`.
    fn verify(&self, node: &NodeId, hash: &B256, signature: &[u8]) -> bool;
}

/// A node's real key.
#[derive(Debug)]
pub struct NodeKeys {
    me: NodeId,
    key: SuiteKey,
    suite: &'static dyn CryptoSuite,
}

impl NodeKeys {
    /// Takes the key of `node.pem`.
    pub fn new(key: SuiteKey) -> Self {
        let me = NodeId(Bytes::copy_from_slice(key.public_key()));
        let suite = suite(key.kind());
        Self { me, key, suite }
    }
}

impl Keys for NodeKeys {
    fn me(&self) -> &NodeId {
        &self.me
    }

    fn hash(&self, parts: &[&[u8]]) -> B256 {
        B256::from(self.suite.hash_parts(parts))
    }

    fn sign(&self, hash: &B256) -> Bytes {
        self.key.sign_header(&hash.0).into()
    }

    fn verify(&self, node: &NodeId, hash: &B256, signature: &[u8]) -> bool {
        self.suite.verify(&node.0, &hash.0, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsort_crypto::SuiteKind;

    #[test]
    fn both_suites_sign_headers_and_check_them() {
        for kind in [SuiteKind::International, SuiteKind::Sm] {
            let keys = NodeKeys::new(SuiteKey::generate(kind));
            let other = NodeKeys::new(SuiteKey::generate(kind));
            let hash = keys.hash(&[b"a block", b" header"]);
            assert_eq!(hash, other.hash(&[b"a block header"]));
            let signature = keys.sign(&hash);
            assert!(other.verify(keys.me(), &hash, &signature));
            assert!(!other.verify(other.me(), &hash, &signature));
            assert!(!other.verify(keys.me(), &hash, &signature[..10]));
        }
    }
}
