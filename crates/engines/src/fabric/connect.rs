//! Connections to nodes and identities to speak with, and what a node's refusal means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fabric_channel::msp::SigningIdentity;
use fabric_client::{AdminClient, ClientError, Endpoint, GatewayClient, OrdererClient, ParticipationClient, Signer};
use tonic::transport::Channel;

use super::explain;
use super::layout::{Layout, io, organisation, organisation_of, read};
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};
use crate::{EngineError, Place};

/// How long a node may take to answer when nobody waits for a block.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// Open connections that are kept; beyond it all are dropped and dialled again.
const MAX_CONNECTIONS: usize = 1024;

/// Connections that are shared by everything this engine does.
#[derive(Debug, Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<(String, String), Channel>>,
}

impl Connections {
    async fn open(&self, node: &NodeSpec, endpoint: &Endpoint) -> Result<Channel, EngineError> {
        let key = (node.hostname.clone(), endpoint.address().to_owned());
        let lock = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let channel = endpoint.connect().await.map_err(|error| refusal(&node.id, error))?;
        let mut open = lock();
        if open.len() >= MAX_CONNECTIONS {
            open.clear();
        }
        open.insert(key, channel.clone());
        Ok(channel)
    }

    /// Drops the connections to a node whose certificates or addresses may have changed.
    pub(super) fn forget(&self, hostname: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _), _| known != hostname);
    }
}

/// A network with the connections to its nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Net<'a> {
    pub(super) place: Place<'a>,
    pub(super) connections: &'a Connections,
}

impl<'a> Net<'a> {
    pub(super) fn spec(&self) -> &'a NetworkSpec {
        self.place.spec
    }

    pub(super) fn layout(&self) -> Layout {
        Layout::new(self.place.folder)
    }

    /// Where one of a node's ports is, as seen from here.
    pub(super) fn address(&self, node: &NodeSpec, port: &str) -> String {
        if let Some(external) = &node.external {
            return external.get(port).cloned().unwrap_or_default();
        }
        let reference = super::launch::node_ref(self.spec(), node);
        self.place.driver.reachable(&reference, node.port(port))
    }

    /// The authorities that sign the TLS certificates of an organisation's nodes.
    pub(super) fn tls_roots(&self, organisation: &OrganisationSpec) -> Result<Vec<u8>, EngineError> {
        let folder = self.layout().msp(organisation).join("tlscacerts");
        let mut paths: Vec<_> = std::fs::read_dir(&folder)
            .map_err(io("read", &folder))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "pem" || extension == "crt"))
            .collect();
        paths.sort();
        let mut roots = Vec::new();
        for path in paths {
            roots.extend(read(&path)?);
            roots.push(b'\n');
        }
        Ok(roots)
    }

    /// How to reach a node's gRPC port.
    pub(super) fn endpoint(&self, node: &NodeSpec) -> Result<Endpoint, EngineError> {
        let roots = self.tls_roots(organisation_of(self.spec(), node)?)?;
        Ok(Endpoint::tls(self.address(node, "grpc"), roots).server_name(node.hostname.clone()))
    }

    /// An identity of an organisation: `Admin`, `User1`, or one that was issued.
    pub(super) fn signer(
        &self,
        organisation: &OrganisationSpec,
        name: &str,
    ) -> Result<Arc<SigningIdentity>, EngineError> {
        let safe = !name.is_empty() && !name.contains(['/', '\\', '\0']) && !name.starts_with('.');
        let name = name.strip_suffix(&format!("@{}", organisation.domain)).unwrap_or(name);
        let folder = self.layout().user(organisation, name).join("msp");
        if !safe || !folder.is_dir() {
            return Err(EngineError::NotFound { what: format!("the identity {name} of {}", organisation.name) });
        }
        SigningIdentity::from_folder(&folder, &organisation.msp()).map(Arc::new).map_err(|error| EngineError::Refused {
            code: "IDENTITY".into(),
            why: format!("{name} cannot sign: {error}"),
        })
    }

    /// The administrator of an organisation.
    pub(super) fn admin(&self, organisation: &OrganisationSpec) -> Result<Arc<SigningIdentity>, EngineError> {
        self.signer(organisation, "Admin")
    }

    /// A client of a peer as its own organisation's administrator.
    pub(super) async fn peer(&self, node: &NodeSpec) -> Result<AdminClient, EngineError> {
        let signer = self.admin(organisation_of(self.spec(), node)?)?;
        self.peer_as(node, signer).await
    }

    /// A client of a peer as anybody.
    pub(super) async fn peer_as(&self, node: &NodeSpec, signer: Arc<dyn Signer>) -> Result<AdminClient, EngineError> {
        let endpoint = self.endpoint(node)?;
        Ok(AdminClient::new(self.connections.open(node, &endpoint).await?, &endpoint, signer))
    }

    /// A client of a peer's gateway.
    pub(super) async fn gateway(&self, node: &NodeSpec, signer: Arc<dyn Signer>) -> Result<GatewayClient, EngineError> {
        let endpoint = self.endpoint(node)?;
        Ok(GatewayClient::new(self.connections.open(node, &endpoint).await?, signer))
    }

    /// A client of an orderer.
    pub(super) async fn orderer(&self, node: &NodeSpec, signer: Arc<dyn Signer>) -> Result<OrdererClient, EngineError> {
        let endpoint = self.endpoint(node)?;
        Ok(OrdererClient::new(self.connections.open(node, &endpoint).await?, &endpoint, signer))
    }

    /// The first orderer that takes a connection.
    pub(super) async fn any_orderer(&self, signer: Arc<dyn Signer>) -> Result<OrdererClient, EngineError> {
        let mut last = EngineError::NotFound { what: "an orderer of this network".into() };
        for node in self.spec().nodes.iter().filter(|node| node.is_orderer()) {
            match self.orderer(node, signer.clone()).await {
                Ok(client) => return Ok(client),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A client of an orderer's administration.
    pub(super) fn participation(&self, node: &NodeSpec) -> Result<ParticipationClient, EngineError> {
        let organisation = organisation_of(self.spec(), node)?;
        let tls = self.layout().node_crypto(organisation, node).join("tls");
        let endpoint = Endpoint::tls(self.address(node, "participation"), read(&tls.join("ca.crt"))?)
            .server_name(node.hostname.clone())
            .client_certificate(read(&tls.join("server.crt"))?, read(&tls.join("server.key"))?);
        Ok(ParticipationClient::new(endpoint))
    }

    /// The peers that have joined a channel, those of `first` before the others.
    pub(super) fn peers_of(&self, channel: &str, first: Option<&str>) -> Result<Vec<&'a NodeSpec>, EngineError> {
        let spec = self.spec();
        let joined =
            spec.channel(channel).ok_or_else(|| EngineError::NotFound { what: format!("the channel {channel}") })?;
        let mut peers: Vec<&NodeSpec> =
            spec.nodes.iter().filter(|node| node.is_peer() && joined.nodes.contains(&node.id)).collect();
        peers.sort_by_key(|node| first.is_some_and(|first| node.organisation != first));
        if peers.is_empty() {
            return Err(EngineError::NotFound { what: format!("a peer of the channel {channel}") });
        }
        Ok(peers)
    }

    /// An organisation that a call names, or else the first that has peers on the channel.
    pub(super) fn caller(&self, channel: &str, named: Option<&str>) -> Result<&'a OrganisationSpec, EngineError> {
        match named {
            Some(name) => organisation(self.spec(), name),
            None => organisation_of(self.spec(), self.peers_of(channel, None)?[0]),
        }
    }

    /// Asks the peers of a channel one after the other until one answers.
    pub(super) async fn ask<T, F>(
        &self,
        channel: &str,
        first: Option<&str>,
        question: impl Fn(AdminClient) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let mut last = None;
        for node in self.peers_of(channel, first)? {
            let answer = match self.peer(node).await {
                Ok(client) => match tokio::time::timeout(ANSWER, question(client)).await {
                    Ok(answer) => answer.map_err(|error| refusal(&node.id, error)),
                    Err(_) => Err(silent(&node.id)),
                },
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error @ (EngineError::Unreachable { .. } | EngineError::Io { .. })) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| EngineError::NotFound { what: format!("a peer of the channel {channel}") }))
    }
}

