//! The bytes of a log file.
#![no_main]

use bytes::Bytes;
use konsort_raft::{Config, Effects, Input, Node, wal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(Some(recovered)) = wal::inspect(&Bytes::copy_from_slice(data)) {
        // Checksums keep accidents out; a file that somebody made must still not bring the node down.
        let mut node = Node::restart(Config::new(1), recovered, 0);
        let mut effects = Effects::default();
        for _ in 0..30 {
            let _refused = node.step(Input::Tick, &mut effects);
        }
    }
});
