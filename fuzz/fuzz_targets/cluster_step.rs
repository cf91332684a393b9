//! The orderers' stream: requests as they come, with the Raft message inside given to a node and the membership beside it decoded.
#![no_main]

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::etcdraft::ClusterMetadata;
use fabric_proto::orderer::{StepRequest, step_request::Payload};
use konsort_raft::{Config, Effects, Input, Node};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = StepRequest::decode(Bytes::copy_from_slice(data)) else { return };
    match request.payload {
        Some(Payload::ConsensusRequest(consensus)) => {
            let _ = ClusterMetadata::decode(consensus.metadata);
            let Ok(message) = konsort_raft::Message::decode(consensus.payload) else { return };
            // As the stream gives it, then as the sender that the node expects.
            for message in [message.clone(), konsort_raft::Message { to: 1, from: 2, ..message }] {
                let mut effects = Effects::default();
                let mut node = Node::bootstrap(Config::new(1), &[1, 2, 3], &mut effects);
                for input in [Input::Message(message.clone()), Input::Tick, Input::Message(message)] {
                    let _refused = node.step(input, &mut effects);
                }
                assert!(
                    node.applied_index() <= node.committed_index() && node.committed_index() <= node.log().last_index()
                );
            }
        }
        Some(Payload::SubmitRequest(submit)) => {
            let _ = protoutil::channel_header(&submit.payload.unwrap_or_default());
        }
        None => {}
    }
});
