use std::sync::Arc;

use super::*;
use crate::faults::MemoryFiles;

fn small() -> LogOptions {
    LogOptions { segment_bytes: 200, max_record_bytes: 1000, first: 0 }
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number} ").repeat(1 + (number as usize % 5)).into_bytes()
}

/// A log with `synced` durable records and `more` that are not.
fn filled(synced: u64, more: u64) -> Arc<MemoryFiles> {
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), small()).unwrap();
    for number in 0..synced {
        assert_eq!(log.append(&[&record(number)]).unwrap(), number);
    }
    log.sync().unwrap();
    for number in synced..synced + more {
        log.append(&[&record(number)[..3], &record(number)[3..]]).unwrap();
    }
    files
}

fn check(log: &SegmentLog, at_least: u64, at_most: u64) {
    let next = log.next();
    assert!((at_least..=at_most).contains(&next), "{next} records");
    for number in 0..next {
        assert_eq!(log.get(number).unwrap().unwrap(), record(number));
    }
    assert!(log.get(next).unwrap().is_none());
}

#[test]
fn reopens_with_every_record_and_rolls_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    for number in 0..40 {
        log.append(&[&record(number)]).unwrap();
    }
    log.sync().unwrap();
    assert!(matches!(SegmentLog::open(folder.path(), small()), Err(StoreError::InUse { .. })));
    drop(log);
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files > 5, "{files} files");
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    check(&log, 40, 40);
    log.verify().unwrap();
    assert_eq!(log.append(&[&record(40)]).unwrap(), 40);
}

#[test]
fn starts_at_the_number_given() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { first: 7, ..small() };
    let log = SegmentLog::open(folder.path(), options).unwrap();
    assert_eq!((log.first(), log.next()), (7, 7));
    log.append(&[b"x"]).unwrap();
    assert_eq!(log.get(7).unwrap().unwrap(), "x");
    assert!(log.get(6).unwrap().is_none());
    drop(log);
    assert_eq!(SegmentLog::open(folder.path(), small()).unwrap().first(), 7);
}

#[test]
fn a_crash_at_every_byte_keeps_what_was_synced_and_only_whole_records() {
    let files = filled(9, 2);
    let unsynced = files.unsynced();
    assert!(unsynced > 50);
    for kept in 0..=unsynced {
        let log = SegmentLog::open_in(Arc::new(files.crash_keeping(kept)), small()).unwrap();
        check(&log, 9, 11);
        // The log goes on where it was cut.
        let next = log.next();
        log.append(&[&record(next)]).unwrap();
        check(&log, next + 1, next + 1);
    }
}

#[test]
fn a_power_cut_that_writes_sectors_in_any_order_is_a_torn_tail() {
    let options = LogOptions { segment_bytes: 1 << 20, ..small() };
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), options).unwrap();
    for number in 0..20 {
        log.append(&[&record(number)]).unwrap();
    }
    log.sync().unwrap();
    for number in 20..90 {
        log.append(&[&record(number)]).unwrap();
    }
    for seed in 0..200 {
        let log = SegmentLog::open_in(Arc::new(files.crash_scrambled(seed)), options).unwrap();
        check(&log, 20, 90);
    }
}

#[test]
fn damage_before_synced_records_is_refused_by_file_and_offset() {
    let options = LogOptions { segment_bytes: 1 << 20, ..small() };
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), options).unwrap();
    for number in 0..6 {
        log.append(&[&record(number)]).unwrap();
        log.sync().unwrap();
    }
    // The header of the file, then the records.
    let starts = [&[0], &log.shared.index.read()[0].offsets[..]].concat();
    let name = recover::segment_name(0);
    for offset in 0..starts[6] {
        files.flip(&name, offset as usize);
        let damaged = starts.iter().copied().filter(|start| *start <= offset).max().unwrap();
        match SegmentLog::open_in(Arc::new(files.crash_keeping(0)), options) {
            Err(StoreError::Damaged { path, offset: at, .. }) => {
                assert!(path.ends_with(&name));
                assert_eq!(at, damaged, "flipped byte {offset}");
            }
            other => panic!("flipped byte {offset}: {other:?}"),
        }
        files.flip(&name, offset as usize);
    }
}

