//! Stock clients of FISCO BCOS and Ethereum against chains made by the chain builder.

use conformance::bcos::Chain;

#[test]
fn ethereum_clients_use_four_nodes() {
    let chain = Chain::start(4, false).unwrap();
    let files =
        ["rpc", "ethers", "viem", "web3", "openzeppelin", "hardhat", "foundry"].map(|name| format!("{name}.test.mjs"));
    chain.ethereum_suite(&files.each_ref().map(String::as_str)).unwrap();
    chain.python_suite().unwrap();
}

#[test]
fn the_java_sdk_uses_four_nodes_over_mutual_tls() {
    Chain::start(4, true).unwrap().java_suite().unwrap();
}

#[test]
fn the_java_sdk_and_plain_json_rpc_use_one_node_without_tls() {
    let chain = Chain::start(1, false).unwrap();
    chain.java_suite().unwrap();
    chain.ethereum_suite(&["rpc.test.mjs"]).unwrap();
}
