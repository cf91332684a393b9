//! PEM: nothing panics, and a block that was read is read again from what we write.
#![no_main]

use konsort_crypto::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for block in pem::decode_all(data) {
        let written = pem::encode("LABEL", &block.contents);
        let (again, rest) = pem::decode(written.as_bytes()).expect("written by us");
        assert_eq!((&again.contents, rest), (&block.contents, &b""[..]));
    }
});
