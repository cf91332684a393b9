//! A chain of one node in a temporary folder, a small contract, and signed transactions for it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bcos_node::chain_builder::{ChainPlan, Host, NodeFiles, build};
use bcos_node::{NodeConfig, RunningNode};
use bcos_types::{Transaction, TransactionData};
use konsort_crypto::{SuiteKey, SuiteKind};
use konsort_node::{Metrics, Shutdown};
use serde_json::{Value, json};

use super::client;

/// The topic of the contract's event.
pub(super) const TOPIC: &str = "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Chain id of Ethereum's clients.
pub(super) const CHAIN_ID: u64 = 20_200;

/// A running node and where it is reached.
pub(super) struct World {
    pub(super) node: RunningNode,
    pub(super) rpc: String,
    pub(super) web3: String,
    pub(super) sdk: PathBuf,
    pub(super) key: SuiteKey,
    _folder: tempfile::TempDir,
}

impl World {
    /// Builds and starts a chain; with TLS the SDK's port wants a certificate.
    pub(super) async fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::write(&program, "").unwrap();
        let files = NodeFiles {
            web3_port: Some(8545),
            listen_ip: "127.0.0.1".into(),
            rpc_tls: tls,
            min_seal_ms: 1,
            ..NodeFiles::default()
        };
        let plan = ChainPlan {
            hosts: Host::parse_list("127.0.0.1:1").unwrap(),
            output: folder.path().join("nodes"),
            authority: None,
            program,
            keys: None,
            files,
        };
        let built = build(&plan, &mut |_| {}).unwrap();
        let home = &built.nodes[0].folder;
        let mut config = NodeConfig::load(&home.join("config.ini"), &[home.join("config.genesis")]).unwrap();
        (config.p2p.listen_port, config.rpc.listen_port, config.web3.listen_port) = (0, 0, 0);
        let node = bcos_node::start(config, Metrics::new(), Shutdown::new()).await.unwrap();
        Self {
            rpc: node.rpc_address().to_string(),
            web3: node.web3_address().unwrap().to_string(),
            node,
            sdk: built.sdk[0].clone(),
            key: SuiteKey::generate(SuiteKind::International),
            _folder: folder,
        }
    }

    /// A request to the `FISCO BCOS` port: the result, or the error.
    pub(super) async fn bcos(&self, method: &str, params: Value) -> Result<Value, Value> {
        client::rpc(&self.rpc, method, params).await
    }

    /// A request to the Ethereum port.
    pub(super) async fn eth(&self, method: &str, params: Value) -> Result<Value, Value> {
        client::rpc(&self.web3, method, params).await
    }

    /// A signed native transaction in Tars; `to` is empty to deploy.
    pub(super) fn native(&self, to: &str, input: Vec<u8>) -> String {
        static NONCE: AtomicU64 = AtomicU64::new(1);
        let data = TransactionData {
            chain_id: "chain0".into(),
            group_id: "group0".into(),
            block_limit: 500,
            nonce: format!("nonce-{}", NONCE.fetch_add(1, Ordering::Relaxed)),
            to: to.to_owned(),
            input: input.into(),
            ..TransactionData::default()
        };
        format!("0x{}", hex::encode(Transaction::signed(data, &self.key).encode()))
    }

    /// Deploys the contract natively; its address with 0x.
    pub(super) async fn deploy(&self) -> String {
        let raw = self.native("", contract());
        let receipt = self.bcos("sendTransaction", json!(["group0", "", raw, false])).await.unwrap();
        assert_eq!(receipt["status"], 0, "{receipt}");
        receipt["contractAddress"].as_str().unwrap().to_owned()
    }
}

/// Init code of a contract that keeps a word (call data of 32 bytes: kept and logged), gives it back (no call data),
/// and reverts with `Error("no")` on anything else.
pub(super) fn contract() -> Vec<u8> {
    let word = |text: &str| hex::decode(format!("{text:0<64}")).unwrap();
    let mut fail = vec![0x7f];
    fail.extend(word("08c379a0"));
    fail.extend([0x60, 0x00, 0x52, 0x60, 0x20, 0x60, 0x04, 0x52, 0x60, 0x02, 0x60, 0x24, 0x52, 0x7f]);
    fail.extend(word("6e6f"));
    fail.extend([0x60, 0x44, 0x52, 0x60, 0x64, 0x60, 0x00, 0xfd]);
    let get = [0x5b, 0x60, 0x00, 0x54, 0x60, 0x00, 0x52, 0x60, 0x20, 0x60, 0x00, 0xf3];
    let head = 12;
    let get_at = u8::try_from(head + fail.len()).unwrap();
    let set_at = get_at + u8::try_from(get.len()).unwrap();
    // CALLDATASIZE ISZERO -> get, CALLDATASIZE 32 EQ -> set
    let mut code = vec![0x36, 0x15, 0x60, get_at, 0x57, 0x36, 0x60, 0x20, 0x14, 0x60, set_at, 0x57];
    assert_eq!(code.len(), head);
    code.extend(fail);
    code.extend(get);
    code.extend([0x5b, 0x60, 0x00, 0x35, 0x80, 0x60, 0x00, 0x55, 0x60, 0x00, 0x52, 0x7f]);
    code.extend(hex::decode(&TOPIC[2..]).unwrap());
    code.extend([0x60, 0x20, 0x60, 0x00, 0xa1, 0x00]);
    let mut init = vec![0x60, u8::try_from(code.len()).unwrap(), 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
    init.extend(code);
    init
}

/// A word with a number in its last byte.
pub(super) fn word(number: u8) -> Vec<u8> {
    let mut out = vec![0; 32];
    out[31] = number;
    out
}
