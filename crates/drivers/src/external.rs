//! Nodes that somebody else runs: they have endpoints, and that is all that is known of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::BoxStream;
use parking_lot::RwLock;
use tokio::net::TcpStream;

use super::{Driver, DriverError, DriverKind, Launch, NodeRef, Observed, RunState, Stopped};

/// How long an endpoint may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Endpoints (`host:port`) by the port that the network's specification gives them.
pub type Endpoints = BTreeMap<u16, String>;

/// Watches and uses nodes that run elsewhere; starting and stopping is refused.
#[derive(Debug, Default)]
pub struct ExternalDriver {
    nodes: RwLock<BTreeMap<NodeRef, Endpoints>>,
}

impl ExternalDriver {
    /// A driver that knows no node yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says where a node can be reached; replaces what was known of it.
    pub fn place(&self, node: NodeRef, endpoints: Endpoints) {
        self.nodes.write().insert(node, endpoints);
    }

    /// Forgets every node of a network.
    pub fn forget(&self, network: &str) {
        self.nodes.write().retain(|node, _| node.network != network);
    }

    fn refusal(node: &NodeRef, what: &str) -> DriverError {
        DriverError::Failed {
            what: format!("{what} {}", node.node),
            why: "it is run by somebody else and only its endpoints are known here; ask its operator".to_owned(),
        }
    }
}

#[async_trait]
impl Driver for ExternalDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::External
    }

    async fn check(&self) -> Result<(), DriverError> {
        Ok(())
    }

    async fn start(&self, launch: &Launch) -> Result<(), DriverError> {
        Err(Self::refusal(&launch.node, "start"))
    }

    async fn stop(&self, node: &NodeRef, _grace: Duration) -> Result<Stopped, DriverError> {
        Err(Self::refusal(node, "stop"))
    }

    /// Forgets the endpoints; the node itself is not touched.
    async fn remove(&self, node: &NodeRef) -> Result<(), DriverError> {
        self.nodes.write().remove(node);
        Ok(())
    }

    async fn adopt(&self, _launches: &[Launch]) -> Result<(), DriverError> {
        Ok(())
    }

    /// A node runs when every endpoint of it accepts a connection.
    async fn observe(&self, network: &str) -> Result<Vec<Observed>, DriverError> {
        let known: Vec<(NodeRef, Endpoints)> = {
            let nodes = self.nodes.read();
            let mine = nodes.iter().filter(|(node, _)| node.network == network);
            mine.map(|(node, endpoints)| (node.clone(), endpoints.clone())).collect()
        };
        let look = known.into_iter().map(|(node, endpoints)| async move {
            let closed: Vec<String> =
                join_all(endpoints.into_values().map(closed)).await.into_iter().flatten().collect();
            Observed {
                node: node.node,
                state: if closed.is_empty() { RunState::Running } else { RunState::Stopped },
                pid: None,
                container: None,
                started_at: None,
                restarts: 0,
                last_exit: (!closed.is_empty()).then(|| closed.join("; ")),
                cpu_ms: None,
                memory: None,
                disk: None,
            }
        });
        Ok(join_all(look).await)
    }

    async fn logs(
        &self,
        node: &NodeRef,
        _tail: usize,
        _follow: bool,
    ) -> Result<BoxStream<'static, String>, DriverError> {
        Err(Self::refusal(node, "read the log of"))
    }

    fn reachable(&self, node: &NodeRef, port: u16) -> String {
        let nodes = self.nodes.read();
        let known = nodes.get(node).and_then(|endpoints| endpoints.get(&port));
        known.cloned().unwrap_or_else(|| format!("{}:{port}", node.node))
    }

    fn between_nodes(&self, launch_hostname: &str, port: u16) -> String {
        format!("{launch_hostname}:{port}")
    }

    fn program(&self) -> &Path {
        Path::new("konsort")
    }
}

/// Why an endpoint cannot be reached; nothing when it can.
async fn closed(endpoint: String) -> Option<String> {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(endpoint.as_str())).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("{endpoint} does not accept connections: {error}")),
        Err(_) => Some(format!("{endpoint} does not answer within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn endpoints_are_watched_and_nothing_is_started() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let driver = ExternalDriver::new();
        let node = |name: &str| NodeRef { network: "net".into(), node: name.into() };
        driver.place(node("a"), Endpoints::from([(7051, open.local_addr().unwrap().to_string())]));
        driver.place(node("b"), Endpoints::from([(7051, closed.to_string())]));
        driver.place(NodeRef { network: "other".into(), node: "c".into() }, Endpoints::new());
        let seen = driver.observe("net").await.unwrap();
        assert_eq!(seen.iter().map(|one| one.state).collect::<Vec<_>>(), [RunState::Running, RunState::Stopped]);
        assert!(seen[1].last_exit.as_ref().unwrap().contains(&closed.to_string()), "{seen:?}");
        assert_eq!(driver.reachable(&node("a"), 7051), open.local_addr().unwrap().to_string());
        let refused = driver.start(&crate::tests::launch(node("a"), Path::new("/"))).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "cannot start a: it is run by somebody else and only its endpoints are known here; ask its operator"
        );
        assert!(driver.stop(&node("a"), Duration::ZERO).await.is_err());
        driver.remove(&node("a")).await.unwrap();
        assert_eq!(driver.observe("net").await.unwrap().len(), 1);
    }
}
