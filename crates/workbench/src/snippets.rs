//! A contract call as code to copy: through our REST API, and natively.

mod literal;
mod native;
mod rest;

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

/// All pieces for a call: first through the REST API, then natively.
pub fn snippets(request: &SnippetRequest<'_>) -> Vec<Snippet> {
    let mut all = rest::all(request);
    all.extend(native::all(request));
    all
}

fn snippet(language: &str, way: &str, install: &str, code: String) -> Snippet {
    let name = match language {
        "curl" => "curl",
        "typescript" => "TypeScript",
        "python" => "Python",
        "go" => "Go",
        _ => "Java",
    };
    let (by, by_zh) =
        if way == "rest" { ("through this server", "通过本服务") } else { ("straight to a node", "直连节点") };
    Snippet {
        language: language.to_owned(),
        way: way.to_owned(),
        title: format!("{name}, {by}"),
        title_zh: format!("{name}({by_zh})"),
        install: install.to_owned(),
        code,
    }
}
