//! Messages between members, each input a whole life of one member: signatures count as good, so that what they protect is reached.
#![no_main]

use alloy_primitives::B256;
use bcos_consensus::message::Message;
use bcos_consensus::{
    Consensus, Effect, Input, Keys, Member, NodeId, Pbft, PbftConfig, Sealed, Settings, Tip, Verdict,
};
use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;

#[derive(Debug)]
struct TrustingKeys(NodeId);

impl Keys for TrustingKeys {
    fn me(&self) -> &NodeId {
        &self.0
    }

    fn hash(&self, parts: &[&[u8]]) -> B256 {
        let mut out = [0u8; 32];
        for (i, byte) in parts.iter().flat_map(|part| part.iter()).enumerate() {
            out[i % 32] = out[i % 32].rotate_left(3).wrapping_mul(31).wrapping_add(*byte) ^ i as u8;
        }
        B256::from(out)
    }

    fn sign(&self, _hash: &B256) -> Bytes {
        Bytes::from_static(b"s")
    }

    fn verify(&self, _node: &NodeId, _hash: &B256, _signature: &[u8]) -> bool {
        true
    }
}

fn node_id(index: u8) -> NodeId {
    NodeId(Bytes::from(vec![index; 64]))
}

fuzz_target!(|data: &[u8]| {
    let settings = Settings::new((0..4).map(|i| Member { node_id: node_id(i), weight: 1 }).collect());
    let keys = TrustingKeys(node_id(1));
    let scope = settings.digest(&B256::ZERO, &keys);
    let config = PbftConfig { max_transactions: 64, ..PbftConfig::new(B256::ZERO) };
    let Ok(mut node) = Pbft::new(config, Box::new(keys), settings.clone(), Vec::new(), []) else { return };
    let mut rest = Bytes::copy_from_slice(data);
    let (mut now, mut height, mut effects) = (0, 0, Vec::new());
    node.step(now, Input::Tick, &mut effects);
    while rest.remaining() >= 3 {
        let what = rest.get_u8();
        let length = (rest.get_u16() as usize).min(rest.remaining());
        let bytes = rest.split_to(length);
        let input = match what % 8 {
            0 => {
                now += 100 * length as u64;
                Input::Tick
            }
            1 => Input::Work { pending: length % 2 == 0 },
            2 => Input::Reachable { node: node_id(what >> 5), reachable: length % 2 == 0 },
            3 => {
                let tip = Tip {
                    number: height + 1,
                    header_hash: B256::ZERO,
                    content: B256::repeat_byte(what),
                    signatures: Vec::new(),
                };
                height += 1;
                Input::Synced { tip, next: settings.clone() }
            }
            // Most inputs should get past the check of the settings.
            4..7 => match Message::decode(bytes, 64) {
                Ok(message) => {
                    let bytes = Message { settings: scope, ..message }.encode();
                    Input::Message { from: node_id(what >> 6), bytes }
                }
                Err(_) => continue,
            },
            _ => Input::Message { from: node_id(what >> 6), bytes },
        };
        node.step(now, input, &mut effects);
        let mut rounds = 0;
        while let Some(effect) = (!effects.is_empty()).then(|| effects.remove(0)) {
            rounds += 1;
            if rounds > 2000 {
                break;
            }
            let answer = match effect {
                Effect::WantProposal { number, view } => {
                    let transactions = vec![B256::repeat_byte(number as u8)];
                    Input::Sealed(Sealed { number, view, timestamp_ms: now, system: what > 250, transactions })
                }
                Effect::Verify { proposal, digest, certified, .. } => {
                    let bad = !certified && proposal.transactions.len() == 3;
                    let verdict = if bad { Verdict::Invalid } else { Verdict::Valid };
                    Input::Verified { number: proposal.number, digest, verdict }
                }
                Effect::Execute { proposal, digest } => {
                    Input::Executed { number: proposal.number, header_hash: digest }
                }
                Effect::Commit { number, signatures, .. } => {
                    if number <= height {
                        continue;
                    }
                    assert_eq!(number, height + 1, "blocks are handed out in order");
                    assert!(signatures.len() >= 3, "a block has the signatures of a quorum");
                    height = number;
                    Input::Committed { number, next: settings.clone() }
                }
                _ => continue,
            };
            node.step(now, answer, &mut effects);
        }
        let status = node.status();
        assert_eq!(status.number, height);
        assert!(status.executed >= status.number && status.ordered >= status.executed);
    }
});
