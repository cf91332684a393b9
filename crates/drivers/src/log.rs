//! A node's log file: written by the node itself, kept bounded and read here.
//!
//! The node holds the file open for appending, with no pipe in between, so it goes on writing when the platform is gone. To rotate,
//! the old part is copied away and then cut off the front of the file, which moves the end along with it: where the file system can
//! do that in one step nothing is lost, elsewhere the few bytes written between the copy and the cut are.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Most bytes that one look at the end of a log reads.
const MOST_TAIL: u64 = 8 << 20;
/// A longer line is cut in pieces of this size.
const MOST_LINE: usize = 16 << 10;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// One node's log and its older parts (`.1` is the newest of them).
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// Size from which on the file is rotated.
    limit: u64,
    /// How many older parts are kept.
    keep: usize,
    /// Bytes cut off the file's front since this program began; a reader's position counts from there.
    cut: Mutex<u64>,
}

impl Log {
    pub(crate) fn new(path: PathBuf, limit: u64, keep: usize) -> Self {
        Self { path, limit, keep, cut: Mutex::new(0) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file as a node's output.
    pub(crate) fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path)
    }

    /// Whether the file has grown beyond its limit.
    pub(crate) fn is_large(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() > self.limit)
    }

    /// Moves the file's content to an older part when it is large. Blocks.
    pub(crate) fn rotate(&self) -> std::io::Result<()> {
        let mut cut = self.cut.lock();
        let mut live = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let length = live.metadata()?.len();
        if length <= self.limit {
            return Ok(());
        }
        let block = rustix::fs::fstatvfs(&live)?.f_bsize.max(512);
        // The cut is in whole blocks and must leave something.
        let whole = (length - 1) / block * block;
        // Copied first, so that a full disk costs no older part.
        let fresh = self.beside("new");
        let mut copy = || -> std::io::Result<(u64, bool)> {
            let mut older = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
            let mut moved = std::io::copy(&mut (&mut live).take(whole), &mut older)?;
            let collapsed = fallocate(&live, FallocateFlags::COLLAPSE_RANGE, 0, whole).is_ok();
            if !collapsed {
                moved += std::io::copy(&mut live, &mut older)?;
            }
            Ok((moved, collapsed))
        };
        let (moved, collapsed) = copy().inspect_err(|_| {
            let _absent = std::fs::remove_file(&fresh);
        })?;
        for number in (1..self.keep).rev() {
            // The first times there are not so many.
            let _absent = std::fs::rename(self.part(number), self.part(number + 1));
        }
        std::fs::rename(&fresh, self.part(1))?;
        if !collapsed {
            live.set_len(0)?;
        }
        *cut += moved;
        Ok(())
    }

    fn part(&self, number: usize) -> PathBuf {
        self.beside(&number.to_string())
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{ending}"));
        PathBuf::from(name)
    }

    /// The end of the log, at least `lines` line ends when there are so many, and the position after it.
    fn end(&self, lines: usize) -> std::io::Result<(Vec<u8>, u64)> {
        let cut = self.cut.lock();
        let mut live = File::open(&self.path)?;
        let length = live.metadata()?.len();
        let mut text = last_lines(&mut live, length, lines, MOST_TAIL)?;
        for number in 1..=self.keep {
            let found = line_ends(&text);
            let room = MOST_TAIL.saturating_sub(text.len() as u64);
            if found > lines || room == 0 {
                break;
            }
            let Ok(mut older) = File::open(self.part(number)) else { break };
            let size = older.metadata()?.len();
            let mut before = last_lines(&mut older, size, lines - found, room)?;
            before.append(&mut text);
            text = before;
        }
        Ok((text, *cut + length))
    }

    /// What was written from a position on, at most a few hundred kilobytes, and the position after it.
    fn since(&self, position: u64) -> std::io::Result<(Vec<u8>, u64)> {
        const PIECE: u64 = 256 << 10;
        let cut = self.cut.lock();
        let mut bytes = Vec::new();
        // What rotations have moved since is in the older parts, newest first; `end` is where the part at hand ends.
        let mut end = *cut;
        for number in 1..=self.keep {
            if position >= end {
                break;
            }
            let Ok(mut older) = File::open(self.part(number)) else { break };
            let size = older.metadata()?.len().min(end);
            let begin = end - size;
            // A reader that is further behind than all parts together loses what is gone.
            let is_oldest = number == self.keep || !self.part(number + 1).exists();
            if position >= begin || is_oldest {
                let start = position.max(begin);
                older.seek(SeekFrom::Start(start - begin))?;
                let read = older.take(PIECE).read_to_end(&mut bytes)? as u64;
                return Ok((bytes, start + read));
            }
            end = begin;
        }
        let position = position.max(*cut);
        let mut live = File::open(&self.path)?;
        let length = live.metadata()?.len();
        // A file that somebody else emptied is read from its start.
        let offset = if position - *cut > length { 0 } else { position - *cut };
        live.seek(SeekFrom::Start(offset))?;
        let read = live.take(PIECE).read_to_end(&mut bytes)? as u64;
        Ok((bytes, *cut + offset + read))
    }

    /// The last lines as texts, then further ones as they are written. The stream ends when the log is removed.
    pub(crate) fn lines(self: Arc<Self>, tail: usize, follow: bool) -> std::io::Result<BoxStream<'static, String>> {
        let (text, mut position) = self.end(tail.min(1_000_000))?;
        let mut splitter = Splitter::default();
        let mut lines = splitter.take(&text);
        if !follow {
            lines.extend(splitter.rest());
        }
        let surplus = lines.len().saturating_sub(tail);
        lines.drain(..surplus);
        let first = futures::stream::iter(lines);
        if !follow {
            return Ok(first.boxed());
        }
        let (sender, receiver) = mpsc::channel(256);
        tokio::spawn(async move {
            loop {
                let own = Arc::clone(&self);
                let read = tokio::task::spawn_blocking(move || own.since(position)).await;
                let Ok(Ok((mut bytes, next))) = read else { return };
                if next - bytes.len() as u64 > position {
                    // Something was lost in between: go on with a whole line.
                    splitter = Splitter::default();
                    let begin = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |end| end + 1);
                    bytes.drain(..begin);
                }
                position = next;
                if bytes.is_empty() {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = sender.closed() => return,
                    }
                }
                for line in splitter.take(&bytes) {
                    if sender.send(line).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(first.chain(ReceiverStream::new(receiver)).boxed())
    }
}

