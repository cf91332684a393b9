//! Stock chaincode, unchanged, on a running network: started by the peers and as a service.

use conformance::deploy::{Package, chaincode_sources, free_port, go_service, node_service};
use conformance::{Network, node_suite};

const BOTH: &str = "AND('Org1MSP.peer','Org2MSP.peer')";

/// Both suites of the client against one chaincode; `other` is what it calls.
fn check(network: &Network, chaincode: &str, other: &str) {
    let environment = [("KONSORT_CHAINCODE", chaincode), ("KONSORT_OTHER", other)];
    node_suite(network, "gateway.test.mjs", &environment).unwrap();
    node_suite(network, "chaincode.test.mjs", &environment).unwrap();
}

#[test]
fn rust_sample_contract() {
    let network = Network::up(&[]).unwrap();
    node_suite(&network, "chaincode.test.mjs", &[("KONSORT_CHAINCODE", "basic")]).unwrap();
}

#[test]
fn node_contract_as_process_and_as_service() {
    let network = Network::up(&[]).unwrap();
    let sources = chaincode_sources("node");
    network.deploy("nodeproc", Package::Sources { lang: "node", path: &sources }, Some(BOTH)).unwrap();
    let port = free_port().unwrap();
    let id = network.deploy("nodesvc", Package::Service(port), None).unwrap();
    let _service = node_service(port, &id).unwrap();
    check(&network, "nodeproc", "basic");
    check(&network, "nodesvc", "nodeproc");
}

#[test]
fn go_contract_as_process_and_as_service() {
    let network = Network::up(&[]).unwrap();
    let sources = chaincode_sources("go");
    network.deploy("goproc", Package::Sources { lang: "golang", path: &sources }, Some(BOTH)).unwrap();
    let port = free_port().unwrap();
    let id = network.deploy("gosvc", Package::Service(port), None).unwrap();
    let _service = go_service(port, &id).unwrap();
    check(&network, "goproc", "basic");
    check(&network, "gosvc", "goproc");
}
