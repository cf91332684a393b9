//! The log on a real disk: kept, cut, refused.

use konsort_raft::{Config, Effects, FolderDisk, Input, Message, Replica, Transport, Wal, WalError, wal};
use proptest::prelude::*;

#[derive(Debug, Default)]
struct Nowhere;

impl Transport for Nowhere {
    fn send(&mut self, _: Message) {}
}

fn open(folder: &std::path::Path) -> Result<Replica<FolderDisk>, WalError> {
    Replica::open(Config::new(1), FolderDisk::new(folder).unwrap(), 0, &[1])
}

/// A single member that has committed `count` entries after its own first ones.
fn filled(folder: &std::path::Path, count: u64) -> Vec<Vec<u8>> {
    let mut replica = open(folder).unwrap();
    replica.step(Input::Campaign).unwrap();
    replica.flush(&mut Nowhere).unwrap();
    for i in 0..count {
        replica.step(Input::Propose(vec![format!("entry {i}").into_bytes().into()])).unwrap();
        replica.flush(&mut Nowhere).unwrap();
    }
    entries(&replica)
}

fn entries(replica: &Replica<FolderDisk>) -> Vec<Vec<u8>> {
    let log = replica.node().log();
    log.range(log.first_index(), log.last_index()).map(|e| e.data.to_vec()).collect()
}

fn file(folder: &std::path::Path) -> std::path::PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn a_log_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path(), 5);
    let replica = open(folder.path()).unwrap();
    assert_eq!(entries(&replica), written);
    assert_eq!(replica.node().term(), 2);
}

#[test]
fn a_torn_tail_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path(), 5);
    let path = file(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let replica = open(folder.path()).unwrap();
    assert_eq!(entries(&replica), written[..written.len() - 1]);
    drop(replica);
    // Garbage of a write that never became whole.
    let mut longer = std::fs::read(&path).unwrap();
    longer.extend_from_slice(&[0x4c, 0x41, 0x57, 0x4b, 0xff, 0, 0, 0, 1, 2, 3]);
    std::fs::write(&path, longer).unwrap();
    assert_eq!(entries(&open(folder.path()).unwrap()), written[..written.len() - 1]);
}

#[test]
fn a_damaged_middle_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 5);
    let path = file(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|w| w == b"entry 2").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = open(folder.path()).unwrap_err();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(matches!(&error, WalError::Damaged { file, .. } if *file == name), "{error}");
    assert!(error.to_string().contains("is damaged at byte"), "{error}");
}

#[test]
fn compaction_leaves_one_small_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut replica = open(folder.path()).unwrap();
    replica.step(Input::Campaign).unwrap();
    for i in 0..100 {
        replica.step(Input::Propose(vec![vec![i; 1000].into()])).unwrap();
    }
    replica.flush(&mut Nowhere).unwrap();
    let before = replica.log_bytes();
    let index = replica.node().applied_index();
    replica.compact(index, "state".into(), 4).unwrap();
    assert!(replica.log_bytes() < before / 10);
    drop(replica);
    let replica = open(folder.path()).unwrap();
    assert_eq!((replica.node().snapshot().index(), &replica.node().snapshot().data[..]), (index, b"state".as_slice()));
    assert_eq!(entries(&replica).len(), 4);
    file(folder.path());
}

#[test]
fn a_checkpoint_that_never_became_whole_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let written = filled(folder.path(), 3);
    std::fs::write(folder.path().join("0000000000000002.wal"), b"half").unwrap();
    assert_eq!(entries(&open(folder.path()).unwrap()), written);
    file(folder.path());
}

proptest! {
    // Each case syncs a real disk some ten times.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a file holds, opening it ends with a log or a reason, and what one flipped bit damages is never served.
    #[test]
    fn any_single_flip_is_cut_or_refused(flip in 0usize..4000, bit in 0u8..8) {
        let folder = tempfile::tempdir().unwrap();
        let written = filled(folder.path(), 6);
        let path = file(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = flip % bytes.len();
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, bytes).unwrap();
        // A refusal is as good as a prefix.
        if let Ok(replica) = open(folder.path()) {
            let kept = entries(&replica);
            prop_assert!(kept.len() <= written.len());
            prop_assert_eq!(&kept[..], &written[..kept.len()]);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = wal::inspect(&bytes.into());
    }
}

#[test]
fn nothing_is_written_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, found) = Wal::open(FolderDisk::new(folder.path()).unwrap()).unwrap();
    assert!(found.is_none());
    let size = log.size();
    log.save(&Effects::default()).unwrap();
    assert_eq!(log.size(), size);
}
