//! Configuration files of a local network, with upstream's names and keys, so that an operator can read and change them.

use std::fmt::Write as _;
use std::path::Path;

use super::LocalError;
use super::spec::{Layout, NetworkSpec, NodeSpec, Role};

/// A path as a YAML double-quoted scalar.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// `orderer.yaml` of one orderer.
pub(super) fn orderer_yaml(layout: &Layout, node: &NodeSpec) -> String {
    let crypto = layout.node_crypto(node);
    let folder = layout.node(node);
    let tls = crypto.join("tls");
    let (certificate, key, ca) =
        (quoted(&tls.join("server.crt")), quoted(&tls.join("server.key")), quoted(&tls.join("ca.crt")));
    format!(
        r"# Orderer {name}: the keys are those of every orderer.yaml; ORDERER_ variables override them.
General:
  ListenAddress: 127.0.0.1
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
  ListenAddress: {admin}
  TLS:
    Enabled: true
    Certificate: {certificate}
    PrivateKey: {key}
    RootCAs: [{ca}]
    ClientAuthRequired: true
    ClientRootCAs: [{ca}]
Operations:
  ListenAddress: {operations}
  TLS:
    Enabled: false
Metrics:
  Provider: prometheus
",
        name = node.name,
        port = node.port,
        msp = quoted(&crypto.join("msp")),
        mspid = node.mspid,
        ledger = quoted(&folder.join("ledger")),
        wal = quoted(&folder.join("etcdraft/wal")),
        snapshots = quoted(&folder.join("etcdraft/snapshot")),
        admin = node.second(),
        operations = node.operations(),
    )
}

/// `core.yaml` of one peer.
pub(super) fn core_yaml(layout: &Layout, spec: &NetworkSpec, node: &NodeSpec) -> String {
    let crypto = layout.node_crypto(node);
    let tls = crypto.join("tls");
    let bootstrap =
        spec.peers().find(|peer| peer.mspid == node.mspid && peer.name != node.name).unwrap_or(node).endpoint();
    format!(
        r"# Peer {name}: the keys are those of every core.yaml; CORE_ variables override them.
peer:
  id: {name}
  networkId: konsort
  listenAddress: {endpoint}
  address: {endpoint}
  addressAutoDetect: false
  # An orderer that stays silent is left for another one after interval and timeout.
  keepalive:
    deliveryClient:
      interval: 2s
      timeout: 2s
  chaincodeListenAddress: {chaincode}
  chaincodeAddress: {chaincode}
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
  discovery:
    enabled: true
  limits:
    concurrency:
      endorserService: 2500
      deliverService: 2500
      gatewayService: 2500
operations:
  listenAddress: {operations}
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
        name = node.name,
        endpoint = node.endpoint(),
        chaincode = node.second(),
        mspid = node.mspid,
        msp = quoted(&crypto.join("msp")),
        data = quoted(&layout.node(node).join("data")),
        certificate = quoted(&tls.join("server.crt")),
        key = quoted(&tls.join("server.key")),
        ca = quoted(&tls.join("ca.crt")),
        operations = node.operations(),
    )
}

/// `crypto-config.yaml` for the network's organisations.
pub(super) fn crypto_config_yaml(spec: &NetworkSpec) -> String {
    let mut text =
        String::from("OrdererOrgs:\n  - Name: Orderer\n    Domain: example.com\n    EnableNodeOUs: true\n    Specs:\n");
    for node in spec.orderers() {
        let host = node.name.split('.').next().unwrap_or("orderer");
        // Local names and addresses stand in the certificate, so that clients need no host table.
        let _never_fails = writeln!(text, "      - Hostname: {host}\n        SANS: [localhost, 127.0.0.1]");
    }
    text.push_str("PeerOrgs:\n");
    for node in spec.peers() {
        let _never_fails = writeln!(
            text,
            "  - Name: {mspid}\n    Domain: {domain}\n    EnableNodeOUs: true\n    Template:\n      Count: 1\n      SANS: [localhost, 127.0.0.1]\n    Users:\n      Count: 1",
            mspid = node.mspid,
            domain = node.domain,
        );
    }
    text
}

