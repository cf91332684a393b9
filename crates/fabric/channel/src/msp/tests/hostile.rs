use konsort_crypto::EcdsaSignature;
use konsort_pki::{Crl, CrlTemplate, ExtendedKeyUsage};
use proptest::prelude::*;

use super::*;

fn revocation_list(org: &Org, signer: &PrivateKey, serial: &[u8]) -> Bytes {
    let template =
        CrlTemplate { revoked: vec![(serial.to_vec(), END)], this_update: START, next_update: None, number: 1 };
    let crl: Crl = template.issue(&org.ca, signer).unwrap();
    crl.pem().into()
}

/// The certificate with the other S that its signature allows.
fn with_high_s(certificate: &Certificate) -> Certificate {
    let parsed = EcdsaSignature::decode(certificate.signature()).unwrap();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    let mut s = vec![0; 32 - parsed.s.len()];
    s.extend_from_slice(parsed.s);
    let mut borrow = 0_i16;
    for index in (0..32).rev() {
        let value = i16::from(order[index]) - i16::from(s[index]) - borrow;
        borrow = i16::from(value < 0);
        s[index] = value.rem_euclid(256) as u8;
    }
    certificate.with_signature(&EcdsaSignature::encode(parsed.r, &s)).unwrap()
}

#[test]
fn a_high_s_certificate_is_the_same_identity_as_its_low_form() {
    let org = Org::new();
    let msp = org.msp();
    let low = org.member(&["client"]);
    let high = with_high_s(&low);
    assert_ne!(high, low);
    let from_high = msp.deserialize(&serialize("Org", &high)).unwrap();
    let from_low = msp.deserialize(&serialize("Org", &low)).unwrap();
    assert_eq!(from_high.id(), from_low.id());
    assert_eq!(from_high.certificate(), &low);
    // What was received stays as it was.
    assert_eq!(from_high.serialized(), &serialize("Org", &high));
    msp.validate(&from_high).unwrap();

    // A root in the high form is rewritten too and names the same authorities.
    let mut config = org.config.clone();
    config.root_certs = vec![pem(&with_high_s(&org.ca))];
    let other = Msp::from_config(&config, MspVersion::V3_0).unwrap();
    assert_eq!(other.root_certs(), msp.root_certs());
    judge(&other, &low).unwrap();
}

#[test]
fn expiry_does_not_invalidate_but_is_told() {
    let org = Org::new();
    let mut wanted = template(&["client"]);
    wanted.not_after = START + 10;
    let member = org.issue(&wanted);
    let msp = org.msp();
    judge(&msp, &member).unwrap();
    assert_eq!(msp.deserialize(&serialize("Org", &member)).unwrap().expires_at(), START + 10);
    // But a start outside of the authority's own life is judged at that time.
    wanted.not_before = END + 10;
    wanted.not_after = END + 20;
    let error = judge(&msp, &org.issue(&wanted)).unwrap_err();
    assert!(error.contains("certificate has expired or is not yet valid"), "{error}");
}

#[test]
fn strangers_and_forgeries_are_told_apart_from_members() {
    let org = Org::new();
    let msp = org.msp();
    let stranger = Org::new().member(&["client"]);
    let error = judge(&msp, &stranger).unwrap_err();
    assert!(
        error.starts_with("the supplied identity is not valid: x509: certificate signed by unknown authority"),
        "{error}"
    );
    let member = org.member(&["client"]);
    let mut forged = member.der().to_vec();
    let at = forged.windows(6).position(|window| window == b"member").unwrap();
    forged[at] = b'M';
    assert!(judge(&msp, &Certificate::from_der(&forged).unwrap()).is_err());
    assert_eq!(
        judge(&msp, &org.ca).unwrap_err(),
        "could not obtain certification chain: An X509 certificate with Basic Constraint: Certificate Authority equals \
         true cannot be used as an identity"
    );
    let mut self_signed = template(&["client"]);
    self_signed.is_ca = None;
    let self_signed = self_signed.self_sign(&new_key()).unwrap();
    assert!(judge(&msp, &self_signed).unwrap_err().contains("unknown authority"));
}

