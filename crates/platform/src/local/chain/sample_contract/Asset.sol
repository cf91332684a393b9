// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Assets with an owner and a value that only their owner may change: the sample that `konsort up --engine bcos` deploys.
contract Asset {
    struct Record {
        address owner;
        string description;
        uint256 value;
    }

    mapping(string => Record) private records;
    uint256 public count;

    event Created(string id, address indexed owner, uint256 value);
    event Transferred(string id, address indexed from, address indexed to);

    modifier onlyOwner(string calldata id) {
        require(records[id].owner != address(0), "the asset does not exist");
        require(records[id].owner == msg.sender, "only the owner may do this");
        _;
    }

    function create(string calldata id, string calldata description, uint256 value) external {
        require(records[id].owner == address(0), "the asset exists already");
        records[id] = Record(msg.sender, description, value);
        count += 1;
        emit Created(id, msg.sender, value);
    }

    function read(string calldata id) external view returns (address owner, string memory description, uint256 value) {
        Record storage record = records[id];
        require(record.owner != address(0), "the asset does not exist");
        return (record.owner, record.description, record.value);
    }

    function update(string calldata id, string calldata description, uint256 value) external onlyOwner(id) {
        records[id].description = description;
        records[id].value = value;
    }

    function transfer(string calldata id, address to) external onlyOwner(id) {
        require(to != address(0), "an asset needs an owner");
        records[id].owner = to;
        emit Transferred(id, msg.sender, to);
    }
}