#[test]
fn damage_in_a_closed_file_is_found_when_read_and_when_scanned() {
    let files = filled(12, 0);
    let name = recover::segment_name(0);
    let files = Arc::new(files.crash_keeping(usize::MAX));
    files.flip(&name, 80);
    let log = SegmentLog::open_in(files.clone(), small()).unwrap();
    let found = log.verify();
    assert!(matches!(found, Err(StoreError::Damaged { offset: 69, .. })), "{found:?}");
    // Without its offset list the file is scanned, and refused even though nothing later in it is intact.
    files.flip(&name.replace(".seg", ".idx"), 1);
    assert!(matches!(SegmentLog::open_in(files, small()), Err(StoreError::Damaged { offset: 69, .. })));
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    for number in 0..20 {
        log.append(&[&record(number)]).unwrap();
    }
    let second = log.shared.index.read()[1].name.clone();
    drop(log);
    std::fs::remove_file(folder.path().join(&second)).unwrap();
    match SegmentLog::open(folder.path(), small()) {
        Err(StoreError::Missing { path }) => assert!(path.ends_with(&second)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing_synced() {
    for operations in 0..12 {
        let files = filled(5, 0);
        let log = SegmentLog::open_in(files.clone(), small()).unwrap();
        files.fail_after(operations);
        let mut durable = 5;
        for number in 5..20 {
            if log.append(&[&record(number)]).is_err() {
                break;
            }
            if log.sync().is_err() {
                break;
            }
            durable = number + 1;
        }
        match log.append(&[b"x"]) {
            Err(StoreError::Poisoned { .. }) => assert!(matches!(log.sync(), Err(StoreError::Poisoned { .. }))),
            Err(StoreError::Io { source, path, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
                assert!(path.extension().is_some(), "{path:?} is no file of the log");
            }
            other => panic!("{other:?}"),
        }
        let log = SegmentLog::open_in(Arc::new(files.crash_keeping(10)), small()).unwrap();
        check(&log, durable, 20);
    }
}

#[test]
fn a_record_over_the_limit_is_refused_and_the_log_goes_on() {
    let log = SegmentLog::open_in(Arc::new(MemoryFiles::default()), small()).unwrap();
    assert!(matches!(log.append(&[&[0; 1001]]), Err(StoreError::TooLarge { size: 1001, limit: 1000, .. })));
    assert_eq!(log.append(&[b"fits"]).unwrap(), 0);
}

#[test]
fn a_refused_write_can_be_repeated_when_there_is_space_again() {
    for operations in [0, 1, 3, 4] {
        let options = LogOptions { segment_bytes: 1 << 20, ..small() };
        let files = Arc::new(MemoryFiles::default());
        let log = SegmentLog::open_in(files.clone(), options).unwrap();
        log.append(&[&record(0)]).unwrap();
        log.sync().unwrap();
        files.fail_after(operations);
        let refused = (1..9).find(|number| log.append(&[&record(*number)]).is_err()).unwrap();
        assert_eq!((refused, log.next()), (u64::from(operations) + 1, u64::from(operations) + 1));
        assert!(log.append(&[&record(refused)]).is_err());
        files.free_space();
        for number in refused..12 {
            assert_eq!(log.append(&[&record(number)]).unwrap(), number);
        }
        log.sync().unwrap();
        check(&log, 12, 12);
        check(&SegmentLog::open_in(Arc::new(files.crash_keeping(0)), options).unwrap(), 12, 12);
    }
}

#[test]
fn damage_in_the_last_synced_group_is_refused_by_the_mark() {
    let options = LogOptions { segment_bytes: 1 << 20, ..small() };
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), options).unwrap();
    for number in 0..6 {
        log.append(&[&record(number)]).unwrap();
    }
    log.sync().unwrap();
    let starts = [&[0], &log.shared.index.read()[0].offsets[..]].concat();
    let durable = log.shared.writer.lock().end;
    log.append(&[&record(6)]).unwrap();
    let name = recover::segment_name(0);
    let refused = |files: MemoryFiles| match SegmentLog::open_in(Arc::new(files), options) {
        Err(StoreError::Damaged { path, offset, .. }) if path.ends_with(&name) => offset,
        other => panic!("{other:?}"),
    };
    for offset in 0..durable {
        // A killed process: what it wrote is there, one bit of it is not what it was.
        let files = files.crash_keeping(usize::MAX);
        files.flip(&name, offset as usize);
        assert_eq!(refused(files), starts.iter().copied().filter(|start| *start <= offset).max().unwrap());
    }
    let files = files.crash_keeping(usize::MAX);
    files.open(&name).unwrap().truncate(durable - 1).unwrap();
    assert_eq!(refused(files), starts[6]);
}

#[test]
fn a_torn_mark_leaves_the_one_before() {
    let options = LogOptions { segment_bytes: 1 << 20, ..small() };
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), options).unwrap();
    for number in 0..3 {
        log.append(&[&record(number)]).unwrap();
        log.sync().unwrap();
    }
    let newest = mark::read(files.as_ref()).unwrap();
    let mut places = [0, 512].map(|place| {
        let torn = files.crash_keeping(usize::MAX);
        torn.flip("mark", place);
        mark::read(&torn).unwrap()
    });
    places.sort_unstable();
    assert!(places[0] < newest && places[1] == newest, "{places:?}");
}

