//! Status codes of transactions: what a receipt says, and why the pool refuses one (10000 to 10015).

macro_rules! statuses {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        $(
            #[doc = concat!("`", $text, "`")]
            pub const $name: i32 = $code;
        )*

        /// Every code with upstream's name, ascending.
        pub const ALL: &[(i32, &str)] = &[$(($code, $text)),*];
    };
}

statuses! {
    NONE = 0, "None";
    UNKNOWN = 1, "Unknown";
    OUT_OF_GAS_LIMIT = 2, "OutOfGasLimit";
    NOT_ENOUGH_CASH = 7, "NotEnoughCash";
    BAD_INSTRUCTION = 10, "BadInstruction";
    BAD_JUMP_DESTINATION = 11, "BadJumpDestination";
    OUT_OF_GAS = 12, "OutOfGas";
    OUT_OF_STACK = 13, "OutOfStack";
    STACK_UNDERFLOW = 14, "StackUnderflow";
    PRECOMPILED_ERROR = 15, "PrecompiledError";
    REVERT_INSTRUCTION = 16, "RevertInstruction";
    CONTRACT_ADDRESS_ALREADY_USED = 17, "ContractAddressAlreadyUsed";
    PERMISSION_DENIED = 18, "PermissionDenied";
    CALL_ADDRESS_ERROR = 19, "CallAddressError";
    GAS_OVERFLOW = 20, "GasOverflow";
    CONTRACT_FROZEN = 21, "ContractFrozen";
    ACCOUNT_FROZEN = 22, "AccountFrozen";
    ACCOUNT_ABOLISHED = 23, "AccountAbolished";
    CONTRACT_ABOLISHED = 24, "ContractAbolished";
    WASM_VALIDATION_FAILURE = 32, "WASMValidationFailure";
    WASM_ARGUMENT_OUT_OF_RANGE = 33, "WASMArgumentOutOfRange";
    WASM_UNREACHABLE_INSTRUCTION = 34, "WASMUnreachableInstruction";
    WASM_TRAP = 35, "WASMTrap";
    NONCE_CHECK_FAIL = 10000, "NonceCheckFail";
    BLOCK_LIMIT_CHECK_FAIL = 10001, "BlockLimitCheckFail";
    TX_POOL_IS_FULL = 10002, "TxPoolIsFull";
    MALFORMED = 10003, "Malformed";
    ALREADY_IN_TX_POOL = 10004, "AlreadyInTxPool";
    TX_ALREADY_IN_CHAIN = 10005, "TxAlreadyInChain";
    INVALID_CHAIN_ID = 10006, "InvalidChainId";
    INVALID_GROUP_ID = 10007, "InvalidGroupId";
    INVALID_SIGNATURE = 10008, "InvalidSignature";
    REQUEST_NOT_BELONG_TO_THE_GROUP = 10009, "RequestNotBelongToTheGroup";
    TRANSACTION_POOL_TIMEOUT = 10010, "TransactionPoolTimeout";
    ALREADY_IN_TX_POOL_AND_ACCEPT = 10011, "AlreadyInTxPoolAndAccept";
    OVERFLOW_VALUE = 10012, "OverFlowValue";
    MAX_INIT_CODE_SIZE_EXCEEDED = 10013, "MaxInitCodeSizeExceeded";
    SENDER_NO_EOA = 10014, "SenderNoEOA";
    INSUFFICIENT_FUNDS = 10015, "InsufficientFunds";
}

/// Upstream's name of a status, which errors and messages show; `Unknown` for numbers without one.
pub fn name(status: i32) -> &'static str {
    ALL.binary_search_by_key(&status, |&(code, _)| code).map_or("Unknown", |at| ALL[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert!(ALL.is_sorted());
        assert_eq!(name(TX_POOL_IS_FULL), "TxPoolIsFull");
        assert_eq!(name(REVERT_INSTRUCTION), "RevertInstruction");
        assert_eq!(name(-5), "Unknown");
    }
}
