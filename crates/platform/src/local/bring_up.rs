//! From empty folders to a committed transaction, over the nodes' own protocols.
//!
//! Every step looks first whether it has been done, so that a start after a crash goes on where the last one ended.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fabric_channel::genesis::{self, TopLevel};
use fabric_channel::msp::SigningIdentity;
use fabric_client::admin::ChaincodeDefinition;
use fabric_client::{AdminClient, Call, Endpoint, GatewayClient, OrdererClient, ParticipationClient};
use futures::future::try_join_all;
use prost::Message as _;

use super::LocalError;
use super::files;
use super::process::{NodeProcess, READY_TIMEOUT};
use super::spec::{Layout, NetworkSpec, NodeSpec, Role};

/// Name of the sample contract on the channel.
pub const SAMPLE: &str = "basic";
/// Version and label of the sample's package.
const SAMPLE_VERSION: &str = "1.0";
/// How long a transaction of the bring-up may take to commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// What is being done, for a progress display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Certificates, genesis block and configuration files are being written.
    Files,
    /// A node's process is being started.
    Starting(String),
    /// A node answers.
    Ready(String),
    /// Orderers and peers join the channel.
    Joining(String),
    /// The sample contract is installed on every peer.
    Installing(String),
    /// Every organisation approves the definition.
    Approving(String),
    /// The definition is committed.
    Committing(String),
    /// The first transaction is sent.
    FirstTransaction,
    /// Everything is done.
    Done,
}

