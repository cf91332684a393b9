//! Blocks and headers as peers send them: nothing panics, and what was read is written so that it is read again.
#![no_main]

use bcos_types::{Block, BlockHeader};
use konsort_crypto::{SuiteKind, suite};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = BlockHeader::decode(data) {
        assert_eq!(BlockHeader::decode(&header.encode()).as_ref(), Ok(&header));
        let _ = header.compute_hash(suite(SuiteKind::International));
    }
    if let Ok(block) = Block::decode(data) {
        assert_eq!(Block::decode(&block.encode()).as_ref(), Ok(&block));
    }
});
