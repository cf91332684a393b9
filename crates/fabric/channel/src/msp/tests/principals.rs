use fabric_proto::common::{CombinedPrincipal, MspIdentityAnonymity, OrganizationUnit};

use super::*;

fn principal(kind: Classification, message: impl Message) -> MspPrincipal {
    MspPrincipal { principal_classification: kind as i32, principal: message.encode_to_vec().into() }
}

fn text(result: Result<(), MspError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn admins_by_certificate_and_by_unit() {
    let mut org = Org::new();
    let named = org.member(&["client"]);
    org.config.admins = vec![pem(&named)];
    let admin = role_principal("Org", MspRoleType::Admin);
    let msp = org.msp();
    let read = |msp: &Msp, certificate: &Certificate| msp.deserialize(&serialize("Org", certificate)).unwrap();
    msp.satisfies(&read(&msp, &named), &admin).unwrap();
    msp.satisfies(&read(&msp, &org.member(&["admin"])), &admin).unwrap();
    assert!(
        text(msp.satisfies(&read(&msp, &org.member(&["client"])), &admin))
            .starts_with("The identity is not an admin under this MSP [Org]: The identity does not contain OU [ADMIN]")
    );
    // Before 1.4.3 only the certificate counts, and there is no orderer role.
    let old = org.version(MspVersion::V1_3);
    old.satisfies(&read(&old, &named), &admin).unwrap();
    assert_eq!(text(old.satisfies(&read(&old, &org.member(&["peer"])), &admin)), "This identity is not an admin");
    let orderer = role_principal("Org", MspRoleType::Orderer);
    assert_eq!(text(old.satisfies(&read(&old, &named), &orderer)), "invalid MSP role type 4");
}

#[test]
fn without_roles_by_unit_nobody_is_client_or_peer() {
    let mut org = Org::new();
    let named = org.member(&[]);
    org.config.fabric_node_ous = None;
    org.config.admins = vec![pem(&named)];
    let msp = org.msp();
    let identity = msp.deserialize(&serialize("Org", &named)).unwrap();
    msp.satisfies(&identity, &role_principal("Org", MspRoleType::Member)).unwrap();
    msp.satisfies(&identity, &role_principal("Org", MspRoleType::Admin)).unwrap();
    assert_eq!(
        text(msp.satisfies(&identity, &role_principal("Org", MspRoleType::Peer))),
        "The identity is not a [PEER] under this MSP [Org]: NodeOUs not activated. Cannot tell apart identities."
    );
    assert_eq!(text(msp.satisfies(&identity, &role_principal("Org", MspRoleType::Orderer))), "invalid MSP role type 4");
}

#[test]
fn units_are_bound_to_their_certifiers() {
    let org = Org::new();
    let msp = org.msp();
    let identity = msp.deserialize(&serialize("Org", &org.member(&["client", "sales"]))).unwrap();
    let ask = |name: &str, certifiers: &[u8]| {
        principal(
            Classification::OrganizationUnit,
            OrganizationUnit {
                msp_identifier: "Org".into(),
                organizational_unit_identifier: name.into(),
                certifiers_identifier: Bytes::copy_from_slice(certifiers),
            },
        )
    };
    let certifiers = konsort_crypto::hash::sha256(org.ca.der());
    msp.satisfies(&identity, &ask("sales", &certifiers)).unwrap();
    assert_eq!(text(msp.satisfies(&identity, &ask("sales", &[]))), "The identities do not match");
    assert_eq!(text(msp.satisfies(&identity, &ask("legal", &certifiers))), "The identities do not match");
}

#[test]
fn an_identity_principal_means_this_certificate() {
    let org = Org::new();
    let msp = org.msp();
    let (one, two) = (org.member(&["client"]), org.member(&["client"]));
    let identity = msp.deserialize(&serialize("Org", &one)).unwrap();
    let ask =
        |bytes: Bytes| MspPrincipal { principal_classification: Classification::Identity as i32, principal: bytes };
    msp.satisfies(&identity, &ask(serialize("Org", &one))).unwrap();
    assert_eq!(text(msp.satisfies(&identity, &ask(serialize("Org", &two)))), "The identities do not match");
    let error = text(msp.satisfies(&identity, &ask(serialize("Other", &one))));
    assert!(error.starts_with("invalid identity principal, not a certificate: expected MSP ID Org"), "{error}");
}

#[test]
fn combined_and_anonymity_need_their_level() {
    let org = Org::new();
    let member = org.member(&["client"]);
    let combined =
        |parts: Vec<MspPrincipal>| principal(Classification::Combined, CombinedPrincipal { principals: parts });
    let client = role_principal("Org", MspRoleType::Client);
    let peer = role_principal("Org", MspRoleType::Peer);
    let nominal = principal(Classification::Anonymity, MspIdentityAnonymity { anonymity_type: 0 });
    let anonymous = principal(Classification::Anonymity, MspIdentityAnonymity { anonymity_type: 1 });

    let msp = org.msp();
    let identity = msp.deserialize(&serialize("Org", &member)).unwrap();
    msp.satisfies(&identity, &combined(vec![client.clone(), combined(vec![nominal.clone()])])).unwrap();
    assert!(msp.satisfies(&identity, &combined(vec![client.clone(), peer])).is_err());
    assert_eq!(text(msp.satisfies(&identity, &combined(vec![]))), "No principals in CombinedPrincipal");
    assert!(text(msp.satisfies(&identity, &anonymous)).starts_with("Principal is anonymous"));
    let mut deep = client.clone();
    for _ in 0..100 {
        deep = combined(vec![deep]);
    }
    assert!(msp.satisfies(&identity, &deep).is_err());

    let old = org.version(MspVersion::V1_1);
    let identity = old.deserialize(&serialize("Org", &member)).unwrap();
    assert_eq!(text(old.satisfies(&identity, &combined(vec![client]))), "invalid principal type 4");
    assert_eq!(text(old.satisfies(&identity, &nominal)), "invalid principal type 3");
    let unknown = MspPrincipal { principal_classification: 9, principal: Bytes::new() };
    assert_eq!(text(old.satisfies(&identity, &unknown)), "invalid principal type 9");
}

#[test]
fn an_identity_of_an_older_configuration_is_judged_by_the_new_one() {
    let mut org = Org::new();
    let member = org.member(&["client"]);
    let identity = org.msp().deserialize(&serialize("Org", &member)).unwrap();
    identity.validate().unwrap();
    let crl = konsort_pki::CrlTemplate {
        revoked: vec![(member.serial().to_vec(), START)],
        this_update: START,
        ..Default::default()
    };
    org.config.revocation_list = vec![crl.issue(&org.ca, &org.ca_key).unwrap().pem().into()];
    let manager = MspManager::new(vec![org.msp()]);
    assert!(manager.validate(&identity).is_err());
    assert!(manager.satisfies(&identity, &role_principal("Org", MspRoleType::Member)).is_err());
}
