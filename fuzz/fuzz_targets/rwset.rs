//! A read-write set: what decodes encodes to something that decodes to the same.
#![no_main]

use bytes::Bytes;
use fabric_ledger::rwset::TxRwset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(rwset) = TxRwset::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(TxRwset::decode(&rwset.encode()).unwrap(), rwset);
    }
});
