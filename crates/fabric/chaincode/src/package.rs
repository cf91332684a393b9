//! Chaincode packages: a gzip tar of `metadata.json` and `code.tar.gz`, named by label and the hash of all its bytes.

mod store;
mod unpack;

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};

use crate::error::PackageError;

pub use store::PackageStore;
pub use unpack::unpack_code;

const METADATA_FILE: &str = "metadata.json";
const CODE_FILE: &str = "code.tar.gz";

/// The most bytes that a package may have; the same as the largest message a peer accepts.
pub const MAX_PACKAGE_BYTES: u64 = 100 * 1024 * 1024;
/// The most bytes that a package's outer archive may unpack to.
const MAX_OUTER_BYTES: u64 = 2 * MAX_PACKAGE_BYTES;
/// The outer archive holds two files; anything else in it is ignored up to this count.
const MAX_OUTER_ENTRIES: u64 = 64;

/// What `metadata.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Metadata {
    /// The path of the source when it was packaged.
    pub path: String,
    /// What runs it: `ccaas`, `node`, `golang`, `rust`, or a type that an external builder knows. Any case.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name a person gave it.
    pub label: String,
}

/// Id and label of an installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageInfo {
    /// `label:` and the lower-case hex SHA-256 of the package bytes.
    pub package_id: String,
    /// The label.
    pub label: String,
}

/// A package that passed the checks.
#[derive(Debug, Clone)]
pub struct Package {
    id: String,
    metadata: Metadata,
    metadata_json: Bytes,
    code: Bytes,
}

/// The id of a package: its label and the hash of its bytes.
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", hex::encode(konsort_crypto::hash::sha256(package)))
}

/// Checks a label: alphanumeric first, then alphanumerics and `_ . + -`.
pub fn validate_label(label: &str) -> Result<(), PackageError> {
    let mut bytes = label.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)) {
        Ok(())
    } else {
        Err(PackageError::Label(label.to_owned()))
    }
}

