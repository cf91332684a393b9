//! Why a transaction is not taken, or will never be committed.

/// The refusal of a transaction. Its text is upstream's name, which SDKs show to their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{}", self.name())]
pub enum SubmitError {
    /// The nonce was used within the last blocks, or waits in the pool.
    NonceCheckFail,
    /// blockLimit is not in (head, head + 1000].
    BlockLimitCheckFail,
    /// The pool is full.
    TxPoolIsFull,
    /// The bytes are no transaction.
    Malformed,
    /// The very transaction waits already, and somebody waits for it.
    AlreadyInTxPool,
    /// The very transaction is committed.
    TxAlreadyInChain,
    /// Meant for another chain.
    InvalidChainId,
    /// Meant for another group.
    InvalidGroupId,
    /// The signature is not one.
    InvalidSignature,
    /// The sender's node does not belong to the group.
    RequestNotBelongToTheGroup,
    /// It waited too long in the pool and was dropped.
    TransactionPoolTimeout,
    /// The value is longer than 256 bits can need.
    OverFlowValue,
    /// The creation code of an Ethereum transaction is larger than 48 KiB.
    MaxInitCodeSizeExceeded,
    /// The node stops; the transaction may still be committed by the others.
    NodeStopping,
}

impl SubmitError {
    /// Upstream's number; for a stopping node the JSON-RPC code of a service that is not ready.
    pub fn code(self) -> i32 {
        match self {
            Self::NonceCheckFail => 10000,
            Self::BlockLimitCheckFail => 10001,
            Self::TxPoolIsFull => 10002,
            Self::Malformed => 10003,
            Self::AlreadyInTxPool => 10004,
            Self::TxAlreadyInChain => 10005,
            Self::InvalidChainId => 10006,
            Self::InvalidGroupId => 10007,
            Self::InvalidSignature => 10008,
            Self::RequestNotBelongToTheGroup => 10009,
            Self::TransactionPoolTimeout => 10010,
            Self::OverFlowValue => 10012,
            Self::MaxInitCodeSizeExceeded => 10013,
            Self::NodeStopping => -32004,
        }
    }

    /// Upstream's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NonceCheckFail => "NonceCheckFail",
            Self::BlockLimitCheckFail => "BlockLimitCheckFail",
            Self::TxPoolIsFull => "TxPoolIsFull",
            Self::Malformed => "Malformed",
            Self::AlreadyInTxPool => "AlreadyInTxPool",
            Self::TxAlreadyInChain => "TxAlreadyInChain",
            Self::InvalidChainId => "InvalidChainId",
            Self::InvalidGroupId => "InvalidGroupId",
            Self::InvalidSignature => "InvalidSignature",
            Self::RequestNotBelongToTheGroup => "RequestNotBelongToTheGroup",
            Self::TransactionPoolTimeout => "TransactionPoolTimeout",
            Self::OverFlowValue => "OverFlowValue",
            Self::MaxInitCodeSizeExceeded => "MaxInitCodeSizeExceeded",
            Self::NodeStopping => "ServiceNotInitCompleted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_upstream_s() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/golden/bcos/codes.json");
        let golden: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let codes = golden["transaction_status"]["codes"].as_array().unwrap();
        let name = |code: i32| codes.iter().find(|entry| entry["code"] == code).unwrap()["name"].as_str().unwrap();
        use SubmitError as E;
        let all = [
            E::NonceCheckFail,
            E::BlockLimitCheckFail,
            E::TxPoolIsFull,
            E::Malformed,
            E::AlreadyInTxPool,
            E::TxAlreadyInChain,
            E::InvalidChainId,
            E::InvalidGroupId,
            E::InvalidSignature,
            E::RequestNotBelongToTheGroup,
            E::TransactionPoolTimeout,
            E::OverFlowValue,
            E::MaxInitCodeSizeExceeded,
        ];
        for refusal in all {
            assert_eq!(refusal.to_string(), name(refusal.code()));
        }
    }
}