/// A node that takes connections but says nothing.
pub(super) fn silent(node: &str) -> EngineError {
    EngineError::Unreachable {
        node: node.to_owned(),
        why: format!("no answer within {} s; look at its log and restart it", ANSWER.as_secs()),
    }
}

/// What a failed call of a node means.
pub(super) fn refusal(node: &str, error: ClientError) -> EngineError {
    let unreachable = |why: String| EngineError::Unreachable { node: node.to_owned(), why };
    let refused = |code: &str, why: String| EngineError::Refused { code: code.to_owned(), why };
    match error {
        ClientError::Connect { address, reason } => unreachable(format!("{address}: {reason}")),
        ClientError::Timeout { .. } => unreachable(error.to_string()),
        ClientError::Refused { ref status, ref details, .. } => {
            let name = konsort_node::code_name(status.code());
            if details.is_empty() && matches!(name, "Unavailable" | "DeadlineExceeded" | "Canceled") {
                return unreachable(status.message().to_owned());
            }
            refused(name, explain::refused(status.message(), details))
        }
        ClientError::Endorsement { status, message } => {
            refused("CHAINCODE_ERROR", format!("the contract answered {status}: {message}"))
        }
        ClientError::Mismatch(why) if why.contains("was not successful") => refused("CHAINCODE_ERROR", why),
        ClientError::Mismatch(why) => refused(
            "ENDORSEMENT_MISMATCH",
            format!(
                "peers came to different results ({why}); a contract must not use time, chance or the outside world"
            ),
        ),
        ClientError::Invalid { code, .. } => {
            refused(code.as_str_name(), explain::verdict(code.as_str_name()).0.to_owned())
        }
        ClientError::Broadcast { status, info, .. } if status == "SERVICE_UNAVAILABLE" => {
            unreachable(format!("{info}; without a majority of its orderers a network accepts nothing"))
        }
        ClientError::Broadcast { status, info, .. } => refused(&status, info),
        ClientError::BadAnswer { .. } => refused("BAD_ANSWER", error.to_string()),
        ClientError::Input(why) => refused("REFUSED", why),
    }
}
