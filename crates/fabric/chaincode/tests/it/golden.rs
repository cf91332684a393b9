//! Package ids of a real network.

use std::path::Path;

use fabric_chaincode::Package;

#[test]
fn package_ids_equal_those_of_a_real_network() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/golden/fabric/packages");
    let listed: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("packages.json")).unwrap()).unwrap();
    let listed = listed.as_object().unwrap();
    assert_eq!(listed.len(), 3);
    for (file, expected) in listed {
        let package = Package::parse(std::fs::read(folder.join(file)).unwrap().into()).unwrap();
        assert_eq!(package.id(), expected["package_id"].as_str().unwrap(), "{file}");
        assert_eq!(package.metadata().kind.to_lowercase(), "ccaas");
    }
    let go = Package::parse(std::fs::read(folder.join("gocc_1.tgz")).unwrap().into()).unwrap();
    assert_eq!(go.metadata().kind, "golang");
}
