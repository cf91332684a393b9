// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

contract Counter {
    uint256 public number;

    event Counted(address indexed by, uint256 number);

    constructor(uint256 start) { number = start; }

    function add(uint256 by) external {
        require(by > 0, "nothing to add");
        number += by;
        emit Counted(msg.sender, number);
    }
}
