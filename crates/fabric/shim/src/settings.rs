//! How a chaincode process finds its peer, in the names that every shim uses.

use std::path::PathBuf;

use konsort_node::Environment;

use crate::error::RunError;

/// Who dials whom.
#[derive(Debug, Clone)]
pub enum Mode {
    /// The process dials the peer that started it.
    Client(ClientSettings),
    /// The process listens, the peer dials (chaincode as a service).
    Server(ServerSettings),
}

/// For a process that dials its peer.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The package id (`CORE_CHAINCODE_ID_NAME`).
    pub chaincode_id: String,
    /// `host:port` of the peer's chaincode listener (`--peer.address` or `CORE_PEER_ADDRESS`).
    pub peer_address: String,
    /// TLS (`CORE_PEER_TLS_ENABLED`).
    pub tls: Option<ClientTlsFiles>,
}

/// TLS material of a process that dials, as PEM.
#[derive(Clone)]
pub struct ClientTlsFiles {
    /// Certificate for this chaincode (`CORE_TLS_CLIENT_CERT_FILE`, or base64 in `CORE_TLS_CLIENT_CERT_PATH`).
    pub certificate: Vec<u8>,
    /// Its key (`CORE_TLS_CLIENT_KEY_FILE`, or base64 in `CORE_TLS_CLIENT_KEY_PATH`).
    pub key: Vec<u8>,
    /// The peer's CA (`CORE_PEER_TLS_ROOTCERT_FILE`).
    pub root: Vec<u8>,
}

/// For a process that listens.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// The package id (`CORE_CHAINCODE_ID_NAME` or `CHAINCODE_ID`).
    pub chaincode_id: String,
    /// Where to listen (`CHAINCODE_SERVER_ADDRESS`).
    pub address: String,
    /// TLS; `None` when `CHAINCODE_TLS_DISABLED` is not `false`.
    pub tls: Option<ServerTlsFiles>,
}

/// TLS material of a process that listens, as PEM.
#[derive(Clone)]
pub struct ServerTlsFiles {
    /// Certificate (`CHAINCODE_TLS_CERT`, a file).
    pub certificate: Vec<u8>,
    /// Key (`CHAINCODE_TLS_KEY`, a file).
    pub key: Vec<u8>,
    /// The CA of peers' client certificates (`CHAINCODE_CLIENT_CA_CERT`, a file); without it peers need none.
    pub client_root: Option<Vec<u8>>,
}

impl std::fmt::Debug for ClientTlsFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ClientTlsFiles")
    }
}

impl std::fmt::Debug for ServerTlsFiles {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ServerTlsFiles")
    }
}

fn required(environment: &Environment, name: &'static str) -> Result<String, RunError> {
    environment.get(name).filter(|value| !value.is_empty()).map(str::to_owned).ok_or_else(|| RunError::Setting {
        name,
        cause: "is not set; the peer sets it when it starts the chaincode".into(),
    })
}

fn read(environment: &Environment, name: &'static str) -> Result<Vec<u8>, RunError> {
    let path = PathBuf::from(required(environment, name)?);
    std::fs::read(&path).map_err(|source| RunError::File { name, path, source })
}

/// The PEM file named by `pem`, or else the base64 of it in the file named by `base64`.
fn read_either(environment: &Environment, pem: &'static str, base64: &'static str) -> Result<Vec<u8>, RunError> {
    use base64::Engine as _;
    if environment.get(pem).is_some_and(|value| !value.is_empty()) {
        return read(environment, pem);
    }
    let text = read(environment, base64)?;
    base64::engine::general_purpose::STANDARD
        .decode(text.trim_ascii())
        .map_err(|error| RunError::Setting { name: base64, cause: format!("the file is not base64: {error}") })
}

fn is_true(environment: &Environment, name: &str) -> bool {
    environment.get(name).is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "t" | "yes"))
}

impl Mode {
    /// Reads environment and arguments: a server when `CHAINCODE_SERVER_ADDRESS` is set, else a client.
    pub fn from_environment(environment: &Environment, args: &[String]) -> Result<Self, RunError> {
        if environment.get("CHAINCODE_SERVER_ADDRESS").is_some_and(|value| !value.is_empty()) {
            return ServerSettings::from_environment(environment).map(Self::Server);
        }
        ClientSettings::from_environment(environment, args).map(Self::Client)
    }
}

