//! Chains, and what breaks them.

use konsort_crypto::{EcdsaSignature, KeyKind, PrivateKey};
use konsort_pki::{
    Certificate, CertificatePool, CertificateRequest, CertificateTemplate, ChainError, Crl, CrlTemplate,
    ExtendedKeyUsage, Extension, KeyUsage, Name, SubjectAltNames, Usage, VerifyOptions, verify, verify_chain,
};

use crate::{NOW, ca_template, key, leaf_template, root};

/// Name constraints permitting one DNS tree: SEQUENCE { [0] { SEQUENCE { [2] "org1.example.com" } } }.
fn only_org1() -> Extension {
    let mut value = vec![0x30, 0x16, 0xa0, 0x14, 0x30, 0x12, 0x82, 0x10];
    value.extend_from_slice(b"org1.example.com");
    Extension { oid: "2.5.29.30".to_owned(), critical: true, value }
}

fn judge(
    leaf: &Certificate,
    roots: &[Certificate],
    between: &[Certificate],
    usage: Usage,
) -> Result<usize, ChainError> {
    let roots = CertificatePool::new(roots.iter().cloned());
    let intermediates = CertificatePool::new(between.iter().cloned());
    verify(leaf, &VerifyOptions { roots: &roots, intermediates: &intermediates, at: NOW, usage })
        .map(|chains| chains.len())
}

#[test]
fn every_kind_of_key_issues_and_is_certified() {
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Ed25519, KeyKind::Rsa] {
        let ca_key = PrivateKey::generate(kind).unwrap();
        let ca = ca_template("ca").self_sign(&ca_key).unwrap();
        let key = PrivateKey::generate(kind).unwrap();
        let leaf = leaf_template("leaf").issue(key.public_key(), &ca, &ca_key).unwrap();
        assert_eq!(verify_chain(&leaf, std::slice::from_ref(&ca), &[], NOW).unwrap(), [leaf.clone(), ca.clone()]);
        assert_eq!(leaf.public_key(), key.public_key());
        assert_eq!(leaf.authority_key_id(), ca.subject_key_id());
        assert_eq!(ca.subject_key_id().unwrap(), ca_key.public_key().ski());
        assert_eq!(Certificate::from_pem(leaf.pem().as_bytes()).unwrap(), leaf);
    }
}

#[test]
fn a_stranger_an_expired_and_a_future_certificate_are_refused_with_their_reasons() {
    let (ca, ca_key) = root("ca");
    let (other, _) = root("ca");
    let leaf = leaf_template("leaf").issue(key().public_key(), &ca, &ca_key).unwrap();
    let error = verify_chain(&leaf, &[other], &[], NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x509: certificate signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while \
         trying to verify candidate authority certificate \"ca\")"
    );
    assert_eq!(
        verify_chain(&leaf, &[], &[], NOW).unwrap_err().to_string(),
        "x509: certificate signed by unknown authority"
    );
    let roots = [ca];
    assert!(verify_chain(&leaf, &roots, &[], leaf.not_after()).is_ok());
    assert!(verify_chain(&leaf, &roots, &[], leaf.not_before()).is_ok());
    assert_eq!(
        verify_chain(&leaf, &roots, &[], leaf.not_after() + 1).unwrap_err().to_string(),
        "x509: certificate has expired or is not yet valid: current time 2027-01-15T08:16:41Z is after \
         2027-01-15T08:16:40Z"
    );
    assert!(matches!(
        verify_chain(&leaf, &roots, &[], leaf.not_before() - 1),
        Err(ChainError::Expired { relation: "before", .. })
    ));
}

