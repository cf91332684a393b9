//! The stock Node gateway client against running networks.

use conformance::{Network, node_suite};

#[test]
fn node_client_any_organisation_endorses() {
    let network = Network::up(&["--orgs", "2"]).unwrap();
    node_suite(&network, "gateway.test.mjs", &[("KONSORT_MSPID", "Org1MSP")]).unwrap();
    node_suite(&network, "gateway.test.mjs", &[("KONSORT_MSPID", "Org2MSP")]).unwrap();
}

#[test]
fn node_client_both_organisations_endorse() {
    let network = Network::up(&["--orgs", "2", "--policy", "AND('Org1MSP.member','Org2MSP.member')"]).unwrap();
    node_suite(&network, "gateway.test.mjs", &[("KONSORT_MSPID", "Org1MSP")]).unwrap();
    node_suite(&network, "gateway.test.mjs", &[("KONSORT_MSPID", "Org2MSP")]).unwrap();
}

#[test]
fn node_client_two_of_three_organisations_endorse() {
    let policy = "OutOf(2,'Org1MSP.member','Org2MSP.member','Org3MSP.member')";
    let network = Network::up(&["--orgs", "3", "--policy", policy]).unwrap();
    for organisation in ["Org1MSP", "Org2MSP", "Org3MSP"] {
        node_suite(&network, "gateway.test.mjs", &[("KONSORT_MSPID", organisation)]).unwrap();
    }
}
