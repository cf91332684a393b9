//! Objects made by OpenSSL: another implementation's encodings, RSA and P-384 with SHA-256.

use konsort_pki::{Certificate, CertificateRequest, Crl, verify_chain};

fn certificate(text: &str) -> Certificate {
    Certificate::from_pem(text.as_bytes()).unwrap()
}

#[test]
fn rsa_authorities_certify_with_both_paddings() {
    let root = certificate(include_str!("../data/rsa_root.pem"));
    for text in [include_str!("../data/rsa_leaf.pem"), include_str!("../data/pss_leaf.pem")] {
        let leaf = certificate(text);
        let chain = verify_chain(&leaf, std::slice::from_ref(&root), &[], leaf.not_before() + 1).unwrap();
        assert_eq!(chain.len(), 2);
        assert!(!leaf.is_ecdsa_signed());
    }
    assert_eq!(root.subject().to_string(), "CN=rsa root,O=RSA Root,C=CN");
}

#[test]
fn alternative_names_of_four_kinds_are_read() {
    let leaf = certificate(include_str!("../data/rsa_leaf.pem"));
    let names = leaf.alt_names();
    assert_eq!(names.dns, ["leaf.example.com"]);
    assert_eq!(names.ips, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(names.emails, ["a@example.com"]);
    assert_eq!(names.uris, ["https://u.example.com/x"]);
    assert_eq!(leaf.organizational_units(), ["client"]);
    let request = CertificateRequest::from_pem(include_bytes!("../data/openssl_request.pem")).unwrap();
    request.check_signature().unwrap();
    assert_eq!(request.alt_names(), names);
    assert_eq!(request.public_key(), leaf.public_key());
}

#[test]
fn a_p384_root_over_sha256_signs_itself() {
    let root = certificate(include_str!("../data/p384_sha256_root.pem"));
    root.check_signed_by(&root).unwrap();
}

#[test]
fn a_revocation_list_is_matched_and_checked() {
    let root = certificate(include_str!("../data/rsa_root.pem"));
    let revoked = certificate(include_str!("../data/rsa_leaf.pem"));
    let good = certificate(include_str!("../data/pss_leaf.pem"));
    let crl = Crl::from_bytes(include_bytes!("../data/openssl.crl.pem")).unwrap();
    crl.check_signed_by(&root).unwrap();
    assert_eq!(crl.authority_key_id(), root.subject_key_id());
    assert!(crl.is_revoked(revoked.serial()) && !crl.is_revoked(good.serial()));
    assert_eq!(crl.raw_issuer(), root.raw_subject());
}
