//! State overrides of calls and traces, in geth's shape.

use alloy_primitives::{Address, B256};
use bcos_chain::executor::overrides::{AccountOverride, Overrides};
use serde_json::{Map, Value};

use crate::rpc::error::RpcError;
use crate::rpc::params::Params;
use crate::rpc::text;

/// The overrides that follow call and block; those of the block's own fields are refused.
pub(crate) fn of_call(params: Params<'_>) -> Result<Overrides, RpcError> {
    no_block_overrides(params.get(3))?;
    of_account_list(params.get(2))
}

/// The overrides among a trace's options.
pub(crate) fn of_trace(options: Option<&Value>) -> Result<Overrides, RpcError> {
    let Some(Value::Object(options)) = options else { return Ok(Vec::new()) };
    no_block_overrides(options.get("blockOverrides"))?;
    of_account_list(options.get("stateOverrides"))
}

fn no_block_overrides(given: Option<&Value>) -> Result<(), RpcError> {
    match given {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Object(overrides)) if overrides.is_empty() => Ok(()),
        Some(_) => Err(RpcError::params("block overrides are not supported here; leave them out")),
    }
}

/// The accounts and what is imagined of each.
pub(super) fn of_account_list(given: Option<&Value>) -> Result<Overrides, RpcError> {
    match given {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(accounts)) => accounts
            .iter()
            .map(|(address, wanted)| {
                let address = text::address(address, "the account of a state override")?;
                Ok((address, account(address, wanted)?))
            })
            .collect(),
        Some(_) => Err(RpcError::params("state overrides must be an object of accounts")),
    }
}

fn account(address: Address, wanted: &Value) -> Result<AccountOverride, RpcError> {
    let Value::Object(fields) = wanted else {
        return Err(RpcError::params(format!("the state override of {address} must be an object")));
    };
    let mut found = AccountOverride::default();
    let mut diff = None;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        match (name.as_str(), value) {
            ("balance", Value::String(number)) => found.balance = Some(text::number_256(number, "balance")?),
            ("nonce", Value::String(number)) => found.nonce = Some(text::number(number, "nonce")?),
            ("code", Value::String(code)) => found.code = Some(text::bytes(code, "code")?),
            ("state", Value::Object(slots)) => found.state = Some(storage(slots)?),
            ("stateDiff", Value::Object(slots)) => diff = Some(storage(slots)?),
            ("balance" | "nonce" | "code" | "state" | "stateDiff", _) => {
                return Err(RpcError::params(format!("{name} in the state override of {address} has the wrong type")));
            }
            ("movePrecompileToAddress", _) => {
                return Err(RpcError::params("precompiled contracts cannot be moved here; override other accounts"));
            }
            _ => {
                return Err(RpcError::params(format!(
                    "{name:?} is nothing a state override knows; use balance, nonce, code, state or stateDiff"
                )));
            }
        }
    }
    if diff.is_some() && found.state.is_some() {
        let address = address.to_checksum(None);
        return Err(RpcError::new(-32000, format!("account {address} has both 'state' and 'stateDiff'")));
    }
    found.state_diff = diff.unwrap_or_default();
    Ok(found)
}

fn storage(slots: &Map<String, Value>) -> Result<Vec<(B256, B256)>, RpcError> {
    let word = |text: &str| text::hash(text, "a slot or value of a state override");
    slots
        .iter()
        .map(|(slot, value)| {
            let value = value.as_str().ok_or_else(|| RpcError::params("slots in state overrides are texts"))?;
            Ok((word(slot)?, word(value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::U256;
    use serde_json::json;

    const ACCOUNT: &str = "0x6849f21d1e455e9f0712b1e99fa4fcd23758e8f1";

    fn word(value: u8) -> String {
        format!("{:#x}", B256::with_last_byte(value))
    }

    #[test]
    fn geth_s_shape_is_read() {
        let given = json!({ ACCOUNT: {
            "balance": "0x10", "nonce": "0x2", "code": "0x6001", "stateDiff": { word(1): word(2) }, "state": null,
        }});
        let expected = AccountOverride {
            balance: Some(U256::from(16)),
            nonce: Some(2),
            code: Some(vec![0x60, 1].into()),
            state: None,
            state_diff: vec![(B256::with_last_byte(1), B256::with_last_byte(2))],
        };
        assert_eq!(of_account_list(Some(&given)).unwrap(), [(ACCOUNT.parse().unwrap(), expected)]);
        let whole = of_account_list(Some(&json!({ ACCOUNT: { "state": {} } }))).unwrap();
        assert_eq!(whole[0].1.state, Some(vec![]));
        assert!(of_account_list(None).unwrap().is_empty() && of_account_list(Some(&Value::Null)).unwrap().is_empty());
        let traced = json!({ "tracer": "callTracer", "stateOverrides": given });
        assert_eq!(of_trace(Some(&traced)).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let both = json!({ ACCOUNT: { "state": {}, "stateDiff": {} } });
        let error = of_account_list(Some(&both)).unwrap_err();
        assert_eq!(error.code, -32000);
        assert!(error.message.ends_with("has both 'state' and 'stateDiff'"), "{}", error.message);
        for given in [
            json!([]),
            json!({ "0x12": {} }),
            json!({ ACCOUNT: 5 }),
            json!({ ACCOUNT: { "balance": 5 } }),
            json!({ ACCOUNT: { "nonce": "5" } }),
            json!({ ACCOUNT: { "stateDiff": { "0x1": word(2) } } }),
            json!({ ACCOUNT: { "state": { word(1): 2 } } }),
            json!({ ACCOUNT: { "blance": "0x1" } }),
            json!({ ACCOUNT: { "movePrecompileToAddress": ACCOUNT } }),
        ] {
            assert_eq!(of_account_list(Some(&given)).unwrap_err().code, -32602, "{given}");
        }
        assert!(of_trace(Some(&json!({ "blockOverrides": { "number": "0x1" } }))).is_err());
    }
}
