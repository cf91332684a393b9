//! Positional parameters, each with a name for the refusal.

use alloy_primitives::{Address, B256, Bytes};
use serde_json::Value;

use super::error::RpcError;
use super::text;

/// The parameters of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a>(pub(crate) &'a [Value]);

impl<'a> Params<'a> {
    /// The parameter, when it is there and not null.
    pub(crate) fn get(&self, at: usize) -> Option<&'a Value> {
        self.0.get(at).filter(|value| !value.is_null())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, at: usize, what: &str) -> Result<&'a Value, RpcError> {
        self.get(at).ok_or_else(|| RpcError::params(format!("parameter {} ({what}) is missing", at + 1)))
    }

    /// A text that must be there.
    pub(crate) fn text(&self, at: usize, what: &str) -> Result<&'a str, RpcError> {
        self.required(at, what)?
            .as_str()
            .ok_or_else(|| RpcError::params(format!("parameter {} ({what}) must be a text", at + 1)))
    }

    /// A text, or nothing.
    pub(crate) fn optional_text(&self, at: usize, what: &str) -> Result<Option<&'a str>, RpcError> {
        if self.get(at).is_none() { Ok(None) } else { self.text(at, what).map(Some) }
    }

    /// True or false; numbers count as upstream's JSON library counts them.
    pub(crate) fn flag(&self, at: usize, default: bool) -> bool {
        match self.get(at) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_i64() != Some(0),
            _ => default,
        }
    }

    /// A whole number, written as a number or as decimal text.
    pub(crate) fn integer(&self, at: usize, what: &str) -> Result<i64, RpcError> {
        let value = self.required(at, what)?;
        value
            .as_i64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .ok_or_else(|| RpcError::params(format!("parameter {} ({what}) must be a whole number", at + 1)))
    }

    /// A 32-byte hash in hex.
    pub(crate) fn hash(&self, at: usize, what: &str) -> Result<B256, RpcError> {
        text::hash(self.text(at, what)?, what)
    }

    /// A 20-byte address in hex.
    pub(crate) fn address(&self, at: usize, what: &str) -> Result<Address, RpcError> {
        text::address(self.text(at, what)?, what)
    }

    /// Bytes in hex.
    pub(crate) fn bytes(&self, at: usize, what: &str) -> Result<Bytes, RpcError> {
        text::bytes(self.text(at, what)?, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_refused_by_place_and_name() {
        let values = [json!("group0"), json!(null), json!("7"), json!(1), json!(false)];
        let params = Params(&values);
        assert_eq!(params.text(0, "group").unwrap(), "group0");
        assert_eq!(params.text(1, "node").unwrap_err().message, "parameter 2 (node) is missing");
        assert_eq!(params.text(9, "x").unwrap_err().code, -32602);
        assert_eq!(params.integer(2, "number").unwrap(), 7);
        assert!(params.flag(3, false));
        assert!(!params.flag(4, true));
        assert!(params.flag(5, true));
        assert!(params.text(3, "x").unwrap_err().message.contains("must be a text"));
    }
}