#[test]
fn names_and_encodings_that_do_not_fit_are_refused_with_upstream_texts() {
    let org = Org::new();
    let msp = org.msp();
    let member = org.member(&["client"]);
    let other = serialize("Other", &member);
    assert_eq!(msp.deserialize(&other).unwrap_err().to_string(), "expected MSP ID Org, received Other");
    let manager = MspManager::new(vec![msp]);
    assert_eq!(manager.deserialize(&other).unwrap_err().to_string(), "MSP Other is not defined on channel");
    let error = manager.deserialize(&Bytes::from_static(b"\xff\xff")).unwrap_err().to_string();
    assert!(error.starts_with("could not deserialize a SerializedIdentity: "), "{error}");
    let not_pem = SerializedIdentity { mspid: "Org".into(), id_bytes: Bytes::from_static(b"x") };
    assert_eq!(
        manager.deserialize(&not_pem.encode_to_vec().into()).unwrap_err().to_string(),
        "could not decode the PEM structure"
    );
    let not_certificate =
        SerializedIdentity { mspid: "Org".into(), id_bytes: konsort_crypto::pem::encode("CERTIFICATE", b"no").into() };
    let error = manager.deserialize(&not_certificate.encode_to_vec().into()).unwrap_err().to_string();
    assert!(error.starts_with("parseCertificate failed: x509: malformed"), "{error}");
}

#[test]
fn revocation_needs_the_issuers_own_list_and_ignores_dates() {
    let mut org = Org::new();
    let (good, bad) = (org.member(&["client"]), org.member(&["client"]));
    org.config.revocation_list = vec![revocation_list(&org, &org.ca_key, bad.serial())];
    let msp = org.msp();
    judge(&msp, &good).unwrap();
    assert_eq!(
        judge(&msp, &bad).unwrap_err(),
        "could not validate identity against certification chain: The certificate has been revoked"
    );
    // The same list signed by someone else counts for nothing.
    org.config.revocation_list = vec![revocation_list(&org, &new_key(), bad.serial())];
    judge(&org.msp(), &bad).unwrap();
    org.config.revocation_list = vec![Bytes::from_static(b"no list")];
    let error = Msp::from_config(&org.config, MspVersion::V3_0).unwrap_err().to_string();
    assert!(error.starts_with("could not parse RevocationList: "), "{error}");
}

#[test]
fn keys_are_gated_by_the_channels_level() {
    let org = Org::new();
    let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let member = template(&["client"]).issue(key.public_key(), &org.ca, &org.ca_key).unwrap();
    assert_eq!(
        judge(&org.version(MspVersion::V1_4_3), &member).unwrap_err(),
        "could not validate identity's public key algorithm: Ed25519 is not supported"
    );
    let msp = org.msp();
    judge(&msp, &member).unwrap();
    let identity = msp.deserialize(&serialize("Org", &member)).unwrap();
    identity.verify(b"m", &key.sign(b"m")).unwrap();
    let p384 = PrivateKey::generate(KeyKind::EcdsaP384).unwrap();
    let member = template(&["peer"]).issue(p384.public_key(), &org.ca, &org.ca_key).unwrap();
    judge(&org.version(MspVersion::V1_0), &member).unwrap();
}

#[test]
fn a_purpose_without_servers_is_refused_as_upstream_does() {
    let org = Org::new();
    let mut wanted = template(&["client"]);
    wanted.extended_key_usage = vec![ExtendedKeyUsage::ClientAuth];
    let error = judge(&org.msp(), &org.issue(&wanted)).unwrap_err();
    assert!(error.ends_with("x509: certificate specifies an incompatible key usage"), "{error}");
}

