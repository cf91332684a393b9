//! Who called.

use std::collections::BTreeMap;

use bytes::Bytes;
use fabric_proto::msp::SerializedIdentity;
use konsort_pki::Certificate;
use prost::Message as _;
use serde::Deserialize;

use crate::error::ShimError;

/// The identity that signed the proposal.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    mspid: String,
    certificate: Certificate,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Attributes {
    attrs: BTreeMap<String, String>,
}

impl ClientIdentity {
    /// Reads a serialized identity.
    pub fn from_creator(creator: Bytes) -> Result<Self, ShimError> {
        let failed = |cause: String| ShimError::Argument(format!("failed to read the identity of the caller: {cause}"));
        let identity = SerializedIdentity::decode(creator).map_err(|error| failed(error.to_string()))?;
        let certificate = Certificate::from_pem(&identity.id_bytes).map_err(|error| failed(error.to_string()))?;
        let attributes = match certificate.fabric_attributes() {
            None => BTreeMap::new(),
            Some(json) => {
                serde_json::from_slice::<Attributes>(json)
                    .map_err(|error| failed(format!("its attributes: {error}")))?
                    .attrs
            }
        };
        Ok(Self { mspid: identity.mspid, certificate, attributes })
    }

    /// The MSP id.
    pub fn mspid(&self) -> &str {
        &self.mspid
    }

    /// The X.509 certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// An id unique within the MSP: base64 of `x509::SUBJECT::ISSUER`, as the other shims give it.
    pub fn id(&self) -> String {
        use base64::Engine as _;
        let text = format!("x509::{}::{}", self.certificate.subject(), self.certificate.issuer());
        base64::engine::general_purpose::STANDARD.encode(text)
    }

    /// An attribute that the certificate authority wrote into the certificate.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// Fails unless the attribute has this value.
    pub fn assert_attribute(&self, name: &str, value: &str) -> Result<(), ShimError> {
        match self.attribute(name) {
            None => Err(ShimError::Argument(format!("attribute '{name}' was not found"))),
            Some(found) if found == value => Ok(()),
            Some(found) => Err(ShimError::Argument(format!("attribute '{name}' equals '{found}', not '{value}'"))),
        }
    }
}
