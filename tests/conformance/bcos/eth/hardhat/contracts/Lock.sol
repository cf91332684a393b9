// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

contract Lock {
    address public owner = msg.sender;
    uint256 public opened;

    event Opened(address indexed by, uint256 count);
    error NotOwner(address who);

    function open() external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        require(opened < 2, "worn out");
        emit Opened(msg.sender, ++opened);
    }
}