/// Writes certificates, genesis block and every node's configuration.
pub(super) fn make_files(layout: &Layout, spec: &NetworkSpec) -> Result<(), LocalError> {
    let step = |step: &str| {
        let step = step.to_owned();
        move |why: String| LocalError::Step { step, why }
    };
    let crypto_config = files::crypto_config_yaml(spec);
    files::write(&layout.root().join("crypto-config.yaml"), crypto_config.as_bytes())?;
    if layout.crypto().exists() {
        // Left behind by a start that was cut off before the plan was written: half a set of certificates is of no use.
        std::fs::remove_dir_all(layout.crypto())
            .map_err(|source| LocalError::Io { what: format!("remove {}", layout.crypto().display()), source })?;
    }
    fabric_client::cryptogen::Config::parse(&crypto_config)
        .and_then(|config| fabric_client::cryptogen::generate(&config, &layout.crypto()))
        .map_err(|error| step("making certificates")(error.to_string()))?;
    let configtx = files::configtx_yaml(layout, spec);
    files::write(&layout.root().join("configtx.yaml"), configtx.as_bytes())?;
    let channel_group = TopLevel::from_yaml(&configtx, &|_| None)
        .and_then(|file| file.profile("Channel", layout.root()))
        .and_then(|profile| profile.channel_group())
        .map_err(|error| step("making the genesis block")(error.to_string()))?;
    let block = genesis::block(&spec.channel, channel_group);
    files::write(&layout.genesis(), &block.encode_to_vec())?;
    for node in &spec.nodes {
        let (name, text) = match node.role {
            Role::Orderer => ("orderer.yaml", files::orderer_yaml(layout, node)),
            Role::Peer => ("core.yaml", files::core_yaml(layout, spec, node)),
        };
        files::write(&layout.node(node).join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Who listens on a port of 127.0.0.1, if anyone does.
pub(super) fn port_in_use(port: u16) -> Option<String> {
    std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .err()
        .map(|error| konsort_node::ports::describe_owner(port).unwrap_or_else(|| error.to_string()))
}

/// Waits for the nodes and takes the network to its first committed transaction.
pub(super) async fn run(
    layout: &Layout,
    spec: &NetworkSpec,
    processes: &[NodeProcess],
    progress: &(dyn Fn(Step) + Sync),
) -> Result<(), LocalError> {
    try_join_all(spec.nodes.iter().zip(processes).map(async |(node, process)| {
        process.listens_on(&[node.port, node.second_port], &layout.log(node)).await?;
        progress(Step::Ready(node.name.clone()));
        Ok::<_, LocalError>(())
    }))
    .await?;
    let session = Session::connect(layout, spec).await?;
    session.join(progress).await?;
    session.deploy(progress).await?;
    progress(Step::FirstTransaction);
    session.first_transaction().await?;
    progress(Step::Done);
    Ok(())
}

/// How to reach a node: its address, trust root and the name in its certificate.
pub(super) fn endpoint(layout: &Layout, node: &NodeSpec) -> Result<Endpoint, String> {
    let ca = layout.node_crypto(node).join("tls/ca.crt");
    let roots = std::fs::read(&ca).map_err(|error| format!("cannot read {}: {error}", ca.display()))?;
    Ok(Endpoint::tls(node.endpoint(), roots).server_name(node.name.clone()))
}

/// The signing identity of a user of the node's organisation.
pub(super) fn signer(layout: &Layout, node: &NodeSpec, user: &str) -> Result<SigningIdentity, String> {
    let folder = layout.user(node, user).join("msp");
    SigningIdentity::from_folder(&folder, &node.mspid)
        .map_err(|error| format!("cannot load the identity in {}: {error}", folder.display()))
}

/// Open connections as the organisations' administrators.
struct Session<'a> {
    layout: &'a Layout,
    spec: &'a NetworkSpec,
    genesis: Vec<u8>,
    /// One administrator client per peer, in the plan's order.
    admins: Vec<AdminClient>,
    /// One broadcast client per peer organisation, so that each signs for itself.
    orderers: Vec<OrdererClient>,
}

fn failed<E: std::fmt::Display>(step: impl Into<String>) -> impl FnOnce(E) -> LocalError {
    let step = step.into();
    move |error| LocalError::Step { step, why: error.to_string() }
}

impl<'a> Session<'a> {
    async fn connect(layout: &'a Layout, spec: &'a NetworkSpec) -> Result<Session<'a>, LocalError> {
        let genesis = std::fs::read(layout.genesis())
            .map_err(|source| LocalError::Io { what: format!("read {}", layout.genesis().display()), source })?;
        let orderer = spec.orderers().next().ok_or_else(|| LocalError::Request("the plan has no orderer".into()))?;
        let orderer_endpoint = endpoint(layout, orderer).map_err(failed("connecting to the orderer"))?;
        let orderer_channel =
            orderer_endpoint.connect().await.map_err(failed(format!("connecting to {}", orderer.name)))?;
        let mut admins = Vec::new();
        let mut orderers = Vec::new();
        for peer in spec.peers() {
            let signer = Arc::new(signer(layout, peer, "Admin").map_err(failed("loading an administrator"))?);
            let peer_endpoint = endpoint(layout, peer).map_err(failed("connecting to a peer"))?;
            let admin = AdminClient::connect(&peer_endpoint, signer.clone())
                .await
                .map_err(failed(format!("connecting to {}", peer.name)))?;
            admins.push(admin);
            orderers.push(OrdererClient::new(orderer_channel.clone(), &orderer_endpoint, signer));
        }
        Ok(Self { layout, spec, genesis, admins, orderers })
    }

    /// Orderers join by channel participation, peers by the configuration system chaincode.
    async fn join(&self, progress: &(dyn Fn(Step) + Sync)) -> Result<(), LocalError> {
        let channel = &self.spec.channel;
        progress(Step::Joining(channel.clone()));
        let orderers = try_join_all(self.spec.orderers().map(async |node| {
            let what = format!("joining {} to {channel}", node.name);
            let crypto = self.layout.node_crypto(node);
            let read = |name: &str| {
                let path = crypto.join("tls").join(name);
                std::fs::read(&path)
                    .map_err(|source| LocalError::Io { what: format!("read {}", path.display()), source })
            };
            let admin = Endpoint::tls(node.second(), read("ca.crt")?)
                .server_name(node.name.clone())
                .client_certificate(read("server.crt")?, read("server.key")?);
            let participation = ParticipationClient::new(admin);
            let known = participation.info(channel).await.map_err(failed(what.clone()))?;
            if known.status != 200 {
                participation
                    .join(&self.genesis)
                    .await
                    .and_then(fabric_client::admin::ParticipationAnswer::success)
                    .map_err(failed(what))?;
            }
            Ok::<_, LocalError>(())
        }));
        let peers = try_join_all(self.spec.peers().zip(&self.admins).map(async |(node, admin)| {
            let what = format!("joining {} to {channel}", node.name);
            let joined = admin.channels().await.map_err(failed(what.clone()))?;
            if !joined.contains(channel) {
                admin.join_channel(self.genesis.clone()).await.map_err(failed(what))?;
            }
            Ok::<_, LocalError>(())
        }));
        tokio::try_join!(orderers, peers)?;
        Ok(())
    }

    /// Installs, approves and commits the sample contract where that has not been done.
    async fn deploy(&self, progress: &(dyn Fn(Step) + Sync)) -> Result<(), LocalError> {
        let channel = &self.spec.channel;
        let label = format!("{SAMPLE}_{SAMPLE_VERSION}");
        let (package, package_id) = sample_package(&label)?;
        progress(Step::Installing(label.clone()));
        let definition = self.definition()?;
        let committed = self.admins[0].committed(channel, SAMPLE).await.is_ok();
        try_join_all(self.spec.peers().zip(&self.admins).map(async |(node, admin)| {
            let what = format!("installing {label} on {}", node.name);
            let installed = admin.installed().await.map_err(failed(what.clone()))?;
            if !installed.installed_chaincodes.iter().any(|known| known.package_id == package_id) {
                admin.install(package.clone()).await.map_err(failed(what))?;
            }
            Ok::<_, LocalError>(())
        }))
        .await?;
        if committed {
            return Ok(());
        }
        progress(Step::Approving(SAMPLE.to_owned()));
        let ready = self.admins[0]
            .check_commit_readiness(channel, &definition)
            .await
            .map_err(failed("asking which organisations have approved"))?;
        try_join_all(self.spec.peers().zip(&self.admins).zip(&self.orderers).map(async |((node, admin), orderer)| {
            if ready.approvals.get(&node.mspid) == Some(&true) {
                return Ok(());
            }
            once_led(|| admin.approve(orderer, channel, &definition, Some(&package_id), COMMIT_TIMEOUT))
                .await
                .map_err(failed(format!("approving {SAMPLE} for {}", node.mspid)))
        }))
        .await?;
        progress(Step::Committing(SAMPLE.to_owned()));
        once_led(|| AdminClient::commit(&self.admins, &self.orderers[0], channel, &definition, COMMIT_TIMEOUT))
            .await
            .map_err(failed(format!("committing the definition of {SAMPLE}")))
    }

    fn definition(&self) -> Result<ChaincodeDefinition, LocalError> {
        let policy = fabric_channel::policy::dsl::parse(&self.spec.policy)
            .map_err(failed(format!("reading the endorsement policy {}", self.spec.policy)))?;
        let application_policy = fabric_proto::protos::ApplicationPolicy {
            r#type: Some(fabric_proto::protos::application_policy::Type::SignaturePolicy(policy)),
        };
        Ok(ChaincodeDefinition {
            name: SAMPLE.to_owned(),
            version: SAMPLE_VERSION.to_owned(),
            sequence: 1,
            validation_parameter: application_policy.encode_to_vec().into(),
            ..ChaincodeDefinition::default()
        })
    }

    /// Commits one transaction through the first peer's gateway, by an ordinary user.
    async fn first_transaction(&self) -> Result<(), LocalError> {
        let what = "the first transaction";
        let Some(peer) = self.spec.peers().next() else { return Ok(()) };
        let user = signer(self.layout, peer, "User1").map_err(failed(what))?;
        let connection = endpoint(self.layout, peer).map_err(failed(what))?.connect().await.map_err(failed(what))?;
        let gateway = GatewayClient::new(connection, Arc::new(user));
        let exists = gateway
            .evaluate(&Call::new(&self.spec.channel, SAMPLE).args(["AssetExists", "asset1"]))
            .await
            .map_err(failed(what))?;
        // A later start proves the same with a transaction that changes nothing but the ledger's height.
        let call = if exists.as_ref() == b"true" {
            Call::new(&self.spec.channel, SAMPLE).args(["AssetExists", "asset1"])
        } else {
            Call::new(&self.spec.channel, SAMPLE).args(["InitLedger"])
        };
        // Other peers learn by gossip that a chaincode is installed; until then the gateway says that too few peers have it.
        let until = Instant::now() + READY_TIMEOUT;
        loop {
            match gateway.submit_and_wait(&call).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until || !not_yet(&error) => return Err(failed(what)(error)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Does something that needs an ordering service with a leader; several orderers take a moment to elect their first.
async fn once_led<T>(
    act: impl AsyncFn() -> Result<T, fabric_client::ClientError>,
) -> Result<(), fabric_client::ClientError> {
    let until = Instant::now() + READY_TIMEOUT;
    loop {
        match act().await {
            Err(error) if Instant::now() < until && error.to_string().contains("SERVICE_UNAVAILABLE") => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => return other.map(|_| ()),
        }
    }
}

/// Whether the gateway found no peers for the endorsement policy.
fn not_yet(error: &fabric_client::ClientError) -> bool {
    error.code().is_some_and(|code| matches!(konsort_node::code_name(code), "FailedPrecondition" | "Unavailable"))
}

/// The package of the sample contract that is part of this program, and its id.
fn sample_package(label: &str) -> Result<(Vec<u8>, String), LocalError> {
    let package =
        fabric_client::package::builtin(label, "asset-transfer").map_err(failed(format!("packaging {label}")))?;
    let id = fabric_client::package::package_id(label, &package);
    Ok((package, id))
}
