//! Tables of the index and of the event outbox.
//!
//! One number stands for a network's channel (`ledgers.id`), one number for a place in it (`position`), so that keys stay small at
//! millions of rows and every list is a walk along one index.

/// How many bits of a position are a transaction's place in its block.
pub(crate) const INDEX_BITS: u32 = 20;

/// The place of a transaction in its channel as one number that grows along the chain.
pub(crate) fn position(height: u64, index: u32) -> i64 {
    let index = index.min((1 << INDEX_BITS) - 1);
    i64::try_from(height).unwrap_or(i64::MAX >> INDEX_BITS).min(i64::MAX >> INDEX_BITS) << INDEX_BITS | i64::from(index)
}

/// Height and place in the block of a position.
pub(crate) fn place(position: i64) -> (u64, u32) {
    ((position >> INDEX_BITS) as u64, (position & ((1 << INDEX_BITS) - 1)) as u32)
}

/// Statements that make the tables. `{serial}` is an automatic number, `{word}` a text that is compared byte by byte, as searches by
/// prefix need it, `{compact}` keeps a table in its key's order where the database can.
pub(crate) const TABLES: &str = "
CREATE TABLE ledgers (
    id {serial}, network {word} NOT NULL, channel {word} NOT NULL, next_height BIGINT NOT NULL, last_hash TEXT NOT NULL,
    transactions BIGINT NOT NULL, problem TEXT, UNIQUE (network, channel));
CREATE TABLE blocks (
    ledger BIGINT NOT NULL, height BIGINT NOT NULL, hash {word} NOT NULL, parent_hash TEXT NOT NULL, time BIGINT NOT NULL,
    producer TEXT NOT NULL, size BIGINT NOT NULL, config BIGINT NOT NULL, transactions BIGINT NOT NULL,
    failed BIGINT NOT NULL, PRIMARY KEY (ledger, height)){compact};
CREATE INDEX blocks_hash ON blocks (hash);
CREATE TABLE transactions (
    ledger BIGINT NOT NULL, position BIGINT NOT NULL, id {word} NOT NULL, kind TEXT NOT NULL, ok BIGINT NOT NULL,
    code TEXT NOT NULL, sender {word} NOT NULL, contract {word} NOT NULL, method TEXT NOT NULL, time BIGINT NOT NULL,
    PRIMARY KEY (ledger, position)){compact};
CREATE INDEX transactions_id ON transactions (id);
CREATE INDEX transactions_contract ON transactions (ledger, contract, position);
CREATE INDEX transactions_sender ON transactions (ledger, sender, position);
CREATE INDEX transactions_failed ON transactions (ledger, position) WHERE ok = 0;
CREATE TABLE terms (
    term {word} NOT NULL, ledger BIGINT NOT NULL, position BIGINT NOT NULL, PRIMARY KEY (term, ledger, position)){compact};
CREATE TABLE contract_events (
    ledger BIGINT NOT NULL, position BIGINT NOT NULL, number BIGINT NOT NULL, contract {word} NOT NULL, name TEXT NOT NULL,
    payload TEXT NOT NULL, PRIMARY KEY (ledger, position, number)){compact};
CREATE INDEX contract_events_contract ON contract_events (ledger, contract, position, number);
CREATE TABLE metrics (
    network {word} NOT NULL, node {word} NOT NULL, at BIGINT NOT NULL, height BIGINT NOT NULL, transactions BIGINT NOT NULL,
    cpu BIGINT NOT NULL, memory BIGINT NOT NULL, PRIMARY KEY (network, node, at)){compact};
CREATE TABLE operation_log (
    operation {word} NOT NULL, seq BIGINT NOT NULL, at BIGINT NOT NULL, step TEXT NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (operation, seq)){compact};
CREATE TABLE calls (
    id {word} NOT NULL PRIMARY KEY, contract {word} NOT NULL, at BIGINT NOT NULL, caller TEXT NOT NULL, doc TEXT NOT NULL);
CREATE INDEX calls_contract ON calls (contract, at, id)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_along_the_chain_and_come_apart_again() {
        for (height, index) in [(0, 0), (0, 1), (7, 1_048_575), (1 << 40, 3)] {
            assert_eq!(place(position(height, index)), (height, index));
        }
        assert!(position(1, 0) > position(0, u32::MAX));
        assert!(position(u64::MAX, u32::MAX) > 0);
    }
}
