// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";
import {ERC20Votes} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Votes.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {ERC721URIStorage} from "@openzeppelin/contracts/token/ERC721/extensions/ERC721URIStorage.sol";
import {IERC721Receiver} from "@openzeppelin/contracts/token/ERC721/IERC721Receiver.sol";
import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Governor} from "@openzeppelin/contracts/governance/Governor.sol";
import {GovernorCountingSimple} from "@openzeppelin/contracts/governance/extensions/GovernorCountingSimple.sol";
import {GovernorVotes} from "@openzeppelin/contracts/governance/extensions/GovernorVotes.sol";
import {IVotes} from "@openzeppelin/contracts/governance/utils/IVotes.sol";

contract Coin is ERC20 {
    constructor(uint256 supply) ERC20("Coin", "CN") { _mint(msg.sender, supply); }
}

contract Votes is ERC20, ERC20Permit, ERC20Votes {
    constructor(uint256 supply) ERC20("Votes", "VT") ERC20Permit("Votes") { _mint(msg.sender, supply); }
    function _update(address from, address to, uint256 amount) internal override(ERC20, ERC20Votes) { super._update(from, to, amount); }
    function nonces(address owner) public view override(ERC20Permit, Nonces) returns (uint256) { return super.nonces(owner); }
}

contract Deeds is ERC721URIStorage, Ownable {
    uint256 private next = 1;
    constructor() ERC721("Deeds", "DD") Ownable(msg.sender) {}
    function mint(address to, string calldata uri) external onlyOwner returns (uint256 id) {
        id = next++;
        _safeMint(to, id);
        _setTokenURI(id, uri);
    }
}

contract Holder is IERC721Receiver {
    function onERC721Received(address, address, uint256, bytes calldata) external pure returns (bytes4) { return this.onERC721Received.selector; }
}

contract Vault is AccessControl {
    bytes32 public constant KEEPER = keccak256("KEEPER");
    uint256 public level;
    constructor() { _grantRole(DEFAULT_ADMIN_ROLE, msg.sender); }
    function raise(uint256 by) external onlyRole(KEEPER) { level += by; }
}

contract Parameter is Ownable {
    uint256 public setting;
    event Set(uint256 value);
    constructor(address owner) Ownable(owner) {}
    function set(uint256 value) external onlyOwner { setting = value; emit Set(value); }
}

contract Council is Governor, GovernorCountingSimple, GovernorVotes {
    constructor(IVotes token) Governor("Council") GovernorVotes(token) {}
    function votingDelay() public pure override returns (uint256) { return 1; }
    function votingPeriod() public pure override returns (uint256) { return 5; }
    function quorum(uint256) public pure override returns (uint256) { return 100; }
}
