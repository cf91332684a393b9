//! How much a node's folder holds, found out now and then: a full walk at every look would cost more than the node.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a figure is good for.
const FRESH: Duration = Duration::from_secs(30);
/// A folder with more entries than this is not walked to its end; its figure is then a lower bound.
const MOST_ENTRIES: usize = 500_000;

#[derive(Debug, Default)]
struct Known {
    bytes: Option<u64>,
    at: Option<Instant>,
    walking: bool,
}

/// The cached size of one folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskUse(Arc<Mutex<Known>>);

impl DiskUse {
    /// The last figure; an old one starts a walk in the background, whose result the next look gets.
    pub(crate) fn look(&self, folder: &Path) -> Option<u64> {
        let mut known = self.0.lock();
        let fresh = known.at.is_some_and(|at| at.elapsed() < FRESH);
        if !fresh && !known.walking && tokio::runtime::Handle::try_current().is_ok() {
            known.walking = true;
            let (own, folder) = (self.clone(), folder.to_owned());
            tokio::task::spawn_blocking(move || {
                let bytes = size(folder);
                *own.0.lock() = Known { bytes: Some(bytes), at: Some(Instant::now()), walking: false };
            });
        }
        known.bytes
    }
}

/// Bytes that a folder's files take on disk; files that vanish meanwhile count for nothing.
fn size(folder: PathBuf) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut folders = vec![folder];
    let mut bytes = 0_u64;
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > MOST_ENTRIES {
                return bytes;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                // Files with holes (write-ahead logs made in advance) count what they take, not what they could hold.
                bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_walked_once_and_the_figure_kept() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("in/file"), vec![7_u8; 100_000]).unwrap();
        let disk = DiskUse::default();
        assert_eq!(disk.look(folder.path()), None);
        let mut found = None;
        for _ in 0..200 {
            found = disk.look(folder.path());
            if found.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let found = found.unwrap();
        assert!((100_000..200_000).contains(&found), "{found}");
        std::fs::write(folder.path().join("more"), vec![7_u8; 100_000]).unwrap();
        assert_eq!(disk.look(folder.path()), Some(found), "no second walk within the time");
    }
}
