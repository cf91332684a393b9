//! SHA-2 and SHA-3.

use aws_lc_rs::digest;

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
