//! An engine and a driver that make everything up: networks that were always there, blocks as fast as they are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use konsort_crypto::hash::sha256;
use konsort_drivers::{Driver, DriverError, DriverKind, Launch, NodeRef, Observed, Stopped};
use konsort_engines::call::Download;
use konsort_engines::ledger::{EventRecord, TransactionRecord};
use konsort_engines::spec::{ChannelSpec, EngineKind, NodeSpec, OrganisationSpec};
use konsort_engines::{
    Act, BlockRecord, CallRequest, CallResult, ConfigChange, Engine, EngineError, NetworkRequest, NetworkSpec,
    NodeHealth, Place, Progress, Simulation, StepOutcome, StepPlan, TransactionDetail,
};
use serde_json::json;

/// What every network has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) blocks: u64,
    pub(super) transactions: u64,
    pub(super) nodes: u32,
}

/// The engine.
#[derive(Debug)]
pub(super) struct Invented(pub(super) Chain);

/// The driver.
#[derive(Debug)]
pub(super) struct Idle;

/// Id of a transaction.
pub(super) fn id(network: &str, height: u64, index: u64) -> String {
    format!("0x{}", hex::encode(sha256(format!("{network} {height} {index}").as_bytes())))
}

/// A key that a transaction writes.
pub(super) fn key(network: &str, height: u64, index: u64) -> String {
    format!("asset-{height}-{index}-{}", &network[network.len().saturating_sub(6)..])
}

/// One of a hundred senders.
pub(super) fn sender(index: u64) -> String {
    format!("0x{:040x}", 0xa000 + index % 100)
}

/// One of ten contracts.
pub(super) fn contract(index: u64) -> String {
    format!("0x{:040x}", 0xc000 + index % 10)
}

fn block(network: &str, chain: Chain, height: u64) -> BlockRecord {
    let hash = |height: u64| format!("0x{}", hex::encode(sha256(format!("{network} {height}").as_bytes())));
    let time = 1_700_000_000_000 + height as i64 * 1000;
    BlockRecord {
        channel: "group0".to_owned(),
        height,
        hash: hash(height),
        parent_hash: height.checked_sub(1).map(hash).unwrap_or_default(),
        time,
        producer: "node0".to_owned(),
        size: 100_000,
        config: false,
        transactions: (0..chain.transactions)
            .map(|index| TransactionRecord {
                id: id(network, height, index),
                index: index as u32,
                kind: "call".to_owned(),
                ok: index % 50 != 7,
                code: "0".to_owned(),
                from: sender(index),
                to: contract(index),
                method: "0xa9059cbb".to_owned(),
                time,
                terms: vec![key(network, height, index), sender(index + 1)],
                events: if index % 10 == 0 {
                    let payload = json!({ "topics": [id("event", 0, 0)], "data": "0x00" });
                    vec![EventRecord { contract: contract(index), name: "Transfer".to_owned(), payload }]
                } else {
                    Vec::new()
                },
            })
            .collect(),
    }
}

fn nothing<T>() -> Result<T, EngineError> {
    Err(EngineError::Unsupported("this network is made up".to_owned()))
}

#[async_trait]
impl Engine for Invented {
    fn kind(&self) -> EngineKind {
        EngineKind::Bcos
    }

    fn plan(&self, id: &str, request: &NetworkRequest, _: &[u16]) -> Result<NetworkSpec, EngineError> {
        let nodes: Vec<NodeSpec> = (0..self.0.nodes)
            .map(|number| NodeSpec {
                id: format!("node{number}"),
                hostname: format!("node{number}.example.com"),
                role: "sealer".to_owned(),
                organisation: "Agency".to_owned(),
                ports: BTreeMap::from([("rpc".to_owned(), 20200)]),
                node_id: None,
                external: None,
            })
            .collect();
        Ok(NetworkSpec {
            id: id.to_owned(),
            name: request.name.clone(),
            engine: EngineKind::Bcos,
            driver: DriverKind::Process,
            consensus: "pbft".to_owned(),
            chain_id: None,
            organisations: vec![OrganisationSpec {
                id: None,
                name: "Agency".to_owned(),
                mspid: None,
                domain: "example.com".to_owned(),
                orders_only: false,
            }],
            channels: vec![ChannelSpec {
                name: "group0".to_owned(),
                organisations: vec!["Agency".to_owned()],
                nodes: nodes.iter().map(|node| node.id.clone()).collect(),
            }],
            nodes,
            block_time_ms: 1000,
            block_transactions: 1000,
        })
    }

