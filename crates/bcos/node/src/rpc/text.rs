//! Numbers, bytes and addresses as the texts that clients exchange.

use alloy_primitives::{Address, B256, Bytes, U256, hex};

use serde_json::Value;

use super::error::RpcError;

/// `0x` and the bytes.
pub(crate) fn data(bytes: impl AsRef<[u8]>) -> String {
    hex::encode_prefixed(bytes)
}

/// Several hashes or addresses, each with `0x`.
pub(crate) fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Value {
    items.into_iter().map(|item| Value::String(data(item))).collect()
}

/// An Ethereum quantity: `0x` and no leading zeros.
pub(crate) fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

/// A 256-bit quantity.
pub(crate) fn quantity_256(number: &U256) -> String {
    format!("{number:#x}")
}

/// The 32-byte word of a storage slot.
pub(crate) fn word(number: &U256) -> String {
    data(number.to_be_bytes::<32>())
}

/// A number that upstream keeps as text: hex with `0x`, decimal, or nothing at all.
pub(crate) fn number_of_text(text: &str) -> U256 {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => U256::from_str_radix(digits, 16).unwrap_or_default(),
        None => U256::from_str_radix(text, 10).unwrap_or_default(),
    }
}

fn digits(text: &str) -> &str {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text)
}

/// Hex digits, with or without `0x`; `what` names the parameter in the refusal.
pub(crate) fn bytes(text: &str, what: &str) -> Result<Bytes, RpcError> {
    hex::decode(digits(text)).map(Bytes::from).map_err(|error| RpcError::params(format!("{what} is not hex: {error}")))
}

/// Twenty bytes in hex, with or without `0x`.
pub(crate) fn address(text: &str, what: &str) -> Result<Address, RpcError> {
    let mut out = [0; 20];
    hex::decode_to_slice(digits(text), &mut out)
        .map_err(|_| RpcError::params(format!("{what} {text:?} is not an address: 40 hex digits are wanted")))?;
    Ok(Address::from(out))
}

/// Thirty-two bytes in hex, with or without `0x`.
pub(crate) fn hash(text: &str, what: &str) -> Result<B256, RpcError> {
    let mut out = [0; 32];
    hex::decode_to_slice(digits(text), &mut out)
        .map_err(|_| RpcError::params(format!("{what} {text:?} is not a hash: 64 hex digits are wanted")))?;
    Ok(B256::from(out))
}

/// An Ethereum quantity that fits 64 bits.
pub(crate) fn number(text: &str, what: &str) -> Result<u64, RpcError> {
    let wrong = || RpcError::params(format!("{what} {text:?} is not a quantity: 0x and hex digits are wanted"));
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(wrong)?;
    u64::from_str_radix(digits, 16).map_err(|_| wrong())
}

/// An Ethereum quantity of up to 256 bits.
pub(crate) fn number_256(text: &str, what: &str) -> Result<U256, RpcError> {
    let wrong = || RpcError::params(format!("{what} {text:?} is not a quantity: 0x and hex digits are wanted"));
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() > 64 {
        return Err(wrong());
    }
    U256::from_str_radix(digits, 16).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_no_leading_zeros() {
        assert_eq!(quantity(0), "0x0");
        assert_eq!(quantity(0x4ee8), "0x4ee8");
        assert_eq!(quantity_256(&U256::from(256)), "0x100");
        assert_eq!(word(&U256::from(1)), format!("0x{}1", "0".repeat(63)));
        assert_eq!(number("0x10", "n").unwrap(), 16);
        assert!(number("16", "n").unwrap_err().message.contains("0x and hex digits"));
        assert!(number("0x1ffffffffffffffff", "n").is_err());
        assert_eq!(number_of_text("0x10"), U256::from(16));
        assert_eq!(number_of_text("16"), U256::from(16));
        assert_eq!(number_of_text(""), U256::ZERO);
    }
}
