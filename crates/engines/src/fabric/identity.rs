//! Identities: issued with the authority that was made with the network, revoked by a list in every channel's configuration.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use fabric_client::cryptogen;
use konsort_pki::{Certificate, Crl, CrlTemplate, key_file};
use serde_json::{Map, Value, json};

use super::connect::Net;
use super::files::{self, REVOKED};
use super::layout::{failed, invalid, io, organisation, read, write};
use crate::EngineError;
use crate::call::Download;
use crate::identity::{IdentityRecord, Trust};
use crate::spec::{NodeSpec, OrganisationSpec};

/// A file of this network's folder that does not hold what it should.
fn unreadable(error: impl std::error::Error) -> EngineError {
    EngineError::Io { what: "read the network's folder".into(), source: std::io::Error::other(error.to_string()) }
}

/// Checks the name and role of an identity to be issued.
pub(super) fn check(name: &str, role: &str) -> Result<(), EngineError> {
    let letters = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if name.is_empty() || name.len() > 64 || !letters || name.starts_with(['.', '-']) {
        return Err(invalid("name", "use 1 to 64 letters, digits, dots, dashes and underscores"));
    }
    unit(role).map(|_| ())
}

/// The organisational unit of a role. An auditor is a client by certificate; what it may do is up to policies.
fn unit(role: &str) -> Result<&'static str, EngineError> {
    match role {
        "client" | "auditor" => Ok("client"),
        "admin" => Ok("admin"),
        _ => Err(invalid("role", "use client, admin or auditor")),
    }
}

impl Net<'_> {
    /// Issues an identity, or finds it issued.
    pub(super) fn issue(
        &self,
        organisation: &OrganisationSpec,
        name: &str,
        role: &str,
    ) -> Result<Map<String, Value>, EngineError> {
        check(name, role)?;
        let folder = self.layout().organisation(organisation);
        self.authority(organisation)?;
        let msp = self.layout().user(organisation, name).join("msp");
        if msp.is_dir() {
            let known = certificate(&msp)?;
            if self.revoked(organisation)?.is_some_and(|list| list.is_revoked(known.serial())) {
                return Err(invalid("name", format!("{name} was revoked; choose another name")));
            }
            if known.organizational_units().first().map(String::as_str) != Some(unit(role)?) {
                return Err(invalid("role", format!("{name} was issued with another role; choose another name")));
            }
        }
        let made =
            cryptogen::issue_user(&folder, &organisation.domain, name, unit(role)?).map_err(failed("identity"))?;
        let certificate = certificate(&made.join("msp"))?;
        Ok(serde_json::from_value(json!({
            "identity": format!("{name}@{}", organisation.domain),
            "mspid": organisation.msp(),
            "serial": certificate.serial_decimal(),
            "not_after": konsort_pki::time::rfc3339(certificate.not_after()),
        }))
        .unwrap_or_default())
    }

    /// The folder of an organisation's authority, whose key is kept only where the network was made.
    fn authority(&self, organisation: &OrganisationSpec) -> Result<PathBuf, EngineError> {
        let folder = self.layout().organisation(organisation).join("ca");
        if folder.is_dir() {
            return Ok(folder);
        }
        Err(EngineError::Unsupported(format!(
            "the authority of {} is not here; issue and revoke its identities where its key is kept",
            organisation.name
        )))
    }

    /// Puts an identity on its organisation's revocation list, in the folder from which new channels are made too.
    pub(super) fn list_revoked(&self, organisation: &OrganisationSpec, name: &str) -> Result<(), EngineError> {
        check(name, "client")?;
        let folder = self.layout().user(organisation, name).join("msp");
        if !folder.is_dir() {
            return Err(EngineError::NotFound { what: format!("the identity {name} of {}", organisation.name) });
        }
        let authority = self.authority(organisation)?;
        let serial = certificate(&folder)?.serial().to_vec();
        let list_path = self.layout().msp(organisation).join(REVOKED);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut revoked = Vec::new();
        let known = self.revoked(organisation)?;
        if known.as_ref().is_some_and(|known| known.is_revoked(&serial)) {
            return self.hand_out(organisation);
        }
        if let Some(known) = known {
            revoked.extend(known.revoked().iter().map(|serial| (serial.clone(), known.this_update())));
        }
        revoked.push((serial, now));
        let key = key_file::read(&authority.join("priv_sk")).map_err(failed("revocation list"))?;
        let issuer = Certificate::from_pem(&read(&pem_in(&authority)?)?).map_err(unreadable)?;
        let number = revoked.len() as u64;
        let template = CrlTemplate { revoked, this_update: now, next_update: None, number };
        let list = template.issue(&issuer, &key).map_err(failed("revocation list"))?;
        write(&list_path, list.pem().as_bytes())?;
        self.hand_out(organisation)
    }

    /// Gives the revocation list of an organisation to its nodes.
    fn hand_out(&self, organisation: &OrganisationSpec) -> Result<(), EngineError> {
        let own = |node: &&NodeSpec| node.external.is_none() && node.organisation == organisation.name;
        let mut own = self.spec().nodes.iter().filter(own);
        own.try_for_each(|node| files::revocations(&self.layout(), organisation, node))
    }
}

