//! Certificates, genesis blocks and configuration files, with upstream's names and keys, so that an operator can read and change
//! them.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use fabric_channel::config::{Bundle, keys};
use fabric_channel::genesis::{
    self, Application, Consensus, Content, MspSource, Orderer, Organization, PolicyRule, Profile, RaftConsenter,
    RaftOptions,
};
use fabric_client::cryptogen;
use fabric_proto::common::Block;
use fabric_proto::etcdraft::ConfigMetadata;
use fabric_proto::orderer::{BatchSize, ConsensusType};
use prost::Message as _;

use super::layout::{Layout, failed, organisation_of, read, remove_folder, write};
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};
use crate::{EngineError, Place};

/// Name of an organisation's revocation list in an MSP folder.
pub(super) const REVOKED: &str = "crls/revoked.pem";
/// The authority of the orderers' TLS certificates, in a peer's folder.
const ORDERER_ROOTS: &str = "orderer-tls-ca.pem";

/// A path as a YAML double-quoted scalar.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// How a node is called by others: `host:port`.
pub(super) fn between(place: Place<'_>, node: &NodeSpec) -> String {
    match node.external.as_ref().and_then(|external| external.get("grpc")) {
        Some(endpoint) => endpoint.clone(),
        None => place.driver.between_nodes(&node.hostname, node.port("grpc")),
    }
}

/// Host and port of an address.
pub(super) fn host_port(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.trim_matches(['[', ']']).to_owned(), port.parse().unwrap_or_default())
}

/// Makes the certificates of every organisation and node of the specification that are not there yet.
pub(super) fn certificates(layout: &Layout, spec: &NetworkSpec) -> Result<(), EngineError> {
    let mut config = cryptogen::Config::default();
    for organisation in &spec.organisations {
        let nodes = spec.nodes.iter().filter(|node| node.organisation == organisation.name && node.external.is_none());
        let specs = nodes
            .map(|node| cryptogen::NodeSpec {
                hostname: node.hostname.split('.').next().unwrap_or_default().to_owned(),
                // Local names and addresses stand in the certificate, so that clients need no host table.
                sans: vec!["localhost".into(), "127.0.0.1".into()],
                ..cryptogen::NodeSpec::default()
            })
            .collect();
        let made = cryptogen::OrgSpec {
            name: organisation.name.clone(),
            domain: organisation.domain.clone(),
            enable_node_ous: true,
            specs,
            users: cryptogen::UsersSpec { count: u32::from(!organisation.orders_only), ..Default::default() },
            ..cryptogen::OrgSpec::default()
        };
        if organisation.orders_only {
            config.orderer_orgs.push(made);
        } else {
            config.peer_orgs.push(made);
        }
    }
    // What is there stays; organisations and members appear only when they are complete, so that a cut-off run is made up for.
    cryptogen::extend(&config, &layout.crypto()).map_err(failed("certificates"))
}

/// An organisation as a channel's configuration has it.
pub(super) fn channel_organisation(
    place: Place<'_>,
    spec: &NetworkSpec,
    organisation: &OrganisationSpec,
) -> Organization {
    let layout = Layout::new(place.folder);
    let id = organisation.msp();
    let rule = |text: String| PolicyRule::signature(text);
    let mut policies = std::collections::BTreeMap::new();
    let nodes: Vec<&NodeSpec> = spec.nodes.iter().filter(|node| node.organisation == organisation.name).collect();
    let mut made = Organization {
        name: id.clone(),
        id: id.clone(),
        msp: MspSource::Folder(layout.msp(organisation)),
        msp_type: "bccsp".into(),
        ..Organization::default()
    };
    if organisation.orders_only {
        policies.insert("Readers".into(), rule(format!("OR('{id}.member')")));
        policies.insert("Writers".into(), rule(format!("OR('{id}.member')")));
        made.orderer_endpoints = nodes.iter().map(|node| between(place, node)).collect();
    } else {
        policies.insert("Readers".into(), rule(format!("OR('{id}.admin','{id}.peer','{id}.client')")));
        policies.insert("Writers".into(), rule(format!("OR('{id}.admin','{id}.client')")));
        policies.insert("Endorsement".into(), rule(format!("OR('{id}.peer')")));
        made.anchor_peers = nodes
            .first()
            .map(|node| host_port(&between(place, node)))
            .map(|(host, port)| (host, i32::from(port)))
            .into_iter()
            .collect();
    }
    policies.insert("Admins".into(), rule(format!("OR('{id}.admin')")));
    made.policies = policies;
    made
}

