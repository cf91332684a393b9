//! What is wrong with a node, in words: keys, certificates, ports, partners, folders.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bcos_consensus::{Keys, NodeKeys};
use konsort_node::ports;
use konsort_pki::{Certificate, CertificatePool, Usage, VerifyOptions};

use crate::config::{GenesisConfig, NodeConfig};
use crate::network::{Probe, Seen, roots};
use crate::run::node_key;

/// Certificates that end within this many days are warned of.
const SOON: i64 = 30;

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Good,
    /// The node runs, but not as well as it could.
    Warning,
    /// The node does not start, or does not take part.
    Problem,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found and, unless it is good, what to do.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Good => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "PROBLEM",
        };
        write!(f, "{mark}: {}", self.text)
    }
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn good(&mut self, text: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Good, text: text.into() });
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, text: text.into() });
    }

    fn problem(&mut self, text: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Problem, text: text.into() });
    }
}

/// Looks at everything a node needs. Nothing is changed; the node may run meanwhile.
pub async fn doctor(ini: &Path, genesis: &[PathBuf]) -> Vec<Finding> {
    let mut report = Report::default();
    let config = match NodeConfig::load(ini, genesis) {
        Ok(config) => config,
        Err(error) => {
            report.problem(error.to_string());
            return report.0;
        }
    };
    report.good(format!("{} and {} genesis files can be read", ini.display(), genesis.len()));
    let keys = match node_key(&config) {
        Ok(key) => {
            let kind = key.kind();
            Some((Arc::new(NodeKeys::new(key)), kind))
        }
        Err(error) => {
            report.problem(error.to_string());
            None
        }
    };
    secret(&mut report, &config.key, "the node's key");
    secret(&mut report, &config.cert.key, "the TLS key");
    if let Some((keys, _)) = &keys {
        let id = keys.me().to_hex();
        identity(&mut report, &config, &id);
        for group in &config.groups {
            membership(&mut report, &group.genesis, &group.file, &id);
        }
    }
    certificates(&mut report, &config);
    listeners(&mut report, &config);
    folders(&mut report, &config);
    if let Some((keys, kind)) = keys {
        match Probe::new(&config, keys, kind) {
            Ok(probe) => partners(&mut report, &config, &probe).await,
            Err(error) => report.problem(error.to_string()),
        }
    }
    report.0
}

fn secret(report: &mut Report, path: &Path, what: &str) {
    let Ok(metadata) = std::fs::metadata(path) else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        report.warning(format!("{what} {} can be read by others (mode {mode:o}); run chmod 600 on it", path.display()));
    }
}

fn identity(report: &mut Report, config: &NodeConfig, id: &str) {
    report.good(format!("this node is {id}"));
    let beside = config.key.with_file_name("node.nodeid");
    if let Ok(text) = std::fs::read_to_string(&beside)
        && text.trim().to_ascii_lowercase() != id
    {
        report.problem(format!(
            "{} says {}, but the key {} makes node {id}: one of both files belongs to another node",
            beside.display(),
            text.trim(),
            config.key.display()
        ));
    }
    if config.p2p.deny.iter().any(|denied| denied == id) {
        report
            .warning("this node's own id stands in [certificate_blacklist]; other nodes with the same list refuse it");
    }
}

fn membership(report: &mut Report, genesis: &GenesisConfig, file: &Path, id: &str) {
    let group = &genesis.group_id;
    if genesis.nodes.iter().any(|node| node.id == id) {
        report.good(format!("group {group}: this node is a sealer of the first block"));
    } else {
        report.warning(format!(
            "group {group}: {} does not list this node; it stays outside until addObserver and addSealer of 0x1003 name it",
            file.display()
        ));
    }
    let sealers = genesis.nodes.len();
    if sealers > 1 && sealers < 4 {
        report.warning(format!("group {group}: {sealers} sealers tolerate no failure; use 4 or more"));
    }
}

