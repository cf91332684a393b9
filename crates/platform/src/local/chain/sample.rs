//! The sample contract and the client that deploys and calls it: JSON-RPC over the SDK's mutual TLS.

use std::path::Path;
use std::sync::Arc;

use alloy_sol_types::{SolCall, sol};
use bcos_types::{Transaction, TransactionData};
use konsort_crypto::{SuiteKey, SuiteKind, random_bytes};
use konsort_node::{ClientTls, DialOptions, Roots, TlsIdentity, http_request};
use serde_json::{Value, json};

use crate::local::LocalError;

/// The sample contract: `sample_contract/Asset.sol`, compiled with solc 0.8.30, EVM Paris, 200 optimiser runs, without a metadata hash.
pub const BYTECODE: &str = include_str!("sample_contract/Asset.bin");
/// Its interface.
pub const ABI: &str = include_str!("sample_contract/Asset.abi");
/// Blocks after which a transaction that was not sealed is void.
const BLOCK_LIMIT: i64 = 500;
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;

sol! {
    function create(string id, string description, uint256 value) external;
    function read(string id) external view returns (address owner, string description, uint256 value);
}

/// A client of one node.
#[derive(Debug, Clone)]
pub struct Client {
    address: String,
    options: DialOptions,
    key: Arc<SuiteKey>,
    chain_id: String,
    group_id: String,
}

fn step(step: &str) -> impl Fn(String) -> LocalError + use<> {
    let step = step.to_owned();
    move |why| LocalError::Step { step: step.clone(), why }
}

/// Makes the account that deploys and calls the sample.
pub(super) fn make_account(path: &Path) -> Result<(), LocalError> {
    let key = SuiteKey::generate(SuiteKind::International);
    konsort_pki::key_file::write_secret(path, key.to_pem().as_bytes())
        .map_err(|source| LocalError::Io { what: format!("write {}", path.display()), source })
}

impl Client {
    /// Speaks to the node at `host:port` about one group, with the certificates of the SDK's folder and an account's PEM file.
    pub fn new(address: &str, sdk: &Path, account: &Path, chain_id: &str, group_id: &str) -> Result<Self, LocalError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| LocalError::Io { what: format!("read {}", path.display()), source })
        };
        let failed = step("reading the SDK's certificates");
        let roots = Roots::from_pem([read(&sdk.join("ca.crt"))?]).map_err(|error| failed(error.to_string()))?;
        let identity = TlsIdentity::from_pem(&read(&sdk.join("sdk.crt"))?, &read(&sdk.join("sdk.key"))?)
            .map_err(|error| failed(error.to_string()))?;
        let pem = String::from_utf8_lossy(&read(account)?).into_owned();
        let key = SuiteKey::from_pem(&pem)
            .map_err(|error| LocalError::Damaged { path: account.to_path_buf(), why: error.to_string() })?;
        let tls = ClientTls { roots: roots.nameless(), identity: Some(identity), server_name_override: None };
        Ok(Self {
            address: address.to_owned(),
            options: DialOptions::tls(tls),
            key: Arc::new(key),
            chain_id: chain_id.to_owned(),
            group_id: group_id.to_owned(),
        })
    }

    /// One JSON-RPC call; group and node name are put before the parameters.
    pub async fn rpc(&self, method: &str, parameters: &[Value]) -> Result<Value, LocalError> {
        let failed = step(&format!("{method} of {}", self.address));
        let mut params = vec![json!(self.group_id), json!("")];
        params.extend_from_slice(parameters);
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let request = http::Request::post("/")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .map_err(|error| failed(error.to_string()))?;
        let answer = http_request(&self.address, &self.options, request, MAX_ANSWER)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let mut answer: Value = serde_json::from_slice(answer.body()).map_err(|error| failed(error.to_string()))?;
        match answer.get("error").filter(|error| !error.is_null()) {
            Some(error) => Err(failed(error.to_string())),
            None => Ok(answer["result"].take()),
        }
    }

    /// The number of the node's last block.
    pub async fn block_number(&self) -> Result<u64, LocalError> {
        let number = self.rpc("getBlockNumber", &[]).await?;
        number.as_u64().ok_or_else(|| step("getBlockNumber")(format!("the answer {number} is no number")))
    }

    /// The output of a call of a contract, hex with 0x.
    pub async fn call(&self, contract: &str, input: &[u8]) -> Result<String, LocalError> {
        let answer = self.rpc("call", &[json!(contract), json!(format!("0x{}", hex::encode(input)))]).await?;
        match (answer["status"].as_i64(), answer["output"].as_str()) {
            (Some(0), Some(output)) => Ok(output.to_owned()),
            _ => Err(step("call")(format!("{contract} answered {answer}"))),
        }
    }

    /// Signs a transaction, sends it and waits for its receipt, which must report success; the error names `what`.
    pub async fn send(&self, what: &str, to: &str, input: Vec<u8>, abi: &str) -> Result<Value, LocalError> {
        let head = i64::try_from(self.block_number().await?).unwrap_or(i64::MAX - BLOCK_LIMIT);
        let data = TransactionData {
            chain_id: self.chain_id.clone(),
            group_id: self.group_id.clone(),
            block_limit: head + BLOCK_LIMIT,
            nonce: hex::encode(random_bytes::<16>()),
            to: to.to_owned(),
            input: input.into(),
            abi: abi.to_owned(),
            ..TransactionData::default()
        };
        let transaction = Transaction::signed(data, &self.key);
        let encoded = format!("0x{}", hex::encode(transaction.encode()));
        let receipt = self.rpc("sendTransaction", &[json!(encoded), json!(false)]).await?;
        match receipt["status"].as_i64() {
            Some(0) => Ok(receipt),
            _ => Err(step(what)(format!("the receipt is {receipt}"))),
        }
    }

    /// Deploys the sample and gives its address.
    pub async fn deploy_sample(&self) -> Result<String, LocalError> {
        let what = "deploying the sample contract";
        let code = hex::decode(BYTECODE.trim()).map_err(|error| step(what)(error.to_string()))?;
        let receipt = self.send(what, "", code, ABI.trim()).await?;
        match receipt["contractAddress"].as_str() {
            Some(address) if !address.is_empty() => Ok(address.to_owned()),
            _ => Err(step(what)(format!("the receipt names no contract: {receipt}"))),
        }
    }

    /// Creates an asset and reads it back.
    pub(super) async fn call_sample(&self, contract: &str) -> Result<(), LocalError> {
        let what = "calling the sample contract";
        let id = format!("asset-{}", hex::encode(random_bytes::<4>()));
        let create = createCall {
            id: id.clone(),
            description: "made by konsort up".into(),
            value: alloy_sol_types::private::U256::from(100),
        };
        self.send(what, contract, create.abi_encode(), "").await?;
        let answer = self.call(contract, &readCall { id }.abi_encode()).await?;
        let failed = |why: String| step(what)(why);
        let output = hex::decode(answer.trim_start_matches("0x")).ok();
        let asset = output.and_then(|output| readCall::abi_decode_returns(&output).ok());
        match asset {
            Some(asset) if asset.owner.0 == self.key.address() => Ok(()),
            _ => Err(failed(format!("reading the asset back gave {answer}"))),
        }
    }
}
