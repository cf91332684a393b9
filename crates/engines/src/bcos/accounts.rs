//! Accounts whose keys the platform keeps: one file per account, readable by its owner only.

use std::path::{Path, PathBuf};

use konsort_crypto::{SuiteKey, SuiteKind};
use konsort_pki::key_file;
use serde::Serialize;

use super::files::{self, io};
use super::plan::{check_account, invalid};
use crate::spec::NetworkSpec;
use crate::{EngineError, Place};

/// The account that every organisation has from the start.
pub const ADMINISTRATOR: &str = "admin";

/// An account of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Name of its organisation.
    pub organisation: String,
    /// Its name.
    pub name: String,
    /// Its address, 0x and 40 hex digits.
    pub address: String,
}

fn folder(network: &Path) -> PathBuf {
    network.join("accounts")
}

fn path(network: &Path, organisation: &str, name: &str) -> Result<PathBuf, EngineError> {
    check_account("organisation", organisation)?;
    check_account("name", name)?;
    Ok(folder(network).join(organisation).join(format!("{name}.pem")))
}

/// The address of a key.
pub(super) fn address(key: &SuiteKey) -> String {
    format!("0x{}", hex::encode(key.address()))
}

/// Makes an account; one that is there already stays as it is.
pub(super) fn issue(network: &Path, organisation: &str, name: &str) -> Result<SuiteKey, EngineError> {
    let path = path(network, organisation, name)?;
    if path.exists() {
        return read(&path);
    }
    let key = SuiteKey::generate(SuiteKind::International);
    if let Some(parent) = path.parent() {
        files::private_folder(parent)?;
    }
    key_file::write_secret(&path, key.to_pem().as_bytes()).map_err(io("write", &path))?;
    Ok(key)
}

/// Forgets an account's key. What the account did stays on the ledger.
pub(super) fn revoke(network: &Path, organisation: &str, name: &str) -> Result<(), EngineError> {
    if name == ADMINISTRATOR {
        return Err(invalid(
            "name",
            "the organisation's administrator account cannot be forgotten; it signs changes of the network",
        ));
    }
    files::remove_file(&path(network, organisation, name)?)
}

fn read(path: &Path) -> Result<SuiteKey, EngineError> {
    let text = std::fs::read_to_string(path).map_err(io("read", path))?;
    SuiteKey::from_pem(&text).map_err(|error| EngineError::Io {
        what: format!("read the account's key in {}", path.display()),
        source: std::io::Error::other(error.to_string()),
    })
}

/// The accounts of a network, by organisation and name.
pub fn accounts(network: &Path) -> Vec<Account> {
    let mut found = Vec::new();
    let entries =
        |path: &Path| std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    for organisation in entries(&folder(network)) {
        let Some(organisation_name) = organisation.file_name().and_then(|name| name.to_str()) else { continue };
        for file in entries(&organisation) {
            let (Some("pem"), Some(name)) =
                (file.extension().and_then(|kind| kind.to_str()), file.file_stem().and_then(|name| name.to_str()))
            else {
                continue;
            };
            match read(&file) {
                Ok(key) => found.push(Account {
                    organisation: organisation_name.to_owned(),
                    name: name.to_owned(),
                    address: address(&key),
                }),
                Err(error) => tracing::warn!("an account cannot be used: {error}"),
            }
        }
    }
    found.sort_by(|a, b| (&a.organisation, &a.name).cmp(&(&b.organisation, &b.name)));
    found
}

/// The key of an account as PEM text, for a download.
pub fn account_pem(network: &Path, organisation: &str, name: &str) -> Result<String, EngineError> {
    let path = path(network, organisation, name)?;
    if !path.exists() {
        return Err(EngineError::NotFound { what: format!("the account {name} of {organisation}") });
    }
    std::fs::read_to_string(&path).map_err(io("read", &path))
}

/// Who signs: an account's name (of the organisation in question), `organisation/name`, or its address; without a wish the
/// administrator of the organisation in question, which is the first one when nobody says.
pub(super) fn signer(
    place: Place<'_>,
    organisation: Option<&str>,
    wish: Option<&str>,
) -> Result<SuiteKey, EngineError> {
    let organisation = match organisation {
        Some(name) => known_organisation(place.spec, name)?,
        None => place.spec.organisations.first().map_or("", |first| first.name.as_str()),
    };
    let wish = wish.map(str::trim).filter(|wish| !wish.is_empty()).unwrap_or(ADMINISTRATOR);
    let absent =
        || EngineError::NotFound { what: format!("the account {wish} (issue it first, or choose another signer)") };
    if wish.starts_with("0x") && wish.len() == 42 {
        let all = accounts(place.folder);
        let found = all.iter().find(|account| account.address.eq_ignore_ascii_case(wish)).ok_or_else(absent)?;
        return read(&path(place.folder, &found.organisation, &found.name)?);
    }
    let (organisation, name) = match wish.split_once('/') {
        Some((organisation, name)) => (known_organisation(place.spec, organisation)?, name),
        None => (organisation, wish),
    };
    let path = path(place.folder, organisation, name)?;
    if path.exists() {
        return read(&path);
    }
    // Platforms that know identities as people do say the administrator's name with a capital.
    if name.eq_ignore_ascii_case(ADMINISTRATOR) {
        return issue(place.folder, organisation, ADMINISTRATOR);
    }
    Err(absent())
}

fn known_organisation<'a>(spec: &'a NetworkSpec, name: &str) -> Result<&'a str, EngineError> {
    let found = spec.organisations.iter().find(|organisation| organisation.name == name);
    found
        .map(|found| found.name.as_str())
        .ok_or_else(|| EngineError::NotFound { what: format!("the organisation {name}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn accounts_are_kept_listed_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let key = issue(folder.path(), "Org1", "alice").unwrap();
        assert_eq!(issue(folder.path(), "Org1", "alice").unwrap().address(), key.address());
        let mode = std::fs::metadata(folder.path().join("accounts/Org1/alice.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        issue(folder.path(), "Org0", ADMINISTRATOR).unwrap();
        let names: Vec<String> = accounts(folder.path()).into_iter().map(|account| account.name).collect();
        assert_eq!(names, ["admin", "alice"]);
        assert!(account_pem(folder.path(), "Org1", "alice").unwrap().contains("PRIVATE KEY"));
        revoke(folder.path(), "Org1", "alice").unwrap();
        revoke(folder.path(), "Org1", "alice").unwrap();
        assert!(account_pem(folder.path(), "Org1", "alice").is_err());
        assert!(revoke(folder.path(), "Org1", "admin").is_err());
        assert!(issue(folder.path(), "..", "x").is_err() && issue(folder.path(), "Org1", "../x").is_err());
    }
}
