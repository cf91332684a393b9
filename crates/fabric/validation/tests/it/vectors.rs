//! Bytes beside the chain: transaction ids, proposal hashes, endorsed bytes.

use fabric_channel::protoutil;
use fabric_proto::common::{ChannelHeader, Envelope, Payload, SignatureHeader};
use fabric_proto::protos::{ChaincodeActionPayload, Proposal, ProposalResponse, SignedProposal, Transaction};
use fabric_validation::{TxBody, decode::decode_transaction};
use konsort_crypto::hash::sha256;
use prost::Message;

use crate::golden::{self, BLOCKS, block};

#[test]
fn ids_and_hashes_of_every_transaction_of_the_chain() {
    let facts = golden::json("blocks.json");
    let (mut ids, mut proposals, mut endorsements) = (0, 0, 0);
    for number in 0..BLOCKS {
        let data = block(number).data.unwrap().data;
        for (raw, expected) in
            data.iter().zip(facts[usize::try_from(number).unwrap()]["transactions"].as_array().unwrap())
        {
            assert_eq!(hex::encode(sha256(raw)), expected["envelope_sha256"]);
            if expected["type"] != "ENDORSER_TRANSACTION" || expected["code"] != "VALID" {
                continue;
            }
            let envelope = Envelope::decode(raw.clone()).unwrap();
            let payload = Payload::decode(envelope.payload).unwrap();
            let header = payload.header.unwrap();
            let signer = SignatureHeader::decode(header.signature_header.clone()).unwrap();
            assert_eq!(protoutil::tx_id(&signer.nonce, &signer.creator), expected["txid"]);
            ids += 1;
            let transaction = Transaction::decode(payload.data).unwrap();
            let action = ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
            let hash = protoutil::proposal_hash_of_parts(
                &header.channel_header,
                &transaction.actions[0].header,
                &action.chaincode_proposal_payload,
            );
            assert_eq!(hex::encode(hash), expected["proposal_hash"]);
            proposals += 1;
            let TxBody::Endorser(endorser) = decode_transaction(raw).body else {
                panic!("not an endorser transaction")
            };
            let signed: Vec<String> = endorser
                .endorsements
                .iter()
                .map(|one| {
                    hex::encode(sha256(&protoutil::endorsement_signed_bytes(&endorser.response_payload, &one.endorser)))
                })
                .collect();
            assert_eq!(serde_json::json!(signed), expected["endorsement_signed_bytes_sha256"]);
            endorsements += signed.len();
        }
    }
    assert!(ids > 80 && proposals == ids && endorsements > ids, "{ids} {proposals} {endorsements}");
}

#[test]
fn proposals_answers_and_envelopes_belong_together() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden::path("proposals")).unwrap() {
        let name = format!("proposals/{}", entry.unwrap().file_name().to_str().unwrap());
        let expected = golden::json(&format!("{name}/expected.json"));
        let signed = SignedProposal::decode(golden::file(&format!("{name}/signed_proposal.pb"))).unwrap();
        assert_eq!(hex::encode(sha256(&signed.proposal_bytes)), expected["proposal_bytes_sha256"]);
        let proposal = Proposal::decode(signed.proposal_bytes).unwrap();
        let header = fabric_proto::common::Header::decode(proposal.header).unwrap();
        let channel = ChannelHeader::decode(header.channel_header.clone()).unwrap();
        assert_eq!(channel.tx_id, expected["txid"], "{name}");
        let hash = protoutil::proposal_hash(&header, &proposal.payload).unwrap();
        assert_eq!(hex::encode(hash), expected["proposal_hash"], "{name}");
        for endorsement in expected["endorsements"].as_array().unwrap() {
            let peer = endorsement["peer"].as_str().unwrap();
            let response =
                ProposalResponse::decode(golden::file(&format!("{name}/proposal_response_{peer}.pb"))).unwrap();
            let made = response.endorsement.unwrap();
            let bytes = protoutil::endorsement_signed_bytes(&response.payload, &made.endorser);
            assert_eq!(hex::encode(sha256(&bytes)), endorsement["signed_bytes_sha256"], "{name} {peer}");
            assert_eq!(hex::encode(&made.signature), endorsement["signature"], "{name} {peer}");
        }
        if expected["envelope_sha256"].is_string() {
            let envelope = golden::file(&format!("{name}/envelope.pb"));
            assert_eq!(hex::encode(sha256(&envelope)), expected["envelope_sha256"], "{name}");
            assert_eq!(decode_transaction(&envelope).txid, expected["txid"], "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 14, "{seen} proposals");
}
