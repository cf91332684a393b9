//! The chaincode listener and the runtime's settings.

use std::time::Duration;

use fabric_chaincode::launcher::ExternalBuilder;
use fabric_chaincode::{Runtime, Settings};
use konsort_node::{ClientAuth, ConfigError, Metrics, Roots, Server, ServerOptions, ServerTls, TlsIdentity};

use super::PeerError;
use crate::config::PeerConfig;

/// The runtime's settings from `core.yaml`.
pub(super) fn settings(config: &PeerConfig, metrics: &Metrics) -> Result<Settings, ConfigError> {
    let source = &config.source;
    let mut settings =
        Settings::new(config.data_path.join("chaincodes"), config.chaincode_address.clone(), config.msp_id.clone());
    settings.metrics = Some(metrics.clone());
    settings.tls = config.tls.enabled;
    settings.dev_mode = config.chaincode_dev_mode;
    settings.total_query_limit = config.total_query_limit;
    if let Some(timeout) = source.duration("chaincode.executetimeout")? {
        settings.execute_timeout = timeout;
    }
    if let Some(timeout) = source.duration("chaincode.startuptimeout")? {
        settings.startup_timeout = timeout;
    }
    if let Some(timeout) = source.duration("chaincode.installTimeout")?.filter(|timeout| !timeout.is_zero()) {
        settings.install_timeout = timeout;
    }
    // Upstream counts this key in seconds.
    let keepalive = source.integer("chaincode.keepalive").ok().flatten().filter(|seconds| *seconds > 0);
    settings.keepalive = keepalive.map(|seconds| Duration::from_secs(seconds as u64));
    let batching = &mut settings.batching;
    let positive = |key: &str| -> Result<Option<u32>, ConfigError> {
        Ok(source.integer(key)?.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0))
    };
    if let Some(flag) = source.bool("chaincode.runtimeParams.useWriteBatch")? {
        batching.use_write_batch = flag;
    }
    if let Some(flag) = source.bool("chaincode.runtimeParams.useGetMultipleKeys")? {
        batching.use_get_multiple_keys = flag;
    }
    if let Some(size) = positive("chaincode.runtimeParams.maxSizeWriteBatch")? {
        batching.max_size_write_batch = size;
    }
    if let Some(size) = positive("chaincode.runtimeParams.maxSizeGetMultipleKeys")? {
        batching.max_size_get_multiple_keys = size;
    }
    settings.process.confine.clone_from(&config.program);
    settings.process.builtin.clone_from(&config.program);
    for (key, target) in [
        ("chaincode.logging.level", &mut settings.process.log_level),
        ("chaincode.logging.shim", &mut settings.process.shim_log_level),
        ("chaincode.logging.format", &mut settings.process.log_format),
    ] {
        let value = source.string(key);
        if !value.is_empty() {
            *target = value;
        }
    }
    settings.external_builders = external_builders(config)?;
    settings.environment = source.environment().clone();
    Ok(settings)
}

fn external_builders(config: &PeerConfig) -> Result<Vec<ExternalBuilder>, ConfigError> {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        name: String,
        #[serde(default)]
        path: String,
        #[serde(default)]
        propagateenvironment: Option<Vec<String>>,
        #[serde(default)]
        environmentwhitelist: Option<Vec<String>>,
    }
    let entries: Vec<Entry> = config.source.value("chaincode.externalBuilders")?.unwrap_or_default();
    Ok(entries
        .into_iter()
        .filter(|entry| !entry.path.is_empty())
        .map(|entry| ExternalBuilder {
            path: config.source.resolve(&entry.path),
            propagate_environment: entry.propagateenvironment.or(entry.environmentwhitelist).unwrap_or_default(),
            name: entry.name,
        })
        .collect())
}

/// The listener that chaincode processes dial: with certificates of the runtime's own authority.
pub(super) async fn listener(config: &PeerConfig, runtime: &Runtime) -> Result<Server, PeerError> {
    let tls = match runtime.listener_credentials() {
        None => None,
        Some(credentials) => Some(ServerTls {
            identity: TlsIdentity::from_pem(credentials.certificate_pem.as_bytes(), credentials.key_pem.as_bytes())?,
            client_auth: ClientAuth::Require,
            client_roots: Roots::from_pem([credentials.client_ca_pem.as_bytes()])?,
        }),
    };
    let options = ServerOptions { tls, ..ServerOptions::default() };
    let name = "chaincode listener (peer.chaincodeListenAddress)";
    Ok(Server::bind(name, &config.chaincode_listen_address, options).await?)
}
