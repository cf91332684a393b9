//! Calls and what clients make of their failure.

use alloy_primitives::{Address, Bytes, U256};
use bcos_chain::executor::call::{CallOutcome, CallRequest};
use bcos_types::status;
use serde_json::Value;

use crate::api::SubmitError;
use crate::rpc::error::{INVALID_PARAMS, REVERTED, RpcError};
use crate::rpc::text;

/// `Error(string)`.
const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
/// `Panic(uint256)`.
const PANIC: [u8; 4] = [0x4e, 0x48, 0x7b, 0x71];
/// The code most Ethereum nodes use when nothing fits better.
const SERVER_ERROR: i64 = -32000;

/// Reads the object that `eth_call` and its relatives take.
pub(crate) fn request(object: &Value) -> Result<CallRequest, RpcError> {
    let Value::Object(fields) = object else {
        return Err(RpcError::new(INVALID_PARAMS, "Invalid call request!"));
    };
    let get = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(RpcError::params(format!("{name} must be a text"))),
    };
    let from = get("from")?.map_or(Ok(Address::ZERO), |from| text::address(from, "from"))?;
    let to = match get("to")? {
        None | Some("" | "0x") => None,
        Some(to) => Some(text::address(to, "to")?),
    };
    let (input, data) = (get("input")?, get("data")?);
    if let (Some(input), Some(data)) = (input, data)
        && !input.eq_ignore_ascii_case(data)
    {
        return Err(RpcError::params(
            "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
        ));
    }
    let data = input.or(data).map_or(Ok(Bytes::new()), |data| text::bytes(data, "data"))?;
    let value = get("value")?.map_or(Ok(U256::ZERO), |value| text::number_256(value, "value"))?;
    let gas = get("gas")?.map(|gas| text::number_256(gas, "gas")).transpose()?.map(|gas| gas.saturating_to());
    Ok(CallRequest { from, to, data, value, gas, web3: true })
}

/// The output of a call, or its failure in the form that clients decode: code 3 and the data of a revert.
pub(crate) fn output(outcome: CallOutcome) -> Result<Bytes, RpcError> {
    if outcome.status == status::NONE { Ok(outcome.output) } else { Err(failure(&outcome)) }
}

/// A failed call as an error.
pub(crate) fn failure(outcome: &CallOutcome) -> RpcError {
    if outcome.status != status::REVERT_INSTRUCTION && outcome.output.is_empty() {
        return RpcError::new(SERVER_ERROR, words(outcome.status));
    }
    let message = match reason(&outcome.output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None if outcome.status == status::REVERT_INSTRUCTION => "execution reverted".to_owned(),
        None => format!("execution reverted: {}", words(outcome.status)),
    };
    RpcError::new(REVERTED, message).with_data(text::data(&outcome.output).into())
}

/// What a status means, in the words of Ethereum's nodes where they have some.
pub(crate) fn words(code: i32) -> String {
    match code {
        status::OUT_OF_GAS | status::OUT_OF_GAS_LIMIT => "out of gas".to_owned(),
        status::BAD_INSTRUCTION => "invalid opcode".to_owned(),
        status::BAD_JUMP_DESTINATION => "invalid jump destination".to_owned(),
        status::OUT_OF_STACK => "stack limit reached 1024 (1023)".to_owned(),
        status::STACK_UNDERFLOW => "stack underflow".to_owned(),
        status::NOT_ENOUGH_CASH => "insufficient balance for transfer".to_owned(),
        status::CONTRACT_ADDRESS_ALREADY_USED => "contract address collision".to_owned(),
        status::REVERT_INSTRUCTION => "execution reverted".to_owned(),
        other => format!("{} (status {other})", status::name(other)),
    }
}