/// A node of the ordering service as a channel's configuration has it.
pub(super) fn consenter(place: Place<'_>, spec: &NetworkSpec, node: &NodeSpec) -> Result<RaftConsenter, EngineError> {
    let certificate = Layout::new(place.folder).node_crypto(organisation_of(spec, node)?, node).join("tls/server.crt");
    let (host, port) = host_port(&between(place, node));
    Ok(RaftConsenter {
        host,
        port: port.into(),
        client_tls_cert: Content::File(certificate.clone()),
        server_tls_cert: Content::File(certificate),
    })
}

fn meta_policies(with_endorsement: bool, with_validation: bool) -> std::collections::BTreeMap<String, PolicyRule> {
    let mut rules = vec![("Readers", "ANY Readers"), ("Writers", "ANY Writers"), ("Admins", "MAJORITY Admins")];
    if with_endorsement {
        rules.extend([("LifecycleEndorsement", "MAJORITY Endorsement"), ("Endorsement", "MAJORITY Endorsement")]);
    }
    if with_validation {
        rules.push(("BlockValidation", "ANY Writers"));
    }
    rules.into_iter().map(|(name, rule)| (name.to_owned(), PolicyRule::implicit_meta(rule))).collect()
}

fn capability(name: &str) -> std::collections::BTreeMap<String, bool> {
    [(name.to_owned(), true)].into()
}

/// Where a consenter is, and its certificate.
type Seat = (String, u32, Vec<u8>);

/// Who makes up a channel: its organisations of peers and its consenters.
fn makeup(block: &Block) -> Option<(BTreeSet<String>, BTreeSet<Seat>)> {
    let (_, config) = fabric_channel::protoutil::config_of_block(block).ok()?;
    let group = config.channel_group?;
    let organisations = group.groups.get(keys::APPLICATION)?.groups.keys().cloned().collect();
    let consensus = group.groups.get(keys::ORDERER)?.values.get(keys::CONSENSUS_TYPE)?;
    let consensus = ConsensusType::decode(consensus.value.clone()).ok()?;
    let consenters = ConfigMetadata::decode(consensus.metadata).ok()?.consenters;
    let known = consenters.into_iter().map(|known| (known.host, known.port, known.server_tls_cert.to_vec()));
    Some((organisations, known.collect()))
}

/// Writes the genesis block of a channel with these organisations. One that is there stays, since nodes may have joined with it;
/// `false` when it is a block of other members, left behind by an earlier attempt.
pub(super) fn genesis(place: Place<'_>, channel: &str, organisations: &[String]) -> Result<bool, EngineError> {
    let spec = place.spec;
    let path = Layout::new(place.folder).genesis(channel);
    let orderer_organisations = spec.organisations.iter().filter(|organisation| organisation.orders_only);
    let consenters = spec
        .nodes
        .iter()
        .filter(|node| node.is_orderer())
        .map(|node| consenter(place, spec, node))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RaftOptions {
        tick_interval: "100ms".into(),
        election_tick: 10,
        heartbeat_tick: 1,
        max_inflight_blocks: 5,
        snapshot_interval_size: 16 << 20,
    };
    let members = organisations
        .iter()
        .map(|name| Ok(channel_organisation(place, spec, super::layout::organisation(spec, name)?)))
        .collect::<Result<Vec<_>, EngineError>>()?;
    let mut profile = Profile {
        capabilities: capability("V3_0"),
        policies: meta_policies(false, false),
        orderer: Some(Orderer {
            orderer_type: "etcdraft".into(),
            batch_timeout: Duration::from_millis(spec.block_time_ms.into()),
            batch_size: BatchSize {
                max_message_count: spec.block_transactions,
                absolute_max_bytes: 99 << 20,
                preferred_max_bytes: 2 << 20,
            },
            consensus: Consensus { raft: Some((consenters, Some(options))), ..Consensus::default() },
            organizations: orderer_organisations
                .map(|organisation| channel_organisation(place, spec, organisation))
                .collect(),
            policies: meta_policies(false, true),
            capabilities: capability("V2_0"),
            ..Orderer::default()
        }),
        application: Some(Application {
            organizations: members,
            policies: meta_policies(true, false),
            capabilities: capability("V2_5"),
            ..Application::default()
        }),
        ..Profile::default()
    };
    let group = profile.complete().and_then(|()| profile.channel_group()).map_err(failed("genesis block"))?;
    let made = genesis::block(channel, group);
    if path.exists() {
        let found = Block::decode(read(&path)?.as_slice()).ok().and_then(|found| makeup(&found));
        return Ok(found.is_some() && found == makeup(&made));
    }
    write(&path, &made.encode_to_vec())?;
    Ok(true)
}

