//! The organisations of a channel.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use fabric_proto::common::MspPrincipal;
use fabric_proto::msp::SerializedIdentity;
use konsort_crypto::{EcdsaSignature, pem};
use konsort_pki::Certificate;
use parking_lot::RwLock;

use super::organization::decode_identity;
use super::{Identity, Msp, MspError};

/// Identities remembered per channel. At about 4 KiB each this bounds the memory at a few MiB, far above the number of
/// submitters that are active at the same time.
const MAX_IDENTITIES: usize = 2_048;

struct Inner {
    msps: BTreeMap<String, Msp>,
    identities: RwLock<HashMap<Bytes, Arc<Identity>>>,
}

/// The organisations of a channel and the identities seen so far. Cloning shares both; a configuration update makes a
/// new manager, and with it forgets every earlier judgement.
#[derive(Clone)]
pub struct MspManager(Arc<Inner>);

impl MspManager {
    /// A manager of these organisations; of two with the same name the later counts.
    pub fn new(msps: Vec<Msp>) -> Self {
        let msps = msps.into_iter().map(|msp| (msp.name().to_owned(), msp)).collect();
        Self(Arc::new(Inner { msps, identities: RwLock::default() }))
    }

    /// One organisation.
    pub fn msp(&self, mspid: &str) -> Option<&Msp> {
        self.0.msps.get(mspid)
    }

    /// All organisations, sorted by name.
    pub fn msps(&self) -> impl Iterator<Item = &Msp> {
        self.0.msps.values()
    }

    /// Reads a serialized identity of any organisation of the channel; remembered by its exact bytes. Failures are not
    /// remembered, so that nobody can push good identities out with bad ones.
    pub fn deserialize(&self, bytes: &Bytes) -> Result<Arc<Identity>, MspError> {
        if let Some(known) = self.0.identities.read().get(bytes) {
            return Ok(known.clone());
        }
        let decoded = decode_identity(bytes)?;
        let msp = self.msp(&decoded.mspid).ok_or(MspError::UnknownMsp(decoded.mspid))?;
        let identity = msp.identity(&decoded.id_bytes, bytes)?;
        let mut identities = self.0.identities.write();
        if identities.len() >= MAX_IDENTITIES {
            // Rare enough that dropping an arbitrary half is as good as any bookkeeping on every hit.
            let mut keep = false;
            identities.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        Ok(identities.entry(identity.serialized().clone()).or_insert(identity).clone())
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.0.identities.read().len()
    }

    /// Whether the identity is a valid member of its organisation in this channel.
    pub fn validate(&self, identity: &Identity) -> Result<(), MspError> {
        self.msp(identity.mspid()).ok_or_else(|| MspError::UnknownMsp(identity.mspid().to_owned()))?.validate(identity)
    }

    /// Whether the identity satisfies a principal, judged by the identity's own organisation in this channel.
    pub fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), MspError> {
        self.msp(identity.mspid())
            .ok_or_else(|| MspError::UnknownMsp(identity.mspid().to_owned()))?
            .satisfies(identity, principal)
    }

    /// Whether the identity has the only accepted form: one PEM block without anything after it, of a certificate with
    /// a signature in exact DER. Used where identities are compared by their bytes.
    pub fn is_well_formed(&self, identity: &SerializedIdentity) -> Result<(), MspError> {
        if self.0.msps.is_empty() {
            return Err(MspError::Setup("no MSP provider recognizes the identity".into()));
        }
        well_formed(identity)
            .map_err(|reason| MspError::Setup(format!("no MSP provider recognizes the identity: {reason}")))
    }
}

fn well_formed(identity: &SerializedIdentity) -> Result<(), String> {
    let Some((block, rest)) = pem::decode(&identity.id_bytes) else {
        return Err("PEM decoding resulted in an empty block".into());
    };
    if !rest.is_empty() {
        return Err(format!("identity for MSP {} has trailing bytes", identity.mspid));
    }
    if block.label != "CERTIFICATE" && !block.label.is_empty() {
        return Err(format!("pem type is {}, should be 'CERTIFICATE' or missing", block.label));
    }
    let certificate = Certificate::from_der(&block.contents).map_err(|error| error.to_string())?;
    if certificate.is_ecdsa_signed() {
        let signature = EcdsaSignature::decode(certificate.signature()).map_err(|error| error.to_string())?;
        if !signature.canonical {
            return Err(format!("identity for MSP {} has a non canonical signature", identity.mspid));
        }
    }
    Ok(())
}

impl fmt::Debug for MspManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.msps.keys()).finish()
    }
}
