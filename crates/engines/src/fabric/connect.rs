//! Connections to nodes and identities to speak with, and what a node's refusal means.

use std::sync::Arc;
use std::time::Duration;

use fabric_channel::msp::SigningIdentity;
use fabric_client::{AdminClient, ClientError, Endpoint, GatewayClient, OrdererClient, ParticipationClient, Signer};

use super::cache::Connections;
use super::explain;
use super::layout::{Layout, io, organisation, organisation_of, read};
use super::update::within;
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};
use crate::{EngineError, Place};

/// How long a node may take to answer when nobody waits for a block.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
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
        self.connections.roots.get(&folder, || {
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
        })
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
        self.connections.signers.get(&folder.join("signcerts"), || {
            SigningIdentity::from_folder(&folder, &organisation.msp()).map(Arc::new).map_err(|error| {
                EngineError::Refused { code: "IDENTITY".into(), why: format!("{name} cannot sign: {error}") }
            })
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
        Ok(AdminClient::new(self.connections.open(self.spec(), node, &endpoint).await?, &endpoint, signer))
    }

    /// A client of a peer's gateway.
    pub(super) async fn gateway(&self, node: &NodeSpec, signer: Arc<dyn Signer>) -> Result<GatewayClient, EngineError> {
        let endpoint = self.endpoint(node)?;
        Ok(GatewayClient::new(self.connections.open(self.spec(), node, &endpoint).await?, signer))
    }

    /// A client of an orderer.
    pub(super) async fn orderer(&self, node: &NodeSpec, signer: Arc<dyn Signer>) -> Result<OrdererClient, EngineError> {
        let endpoint = self.endpoint(node)?;
        Ok(OrdererClient::new(self.connections.open(self.spec(), node, &endpoint).await?, &endpoint, signer))
    }

    /// The orderers of a channel, all but one that is leaving.
    pub(super) fn orderers_of(&self, channel: &str, without: Option<&str>) -> Vec<&'a NodeSpec> {
        let spec = self.spec();
        let on = |node: &&NodeSpec| spec.channel(channel).is_none_or(|known| known.nodes.contains(&node.id));
        let stays = |node: &&NodeSpec| Some(node.id.as_str()) != without;
        spec.nodes.iter().filter(|node| node.is_orderer()).filter(on).filter(stays).collect()
    }

    /// A client of an orderer's administration.
    pub(super) fn participation(&self, node: &NodeSpec) -> Result<ParticipationClient, EngineError> {
        let organisation = organisation_of(self.spec(), node)?;
        let tls = self.layout().node_crypto(organisation, node).join("tls");
        self.connections.participation.get(&tls, || {
            let endpoint = Endpoint::tls(self.address(node, "participation"), read(&tls.join("ca.crt"))?)
                .server_name(node.hostname.clone())
                .client_certificate(read(&tls.join("server.crt"))?, read(&tls.join("server.key"))?);
            Ok(ParticipationClient::new(endpoint))
        })
    }

    /// The peers that have joined a channel, those of `first` before the others.
    pub(super) fn peers_of(&self, channel: &str, first: Option<&str>) -> Result<Vec<&'a NodeSpec>, EngineError> {
        let mut peers = peers_of(self.spec(), channel)?;
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

    /// Does something with the first of these nodes that answers and that there is an identity for. One that does not answer is
    /// dialled anew the next time.
    pub(super) async fn first_of<T, F>(
        &self,
        nodes: Vec<&'a NodeSpec>,
        act: impl Fn(&'a NodeSpec) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>>,
    {
        let mut last = EngineError::NotFound { what: "a node of the channel that could be asked".into() };
        for node in nodes {
            match act(node).await {
                Ok(answer) => return Ok(answer),
                Err(error @ EngineError::Unreachable { .. }) => {
                    self.connections.forget(self.spec(), node);
                    last = error;
                }
                // What is missing is the identity to ask with, which a network of others need not have for each of its nodes.
                Err(error @ (EngineError::NotFound { .. } | EngineError::Io { .. })) => {
                    if !matches!(last, EngineError::Unreachable { .. }) {
                        last = error;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
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
        let question = &question;
        self.first_of(self.peers_of(channel, first)?, |node| async move {
            let client = self.peer(node).await?;
            within(question(client)).await.map_err(|error| refusal(&node.id, error))
        })
        .await
    }
}

/// The peers that have joined a channel, in the specification's order; there may be none.
pub(super) fn peers_of<'a>(spec: &'a NetworkSpec, channel: &str) -> Result<Vec<&'a NodeSpec>, EngineError> {
    let joined =
        spec.channel(channel).ok_or_else(|| EngineError::NotFound { what: format!("the channel {channel}") })?;
    Ok(spec.nodes.iter().filter(|node| node.is_peer() && joined.nodes.contains(&node.id)).collect())
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
