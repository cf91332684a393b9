use super::*;

/// Folder, organisation and the role its unit gives.
const MEMBERS: [(&str, &str, MspRoleType); 9] = [
    ("ordererOrganizations/example.com/orderers/orderer.example.com", "OrdererMSP", MspRoleType::Orderer),
    ("ordererOrganizations/example.com/users/Admin@example.com", "OrdererMSP", MspRoleType::Admin),
    ("peerOrganizations/org1.example.com/peers/peer0.org1.example.com", "Org1MSP", MspRoleType::Peer),
    ("peerOrganizations/org1.example.com/users/Admin@org1.example.com", "Org1MSP", MspRoleType::Admin),
    ("peerOrganizations/org1.example.com/users/User1@org1.example.com", "Org1MSP", MspRoleType::Client),
    ("peerOrganizations/org2.example.com/peers/peer0.org2.example.com", "Org2MSP", MspRoleType::Peer),
    ("peerOrganizations/org2.example.com/users/User1@org2.example.com", "Org2MSP", MspRoleType::Client),
    ("peerOrganizations/org3.example.com/peers/peer0.org3.example.com", "Org3MSP", MspRoleType::Peer),
    ("peerOrganizations/org3.example.com/users/Admin@org3.example.com", "Org3MSP", MspRoleType::Admin),
];

fn organization(folder: &str, mspid: &str) -> Msp {
    Msp::from_folder(&real_network().join("crypto-config").join(folder).join("msp"), mspid, MspVersion::V1_4_3).unwrap()
}

fn manager() -> MspManager {
    MspManager::new(vec![
        organization("ordererOrganizations/example.com", "OrdererMSP"),
        organization("peerOrganizations/org1.example.com", "Org1MSP"),
        organization("peerOrganizations/org2.example.com", "Org2MSP"),
        organization("peerOrganizations/org3.example.com", "Org3MSP"),
    ])
}

#[test]
fn members_of_the_real_network_sign_and_have_exactly_their_role() {
    let manager = manager();
    for (folder, mspid, role) in MEMBERS {
        let folder = real_network().join("crypto-config").join(folder).join("msp");
        let signer = SigningIdentity::from_folder(&folder, mspid).unwrap();
        let identity = manager.deserialize(signer.serialized()).unwrap();
        manager.validate(&identity).unwrap();
        identity.verify(b"proposal", &signer.sign(b"proposal")).unwrap();
        assert_eq!(identity.verify(b"another", &signer.sign(b"proposal")), Err(MspError::BadSignature));
        assert_eq!(identity.serialized(), signer.serialized());
        for asked in
            [MspRoleType::Member, MspRoleType::Admin, MspRoleType::Client, MspRoleType::Peer, MspRoleType::Orderer]
        {
            let satisfied = manager.satisfies(&identity, &role_principal(mspid, asked)).is_ok();
            assert_eq!(satisfied, asked == role || asked == MspRoleType::Member, "{mspid} {role:?} {asked:?}");
        }
        assert!(manager.satisfies(&identity, &role_principal("NobodyMSP", MspRoleType::Member)).is_err());
    }
}

#[test]
fn an_identity_is_named_by_the_hash_of_its_certificate_and_remembered_by_its_bytes() {
    let manager = manager();
    let folder = real_network().join("crypto-config").join(MEMBERS[2].0).join("msp");
    let signer = SigningIdentity::from_folder(&folder, "Org1MSP").unwrap();
    let first = manager.deserialize(signer.serialized()).unwrap();
    let again = manager.deserialize(&Bytes::copy_from_slice(signer.serialized())).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    assert_eq!(first.id().id, hex::encode(konsort_crypto::hash::sha256(signer.certificate().der())));
    assert_eq!(first.expires_at(), signer.certificate().not_after());

    // Other bytes for the same certificate are the same signer.
    let mut with_text = b"a note\n".to_vec();
    with_text.extend_from_slice(signer.certificate().pem().as_bytes());
    let other_form = SerializedIdentity { mspid: "Org1MSP".to_owned(), id_bytes: with_text.into() };
    let other = manager.deserialize(&other_form.encode_to_vec().into()).unwrap();
    assert!(!std::sync::Arc::ptr_eq(&first, &other));
    assert_eq!(first.id(), other.id());
}

