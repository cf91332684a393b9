//! Doubles that fail on purpose: files that lose, tear and refuse writes, and a store that forgets its last batches.
//!
//! ```
//! use std::sync::Arc;
//! use konsort_store::{LogOptions, SegmentLog, faults::MemoryFiles};
//!
//! let files = Arc::new(MemoryFiles::default());
//! let log = SegmentLog::open_in(files.clone(), LogOptions::default())?;
//! log.append(&[b"kept"])?;
//! log.sync()?;
//! log.append(&[b"lost"])?;
//! let after = SegmentLog::open_in(Arc::new(files.crash_keeping(3)), LogOptions::default())?;
//! assert_eq!(after.next(), 1);
//! # Ok::<(), konsort_store::StoreError>(())
//! ```

mod memory_files;
mod memory_store;

pub use memory_files::MemoryFiles;
pub use memory_store::MemoryStore;
