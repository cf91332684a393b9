// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

/// @title What this contract is for
contract MyContract {
    string public text;

    event Written(address indexed by, string text);

    /// @notice Writes a text.
    function write(string calldata next) external {
        text = next;
        emit Written(msg.sender, next);
    }
}