/// A record by an attacker: frames with every number and claim that could matter, well formed under `salt`.
fn hostile_record(salt: &Salt) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in 2..9 {
        for durable in [1, 64, 1 << 20, u64::MAX] {
            let inner = format!("chosen by a client {number}");
            let head = Header { length: inner.len() as u32, number, durable }.encode(salt, &[inner.as_bytes()]);
            payload.extend_from_slice(&head);
            payload.extend_from_slice(inner.as_bytes());
        }
    }
    payload
}

/// Verdict on a log whose fourth record is `payload`, cut at each place inside it, without any mark; true when one cut is called damage.
fn some_cut_is_damage(payload: impl Fn(&SegmentLog) -> Vec<u8>) -> bool {
    let options = LogOptions { segment_bytes: 1 << 20, max_record_bytes: 1 << 16, first: 0 };
    let files = Arc::new(MemoryFiles::default());
    let log = SegmentLog::open_in(files.clone(), options).unwrap();
    for number in 0..3 {
        log.append(&[&record(number)]).unwrap();
        log.sync().unwrap();
    }
    let start = log.shared.writer.lock().end;
    log.append(&[&payload(&log)]).unwrap();
    let end = log.shared.writer.lock().end;
    let mut damage = false;
    for cut in start + 1..end {
        let torn = files.crash_keeping(usize::MAX);
        torn.flip("mark", 0);
        torn.flip("mark", 512);
        assert!(mark::read(&torn).is_none());
        torn.open(&recover::segment_name(0)).unwrap().truncate(cut).unwrap();
        match SegmentLog::open_in(Arc::new(torn), options) {
            Ok(log) => check(&log, 3, 3),
            Err(StoreError::Damaged { .. }) => damage = true,
            Err(other) => panic!("{other:?}"),
        }
    }
    damage
}

#[test]
fn frames_inside_a_record_do_not_change_the_verdict_on_a_torn_tail() {
    // With the file's own salt, which nobody outside knows, they would.
    assert!(some_cut_is_damage(|log| hostile_record(&log.shared.index.read()[0].salt)));
    // A whole log of the attacker's making, with its own salt.
    assert!(!some_cut_is_damage(|_| {
        let salt = Salt::random();
        [salt.file_header().to_vec(), hostile_record(&salt)].concat()
    }));
    // Or the salt of another file of the same node.
    let other = filled(3, 0);
    let log = SegmentLog::open_in(other, small()).unwrap();
    let salt = log.shared.index.read()[0].salt.clone();
    assert!(!some_cut_is_damage(|_| hostile_record(&salt)));
}

#[test]
fn a_file_only_begun_is_begun_again_and_another_format_is_named() {
    let files = filled(12, 0);
    let log = SegmentLog::open_in(files.clone(), small()).unwrap();
    let next = log.next();
    for size in 0..FILE_HEADER_BYTES {
        let files = files.crash_keeping(usize::MAX);
        let begun = files.open(&recover::segment_name(next)).unwrap();
        begun.write_at(0, &[&[7; FILE_HEADER_BYTES][..size]]).unwrap();
        let log = SegmentLog::open_in(Arc::new(files.clone()), small()).unwrap();
        check(&log, 12, 12);
        for number in 12..20 {
            log.append(&[&record(number)]).unwrap();
        }
        log.sync().unwrap();
        check(&SegmentLog::open_in(Arc::new(files.crash_keeping(0)), small()).unwrap(), 20, 20);
    }
    let first = files.open(&recover::segment_name(0)).unwrap();
    let mut header = [0; FILE_HEADER_BYTES];
    first.read_at(0, &mut header).unwrap();
    header[4] = 3;
    let crc = crc32fast::hash(&header[..FILE_HEADER_BYTES - 4]);
    header[FILE_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    first.write_at(0, &[&header]).unwrap();
    match SegmentLog::open_in(Arc::new(files.crash_keeping(usize::MAX)), small()) {
        Err(StoreError::Damaged { offset: 0, what, .. }) => assert!(what.contains("format version is 3"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_holds_records_once_one_is_written() {
    let folder = tempfile::tempdir().unwrap();
    assert!(!SegmentLog::holds_records(folder.path()) && !SegmentLog::holds_records(folder.path().join("none")));
    let log = SegmentLog::open(folder.path(), small()).unwrap();
    std::fs::write(folder.path().join(recover::segment_name(0)), [0; FILE_HEADER_BYTES]).unwrap();
    assert!(!SegmentLog::holds_records(folder.path()));
    log.append(&[b"x"]).unwrap();
    assert!(SegmentLog::holds_records(folder.path()));
}
