//! Who this peer is.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::msp::{Msp, MspError, MspManager, MspVersion, SigningIdentity};

/// The peer's own identity and its organisation's members, for acts that belong to no channel.
#[derive(Clone, Debug)]
pub struct Local {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    signer: SigningIdentity,
    members: MspManager,
    mspid: String,
}

impl Local {
    /// Reads the MSP folder.
    pub fn open(folder: &Path, mspid: &str) -> Result<Self, MspError> {
        let msp = Msp::from_folder(folder, mspid, MspVersion::V3_0)?;
        let signer = SigningIdentity::from_folder(folder, mspid)?;
        Ok(Self::new(signer, MspManager::new(vec![msp])))
    }

    /// From parts.
    pub fn new(signer: SigningIdentity, members: MspManager) -> Self {
        let mspid = signer.mspid().to_owned();
        Self { inner: Arc::new(Inner { signer, members, mspid }) }
    }

    /// The peer's key and certificate.
    pub fn signer(&self) -> &SigningIdentity {
        &self.inner.signer
    }

    /// The members of its organisation.
    pub fn members(&self) -> &MspManager {
        &self.inner.members
    }

    /// Its organisation.
    pub fn mspid(&self) -> &str {
        &self.inner.mspid
    }

    /// Its serialized identity.
    pub fn serialized(&self) -> Bytes {
        self.inner.signer.serialized().clone()
    }
}
