//! A deliver request: the envelope, the seek information in it, and the walk along a chain that grows.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use fabric_channel::seek::{Binding, Cursor, Step, parse};
use fabric_proto::common::Envelope;
use fabric_proto::orderer::SeekInfo;
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// Walks; the height grows while the request waits. Numbers rise by one and never reach the chain's height.
fn walk(seek: &SeekInfo, height: u64) {
    let (mut height, Ok(mut cursor)) = (height, Cursor::new(seek, height)) else { return };
    let mut last = None;
    for _ in 0..50 {
        match cursor.step(height) {
            Step::Send(number) => {
                assert!(number < height && last.is_none_or(|last: u64| number == last + 1));
                last = Some(number);
                cursor.sent();
            }
            Step::Wait(number) => {
                assert!(number >= height);
                let Some(grown) = height.checked_add(1) else { return };
                height = grown;
            }
            Step::End(_) => return,
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(seek) = SeekInfo::decode(bytes.clone()) {
        for height in [1, 2, 7, u64::MAX] {
            walk(&seek, height);
        }
    }
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    for (window, binding) in [
        (Duration::MAX, Binding::None),
        (Duration::from_secs(900), Binding::MutualTls(None)),
        (Duration::MAX, Binding::MutualTls(Some(b"hash"))),
    ] {
        if let Ok(request) = parse(&envelope, 1_700_000_000_000_000_000, window, binding)
            && let Ok(seek) = request.seek_info()
        {
            walk(&seek, 5);
        }
    }
});
