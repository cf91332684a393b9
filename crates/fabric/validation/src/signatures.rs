//! The signature stage: every signature of a block, once, on all cores.

use std::sync::Arc;

use bytes::Bytes;
use fabric_channel::config::Bundle;
use fabric_channel::msp::{Identity, MspManager};
use fabric_proto::msp::SerializedIdentity;
use fabric_proto::protos::TxValidationCode as Code;
use prost::Message;
use rayon::prelude::*;

use crate::decode::{DecodedBlock, DecodedTx, EndorserTx, TxBody};
use crate::known::KnownSignatures;

/// Checks the creator of every transaction and every endorsement, against the identities of `bundle`.
///
/// Transactions whose creator is not genuine are decided here; so are those whose form was found wrong behind the signature.
/// `known` names endorsements that need no verification because this node made them.
pub fn verify_signatures(block: &mut DecodedBlock, bundle: &Bundle, known: &KnownSignatures) {
    let (channel, msps) = (bundle.channel_id(), bundle.msp_manager());
    match block.transactions.as_mut_slice() {
        [] => {}
        [only] => verify_transaction(only, channel, msps, known),
        several => several.par_iter_mut().for_each(|tx| verify_transaction(tx, channel, msps, known)),
    }
}

fn verify_transaction(tx: &mut DecodedTx, channel: &str, msps: &MspManager, known: &KnownSignatures) {
    let Some(creator) = tx.creator.take() else { return };
    // An envelope for another channel has no creator that this channel knows. The original looks a foreign or empty channel
    // id up elsewhere on the node, so that its verdict depends on what else the node serves; ours does not.
    let genuine = tx.channel_id == channel
        && !creator.signature.is_empty()
        && deserialize(msps, &creator.identity).is_some_and(|identity| {
            msps.validate(&identity).is_ok() && identity.verify(&creator.payload, &creator.signature).is_ok()
        });
    if !genuine {
        tx.code = Code::BadCreatorSignature;
    } else if let Some(code) = tx.after_signature {
        tx.code = code;
    } else if let TxBody::Endorser(endorser) = &mut tx.body {
        endorser.endorsers = endorsers(endorser, msps, known);
    }
}

/// The identity in these bytes. Creators choose their bytes: what our decoder refuses for a field of another wire type, the
/// original reads without that field, and so does this.
fn deserialize(msps: &MspManager, bytes: &Bytes) -> Option<Arc<Identity>> {
    msps.deserialize(bytes).ok().or_else(|| {
        let plain: SerializedIdentity = fabric_ledger::tolerant::decode("msp.SerializedIdentity", bytes).ok()?;
        let plain = Bytes::from(plain.encode_to_vec());
        if plain == bytes { None } else { msps.deserialize(&plain).ok() }
    })
}

/// The identities whose endorsement is genuine, each once, in order. The steps are those of policy evaluation: unknown
/// identities are dropped, then doubles, then bad signatures; a bad signature does not make a later good one a double.
fn endorsers(endorser: &EndorserTx, msps: &MspManager, known: &KnownSignatures) -> Vec<Arc<Identity>> {
    let mut found: Vec<Arc<Identity>> = Vec::with_capacity(endorser.endorsements.len());
    let mut signed = Vec::new();
    for endorsement in &endorser.endorsements {
        let Some(identity) = deserialize(msps, &endorsement.endorser) else { continue };
        if found.iter().any(|other| Arc::ptr_eq(other, &identity) || other.id() == identity.id()) {
            continue;
        }
        let genuine = known.contains(&endorser.response_payload, &endorsement.endorser, &endorsement.signature) || {
            signed.clear();
            signed.extend_from_slice(&endorser.response_payload);
            signed.extend_from_slice(&endorsement.endorser);
            identity.verify(&signed, &endorsement.signature).is_ok()
        };
        if genuine {
            found.push(identity);
        }
    }
    found
}
