//! Certificates: nothing panics, what was read is written back, a low-S form stays the same certificate.
#![no_main]

use konsort_pki::{Certificate, verify_chain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(certificate) = Certificate::from_der(data) else { return };
    assert_eq!(certificate.der(), data);
    assert_eq!(Certificate::from_pem(certificate.pem().as_bytes()).as_ref(), Ok(&certificate));
    let roots = [certificate.clone()];
    let _ = verify_chain(&certificate, &roots, &[], certificate.not_before());
    let _ = certificate.check_signed_by(&certificate);
    let _ = certificate.verify_hostname("peer0.org1.example.com");
    let _ = format!("{certificate:?} {}", certificate.issuer());
    if let Ok(signature) = certificate.public_key().to_low_s(certificate.signature()) {
        let low = certificate.with_signature(&signature).expect("only the signature changed");
        assert_eq!(low.tbs(), certificate.tbs());
        assert_eq!(low.public_key().to_low_s(low.signature()).as_deref(), Ok(low.signature()));
    }
});
