//! How rows and their keys are kept.

use alloy_primitives::Bytes;

use crate::precompiled::Failure;
use crate::precompiled::table_manager::Info;

/// Values one after another, each after its length (4 bytes).
pub(super) fn encode_row(values: &[String]) -> Bytes {
    let mut out = Vec::with_capacity(values.iter().map(|value| value.len() + 4).sum());
    for value in values {
        out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        out.extend_from_slice(value.as_bytes());
    }
    out.into()
}

pub(super) fn decode_row(mut bytes: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some((value, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        values.push(String::from_utf8_lossy(value).into_owned());
        bytes = rest;
    }
    values
}

/// Numbers so that their text order is their numerical order: shifted into the unsigned range, 32 digits.
pub(super) fn numerical_key(key: &str) -> Result<String, Failure> {
    match key.parse::<i64>() {
        // Another spelling of a number would be another row.
        Ok(number) if number.to_string() == key => Ok(format!("{:032}", number as u64 ^ (1 << 63))),
        _ => Err(Failure::Refused("The key cannot be converted to a number(int64)".into())),
    }
}

pub(super) fn stored_key(info: &Info, key: &str) -> Result<String, Failure> {
    if info.numerical { numerical_key(key) } else { Ok(key.to_owned()) }
}

pub(super) fn shown_key(info: &Info, stored: &[u8]) -> String {
    let text = String::from_utf8_lossy(stored);
    match text.parse::<u64>() {
        Ok(number) if info.numerical => ((number ^ (1 << 63)) as i64).to_string(),
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order() {
        let info = Info { numerical: true, key: "id".into(), columns: vec![] };
        let mut keys: Vec<i64> = vec![-5, 3, i64::MIN, 0, i64::MAX, 20, -10];
        let mut stored: Vec<String> = keys.iter().map(|key| numerical_key(&key.to_string()).unwrap()).collect();
        keys.sort_unstable();
        stored.sort_unstable();
        let shown: Vec<String> = stored.iter().map(|key| shown_key(&info, key.as_bytes())).collect();
        assert_eq!(shown, keys.iter().map(i64::to_string).collect::<Vec<_>>());
        assert!(numerical_key("007").is_err());
        let row = vec![String::new(), "ab".into()];
        assert_eq!(decode_row(&encode_row(&row)), row);
    }
}
