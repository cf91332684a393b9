//! The verifiable random function of the second engine's rotating agreement: a number nobody can choose, with a
//! proof that it belongs to a public key and a message.
//!
//! The construction is upstream's (on the ristretto group over curve 25519, hashing with SHA3-512), so proofs of
//! either implementation pass the other's check. Two habits of upstream are kept because every node of a chain has to
//! judge a proof alike: the top bit of both scalars is ignored, and the second may be larger than the group's order.

use curve25519_dalek::{RistrettoPoint, Scalar, ristretto::CompressedRistretto};
use zeroize::Zeroizing;

use crate::hash::{keccak256, sha3_512_parts};

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of a proof: a point and two scalars.
pub const PROOF_BYTES: usize = 96;

fn point(bytes: &[u8]) -> Option<RistrettoPoint> {
    CompressedRistretto::from_slice(bytes).ok()?.decompress()
}

fn scalar_of(parts: &[&[u8]]) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&sha3_512_parts(parts))
}

fn point_of(public_key: &[u8], message: &[u8]) -> RistrettoPoint {
    RistrettoPoint::from_uniform_bytes(&sha3_512_parts(&[public_key, message]))
}

/// The challenge that binds key, message and the three points.
fn challenge(public_key: &[u8], message: &[u8], points: [&[u8; 32]; 3]) -> Scalar {
    scalar_of(&[public_key, message, public_key, points[0], points[1], points[2]])
}

/// The public key that belongs to a secret of any length.
pub fn public_key(secret: &[u8]) -> [u8; PUBLIC_KEY_BYTES] {
    RistrettoPoint::mul_base(&scalar_of(&[secret])).compress().to_bytes()
}

/// Whether these bytes are a public key.
pub fn is_public_key(bytes: &[u8]) -> bool {
    point(bytes).is_some()
}

/// The proof for a message. Different each time, but its [`output`] is not.
pub fn prove(secret: &[u8], message: &[u8]) -> [u8; PROOF_BYTES] {
    let key = scalar_of(&[secret]);
    let public_key = RistrettoPoint::mul_base(&key).compress().to_bytes();
    let base = point_of(&public_key, message);
    let gamma = (base * key).compress().to_bytes();
    let blinding = Zeroizing::new(Scalar::from_bytes_mod_order_wide(&crate::random_bytes::<64>()));
    let on_generator = RistrettoPoint::mul_base(&blinding).compress().to_bytes();
    let on_base = (base * *blinding).compress().to_bytes();
    let c = challenge(&public_key, message, [&gamma, &on_generator, &on_base]);
    let s = *blinding - c * key;
    let mut proof = [0; PROOF_BYTES];
    proof[..32].copy_from_slice(&gamma);
    proof[32..64].copy_from_slice(c.as_bytes());
    proof[64..].copy_from_slice(s.as_bytes());
    proof
}

/// Whether the proof is the key's for the message.
pub fn verify(public_key: &[u8], message: &[u8], proof: &[u8]) -> bool {
    check(public_key, message, proof).is_some()
}

fn check(public_key: &[u8], message: &[u8], proof: &[u8]) -> Option<()> {
    let proof: &[u8; PROOF_BYTES] = proof.try_into().ok()?;
    let scalar = |bytes: &[u8]| -> Option<[u8; 32]> {
        let mut bytes: [u8; 32] = bytes.try_into().ok()?;
        bytes[31] &= 0x7f;
        Some(bytes)
    };
    let (gamma, key) = (point(&proof[..32])?, point(public_key)?);
    let (c_bytes, s_bytes) = (scalar(&proof[32..64])?, scalar(&proof[64..])?);
    let (c, s) = (Scalar::from_bytes_mod_order(c_bytes), Scalar::from_bytes_mod_order(s_bytes));
    let on_generator = RistrettoPoint::vartime_double_scalar_mul_basepoint(&c, &key, &s).compress().to_bytes();
    let on_base = (gamma * c + point_of(public_key, message) * s).compress().to_bytes();
    let gamma_bytes: &[u8; 32] = proof.first_chunk()?;
    let expected = challenge(public_key, message, [gamma_bytes, &on_generator, &on_base]);
    (*expected.as_bytes() == c_bytes).then_some(())
}

