//! `debug_trace*` and access lists.

use bcos_chain::executor::call::CallRequest;
use serde_json::Value;

use crate::api::Group;
use crate::rpc::error::RpcError;
use crate::rpc::params::Params;

fn later() -> RpcError {
    RpcError::new(-32601, "tracing is not available")
}

/// `debug_traceTransaction`.
pub(crate) async fn transaction(_: &Group, _: Params<'_>) -> Result<Value, RpcError> {
    Err(later())
}

/// `debug_traceCall`.
pub(crate) async fn call(_: &Group, _: CallRequest, _: Option<u64>, _: Option<&Value>) -> Result<Value, RpcError> {
    Err(later())
}

/// `debug_traceBlockByNumber`.
pub(crate) async fn block(_: &Group, _: u64, _: Option<&Value>) -> Result<Value, RpcError> {
    Err(later())
}

/// `eth_createAccessList`.
pub(crate) async fn access_list(_: &Group, _: CallRequest, _: Option<u64>) -> Result<Value, RpcError> {
    Err(later())
}