/// `configtx.yaml` with the one profile `Channel`.
pub(super) fn configtx_yaml(layout: &Layout, spec: &NetworkSpec) -> String {
    let orderer = spec.orderers().next();
    let mut text = String::from("Organizations:\n");
    let orderer_endpoints: Vec<String> = spec.orderers().map(NodeSpec::endpoint).collect();
    let mut seen_orderer = false;
    for node in &spec.nodes {
        if node.role == Role::Orderer {
            if seen_orderer {
                continue;
            }
            seen_orderer = true;
        }
        let id = &node.mspid;
        let (readers, writers) = match node.role {
            Role::Orderer => (format!("OR('{id}.member')"), format!("OR('{id}.member')")),
            Role::Peer => {
                (format!("OR('{id}.admin','{id}.peer','{id}.client')"), format!("OR('{id}.admin','{id}.client')"))
            }
        };
        let _never_fails = write!(
            text,
            r#"  - &{id}
    Name: {id}
    ID: {id}
    MSPDir: {msp}
    Policies:
      Readers: {{ Type: Signature, Rule: "{readers}" }}
      Writers: {{ Type: Signature, Rule: "{writers}" }}
      Admins: {{ Type: Signature, Rule: "OR('{id}.admin')" }}
"#,
            msp = quoted(&layout.organization(node).join("msp")),
        );
        match node.role {
            Role::Orderer => {
                let _never_fails = writeln!(text, "    OrdererEndpoints: [{}]", orderer_endpoints.join(", "));
            }
            Role::Peer => {
                let _never_fails = writeln!(
                    text,
                    "      Endorsement: {{ Type: Signature, Rule: \"OR('{id}.peer')\" }}\n    AnchorPeers:\n      - {{ Host: 127.0.0.1, Port: {} }}",
                    node.port
                );
            }
        }
    }
    let meta = |indent: &str, with_endorsement: bool| {
        let mut policies = format!(
            "{indent}Readers: {{ Type: ImplicitMeta, Rule: \"ANY Readers\" }}\n{indent}Writers: {{ Type: ImplicitMeta, Rule: \"ANY Writers\" }}\n{indent}Admins: {{ Type: ImplicitMeta, Rule: \"MAJORITY Admins\" }}\n"
        );
        if with_endorsement {
            let _never_fails = write!(
                policies,
                "{indent}LifecycleEndorsement: {{ Type: ImplicitMeta, Rule: \"MAJORITY Endorsement\" }}\n{indent}Endorsement: {{ Type: ImplicitMeta, Rule: \"MAJORITY Endorsement\" }}\n"
            );
        }
        policies
    };
    let orderer_org = orderer.map(|node| node.mspid.clone()).unwrap_or_default();
    let _never_fails = write!(
        text,
        "Profiles:\n  Channel:\n    Policies:\n{policies}    Capabilities: {{ V3_0: true }}\n    Orderer:\n      OrdererType: etcdraft\n      BatchTimeout: {timeout}\n      BatchSize:\n        MaxMessageCount: {count}\n        AbsoluteMaxBytes: 99 MB\n        PreferredMaxBytes: 2 MB\n      EtcdRaft:\n        Consenters:\n",
        policies = meta("      ", false),
        timeout = spec.batch_timeout,
        count = spec.max_message_count,
    );
    for node in spec.orderers() {
        let certificate = quoted(&layout.node_crypto(node).join("tls/server.crt"));
        let _never_fails = writeln!(
            text,
            "          - {{ Host: 127.0.0.1, Port: {}, ClientTLSCert: {certificate}, ServerTLSCert: {certificate} }}",
            node.port
        );
    }
    let _never_fails = write!(
        text,
        "        Options:\n          TickInterval: 100ms\n          ElectionTick: 10\n          HeartbeatTick: 1\n          MaxInflightBlocks: 5\n          SnapshotIntervalSize: 16 MB\n      Organizations: [*{orderer_org}]\n      Policies:\n{policies}        BlockValidation: {{ Type: ImplicitMeta, Rule: \"ANY Writers\" }}\n      Capabilities: {{ V2_0: true }}\n    Application:\n      Organizations: [{organizations}]\n      Policies:\n{application}      Capabilities: {{ V2_5: true }}\n",
        policies = meta("        ", false),
        application = meta("        ", true),
        organizations = spec.peers().map(|node| format!("*{}", node.mspid)).collect::<Vec<_>>().join(", "),
    );
    text
}

/// Writes a file that people may edit, with its folder.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), LocalError> {
    let attempt = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)
    };
    attempt().map_err(|source| LocalError::Io { what: format!("write {}", path.display()), source })
}
