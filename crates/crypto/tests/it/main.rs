//! Keys and signatures through the public door.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use konsort_crypto::der::{Writer, decimal};
use konsort_crypto::{EcdsaSignature, HashAlgorithm, KeyKind, PrivateKey, PublicKey, SignatureError, SignatureScheme};
use proptest::prelude::*;

const KINDS: [KeyKind; 4] = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Ed25519];

/// Order of P-256.
const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

/// The other signature that every ECDSA signature has: (R, N - S).
fn mirrored(signature: &[u8]) -> Vec<u8> {
    let parsed = EcdsaSignature::decode(signature).unwrap();
    let order = hex::decode(ORDER).unwrap();
    let mut s = vec![0_u8; 32 - parsed.s.len()];
    s.extend_from_slice(parsed.s);
    let mut borrow = 0;
    let mut out = vec![0_u8; 32];
    for index in (0..32).rev() {
        let value = i32::from(order[index]) - i32::from(s[index]) - borrow;
        borrow = i32::from(value < 0);
        out[index] = value.rem_euclid(256) as u8;
    }
    EcdsaSignature::encode(parsed.r, &out)
}

#[test]
fn every_kind_signs_verifies_and_round_trips_through_pem() {
    for kind in KINDS {
        let key = PrivateKey::generate(kind).unwrap();
        let again = PrivateKey::from_pem(&key.to_pkcs8_pem()).unwrap();
        assert_eq!(again.kind(), kind);
        assert_eq!(again.public_key(), key.public_key());
        let signature = again.sign(b"message");
        let public = PublicKey::from_spki_der(key.public_key().spki_der()).unwrap();
        public.verify(b"message", &signature).unwrap();
        assert_eq!(public.verify(b"massage", &signature), Err(SignatureError::Mismatch));
        assert_eq!(public.spki_der(), key.public_key().spki_der());
        assert_eq!(public.ski(), again.public_key().ski());
    }
}

#[test]
fn every_hash_works_on_every_curve() {
    for kind in &KINDS[..3] {
        let key = PrivateKey::generate(*kind).unwrap();
        for hash in [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
            HashAlgorithm::Sha3_256,
            HashAlgorithm::Sha3_384,
        ] {
            let signature = key.sign_hashed(hash, b"m");
            key.public_key().verify_hashed(hash, b"m", &signature).unwrap();
            key.public_key().verify_any_s(SignatureScheme::Ecdsa(hash), b"m", &signature).unwrap();
            let other = if hash == HashAlgorithm::Sha256 { HashAlgorithm::Sha384 } else { HashAlgorithm::Sha256 };
            assert!(key.public_key().verify_hashed(other, b"m", &signature).is_err());
        }
    }
}

/// Keys and signatures made by OpenSSL: SEC 1 file, P-384 over SHA-256, which our library cannot do directly.
#[test]
fn openssl_signatures_and_sec1_keys_are_understood() {
    let key = PrivateKey::from_pem(include_str!("../data/p384_sec1.pem")).unwrap();
    assert_eq!(key.kind(), KeyKind::EcdsaP384);
    let signature = include_bytes!("../data/p384_sha256.sig");
    key.public_key().verify_any_s(SignatureScheme::Ecdsa(HashAlgorithm::Sha256), b"konsort", signature).unwrap();
    let ed = PrivateKey::from_pem(include_str!("../data/ed25519_pkcs8.pem")).unwrap();
    assert_eq!(ed.kind(), KeyKind::Ed25519);
    ed.public_key().verify(b"konsort", include_bytes!("../data/ed25519.sig")).unwrap();
    assert_eq!(ed.sign(b"konsort"), include_bytes!("../data/ed25519.sig"));
    let (block, _) = konsort_crypto::pem::decode(include_bytes!("../data/rsa2048_public.pem")).unwrap();
    let rsa = PublicKey::from_spki_der(&block.contents).unwrap();
    let signature = include_bytes!("../data/rsa2048_sha256.sig");
    rsa.verify_any_s(SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256), b"konsort", signature).unwrap();
    assert!(rsa.verify_any_s(SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256), b"konsorT", signature).is_err());
    assert_eq!(rsa.verify(b"konsort", signature), Err(SignatureError::WrongKey));
}

#[test]
fn the_upper_half_is_refused_for_members_and_allowed_for_certificates() {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let low = key.sign(b"m");
    let high = mirrored(&low);
    let Err(SignatureError::HighS { s, half_order }) = key.public_key().verify(b"m", &high) else {
        panic!("high S was accepted");
    };
    assert_eq!(s, decimal(EcdsaSignature::decode(&high).unwrap().s));
    assert!(half_order.starts_with("578960446"));
    key.public_key().verify_any_s(SignatureScheme::Ecdsa(HashAlgorithm::Sha256), b"m", &high).unwrap();
    assert_eq!(key.public_key().to_low_s(&high).unwrap(), low);
    assert_eq!(key.public_key().to_low_s(&low).unwrap(), low);
    // Found by fuzzing: the order itself would be mirrored to zero, which is no signature either.
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    assert!(key.public_key().to_low_s(&EcdsaSignature::encode(&[5], &order)).is_err());
}

#[test]
fn trailing_bytes_are_ignored_as_upstream_does_but_not_on_certificates() {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let mut signature = key.sign(b"m");
    signature.extend_from_slice(b"tail");
    key.public_key().verify(b"m", &signature).unwrap();
    assert!(key.public_key().verify_any_s(SignatureScheme::Ecdsa(HashAlgorithm::Sha256), b"m", &signature).is_err());
}

#[test]
fn keys_that_are_no_keys_are_named() {
    assert!(PrivateKey::from_pem("").is_err());
    assert!(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").is_err());
    let mut point_off_curve = Writer::new();
    point_off_curve.sequence(|info| {
        info.sequence(|algorithm| {
            algorithm.oid("1.2.840.10045.2.1").oid("1.2.840.10045.3.1.7");
        });
        let mut point = vec![4];
        point.extend_from_slice(&[1; 64]);
        info.bit_string(&point);
    });
    assert!(PublicKey::from_spki_der(&point_off_curve.into_bytes()).is_err());
}

#[test]
fn rsa_keys_are_made_and_read_back() {
    let key = PrivateKey::generate(KeyKind::Rsa).unwrap();
    let read = PrivateKey::from_pem(&key.to_pkcs8_pem()).unwrap();
    assert_eq!((read.kind(), read.scalar()), (KeyKind::Rsa, None));
    assert_eq!(*read.to_pkcs8_der(), *key.to_pkcs8_der());
    let signature = read.sign(b"m");
    let scheme = SignatureScheme::RsaPkcs1(HashAlgorithm::Sha256);
    assert_eq!(key.public_key().verify_any_s(scheme, b"m", &signature), Ok(()));
    assert!(key.public_key().verify_any_s(scheme, b"n", &signature).is_err());
}

#[test]
fn secrets_are_not_printed() {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let secret = hex::encode(key.scalar().unwrap());
    assert!(!format!("{key:?}").contains(&secret[..16]));
}

proptest! {
    #[test]
    fn no_signature_bytes_panic_or_verify(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        for kind in KINDS {
            let key = PrivateKey::generate(kind).unwrap();
            prop_assert!(key.public_key().verify(b"m", &bytes).is_err());
            let _ = key.public_key().to_low_s(&bytes);
        }
    }

    #[test]
    fn signatures_are_always_low(message in proptest::collection::vec(any::<u8>(), 0..64)) {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let signature = key.sign(&message);
        prop_assert_eq!(key.public_key().to_low_s(&signature).unwrap(), signature);
    }
}
