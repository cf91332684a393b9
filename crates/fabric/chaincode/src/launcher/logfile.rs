//! Log files of chaincode: appended, rotated, and never larger than their limit.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many bytes a log file may have before it is rotated.
const FILE_BYTES: u64 = 8 << 20;
/// Rotated files that are kept beside the current one (`.1` the newest).
const KEPT: u32 = 2;
/// A process that writes faster than this is slowed down by its own pipe.
const BYTES_PER_SECOND: u64 = 16 << 20;

/// One package's log.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    window: Instant,
    in_window: u64,
}

impl LogFile {
    /// Opens the file for appending, with its folder.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = append(path)?;
        let length = file.metadata()?.len();
        Ok(Self { path: path.to_path_buf(), file, length, window: Instant::now(), in_window: 0 })
    }

    /// Appends; says how long to wait before more is read when the process floods.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> std::io::Result<Option<Duration>> {
        if self.length + bytes.len() as u64 > FILE_BYTES && self.length > 0 {
            self.rotate()?;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        let elapsed = self.window.elapsed();
        if elapsed >= Duration::from_secs(1) {
            (self.window, self.in_window) = (Instant::now(), 0);
        }
        self.in_window += bytes.len() as u64;
        Ok((self.in_window > BYTES_PER_SECOND).then(|| Duration::from_secs(1).saturating_sub(elapsed)))
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        for number in (1..KEPT).rev() {
            let _ = std::fs::rename(rotated(&self.path, number), rotated(&self.path, number + 1));
        }
        std::fs::rename(&self.path, rotated(&self.path, 1))?;
        self.file = append(&self.path)?;
        self.length = 0;
        Ok(())
    }
}

fn append(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooded_log_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/x.log");
        let mut log = LogFile::open(&path).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let mut slowed = false;
        for _ in 0..40 {
            slowed |= log.write(&chunk).unwrap().is_some();
        }
        let sizes: Vec<u64> = std::fs::read_dir(folder.path().join("logs"))
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().sum::<u64>() <= 3 * FILE_BYTES);
        assert!(slowed, "forty megabytes in one second are too many");
    }
}
