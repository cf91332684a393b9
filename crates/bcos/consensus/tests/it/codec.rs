//! Messages survive the way, and nothing else gets through.

use std::sync::Arc;

use alloy_primitives::B256;
use bcos_consensus::message::{Body, Certificate, Message, Proof, TimeoutCertificate, ViewChange, Vote};
use bcos_consensus::{Head, HeaderSignature, Proposal};
use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn hash() -> impl Strategy<Value = B256> {
    any::<[u8; 32]>().prop_map(B256::from)
}

fn position() -> impl Strategy<Value = u64> {
    0..=1u64 << 60
}

fn bytes(limit: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..limit).prop_map(Bytes::from)
}

fn signatures() -> impl Strategy<Value = Vec<HeaderSignature>> {
    btree_map(0..1024u64, bytes(66), 0..5).prop_map(|map| map.into_iter().collect())
}

fn proposal() -> impl Strategy<Value = Arc<Proposal>> {
    (position(), any::<u64>(), any::<u64>(), any::<bool>(), hash(), vec(hash(), 0..20)).prop_map(
        |(number, timestamp_ms, sealer, system, parent, transactions)| {
            Arc::new(Proposal { number, timestamp_ms, sealer, system, parent, transactions: transactions.into() })
        },
    )
}

fn vote() -> impl Strategy<Value = Vote> {
    (position(), position(), hash()).prop_map(|(view, number, digest)| Vote { view, number, digest })
}

fn proof() -> impl Strategy<Value = Proof> {
    (position(), hash(), signatures()).prop_map(|(number, header_hash, signatures)| Proof {
        number,
        header_hash,
        signatures,
    })
}

fn certificate() -> impl Strategy<Value = Certificate> {
    (position(), proposal(), hash(), signatures()).prop_map(|(view, p, transactions, votes)| {
        let Proposal { number, timestamp_ms, sealer, system, parent, .. } = *p;
        Certificate { view, head: Head { number, timestamp_ms, sealer, system, parent, transactions }, votes }
    })
}

fn change() -> impl Strategy<Value = ViewChange> {
    (position(), position(), signatures(), proof(), vec(certificate(), 0..4)).prop_map(
        |(view, left, votes, tip, prepared)| ViewChange {
            view,
            reason: TimeoutCertificate { view: left, votes },
            tip,
            prepared,
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (position(), proposal()).prop_map(|(view, proposal)| Body::PrePrepare { view, proposal }),
        vote().prop_map(Body::Prepare),
        vote().prop_map(Body::Commit),
        (position(), hash()).prop_map(|(number, header_hash)| Body::Checkpoint { number, header_hash }),
        position().prop_map(|view| Body::Suspect { view }),
        change().prop_map(Body::ViewChange),
        (position(), hash(), vec(vec(any::<u8>(), 50..90).prop_map(Bytes::from), 0..4))
            .prop_map(|(view, base, changes)| Body::NewView { view, base, changes }),
        (position(), position(), position()).prop_map(|(view, number, ordered)| Body::RecoverRequest {
            view,
            number,
            ordered
        }),
        (position(), any::<bool>(), proptest::option::of(bytes(90)), vec(proof(), 0..4))
            .prop_map(|(view, entered, new_view, proofs)| Body::RecoverResponse { view, entered, new_view, proofs }),
        (position(), hash()).prop_map(|(number, digest)| Body::ProposalRequest { number, digest }),
        proposal().prop_map(|proposal| Body::ProposalResponse { proposal }),
    ]
}

prop_compose! {
    fn message()(settings in hash(), from in 0..1024usize, body in body(), signature in bytes(130)) -> Message {
        Message { settings, from, body, signature }
    }
}

proptest! {
    #[test]
    fn messages_are_read_as_they_were_written(message in message()) {
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(bytes.clone(), 100).unwrap(), message);
        for cut in 0..bytes.len() {
            prop_assert!(Message::decode(bytes.slice(..cut), 100).is_err());
        }
        let longer: Bytes = [&bytes[..], b"x"].concat().into();
        prop_assert!(Message::decode(longer, 100).is_err());
    }

    #[test]
    fn a_changed_message_is_refused_or_another_one(message in message(), at in any::<usize>(), bit in 0..8u32) {
        let mut bytes = message.encode().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Message::decode(bytes.clone().into(), 100) {
            prop_assert_ne!(&other, &message);
            // One value, one encoding.
            prop_assert_eq!(&other.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(bytes.into(), 100);
    }

    #[test]
    fn proposals_have_their_limit(proposal in proposal()) {
        let count = proposal.transactions.len();
        prop_assert_eq!(&Proposal::decode(proposal.encode(), count).unwrap(), &*proposal);
        if count > 0 {
            prop_assert!(Proposal::decode(proposal.encode(), count - 1).is_err());
        }
    }
}

#[test]
fn counts_are_not_believed_before_the_bytes_are_there() {
    let mut bytes = vec![1, 6];
    bytes.extend([0; 34]);
    bytes.extend([0; 40]);
    bytes.extend([0, 0, 3, 255]);
    let error = Message::decode(bytes.into(), 100).unwrap_err();
    assert_eq!(error.to_string(), "the message ends in the middle of view changes");
}