impl Net<'_> {
    /// Every identity of every organisation whose certificate is here.
    pub(super) fn identities(&self) -> Result<Vec<IdentityRecord>, EngineError> {
        let mut records = Vec::new();
        for organisation in &self.spec().organisations {
            let revoked = self.revoked(organisation)?;
            let users = self.layout().organisation(organisation).join("users");
            let Ok(entries) = std::fs::read_dir(&users) else { continue };
            let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            folders.sort();
            for folder in folders {
                let file_name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let Some(name) = file_name.strip_suffix(&format!("@{}", organisation.domain)) else { continue };
                if name.starts_with('.') {
                    continue;
                }
                // One that cannot be read must not hide the others.
                let Ok(found) = certificate(&folder.join("msp")) else { continue };
                let role = match found.organizational_units().first().map(String::as_str) {
                    Some("admin") => "admin",
                    Some("peer" | "orderer") => "node",
                    _ => "client",
                };
                records.push(IdentityRecord {
                    organisation: organisation.name.clone(),
                    name: name.to_owned(),
                    role: role.to_owned(),
                    subject: found.subject().to_string(),
                    expires_at: Some(konsort_pki::time::rfc3339(found.not_after())),
                    revoked: revoked.as_ref().is_some_and(|list| list.is_revoked(found.serial())),
                });
            }
        }
        Ok(records)
    }

    fn revoked(&self, organisation: &OrganisationSpec) -> Result<Option<Crl>, EngineError> {
        let path = self.layout().msp(organisation).join(REVOKED);
        if !path.exists() {
            return Ok(None);
        }
        Crl::from_bytes(&read(&path)?).map(Some).map_err(unreadable)
    }

    /// Certificate, key and authority of an identity, for the application or person it was issued to.
    pub(super) fn identity_files(
        &self,
        organisation: &OrganisationSpec,
        name: &str,
    ) -> Result<Vec<Download>, EngineError> {
        check(name, "client")?;
        let msp = self.layout().user(organisation, name).join("msp");
        if !msp.is_dir() {
            return Err(EngineError::NotFound { what: format!("the identity {name} of {}", organisation.name) });
        }
        let keystore = msp.join("keystore");
        let found = certificate(&msp)?;
        let key = key_file::find_by_ski(&keystore, &found.public_key().ski())
            .map_err(unreadable)?
            .ok_or_else(|| EngineError::NotFound { what: format!("the private key of {name}") })?;
        let file = |name: &str, bytes: Vec<u8>| Download {
            name: name.to_owned(),
            media_type: "application/x-pem-file".into(),
            bytes,
        };
        Ok(vec![
            file("cert.pem", found.pem().into_bytes()),
            file("key.pem", key.to_pkcs8_pem().as_bytes().to_vec()),
            file("ca.pem", read(&pem_in(&self.layout().msp(organisation).join("cacerts"))?)?),
            file("tls-ca.pem", self.tls_roots(organisation)?),
        ])
    }

    /// Lays out what is needed to use a network that somebody else runs, as if it had been made here.
    pub(super) fn import(&self, trust: &[Trust]) -> Result<(), EngineError> {
        let mut domains = std::collections::BTreeSet::new();
        for (index, given) in trust.iter().enumerate() {
            let organisation = organisation(self.spec(), &given.organisation)?;
            let domain = &organisation.domain;
            // It names the folder with the organisation's keys.
            if domain.is_empty()
                || domain.starts_with('.')
                || domain.contains(['/', '\\'])
                || !domains.insert(domain.to_ascii_lowercase())
            {
                let why = "every organisation needs a name of its own, whatever the case of its letters";
                return Err(invalid(format!("trust[{index}].organisation"), why));
            }
            let field = |name: &str| format!("trust[{index}].{name}");
            let pem = |name: &str, text: &Option<String>| -> Result<Option<Vec<Certificate>>, EngineError> {
                let Some(text) = text.as_ref().filter(|text| !text.trim().is_empty()) else { return Ok(None) };
                Certificate::all_from_pem(text.as_bytes())
                    .ok()
                    .filter(|all| !all.is_empty())
                    .map(Some)
                    .ok_or_else(|| invalid(field(name), "it is no certificate in PEM form"))
            };
            let ca =
                pem("ca", &given.ca)?.ok_or_else(|| invalid(field("ca"), "the organisation's authority is needed"))?;
            let tls = pem("tls_ca", &given.tls_ca)?.unwrap_or_else(|| ca.clone());
            let mut folders = vec![self.layout().msp(organisation)];
            let user = self.layout().user(organisation, "Admin").join("msp");
            match (pem("certificate", &given.certificate)?, &given.key) {
                (None, None) => {}
                (Some(certificates), Some(key)) => {
                    let key = konsort_crypto::PrivateKey::from_pem(key)
                        .map_err(|error| invalid(field("key"), error.to_string()))?;
                    if certificates[0].public_key() != key.public_key() {
                        return Err(invalid(field("key"), "it does not belong to the certificate"));
                    }
                    std::fs::create_dir_all(user.join("keystore")).map_err(io("make", &user))?;
                    key_file::write(&user.join("keystore/priv_sk"), &key).map_err(failed("key file"))?;
                    write(&user.join("signcerts/cert.pem"), certificates[0].pem().as_bytes())?;
                    folders.push(user);
                }
                (None, Some(_)) => return Err(invalid(field("certificate"), "the key's certificate is missing")),
                (Some(_), None) => return Err(invalid(field("key"), "the certificate's key is missing")),
            }
            for folder in folders {
                for (place, certificates) in [("cacerts", &ca), ("tlscacerts", &tls)] {
                    for (number, certificate) in certificates.iter().enumerate() {
                        write(&folder.join(place).join(format!("{number}.pem")), certificate.pem().as_bytes())?;
                    }
                }
                write(&folder.join("config.yaml"), NODE_UNITS.as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Roles by organisational unit, as nearly every network of this kind has them; without a certifier, so that any authority of
/// the organisation may give them.
const NODE_UNITS: &str = "NodeOUs:
    Enable: true
    ClientOUIdentifier: {OrganizationalUnitIdentifier: client}
    PeerOUIdentifier: {OrganizationalUnitIdentifier: peer}
    AdminOUIdentifier: {OrganizationalUnitIdentifier: admin}
    OrdererOUIdentifier: {OrganizationalUnitIdentifier: orderer}
";

/// The first certificate file of a folder.
fn pem_in(folder: &std::path::Path) -> Result<PathBuf, EngineError> {
    std::fs::read_dir(folder)
        .map_err(io("read", folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .ok_or_else(|| EngineError::NotFound { what: format!("a certificate in {}", folder.display()) })
}

fn certificate(msp: &std::path::Path) -> Result<Certificate, EngineError> {
    let path = pem_in(&msp.join("signcerts"))?;
    Certificate::from_pem(&read(&path)?).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else_and_roles_are_known() {
        assert!(check("alice", "client").is_ok() && check("a.b-c_1", "auditor").is_ok());
        for name in ["", "../eve", ".hidden", "a b", "a/b", "名字"] {
            assert!(check(name, "client").is_err(), "{name}");
        }
        assert!(check("alice", "peer").is_err());
    }
}
