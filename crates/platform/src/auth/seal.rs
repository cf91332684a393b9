//! Secrets of others that must be readable again (the login provider's client secret) are stored encrypted; the key is in a file
//! of the data folder, so a copy of the database alone does not give them away.

use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use konsort_pki::key_file::write_secret;
use rand::RngCore as _;

/// Encrypts and decrypts small secrets.
pub struct Seal(RandomizedNonceKey);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Seal {
    /// With the key in the folder's `server.key`, made when it is not there.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("server.key");
        let mut key = Vec::new();
        match std::fs::File::open(&path) {
            Ok(file) => {
                file.take(64).read_to_end(&mut key)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                key = vec![0; 32];
                rand::rng().fill_bytes(&mut key);
                write_secret(&path, &key)?;
            }
            Err(error) => return Err(error),
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("{} is not a key of 32 bytes; restore it from a backup", path.display()),
            )
        })?;
        Ok(Self(key))
    }

    /// The secret encrypted, as text.
    pub fn close(&self, secret: &str) -> Option<String> {
        let mut bytes = secret.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::empty(), &mut bytes).ok()?;
        let mut all = nonce.as_ref().to_vec();
        all.append(&mut bytes);
        Some(STANDARD.encode(all))
    }

    /// The secret again.
    pub fn unseal(&self, text: &str) -> Option<String> {
        let bytes = STANDARD.decode(text).ok()?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut rest = rest.to_vec();
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut rest).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_back_with_the_same_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = Seal::open(folder.path()).unwrap().close("hush").unwrap();
        assert!(!sealed.contains("hush"));
        assert_eq!(Seal::open(folder.path()).unwrap().unseal(&sealed).as_deref(), Some("hush"));
        let other = tempfile::tempdir().unwrap();
        assert_eq!(Seal::open(other.path()).unwrap().unseal(&sealed), None);
        assert_eq!(Seal::open(folder.path()).unwrap().unseal("AAAA"), None);
    }
}
