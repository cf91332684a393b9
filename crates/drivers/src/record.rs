//! What a driver remembers of each node across a restart of the calling program: one small file per node.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{DriverError, Launch, NodeRef};

/// Whether a node should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    Running,
    Stopped,
}

/// A process that was started, known well enough never to be taken for a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) pid: u32,
    /// Start of the process in clock ticks after boot (field 22 of `/proc/PID/stat`).
    pub(crate) ticks: u64,
    /// Which boot those ticks count from.
    pub(crate) boot: String,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
}

/// A node's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) launch: Launch,
    pub(crate) wanted: Wanted,
    /// Set before a process is made and cleared once its id is written down: when it is found set, such a process may be running.
    pub(crate) starting: bool,
    pub(crate) run: Option<Run>,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<String>,
}

impl Record {
    pub(crate) fn new(launch: &Launch) -> Self {
        Self {
            launch: launch.clone(),
            wanted: Wanted::Stopped,
            starting: false,
            run: None,
            restarts: 0,
            last_exit: None,
        }
    }
}

/// The folder of all records.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes the folder, readable only by its owner: launches hold environments.
    pub(crate) fn prepare(&self) -> Result<(), DriverError> {
        make_folder(&self.folder)
    }

    /// Path of a file of a node, made from its ids and this ending. Ids that could leave the folder are refused.
    pub(crate) fn path(&self, node: &NodeRef, ending: &str) -> Result<PathBuf, DriverError> {
        for id in [&node.network, &node.node] {
            check_id(id)?;
        }
        Ok(self.folder.join(&node.network).join(format!("{}.{ending}", node.node)))
    }

    /// A node's record; none when it was never started here.
    pub(crate) fn load(&self, node: &NodeRef) -> Result<Option<Record>, DriverError> {
        let path = self.path(node, "json")?;
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| DriverError::Failed {
                what: format!("read {}", path.display()),
                why: format!("it is damaged ({error}); remove the file, then start the node"),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(&format!("read {}", path.display()), &error)),
        }
    }

    /// Writes a record so that after a crash either the old or the new one is there.
    pub(crate) fn store(&self, record: &Record) -> Result<(), DriverError> {
        let path = self.path(&record.launch.node, "json")?;
        let what = format!("write {}", path.display());
        let folder = path.parent().unwrap_or(&self.folder);
        make_folder(folder)?;
        let bytes = serde_json::to_vec_pretty(record)
            .map_err(|error| DriverError::Failed { what: what.clone(), why: error.to_string() })?;
        // A name of its own: a write that nobody waits for any more may still be under way.
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let mut fresh = path.clone().into_os_string();
        fresh.push(format!(".{}.{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
        let fresh = PathBuf::from(fresh);
        let write = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            let _absent = fs::remove_file(&fresh);
            failed(&what, &error)
        })
    }

    /// Removes every file of a node.
    pub(crate) fn remove(&self, node: &NodeRef) -> Result<(), DriverError> {
        let path = self.path(node, "json")?;
        let Some(folder) = path.parent() else { return Ok(()) };
        let mine = format!("{}.", node.node);
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let rest = name.to_str().and_then(|name| name.strip_prefix(&mine)).unwrap_or_default();
            let ours = rest == "json" || rest.starts_with("json.") || rest == "log" || rest.starts_with("log.");
            if ours {
                let gone = fs::remove_file(entry.path());
                gone.map_err(|error| failed(&format!("remove {}", entry.path().display()), &error))?;
            }
        }
        // The folder goes with its last node.
        let _others_left = fs::remove_dir(folder);
        Ok(())
    }

    /// The nodes of a network that have a record.
    pub(crate) fn list(&self, network: &str) -> Result<Vec<NodeRef>, DriverError> {
        check_id(network)?;
        let folder = self.folder.join(network);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&format!("read {}", folder.display()), &error)),
        };
        let name = |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned());
        let mut nodes: Vec<NodeRef> =
            entries.flatten().filter_map(name).map(|node| NodeRef { network: network.to_owned(), node }).collect();
        nodes.sort();
        Ok(nodes)
    }
}

/// One node's record, in memory as on disk.
#[derive(Debug)]
pub(crate) struct Kept {
    records: Records,
    record: Mutex<Record>,
    /// One change at a time: the next one builds on what this one has written.
    changing: tokio::sync::Mutex<()>,
}

impl Kept {
    pub(crate) fn new(records: &Records, record: Record) -> Self {
        Self { records: records.clone(), record: Mutex::new(record), changing: tokio::sync::Mutex::default() }
    }

    pub(crate) fn get(&self) -> Record {
        self.record.lock().clone()
    }

    /// Changes the record, on disk first.
    pub(crate) async fn change(&self, change: impl FnOnce(&mut Record)) -> Result<(), DriverError> {
        let _one_at_a_time = self.changing.lock().await;
        let mut record = self.get();
        change(&mut record);
        let (records, written) = (self.records.clone(), record.clone());
        let stored = tokio::task::spawn_blocking(move || records.store(&written)).await;
        stored.map_err(|error| failed("write the node's record", &error))??;
        *self.record.lock() = record;
        Ok(())
    }
}

fn make_folder(folder: &Path) -> Result<(), DriverError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed(&format!("make the folder {}", folder.display()), &error))
}

pub(crate) fn check_id(id: &str) -> Result<(), DriverError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if id.is_empty() || id.len() > 128 || id.starts_with(['.', '-']) || !id.bytes().all(plain) {
        let why = "an id has 1 to 128 letters, digits, dots, dashes and underscores, and begins with a letter or digit";
        return Err(DriverError::Failed { what: format!("use {id:?} as an id"), why: why.to_owned() });
    }
    Ok(())
}

pub(crate) fn failed(what: &str, error: &dyn std::fmt::Display) -> DriverError {
    DriverError::Failed { what: what.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_in_the_folder() {
        for bad in ["", ".", "..", "a/b", "-x", "a b", "a\0", &"x".repeat(129)] {
            assert!(check_id(bad).is_err(), "{bad:?}");
        }
        for good in ["net_ab12", "peer0.org1.example.com", "node0"] {
            check_id(good).unwrap();
        }
    }

    #[test]
    fn removal_leaves_nodes_with_longer_names() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::new(folder.path().join("r"));
        let node = |name: &str| NodeRef { network: "n".into(), node: name.into() };
        for name in ["peer0", "peer0.org1"] {
            records.store(&Record::new(&crate::tests::launch(node(name), folder.path()))).unwrap();
        }
        records.remove(&node("peer0")).unwrap();
        assert_eq!(records.list("n").unwrap(), [node("peer0.org1")]);
        assert!(records.load(&node("peer0")).unwrap().is_none());
        records.remove(&node("peer0.org1")).unwrap();
        assert!(!folder.path().join("r/n").exists());
    }
}
