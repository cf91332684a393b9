//! Who this peer is.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::msp::{Identity, Msp, MspError, MspVersion, SigningIdentity};

use crate::channel::Channels;
use crate::gossip::Notary;

/// The peer's own identity and its organisation's members, for acts that belong to no channel. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Local {
    signer: SigningIdentity,
    msp: Msp,
}

impl Local {
    /// Reads the MSP folder.
    pub fn open(folder: &Path, mspid: &str) -> Result<Self, MspError> {
        let msp = Msp::from_folder(folder, mspid, MspVersion::V3_0)?;
        Ok(Self { signer: SigningIdentity::from_folder(folder, mspid)?, msp })
    }

    /// The peer's key and certificate.
    pub fn signer(&self) -> &SigningIdentity {
        &self.signer
    }

    /// Its organisation's members.
    pub fn msp(&self) -> &Msp {
        &self.msp
    }

    /// Its organisation.
    pub fn mspid(&self) -> &str {
        self.signer.mspid()
    }

    /// Its serialized identity.
    pub fn serialized(&self) -> Bytes {
        self.signer.serialized().clone()
    }
}

/// Signs gossip and judges other peers by the local MSP and those of all channels.
#[derive(Debug)]
pub(crate) struct GossipNotary {
    pub(crate) local: Local,
    pub(crate) channels: Channels,
}

impl GossipNotary {
    fn identity_of(&self, serialized: &Bytes) -> Option<Arc<Identity>> {
        let own = self.local.msp();
        if let Ok(identity) = own.deserialize(serialized)
            && own.validate(&identity).is_ok()
        {
            return Some(identity);
        }
        self.channels.list().iter().find_map(|channel| {
            let bundle = channel.bundle();
            let identity = bundle.msp_manager().deserialize(serialized).ok()?;
            bundle.msp_manager().validate(&identity).ok()?;
            Some(identity)
        })
    }
}

impl Notary for GossipNotary {
    fn identity(&self) -> Bytes {
        self.local.serialized()
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        self.local.signer().sign(message).into()
    }

    fn verify(&self, identity: &Bytes, message: &[u8], signature: &[u8]) -> bool {
        self.identity_of(identity).is_some_and(|identity| identity.verify(message, signature).is_ok())
    }

    fn organization(&self, identity: &Bytes) -> Option<String> {
        self.identity_of(identity).map(|identity| identity.mspid().to_owned())
    }
}
