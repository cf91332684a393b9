//! What a client sends to the orderer's broadcast service: classification and filters of a real channel.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use fabric_channel::protoutil::Signer;
use fabric_orderer::Channel;
use fabric_proto::common::{Block, Envelope};
use libfuzzer_sys::fuzz_target;
use prost::Message;

struct Nobody;

impl Signer for Nobody {
    fn serialized(&self) -> Bytes {
        Bytes::new()
    }

    fn sign(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
}

static CHANNEL: LazyLock<Channel> = LazyLock::new(|| {
    let genesis = include_bytes!("../../tests/golden/fabric/genesis.block");
    let block = Block::decode(Bytes::from_static(genesis)).expect("the golden genesis block decodes");
    let folder = std::env::temp_dir().join(format!("konsort-fuzz-broadcast-{}", std::process::id()));
    Channel::open(&folder, Some(&block), Arc::new(Nobody), true).expect("the golden channel opens")
});

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::decode(Bytes::copy_from_slice(data)) else { return };
    // Without a private key of the network nothing may pass that is not in the seeds.
    let _rejected = CHANNEL.process_normal(&envelope);
    let _rejected = CHANNEL.process_config_update(&envelope, &|_, _| Ok(()));
    let _rejected = CHANNEL.process_config(&envelope, &|_, _| Ok(()));
});
