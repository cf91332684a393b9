//! Damaged databases: whatever is cut, changed or missing in the derived folder, opening ends with the state of the partner that never
//! had any damage. Damaged blocks stay refused.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use fabric_ledger::{HistoryEntry, Ledger, LedgerError, Options};
use konsort_store::{
    LogOptions, SegmentLog, Store, StoreError,
    faults::{MemoryFiles, MemoryStore},
};

use crate::{
    chain::{Random, dump, genesis, random_block},
    private::Lives,
};

const SEED: u64 = 31;
const BLOCKS: u64 = 40;

fn options() -> Options {
    Options { collections: Arc::new(Lives(2)), history: true }
}

fn partner() -> Ledger {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let log = SegmentLog::open_in(Arc::new(MemoryFiles::default()), LogOptions::default()).unwrap();
    let ledger = Ledger::create_over(log, &store, "ch", &genesis(), options()).unwrap();
    grow(&ledger, BLOCKS);
    ledger
}

fn grow(ledger: &Ledger, height: u64) {
    while ledger.height() < height {
        ledger.commit(random_block(SEED, ledger, ledger.info().current_hash)).unwrap();
    }
}

/// A ledger of the same blocks on disk, closed in a clean way in the middle and killed at the end.
fn killed() -> tempfile::TempDir {
    let (running, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ledger = Ledger::create(running.path(), "ch", &genesis(), options()).unwrap();
    grow(&ledger, BLOCKS / 2);
    drop(ledger);
    let ledger = Ledger::open(running.path(), "ch", options()).unwrap();
    grow(&ledger, BLOCKS);
    copy(running.path(), killed.path());
    killed
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
}

/// Everything that can be asked of the databases; an error where they cannot be read.
type Everything = (Vec<fabric_ledger::DumpedRow>, Vec<HistoryEntry>, Vec<(u8, u64)>);

fn everything(ledger: &Ledger) -> Result<Everything, LedgerError> {
    let rows = ledger.snapshot().dump().collect::<Result<_, _>>()?;
    let mut history = Vec::new();
    for namespace in ["a", "b"] {
        for key in 0..9 {
            history.extend(ledger.history(namespace, &format!("k{key}"))?.collect::<Result<Vec<_>, _>>()?);
        }
    }
    let mut codes = Vec::new();
    for number in 1..ledger.height() {
        for index in 0.. {
            let txid = hex::encode(konsort_crypto::hash::sha256(format!("{number}/{index}").as_bytes()));
            match ledger.blocks().transaction_code(&txid)? {
                Some(found) => codes.push(found),
                None => break,
            }
        }
    }
    Ok((rows, history, codes))
}

/// Opens the ledger and compares; damage that shows only when a row is read may ask for one more start. True when it was rebuilt.
fn opens_like(partner: &Ledger, folder: &Path, what: &str) -> bool {
    let mut ledger = Ledger::open(folder, "ch", options()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut found = everything(&ledger);
    if let Err(error) = &found {
        assert!(matches!(error, LedgerError::Store(StoreError::Engine { .. })), "{what}: {error}");
        drop(ledger);
        ledger = Ledger::open(folder, "ch", options()).unwrap_or_else(|error| panic!("{what}, again: {error}"));
        found = everything(&ledger);
    }
    assert_eq!(ledger.height(), partner.height(), "{what}");
    assert_eq!(ledger.commit_hash(), partner.commit_hash(), "{what}");
    assert!(
        found.unwrap_or_else(|error| panic!("{what}: {error}")) == everything(partner).unwrap(),
        "{what}: other rows"
    );
    folder.join("derived.damaged").exists()
}

#[test]
fn bits_flipped_anywhere_in_the_databases_change_nothing() {
    let seed = std::env::var("KONSORT_DAMAGE_SEED").ok().map_or_else(
        || u64::from(std::process::id()) << 20 ^ u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos()),
        |text| text.parse().unwrap(),
    );
    let rounds = std::env::var("KONSORT_DAMAGE_ROUNDS").map_or(60, |text| text.parse().unwrap());
    println!("seed: KONSORT_DAMAGE_SEED={seed}");
    let (partner, killed) = (partner(), killed());
    let mut random = Random::new(seed);
    let mut rebuilt = 0;
    for round in 0..rounds {
        let damaged = tempfile::tempdir().unwrap();
        copy(killed.path(), damaged.path());
        let mut names = Vec::new();
        files(&damaged.path().join("derived"), &mut names);
        let mut what = format!("seed {seed}, round {round}:");
        for _ in 0..=random.below(3) {
            let name = &names[random.below(names.len() as u64) as usize];
            let mut bytes = std::fs::read(name).unwrap();
            // A journal is mostly zeros of room to come.
            let written = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            if written > 0 {
                let at = random.below(written as u64) as usize;
                let bit = random.below(8);
                bytes[at] ^= 1 << bit;
                write!(what, " bit {bit} of byte {at} in {}", name.display()).unwrap();
                std::fs::write(name, bytes).unwrap();
            }
        }
        rebuilt += usize::from(opens_like(&partner, damaged.path(), &what));
        // What was set right stays right.
        assert!(
            !Ledger::open(damaged.path(), "ch", options()).unwrap().history("a", "k1").unwrap().any(|row| row.is_err())
        );
    }
    println!("{rebuilt} of {rounds} were rebuilt from blocks, the others went on from what was whole");
    assert!(rebuilt > 0);
}

#[test]
fn a_journal_torn_at_any_place_or_scrambled_by_a_power_cut_is_cut() {
    let (partner, killed) = (partner(), killed());
    let journal = |folder: &Path| {
        let mut names = Vec::new();
        files(&folder.join("derived"), &mut names);
        names.into_iter().rfind(|name| name.extension().is_some_and(|kind| kind == "jnl")).unwrap()
    };
    let bytes = std::fs::read(journal(killed.path())).unwrap();
    let written = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
    assert!(written > 2000, "{written}");
    let mut random = Random::new(5);
    for round in 0..24 {
        let damaged = tempfile::tempdir().unwrap();
        copy(killed.path(), damaged.path());
        let mut bytes = bytes[..written].to_vec();
        if round % 2 == 0 {
            bytes.truncate(random.below(written as u64) as usize);
        } else {
            // Sectors that did not reach the disk.
            for sector in bytes.chunks_mut(512) {
                if random.one_in(8) {
                    sector.fill(0);
                }
            }
        }
        std::fs::write(journal(damaged.path()), bytes).unwrap();
        let rebuilt = opens_like(&partner, damaged.path(), &format!("round {round}"));
        assert!(!rebuilt, "round {round}: what stood before the tear was thrown away");
    }
}

#[test]
fn a_missing_empty_or_foreign_file_is_made_good() {
    let (partner, killed) = (partner(), killed());
    let mut names = Vec::new();
    files(&killed.path().join("derived"), &mut names);
    let mut rebuilt = 0;
    for name in &names {
        let name = name.strip_prefix(killed.path()).unwrap();
        for kind in ["missing", "empty", "half", "foreign"] {
            let damaged = tempfile::tempdir().unwrap();
            copy(killed.path(), damaged.path());
            let file = damaged.path().join(name);
            let bytes = std::fs::read(&file).unwrap();
            match kind {
                "missing" => std::fs::remove_file(&file).unwrap(),
                "empty" => std::fs::write(&file, []).unwrap(),
                "half" => std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
                _ => std::fs::write(&file, b"this is no database").unwrap(),
            }
            rebuilt += usize::from(opens_like(&partner, damaged.path(), &format!("{kind}: {}", name.display())));
        }
    }
    assert!(rebuilt > 10, "{rebuilt}");
    let damaged = tempfile::tempdir().unwrap();
    copy(killed.path(), damaged.path());
    std::fs::remove_dir_all(damaged.path().join("derived")).unwrap();
    assert!(!opens_like(&partner, damaged.path(), "no databases"));
}

#[test]
fn a_rebuilt_ledger_goes_on_and_damaged_blocks_are_still_refused() {
    let (partner, killed) = (partner(), killed());
    std::fs::write(killed.path().join("derived/version"), b"?").unwrap();
    assert!(opens_like(&partner, killed.path(), "version"));
    let ledger = Ledger::open(killed.path(), "ch", options()).unwrap();
    grow(&ledger, BLOCKS + 5);
    grow(&partner, BLOCKS + 5);
    assert_eq!(dump(&ledger.snapshot()), dump(&partner.snapshot()));
    drop(ledger);

    let mut names = Vec::new();
    files(&killed.path().join("blocks"), &mut names);
    let segment = names.iter().find(|name| name.extension().is_some_and(|kind| kind == "seg")).unwrap();
    let mut bytes = std::fs::read(segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(segment, bytes).unwrap();
    for derived in ["whole", "gone"] {
        if derived == "gone" {
            std::fs::remove_dir_all(killed.path().join("derived")).unwrap();
        }
        match Ledger::open(killed.path(), "ch", options()) {
            Err(LedgerError::Store(StoreError::Damaged { path, .. })) => assert_eq!(&path, segment),
            other => panic!("databases {derived}: {other:?}"),
        }
    }
}
