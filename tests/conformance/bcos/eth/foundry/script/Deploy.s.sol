// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Counter} from "../src/Counter.sol";

interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

contract Deploy {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bool public constant IS_SCRIPT = true;

    function run() external returns (address made) {
        vm.startBroadcast();
        Counter counter = new Counter(100);
        counter.add(5);
        counter.add(6);
        vm.stopBroadcast();
        made = address(counter);
    }
}
