//! A disk that forgets what was not synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use konsort_raft::{Disk, wal::DiskFile};

use crate::rng::Rng;

#[derive(Clone, Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    durable: usize,
}

#[derive(Debug, Default)]
struct Folder {
    /// Contents by file id: names come and go, contents stay until nobody can bring them back.
    contents: BTreeMap<u64, Contents>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_id: u64,
    /// Operations left before the power fails.
    fuse: Option<u64>,
}

impl Folder {
    fn burn(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => Err(io::Error::other("power failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A node's folder; survives the node.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Rc<RefCell<Folder>>);

/// An open file of it.
#[derive(Debug)]
pub struct SimFile {
    folder: Rc<RefCell<Folder>>,
    id: u64,
}

impl SimDisk {
    /// Lets the power fail after this many further operations.
    pub fn arm(&self, operations: u64) {
        self.0.borrow_mut().fuse = Some(operations);
    }

    /// The machine stops: unsynced bytes survive in part, possibly torn; unsynced names come or go.
    pub fn crash(&self, rng: &mut Rng) {
        let mut folder = self.0.borrow_mut();
        folder.fuse = None;
        let Folder { contents, names, durable_names, .. } = &mut *folder;
        for name in names.keys().chain(durable_names.keys()).cloned().collect::<Vec<_>>() {
            if names.get(&name) != durable_names.get(&name) && rng.chance(50) {
                match durable_names.get(&name) {
                    Some(id) => names.insert(name, *id),
                    None => names.remove(&name),
                };
            }
        }
        *durable_names = names.clone();
        for file in contents.values_mut() {
            let tail = file.bytes.len() - file.durable;
            let kept = rng.below(tail as u64 + 1) as usize;
            file.bytes.truncate(file.durable + kept);
            if kept > 0 && rng.chance(30) {
                // A page in the middle of the tail never reached the disk.
                let from = file.durable + rng.below(kept as u64) as usize;
                let to = (from + rng.between(1, 64) as usize).min(file.bytes.len());
                file.bytes[from..to].fill(0);
            }
            file.durable = file.bytes.len();
        }
    }

    /// Flips one durable byte; where, or none on an empty disk.
    pub fn rot(&self, rng: &mut Rng) -> Option<(String, usize)> {
        let mut folder = self.0.borrow_mut();
        let (name, id) = folder.names.iter().next().map(|(n, i)| (n.clone(), *i))?;
        let file = folder.contents.get_mut(&id)?;
        let at = rng.below(file.bytes.len() as u64) as usize;
        *file.bytes.get_mut(at)? ^= 1 << rng.below(8);
        Some((name, at))
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.borrow().names.keys().cloned().collect())
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let folder = self.0.borrow();
        let id = folder.names.get(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(folder.contents[id].bytes.clone())
    }

    fn open(&mut self, name: &str) -> io::Result<SimFile> {
        let mut folder = self.0.borrow_mut();
        folder.burn()?;
        let id = if let Some(id) = folder.names.get(name) {
            *id
        } else {
            folder.next_id += 1;
            let id = folder.next_id;
            folder.contents.insert(id, Contents::default());
            folder.names.insert(name.to_owned(), id);
            id
        };
        Ok(SimFile { folder: self.0.clone(), id })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut folder = self.0.borrow_mut();
        folder.burn()?;
        folder.names.remove(name);
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut folder = self.0.borrow_mut();
        folder.burn()?;
        folder.durable_names = folder.names.clone();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut folder = self.folder.borrow_mut();
        let failed = folder.burn();
        let file = folder.contents.get_mut(&self.id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // A failing write may leave any part of itself.
        let length = if failed.is_err() { bytes.len() / 2 } else { bytes.len() };
        file.bytes.extend_from_slice(&bytes[..length]);
        failed
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut folder = self.folder.borrow_mut();
        folder.burn()?;
        let file = folder.contents.get_mut(&self.id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        file.durable = file.bytes.len();
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut folder = self.folder.borrow_mut();
        folder.burn()?;
        let file = folder.contents.get_mut(&self.id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        file.bytes.truncate(length as usize);
        file.durable = file.durable.min(length as usize);
        Ok(())
    }
}
