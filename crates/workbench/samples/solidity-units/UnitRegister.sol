// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

import "./access/Roles.sol";

/// @title Register of units: who holds how many, with allowances
/// @notice The functions have the names and events of ERC-20, so that wallets and tools understand them. Units are entered by the
/// registrar for what exists outside (shares, quotas, certificates); there is no sale and no exchange.
contract UnitRegister is Roles {
    string public name;
    string public symbol;
    uint8 public constant decimals = 0;
    uint256 public totalSupply;

    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    /// Accounts that cannot move their units, by order of an authority.
    mapping(address => bool) public frozen;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Frozen(address indexed account, bool frozen, string reason);

    /// The account holds fewer units.
    error NotEnough(address account, uint256 has, uint256 needed);
    /// The spender is allowed fewer units.
    error AllowanceTooSmall(address spender, uint256 has, uint256 needed);
    /// The account is frozen.
    error AccountFrozen(address account);
    /// Units cannot go to the zero address.
    error NoReceiver();

    /// @param title name of the units
    /// @param short their symbol
    constructor(string memory title, string memory short) {
        name = title;
        symbol = short;
    }

    /// @notice Enters new units.
    function enter(address to, uint256 value) external onlyRole(REGISTRAR) {
        if (to == address(0)) revert NoReceiver();
        totalSupply += value;
        balanceOf[to] += value;
        emit Transfer(address(0), to, value);
    }

    /// @notice Takes units off the register.
    function strike(address from, uint256 value) external onlyRole(REGISTRAR) {
        take(from, value);
        totalSupply -= value;
        emit Transfer(from, address(0), value);
    }

    /// @notice Freezes an account or frees it.
    function freeze(address account, bool yes, string calldata reason) external onlyRole(REGISTRAR) {
        frozen[account] = yes;
        emit Frozen(account, yes, reason);
    }

    /// @notice Moves own units.
    function transfer(address to, uint256 value) external returns (bool) {
        move(msg.sender, to, value);
        return true;
    }

    /// @notice Allows a spender to move own units up to a number.
    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    /// @notice Moves units of another account within the allowance.
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < value) revert AllowanceTooSmall(msg.sender, allowed, value);
        allowance[from][msg.sender] = allowed - value;
        move(from, to, value);
        return true;
    }

    function move(address from, address to, uint256 value) private {
        if (to == address(0)) revert NoReceiver();
        if (frozen[from]) revert AccountFrozen(from);
        if (frozen[to]) revert AccountFrozen(to);
        take(from, value);
        balanceOf[to] += value;
        emit Transfer(from, to, value);
    }

    function take(address from, uint256 value) private {
        uint256 has = balanceOf[from];
        if (has < value) revert NotEnough(from, has, value);
        balanceOf[from] = has - value;
    }
}
