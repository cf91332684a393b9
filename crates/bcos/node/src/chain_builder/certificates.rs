//! TLS certificates as the chain's clients expect them: an RSA authority, and leafs that carry nothing but "no authority".

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use konsort_crypto::der::{Reader, strip_zeros};
use konsort_crypto::{KeyKind, PrivateKey, random_bytes};
use konsort_pki::{Certificate, CertificateTemplate, KeyUsage, Name, key_file};
use rayon::prelude::*;

use super::files::write_text;
use super::{BuildError, file_error, make_folder};

/// A hundred years, as upstream's tools issue.
const VALIDITY: i64 = 36_500 * 86_400;
/// Clocks of other hosts may be behind.
const BACKDATED: i64 = 86_400;

/// The chain's certificate authority.
pub(super) struct Authority {
    certificate: Certificate,
    key: PrivateKey,
    label: String,
}

/// A key with its certificate, not written yet.
pub(super) struct Issued {
    certificate: Certificate,
    key: PrivateKey,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn new_key(path: &Path) -> Result<PrivateKey, BuildError> {
    PrivateKey::generate(KeyKind::Rsa)
        .map_err(|error| BuildError::Certificate { path: path.to_path_buf(), reason: error.to_string() })
}

fn name(common: &str, organization: &str, unit: &str) -> Name {
    Name::common_name(common).with_organization([organization.to_owned()]).with_units([unit.to_owned()])
}

impl Authority {
    /// Makes a new one and writes it to `folder`.
    pub(super) fn make(chain: &str, folder: &Path) -> Result<Self, BuildError> {
        make_folder(folder)?;
        let label = format!("{chain}-{}", hex::encode(random_bytes::<4>()));
        let key = new_key(folder)?;
        let mut template = CertificateTemplate::ca(name(&label, &label, "chain"), now() - BACKDATED, now() + VALIDITY);
        template.key_usage = KeyUsage::CERT_SIGN | KeyUsage::CRL_SIGN;
        template.extended_key_usage.clear();
        let certificate = template
            .self_sign(&key)
            .map_err(|error| BuildError::Certificate { path: folder.join("ca.crt"), reason: error.to_string() })?;
        let path = folder.join("ca.key");
        key_file::write_secret(&path, key.to_pkcs8_pem().as_bytes()).map_err(file_error("write", &path))?;
        write_text(&folder.join("ca.crt"), &certificate.pem())?;
        Ok(Self { certificate, key, label })
    }

    /// Reads `ca.crt` and `ca.key`.
    pub(super) fn read(folder: &Path) -> Result<Self, BuildError> {
        let read = |name: &str| {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => Ok((path, bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Err(BuildError::Missing { path, hint: "name the folder of the chain's ca.crt and ca.key with -d" })
                }
                Err(error) => Err(file_error("read", &path)(error)),
            }
        };
        let (path, pem) = read("ca.crt")?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| BuildError::Certificate { path, reason: error.to_string() })?;
        let (path, pem) = read("ca.key")?;
        let wrong = |reason: String| BuildError::Certificate { path, reason };
        let pem = zeroize::Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
        let key = match PrivateKey::from_pem(&pem) {
            Ok(key) if key.public_key() == certificate.public_key() => key,
            Ok(_) => return Err(wrong("this key does not belong to the ca.crt beside it".into())),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let label = certificate.subject().cn().to_owned();
        Ok(Self { certificate, key, label })
    }

    /// Issues as many certificates for TLS as asked for, on all cores.
    pub(super) fn issue(&self, count: usize) -> Result<Vec<Issued>, BuildError> {
        let one = |_| {
            let key = new_key(Path::new("ssl.key"))?;
            let subject = name(&self.label, &self.label, "agency");
            let mut template = CertificateTemplate::leaf(subject, now() - BACKDATED, now() + VALIDITY);
            template.key_usage = KeyUsage::default();
            let certificate = template
                .issue(key.public_key(), &self.certificate, &self.key)
                .map_err(|error| BuildError::Certificate { path: "ssl.crt".into(), reason: error.to_string() })?;
            Ok(Issued { certificate, key })
        };
        (0..count).into_par_iter().map(one).collect()
    }
}

impl Issued {
    /// Writes `ca.crt`, `KIND.crt`, `KIND.key` and `KIND.nodeid` (the modulus in hex, by which upstream names partners).
    pub(super) fn write(&self, authority: &Authority, folder: &Path, kind: &str) -> Result<(), BuildError> {
        make_folder(folder)?;
        write_text(&folder.join("ca.crt"), &authority.certificate.pem())?;
        write_text(&folder.join(format!("{kind}.crt")), &self.certificate.pem())?;
        let path = folder.join(format!("{kind}.key"));
        key_file::write_secret(&path, self.key.to_pkcs8_pem().as_bytes()).map_err(file_error("write", &path))?;
        let path = folder.join(format!("{kind}.nodeid"));
        let modulus = modulus(self.certificate.public_key().spki_der())
            .ok_or_else(|| BuildError::Certificate { path: path.clone(), reason: "not an RSA key".into() })?;
        write_text(&path, &hex::encode(modulus))
    }
}

/// The modulus of an RSA key, without a leading zero.
fn modulus(spki: &[u8]) -> Option<Vec<u8>> {
    let mut info = Reader::new(spki).sequence().ok()?;
    info.sequence().ok()?;
    let mut key = Reader::new(info.bit_string().ok()?).sequence().ok()?;
    Some(strip_zeros(key.integer().ok()?).to_vec())
}