    fn steps(&self, _: &NetworkSpec, _: &Act) -> Result<Vec<StepPlan>, EngineError> {
        Ok(vec![StepPlan { name: "nothing".to_owned(), title: "Nothing".to_owned(), title_zh: "无".to_owned() }])
    }

    async fn run(&self, _: Place<'_>, _: &Act, _: &StepPlan, _: Progress<'_>) -> Result<StepOutcome, EngineError> {
        Ok(StepOutcome::default())
    }

    fn launches(&self, _: Place<'_>) -> Result<Vec<Launch>, EngineError> {
        Ok(Vec::new())
    }

    async fn health(&self, _: Place<'_>) -> Vec<NodeHealth> {
        Vec::new()
    }

    async fn blocks(
        &self,
        place: Place<'_>,
        _: &str,
        from: u64,
    ) -> Result<BoxStream<'static, Result<BlockRecord, EngineError>>, EngineError> {
        let (network, chain) = (place.spec.id.clone(), self.0);
        let blocks = stream::iter(from..chain.blocks).map(move |height| Ok(block(&network, chain, height)));
        Ok(blocks.chain(stream::pending()).boxed())
    }

    async fn transaction(&self, _: Place<'_>, _: &str, _: &str) -> Result<TransactionDetail, EngineError> {
        nothing()
    }

    async fn config_history(&self, _: Place<'_>, _: &str) -> Result<Vec<ConfigChange>, EngineError> {
        nothing()
    }

    async fn simulate(&self, _: Place<'_>, _: &CallRequest) -> Result<Simulation, EngineError> {
        nothing()
    }

    async fn submit(&self, _: Place<'_>, _: &CallRequest) -> Result<CallResult, EngineError> {
        nothing()
    }

    async fn trace(&self, _: Place<'_>, _: &str, _: &str) -> Result<serde_json::Value, EngineError> {
        nothing()
    }

    async fn interface(&self, _: Place<'_>, _: &str, _: &str) -> Result<serde_json::Value, EngineError> {
        nothing()
    }

    fn connection_profile(&self, _: Place<'_>, _: &str) -> Result<Download, EngineError> {
        nothing()
    }
}

#[async_trait]
impl Driver for Idle {
    fn kind(&self) -> DriverKind {
        DriverKind::Process
    }

    async fn check(&self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn start(&self, _: &Launch) -> Result<(), DriverError> {
        Ok(())
    }

    async fn stop(&self, _: &NodeRef, _: Duration) -> Result<Stopped, DriverError> {
        Ok(Stopped::AlreadyStopped)
    }

    async fn remove(&self, _: &NodeRef) -> Result<(), DriverError> {
        Ok(())
    }

    async fn adopt(&self, _: &[Launch]) -> Result<(), DriverError> {
        Ok(())
    }

    async fn observe(&self, _: &str) -> Result<Vec<Observed>, DriverError> {
        Ok(Vec::new())
    }

    async fn logs(&self, _: &NodeRef, _: usize, _: bool) -> Result<BoxStream<'static, String>, DriverError> {
        Ok(stream::empty().boxed())
    }

    fn reachable(&self, _: &NodeRef, port: u16) -> String {
        format!("127.0.0.1:{port}")
    }

    fn program(&self) -> &std::path::Path {
        std::path::Path::new("konsort")
    }

    fn between_nodes(&self, hostname: &str, port: u16) -> String {
        format!("{hostname}:{port}")
    }
}
