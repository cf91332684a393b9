//! How nodes are started, and how it is known that they serve.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use konsort_drivers::{DriverKind, Launch, NodeRef, RunState};

use super::connect::Net;
use super::layout::{Layout, organisation_of};
use crate::spec::{NetworkSpec, NodeSpec};
use crate::{EngineError, Place};

/// How long a node may take from its start until it listens.
const READY: Duration = Duration::from_mins(1);
/// How often the driver is asked about a node that does not answer yet.
const OBSERVE: Duration = Duration::from_millis(250);
/// How long a node may take to end by itself.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The node as the driver knows it.
pub(super) fn node_ref(spec: &NetworkSpec, node: &NodeSpec) -> NodeRef {
    NodeRef { network: spec.id.clone(), node: node.id.clone() }
}

/// How one node is started; `environment` is what a peer on this machine may use to build chaincode.
pub(super) fn launch(
    place: Place<'_>,
    node: &NodeSpec,
    environment: &BTreeMap<String, String>,
) -> Result<Launch, EngineError> {
    let layout = Layout::new(place.folder);
    let folder = layout.node(&node.id);
    let args: &[&str] = if node.is_orderer() { &["orderer", "start"] } else { &["peer", "node", "start"] };
    let mut env = BTreeMap::new();
    if node.is_peer() && place.driver.kind() == DriverKind::Process {
        env.clone_from(environment);
    }
    env.insert("FABRIC_CFG_PATH".into(), folder.display().to_string());
    Ok(Launch {
        node: node_ref(place.spec, node),
        hostname: node.hostname.clone(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env,
        folder,
        reads: vec![layout.node_crypto(organisation_of(place.spec, node)?, node)],
        ports: node.ports.values().copied().collect(),
        memory: None,
    })
}

impl Net<'_> {
    /// Waits until all these nodes say that they are well.
    pub(super) async fn ready(&self, nodes: &[&NodeSpec]) -> Result<(), EngineError> {
        try_join_all(nodes.iter().map(|node| self.node_ready(node))).await?;
        Ok(())
    }

    async fn node_ready(&self, node: &NodeSpec) -> Result<(), EngineError> {
        let until = Instant::now() + READY;
        let mut look = Instant::now() + OBSERVE;
        loop {
            let problem = match self.operations(node, "/healthz").await {
                Ok((200, _)) => return Ok(()),
                Ok((status, body)) => format!("its health is {status}: {body}"),
                Err(why) => why,
            };
            if Instant::now() > until {
                let why = format!("{problem} (after {} s); its log says why", READY.as_secs());
                return Err(EngineError::Unreachable { node: node.id.clone(), why });
            }
            // A node that ends again and again will not get better by waiting.
            if Instant::now() > look {
                if let Some(why) = self.given_up(node).await {
                    return Err(EngineError::Unreachable { node: node.id.clone(), why });
                }
                look = Instant::now() + OBSERVE;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn given_up(&self, node: &NodeSpec) -> Option<String> {
        let observed = self.place.driver.observe(&self.spec().id).await.ok()?;
        let seen = observed.into_iter().find(|seen| seen.node == node.id)?;
        let hopeless = seen.state == RunState::BackingOff && seen.restarts >= 3;
        hopeless.then(|| {
            let last = seen.last_exit.unwrap_or_else(|| "unknown".into());
            format!("it ended {} times by itself, the last time: {last}; its log says why", seen.restarts)
        })
    }

    /// Asks a node's operations service; `Err` says why there was no answer.
    pub(super) async fn operations(&self, node: &NodeSpec, path: &str) -> Result<(u16, String), String> {
        let address = self.address(node, "operations");
        if address.is_empty() {
            return Err("no operations endpoint is known of it".into());
        }
        let request =
            http::Request::builder().uri(path).body(bytes::Bytes::new()).map_err(|error| error.to_string())?;
        let options = konsort_node::DialOptions { connect_timeout: Duration::from_secs(2), ..Default::default() };
        let call = konsort_node::http_request(&address, &options, request, 4 << 20);
        let answer = tokio::time::timeout(Duration::from_secs(5), call)
            .await
            .map_err(|_| format!("{address} did not answer within 5 s"))?
            .map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned()))
    }
}
