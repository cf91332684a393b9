//! A clean end: rows held in memory are written out and the journals emptied, so that the next opening has nothing to read again.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use fjall::{AbstractTree as _, PersistMode};

use super::{Shared, journal};

/// How long an end may take; what is not written out by then stays in the journals.
const PATIENCE: Duration = Duration::from_secs(10);

/// Empties the journals when it is dropped, if told to; the engine must be closed by then.
#[derive(Debug)]
pub(super) struct CutJournals {
    path: PathBuf,
    armed: AtomicBool,
}

impl CutJournals {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), armed: AtomicBool::new(false) }
    }
}

impl Drop for CutJournals {
    fn drop(&mut self) {
        if !self.armed.load(Ordering::Relaxed) {
            return;
        }
        // The next opening makes an empty one.
        if let Ok(journals) = journal::active(&self.path) {
            journal::remove(&journals).ok();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.health.is_suspect() || std::thread::panicking() {
            return;
        }
        self.close.armed.store(self.write_out(), Ordering::Relaxed);
    }
}

impl Shared {
    /// Writes the rows held in memory to tables; false when that did not come to an end.
    fn write_out(&self) -> bool {
        let tree = &self.tree.tree;
        if tree.active_memtable().size() > 0 && !self.tree.rotate_memtable().is_ok_and(|rotated| rotated) {
            return false;
        }
        let began = Instant::now();
        while tree.sealed_memtable_count() > 0 {
            // A stopped engine says so here.
            if began.elapsed() > PATIENCE || self.database.persist(PersistMode::Buffer).is_err() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        tree.active_memtable().size() == 0
    }
}
