//! Log files: a new one with every hour and whenever one is full, named as the second engine's upstream names them.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::utc_fields;

/// Where log files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFiles {
    /// The folder; it is made when there is something to write.
    pub folder: PathBuf,
    /// Bytes after which the next file begins.
    pub max_bytes: u64,
}

/// After a failure nothing is tried for so long.
const PATIENCE_SECONDS: u64 = 1;
/// Files within one minute; lines beyond go to the last.
const MOST_PER_MINUTE: u32 = 1000;

/// The file that is written at the moment.
#[derive(Debug)]
pub(super) struct Writer {
    files: LogFiles,
    open: Option<Open>,
    not_before: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    hour: u64,
}

impl Writer {
    pub(super) fn new(files: LogFiles) -> Self {
        Self { files, open: None, not_before: 0 }
    }

    /// Writes a line that was made at this time. What cannot be written is lost: a full disk must not stop the node.
    pub(super) fn write(&mut self, unix_seconds: u64, line: &str) {
        let hour = unix_seconds / 3600;
        let max = self.files.max_bytes;
        if self.open.as_ref().is_some_and(|open| open.hour != hour || open.bytes >= max) {
            self.open = None;
        }
        if self.open.is_none() && unix_seconds >= self.not_before {
            self.open = open(&self.files, unix_seconds).ok();
        }
        let written = self.open.as_mut().is_some_and(|open| {
            open.bytes += line.len() as u64;
            open.file.write_all(line.as_bytes()).is_ok()
        });
        if !written && unix_seconds >= self.not_before {
            self.open = None;
            self.not_before = unix_seconds + PATIENCE_SECONDS;
        }
    }
}

fn open(files: &LogFiles, unix_seconds: u64) -> std::io::Result<Open> {
    std::fs::create_dir_all(&files.folder)?;
    for number in 0.. {
        let file = OpenOptions::new().create(true).append(true).open(files.folder.join(name(unix_seconds, number)))?;
        let bytes = file.metadata()?.len();
        // A file of this minute may be there already, from before a restart or full.
        if bytes < files.max_bytes || number == MOST_PER_MINUTE {
            return Ok(Open { file, bytes, hour: unix_seconds / 3600 });
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

/// `log_2026112302.43.log`; further files of the same minute have a number before the ending.
fn name(unix_seconds: u64, number: u32) -> String {
    let (year, month, day, hour, minute, _) = utc_fields(i64::try_from(unix_seconds).unwrap_or_default());
    let stem = format!("log_{year:04}{month:02}{day:02}{hour:02}.{minute:02}");
    if number == 0 { format!("{stem}.log") } else { format!("{stem}.{number}.log") }
}

/// Whether files can be written there, asked before a node relies on it.
pub fn can_write(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".probe");
    File::create(&probe)?;
    std::fs::remove_file(probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("konsort-log-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&folder).ok();
        folder
    }

    fn listed(folder: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        found.sort();
        found
    }

    /// 2026-11-23 02:43:20 UTC.
    const NOW: u64 = 1_795_401_800;

    #[test]
    fn a_new_hour_and_a_full_file_begin_the_next() {
        let folder = folder("rotation");
        let files = LogFiles { folder: folder.clone(), max_bytes: 8 };
        let mut writer = Writer::new(files.clone());
        let text = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        for line in ["one\n", "two\n", "three\n"] {
            writer.write(NOW, line);
        }
        // Full after two lines; the third begins the next file of the same minute.
        let first = text("log_2026112302.43.log", "one\ntwo\n");
        assert_eq!(listed(&folder), [text("log_2026112302.43.1.log", "three\n"), first.clone()]);
        // After a restart the file that has room goes on.
        Writer::new(files).write(NOW, "four\n");
        writer.write(NOW + 3600, "five\n");
        assert_eq!(
            listed(&folder),
            [text("log_2026112302.43.1.log", "three\nfour\n"), first, text("log_2026112303.43.log", "five\n")]
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_tried_again() {
        let folder = folder("failure");
        std::fs::write(&folder, "in the way").unwrap();
        assert!(can_write(&folder).is_err());
        let mut writer = Writer::new(LogFiles { folder: folder.clone(), max_bytes: 1000 });
        writer.write(NOW, "lost\n");
        std::fs::remove_file(&folder).unwrap();
        writer.write(NOW, "lost, too\n");
        writer.write(NOW + PATIENCE_SECONDS, "kept\n");
        assert_eq!(listed(&folder), [("log_2026112302.43.log".to_owned(), "kept\n".to_owned())]);
        assert!(can_write(&folder).is_ok());
        assert_eq!(listed(&folder).len(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
