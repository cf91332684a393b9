// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.11;

/// @title Receivables in a supply chain
/// @notice A supplier records an invoice, the buyer confirms it, then parts of it can be passed on, pledged to a bank and redeemed.
contract Receivables {
    enum State {
        None,
        Issued,
        Confirmed,
        Pledged,
        Redeemed
    }

    struct Part {
        uint256 invoice;
        address holder;
        address bank;
        uint256 amount;
        State state;
    }

    struct Invoice {
        address supplier;
        address buyer;
        uint256 amount;
        uint64 due;
        bool confirmed;
        bytes32 document;
    }

    /// Invoices by number, from 1.
    mapping(uint256 => Invoice) public invoices;
    /// Parts by number, from 1.
    mapping(uint256 => Part) public parts;
    uint256 public invoiceCount;
    uint256 public partCount;
    /// What is open of an invoice: issued or confirmed and not redeemed.
    mapping(uint256 => uint256) public open;

    event Issued(uint256 indexed invoice, uint256 indexed part, address indexed buyer, uint256 amount);
    event Confirmed(uint256 indexed invoice);
    event Split(uint256 indexed part, uint256 indexed created, uint256 amount);
    event Transferred(uint256 indexed part, address indexed from, address indexed to);
    event Pledged(uint256 indexed part, address indexed bank);
    event Released(uint256 indexed part, address indexed bank);
    event Redeemed(uint256 indexed part, uint256 amount);

    /// The part is in another state than needed.
    error WrongState(uint256 part, State state, State needed);
    /// The caller may not do this.
    error NotAllowed(address caller, address needed);
    /// The amount does not fit.
    error WrongAmount(uint256 amount, uint256 limit);

    modifier only(address needed) {
        if (msg.sender != needed) revert NotAllowed(msg.sender, needed);
        _;
    }

    modifier inState(uint256 part, State needed) {
        if (parts[part].state != needed) revert WrongState(part, parts[part].state, needed);
        _;
    }

    /// @notice Records an invoice; the caller is the supplier.
    /// @param buyer who owes
    /// @param amount how much, in the smallest unit of the currency
    /// @param due when it is due, seconds since 1970
    /// @param document hash of the invoice document
    /// @return part the number of the part that is the whole invoice
    function issue(address buyer, uint256 amount, uint64 due, bytes32 document) external returns (uint256 part) {
        if (amount == 0) revert WrongAmount(amount, 1);
        uint256 invoice = ++invoiceCount;
        invoices[invoice] = Invoice(msg.sender, buyer, amount, due, false, document);
        open[invoice] = amount;
        part = create(Part(invoice, msg.sender, address(0), amount, State.Issued));
        emit Issued(invoice, part, buyer, amount);
    }

    /// @notice The buyer confirms that it owes the amount of the part that is the whole invoice.
    function confirm(uint256 part) external only(invoices[parts[part].invoice].buyer) inState(part, State.Issued) {
        parts[part].state = State.Confirmed;
        invoices[parts[part].invoice].confirmed = true;
        emit Confirmed(parts[part].invoice);
    }

    /// @notice Takes an amount out of a part into a new one of the same holder.
    /// @return created the new part
    function split(
        uint256 part,
        uint256 amount
    ) external only(parts[part].holder) inState(part, State.Confirmed) returns (uint256 created) {
        Part storage whole = parts[part];
        if (amount == 0 || amount >= whole.amount) revert WrongAmount(amount, whole.amount);
        whole.amount -= amount;
        created = create(Part(whole.invoice, whole.holder, address(0), amount, State.Confirmed));
        emit Split(part, created, amount);
    }

    /// @notice Passes a confirmed part on.
    function transfer(uint256 part, address to) external only(parts[part].holder) inState(part, State.Confirmed) {
        parts[part].holder = to;
        emit Transferred(part, msg.sender, to);
    }

    /// @notice Pledges a confirmed part to a bank; it cannot move until the bank releases it.
    function pledge(uint256 part, address bank) external only(parts[part].holder) inState(part, State.Confirmed) {
        parts[part].state = State.Pledged;
        parts[part].bank = bank;
        emit Pledged(part, bank);
    }

    /// @notice The bank gives a pledged part back.
    function release(uint256 part) external only(parts[part].bank) inState(part, State.Pledged) {
        parts[part].state = State.Confirmed;
        parts[part].bank = address(0);
        emit Released(part, msg.sender);
    }

    /// @notice The buyer marks a part as paid; payment itself happens outside.
    function redeem(uint256 part) external only(invoices[parts[part].invoice].buyer) {
        Part storage found = parts[part];
        if (found.state != State.Confirmed && found.state != State.Pledged) {
            revert WrongState(part, found.state, State.Confirmed);
        }
        found.state = State.Redeemed;
        open[found.invoice] -= found.amount;
        emit Redeemed(part, found.amount);
    }

    function create(Part memory part) private returns (uint256 number) {
        number = ++partCount;
        parts[number] = part;
    }
}