/// Writes the configuration of a node.
pub(super) fn node(place: Place<'_>, node: &NodeSpec) -> Result<(), EngineError> {
    let layout = Layout::new(place.folder);
    let (name, text) = if node.is_orderer() {
        ("orderer.yaml", orderer_yaml(place, &layout, node)?)
    } else {
        ("core.yaml", core_yaml(place, &layout, node)?)
    };
    write(&layout.node(&node.id).join(name), text.as_bytes())?;
    revocations(&layout, organisation_of(place.spec, node)?, node)?;
    let orderers = place.spec.organisations.iter().find(|organisation| organisation.orders_only);
    let authority = orderers.map(|organisation| {
        layout.msp(organisation).join(format!("tlscacerts/tlsca.{}-cert.pem", organisation.domain))
    });
    match authority.filter(|path| node.is_peer() && path.exists()) {
        // Beside the configuration: nodes read no other organisation's folder.
        Some(path) => write(&layout.node(&node.id).join(ORDERER_ROOTS), &read(&path)?),
        None => Ok(()),
    }
}

/// Gives a node the revocation list of its organisation, which it reads when it starts.
pub(super) fn revocations(
    layout: &Layout,
    organisation: &OrganisationSpec,
    node: &NodeSpec,
) -> Result<(), EngineError> {
    let list = layout.msp(organisation).join(REVOKED);
    if !list.exists() {
        return Ok(());
    }
    write(&layout.node_crypto(organisation, node).join("msp").join(REVOKED), &read(&list)?)
}

/// Removes what a node that is taken out leaves: configuration, ledger, certificates.
pub(super) fn remove_node(place: Place<'_>, node: &NodeSpec) -> Result<(), EngineError> {
    let layout = Layout::new(place.folder);
    remove_folder(&layout.node(&node.id))?;
    remove_folder(&layout.node_crypto(organisation_of(place.spec, node)?, node))
}

fn orderer_yaml(place: Place<'_>, layout: &Layout, node: &NodeSpec) -> Result<String, EngineError> {
    let organisation = organisation_of(place.spec, node)?;
    let crypto = layout.node_crypto(organisation, node);
    let folder = layout.node(&node.id);
    let tls = crypto.join("tls");
    let (certificate, key, ca) =
        (quoted(&tls.join("server.crt")), quoted(&tls.join("server.key")), quoted(&tls.join("ca.crt")));
    let host = place.driver.listen_address();
    Ok(format!(
        r"# Orderer {name}: the keys are those of every orderer.yaml; ORDERER_ variables override them.
General:
  ListenAddress: {host}
  ListenPort: {port}
  TLS:
    Enabled: true
    Certificate: {certificate}
    PrivateKey: {key}
    RootCAs: [{ca}]
    ClientAuthRequired: false
  Cluster:
    ClientCertificate: {certificate}
    ClientPrivateKey: {key}
    RootCAs: [{ca}]
  BootstrapMethod: none
  LocalMSPDir: {msp}
  LocalMSPID: {mspid}
  MaxRecvMsgSize: 104857600
  MaxSendMsgSize: 104857600
FileLedger:
  Location: {ledger}
Consensus:
  WALDir: {wal}
  SnapDir: {snapshots}
ChannelParticipation:
  Enabled: true
  MaxRequestBodySize: 1 MB
Admin:
  ListenAddress: {host}:{participation}
  TLS:
    Enabled: true
    Certificate: {certificate}
    PrivateKey: {key}
    RootCAs: [{ca}]
    ClientAuthRequired: true
    ClientRootCAs: [{ca}]
Operations:
  ListenAddress: {host}:{operations}
  TLS:
    Enabled: false
Metrics:
  Provider: prometheus
",
        name = node.hostname,
        port = node.port("grpc"),
        msp = quoted(&crypto.join("msp")),
        mspid = organisation.msp(),
        ledger = quoted(&folder.join("ledger")),
        wal = quoted(&folder.join("etcdraft/wal")),
        snapshots = quoted(&folder.join("etcdraft/snapshot")),
        participation = node.port("participation"),
        operations = node.port("operations"),
    ))
}

