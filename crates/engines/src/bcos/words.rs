//! What statuses, codes and reverts mean, and what to do about them.

use alloy_dyn_abi::{DynSolValue, JsonAbiExt as _};
use alloy_json_abi::JsonAbi;
use alloy_sol_types::{Panic, PanicKind, Revert, SolError as _};
use bcos_types::{codes, status};
use serde_json::Value;

use super::rpc::Failure;

/// The name of a refusal.
pub(super) fn refusal_code(failure: &Failure) -> String {
    let known = i32::try_from(failure.code).map_or("Unknown", status::name);
    if known != "Unknown" {
        return known.to_owned();
    }
    // The Ethereum surface says the pool's word in brackets at the end.
    let named = failure.message.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let named = named.and_then(|name| status::ALL.iter().find(|(_, known)| *known == name));
    if let Some((_, name)) = named {
        return (*name).to_owned();
    }
    // The Ethereum surface has one code for all that fits no other.
    let other = failure.code == -32_000 && !failure.message.contains("specified node");
    let rpc = codes::rpc::ALL.iter().find(|(code, _)| i64::from(*code) == failure.code && !other);
    match rpc {
        Some((_, name)) => (*name).to_owned(),
        None if failure.code == 3 => "RevertInstruction".to_owned(),
        None if other => "Refused".to_owned(),
        None => failure.code.to_string(),
    }
}

/// A refusal in words.
pub(super) fn refusal(failure: &Failure) -> String {
    let code = refusal_code(failure);
    let hint = status::ALL.iter().find(|(_, name)| *name == code).and_then(|(number, _)| advice(*number));
    let data = match &failure.data {
        Value::String(data) if data.len() > 2 => bytes(data).and_then(|data| revert(&data, None)),
        _ => None,
    };
    let text = data.unwrap_or_else(|| failure.message.clone());
    match hint {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}

fn advice(code: i32) -> Option<&'static str> {
    Some(match code {
        status::OUT_OF_GAS | status::OUT_OF_GAS_LIMIT => {
            "the call needs more gas than the chain allows; do less in one call or raise tx_gas_limit"
        }
        status::NOT_ENOUGH_CASH | status::INSUFFICIENT_FUNDS => {
            "the sender has too little balance for the value it sends"
        }
        status::BAD_INSTRUCTION => {
            "the code holds an instruction this chain does not know; compile for EVM version paris, or switch on feature_evm_cancun"
        }
        status::BAD_JUMP_DESTINATION | status::OUT_OF_STACK | status::STACK_UNDERFLOW => {
            "the contract's code is damaged or recurses too deeply"
        }
        status::PRECOMPILED_ERROR => "the chain's own contract refused its input",
        status::REVERT_INSTRUCTION => "the contract refused the call; check the arguments and the caller's rights",
        status::CONTRACT_ADDRESS_ALREADY_USED => "a contract is at that address already",
        status::PERMISSION_DENIED => "the account may not do this; ask the chain's governors for the right",
        status::CALL_ADDRESS_ERROR => "there is no contract at this address; check the address and the group",
        status::CONTRACT_FROZEN => "the contract is frozen; its administrator can unfreeze it",
        status::CONTRACT_ABOLISHED => "the contract was abolished for good; deploy it again",
        status::ACCOUNT_FROZEN => "the account is frozen; the chain's governors can unfreeze it",
        status::ACCOUNT_ABOLISHED => "the account was abolished for good; use another one",
        status::NONCE_CHECK_FAIL => "a transaction with this number was sent already; send it with a new one",
        status::BLOCK_LIMIT_CHECK_FAIL => "the transaction was signed too long ago; sign it again",
        status::TX_POOL_IS_FULL => "the node has too many waiting transactions; try again in a moment",
        status::INVALID_CHAIN_ID | status::INVALID_GROUP_ID => "the transaction was signed for another chain or group",
        status::INVALID_SIGNATURE => "the signature does not fit the transaction",
        status::REQUEST_NOT_BELONG_TO_THE_GROUP => "this node is not a member of the group; ask another node",
        status::TRANSACTION_POOL_TIMEOUT => "no block took the transaction in time; check that enough sealers run",
        status::MAX_INIT_CODE_SIZE_EXCEEDED => "the contract's code is too large; split the contract",
        _ => return None,
    })
}

/// Bytes of a 0x-text.
pub(super) fn bytes(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("0x").unwrap_or(text)).ok()
}

/// The reason in a revert's output: a text, a panic, or an error of the contract's interface.
pub(super) fn revert(output: &[u8], abi: Option<&JsonAbi>) -> Option<String> {
    if let Ok(revert) = Revert::abi_decode(output) {
        return Some(revert.reason);
    }
    if let Ok(panic) = Panic::abi_decode(output) {
        let code = panic.code;
        let known = u32::try_from(code).ok().and_then(PanicKind::from_number);
        return Some(match known {
            Some(kind) => format!("panic {code:#04x}: {}", kind.as_str()),
            None => format!("panic {code:#04x}"),
        });
    }
    let selector: [u8; 4] = output.get(..4)?.try_into().ok()?;
    let error = abi?.errors().find(|error| error.selector() == selector)?;
    let values = error.abi_decode_input(output.get(4..)?).ok()?;
    let values: Vec<String> =
        error.inputs.iter().zip(&values).map(|(input, value)| named(&input.name, value)).collect();
    Some(format!("{}({})", error.name, values.join(", ")))
}