fn certificates(report: &mut Report, config: &NodeConfig) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let roots = match roots(&config.cert) {
        Ok(roots) => roots.pool(),
        Err(error) => return report.problem(error.to_string()),
    };
    let path = &config.cert.certificate;
    let chain = match std::fs::read(path) {
        Ok(text) => Certificate::all_from_pem(&text),
        Err(error) => return report.problem(format!("[cert] node_cert {}: {error}", path.display())),
    };
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => return report.problem(format!("[cert] node_cert {} holds no certificate", path.display())),
        Err(error) => return report.problem(format!("[cert] node_cert {}: {error}", path.display())),
    };
    let leaf = &chain[0];
    let between = CertificatePool::new(chain[1..].iter().cloned());
    let options = VerifyOptions { roots: &roots, intermediates: &between, at: now, usage: Usage::Any };
    match konsort_pki::verify(leaf, &options) {
        Ok(_) => report.good(format!("{} comes from {}", path.display(), config.cert.ca.display())),
        Err(error) => report.problem(format!(
            "{} is not accepted by {}: {error}; other nodes and SDKs will end the TLS handshake",
            path.display(),
            config.cert.ca.display()
        )),
    }
    for certificate in chain.iter().chain(roots.certificates()) {
        let days = (certificate.not_after() - now) / 86_400;
        if (0..SOON).contains(&days) {
            report.warning(format!("the certificate of {} ends in {days} days; renew it", certificate.common_name()));
        }
    }
    match konsort_pki::key_file::read(&config.cert.key) {
        Ok(key) if key.public_key().spki_der() == leaf.public_key().spki_der() => {}
        Ok(_) => report.problem(format!(
            "{} is not the key of {}: they belong to different certificates",
            config.cert.key.display(),
            path.display()
        )),
        Err(error) => report.problem(format!("[cert] node_key: {error}")),
    }
}

fn listeners(report: &mut Report, config: &NodeConfig) {
    let mut all = vec![
        ("[p2p]", &config.p2p.listen_ip, config.p2p.listen_port),
        ("[rpc]", &config.rpc.listen_ip, config.rpc.listen_port),
    ];
    if config.web3.enable {
        all.push(("[web3_rpc]", &config.web3.listen_ip, config.web3.listen_port));
    }
    for (index, (section, _, port)) in all.iter().enumerate() {
        if let Some((other, ..)) = all[..index].iter().find(|(_, _, taken)| taken == port && *port != 0) {
            report.problem(format!("{section} and {other} both want port {port}; change one listen_port"));
        }
    }
    for (section, ip, port) in all {
        match std::net::TcpListener::bind((ip.as_str(), port)) {
            Ok(_) => report.good(format!("{section} {ip}:{port} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let owner = ports::describe_owner(port).unwrap_or_else(|| "a process of another user".to_owned());
                report.warning(format!(
                    "{section} port {port} is taken by {owner}: fine if that is this node, else change it"
                ));
            }
            Err(error) => report.problem(format!("{section} cannot listen on {ip}:{port}: {error}; correct listen_ip")),
        }
    }
}

fn folders(report: &mut Report, config: &NodeConfig) {
    let folder = &config.storage.data;
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let probe = existing.join(format!(".konsort-doctor-{}", std::process::id()));
    match std::fs::write(&probe, b"") {
        Ok(()) => {
            // What cannot be removed is empty.
            let _left = std::fs::remove_file(&probe);
            report.good(format!("[storage] data_path {} can be written", folder.display()));
        }
        Err(error) => {
            report.problem(format!("[storage] data_path {} cannot be written: {error}", existing.display()));
        }
    }
}

async fn partners(report: &mut Report, config: &NodeConfig, probe: &Probe) {
    let sealers = config.groups.iter().map(|group| group.genesis.nodes.len()).max().unwrap_or(0);
    if config.p2p.nodes.is_empty() && sealers > 1 {
        report.warning(format!(
            "{} lists no nodes: this node waits until others dial it",
            config.p2p.nodes_file.display()
        ));
    }
    for address in &config.p2p.nodes {
        match probe.look(address).await {
            Ok(Seen::Myself) => report.good(format!("{address} is this node, and it runs")),
            Ok(Seen::Node(node, groups)) => {
                let groups: Vec<&str> = groups.iter().map(AsRef::as_ref).collect();
                report.good(format!("{address} is node {} with groups {}", node.to_hex(), groups.join(", ")));
            }
            Err(reason) => report.problem(format!("{address} (nodes.json) cannot be joined: {reason}")),
        }
    }
}
