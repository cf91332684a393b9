use super::*;

#[test]
fn exactly_one_role_is_allowed() {
    let org = Org::new();
    let msp = org.msp();
    for role in ["client", "peer", "admin", "orderer"] {
        judge(&msp, &org.member(&[role, "sales"])).unwrap();
    }
    let none = judge(&msp, &org.member(&["sales"])).unwrap_err();
    assert!(
        none.starts_with(
            "could not validate identity's OUs: the identity does not have an OU that resolves to client, peer, \
             orderer, or admin role. OUs: [sales("
        ),
        "{none}"
    );
    assert!(none.ends_with(", MSP: [Org]"), "{none}");
    let two = judge(&msp, &org.member(&["client", "peer"])).unwrap_err();
    assert!(two.contains("not a combination of them"), "{two}");
    // The older level knows two of them.
    let old = org.version(MspVersion::V1_1);
    judge(&old, &org.member(&["client", "admin"])).unwrap();
    assert!(judge(&old, &org.member(&["admin"])).unwrap_err().contains("resolves to client or peer"));
    assert!(judge(&old, &org.member(&["client", "peer"])).is_err());
    // And the first level none.
    let mut without_admins = Org { config: org.config.clone(), ca: org.ca.clone(), ca_key: org.ca_key.clone() };
    without_admins.config.admins = vec![];
    judge(&without_admins.version(MspVersion::V1_0), &org.member(&[])).unwrap();
}

#[test]
fn a_role_can_be_bound_to_an_authority() {
    let mut org = Org::new();
    let (one_key, two_key) = (new_key(), new_key());
    let middle = |name: &str, key: &PrivateKey| {
        CertificateTemplate::ca(subject(name, &[]), START, END).issue(key.public_key(), &org.ca, &org.ca_key).unwrap()
    };
    let (one, two) = (middle("one", &one_key), middle("two", &two_key));
    org.config.intermediate_certs = vec![pem(&one), pem(&two)];
    let roles = org.config.fabric_node_ous.as_mut().unwrap();
    roles.client_ou_identifier =
        Some(FabricOuIdentifier { certificate: pem(&one), organizational_unit_identifier: "client".into() });
    let msp = org.msp();
    let member = |ca: &Certificate, key: &PrivateKey, role: &str| {
        template(&[role]).issue(new_key().public_key(), ca, key).unwrap()
    };
    judge(&msp, &member(&one, &one_key, "client")).unwrap();
    judge(&msp, &member(&two, &two_key, "peer")).unwrap();
    let error = judge(&msp, &member(&two, &two_key, "client")).unwrap_err();
    assert!(error.contains("certifiersIdentifier does not match: [client("), "{error}");

    let stranger = Org::new();
    org.config.fabric_node_ous.as_mut().unwrap().client_ou_identifier =
        Some(FabricOuIdentifier { certificate: pem(&stranger.ca), organizational_unit_identifier: "client".into() });
    let error = Msp::from_config(&org.config, MspVersion::V3_0).unwrap_err().to_string();
    assert!(error.contains("not in root or intermediate certs"), "{error}");
}

#[test]
fn unit_identifiers_restrict_membership() {
    let mut org = Org::new();
    org.config.organizational_unit_identifiers =
        vec![FabricOuIdentifier { certificate: pem(&org.ca), organizational_unit_identifier: "sales".into() }];
    let msp = org.msp();
    judge(&msp, &org.member(&["client", "sales"])).unwrap();
    let error = judge(&msp, &org.member(&["client"])).unwrap_err();
    assert!(error.contains("none of the identity's organizational units [client("), "{error}");
    let error = judge(&msp, &org.member(&[])).unwrap_err();
    assert!(error.ends_with("the identity certificate does not contain an Organizational Unit (OU)"), "{error}");
}

#[test]
fn the_older_level_needs_both_units() {
    let mut org = Org::new();
    org.config.fabric_node_ous.as_mut().unwrap().peer_ou_identifier = None;
    let error = Msp::from_config(&org.config, MspVersion::V1_1).unwrap_err().to_string();
    assert_eq!(error, "Failed setting up NodeOUs. PeerOU must be different from nil.");
    org.msp();
    // With no unit at all the roles are switched off.
    let member = org.member(&[]);
    org.config.fabric_node_ous = Some(FabricNodeOUs { enable: true, ..FabricNodeOUs::default() });
    org.config.admins = vec![pem(&member)];
    judge(&org.msp(), &member).unwrap();
}