fn named(name: &str, value: &DynSolValue) -> String {
    let text = show(value);
    if name.is_empty() { text } else { format!("{name}: {text}") }
}

/// A value as people write it.
fn show(value: &DynSolValue) -> String {
    match value {
        DynSolValue::Bool(flag) => flag.to_string(),
        DynSolValue::Int(number, _) => number.to_string(),
        DynSolValue::Uint(number, _) => number.to_string(),
        DynSolValue::Address(address) => format!("0x{}", hex::encode(address)),
        DynSolValue::FixedBytes(word, size) => format!("0x{}", hex::encode(&word[..(*size).min(32)])),
        DynSolValue::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        DynSolValue::String(text) => format!("{text:?}"),
        DynSolValue::Function(function) => format!("0x{}", hex::encode(function.as_slice())),
        DynSolValue::Array(all) | DynSolValue::FixedArray(all) => {
            format!("[{}]", all.iter().map(show).collect::<Vec<_>>().join(", "))
        }
        DynSolValue::Tuple(all) => format!("({})", all.iter().map(show).collect::<Vec<_>>().join(", ")),
    }
}

/// Why a transaction did not take effect, with what to do; empty when it did.
pub(super) fn outcome(code: i32, output: &[u8], message: &str, abi: Option<&JsonAbi>) -> String {
    if code == status::NONE {
        return String::new();
    }
    let reason = revert(output, abi).or_else(|| Some(message.to_owned()).filter(|text| !text.is_empty()));
    let name = status::name(code);
    match (reason, advice(code)) {
        (Some(reason), Some(advice)) => format!("{reason} ({name}): {advice}"),
        (Some(reason), None) => format!("{reason} ({name})"),
        (None, Some(advice)) => format!("{name}: {advice}"),
        (None, None) => format!("{name} (status {code})"),
    }
}

/// The code that a precompiled contract put into its output, when it is a failure; in words.
pub(super) fn precompiled(output: &[u8]) -> Option<String> {
    let word: [u8; 32] = output.get(..32)?.try_into().ok()?;
    let code = i32::from_be_bytes([word[28], word[29], word[30], word[31]]);
    if code >= 0 {
        return None;
    }
    let name = codes::precompiled_name(code).map_or_else(|| code.to_string(), ToOwned::to_owned);
    let advice = match code {
        codes::LAST_SEALER => "it is the last sealer; add another one first",
        codes::NODE_NOT_EXIST => "this node is not a member of the group",
        codes::ADD_SEALER_SHOULD_IN_OBSERVER => "the node must be an observer before it can seal",
        codes::INVALID_NODE_ID => "this is no node id",
        codes::INVALID_WEIGHT => "the weight must be at least 1",
        codes::NO_AUTHORIZED => "the account has no right to do this",
        codes::FILE_ALREADY_EXIST => "something else has this name already",
        codes::FILE_INVALID_PATH => "the name holds letters that names on a chain may not have, or is too long",
        codes::ADDRESS_OR_VERSION_ERROR => "there is no contract at this address, or the version is not valid",
        _ => "the chain's own contract refused",
    };
    Some(format!("{name}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverts_are_read_in_all_three_forms() {
        let text = Revert::from("too little").abi_encode();
        assert_eq!(revert(&text, None).as_deref(), Some("too little"));
        let panic = Panic::from(PanicKind::UnderOverflow).abi_encode();
        assert!(revert(&panic, None).unwrap().starts_with("panic 0x11: "));
        let abi: JsonAbi = serde_json::from_str(
            r#"[{"type":"error","name":"Short","inputs":[{"name":"need","type":"uint256"},{"name":"who","type":"string"}]}]"#,
        )
        .unwrap();
        let error = abi.errors().next().unwrap();
        let values = [DynSolValue::Uint(alloy_dyn_abi_u256(7), 256), DynSolValue::String("me".into())];
        let data = error.abi_encode_input(&values).unwrap();
        assert_eq!(revert(&data, Some(&abi)).as_deref(), Some("Short(need: 7, who: \"me\")"));
        assert_eq!(revert(&data, None), None);
        assert_eq!(revert(&[], Some(&abi)), None);
        assert!(outcome(16, &text, "", None).starts_with("too little (RevertInstruction): "));
        assert_eq!(outcome(0, &text, "", None), "");
    }

    fn alloy_dyn_abi_u256(value: u64) -> bcos_types::U256 {
        bcos_types::U256::from(value)
    }

    #[test]
    fn codes_of_the_chain_s_own_contracts_are_words() {
        let mut output = [0xff_u8; 32];
        output[28..].copy_from_slice(&codes::LAST_SEALER.to_be_bytes());
        assert!(precompiled(&output).unwrap().starts_with("CODE_LAST_SEALER: "));
        assert_eq!(precompiled(&[0; 32]), None);
        assert_eq!(precompiled(&[]), None);
    }
}