/// The end of a file with more than `lines` line ends, or all of it, or the last `most` bytes.
fn last_lines(file: &mut File, length: u64, lines: usize, most: u64) -> std::io::Result<Vec<u8>> {
    const STEP: u64 = 64 << 10;
    let mut text: Vec<u8> = Vec::new();
    let mut start = length;
    let mut found = 0;
    while start > 0 && found <= lines && length - start < most {
        let step = STEP.min(start).min(most - (length - start));
        start -= step;
        file.seek(SeekFrom::Start(start))?;
        let mut piece = Vec::new();
        file.take(step).read_to_end(&mut piece)?;
        found += line_ends(&piece);
        piece.append(&mut text);
        text = piece;
    }
    Ok(text)
}

fn line_ends(text: &[u8]) -> usize {
    text.split(|&byte| byte == b'\n').count() - 1
}

/// Makes lines of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
}

impl Splitter {
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                lines.push(Self::text(&std::mem::take(&mut self.partial)));
                continue;
            }
            self.partial.push(byte);
            if self.partial.len() >= MOST_LINE {
                lines.push(Self::text(&std::mem::take(&mut self.partial)));
            }
        }
        lines
    }

    /// The line that has not ended yet.
    pub(crate) fn rest(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| Self::text(&std::mem::take(&mut self.partial)))
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn log(folder: &Path, limit: u64, keep: usize) -> Arc<Log> {
        Arc::new(Log::new(folder.join("node.log"), limit, keep))
    }

    async fn collect(log: &Arc<Log>, tail: usize) -> Vec<String> {
        Arc::clone(log).lines(tail, false).unwrap().collect().await
    }

    #[tokio::test]
    async fn the_end_reaches_back_across_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 10_000, 3);
        let mut file = log.open().unwrap();
        for number in 0..4000 {
            writeln!(file, "line {number}").unwrap();
            if log.is_large() {
                log.rotate().unwrap();
            }
        }
        write!(file, "not ended").unwrap();
        let lines = collect(&log, 1500).await;
        let wanted: Vec<String> =
            (2501..4000).map(|number| format!("line {number}")).chain(["not ended".into()]).collect();
        assert_eq!(lines, wanted);
        assert_eq!(collect(&log, 0).await, Vec::<String>::new());
        assert_eq!(collect(&log, 1).await, ["not ended"]);
        let parts = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(parts, 4, "the live file and three older parts");
        // Everything that is kept, each line once and in order.
        let all = collect(&log, 100_000).await;
        assert!(all.len() > 2000, "{}", all.len());
        assert_eq!(all[all.len() - 2], "line 3999");
    }

    #[tokio::test]
    async fn a_rotation_that_fails_costs_no_older_part() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 1000, 2);
        let mut file = log.open().unwrap();
        for round in 0..2 {
            for number in 0..1000 {
                writeln!(file, "line {round} {number}").unwrap();
            }
            log.rotate().unwrap();
        }
        let before = collect(&log, 100_000).await;
        std::fs::create_dir(log.beside("new")).unwrap();
        for _ in 0..3 {
            writeln!(file, "{}", "x".repeat(2000)).unwrap();
            log.rotate().unwrap_err();
        }
        let after = collect(&log, 100_000).await;
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.len(), before.len() + 3);
    }

    #[tokio::test]
    async fn following_misses_nothing_when_the_file_is_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 5_000, 2);
        let mut file = log.open().unwrap();
        writeln!(file, "before").unwrap();
        let mut lines = Arc::clone(&log).lines(10, true).unwrap();
        assert_eq!(lines.next().await.unwrap(), "before");
        let reader = tokio::spawn(lines.take(2000).collect::<Vec<String>>());
        for number in 0..2000 {
            writeln!(file, "line {number}").unwrap();
            if log.is_large() {
                log.rotate().unwrap();
                // The reader looks five times a second.
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
        let lines = tokio::time::timeout(Duration::from_secs(10), reader).await.unwrap().unwrap();
        assert_eq!(lines, (0..2000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_goes_on_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), 5_000, 2);
        let mut file = log.open().unwrap();
        let mut lines = Arc::clone(&log).lines(0, true).unwrap();
        for number in 0..20_000 {
            writeln!(file, "line {number}").unwrap();
            if log.is_large() {
                log.rotate().unwrap();
            }
        }
        let mut last = None;
        while last != Some(19_999) {
            let line = tokio::time::timeout(Duration::from_secs(10), lines.next()).await.unwrap().unwrap();
            let number: u32 = line.strip_prefix("line ").unwrap().parse().unwrap();
            assert!(last.is_none_or(|last| last < number), "{last:?} then {number}");
            last = Some(number);
        }
    }

    #[test]
    fn lines_without_end_are_cut() {
        let mut splitter = Splitter::default();
        let lines = splitter.take(&vec![b'x'; MOST_LINE * 2 + 5]);
        assert_eq!(lines.len(), 2);
        assert_eq!(splitter.rest().unwrap().len(), 5);
        assert_eq!(splitter.take(b"a\r\n\xff\n"), ["a", "\u{fffd}"]);
    }
}
