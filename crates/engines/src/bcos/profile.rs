//! What applications and other platforms need to connect: configuration, certificates, accounts.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::plan::invalid;
use super::rpc::first;
use super::send::contract;
use super::{Bcos, accounts, files};
use crate::call::Download;
use crate::identity::{IdentityRecord, Trust};
use crate::spec::NodeSpec;
use crate::{EngineError, Place};

/// Certificates and keys are short.
const MOST_PEM: usize = 1 << 20;

/// `config.toml` of upstream's Java SDK, whose settings its other SDKs share.
fn config_toml(group: &str, peers: &[String], tls: bool) -> String {
    let list: Vec<String> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
    let mut text = String::new();
    let _ = write!(
        text,
        r#"[cryptoMaterial]
# The folder of ca.crt, sdk.crt and sdk.key.
certPath = "conf"
disableSsl = "{plain}"
useSMCrypto = "false"

[network]
messageTimeout = "10000"
defaultGroup = "{group}"
peers = [{peers}]

[account]
keyStoreDir = "account"
accountFileFormat = "pem"

[threadPool]
# Threads that handle answers; default: as many as there are cores.
# threadPoolSize = "8"
"#,
        plain = !tls,
        peers = list.join(", "),
    );
    text
}

impl Bcos {
    pub(super) fn profile(place: Place<'_>, organisation: &str) -> Result<Download, EngineError> {
        let absent = || EngineError::NotFound { what: format!("the organisation {organisation}") };
        let spec = place.spec;
        let found = spec.organisations.iter().find(|known| known.name == organisation).ok_or_else(absent)?;
        let address = |node: &NodeSpec| match &node.external {
            Some(external) => external.get("rpc").cloned(),
            None => node.ports.get("rpc").map(|port| place.driver.reachable(&super::reference(spec, &node.id), *port)),
        };
        let mut peers: Vec<String> =
            spec.nodes.iter().filter(|node| node.organisation == found.name).filter_map(&address).collect();
        let own = !peers.is_empty();
        if !own {
            // An organisation without nodes uses the others', and has to trust their authorities.
            peers = spec.nodes.iter().filter_map(&address).collect();
        }
        let sdk = files::sdk(place.folder, &found.name);
        let tls = sdk.join("ca.crt").exists();
        let group =
            spec.channels.iter().find(|group| group.organisations.contains(&found.name)).or(spec.channels.first());
        let group = group.map_or("group0", |group| group.name.as_str());
        let mut parts = vec![("config.toml".to_owned(), config_toml(group, &peers, tls).into_bytes())];
        if tls {
            let mut authorities = files::read(&sdk.join("ca.crt"))?;
            for other in spec.organisations.iter().filter(|other| !own && other.name != found.name) {
                if let Ok(more) = std::fs::read_to_string(files::sdk(place.folder, &other.name).join("ca.crt")) {
                    authorities.push_str(&more);
                }
            }
            parts.push(("conf/ca.crt".to_owned(), authorities.into_bytes()));
            for name in ["sdk.crt", "sdk.key"] {
                if sdk.join(name).exists() {
                    parts.push((format!("conf/{name}"), files::read(&sdk.join(name))?.into_bytes()));
                }
            }
        }
        let bytes = packed(&parts).map_err(|error| EngineError::Io {
            what: "pack the connection profile".into(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(Download { name: format!("{organisation}-bcos.zip"), media_type: "application/zip".into(), bytes })
    }

    pub(super) fn all_identities(place: Place<'_>) -> Vec<IdentityRecord> {
        let all = accounts::accounts(place.folder).into_iter().map(|account| IdentityRecord {
            role: if account.name == accounts::ADMINISTRATOR { "admin" } else { "account" }.to_owned(),
            organisation: account.organisation,
            name: account.name,
            subject: account.address,
            expires_at: None,
            revoked: false,
        });
        all.collect()
    }

    pub(super) fn identity(place: Place<'_>, organisation: &str, name: &str) -> Result<Vec<Download>, EngineError> {
        let pem = accounts::account_pem(place.folder, organisation, name)?;
        Ok(vec![Download {
            name: format!("{name}.pem"),
            media_type: "application/x-pem-file".into(),
            bytes: pem.into_bytes(),
        }])
    }

    /// Keeps what is needed to use a chain that somebody else runs. Without an authority its nodes are called without TLS.
    pub(super) fn imported(place: Place<'_>, trust: &[Trust]) -> Result<(), EngineError> {
        for (at, one) in trust.iter().enumerate() {
            let field = |name: &str| format!("trust[{at}].{name}");
            if !place.spec.organisations.iter().any(|known| known.name == one.organisation) {
                return Err(invalid(
                    field("organisation"),
                    format!("{:?} is no organisation of this network", one.organisation),
                ));
            }
            super::plan::check_account(&field("organisation"), &one.organisation)?;
            let Some(authority) = one.tls_ca.as_ref().or(one.ca.as_ref()) else { continue };
            let texts = [("ca", Some(authority)), ("certificate", one.certificate.as_ref()), ("key", one.key.as_ref())];
            for (name, text) in texts {
                if text.is_some_and(|text| text.len() > MOST_PEM) {
                    return Err(invalid(field(name), "this is longer than certificates and keys are"));
                }
            }
            konsort_pki::Certificate::all_from_pem(authority.as_bytes())
                .map_err(|error| invalid(field("ca"), error.to_string()))?;
            if one.certificate.is_some() != one.key.is_some() {
                return Err(invalid(field("key"), "a certificate and its key belong together; give both or none"));
            }
            let sdk = files::sdk(place.folder, &one.organisation);
            files::private_folder(&sdk)?;
            if let (Some(certificate), Some(key)) = (&one.certificate, &one.key) {
                konsort_node::TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes())
                    .map_err(|error| invalid(field("certificate"), error.to_string()))?;
                files::write(&sdk.join("sdk.crt"), certificate.as_bytes())?;
                let path = sdk.join("sdk.key");
                konsort_pki::key_file::write_secret(&path, key.as_bytes()).map_err(files::io("write", &path))?;
            }
            files::write(&sdk.join("ca.crt"), authority.as_bytes())?;
        }
        for organisation in &place.spec.organisations {
            accounts::issue(place.folder, &organisation.name, accounts::ADMINISTRATOR)?;
        }
        Ok(())
    }

    pub(super) async fn stored_interface(
        &self,
        place: Place<'_>,
        group: &str,
        name: &str,
    ) -> Result<Value, EngineError> {
        let address = if name.starts_with("0x") {
            contract(name)?
        } else {
            // A name in the chain's address book: `/apps/Asset/1.0` or `Asset/1.0`.
            let path = if name.starts_with('/') { name.to_owned() } else { format!("/apps/{name}") };
            let linked = self.linked(place, group, &path).await?;
            linked.ok_or_else(|| EngineError::NotFound { what: format!("a contract at {path}") })?
        };
        let clients = self.clients.of_group(place, group, None)?;
        let address = &address;
        let (code, abi) = first(&clients, |client| async move {
            let asked = [json!(address)];
            let (code, abi) = tokio::join!(
                client.call::<String>(group, "getCode", &asked),
                client.call::<String>(group, "getABI", &asked)
            );
            Ok((code?, abi?))
        })
        .await?;
        let size = code.trim_start_matches("0x").len() / 2;
        let abi: Value = serde_json::from_str(&abi).unwrap_or_default();
        if size == 0 && abi.is_null() {
            return Err(EngineError::NotFound { what: format!("a contract at {address}") });
        }
        Ok(json!({ "address": address, "abi": abi, "code_size": size }))
    }
}

fn packed(parts: &[(String, Vec<u8>)]) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in parts {
        let mode = if name == "conf/sdk.key" { 0o600 } else { 0o644 };
        writer.start_file(name.as_str(), SimpleFileOptions::default().unix_permissions(mode))?;
        writer.write_all(content)?;
    }
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_s_configuration_names_peers_and_group() {
        let text = config_toml("group1", &["127.0.0.1:1".into(), "[::1]:2".into()], true);
        assert!(text.contains("peers = [\"127.0.0.1:1\", \"[::1]:2\"]") && text.contains("defaultGroup = \"group1\""));
        assert!(text.contains("disableSsl = \"false\""));
    }
}
