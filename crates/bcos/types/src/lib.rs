//! Transactions, receipts, headers and blocks of a chain compatible with FISCO BCOS 3.x: codecs and hash rules.
