//! Where everything of a network lies in its folder, and how files get there.
//!
//! ```text
//! crypto/ordererOrganizations/<domain>/…   certificates and keys, as cryptogen lays them out
//! crypto/peerOrganizations/<domain>/…
//! channels/<channel>.block                 genesis blocks
//! nodes/<id>/                              configuration and ledger of one node
//! contracts/<channel>/<name>/<sequence>-…/ package and definition of one deployment
//! contracts/<channel>/<name>/current       which of them was committed last
//! ```

use std::path::{Path, PathBuf};

use crate::EngineError;
use crate::spec::{NetworkSpec, NodeSpec, OrganisationSpec};

/// Paths inside a network's folder.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn crypto(&self) -> PathBuf {
        self.root.join("crypto")
    }

    pub(super) fn organisation(&self, organisation: &OrganisationSpec) -> PathBuf {
        let kind = if organisation.orders_only { "ordererOrganizations" } else { "peerOrganizations" };
        self.crypto().join(kind).join(&organisation.domain)
    }

    /// The MSP folder of an organisation without any private key.
    pub(super) fn msp(&self, organisation: &OrganisationSpec) -> PathBuf {
        self.organisation(organisation).join("msp")
    }

    /// A node's MSP and TLS folders.
    pub(super) fn node_crypto(&self, organisation: &OrganisationSpec, node: &NodeSpec) -> PathBuf {
        let kind = if node.is_orderer() { "orderers" } else { "peers" };
        self.organisation(organisation).join(kind).join(&node.hostname)
    }

    /// The folder of a user: `Admin`, `User1`, or a name that was issued later.
    pub(super) fn user(&self, organisation: &OrganisationSpec, name: &str) -> PathBuf {
        self.organisation(organisation).join("users").join(format!("{name}@{}", organisation.domain))
    }

    pub(super) fn node(&self, id: &str) -> PathBuf {
        self.root.join("nodes").join(id)
    }

    pub(super) fn genesis(&self, channel: &str) -> PathBuf {
        self.root.join("channels").join(format!("{channel}.block"))
    }

    /// What was deployed on a channel from here, a folder for each contract.
    pub(super) fn contracts(&self, channel: &str) -> PathBuf {
        self.root.join("contracts").join(channel)
    }
}

/// The organisation of a node.
pub(super) fn organisation_of<'a>(spec: &'a NetworkSpec, node: &NodeSpec) -> Result<&'a OrganisationSpec, EngineError> {
    organisation(spec, &node.organisation)
}

/// An organisation by its name, or else by its MSP id.
pub(super) fn organisation<'a>(spec: &'a NetworkSpec, name: &str) -> Result<&'a OrganisationSpec, EngineError> {
    let all = || spec.organisations.iter();
    all()
        .find(|organisation| organisation.name == name)
        .or_else(|| all().find(|organisation| organisation.mspid.as_deref() == Some(name)))
        .ok_or_else(|| EngineError::NotFound { what: format!("the organisation {name}") })
}

/// Something in a request that makes no sense.
pub(super) fn invalid(field: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::Invalid { field: field.into(), why: why.into() }
}

/// A step of making files that failed: by the file system's fault, such as a full disk, or else by what was asked for.
pub(super) fn failed<E: std::error::Error + 'static>(what: &str) -> impl FnOnce(E) -> EngineError {
    let what = what.to_owned();
    move |error| {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(found) = cause {
            if let Some(io) = found.downcast_ref::<std::io::Error>() {
                let source = std::io::Error::new(io.kind(), error.to_string());
                return EngineError::Io { what: format!("make the {what}"), source };
            }
            cause = found.source();
        }
        invalid(what, error.to_string())
    }
}

/// A failed file operation.
pub(super) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    let what = format!("{what} {}", path.display());
    move |source| EngineError::Io { what, source }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, EngineError> {
    std::fs::read(path).map_err(io("read", path))
}

/// Writes a file with its folder; it appears under its name only when it is complete.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), EngineError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io("make the folder", folder))?;
    }
    konsort_pki::key_file::write_secret(path, content).map_err(io("write", path))
}

/// Removes a file, if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all in it, if it is there.
pub(super) fn remove_folder(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use fabric_client::cryptogen;

    use super::*;

    #[test]
    fn a_disk_that_takes_nothing_is_no_fault_of_the_request() {
        let folder = tempfile::tempdir().unwrap();
        // Where a folder should be there is a file.
        let place = folder.path().join("crypto");
        std::fs::write(&place, b"").unwrap();
        let config = cryptogen::Config::parse("PeerOrgs: [{Name: Org1, Domain: org1.example.com}]").unwrap();
        let error = cryptogen::extend(&config, &place).map_err(failed("certificates")).unwrap_err();
        assert!(matches!(error, EngineError::Io { .. }), "{error:?}");
        let odd = cryptogen::Config::parse("PeerOrgs: [{Name: Org1, Domain: ../x}]").unwrap();
        let error = cryptogen::extend(&odd, &folder.path().join("other")).map_err(failed("certificates")).unwrap_err();
        assert!(matches!(error, EngineError::Invalid { .. }), "{error:?}");
    }
}
