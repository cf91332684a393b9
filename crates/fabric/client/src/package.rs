//! Chaincode packages: a gzip tar of `metadata.json` and `code.tar.gz`, made reproducibly.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// Largest package that is read.
const MAX_PACKAGE_BYTES: u64 = 100 * 1024 * 1024;
/// Deepest folder that is packed.
const MAX_DEPTH: usize = 64;

const METADATA: &str = "metadata.json";
const CODE: &str = "code.tar.gz";

/// Why something is not, or cannot become, a package. Texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The label has characters that are not allowed.
    #[error(
        "invalid label '{0}'. Label must be non-empty, can only consist of alphanumerics, symbols from '.+-_', and can only begin with alphanumerics"
    )]
    Label(String),
    /// Not a package.
    #[error("{0}")]
    Malformed(String),
    /// The language is not known.
    #[error("unknown chaincodeType: {0}")]
    Language(String),
    /// A source file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Write(#[from] std::io::Error),
}

/// What `metadata.json` says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, Default)]
#[serde(default)]
pub struct Metadata {
    /// Source path or import path.
    pub path: String,
    /// Language, `ccaas`, or what an external builder knows.
    #[serde(rename = "type")]
    pub kind: String,
    /// Label.
    pub label: String,
}

/// Checks a label.
pub fn validate_label(label: &str) -> Result<(), PackageError> {
    let mut letters = label.chars();
    let starts_well = letters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    if starts_well && letters.all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter)) {
        return Ok(());
    }
    Err(PackageError::Label(label.to_owned()))
}

/// The id of a package: label, colon, lower-case hex of the SHA-256 of all its bytes.
pub fn package_id(label: &str, package: &[u8]) -> String {
    format!("{label}:{}", hex::encode(konsort_crypto::hash::sha256(package)))
}

/// Reads a package's metadata; fails as a peer would when it is asked to install it.
pub fn metadata(package: &[u8]) -> Result<Metadata, PackageError> {
    let malformed = |text: String| PackageError::Malformed(text);
    if package.len() < 2 || package[..2] != [0x1f, 0x8b] {
        let reason = if package.is_empty() { "EOF" } else { "gzip: invalid header" };
        return Err(malformed(format!("error reading as gzip stream: {reason}")));
    }
    let mut archive = tar::Archive::new(GzDecoder::new(package).take(2 * MAX_PACKAGE_BYTES));
    let mut found: Option<Metadata> = None;
    let mut has_code = false;
    let entries = archive.entries().map_err(|error| malformed(format!("error inspecting next tar header: {error}")))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| malformed(format!("error inspecting next tar header: {error}")))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(malformed(format!(
                "tar entry {name} is not a regular file, type {}",
                entry.header().as_bytes()[156]
            )));
        }
        match name.as_str() {
            METADATA => {
                let mut text = Vec::new();
                entry
                    .read_to_end(&mut text)
                    .map_err(|error| malformed(format!("could not read {name} from tar: {error}")))?;
                let read = serde_json::from_slice(&text)
                    .map_err(|error| malformed(format!("could not unmarshal {METADATA} as json: {error}")))?;
                found = Some(read);
            }
            CODE => has_code = true,
            _ => {}
        }
    }
    if !has_code {
        return Err(malformed("did not find a code package inside the package".into()));
    }
    let Some(found) = found else {
        return Err(malformed(format!("did not find any package metadata (missing {METADATA})")));
    };
    validate_label(&found.label)?;
    Ok(found)
}

/// Puts a package together from its metadata and the inner archive. The same input gives the same bytes.
pub fn assemble(path: &str, kind: &str, label: &str, code: &[u8]) -> Result<Vec<u8>, PackageError> {
    validate_label(label)?;
    let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
    let metadata = format!("{{\"path\":{},\"type\":{},\"label\":{}}}", quoted(path), quoted(kind), quoted(label));
    archive([(METADATA.to_owned(), metadata.into_bytes()), (CODE.to_owned(), code.to_vec())])
}

/// A gzip tar of named files without times and owners.
pub fn archive(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Vec<u8>, PackageError> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o100_644);
        header.set_mtime(0);
        builder.append_data(&mut header, name, content.as_slice())?;
    }
    let mut encoder = builder.into_inner()?;
    encoder.flush()?;
    Ok(encoder.finish()?)
}

/// A chaincode that runs as a service of its own: the package only says where it listens.
pub fn service(label: &str, connection_json: &str) -> Result<Vec<u8>, PackageError> {
    let code = archive([("connection.json".to_owned(), connection_json.as_bytes().to_vec())])?;
    assemble("", "ccaas", label, &code)
}

/// A chaincode that is compiled into our own binary.
pub fn builtin(label: &str, name: &str) -> Result<Vec<u8>, PackageError> {
    let description = serde_json::json!({ "builtin": name }).to_string();
    let code = archive([("konsort.json".to_owned(), description.into_bytes())])?;
    assemble("", "rust", label, &code)
}