#[test]
fn intermediates_issue_and_then_the_root_may_not() {
    let mut org = Org::new();
    let middle_key = new_key();
    let middle = CertificateTemplate::ca(subject("middle", &[]), START, END)
        .issue(middle_key.public_key(), &org.ca, &org.ca_key)
        .unwrap();
    org.config.intermediate_certs = vec![pem(&middle)];
    let msp = org.msp();
    let below = template(&["client"]).issue(new_key().public_key(), &middle, &middle_key).unwrap();
    judge(&msp, &below).unwrap();
    let error = judge(&msp, &org.member(&["client"])).unwrap_err();
    assert!(error.contains("Parent certificate should be a leaf of the certification tree"), "{error}");
}

#[test]
fn broken_definitions_are_refused() {
    let org = Org::new();
    let refuse = |config: FabricMspConfig| Msp::from_config(&config, MspVersion::V3_0).unwrap_err().to_string();
    assert_eq!(
        refuse(FabricMspConfig { root_certs: vec![], ..org.config.clone() }),
        "expected at least one CA certificate"
    );
    let member = org.member(&["client"]);
    let error = refuse(FabricMspConfig { intermediate_certs: vec![pem(&member)], ..org.config.clone() });
    assert!(error.starts_with("CA Certificate did not have the CA attribute, (SN: "), "{error}");
    let error = refuse(FabricMspConfig { tls_root_certs: vec![pem(&member)], ..org.config.clone() });
    assert!(error.starts_with("CA Certificate did not have the CA attribute"), "{error}");
    let error = refuse(FabricMspConfig { admins: vec![pem(&org.member(&["peer"]))], ..org.config.clone() });
    assert!(error.starts_with("admin 0 is invalid [The identity does not contain OU [CLIENT]"), "{error}");
    let error = refuse(FabricMspConfig { fabric_node_ous: None, ..org.config.clone() });
    assert_eq!(error, "administrators must be declared when no admin ou classification is set");
    let crypto =
        fabric_proto::msp::FabricCryptoConfig { identity_identifier_hash_function: "MD5".into(), ..Default::default() };
    let error = refuse(FabricMspConfig { crypto_config: Some(crypto), ..org.config.clone() });
    assert!(error.contains("hash function not recognized [MD5]"), "{error}");
}

#[test]
fn well_formed_identities_have_one_form() {
    let org = Org::new();
    let manager = MspManager::new(vec![org.msp()]);
    let member = org.member(&["client"]);
    let identity = |bytes: Vec<u8>| SerializedIdentity { mspid: "Org".into(), id_bytes: bytes.into() };
    manager.is_well_formed(&identity(member.pem().into())).unwrap();
    assert!(manager.is_well_formed(&identity(format!("{}x", member.pem()).into())).is_err());
    let label = konsort_crypto::pem::encode("X", member.der());
    assert!(manager.is_well_formed(&identity(label.into())).is_err());
    let mut tail = member.signature().to_vec();
    tail.push(0);
    let odd = member.with_signature(&tail).unwrap();
    assert!(manager.is_well_formed(&identity(odd.pem().into())).is_err());
}

#[test]
fn memory_of_identities_is_bounded() {
    let org = Org::new();
    let manager = MspManager::new(vec![org.msp()]);
    let member = org.member(&["client"]);
    for number in 0..2_100 {
        let id_bytes = format!("note {number}\n{}", member.pem()).into();
        let bytes = SerializedIdentity { mspid: "Org".into(), id_bytes }.encode_to_vec().into();
        manager.deserialize(&bytes).unwrap();
    }
    assert!(manager.remembered() <= 2_048 && manager.remembered() > 900, "{}", manager.remembered());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let manager = MspManager::new(vec![]);
        prop_assert!(manager.deserialize(&bytes.clone().into()).is_err());
        let config = fabric_proto::msp::MspConfig { r#type: 0, config: bytes.into() };
        prop_assert!(Msp::from_msp_config(&config, MspVersion::V3_0).is_err());
    }
}
