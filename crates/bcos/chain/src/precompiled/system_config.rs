//! System settings (0x1000). A setting made in one block is in force from the next.

use alloy_primitives::{Bytes, I256, U256};
use alloy_sol_types::SolType;

use super::abi::{Int, Text, decode, int};
use super::registry::Methods;
use super::{Answer, Call, Failure};
use crate::access::{SYSTEM_CONFIG_TABLE, SystemValue};
use bcos_types::codes;

pub(super) const METHODS: Methods = &[("setValueByKey(string,string)", set_value), ("getValueByKey(string)", value_of)];

/// Settings that are whole numbers, and the least value of each.
const NUMBERS: [(&str, i64); 8] = [
    ("tx_gas_limit", 100_000),
    ("tx_count_limit", 1),
    ("consensus_leader_period", 1),
    ("auth_check_status", 0),
    ("feature_rpbft_epoch_block_num", 1),
    ("feature_rpbft_epoch_sealer_num", 1),
    ("balance_transfer", 0),
    ("executor_version", 0),
];

/// Flags that can be set, once and to 1.
const FLAGS: [&str; 6] = [
    "feature_rpbft",
    "feature_rpbft_term_weight",
    "feature_evm_cancun",
    "feature_evm_timestamp",
    "feature_evm_address",
    "feature_raw_address",
];

/// Most bytes of a name or value.
const MOST_BYTES: usize = 1_024;

fn refused<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(text.into()))
}

fn stored(call: &mut Call<'_, '_>, key: &str) -> Result<Option<SystemValue>, Failure> {
    let row = call.row(&SYSTEM_CONFIG_TABLE.into(), &Bytes::copy_from_slice(key.as_bytes()))?;
    Ok(row.and_then(|bytes| SystemValue::decode(&bytes)))
}

/// Parts of a version as numbers; `None` when it is none.
fn version(text: &str) -> Option<[u32; 3]> {
    let mut out = [0; 3];
    let parts: Vec<&str> = text.split('.').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    for (slot, part) in out.iter_mut().zip(parts) {
        *slot = part.parse().ok()?;
    }
    Some(out)
}

fn check(call: &mut Call<'_, '_>, key: &str, value: &str) -> Result<(), Failure> {
    let flag = FLAGS.contains(&key) || key.starts_with("bugfix_");
    let number = NUMBERS.iter().find(|(known, _)| *known == key);
    if !flag && number.is_none() && !["tx_gas_price", "web3_chain_id", "compatibility_version"].contains(&key) {
        return refused(format!("unsupported key {key}"));
    }
    if value.is_empty() {
        return refused(format!("The value for {key} must be non-empty."));
    }
    if flag {
        return if value == "1" { Ok(()) } else { refused(format!("The value for {key} must be 1.")) };
    }
    if let Some((_, least)) = number {
        let Ok(parsed) = value.parse::<i64>() else {
            return refused(format!("The value for {key} must be a valid number."));
        };
        if parsed < *least {
            return refused(format!("Invalid value {parsed} ,the value for {key} must be no less than {least}"));
        }
        return match key {
            "auth_check_status" if parsed != 0 => {
                refused("auth_check_status must be 0: this chain has no committee of governors")
            }
            "executor_version" if parsed != 1 => {
                refused("executor_version must be 1: this chain has no other executor")
            }
            _ => Ok(()),
        };
    }
    match key {
        "tx_gas_price" => {
            let digits = value.strip_prefix("0x").unwrap_or_default();
            if digits.is_empty() || U256::from_str_radix(digits, 16).is_err() {
                return refused(format!("Invalid value {value} ,the value for {key} must be a hex number like 0xa."));
            }
        }
        "web3_chain_id" => match U256::from_str_radix(value, 10) {
            Err(_) => return refused(format!("Invalid value {value}, the value for {key} must be a number string.")),
            Ok(id) if id > U256::from(u32::MAX) => {
                return refused(format!("Invalid value {value}, the value for {key} must be less than UINT32_MAX."));
            }
            Ok(_) => {}
        },
        _ => {
            let Some(asked) = version(value) else {
                return refused(format!(
                    "Invalid value for {key}. The version must be in format of major_version.middle_version.minimum_version, and the minimum version is optional. The major version must between 3 to 3"
                ));
            };
            let now = stored(call, key)?.and_then(|now| version(&now.value)).unwrap_or_default();
            if asked < now {
                return refused("Set compatibility version should not lower than version nowadays.");
            }
            if asked != now {
                return refused("compatibility_version must stay as it is: this chain knows no later version");
            }
        }
    }
    Ok(())
}

fn set_value(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (key, value) = decode::<(Text, Text)>(data)?;
    if key.len() > MOST_BYTES || value.len() > MOST_BYTES {
        return refused("key or value of a setting is too long");
    }
    let key = key.to_ascii_lowercase();
    check(call, &key, &value)?;
    let entry = SystemValue { value, enable_number: call.env().number + 1 };
    call.set_row(&SYSTEM_CONFIG_TABLE.into(), Bytes::from(key.into_bytes()), Some(entry.encode()))?;
    int(codes::SUCCESS)
}

fn value_of(call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (key,) = decode::<(Text,)>(data)?;
    let key = key.to_ascii_lowercase();
    let (value, number) = match stored(call, &key)? {
        Some(entry) => (entry.value, I256::try_from(entry.enable_number).unwrap_or_default()),
        None if key == "auth_check_status" => ("0".to_owned(), I256::ZERO),
        None => (String::new(), I256::MINUS_ONE),
    };
    Ok(<(Text, Int<256>)>::abi_encode_params(&(value, number)))
}
