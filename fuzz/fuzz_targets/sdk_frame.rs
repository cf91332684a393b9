//! WebSocket frames of SDKs and the AMOP payload in them: nothing panics, and what was read is written as it came.
#![no_main]

use bcos_types::Bytes;
use bcos_types::frame::{AmopMessage, Frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let message = Bytes::copy_from_slice(data);
    if let Ok(frame) = Frame::decode(message.clone()) {
        assert_eq!(frame.encode(), data);
        let _ = frame.reply(frame.payload.clone()).encode();
    }
    if let Ok(amop) = AmopMessage::decode(&message) {
        assert_eq!(amop.encode().as_deref(), Some(data));
    }
});
