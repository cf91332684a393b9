//! Discovery requests, and endorsement policies of any form turned into layouts: every layout has to satisfy the policy.
#![no_main]

use bytes::Bytes;
use fabric_peer::layout::{PrincipalSet, merge, plan, satisfied_by_signatures};
use fabric_proto::common::signature_policy::Type;
use fabric_proto::common::{MspPrincipal, SignaturePolicy, SignaturePolicyEnvelope};
use fabric_proto::discovery::{Request, SignedRequest};
use libfuzzer_sys::fuzz_target;
use prost::Message;

/// Whether principals, each used as often as one likes, satisfy a rule: a weaker condition than the policy's own.
fn satisfied(rule: &SignaturePolicy, envelope: &SignaturePolicyEnvelope, set: &[MspPrincipal]) -> bool {
    match &rule.r#type {
        Some(Type::SignedBy(index)) => usize::try_from(*index)
            .ok()
            .and_then(|index| envelope.identities.get(index))
            .is_some_and(|one| set.contains(one)),
        Some(Type::NOutOf(tree)) => {
            let good = tree.rules.iter().filter(|rule| satisfied(rule, envelope, set)).count();
            good as i64 >= i64::from(tree.n)
        }
        None => false,
    }
}

fn check(envelope: &SignaturePolicyEnvelope, sets: &[PrincipalSet]) {
    let Some(rule) = &envelope.rule else {
        assert!(sets.is_empty());
        return;
    };
    for set in sets.iter().take(20) {
        let messages: Vec<MspPrincipal> = set.keys().map(|one| one.to_message()).collect();
        assert!(satisfied(rule, envelope, &messages), "{set:?} does not satisfy {rule:?}");
    }
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    if let Ok(signed) = SignedRequest::decode(bytes.clone()) {
        let _ = Request::decode(signed.payload);
    }
    let _ = Request::decode(bytes.clone());
    let Ok(envelope) = SignaturePolicyEnvelope::decode(bytes) else { return };
    let sets = satisfied_by_signatures(&envelope);
    check(&envelope, &sets);
    if let Ok(merged) = merge(&[sets.clone(), sets]) {
        let _ = plan(
            &merged,
            &[0_u8, 1, 2],
            |peer, principal| principal.principal.last().is_none_or(|byte| byte % 3 == *peer),
            |_| true,
        );
    }
});
