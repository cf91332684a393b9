//! Log files in memory that know what was synced.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use parking_lot::Mutex;

use crate::segment::{LogFile, LogFiles};

/// What a disk writes at once; a power cut leaves whole sectors old or new.
const SECTOR: usize = 512;

/// Files in memory. What is not synced can be torn or lost by [`MemoryFiles::crash_keeping`] and [`MemoryFiles::crash_scrambled`].
#[derive(Debug, Default, Clone)]
pub struct MemoryFiles {
    files: Arc<Mutex<BTreeMap<String, MemoryFile>>>,
    /// Writes and syncs that still succeed; negative: all of them.
    budget: Arc<Budget>,
}

#[derive(Debug)]
struct Budget(AtomicI64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicI64::new(-1))
    }
}

impl Budget {
    fn spend(&self) -> io::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            0 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            left if left > 0 => {
                self.0.store(left - 1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Default, Clone)]
struct MemoryFile {
    content: Arc<Mutex<Content>>,
    budget: Arc<Budget>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Writes since the last sync, in order.
    pending: Vec<(usize, Vec<u8>)>,
}

fn apply(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl MemoryFiles {
    /// From now on `operations` more writes and syncs succeed, then the disk is full.
    pub fn fail_after(&self, operations: u32) {
        self.budget.0.store(i64::from(operations), Ordering::Relaxed);
    }

    /// There is space on the disk again.
    pub fn free_space(&self) {
        self.budget.0.store(-1, Ordering::Relaxed);
    }

    /// Bytes written but not synced, over all files.
    pub fn unsynced(&self) -> usize {
        let files = self.files.lock();
        files.values().map(|file| file.content.lock().pending.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()).sum()
    }

    /// The files after a crash that let exactly the first `bytes` unsynced bytes of each file reach the disk.
    #[must_use]
    pub fn crash_keeping(&self, bytes: usize) -> Self {
        self.crash(|_, pending, content| {
            let mut left = bytes;
            for (offset, written) in pending {
                let kept = written.len().min(left);
                apply(content, *offset, &written[..kept]);
                left -= kept;
            }
        })
    }

    /// The files after a power cut: of the unsynced sectors any subset (chosen by `seed`) reached the disk, the others read as zeros.
    #[must_use]
    pub fn crash_scrambled(&self, seed: u64) -> Self {
        let mut random = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        self.crash(|_, pending, content| {
            for (offset, written) in pending {
                let mut at = 0;
                while at < written.len() {
                    let end = ((offset + at) / SECTOR * SECTOR + SECTOR - offset).min(written.len());
                    let zeros = vec![0; end - at];
                    let kept = if next() % 3 == 0 { &zeros[..] } else { &written[at..end] };
                    apply(content, offset + at, kept);
                    at = end;
                }
            }
        })
    }

    /// Flips one bit of a file, synced or not.
    pub fn flip(&self, name: &str, offset: usize) {
        if let Some(file) = self.files.lock().get(name) {
            let mut content = file.content.lock();
            for bytes in [true, false] {
                let target = if bytes { &mut content.now } else { &mut content.synced };
                if let Some(byte) = target.get_mut(offset) {
                    *byte ^= 1;
                }
            }
        }
    }

    fn crash(&self, mut lose: impl FnMut(&str, &[(usize, Vec<u8>)], &mut Vec<u8>)) -> Self {
        let after = Self::default();
        for (name, file) in self.files.lock().iter() {
            let content = file.content.lock();
            let mut bytes = content.synced.clone();
            lose(name, &content.pending, &mut bytes);
            let content = Content { now: bytes.clone(), synced: bytes, pending: Vec::new() };
            let file = MemoryFile { content: Arc::new(Mutex::new(content)), budget: Arc::clone(&after.budget) };
            after.files.lock().insert(name.clone(), file);
        }
        after
    }
}

impl LogFiles for MemoryFiles {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files.lock().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let mut files = self.files.lock();
        let file = files
            .entry(name.into())
            .or_insert_with(|| MemoryFile { budget: Arc::clone(&self.budget), ..MemoryFile::default() });
        Ok(Arc::new(file.clone()))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.budget.spend()
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }
}

impl LogFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let content = self.content.lock();
        let start = offset as usize;
        let found = content.now.get(start..start + buffer.len());
        buffer.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut content = self.content.lock();
        let mut bytes = parts.concat();
        let result = self.budget.spend();
        if result.is_err() {
            // A full disk takes a part of the write before it refuses.
            bytes.truncate(bytes.len() / 2);
        }
        apply(&mut content.now, offset as usize, &bytes);
        content.pending.push((offset as usize, bytes));
        result
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let content = &mut *self.content.lock();
        content.now.truncate(size as usize);
        content.synced.clone_from(&content.now);
        content.pending.clear();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.budget.spend()?;
        let content = &mut *self.content.lock();
        content.synced.clone_from(&content.now);
        content.pending.clear();
        Ok(())
    }
}
