//! Bytes that are no certificates, or not any more.

use konsort_pki::{Certificate, CertificateRequest, Crl, CrlTemplate, Name, PkiError, SubjectAltNames};
use proptest::prelude::*;

use crate::{NOW, key, leaf_template, root};

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let (ca, ca_key) = root("ca");
    let leaf = leaf_template("leaf").with_sans(["a.b"]).issue(key().public_key(), &ca, &ca_key).unwrap();
    for at in 0..leaf.der().len() {
        let mut bytes = leaf.der().to_vec();
        bytes[at] ^= 1;
        if let Ok(changed) = Certificate::from_der(&bytes) {
            assert!(changed.check_signed_by(&ca).is_err(), "byte {at}");
        }
    }
}

#[test]
fn what_does_not_belong_is_named() {
    let (ca, _) = root("ca");
    let mut longer = ca.der().to_vec();
    longer.push(0);
    assert_eq!(Certificate::from_der(&longer).unwrap_err().to_string(), "x509: trailing data");
    assert!(matches!(Certificate::from_pem(b"no pem"), Err(PkiError::NoPem(_))));
    assert!(matches!(Certificate::from_der(&vec![0; (1 << 20) + 1]), Err(PkiError::TooLong { .. })));
    let mut twice = leaf_template("leaf");
    let extension = konsort_pki::Extension { oid: "1.2.3".to_owned(), critical: false, value: vec![] };
    twice.extensions = vec![extension.clone(), extension];
    assert_eq!(twice.self_sign(&key()).unwrap_err().to_string(), "x509: certificate contains duplicate extensions");
}

proptest! {
    #[test]
    fn mutations_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let (ca, ca_key) = root("ca");
        let leaf = leaf_template("leaf").with_sans(["a.b", "1.2.3.4"]).issue(key().public_key(), &ca, &ca_key).unwrap();
        let template = CrlTemplate { revoked: vec![(vec![7], NOW)], this_update: NOW, ..CrlTemplate::default() };
        let crl = template.issue(&ca, &ca_key).unwrap();
        let names = SubjectAltNames::from_words(["a.b"]);
        let request = CertificateRequest::create(&Name::common_name("n"), &names, &ca_key).unwrap();
        let mutate = |der: &[u8]| {
            let mut bytes = der.to_vec();
            for (at, value) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            bytes
        };
        if let Ok(certificate) = Certificate::from_der(&mutate(leaf.der())) {
            let _ = certificate.check_signed_by(&ca);
            let _ = certificate.verify_hostname("a.b");
            let _ = format!("{certificate:?}");
        }
        if let Ok(crl) = Crl::from_bytes(&mutate(crl.der())) {
            let _ = crl.check_signed_by(&ca);
        }
        if let Ok(request) = CertificateRequest::from_der(&mutate(request.der())) {
            let _ = request.check_signature();
        }
    }
}
