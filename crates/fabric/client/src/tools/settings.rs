//! What the `peer` command reads from core.yaml and CORE_ variables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use konsort_node::{Config, Environment};

use super::Console;

/// Every variable the command line looks at; [`Console`] can only be asked by name.
const VARIABLES: &[&str] = &[
    "FABRIC_CFG_PATH",
    "CORE_PEER_ADDRESS",
    "CORE_PEER_LOCALMSPID",
    "CORE_PEER_LOCALMSPTYPE",
    "CORE_PEER_MSPCONFIGPATH",
    "CORE_PEER_CLIENT_CONNTIMEOUT",
    "CORE_PEER_TLS_ENABLED",
    "CORE_PEER_TLS_CLIENTAUTHREQUIRED",
    "CORE_PEER_TLS_ROOTCERT_FILE",
    "CORE_PEER_TLS_CLIENTCERT_FILE",
    "CORE_PEER_TLS_CLIENTKEY_FILE",
    "CORE_PEER_TLS_SERVERHOSTOVERRIDE",
];

/// Client settings of `peer`.
#[derive(Debug)]
pub(crate) struct Settings {
    config: Config,
}

impl Settings {
    /// Reads core.yaml from FABRIC_CFG_PATH, else from the working directory or /etc/hyperledger/fabric. Without any of them the
    /// variables alone decide.
    pub(crate) fn load(console: &Console<'_>) -> Result<Self, String> {
        let pairs = VARIABLES.iter().filter_map(|name| (console.env)(name).map(|value| (*name, value)));
        let environment = Environment::from_pairs(pairs);
        let named = (console.env)("FABRIC_CFG_PATH").filter(|path| !path.is_empty());
        let candidates: Vec<PathBuf> = match &named {
            Some(path) => vec![PathBuf::from(path)],
            None => vec![PathBuf::from("."), PathBuf::from("/etc/hyperledger/fabric")],
        };
        let Some(folder) = candidates.iter().find(|folder| folder.join("core.yaml").is_file()) else {
            if named.is_some() {
                return Err(
                    "Could not find config file. Please make sure that FABRIC_CFG_PATH is set to a path which \
                            contains core.yaml"
                        .into(),
                );
            }
            let config = Config::from_yaml("{}", "./core.yaml", "CORE", &environment).map_err(|e| e.to_string())?;
            return Ok(Self { config });
        };
        let config = Config::load_with(folder, "core.yaml", "CORE", &environment)
            .map_err(|error| format!("error when reading core config file: {error}"))?;
        Ok(Self { config })
    }

    pub(crate) fn address(&self) -> String {
        self.config.string("peer.address")
    }

    pub(crate) fn msp_id(&self) -> String {
        self.config.string("peer.localMspId")
    }

    pub(crate) fn msp_folder(&self) -> PathBuf {
        let given = self.config.string("peer.mspConfigPath");
        self.path(if given.is_empty() { "msp" } else { &given })
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        let given = self.config.duration("peer.client.connTimeout").ok().flatten().unwrap_or_default();
        if given.is_zero() { Duration::from_secs(3) } else { given }
    }

    pub(crate) fn tls_enabled(&self) -> bool {
        self.config.bool("peer.tls.enabled").ok().flatten().unwrap_or(false)
    }

    pub(crate) fn client_auth_required(&self) -> bool {
        self.config.bool("peer.tls.clientAuthRequired").ok().flatten().unwrap_or(false)
    }

    pub(crate) fn server_name(&self) -> String {
        self.config.string("peer.tls.serverhostoverride")
    }

    /// The file under a `peer.tls.…` key.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        let given = self.config.string(key);
        if given.is_empty() { PathBuf::new() } else { self.path(&given) }
    }

    /// Relative paths count from the configuration file's folder, as upstream has it; what is not there but is in the working
    /// directory is taken from there.
    pub(crate) fn path(&self, given: &str) -> PathBuf {
        let resolved = self.config.resolve(given);
        if !resolved.exists() && Path::new(given).exists() { PathBuf::from(given) } else { resolved }
    }
}
