//! Execution and ledger of one group.
