//! Messages between consenters, each a whole life of one: a node takes the input apart into messages and must stay up.
#![no_main]

use bytes::{Buf, Bytes};
use konsort_raft::{Config, Effects, Input, Message, Node};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    let mut effects = Effects::default();
    let mut node = Node::bootstrap(Config::new(1), &[1, 2, 3], &mut effects);
    let mut rest = Bytes::copy_from_slice(data);
    while rest.remaining() >= 2 {
        let what = rest.get_u8();
        let length = (rest.get_u8() as usize).min(rest.remaining());
        let bytes = rest.split_to(length);
        let input = match what % 4 {
            0 => Input::Tick,
            1 => Input::Propose(vec![bytes]),
            _ => match Message::decode(bytes) {
                // Most inputs should get past the check of the address.
                Ok(message) if what % 4 == 2 => {
                    Input::Message(Message { to: 1, from: 2 + u64::from(what >> 7), ..message })
                }
                Ok(message) => Input::Message(message),
                Err(_) => continue,
            },
        };
        let _refused = node.step(input, &mut effects);
        let indices: Vec<u64> = effects.committed.iter().map(|e| e.index).collect();
        assert!(indices.windows(2).all(|pair| pair[1] == pair[0] + 1), "entries are handed out in order: {indices:?}");
        assert!(node.applied_index() <= node.committed_index() && node.committed_index() <= node.log().last_index());
        if effects.entries.len() > 1000 {
            effects = Effects::default();
        }
    }
});
