// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What a contract creates.
contract Child {
    uint256 public value;

    constructor(uint256 initial) {
        require(initial != 13, "not thirteen");
        value = initial;
    }
}

/// Everything a client looks at: state, logs, every kind of failure, creation, Cancun's instructions.
contract Probe {
    uint256 public value;
    mapping(address => uint256) public writes;
    string public note;

    event Changed(address indexed by, uint256 indexed value, string note);
    event Counted(uint256 indexed at, bytes32 mark);
    event Created(address child);

    error TooLarge(uint256 given, uint256 most);

    constructor(uint256 initial) {
        require(initial != 13, "not thirteen");
        value = initial;
    }

    function set(uint256 next, string calldata text) external returns (uint256 old) {
        old = value;
        value = next;
        note = text;
        writes[msg.sender] += 1;
        emit Changed(msg.sender, next, text);
    }

    function count(uint256 times) external {
        for (uint256 at = 0; at < times; ++at) emit Counted(at, keccak256(abi.encode(at)));
    }

    function failText() external { value = 666; revert("told you so"); }
    function failCustom(uint256 given) external { value = 666; revert TooLarge(given, 10); }
    function failAssert() external { value = 666; assert(value == 0); }
    function failDivide(uint256 by) external returns (uint256) { value = 666; return 10 / by; }
    function failArray(uint256 at) external returns (uint256) { value = 666; return new uint256[](2)[at]; }
    function failBare() external { value = 666; revert(); }
    function failInvalid() external { value = 666; assembly { invalid() } }
    function failDeep(Probe other) external { value = 666; other.failText(); }
    function failCaught(Probe other) external returns (string memory reason) {
        try other.failText() { return ""; } catch Error(string memory text) { reason = text; note = text; }
    }

    function create(uint256 initial) external returns (address child) {
        child = address(new Child(initial));
        emit Created(child);
    }

    function createAt(bytes32 salt, uint256 initial) external returns (address child) {
        child = address(new Child{salt: salt}(initial));
        emit Created(child);
    }

    function environment() external view returns (uint256 chain, uint256 number, address sender, uint256 price, uint256 base) {
        return (block.chainid, block.number, msg.sender, tx.gasprice, block.basefee);
    }

    function blockHashOf(uint256 number) external view returns (bytes32) { return blockhash(number); }

    /// Transient storage, memory copies and the transient slot's absence from the state.
    function cancun(uint256 given) external returns (uint256 kept, bytes32 copied) {
        assembly {
            tstore(1, given)
            kept := tload(1)
            mstore(0x80, given)
            mcopy(0xa0, 0x80, 32)
            copied := mload(0xa0)
        }
        value = kept;
    }

    function precompiles(bytes calldata data) external view returns (bytes32 sha, bytes20 ripe, bytes memory same) {
        sha = sha256(data);
        ripe = ripemd160(data);
        (, same) = address(4).staticcall(data);
    }

    function recover(bytes32 hash, uint8 v, bytes32 r, bytes32 s) external pure returns (address) {
        return ecrecover(hash, v, r, s);
    }

    function pay() external payable returns (uint256) { return msg.value; }
}
