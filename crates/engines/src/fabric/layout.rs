//! Where everything of a network lies in its folder, and how files get there.
//!
//! ```text
//! crypto/ordererOrganizations/<domain>/…   certificates and keys, as cryptogen lays them out
//! crypto/peerOrganizations/<domain>/…
//! channels/<channel>.block                 genesis blocks
//! nodes/<id>/                              configuration and ledger of one node
//! contracts/<channel>.<name>/              package and definition of the deployment that is under way or was last
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

    /// What is known of a deployment.
    pub(super) fn contract(&self, channel: &str, name: &str) -> PathBuf {
        self.root.join("contracts").join(format!("{channel}.{name}"))
    }
}

/// The organisation of a node.
pub(super) fn organisation_of<'a>(spec: &'a NetworkSpec, node: &NodeSpec) -> Result<&'a OrganisationSpec, EngineError> {
    organisation(spec, &node.organisation)
}

/// An organisation by name or MSP id.
pub(super) fn organisation<'a>(spec: &'a NetworkSpec, name: &str) -> Result<&'a OrganisationSpec, EngineError> {
    spec.organisations
        .iter()
        .find(|organisation| organisation.name == name || organisation.mspid.as_deref() == Some(name))
        .ok_or_else(|| EngineError::NotFound { what: format!("the organisation {name}") })
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

/// Removes a folder with all in it, if it is there.
pub(super) fn remove_folder(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}
