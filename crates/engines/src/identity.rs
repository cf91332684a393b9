//! Identities that the platform holds keys of, and what is needed to trust a network that somebody else runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An identity: a certificate (Fabric) or an account (BCOS).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IdentityRecord {
    /// Name of its organisation.
    pub organisation: String,
    /// Its name within the organisation, as `signer` takes it: `Admin`, `User1`, `admin`.
    pub name: String,
    /// `admin`, `client`, `auditor`, `node` or `account`.
    pub role: String,
    /// BCOS: its address. Fabric: the certificate's subject.
    pub subject: String,
    /// End of its certificate, RFC 3339; none for an account.
    pub expires_at: Option<String>,
    /// Whether it was revoked.
    pub revoked: bool,
}

/// What proves who the nodes of one organisation are, and who we are to them; PEM texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Name of the organisation.
    pub organisation: String,
    /// Fabric: MSP id.
    #[serde(default)]
    pub mspid: Option<String>,
    /// Certificates of its authority: who signs its identities (Fabric), the chain's authority (BCOS).
    #[serde(default)]
    pub ca: Option<String>,
    /// Certificates that its nodes' TLS certificates are checked with; default: `ca`.
    #[serde(default)]
    pub tls_ca: Option<String>,
    /// Certificate of the identity (Fabric) or TLS client (BCOS) that the platform uses.
    #[serde(default)]
    pub certificate: Option<String>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<String>,
}
