//! Identities.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use konsort_crypto::{PublicKey, SignatureError};
use konsort_pki::Certificate;
use parking_lot::RwLock;

use super::{Msp, MspError};

/// Answers remembered per identity; a channel has a few dozen principals.
const MAX_REMEMBERED: usize = 512;

/// What names an identity: its organisation and the hash of its certificate with low S, in hex. Two serialized forms
/// with the same name count as one signer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId {
    /// Organisation.
    pub mspid: Arc<str>,
    /// Lower-case hex of the hash.
    pub id: String,
}

type Answers = HashMap<(i32, Bytes), Result<(), MspError>>;

/// A member of an organisation, as deserialized by its [`Msp`]. Its signature on the certificate was checked; whether it
/// is a valid member is [`Msp::validate`]'s answer.
pub struct Identity {
    pub(super) msp: Msp,
    pub(super) id: IdentityId,
    pub(super) certificate: Certificate,
    pub(super) serialized: Bytes,
    pub(super) chain: OnceLock<Result<Vec<Certificate>, MspError>>,
    pub(super) units: OnceLock<Vec<(String, Vec<u8>)>>,
    pub(super) validity: OnceLock<Result<(), MspError>>,
    answers: RwLock<Answers>,
}

impl Identity {
    pub(super) fn new(msp: Msp, id: IdentityId, certificate: Certificate, serialized: Bytes) -> Self {
        Self {
            msp,
            id,
            certificate,
            serialized,
            chain: OnceLock::new(),
            units: OnceLock::new(),
            validity: OnceLock::new(),
            answers: RwLock::default(),
        }
    }

    /// The organisation.
    pub fn mspid(&self) -> &str {
        &self.id.mspid
    }

    /// The name that decides whether two identities are one.
    pub fn id(&self) -> &IdentityId {
        &self.id
    }

    /// The certificate, its signature's S in the lower half.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        self.certificate.public_key()
    }

    /// The serialized identity as it was received.
    pub fn serialized(&self) -> &Bytes {
        &self.serialized
    }

    /// When the certificate ends, seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.certificate.not_after()
    }

    /// Checks a signature over `message` (not over a digest of it).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), MspError> {
        self.public_key().verify_hashed(self.msp.signature_hash()?, message, signature).map_err(|error| match error {
            SignatureError::Mismatch => MspError::BadSignature,
            other => MspError::Signature(other),
        })
    }

    /// Whether the identity is a valid member of its organisation; computed once.
    pub fn validate(&self) -> Result<(), MspError> {
        self.msp.validate(self)
    }

    /// A remembered answer, or the one computed now.
    pub(super) fn remember(
        &self,
        kind: i32,
        principal: &Bytes,
        answer: impl FnOnce() -> Result<(), MspError>,
    ) -> Result<(), MspError> {
        let key = (kind, principal.clone());
        if let Some(known) = self.answers.read().get(&key) {
            return known.clone();
        }
        let answer = answer();
        let mut answers = self.answers.write();
        if answers.len() >= MAX_REMEMBERED {
            answers.clear();
        }
        // A copy: the principal may be a slice of a whole block, which the memory of it must not keep alive.
        answers.insert((kind, Bytes::copy_from_slice(principal)), answer.clone());
        answer
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} {:?})", self.mspid(), self.certificate)
    }
}