/// The text of `Error(string)`, or what a `Panic(uint256)` stands for.
pub(crate) fn reason(output: &[u8]) -> Option<String> {
    let (selector, body) = output.split_first_chunk::<4>()?;
    let word = |at: usize| body.get(at..at + 32).map(U256::from_be_slice);
    if *selector == ERROR {
        let offset: usize = word(0)?.try_into().ok()?;
        let length: usize = word(offset)?.try_into().ok()?;
        let start = offset.checked_add(32)?;
        let text = body.get(start..start.checked_add(length)?)?;
        return Some(String::from_utf8_lossy(text).into_owned());
    }
    if *selector == PANIC {
        let code: u64 = word(0)?.try_into().ok()?;
        return Some(match code {
            0x00 => "generic panic".to_owned(),
            0x01 => "assert(false)".to_owned(),
            0x11 => "arithmetic underflow or overflow".to_owned(),
            0x12 => "division or modulo by zero".to_owned(),
            0x21 => "enum overflow".to_owned(),
            0x22 => "invalid encoded storage byte array accessed".to_owned(),
            0x31 => "out-of-bounds array access; popping on an empty array".to_owned(),
            0x32 => "out-of-bounds access of an array or bytesN".to_owned(),
            0x41 => "out of memory".to_owned(),
            0x51 => "uninitialized function".to_owned(),
            other => format!("unknown panic code: {other:#x}"),
        });
    }
    None
}

/// A refusal of the pool in the words clients look for, with upstream's name behind them.
pub(crate) fn refused(error: SubmitError) -> RpcError {
    let words = match error {
        SubmitError::NonceCheckFail => "nonce too low",
        SubmitError::AlreadyInTxPool | SubmitError::TxAlreadyInChain => "already known",
        SubmitError::InvalidSignature => "invalid sender",
        SubmitError::InvalidChainId => "invalid chain id for signer",
        SubmitError::TxPoolIsFull => "txpool is full",
        SubmitError::MaxInitCodeSizeExceeded => "max initcode size exceeded",
        SubmitError::OverFlowValue => "value is larger than 256 bits",
        SubmitError::TransactionPoolTimeout => "the transaction was not sealed in time",
        SubmitError::NodeStopping => "the node stops",
        _ => "transaction refused",
    };
    RpcError::new(SERVER_ERROR, format!("{words} ({})", error.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use serde_json::json;

    fn reverted(output: Vec<u8>) -> RpcError {
        failure(&CallOutcome { status: status::REVERT_INSTRUCTION, output: output.into(), ..CallOutcome::default() })
    }

    #[test]
    fn a_revert_tells_its_reason_and_carries_its_data() {
        let output = hex!(
            "08c379a0"
            "0000000000000000000000000000000000000000000000000000000000000020"
            "0000000000000000000000000000000000000000000000000000000000000005"
            "68656c6c6f000000000000000000000000000000000000000000000000000000"
        );
        let error = reverted(output.to_vec());
        assert_eq!((error.code, error.message.as_str()), (3, "execution reverted: hello"));
        assert_eq!(error.data, Some(json!(hex::encode_prefixed(output))));
        let panic = hex!("4e487b71" "0000000000000000000000000000000000000000000000000000000000000011");
        assert_eq!(reverted(panic.to_vec()).message, "execution reverted: arithmetic underflow or overflow");
        let custom = reverted(vec![1, 2, 3, 4]);
        assert_eq!((custom.message.as_str(), custom.data), ("execution reverted", Some(json!("0x01020304"))));
        let out_of_gas = failure(&CallOutcome { status: status::OUT_OF_GAS, ..CallOutcome::default() });
        assert_eq!((out_of_gas.code, out_of_gas.message.as_str()), (-32000, "out of gas"));
    }

    #[test]
    fn a_reason_that_lies_about_its_length_is_no_reason() {
        let mut output = ERROR.to_vec();
        output.extend([0xff; 64]);
        assert_eq!(reason(&output), None);
        let mut output = ERROR.to_vec();
        output.extend(U256::from(32).to_be_bytes::<32>());
        output.extend(U256::MAX.to_be_bytes::<32>());
        assert_eq!(reason(&output), None);
        assert_eq!(reason(&ERROR), None);
    }

    #[test]
    fn the_call_object_takes_either_name_for_its_data() {
        let to = "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8f1";
        let call = request(&json!({"to": to, "data": "0x01", "gas": "0x10", "value": "0x2"})).unwrap();
        assert_eq!((call.to, call.data.as_ref(), call.gas), (Some(to.parse().unwrap()), &[1][..], Some(16)));
        assert_eq!(request(&json!({"input": "0x01", "data": "0x01"})).unwrap().to, None);
        assert!(request(&json!({"input": "0x01", "data": "0x02"})).unwrap_err().message.contains("not equal"));
        assert!(request(&json!("x")).is_err());
        assert!(request(&json!({"value": "7"})).is_err());
    }
}