#[test]
fn intermediates_need_authority_room_and_usage() {
    let (top, top_key) = root("top");
    let middle_key = key();
    let middle = ca_template("middle").issue(middle_key.public_key(), &top, &top_key).unwrap();
    let leaf = leaf_template("leaf").issue(key().public_key(), &middle, &middle_key).unwrap();
    assert_eq!(verify_chain(&leaf, std::slice::from_ref(&top), std::slice::from_ref(&middle), NOW).unwrap().len(), 3);
    assert!(verify_chain(&leaf, std::slice::from_ref(&top), &[], NOW).is_err());

    let mut tight = ca_template("top");
    tight.max_path_len = Some(0);
    let tight_root = tight.self_sign(&top_key).unwrap();
    let below = ca_template("middle").issue(middle_key.public_key(), &tight_root, &top_key).unwrap();
    let error = verify_chain(&leaf, &[tight_root], &[below], NOW).unwrap_err().to_string();
    assert!(error.contains("too many intermediates"), "{error}");

    // A member's certificate cannot certify others.
    let member = leaf_template("middle").issue(middle_key.public_key(), &top, &top_key).unwrap();
    let error = verify_chain(&leaf, std::slice::from_ref(&top), &[member], NOW).unwrap_err().to_string();
    assert!(error.contains("parent certificate cannot sign this kind"), "{error}");

    let mut no_signing = ca_template("middle");
    no_signing.key_usage = KeyUsage::DIGITAL_SIGNATURE;
    let no_signing = no_signing.issue(middle_key.public_key(), &top, &top_key).unwrap();
    assert!(verify_chain(&leaf, &[top], &[no_signing], NOW).is_err());
}

#[test]
fn two_ways_to_a_root_are_both_found() {
    let (one, one_key) = root("one");
    let (two, two_key) = root("two");
    let middle_key = key();
    let first = ca_template("middle").issue(middle_key.public_key(), &one, &one_key).unwrap();
    let second = ca_template("middle").issue(middle_key.public_key(), &two, &two_key).unwrap();
    let leaf = leaf_template("leaf").issue(key().public_key(), &first, &middle_key).unwrap();
    assert_eq!(judge(&leaf, &[one, two], &[first, second], Usage::Any), Ok(2));
}

#[test]
fn extended_key_usage_is_asked_for_along_the_whole_path() {
    let (ca, ca_key) = root("ca");
    let mut template = leaf_template("leaf");
    assert_eq!(
        judge(
            &template.issue(key().public_key(), &ca, &ca_key).unwrap(),
            std::slice::from_ref(&ca),
            &[],
            Usage::ServerAuth
        ),
        Ok(1)
    );
    template.extended_key_usage = vec![ExtendedKeyUsage::ClientAuth];
    let client = template.issue(key().public_key(), &ca, &ca_key).unwrap();
    assert_eq!(judge(&client, std::slice::from_ref(&ca), &[], Usage::ClientAuth), Ok(1));
    assert_eq!(judge(&client, std::slice::from_ref(&ca), &[], Usage::Any), Ok(1));
    assert_eq!(judge(&client, std::slice::from_ref(&ca), &[], Usage::ServerAuth), Err(ChainError::IncompatibleUsage));
    template.extended_key_usage = vec![ExtendedKeyUsage::Other("1.2.3".to_owned())];
    let other = template.issue(key().public_key(), &ca, &ca_key).unwrap();
    assert_eq!(judge(&other, &[ca], &[], Usage::ServerAuth), Err(ChainError::IncompatibleUsage));
}

#[test]
fn critical_extensions_and_name_constraints_bind() {
    let ca_key = key();
    let mut template = ca_template("ca");
    template.extensions = vec![only_org1()];
    let ca = template.self_sign(&ca_key).unwrap();
    let named = |name: &str| leaf_template("x y").with_sans([name]).issue(key().public_key(), &ca, &ca_key).unwrap();
    assert_eq!(judge(&named("peer0.org1.example.com"), std::slice::from_ref(&ca), &[], Usage::Any), Ok(1));
    let error =
        judge(&named("peer0.org2.example.com"), std::slice::from_ref(&ca), &[], Usage::Any).unwrap_err().to_string();
    assert!(error.contains("not authorized to sign for this name"), "{error}");

    let mut odd = leaf_template("leaf");
    odd.extensions = vec![Extension { oid: "1.2.3.4".to_owned(), critical: true, value: vec![5, 0] }];
    let leaf = odd.issue(key().public_key(), &ca, &ca_key).unwrap();
    assert_eq!(judge(&leaf, std::slice::from_ref(&ca), &[], Usage::Any), Err(ChainError::UnhandledCriticalExtension));
    odd.extensions =
        vec![Extension { oid: konsort_pki::FABRIC_ATTRIBUTES_OID.to_owned(), critical: false, value: b"{}".to_vec() }];
    let leaf = odd.issue(key().public_key(), &ca, &ca_key).unwrap();
    assert_eq!(judge(&leaf, &[ca], &[], Usage::Any), Ok(1));
    assert_eq!(leaf.fabric_attributes(), Some(&b"{}"[..]));
}

