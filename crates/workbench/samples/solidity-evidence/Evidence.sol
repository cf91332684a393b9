// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

/// @title Evidence deposit
/// @notice Records that a document existed at a time, by its hash; witnesses confirm it; the document itself stays outside.
contract Evidence {
    enum State {
        None,
        Deposited,
        Revoked
    }

    struct Deposit {
        address owner;
        uint64 time;
        State state;
        string kind;
        string note;
    }

    struct Attestation {
        address witness;
        uint64 time;
        string statement;
    }

    /// Who keeps the list of witnesses.
    address public immutable registrar;
    /// How many deposits there are.
    uint256 public count;

    mapping(bytes32 => Deposit) private deposits;
    mapping(bytes32 => Attestation[]) private attestations;
    mapping(address => bool) public isWitness;

    event Deposited(bytes32 indexed hash, address indexed owner, string kind);
    event Attested(bytes32 indexed hash, address indexed witness, string statement);
    event Revoked(bytes32 indexed hash, string reason);
    event WitnessChanged(address indexed witness, bool allowed);

    /// The hash is deposited already.
    error AlreadyDeposited(bytes32 hash, address owner, uint64 time);
    /// Nothing valid is deposited under the hash.
    error NotDeposited(bytes32 hash);
    /// The caller may not do this.
    error NotAllowed(address caller, string needed);

    constructor() {
        registrar = msg.sender;
        isWitness[msg.sender] = true;
        emit WitnessChanged(msg.sender, true);
    }

    /// @notice Allows or forbids an account to attest.
    /// @param witness the account
    /// @param allowed whether it may
    function setWitness(address witness, bool allowed) external {
        if (msg.sender != registrar) revert NotAllowed(msg.sender, "registrar");
        isWitness[witness] = allowed;
        emit WitnessChanged(witness, allowed);
    }

    /// @notice Deposits the hash of a document.
    /// @param hash SHA-256 or SM3 of the document
    /// @param kind what it is: contract, photo, log
    /// @param note what to know about it; never anything secret, everybody on the chain can read it
    function deposit(bytes32 hash, string calldata kind, string calldata note) external {
        Deposit storage found = deposits[hash];
        if (found.state != State.None) revert AlreadyDeposited(hash, found.owner, found.time);
        deposits[hash] = Deposit(msg.sender, uint64(block.timestamp), State.Deposited, kind, note);
        count += 1;
        emit Deposited(hash, msg.sender, kind);
    }

    /// @notice Confirms a deposit as a witness.
    /// @param hash the deposited hash
    /// @param statement what the witness has seen
    function attest(bytes32 hash, string calldata statement) external {
        if (!isWitness[msg.sender]) revert NotAllowed(msg.sender, "witness");
        if (deposits[hash].state != State.Deposited) revert NotDeposited(hash);
        attestations[hash].push(Attestation(msg.sender, uint64(block.timestamp), statement));
        emit Attested(hash, msg.sender, statement);
    }

    /// @notice Marks a deposit as revoked; it stays on record.
    /// @param hash the deposited hash
    /// @param reason why
    function revoke(bytes32 hash, string calldata reason) external {
        Deposit storage found = deposits[hash];
        if (found.state != State.Deposited) revert NotDeposited(hash);
        if (found.owner != msg.sender) revert NotAllowed(msg.sender, "owner of the deposit");
        found.state = State.Revoked;
        emit Revoked(hash, reason);
    }

    /// @notice What is known of a hash.
    /// @param hash the hash of the document at hand
    /// @return found the deposit; its time is 0 when there is none
    /// @return confirmed the attestations, oldest first
    function verify(bytes32 hash) external view returns (Deposit memory found, Attestation[] memory confirmed) {
        return (deposits[hash], attestations[hash]);
    }
}
