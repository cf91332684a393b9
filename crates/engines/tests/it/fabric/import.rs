//! Networks that somebody else runs: what is kept of them.

use std::sync::Arc;

use konsort_drivers::Driver;
use konsort_drivers::process::ProcessDriver;
use konsort_engines::fabric::Fabric;
use konsort_engines::identity::Trust;
use konsort_engines::{Engine, EngineError, Place};

use super::{organisation, request};

#[test]
fn imported_organisations_keep_their_keys_apart() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = "PeerOrgs: [{Name: A, Domain: a.org, EnableNodeOUs: true, Users: {Count: 1}},
        {Name: B, Domain: b.org, EnableNodeOUs: true, Users: {Count: 1}}]";
    let made = folder.path().join("made");
    fabric_client::cryptogen::generate(&fabric_client::cryptogen::Config::parse(yaml).unwrap(), &made).unwrap();
    let trust = |name: &str| {
        let organisation = made.join(format!("peerOrganizations/{name}.org"));
        let text = |path: String| std::fs::read_to_string(organisation.join(path)).unwrap();
        let user = format!("users/Admin@{name}.org/msp");
        Trust {
            organisation: name.to_ascii_uppercase(),
            mspid: Some(format!("{}MSP", name.to_ascii_uppercase())),
            ca: Some(text(format!("ca/ca.{name}.org-cert.pem"))),
            tls_ca: Some(text(format!("tlsca/tlsca.{name}.org-cert.pem"))),
            certificate: Some(text(format!("{user}/signcerts/Admin@{name}.org-cert.pem"))),
            key: Some(text(format!("{user}/keystore/priv_sk"))),
        }
    };
    let all = [trust("a"), trust("b")];
    let engine = Fabric::default();
    let mut spec = engine.plan("net_import", &request(vec![organisation("A", 1), organisation("B", 1)]), &[]).unwrap();
    spec.organisations.retain(|organisation| !organisation.orders_only);
    let driver: Arc<dyn Driver> = Arc::new(ProcessDriver::new("konsort".into(), folder.path().join("driver")));
    let data = folder.path().join("network");
    let place = Place { spec: &spec, folder: &data, driver: &driver };
    engine.import(place, &all).unwrap();
    let records = engine.identities(place).unwrap();
    let subjects: Vec<(&str, bool)> = records
        .iter()
        .map(|record| {
            let own = format!("{}.org", record.organisation.to_ascii_lowercase());
            (record.organisation.as_str(), record.subject.contains(&own))
        })
        .collect();
    assert_eq!(subjects, [("A", true), ("B", true)], "{records:?}");
    for (given, name) in all.iter().zip(["A", "B"]) {
        let files = engine.identity_files(place, name, "Admin").unwrap();
        let key = files.iter().find(|file| file.name == "cert.pem").unwrap();
        assert_eq!(String::from_utf8_lossy(&key.bytes).trim(), given.certificate.as_ref().unwrap().trim());
    }
    // Without a folder of their own, the one's keys would be the other's.
    let mut mixed = spec.clone();
    for organisation in &mut mixed.organisations {
        organisation.domain = String::new();
    }
    let refused = engine.import(Place { spec: &mixed, ..place }, &all);
    assert!(matches!(refused, Err(EngineError::Invalid { .. })), "{refused:?}");
}