#[test]
fn a_signature_rewritten_to_the_other_half_still_holds() {
    let (ca, ca_key) = root("ca");
    let leaf = leaf_template("leaf").issue(key().public_key(), &ca, &ca_key).unwrap();
    // N - S, computed with the decimal-free helper of the crypto crate: low of high is low.
    let parsed = EcdsaSignature::decode(leaf.signature()).unwrap();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut s = vec![0; 32 - parsed.s.len()];
    s.extend_from_slice(parsed.s);
    let mut borrow = 0_i16;
    let mut mirrored = vec![0_u8; 32];
    for index in (0..32).rev() {
        let value = i16::from(order[index]) - i16::from(s[index]) - borrow;
        borrow = i16::from(value < 0);
        mirrored[index] = value.rem_euclid(256) as u8;
    }
    let high = leaf.with_signature(&EcdsaSignature::encode(parsed.r, &mirrored)).unwrap();
    assert_ne!(high, leaf);
    assert_eq!(verify_chain(&high, std::slice::from_ref(&ca), &[], NOW).unwrap().len(), 2);
    let low = high.with_signature(&ca.public_key().to_low_s(high.signature()).unwrap()).unwrap();
    assert_eq!(low, leaf);
}

#[test]
fn requests_carry_names_and_prove_possession() {
    let key = key();
    let names = SubjectAltNames::from_words(["node.example.com", "::1"]);
    let request = CertificateRequest::create(&Name::common_name("node"), &names, &key).unwrap();
    let read = CertificateRequest::from_pem(request.pem().as_bytes()).unwrap();
    read.check_signature().unwrap();
    assert_eq!((read.subject().cn(), read.alt_names()), ("node", &names));
    let mut forged = request.der().to_vec();
    let at = forged.windows(4).position(|window| window == b"node").unwrap();
    forged[at] = b'N';
    assert!(CertificateRequest::from_der(&forged).unwrap().check_signature().is_err());
}

#[test]
fn revocation_lists_name_serials_and_their_signer() {
    let (ca, ca_key) = root("ca");
    let (other, _) = root("other");
    let revoked = vec![(vec![9], NOW), (vec![1, 0], NOW), (vec![0xff, 1], NOW)];
    let template = CrlTemplate { revoked, this_update: NOW, next_update: Some(NOW + 10), number: 1 };
    let crl = template.issue(&ca, &ca_key).unwrap();
    let crl = Crl::from_bytes(crl.pem().as_bytes()).unwrap();
    assert_eq!(crl, Crl::from_bytes(crl.der()).unwrap());
    assert!(crl.is_revoked(&[9]) && crl.is_revoked(&[1, 0]) && crl.is_revoked(&[0xff, 1]) && !crl.is_revoked(&[8]));
    assert_eq!(crl.authority_key_id(), ca.subject_key_id());
    assert_eq!((crl.this_update(), crl.next_update()), (NOW, Some(NOW + 10)));
    crl.check_signed_by(&ca).unwrap();
    assert!(crl.check_signed_by(&other).is_err());
}

#[test]
fn the_key_must_belong_to_the_authority() {
    let (ca, _) = root("ca");
    assert!(leaf_template("leaf").issue(key().public_key(), &ca, &key()).is_err());
}

#[test]
fn hosts_are_matched_by_alternative_names_only() {
    let (ca, ca_key) = root("ca");
    let leaf = CertificateTemplate::tls(Name::common_name("cn.example.com"), NOW, NOW + 1)
        .with_sans(["peer0.example.com", "127.0.0.1"])
        .issue(key().public_key(), &ca, &ca_key)
        .unwrap();
    leaf.verify_hostname("peer0.example.com").unwrap();
    leaf.verify_hostname("127.0.0.1").unwrap();
    assert_eq!(
        leaf.verify_hostname("cn.example.com").unwrap_err().to_string(),
        "x509: certificate is valid for peer0.example.com, 127.0.0.1, not cn.example.com"
    );
}
