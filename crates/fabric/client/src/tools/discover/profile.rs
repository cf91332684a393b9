//! The saved settings of `discover`: who asks, and how the peer is trusted.

use std::path::Path;

use fabric_channel::msp::SigningIdentity;
use konsort_crypto::PrivateKey;
use konsort_pki::Certificate;
use serde::{Deserialize, Serialize};

use super::arguments::Arguments;
use crate::Endpoint;
use crate::tools::connect::read;

/// The file's form, with upstream's keys.
#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Profile {
    version: i64,
    tlsconfig: TlsConfig,
    signerconfig: SignerConfig,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct TlsConfig {
    certpath: String,
    keypath: String,
    peercacertpath: String,
    timeout: String,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self { certpath: String::new(), keypath: String::new(), peercacertpath: String::new(), timeout: "0s".into() }
    }
}

#[derive(Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(default)]
struct SignerConfig {
    mspid: String,
    identitypath: String,
    keypath: String,
}

impl Profile {
    /// From the flags; files by their absolute names.
    pub(super) fn from_arguments(arguments: &Arguments) -> Result<Self, String> {
        let absolute = |path: &str| {
            if path.is_empty() {
                return Ok(String::new());
            }
            let listed = std::path::absolute(path).map_err(|error| format!("Failed listing {path}: {error}"))?;
            Ok::<_, String>(listed.display().to_string())
        };
        Ok(Self {
            version: 0,
            tlsconfig: TlsConfig {
                certpath: absolute(&arguments.tls_cert)?,
                keypath: absolute(&arguments.tls_key)?,
                peercacertpath: absolute(&arguments.peer_tls_ca)?,
                ..TlsConfig::default()
            },
            signerconfig: SignerConfig {
                mspid: arguments.msp.clone(),
                identitypath: absolute(&arguments.user_cert)?,
                keypath: absolute(&arguments.user_key)?,
            },
        })
    }

    fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("MSPID", &self.signerconfig.mspid),
            ("IdentityPath", &self.signerconfig.identitypath),
            ("KeyPath", &self.signerconfig.keypath),
        ] {
            if value.is_empty() {
                return Err(format!("{name} is mandatory and cannot be empty"));
            }
        }
        Ok(())
    }

    pub(super) fn save(&self, file: &str) -> Result<(), String> {
        self.check().map_err(|error| format!("config isn't valid: {error}"))?;
        let text = serde_yaml_ng::to_string(self).map_err(|error| format!("failed to marshal config: {error}"))?;
        std::fs::write(file, text).map_err(|error| format!("failed writing file {file}: {error}"))
    }

    pub(super) fn load(file: &str) -> Result<Self, String> {
        let text = read(Path::new(file))?;
        let profile: Self = serde_yaml_ng::from_slice(&text)
            .map_err(|error| format!("error unmarshalling YAML file {file}: {error}"))?;
        profile.check()?;
        Ok(profile)
    }

    pub(super) fn signer(&self) -> Result<SigningIdentity, String> {
        self.check()?;
        let SignerConfig { mspid, identitypath, keypath } = &self.signerconfig;
        let certificate = Certificate::from_pem(&read(Path::new(identitypath))?)
            .map_err(|error| format!("certificate {identitypath}: {error}"))?;
        let key = String::from_utf8(read(Path::new(keypath))?)
            .map_err(|_| format!("failed to decode PEM block from {keypath}"))?;
        let key =
            PrivateKey::from_pem(&key).map_err(|error| format!("failed to parse private key {keypath}: {error}"))?;
        SigningIdentity::from_parts(mspid, certificate, key).map_err(|error| error.to_string())
    }

    pub(super) fn endpoint(&self, server: &str) -> Result<Endpoint, String> {
        let TlsConfig { certpath, keypath, peercacertpath, .. } = &self.tlsconfig;
        if peercacertpath.is_empty() {
            return Ok(Endpoint::plain(server));
        }
        let mut endpoint = Endpoint::tls(server, read(Path::new(peercacertpath))?);
        if !certpath.is_empty() && !keypath.is_empty() {
            endpoint = endpoint.client_certificate(read(Path::new(certpath))?, read(Path::new(keypath))?);
        }
        Ok(endpoint)
    }
}
