//! The chain's own contracts that the platform calls.

// The macro writes items without documentation of their own.
#![allow(missing_docs)]

use alloy_sol_types::sol;

/// Settings of the chain.
pub(super) const SYSTEM_CONFIG: &str = "0x0000000000000000000000000000000000001000";
/// Members of the group.
pub(super) const CONSENSUS: &str = "0x0000000000000000000000000000000000001003";
/// The address book.
pub(super) const BFS: &str = "0x000000000000000000000000000000000000100e";

sol! {
    function setValueByKey(string key, string value) external returns (int256);
    function getValueByKey(string key) external view returns (string value, int256 enableNumber);
    function addSealer(string nodeID, uint256 weight) external returns (int256);
    function addObserver(string nodeID) external returns (int256);
    function remove(string nodeID) external returns (int256);
    function setWeight(string nodeID, uint256 weight) external returns (int256);
    function setTermWeight(string nodeID, uint256 weight) external returns (int256);
    function link(string name, string version, string contractAddress, string abi) external returns (int256);
    function readlink(string path) external view returns (address contractAddress);
}

sol! {
    interface WithTerm {
        function addSealer(string nodeID, uint256 weight, uint256 termWeight) external returns (int256);
    }
}
