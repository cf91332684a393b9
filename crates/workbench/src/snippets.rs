//! A contract call as code to copy: through our REST API, and natively.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::interface::{Interface, Method};

/// What the code should call.
#[derive(Debug, Clone)]
pub struct SnippetRequest<'a> {
    /// The contract.
    pub contract: &'a Interface,
    /// The method.
    pub method: &'a Method,
    /// Arguments as for `values`: object or array; missing ones get an example.
    pub arguments: &'a Value,
    /// Address of this server: `https://host:8080`.
    pub server: &'a str,
    /// Id of the deployed contract, `ctr_…`.
    pub contract_id: &'a str,
    /// Native: channel (Fabric) or group (BCOS).
    pub channel: &'a str,
    /// Native: chaincode name or contract address.
    pub target: &'a str,
    /// Native: `host:port` of a peer's gateway, or URL of the chain's Ethereum RPC.
    pub endpoint: &'a str,
    /// Native, Fabric: MSP id.
    pub mspid: &'a str,
}

/// One piece of code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snippet {
    /// `curl`, `typescript`, `python`, `go`, `java`.
    pub language: String,
    /// `rest` or `native`.
    pub way: String,
    /// Title, English.
    pub title: String,
    /// Title, Chinese.
    pub title_zh: String,
    /// What to install first.
    pub install: String,
    /// The code.
    pub code: String,
}

/// All pieces for a call.
pub fn snippets(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    todo!()
}
