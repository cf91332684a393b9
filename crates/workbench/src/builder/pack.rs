//! The inner archive of a package: code below `src/`, the same bytes for the same files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The most bytes that are packed.
const MAX_BYTES: u64 = 512 * 1024 * 1024;
/// The most files that are packed; peers take 100,000.
const MAX_FILES: usize = 60_000;
/// The deepest folder.
const MAX_DEPTH: usize = 64;

/// A file to pack.
pub(super) struct Packed {
    pub(super) content: Vec<u8>,
    pub(super) executable: bool,
}

impl Packed {
    pub(super) fn plain(content: Vec<u8>) -> Self {
        Self { content, executable: false }
    }
}

/// Files by their path below the source folder.
pub(super) type Tree = BTreeMap<String, Packed>;

/// Every plain file below a folder that `wanted` takes by its path. Links are left out: peers refuse them.
pub(super) fn collect(root: &Path, wanted: &dyn Fn(&str) -> bool) -> std::io::Result<Tree> {
    let mut tree = Tree::new();
    let mut bytes = 0;
    walk(root, "", 0, wanted, &mut bytes, &mut tree)?;
    Ok(tree)
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    wanted: &dyn Fn(&str) -> bool,
    bytes: &mut u64,
    tree: &mut Tree,
) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if depth > MAX_DEPTH {
        return Err(std::io::Error::other("folders are nested too deep to be packed"));
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if !wanted(&path) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), &path, depth + 1, wanted, bytes, tree)?;
        } else if kind.is_file() {
            let metadata = entry.metadata()?;
            *bytes += metadata.len();
            if *bytes > MAX_BYTES || tree.len() >= MAX_FILES {
                return Err(std::io::Error::other(format!("more than {MAX_BYTES} bytes or {MAX_FILES} files to pack")));
            }
            let executable = metadata.permissions().mode() & 0o111 != 0;
            tree.insert(path, Packed { content: std::fs::read(entry.path())?, executable });
        }
    }
    Ok(())
}

/// The archive. `META-INF` stays at the top, as upstream's packager puts it; the rest goes below `src`.
pub(super) fn archive(tree: &Tree) -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, file) in tree {
        let name = if path.starts_with("META-INF/") { path.clone() } else { format!("src/{path}") };
        let mut header = tar::Header::new_ustar();
        header.set_size(file.content.len() as u64);
        header.set_mode(if file.executable { 0o100_755 } else { 0o100_644 });
        header.set_mtime(0);
        builder.append_data(&mut header, name, file.content.as_slice())?;
    }
    let mut encoder = builder.into_inner()?;
    encoder.flush()?;
    encoder.finish()
}
