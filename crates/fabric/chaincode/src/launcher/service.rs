//! Chaincode as a service: the package holds a `connection.json`, the peer dials.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures::{FutureExt as _, future::BoxFuture};
use konsort_node::Environment;
use serde::Deserialize;

use super::{ChaincodeLauncher, PeerConnection, Running, ServerAddress, ServerTls};
use crate::{error::LaunchError, package::Package};

const CONNECTION_FILE: &str = "connection.json";
/// The most bytes of a `connection.json`; it holds three PEM texts at most.
const MAX_CONNECTION_BYTES: u64 = 1 << 20;
/// The most bytes of a code archive that are looked through for it.
const MAX_SEARCHED_BYTES: u64 = 64 << 20;
const MAX_SEARCHED_ENTRIES: usize = 10_000;
/// Upstream's default for `dial_timeout`.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// The environment variable whose JSON object fills `{{.name}}` in the strings of `connection.json`.
const TEMPLATE_VARIABLE: &str = "CHAINCODE_AS_A_SERVICE_BUILDER_CONFIG";

/// Takes packages of type `ccaas` (and `external` when they hold a `connection.json`).
#[derive(Debug)]
pub struct Service {
    environment: Environment,
}

/// `connection.json` as it stands in the package.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Connection {
    address: String,
    domain: String,
    dial_timeout: Option<serde_json::Value>,
    tls_required: bool,
    client_auth_required: bool,
    client_key: String,
    client_cert: String,
    root_cert: String,
}

impl Service {
    /// A launcher that fills templates from the peer's environment.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    /// Where the server of a package is.
    fn address(&self, package: &Package) -> Result<ServerAddress, LaunchError> {
        let failed = |cause: String| LaunchError::Build { package_id: package.id().to_owned(), cause, log: None };
        let text = connection_file(package.code())
            .map_err(&failed)?
            .ok_or_else(|| failed("connection.json not found in the root of the code package".into()))?;
        parse_connection(&text, self.environment.get(TEMPLATE_VARIABLE)).map_err(failed)
    }
}

impl ChaincodeLauncher for Service {
    fn name(&self) -> &'static str {
        "service"
    }

    fn build<'a>(&'a self, package: &'a Package) -> BoxFuture<'a, Result<bool, LaunchError>> {
        async move {
            match package.metadata().kind.to_ascii_lowercase().as_str() {
                "ccaas" => self.address(package).map(|_address| true),
                "external" => Ok(self.address(package).is_ok()),
                _ => Ok(false),
            }
        }
        .boxed()
    }

    fn launch<'a>(
        &'a self,
        package: &'a Package,
        _peer: &'a PeerConnection,
    ) -> BoxFuture<'a, Result<Running, LaunchError>> {
        async move { self.address(package).map(Running::Server) }.boxed()
    }
}

/// `connection.json` in the root of a code archive.
pub(crate) fn connection_file(code: &Bytes) -> Result<Option<Vec<u8>>, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(&code[..]).take(MAX_SEARCHED_BYTES));
    let entries = archive.entries().map_err(|error| format!("cannot read the code package: {error}"))?;
    for entry in entries.take(MAX_SEARCHED_ENTRIES) {
        let entry = entry.map_err(|error| format!("cannot read the code package: {error}"))?;
        let name = entry.path_bytes();
        if name.strip_prefix(b"./").unwrap_or(&name) != CONNECTION_FILE.as_bytes()
            || !entry.header().entry_type().is_file()
        {
            continue;
        }
        if entry.size() > MAX_CONNECTION_BYTES {
            return Err(format!("connection.json is larger than {MAX_CONNECTION_BYTES} bytes"));
        }
        let mut text = Vec::new();
        let mut entry = entry;
        entry.read_to_end(&mut text).map_err(|error| format!("cannot read connection.json: {error}"))?;
        return Ok(Some(text));
    }
    Ok(None)
}

