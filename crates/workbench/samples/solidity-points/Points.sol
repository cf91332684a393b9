// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

/// @title Loyalty points of several merchants
/// @notice The issuer admits merchants; merchants give points; members spend them at any merchant. Points are no money: they cannot
/// be bought from or sold to the contract.
contract Points {
    address public immutable issuer;
    string public name;

    /// Issued = held + redeemed + expired, at any time.
    uint256 public issued;
    uint256 public redeemed;
    uint256 public expired;

    mapping(address => bool) public isMerchant;
    mapping(address => uint256) public balances;
    /// What a merchant took in less what it gave: the base of the settlement between merchants.
    mapping(address => int256) public position;

    event MerchantChanged(address indexed merchant, bool admitted);
    event Issued(address indexed merchant, address indexed member, uint256 amount, string reason);
    event Transferred(address indexed from, address indexed to, uint256 amount);
    event Redeemed(address indexed merchant, address indexed member, uint256 amount, string what);
    event Expired(address indexed member, uint256 amount);

    /// The member has fewer points.
    error NotEnough(address member, uint256 has, uint256 needed);
    /// The caller may not do this.
    error NotAllowed(address caller, string needed);

    /// @param title what the points are called
    constructor(string memory title) {
        issuer = msg.sender;
        name = title;
    }

    modifier onlyIssuer() {
        if (msg.sender != issuer) revert NotAllowed(msg.sender, "issuer");
        _;
    }

    modifier onlyMerchant() {
        if (!isMerchant[msg.sender]) revert NotAllowed(msg.sender, "merchant");
        _;
    }

    /// @notice Admits a merchant or takes it out.
    function setMerchant(address merchant, bool admitted) external onlyIssuer {
        isMerchant[merchant] = admitted;
        emit MerchantChanged(merchant, admitted);
    }

    /// @notice A merchant gives points.
    /// @param member who gets them
    /// @param amount how many
    /// @param reason what for
    function issue(address member, uint256 amount, string calldata reason) external onlyMerchant {
        balances[member] += amount;
        issued += amount;
        position[msg.sender] -= int256(amount);
        emit Issued(msg.sender, member, amount, reason);
    }

    /// @notice A member passes points on.
    function transfer(address to, uint256 amount) external {
        take(msg.sender, amount);
        balances[to] += amount;
        emit Transferred(msg.sender, to, amount);
    }

    /// @notice A member spends points at a merchant.
    /// @param merchant where
    /// @param amount how many
    /// @param what for what
    function redeem(address merchant, uint256 amount, string calldata what) external {
        if (!isMerchant[merchant]) revert NotAllowed(merchant, "merchant");
        take(msg.sender, amount);
        redeemed += amount;
        position[merchant] += int256(amount);
        emit Redeemed(merchant, msg.sender, amount, what);
    }

    /// @notice The issuer lets points of a member expire.
    function expire(address member, uint256 amount) external onlyIssuer {
        take(member, amount);
        expired += amount;
        emit Expired(member, amount);
    }

    function take(address member, uint256 amount) private {
        uint256 has = balances[member];
        if (has < amount) revert NotEnough(member, has, amount);
        balances[member] = has - amount;
    }
}
