//! Organisations and identities in folders, laid out as cryptogen and the certificate authority's client make them.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use fabric_proto::msp::{FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier};
use serde::Deserialize;

use super::MspError;

/// Certificates, lists and `config.yaml` are small; a larger file is a mistake.
const MAX_FILE: u64 = 16 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct UnitYaml {
    #[serde(rename = "Certificate")]
    certificate: String,
    #[serde(rename = "OrganizationalUnitIdentifier")]
    unit: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NodeOusYaml {
    #[serde(rename = "Enable")]
    enable: bool,
    #[serde(rename = "ClientOUIdentifier")]
    client: Option<UnitYaml>,
    #[serde(rename = "PeerOUIdentifier")]
    peer: Option<UnitYaml>,
    #[serde(rename = "AdminOUIdentifier")]
    admin: Option<UnitYaml>,
    #[serde(rename = "OrdererOUIdentifier")]
    orderer: Option<UnitYaml>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ConfigYaml {
    #[serde(rename = "OrganizationalUnitIdentifiers")]
    units: Vec<UnitYaml>,
    #[serde(rename = "NodeOUs")]
    node_ous: Option<NodeOusYaml>,
}

fn read_file(path: &Path) -> Result<Bytes, MspError> {
    let fail = |reason: String| MspError::Folder(format!("could not read file {}: {reason}", path.display()));
    let length = fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(fail(format!("{length} bytes are more than the {MAX_FILE} allowed")));
    }
    fs::read(path).map(Bytes::from).map_err(|error| fail(error.to_string()))
}

/// Every PEM file of a folder, sorted by name; `None` when there is no such folder. Files that are not PEM are passed
/// over with a warning.
pub(super) fn pem_files(folder: &Path) -> Result<Option<Vec<Bytes>>, MspError> {
    if !folder.exists() {
        return Ok(None);
    }
    let entries = fs::read_dir(folder)
        .map_err(|error| MspError::Folder(format!("could not read directory {}: {error}", folder.display())))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            continue;
        }
        match read_file(&path) {
            Ok(contents) if konsort_crypto::pem::decode(&contents).is_some() => found.push(contents),
            Ok(_) => tracing::warn!(file = %path.display(), "no pem content in file, passed over"),
            Err(error) => tracing::warn!(file = %path.display(), %error, "file passed over"),
        }
    }
    Ok(Some(found))
}

/// The definition of an organisation as its folder gives it, without any private key: what goes into a channel's
/// configuration.
pub fn folder_config(folder: &Path, mspid: &str) -> Result<FabricMspConfig, MspError> {
    let authorities = folder.join("cacerts");
    let root_certs = pem_files(&authorities)?.ok_or_else(|| {
        MspError::Folder(format!(
            "could not load a valid ca certificate from directory {}: stat {}: no such file or directory",
            authorities.display(),
            authorities.display()
        ))
    })?;
    if root_certs.is_empty() {
        return Err(MspError::Folder(format!("no ca certificate found in directory {}", authorities.display())));
    }
    let optional = |name: &str| pem_files(&folder.join(name)).map(Option::unwrap_or_default);
    let tls_root_certs = optional("tlscacerts")?;
    let tls_intermediate_certs = if tls_root_certs.is_empty() { Vec::new() } else { optional("tlsintermediatecerts")? };
    let (units, node_ous) = read_config(folder)?;
    Ok(FabricMspConfig {
        name: mspid.to_owned(),
        root_certs,
        intermediate_certs: optional("intermediatecerts")?,
        admins: optional("admincerts")?,
        revocation_list: optional("crls")?,
        signing_identity: None,
        organizational_unit_identifiers: units,
        crypto_config: Some(FabricCryptoConfig {
            signature_hash_family: "SHA2".to_owned(),
            identity_identifier_hash_function: "SHA256".to_owned(),
        }),
        tls_root_certs,
        tls_intermediate_certs,
        fabric_node_ous: node_ous,
    })
}

fn read_config(folder: &Path) -> Result<(Vec<FabricOuIdentifier>, Option<FabricNodeOUs>), MspError> {
    let path = folder.join("config.yaml");
    if !path.exists() {
        return Ok((Vec::new(), None));
    }
    let fail = |what: &str, reason: String| {
        MspError::Folder(format!("failed {what} configuration file at [{}]: {reason}", path.display()))
    };
    let contents = read_file(&path).map_err(|error| fail("loading", error.to_string()))?;
    // An empty file is an empty configuration.
    let yaml: Option<ConfigYaml> =
        serde_yaml_ng::from_slice(&contents).map_err(|error| fail("unmarshalling", error.to_string()))?;
    let yaml = yaml.unwrap_or_default();
    let mut units = Vec::new();
    for unit in yaml.units {
        let file = folder.join(&unit.certificate);
        let certificate = read_file(&file).map_err(|error| {
            MspError::Folder(format!("failed loading OrganizationalUnit certificate at [{}]: {error}", file.display()))
        })?;
        units.push(FabricOuIdentifier { certificate, organizational_unit_identifier: unit.unit });
    }
    let node_ous = yaml.node_ous.filter(|node_ous| node_ous.enable).map(|node_ous| FabricNodeOUs {
        enable: true,
        client_ou_identifier: node_unit(folder, node_ous.client, "ClientOU"),
        peer_ou_identifier: node_unit(folder, node_ous.peer, "PeerOU"),
        admin_ou_identifier: node_unit(folder, node_ous.admin, "AdminOU"),
        orderer_ou_identifier: node_unit(folder, node_ous.orderer, "OrdererOU"),
    });
    Ok((units, node_ous))
}

/// A role's unit. A certificate that cannot be read is left out with a warning, which accepts any certifier.
fn node_unit(folder: &Path, unit: Option<UnitYaml>, role: &str) -> Option<FabricOuIdentifier> {
    let unit = unit.filter(|unit| !unit.unit.is_empty())?;
    let mut certificate = Bytes::new();
    if !unit.certificate.is_empty() {
        match read_file(&folder.join(&unit.certificate)) {
            Ok(contents) => certificate = contents,
            Err(error) => tracing::warn!(%error, role, "failed loading the certificate of a node unit"),
        }
    }
    Some(FabricOuIdentifier { certificate, organizational_unit_identifier: unit.unit })
}
