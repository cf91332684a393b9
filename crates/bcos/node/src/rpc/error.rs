//! The error member of a JSON-RPC answer, with upstream's codes and texts.

use serde_json::Value;

/// The JSON cannot be read.
pub(crate) const PARSE_ERROR: i64 = -32700;
/// The JSON is no request.
pub(crate) const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// A parameter is missing or wrong.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// Our own fault.
pub(crate) const INTERNAL_ERROR: i64 = -32603;
/// The group or the node named in the request is not here.
pub(crate) const NODE_NOT_EXIST: i64 = -32000;
/// The group named in a request that carries no node name is not here.
pub(crate) const GROUP_NOT_EXIST: i64 = -32005;
/// Execution was reverted, in the code that Ethereum clients look for before they decode the data.
pub(crate) const REVERTED: i64 = 3;
/// The ledger refuses an argument (an unknown block, transaction or key).
pub(crate) const LEDGER_ARGUMENT: i64 = 3003;
/// The ledger has no such entry.
pub(crate) const LEDGER_ABSENT: i64 = 3008;

/// Why a call is not answered with a result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message} (code {code})")]
pub(crate) struct RpcError {
    /// The number clients compare.
    pub(crate) code: i64,
    /// The text people read.
    pub(crate) message: String,
    /// What came with it: the output of a reverted call.
    pub(crate) data: Option<Value>,
}

impl RpcError {
    /// A code with its text.
    pub(crate) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// With something more for the client.
    pub(crate) fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// A parameter is missing or wrong.
    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// Our own fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// As the member `error` of an answer.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = serde_json::Map::with_capacity(3);
        error.insert("code".to_owned(), self.code.into());
        error.insert("message".to_owned(), self.message.as_str().into());
        if let Some(data) = &self.data {
            error.insert("data".to_owned(), data.clone());
        }
        Value::Object(error)
    }
}
