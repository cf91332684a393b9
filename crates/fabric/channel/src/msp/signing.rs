//! Identities with their private keys.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fabric_proto::msp::SerializedIdentity;
use konsort_crypto::{KeyKind, PrivateKey, PublicKey};
use konsort_pki::{Certificate, key_file};
use prost::Message;

use super::folder::pem_files;
use super::{Msp, MspError, MspVersion};
use crate::protoutil::Signer;

#[derive(Debug)]
struct Inner {
    mspid: String,
    certificate: Certificate,
    key: PrivateKey,
    serialized: Bytes,
}

/// An identity that can sign. Cloning shares it; printing it shows no secret.
#[derive(Debug, Clone)]
pub struct SigningIdentity(Arc<Inner>);

impl SigningIdentity {
    /// Loads the identity of an MSP folder: the certificate in `signcerts`, the key that belongs to it in `keystore`.
    /// The certificate must be a certificate of the organisation that the folder describes, and not expired.
    pub fn from_folder(folder: &Path, mspid: &str) -> Result<Self, MspError> {
        let folder_of_certificates = folder.join("signcerts");
        let shown = folder_of_certificates.display();
        let found = pem_files(&folder_of_certificates)?.ok_or_else(|| {
            MspError::Folder(format!(
                "could not load signing certificate from directory {shown}: stat {shown}: no such file or directory"
            ))
        })?;
        let Some(pem) = found.first() else {
            return Err(MspError::Folder(format!("no signing certificate found in directory {shown}")));
        };
        let certificate = Certificate::from_pem(pem)
            .map_err(|error| MspError::Folder(format!("could not read the signing certificate in {shown}: {error}")))?;
        let keystore = folder.join("keystore");
        let ski = certificate.public_key().ski();
        let key = key_file::find_by_ski(&keystore, &ski)
            .map_err(|error| MspError::Folder(error.to_string()))?
            .ok_or_else(|| {
                MspError::Folder(format!(
                    "no private key in {} belongs to the certificate in {shown} (key with SKI {} not found); copy the \
                     key that was made with the certificate there",
                    keystore.display(),
                    hex::encode(ski)
                ))
            })?;
        let msp = Msp::from_folder(folder, mspid, MspVersion::V3_0)?;
        let certificate = msp.0.sanitize(&certificate)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        if certificate.not_after() < now {
            return Err(MspError::Folder(format!(
                "signing identity expired {}s ago: {shown} must hold a renewed certificate",
                now - certificate.not_after()
            )));
        }
        Self::from_parts(mspid, certificate, key)
    }

    /// Puts an identity together.
    pub fn from_parts(mspid: &str, certificate: Certificate, key: PrivateKey) -> Result<Self, MspError> {
        if certificate.public_key() != key.public_key() {
            return Err(MspError::Folder(format!(
                "the private key does not belong to the certificate of {}",
                certificate.subject()
            )));
        }
        if key.kind() == KeyKind::Rsa {
            return Err(MspError::Folder(format!(
                "the certificate of {} has an RSA key, with which members do not sign; issue one with an ECDSA key",
                certificate.subject()
            )));
        }
        let identity = SerializedIdentity { mspid: mspid.to_owned(), id_bytes: certificate.pem().into() };
        let serialized = identity.encode_to_vec().into();
        Ok(Self(Arc::new(Inner { mspid: mspid.to_owned(), certificate, key, serialized })))
    }

    /// The organisation.
    pub fn mspid(&self) -> &str {
        &self.0.mspid
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        self.0.key.public_key()
    }

    /// The serialized identity, as it goes into headers.
    pub fn serialized(&self) -> &Bytes {
        &self.0.serialized
    }

    /// Signs a message (not a digest of it): ECDSA over SHA-256 with low S, or Ed25519.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.key.sign(message)
    }
}

impl Signer for SigningIdentity {
    fn serialized(&self) -> Bytes {
        self.0.serialized.clone()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.key.sign(message)
    }
}