/// The random number a proof stands for, the same for every proof of one key and message; none when the proof has not
/// the right form. It means nothing unless [`verify`] accepts the proof.
pub fn output(proof: &[u8]) -> Option<[u8; 32]> {
    let gamma = point(proof.get(..32).filter(|_| proof.len() == PROOF_BYTES)?)?;
    Some(keccak256((gamma * Scalar::from(8_u8)).compress().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Secret, message, public key, proof, output; made by upstream's own library.
    const FOREIGN: [[&str; 5]; 3] = [
        [
            "01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3da",
            "61626364",
            "d48af39c2c050f86dbe118aa7919143e761d10f915fda517fbb2db65be93f40e",
            "04d43dc5d22eb28b79bbba7a7ac39b85e72743bd54c2c96adfad25a407d1065229c2e3cd83f6eb0162e4318d3d8dc2c88844a2188d8ad0ceee77692d28efe200541ea9d910b0ca12e02ce663853d7b436f31957c3c77842b89cc9c5322fd3d08",
            "589caf43d0ba54c2438083fb12bb2877897b706e56a11c1df66be153286799b9",
        ],
        [
            "020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4db",
            "00000000000003e8",
            "8a3bd9e14a269ee9b486496ade73819b9c6d64971aca61307fdd29f0ae704079",
            "40a81b0278f03e632abb97f6f4f7cc7ef1e235ef1e7a71d7051794418f69a3052146b5c1ca3ef8b263d2c95e1e1f522fe04671518cd961116e6b6aea6c4bb204bb88334da090e57a6971e1327b71fd430e673b02dc35c55f189e451db82ad90d",
            "991b477fadabefb4709abe458e0f87361cf1d01a5e52acdef084aeaefbf5a16e",
        ],
        [
            "030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dc",
            "",
            "70622f1ece317e180ecf48801d70f9e38795995ebd625e9675afe1f773094b1d",
            "860f3a87d840c86c4a3dacb794e56e63b58fd4f1afef9ebc260ad7f8a8cf55374b270cf9f5b788a5bff4736be7d0c5c9727fb1ccc05b2f66ad367d6c9588060e2597b9d8add0726fcd303a898e7e36996fa24921c1d7d618f7b74d41357ea40e",
            "658a0d9d680ac7e0ead7fe598f9406cdbbc137ffe5738e9bbf639a6bb59a4e6f",
        ],
    ];

    #[test]
    fn proofs_of_upstream_s_library_are_understood() {
        for row in FOREIGN {
            let [secret, message, key, proof, number] = row.map(|text| hex::decode(text).unwrap());
            assert_eq!(public_key(&secret)[..], key);
            assert!(is_public_key(&key) && verify(&key, &message, &proof));
            assert_eq!(output(&proof).unwrap()[..], number);
            // The same number in another proof.
            let own = prove(&secret, &message);
            assert!(own[..] != proof[..] && verify(&key, &message, &own));
            assert_eq!(output(&own), output(&proof));
        }
    }

    #[test]
    fn whatever_is_changed_does_not_pass() {
        let [secret, message, key, proof, _] = FOREIGN[0].map(|text| hex::decode(text).unwrap());
        // Upstream ignores the top bit of a scalar.
        let ignored = [64 * 8 - 1, 96 * 8 - 1];
        for bit in (0..proof.len() * 8).step_by(17).chain(ignored) {
            let mut wrong = proof.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verify(&key, &message, &wrong), ignored.contains(&bit), "bit {bit}");
        }
        assert!(!verify(&key, b"abce", &proof) && !verify(&key, b"", &proof));
        assert!(!verify(&public_key(b"another"), &message, &proof));
        for cut in [0, 31, 32, 64, 95] {
            assert!(!verify(&key, &message, &proof[..cut]) && output(&proof[..cut]).is_none());
        }
        assert!(!verify(&key[..31], &message, &proof) && !is_public_key(&key[..31]) && !is_public_key(&secret));
        assert!(!verify(&[0xff; 32], &message, &proof) && output(&[0xff; 96]).is_none());
    }
}