/// Packs a source folder (or, for `ccaas`, a folder or file with connection.json).
pub fn from_source(path: &str, language: &str, label: &str) -> Result<Vec<u8>, PackageError> {
    let source = Path::new(path);
    let kind = language.to_lowercase();
    let (recorded, files) = match kind.as_str() {
        "golang" => golang(source)?,
        "node" => (path.to_owned(), collect(source, "src", &["node_modules"])?),
        "java" => (path.to_owned(), collect(source, "src", &["target", "build", "out", ".gradle"])?),
        "rust" => (path.to_owned(), collect(source, "src", &["target"])?),
        "ccaas" if source.is_file() => {
            let content = std::fs::read(source).map_err(|error| unreadable(source, &error))?;
            (String::new(), BTreeMap::from([("connection.json".to_owned(), content)]))
        }
        "ccaas" => (String::new(), collect(source, "", &[])?),
        _ => return Err(PackageError::Language(language.to_uppercase())),
    };
    if files.is_empty() {
        return Err(PackageError::Read { path: source.to_path_buf(), reason: "no files to pack".into() });
    }
    assemble(&recorded, &kind, label, &archive(files)?)
}

fn unreadable(path: &Path, error: &std::io::Error) -> PackageError {
    PackageError::Read { path: path.to_path_buf(), reason: error.to_string() }
}

/// The module that holds `source`: its import path and all its files under `src/`.
fn golang(source: &Path) -> Result<(String, BTreeMap<String, Vec<u8>>), PackageError> {
    let absolute = source.canonicalize().map_err(|error| unreadable(source, &error))?;
    let root = absolute.ancestors().find(|folder| folder.join("go.mod").is_file()).ok_or_else(|| {
        PackageError::Read { path: absolute.clone(), reason: "no go.mod here or above; run `go mod init` first".into() }
    })?;
    let module_file = root.join("go.mod");
    let text = std::fs::read_to_string(&module_file).map_err(|error| unreadable(&module_file, &error))?;
    let module = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("module "))
        .map(|name| name.trim().trim_matches('"').to_owned())
        .ok_or_else(|| PackageError::Read { path: module_file.clone(), reason: "no module line".into() })?;
    let below = absolute.strip_prefix(root).unwrap_or(Path::new(""));
    let import = if below.as_os_str().is_empty() { module } else { format!("{module}/{}", below.display()) };
    Ok((import, collect(root, "src", &[])?))
}

/// All regular files below `root`; `META-INF` stays at the top, the rest goes under `prefix`.
fn collect(root: &Path, prefix: &str, excluded: &[&str]) -> Result<BTreeMap<String, Vec<u8>>, PackageError> {
    let mut files = BTreeMap::new();
    let mut total = 0;
    walk(root, root, prefix, excluded, 0, &mut total, &mut files)?;
    Ok(files)
}

fn walk(
    root: &Path,
    folder: &Path,
    prefix: &str,
    excluded: &[&str],
    depth: usize,
    total: &mut u64,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), PackageError> {
    if depth > MAX_DEPTH {
        return Err(PackageError::Read { path: folder.to_path_buf(), reason: "folders nested too deep".into() });
    }
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || (folder == root && excluded.contains(&name.as_str())) {
            continue;
        }
        let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
        if kind.is_dir() {
            walk(root, &path, prefix, excluded, depth + 1, total, files)?;
        } else if kind.is_file() {
            let content = std::fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            *total += content.len() as u64;
            if *total > MAX_PACKAGE_BYTES {
                return Err(PackageError::Read {
                    path: root.to_path_buf(),
                    reason: format!("more than {MAX_PACKAGE_BYTES} bytes to pack"),
                });
            }
            let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            let at_top = prefix.is_empty() || below.starts_with("META-INF/");
            files.insert(if at_top { below } else { format!("{prefix}/{below}") }, content);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_upstreams_expression() {
        for good in ["a", "kv_1.0", "A-b+c.d_e", "9"] {
            validate_label(good).unwrap();
        }
        for bad in ["", "bad label!", "_a", ".x", "ä"] {
            assert!(validate_label(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_package_of_ours_reads_back_and_is_reproducible() {
        let package = service("cc_1", "{\"address\":\"localhost:9999\"}").unwrap();
        assert_eq!(package, service("cc_1", "{\"address\":\"localhost:9999\"}").unwrap());
        let read = metadata(&package).unwrap();
        assert_eq!((read.kind.as_str(), read.label.as_str()), ("ccaas", "cc_1"));
    }

    #[test]
    fn what_is_no_package_is_refused_with_upstreams_words() {
        let text = |bytes: &[u8]| metadata(bytes).unwrap_err().to_string();
        assert_eq!(text(b"\x0a\x50hello"), "error reading as gzip stream: gzip: invalid header");
        let lacking = archive([("metadata.json".to_owned(), b"{}".to_vec())]).unwrap();
        assert_eq!(text(&lacking), "did not find a code package inside the package");
        let lacking = archive([("code.tar.gz".to_owned(), b"x".to_vec())]).unwrap();
        assert_eq!(text(&lacking), "did not find any package metadata (missing metadata.json)");
    }
}
