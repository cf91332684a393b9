//! Signatures and public keys: nothing panics, canonical means what it says, low S is reached in one step.
#![no_main]

use std::sync::OnceLock;

use konsort_crypto::{EcdsaSignature, KeyKind, PrivateKey, PublicKey};
use libfuzzer_sys::fuzz_target;

fn keys() -> &'static [PublicKey; 3] {
    static KEYS: OnceLock<[PublicKey; 3]> = OnceLock::new();
    KEYS.get_or_init(|| {
        [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521]
            .map(|kind| PrivateKey::generate(kind).expect("a key").public_key().clone())
    })
}

fuzz_target!(|data: &[u8]| {
    if let Ok(signature) = EcdsaSignature::decode(data) {
        assert_eq!(signature.canonical, EcdsaSignature::encode(signature.r, signature.s) == data);
    }
    for key in keys() {
        assert!(key.verify(b"message", data).is_err());
        if let Ok(low) = key.to_low_s(data) {
            assert_eq!(key.to_low_s(&low), Ok(low));
        }
    }
    if let Ok(key) = PublicKey::from_spki_der(data) {
        assert_eq!(key.spki_der(), data);
        let _ = key.verify(b"message", b"signature");
    }
    let _ = PrivateKey::from_der(data);
});