/// Where to find the ordering service instead of at the addresses of orderers that have left since a channel was made: a peer
/// that joins later begins with the genesis block, which may name none that is still there.
fn overrides(place: Place<'_>, layout: &Layout, node: &NodeSpec) -> String {
    let spec = place.spec;
    let present: Vec<String> =
        spec.nodes.iter().filter(|node| node.is_orderer()).map(|node| between(place, node)).collect();
    let Some(first) = present.first() else { return String::new() };
    let mut former = std::collections::BTreeSet::new();
    for channel in &spec.channels {
        let block = std::fs::read(layout.genesis(&channel.name)).ok();
        let block = block.and_then(|bytes| Block::decode(bytes.as_slice()).ok());
        let Some(bundle) = block.and_then(|block| Bundle::from_config_block(&block).ok()) else { continue };
        let endpoints = bundle.orderer().into_iter().flat_map(fabric_channel::config::OrdererConfig::endpoints);
        former
            .extend(endpoints.map(|(_, endpoint)| endpoint.to_owned()).filter(|endpoint| !present.contains(endpoint)));
    }
    if former.is_empty() {
        return String::new();
    }
    let roots = layout.node(&node.id).join(ORDERER_ROOTS);
    let entries: Vec<String> = former
        .iter()
        .map(|from| format!("      - {{from: {from:?}, to: {first:?}, caCertsFile: {}}}\n", quoted(&roots)))
        .collect();
    let entries = entries.concat();
    format!("  deliveryclient:\n    addressOverrides:\n{entries}")
}

fn core_yaml(place: Place<'_>, layout: &Layout, node: &NodeSpec) -> Result<String, EngineError> {
    let organisation = organisation_of(place.spec, node)?;
    let crypto = layout.node_crypto(organisation, node);
    let tls = crypto.join("tls");
    let bootstrap = place
        .spec
        .nodes
        .iter()
        .find(|other| other.is_peer() && other.organisation == node.organisation && other.id != node.id)
        .unwrap_or(node);
    let host = place.driver.listen_address();
    Ok(format!(
        r"# Peer {name}: the keys are those of every core.yaml; CORE_ variables override them.
peer:
  id: {name}
  networkId: konsort
  listenAddress: {host}:{port}
  address: {endpoint}
  addressAutoDetect: false
  # An orderer that stays silent is left for another one after interval and timeout.
  keepalive:
    deliveryClient:
      interval: 2s
      timeout: 2s
  # Chaincode runs beside its peer, in the same container or on the same machine.
  chaincodeListenAddress: 127.0.0.1:{chaincode}
  chaincodeAddress: 127.0.0.1:{chaincode}
  localMspId: {mspid}
  mspConfigPath: {msp}
  fileSystemPath: {data}
  gateway:
    enabled: true
    endorsementTimeout: 30s
    broadcastTimeout: 30s
    dialTimeout: 2m
  gossip:
    bootstrap: {bootstrap}
    endpoint: {endpoint}
    externalEndpoint: {endpoint}
    useLeaderElection: false
    orgLeader: true
    state:
      enabled: false
  tls:
    enabled: true
    clientAuthRequired: false
    cert:
      file: {certificate}
    key:
      file: {key}
    rootcert:
      file: {ca}
{overrides}  discovery:
    enabled: true
  limits:
    concurrency:
      endorserService: 2500
      deliverService: 2500
      gatewayService: 2500
operations:
  listenAddress: {host}:{operations}
  tls:
    enabled: false
metrics:
  provider: prometheus
chaincode:
  startuptimeout: 300s
  executetimeout: 30s
  mode: net
ledger:
  history:
    enableHistoryDatabase: true
",
        name = node.hostname,
        port = node.port("grpc"),
        endpoint = between(place, node),
        chaincode = node.port("chaincode"),
        mspid = organisation.msp(),
        msp = quoted(&crypto.join("msp")),
        data = quoted(&layout.node(&node.id).join("data")),
        bootstrap = between(place, bootstrap),
        overrides = overrides(place, layout, node),
        certificate = quoted(&tls.join("server.crt")),
        key = quoted(&tls.join("server.key")),
        ca = quoted(&tls.join("ca.crt")),
        operations = node.port("operations"),
    ))
}
