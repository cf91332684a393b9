//! SHA-2, SHA-3, Keccak and SM3.

use aws_lc_rs::digest;
use keccak_asm::Digest as _;

/// A hash function a key or certificate can be used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, Fabric's default everywhere.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
}

impl HashAlgorithm {
    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
            Self::Sha3_256 => &digest::SHA3_256,
            Self::Sha3_384 => &digest::SHA3_384,
        }
    }

    /// The digest of `data`.
    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), data).as_ref().to_vec()
    }

    /// The digest of the parts joined, without joining them.
    pub fn digest_parts(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = digest::Context::new(self.algorithm());
        for part in parts {
            context.update(part);
        }
        context.finish().as_ref().to_vec()
    }

    pub(crate) fn raw(self, data: &[u8]) -> digest::Digest {
        digest::digest(self.algorithm(), data)
    }
}

fn fixed<const N: usize>(digest: &digest::Digest) -> [u8; N] {
    let mut out = [0_u8; N];
    out.copy_from_slice(digest.as_ref());
    out
}

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    fixed(&digest::digest(&digest::SHA256, data))
}

/// SHA-256 of the parts joined, without joining them.
pub fn sha256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// SHA-384 of `data`.
pub fn sha384(data: &[u8]) -> [u8; 48] {
    fixed(&digest::digest(&digest::SHA384, data))
}

/// SHA3-256 of `data`.
pub fn sha3_256(data: &[u8]) -> [u8; 32] {
    fixed(&digest::digest(&digest::SHA3_256, data))
}

/// SHA3-384 of `data`.
pub fn sha3_384(data: &[u8]) -> [u8; 48] {
    fixed(&digest::digest(&digest::SHA3_384, data))
}

/// SHA3-512 of the parts joined, without joining them.
pub(crate) fn sha3_512_parts(parts: &[&[u8]]) -> [u8; 64] {
    let mut context = digest::Context::new(&digest::SHA3_512);
    for part in parts {
        context.update(part);
    }
    fixed(&context.finish())
}

/// Keccak-256 of `data`, with the padding Ethereum uses (not SHA3-256).
pub fn keccak256(data: &[u8]) -> [u8; 32] {
    keccak_asm::Keccak256::digest(data).into()
}

/// Keccak-256 of the parts joined, without joining them.
pub fn keccak256_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = keccak_asm::Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SM3 (GB/T 32905) of `data`.
pub fn sm3(data: &[u8]) -> [u8; 32] {
    sm3_parts(&[data])
}

/// SM3 of the parts joined, without joining them.
pub fn sm3_parts(parts: &[&[u8]]) -> [u8; 32] {
    use sm3::Digest as _;
    let mut hasher = sm3::Sm3::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 fed piece by piece.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Starts an empty hash.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds bytes.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// Ends the hash.
    pub fn finish(self) -> [u8; 32] {
        fixed(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_vectors_of_the_four_functions() {
        assert_eq!(hex::encode(sha256(b"abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(
            hex::encode(sha384(b"abc")),
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"
        );
        assert_eq!(hex::encode(sha3_256(b"abc")), "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532");
        assert_eq!(
            hex::encode(sha3_384(b"abc")),
            "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1edf228376d25"
        );
    }

    #[test]
    fn published_vectors_of_keccak_and_sm3() {
        assert_eq!(hex::encode(keccak256(b"")), "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_eq!(hex::encode(sm3(b"abc")), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0");
        assert_eq!(keccak256_parts(&[b"a", b"", b"bc"]), keccak256(b"abc"));
        assert_eq!(sm3_parts(&[b"a", b"", b"bc"]), sm3(b"abc"));
    }

    #[test]
    fn parts_and_stream_equal_one_shot() {
        let mut stream = Sha256::new();
        stream.update(b"a");
        stream.update(b"");
        stream.update(b"bc");
        assert_eq!(stream.finish(), sha256(b"abc"));
        assert_eq!(sha256_parts(&[b"ab", b"", b"c"]), sha256(b"abc"));
        assert_eq!(HashAlgorithm::Sha384.digest_parts(&[b"a", b"bc"]), sha384(b"abc"));
        assert_eq!(HashAlgorithm::Sha3_256.digest(b"abc"), sha3_256(b"abc"));
    }
}
