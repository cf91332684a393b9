//! Where bytes rest: an ordered key-value [`Store`], an append-only [`SegmentLog`], and doubles of both that inject faults.
//!
//! ```
//! use konsort_store::{Batch, FjallStore, Space, Store};
//!
//! let folder = std::env::temp_dir().join(format!("konsort-store-doc-{}", std::process::id()));
//! let store = FjallStore::open(&folder, &["people"])?;
//! const PEOPLE: Space = Space(0);
//! let mut batch = Batch::default();
//! batch.put(PEOPLE, b"alice", b"1");
//! store.write(batch)?;
//! assert_eq!(store.snapshot().get(PEOPLE, b"alice")?.as_deref(), Some(&b"1"[..]));
//! # drop(store);
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok::<(), konsort_store::StoreError>(())
//! ```
//!
//! The two halves have different promises. A [`SegmentLog`] is durable when `sync` returns: it is the write-ahead log of a ledger.
//! A [`Store`] is atomic per batch and keeps the order of batches, but a batch is durable only after [`Store::persist`]:
//! who needs more derives it from a log and replays the tail. Who can derive everything opens it with [`FjallStore::open_derived`] and
//! removes the folder when that says [`StoreError::Engine`]. A store that is dropped writes out what it holds, so the next opening is
//! quick; one that was killed reads again at most what its memory held.
//!
//! This crate knows nothing of blocks, transactions or channels, and it has no background policy of its own.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod error;
pub mod faults;
mod fjall_store;
mod kv;
mod segment;

pub use error::StoreError;
pub use fjall_store::FjallStore;
pub use kv::{Batch, Entries, Entry, Operation, Snapshot, Space, Store, prefix_end};
pub use segment::{FolderFiles, LogFile, LogFiles, LogOptions, SegmentLog, TornTail};
