//! What other peers send to the gossip service: a member with two connections takes the input apart into messages, must stay up,
//! and believes only statements that their subject has signed.
#![no_main]

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf, Bytes};
use fabric_peer::gossip::membership::{Effect, Input, Membership};
use fabric_peer::gossip::{Anchor, Myself, Notary, Timing, message};
use fabric_proto::gossip::Envelope;
use fabric_proto::msp::SerializedIdentity;
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// Whether a signature is valid is part of the input: its first byte is 1.
#[derive(Debug)]
struct Gullible;

fn identity(mspid: &str, name: &'static [u8]) -> Bytes {
    SerializedIdentity { mspid: mspid.to_owned(), id_bytes: Bytes::from_static(name) }.encode_to_vec().into()
}

impl Notary for Gullible {
    fn identity(&self) -> Bytes {
        identity("Org1", b"me")
    }

    fn sign(&self, _: &[u8]) -> Bytes {
        Bytes::from_static(b"\x01")
    }

    fn verify(&self, _: &Bytes, _: &[u8], signature: &[u8]) -> bool {
        signature.first() == Some(&1)
    }

    fn organization(&self, identity: &Bytes) -> Option<String> {
        let identity = SerializedIdentity::decode(identity.clone()).ok()?;
        identity.mspid.starts_with("Org").then_some(identity.mspid)
    }
}

static NOTARY: LazyLock<Arc<Gullible>> = LazyLock::new(|| Arc::new(Gullible));

fuzz_target!(|data: &[u8]| {
    let myself = Myself {
        endpoint: "me:1".to_owned(),
        internal_endpoint: "inside-me:1".to_owned(),
        incarnation: 1,
        bootstrap: vec!["friend:1".to_owned()],
    };
    let mut member = Membership::new(NOTARY.clone(), myself, Timing::default()).unwrap();
    let mut now = Duration::from_secs(1);
    let organizations = ["Org1", "Org2"].map(str::to_owned);
    let start = [
        Input::Channel {
            channel: "ch".to_owned(),
            organizations: BTreeSet::from(organizations),
            anchors: vec![Anchor { mspid: "Org2".to_owned(), endpoint: "other:1".to_owned() }],
        },
        Input::Connected { link: 1, identity: identity("Org1", b"friend"), dialled: Some("friend:1".to_owned()) },
        Input::Connected { link: 2, identity: identity("Org2", b"other"), dialled: None },
    ];
    for input in start {
        member.step(now, input);
    }
    let mut rest = Bytes::copy_from_slice(data);
    while rest.remaining() >= 3 {
        let (what, length) = (rest.get_u8(), usize::from(rest.get_u16()));
        let piece = rest.split_to(length.min(rest.remaining()));
        let link = 1 + u64::from(what & 1);
        let input = match what >> 1 & 7 {
            0 => {
                now += Duration::from_millis(u64::from(what) << 4);
                Input::Tick
            }
            1 => Input::Disconnected { link },
            2 => Input::Connected { link: link + 2, identity: piece, dialled: None },
            // Signed by somebody, signed by nobody, and whatever the input says.
            3..6 => Input::Received {
                link,
                envelope: Envelope { payload: piece, signature: Bytes::from_static(b"\x01"), secret_envelope: None },
            },
            6 => Input::Received {
                link,
                envelope: Envelope { payload: piece, signature: Bytes::new(), secret_envelope: None },
            },
            _ => match Envelope::decode(piece) {
                Ok(envelope) => Input::Received { link, envelope },
                Err(_) => continue,
            },
        };
        let effects = member.step(now, input);
        for effect in &effects {
            if let Effect::Send(_, envelope) = effect {
                assert!(message::open(envelope).is_some(), "what is sent can be read");
            }
        }
    }
    assert!(member.members().iter().all(|one| one.alive.signature.first() == Some(&1)));
    let peers = member.channel_peers("ch");
    assert!(peers.iter().all(|one| one.state_info.signature.first() == Some(&1)));
    assert!(peers.iter().all(|one| one.member.mspid == "Org1" || one.member.mspid == "Org2"));
});
