// SPDX-License-Identifier: Apache-2.0
pragma solidity >=0.7.0 <0.9.0;

/// @title One number that everybody may read and its owner may change
contract SimpleStorage {
    /// The number.
    uint256 public value;
    /// Who may change it.
    address public owner;

    /// The number has changed.
    event Changed(address indexed by, uint256 before, uint256 value);

    /// @param first the number to begin with
    constructor(uint256 first) {
        owner = msg.sender;
        value = first;
    }

    /// @notice Sets the number.
    /// @param next the new number
    function set(uint256 next) public {
        require(msg.sender == owner, "only the owner sets the number");
        emit Changed(msg.sender, value, next);
        value = next;
    }

    /// @notice Adds to the number and gives the sum.
    /// @param amount how much is added
    /// @return the sum
    function add(uint256 amount) public returns (uint256) {
        uint256 sum = value + amount;
        require(sum >= value, "the sum is too large");
        emit Changed(msg.sender, value, sum);
        value = sum;
        return sum;
    }
}
