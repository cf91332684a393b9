// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

/// @title Who may do what
abstract contract Roles {
    bytes32 public constant ADMIN = "admin";
    bytes32 public constant REGISTRAR = "registrar";

    mapping(bytes32 => mapping(address => bool)) private holders;

    event RoleChanged(bytes32 indexed role, address indexed account, bool granted);

    /// The caller does not have the role.
    error MissingRole(address caller, bytes32 role);

    constructor() {
        change(ADMIN, msg.sender, true);
        change(REGISTRAR, msg.sender, true);
    }

    modifier onlyRole(bytes32 role) {
        if (!holders[role][msg.sender]) revert MissingRole(msg.sender, role);
        _;
    }

    function hasRole(bytes32 role, address account) public view returns (bool) {
        return holders[role][account];
    }

    /// @notice Grants a role or takes it away.
    function setRole(bytes32 role, address account, bool granted) external onlyRole(ADMIN) {
        change(role, account, granted);
    }

    function change(bytes32 role, address account, bool granted) private {
        holders[role][account] = granted;
        emit RoleChanged(role, account, granted);
    }
}