impl Package {
    /// Reads a package and checks its form. Of several entries with one name the last counts, as upstream.
    pub fn parse(bytes: Bytes) -> Result<Self, PackageError> {
        if bytes.len() as u64 > MAX_PACKAGE_BYTES {
            return Err(PackageError::TooLarge { what: "package bytes".into(), limit: MAX_PACKAGE_BYTES });
        }
        if bytes.len() < 2 || bytes[..2] != [0x1f, 0x8b] {
            return Err(PackageError::Gzip("gzip: invalid header".into()));
        }
        let mut archive = tar::Archive::new(GzDecoder::new(&bytes[..]).take(MAX_OUTER_BYTES + 1));
        let (mut code, mut metadata) = (None, None);
        let mut total = 0;
        let entries = archive.entries().map_err(|error| PackageError::Tar(error.to_string()))?;
        for (count, entry) in (1..).zip(entries) {
            let mut entry = entry.map_err(|error| PackageError::Tar(error.to_string()))?;
            if count > MAX_OUTER_ENTRIES {
                return Err(PackageError::TooLarge { what: "number of entries".into(), limit: MAX_OUTER_ENTRIES });
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            if !kind.is_file() {
                return Err(PackageError::NotAFile { name, kind: kind.as_byte() });
            }
            total += entry.size();
            if total > MAX_OUTER_BYTES {
                return Err(PackageError::TooLarge { what: "unpacked bytes".into(), limit: MAX_OUTER_BYTES });
            }
            if name != METADATA_FILE && name != CODE_FILE {
                tracing::warn!(file = %name, "unexpected file in top level of chaincode package");
                continue;
            }
            let mut content = Vec::with_capacity(entry.size().min(1 << 20) as usize);
            entry
                .read_to_end(&mut content)
                .map_err(|error| PackageError::Tar(format!("could not read {name} from tar: {error}")))?;
            if name == METADATA_FILE {
                let parsed: Metadata =
                    serde_json::from_slice(&content).map_err(|error| PackageError::Metadata(error.to_string()))?;
                metadata = Some((parsed, Bytes::from(content)));
            } else {
                code = Some(Bytes::from(content));
            }
        }
        let code = code.ok_or(PackageError::NoCode)?;
        let (metadata, metadata_json) = metadata.ok_or(PackageError::NoMetadata)?;
        validate_label(&metadata.label)?;
        let id = package_id(&metadata.label, &bytes);
        Ok(Self { id, metadata, metadata_json, code })
    }

    /// The package id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Id and label.
    pub fn info(&self) -> PackageInfo {
        PackageInfo { package_id: self.id.clone(), label: self.metadata.label.clone() }
    }

    /// What `metadata.json` says.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// `metadata.json` as it stands in the package.
    pub fn metadata_json(&self) -> &Bytes {
        &self.metadata_json
    }

    /// The code archive as it stands in the package.
    pub fn code(&self) -> &Bytes {
        &self.code
    }
}

/// Makes a package of a ready code archive, the way `peer lifecycle chaincode package` does: metadata first, no times, no owners.
pub fn pack(metadata: &Metadata, code: &[u8]) -> Result<Vec<u8>, PackageError> {
    validate_label(&metadata.label)?;
    let json = serde_json::to_vec(metadata).map_err(|error| PackageError::Metadata(error.to_string()))?;
    pack_files(&[(METADATA_FILE, &json), (CODE_FILE, code)])
}

/// Makes a gzip tar of plain files, for code archives of a few generated files.
pub fn pack_files(files: &[(&str, &[u8])]) -> Result<Vec<u8>, PackageError> {
    let failed = |error: std::io::Error| PackageError::Tar(error.to_string());
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o100_644);
        header.set_cksum();
        builder.append_data(&mut header, name, *content).map_err(failed)?;
    }
    let mut gzip = builder.into_inner().map_err(failed)?;
    gzip.flush().map_err(failed)?;
    gzip.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(label: &str) -> Metadata {
        Metadata { path: String::new(), kind: "ccaas".into(), label: label.into() }
    }

    #[test]
    fn labels_follow_upstreams_rule() {
        for good in ["a", "basic_1.0", "9+-._"] {
            validate_label(good).unwrap();
        }
        for bad in ["", ".a", "a b", "a:b", "ü", "-a", "a\n"] {
            assert!(validate_label(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_package_reads_back() {
        let bytes = Bytes::from(pack(&metadata("basic_1.0"), b"code").unwrap());
        let package = Package::parse(bytes.clone()).unwrap();
        assert_eq!(package.code(), &Bytes::from_static(b"code"));
        assert_eq!(package.metadata(), &metadata("basic_1.0"));
        assert_eq!(package.id(), package_id("basic_1.0", &bytes));
    }

    #[test]
    fn what_is_missing_or_damaged_is_named() {
        let text = |files: &[(&str, &[u8])]| Package::parse(pack_files(files).unwrap().into()).unwrap_err().to_string();
        let json: &[u8] = br#"{"type":"golang","label":"x"}"#;
        assert_eq!(text(&[(METADATA_FILE, json)]), "did not find a code package inside the package");
        assert_eq!(text(&[(CODE_FILE, b"c")]), "did not find any package metadata (missing metadata.json)");
        assert!(
            text(&[(METADATA_FILE, b"{"), (CODE_FILE, b"c")]).starts_with("could not unmarshal metadata.json as json")
        );
        assert!(text(&[(METADATA_FILE, br#"{"label":"a b"}"#), (CODE_FILE, b"c")]).starts_with("invalid label 'a b'"));
        let not_gzip = Package::parse(Bytes::from_static(b"PK\x03\x04")).unwrap_err().to_string();
        assert!(not_gzip.starts_with("error reading as gzip stream"));
        let whole = pack(&metadata("x"), &[7; 4096]).unwrap();
        for cut in [3, 20, whole.len() / 2] {
            assert!(Package::parse(Bytes::copy_from_slice(&whole[..cut])).is_err());
        }
    }

    #[test]
    fn a_folder_in_the_outer_archive_is_refused() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_cksum();
        builder.append_data(&mut header, "folder", &[][..]).unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert!(matches!(Package::parse(bytes.into()), Err(PackageError::NotAFile { .. })));
    }

    #[test]
    fn an_outer_bomb_is_refused() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        let size = MAX_OUTER_BYTES + 1024;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, CODE_FILE, std::io::repeat(0).take(size)).unwrap();
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert!((bytes.len() as u64) < MAX_PACKAGE_BYTES, "the bomb is small");
        assert!(matches!(Package::parse(bytes.into()), Err(PackageError::TooLarge { .. })));
    }
}