#[test]
fn the_definition_survives_the_channel_configuration() {
    let folder = real_network().join("crypto-config/peerOrganizations/org1.example.com/msp");
    let config = folder_config(&folder, "Org1MSP").unwrap();
    assert_eq!(config.root_certs.len(), 1);
    assert_eq!(config.tls_root_certs.len(), 1);
    let roles = config.fabric_node_ous.as_ref().unwrap();
    assert!(!roles.client_ou_identifier.as_ref().unwrap().certificate.is_empty());
    let msp = Msp::from_config(&config, MspVersion::V1_4_3).unwrap();
    let again = Msp::from_msp_config(&msp.to_config(), MspVersion::V3_0).unwrap();
    assert_eq!(again.config(), &config);
    assert_eq!((again.name(), again.root_certs().len(), again.tls_root_certs().len()), ("Org1MSP", 1, 1));
}

#[test]
fn folders_that_lack_something_say_what() {
    let empty = tempfile::tempdir().unwrap();
    let text = |result: Result<Msp, MspError>| result.unwrap_err().to_string();
    let msp = || Msp::from_folder(empty.path(), "Org", MspVersion::V3_0);
    assert!(text(msp()).starts_with("could not load a valid ca certificate from directory"));
    std::fs::create_dir(empty.path().join("cacerts")).unwrap();
    std::fs::write(empty.path().join("cacerts/readme.txt"), "nothing").unwrap();
    assert!(text(msp()).starts_with("no ca certificate found in directory"));
    let ca = Org::new();
    std::fs::write(empty.path().join("cacerts/ca.pem"), ca.ca.pem()).unwrap();
    assert_eq!(text(msp()), "administrators must be declared when no admin ou classification is set");
    std::fs::write(empty.path().join("config.yaml"), "NodeOUs: [1").unwrap();
    assert!(text(msp()).starts_with("failed unmarshalling configuration file at"));
    std::fs::write(
        empty.path().join("config.yaml"),
        "NodeOUs:\n  Enable: true\n  AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}\n",
    )
    .unwrap();
    msp().unwrap();

    let signer = || SigningIdentity::from_folder(empty.path(), "Org").unwrap_err().to_string();
    assert!(signer().starts_with("could not load signing certificate from directory"));
    std::fs::create_dir(empty.path().join("signcerts")).unwrap();
    assert!(signer().starts_with("no signing certificate found in directory"));
    let member = ca.member(&["client"]);
    std::fs::write(empty.path().join("signcerts/cert.pem"), member.pem()).unwrap();
    std::fs::create_dir(empty.path().join("keystore")).unwrap();
    konsort_pki::key_file::write(&empty.path().join("keystore/other_sk"), &new_key()).unwrap();
    assert!(signer().contains("belongs to the certificate"), "{}", signer());
}

#[test]
fn an_expired_signing_identity_is_refused_at_start() {
    let org = Org::new();
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let mut wanted = template(&["client"]);
    wanted.not_after = START + 60;
    let certificate = wanted.issue(key.public_key(), &org.ca, &org.ca_key).unwrap();
    for (part, contents) in [("cacerts/ca.pem", org.ca.pem()), ("signcerts/me.pem", certificate.pem())] {
        let path = folder.path().join(part);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
    std::fs::create_dir(folder.path().join("keystore")).unwrap();
    konsort_pki::key_file::write(&folder.path().join("keystore/key.pem"), &key).unwrap();
    std::fs::write(
        folder.path().join("config.yaml"),
        "NodeOUs: {Enable: true, AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}}",
    )
    .unwrap();
    let error = SigningIdentity::from_folder(folder.path(), "Org").unwrap_err().to_string();
    assert!(error.starts_with("signing identity expired "), "{error}");
}