/// Reads `connection.json`; `values` is the JSON object that fills its templates.
pub fn parse_connection(text: &[u8], values: Option<&str>) -> Result<ServerAddress, String> {
    let connection: Connection = serde_json::from_slice(text)
        .map_err(|error| format!("malformed chaincode info in connection.json: {error}"))?;
    let values: serde_json::Value = match values.filter(|text| !text.is_empty()) {
        Some(text) => {
            serde_json::from_str(text).map_err(|error| format!("{TEMPLATE_VARIABLE} is not a JSON object: {error}"))?
        }
        None => serde_json::Value::Null,
    };
    let fill = |field: &str, text: &str| {
        fill_template(text, &values).map_err(|cause| format!("connection.json: {field}: {cause}"))
    };
    let address = fill("address", &connection.address)?;
    if address.is_empty() {
        return Err("chaincode address not provided".into());
    }
    let dial_timeout = match &connection.dial_timeout {
        None | Some(serde_json::Value::Null) => DIAL_TIMEOUT,
        // As in Go, a bare number counts nanoseconds.
        Some(serde_json::Value::Number(number)) => number
            .as_f64()
            .filter(|nanoseconds| (0.0..=1e15).contains(nanoseconds))
            .map(|nanoseconds| Duration::from_nanos(nanoseconds as u64))
            .ok_or("connection.json: invalid duration in dial_timeout")?,
        Some(serde_json::Value::String(text)) => {
            let text = fill("dial_timeout", text)?;
            if text.is_empty() {
                DIAL_TIMEOUT
            } else {
                konsort_node::parse_duration(&text).ok_or_else(|| {
                    format!("connection.json: invalid duration {text:?} in dial_timeout, write it as \"10s\"")
                })?
            }
        }
        Some(_) => return Err("connection.json: invalid duration in dial_timeout".into()),
    };
    let dial_timeout = if dial_timeout.is_zero() { DIAL_TIMEOUT } else { dial_timeout };
    if !connection.tls_required {
        return Ok(ServerAddress { address, dial_timeout, tls: None });
    }
    let (key, certificate, root) = (
        fill("client_key", &connection.client_key)?,
        fill("client_cert", &connection.client_cert)?,
        fill("root_cert", &connection.root_cert)?,
    );
    if connection.client_auth_required && key.is_empty() {
        return Err("chaincode tls key not provided".into());
    }
    if connection.client_auth_required && certificate.is_empty() {
        return Err("chaincode tls cert not provided".into());
    }
    if root.is_empty() {
        return Err("chaincode tls root cert not provided".into());
    }
    let tls = ServerTls {
        root,
        identity: connection.client_auth_required.then_some((certificate, key)),
        server_name: (!connection.domain.is_empty()).then_some(connection.domain),
    };
    Ok(ServerAddress { address, dial_timeout, tls: Some(tls) })
}

/// Replaces `{{.name}}` and `{{.outer.inner}}`; other template actions are refused.
fn fill_template(text: &str, values: &serde_json::Value) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (action, after) = after.split_once("}}").ok_or("a template is not closed with }}")?;
        filled.push_str(before);
        let path = action
            .trim()
            .strip_prefix('.')
            .ok_or_else(|| format!("the template {{{{{action}}}}} is not of the form {{{{.name}}}}"))?;
        let value = path.split('.').try_fold(values, |value, name| value.get(name));
        match value {
            Some(serde_json::Value::String(value)) => filled.push_str(value),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => {
                filled.push_str(&value.to_string());
            }
            _ => return Err(format!("no value for {{{{.{path}}}}}: set it in the JSON object of {TEMPLATE_VARIABLE}")),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ServerAddress, String> {
        parse_connection(text.as_bytes(), Some(r#"{"peername":"peer0","port":9999,"deep":{"er":"x"}}"#))
    }

    #[test]
    fn addresses_timeouts_and_templates() {
        let plain = parse(r#"{"address":"cc:9999","dial_timeout":"10s","tls_required":false}"#).unwrap();
        assert_eq!(
            (plain.address.as_str(), plain.dial_timeout, plain.tls.is_none()),
            ("cc:9999", Duration::from_secs(10), true)
        );
        assert_eq!(
            parse(r#"{"address":"a:1","dial_timeout":2000000000}"#).unwrap().dial_timeout,
            Duration::from_secs(2)
        );
        assert_eq!(parse(r#"{"address":"a:1"}"#).unwrap().dial_timeout, DIAL_TIMEOUT);
        assert_eq!(parse(r#"{"address":"{{.peername}}_basic:{{ .port }}"}"#).unwrap().address, "peer0_basic:9999");
        assert_eq!(parse(r#"{"address":"{{.deep.er}}:1"}"#).unwrap().address, "x:1");
    }

    #[test]
    fn tls_fields() {
        let full = parse(
            r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"client_key":"K","client_cert":"C","root_cert":"R","domain":"d"}"#,
        )
        .unwrap()
        .tls
        .unwrap();
        assert_eq!((full.root.as_str(), full.server_name.as_deref()), ("R", Some("d")));
        assert_eq!(full.identity, Some(("C".to_owned(), "K".to_owned())));
    }

    #[test]
    fn what_is_missing_is_named_as_upstream_names_it() {
        for (text, expected) in [
            ("{}", "chaincode address not provided"),
            (r#"{"address":"a:1","tls_required":true,"client_auth_required":true}"#, "chaincode tls key not provided"),
            (
                r#"{"address":"a:1","tls_required":true,"client_auth_required":true,"client_key":"K"}"#,
                "chaincode tls cert not provided",
            ),
            (r#"{"address":"a:1","tls_required":true}"#, "chaincode tls root cert not provided"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        assert!(parse("[").unwrap_err().starts_with("malformed chaincode info"));
        assert!(parse(r#"{"address":"a:1","dial_timeout":true}"#).unwrap_err().contains("invalid duration"));
        assert!(parse(r#"{"address":"{{.nobody}}:1"}"#).unwrap_err().contains("{{.nobody}}"));
        assert!(parse(r#"{"address":"{{.peername:1"}"#).unwrap_err().contains("not closed"));
    }
}
