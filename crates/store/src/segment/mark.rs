//! How far the last file is known to be durable, kept in a small file beside it.
//!
//! The frames say it too, but only about what stands before them: damage in the last synced group looks like a torn tail to them.
//! The mark is written after each sync of the log and is never synced itself: an older one only claims less.

use super::LogFiles;

const NAME: &str = "mark";
/// Two places in turn, in sectors of their own: a torn write leaves the other one.
const PLACES: [u64; 2] = [0, 512];
/// Number of the file's first record, durable offset, checksum.
const BYTES: usize = 8 + 8 + 4;

/// The file whose first record is `first` was durable up to `durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) first: u64,
    pub(super) durable: u64,
}

impl Mark {
    fn encode(self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[..8].copy_from_slice(&self.first.to_le_bytes());
        out[8..16].copy_from_slice(&self.durable.to_le_bytes());
        let crc = crc32fast::hash(&out[..16]);
        out[16..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: [u8; BYTES]) -> Option<Self> {
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
        let mark = Self { first: number(0), durable: number(8) };
        // A mark of nothing is what zeros would be.
        (mark.durable > 0 && mark.encode() == bytes).then_some(mark)
    }
}

/// The newest mark, if there is a whole one.
pub(super) fn read(files: &dyn LogFiles) -> Option<Mark> {
    if !files.list().ok()?.iter().any(|name| name == NAME) {
        return None;
    }
    let file = files.open(NAME).ok()?;
    let place = |at| {
        let mut bytes = [0; BYTES];
        file.read_at(at, &mut bytes).ok().and_then(|()| Mark::decode(bytes))
    };
    PLACES.into_iter().filter_map(place).max()
}

/// Keeps a mark. Only a help: when it cannot be written the older one stays.
pub(super) fn write(files: &dyn LogFiles, mark: Mark, turn: &mut bool) {
    *turn = !*turn;
    let written = files.open(NAME).and_then(|file| file.write_at(PLACES[usize::from(*turn)], &[&mark.encode()]));
    drop(written);
}
