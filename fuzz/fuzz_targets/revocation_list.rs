//! Revocation lists: nothing panics, every listed number is found.
#![no_main]

use std::sync::OnceLock;

use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{Certificate, CertificateTemplate, Crl, Name};
use libfuzzer_sys::fuzz_target;

fn authority() -> &'static Certificate {
    static AUTHORITY: OnceLock<Certificate> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).expect("a key");
        CertificateTemplate::ca(Name::common_name("ca"), 0, 1).self_sign(&key).expect("a certificate")
    })
}

fuzz_target!(|data: &[u8]| {
    let Ok(crl) = Crl::from_bytes(data) else { return };
    assert!(crl.revoked().iter().all(|serial| crl.is_revoked(serial)));
    assert!(crl.check_signed_by(authority()).is_err());
    let _ = crl.check_ecdsa_encoding();
});
