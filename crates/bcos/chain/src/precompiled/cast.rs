//! Conversions between texts and values (0x100f).

use alloy_primitives::{Address, B256, I256, U256};
use alloy_sol_types::SolType;

use super::abi::{AddressType, FixedBytes, Int, Text, Uint, decode};
use super::registry::Methods;
use super::{Answer, Call, Failure};

pub(super) const METHODS: Methods = &[
    ("stringToS256(string)", to_s256),
    ("stringToS64(string)", to_s64),
    ("stringToU256(string)", to_u256),
    ("stringToAddr(string)", to_address),
    ("stringToBytes32(string)", to_bytes32),
    ("s256ToString(int256)", from_s256),
    ("s64ToString(int64)", from_s64),
    ("u256ToString(uint256)", from_u256),
    ("addrToString(address)", from_address),
    ("bytes32ToString(bytes32)", from_bytes32),
];

fn failed<E>(_: E) -> Failure {
    Failure::Refused("InternalPrecompiledFailed".into())
}

fn text(data: &[u8]) -> Result<String, Failure> {
    Ok(decode::<(Text,)>(data)?.0)
}

#[expect(clippy::unnecessary_wraps, reason = "the last expression of methods")]
fn answer_text(text: String) -> Answer {
    Ok(<(Text,)>::abi_encode_params(&(text,)))
}

fn to_s256(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let text = text(data)?;
    let value = match text.strip_prefix("0x") {
        Some(digits) => I256::from_hex_str(digits).map_err(failed)?,
        None => I256::from_dec_str(&text).map_err(failed)?,
    };
    Ok(<(Int<256>,)>::abi_encode_params(&(value,)))
}

fn to_s64(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    Ok(<(Int<64>,)>::abi_encode_params(&(text(data)?.parse::<i64>().map_err(failed)?,)))
}

fn to_u256(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let text = text(data)?;
    let value = match text.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16),
        None => U256::from_str_radix(&text, 10),
    };
    Ok(<(Uint<256>,)>::abi_encode_params(&(value.map_err(failed)?,)))
}

fn to_address(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    Ok(<(AddressType,)>::abi_encode_params(&(text(data)?.parse::<Address>().map_err(failed)?,)))
}

/// The text's first 32 bytes, filled with zeros.
fn to_bytes32(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let text = text(data)?;
    let length = text.len().min(32);
    let mut value = B256::ZERO;
    value[..length].copy_from_slice(&text.as_bytes()[..length]);
    Ok(<(FixedBytes<32>,)>::abi_encode_params(&(value,)))
}

fn from_s256(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    answer_text(decode::<(Int<256>,)>(data)?.0.to_string())
}

fn from_s64(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    answer_text(decode::<(Int<64>,)>(data)?.0.to_string())
}

fn from_u256(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    answer_text(decode::<(Uint<256>,)>(data)?.0.to_string())
}

/// Forty digits without 0x.
fn from_address(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    answer_text(alloy_primitives::hex::encode(decode::<(AddressType,)>(data)?.0))
}

/// All 32 bytes; bytes that are no text are lost.
fn from_bytes32(_call: &mut Call<'_, '_>, data: &[u8]) -> Answer {
    let (value,) = decode::<(FixedBytes<32>,)>(data)?;
    answer_text(String::from_utf8_lossy(value.as_slice()).into_owned())
}