impl ClientSettings {
    /// Reads what a peer gives the chaincode it starts.
    pub fn from_environment(environment: &Environment, args: &[String]) -> Result<Self, RunError> {
        let chaincode_id = required(environment, "CORE_CHAINCODE_ID_NAME")?;
        let peer_address = match peer_argument(args) {
            Some(address) => address,
            None => required(environment, "CORE_PEER_ADDRESS")?,
        };
        let tls = if is_true(environment, "CORE_PEER_TLS_ENABLED") {
            Some(ClientTlsFiles {
                certificate: read_either(environment, "CORE_TLS_CLIENT_CERT_FILE", "CORE_TLS_CLIENT_CERT_PATH")?,
                key: read_either(environment, "CORE_TLS_CLIENT_KEY_FILE", "CORE_TLS_CLIENT_KEY_PATH")?,
                root: read(environment, "CORE_PEER_TLS_ROOTCERT_FILE")?,
            })
        } else {
            None
        };
        Ok(Self { chaincode_id, peer_address, tls })
    }
}

/// `-peer.address=A`, `--peer.address A` and the like.
fn peer_argument(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let name = arg.trim_start_matches('-');
        if name.len() == arg.len() {
            continue;
        }
        for known in ["peer.address", "peerAddress"] {
            if name == known {
                return args.next().cloned();
            }
            if let Some(value) = name.strip_prefix(known).and_then(|rest| rest.strip_prefix('=')) {
                return Some(value.to_owned());
            }
        }
    }
    None
}

impl ServerSettings {
    /// Reads the settings of chaincode as a service.
    pub fn from_environment(environment: &Environment) -> Result<Self, RunError> {
        let chaincode_id = match environment.get("CHAINCODE_ID").filter(|value| !value.is_empty()) {
            Some(id) => id.to_owned(),
            None => required(environment, "CORE_CHAINCODE_ID_NAME")?,
        };
        let address = required(environment, "CHAINCODE_SERVER_ADDRESS")?;
        let disabled =
            environment.get("CHAINCODE_TLS_DISABLED").is_none_or(|value| !value.eq_ignore_ascii_case("false"));
        let tls = if disabled {
            None
        } else {
            let client_root = match environment.get("CHAINCODE_CLIENT_CA_CERT").filter(|value| !value.is_empty()) {
                Some(_) => Some(read(environment, "CHAINCODE_CLIENT_CA_CERT")?),
                None => None,
            };
            Some(ServerTlsFiles {
                certificate: read(environment, "CHAINCODE_TLS_CERT")?,
                key: read(environment, "CHAINCODE_TLS_KEY")?,
                client_root,
            })
        };
        Ok(Self { chaincode_id, address, tls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_address_comes_in_every_spelling() {
        for args in [vec!["-peer.address=a:1"], vec!["--peer.address", "a:1"], vec!["x", "--peerAddress", "a:1"]] {
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            assert_eq!(peer_argument(&args).as_deref(), Some("a:1"));
        }
        assert_eq!(peer_argument(&["peer.address=a:1".to_owned()]), None);
    }

    #[test]
    fn settings_come_from_the_usual_variables() {
        let environment = Environment::from_pairs([("CORE_CHAINCODE_ID_NAME", "x:1"), ("CORE_PEER_ADDRESS", "p:7052")]);
        let Mode::Client(client) = Mode::from_environment(&environment, &[]).unwrap() else {
            panic!("client expected")
        };
        assert_eq!((client.chaincode_id.as_str(), client.peer_address.as_str()), ("x:1", "p:7052"));
        let environment = Environment::from_pairs([("CHAINCODE_ID", "x:1"), ("CHAINCODE_SERVER_ADDRESS", ":9999")]);
        let Mode::Server(server) = Mode::from_environment(&environment, &[]).unwrap() else {
            panic!("server expected")
        };
        assert!(server.tls.is_none());
        let missing = ClientSettings::from_environment(&Environment::from_pairs([("A", "b")]), &[]).unwrap_err();
        assert!(missing.to_string().contains("CORE_CHAINCODE_ID_NAME"));
    }
}
