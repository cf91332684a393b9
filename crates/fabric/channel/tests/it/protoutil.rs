use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_proto::common::{BlockHeader, BlockMetadataIndex, HeaderType, Payload, SignatureHeader};
use fabric_proto::protos::{
    ChaincodeActionPayload, ProposalResponse, ProposalResponsePayload, SignedProposal, Transaction,
};
use prost::Message as _;

use crate::golden;

#[test]
fn every_block_is_chained_and_well_formed() {
    let listed = golden::json("blocks.json");
    let listed = listed.as_array().or_else(|| listed["blocks"].as_array()).unwrap().clone();
    let mut previous = Bytes::new();
    for number in 0..golden::BLOCKS {
        let block = golden::block(number);
        let header = block.header.clone().unwrap();
        let data = block.data.clone().unwrap();
        assert_eq!(header.previous_hash, previous, "block {number}");
        assert_eq!(protoutil::data_hash(&data.data).as_slice(), header.data_hash, "block {number}");
        protoutil::check_block_data(&data).unwrap();
        // The first transaction of one crafted block has a payload that cannot be decoded.
        if let Ok(channel) = protoutil::channel_id_of_block(&block) {
            assert!(channel == "goldenchannel" || number > 74, "block {number}: {channel}");
        } else {
            assert!(number > 74, "block {number}");
        }
        let codes = protoutil::transactions_filter(&block);
        assert_eq!(codes.len(), data.data.len());
        assert_eq!(protoutil::commit_hash_of_block(&block).is_some(), number > 0);
        let last = protoutil::last_config_index(&block).unwrap();
        assert!(last <= number);
        assert_eq!(protoutil::is_config_block(&block), last == number, "block {number}");
        previous = Bytes::copy_from_slice(&protoutil::header_hash(&header));
        let expected = listed[number as usize].to_string();
        assert!(expected.contains(&hex::encode(&previous)), "block {number}: {expected}");
    }
}

#[test]
fn transaction_ids_and_proposal_hashes_match() {
    let mut ids = 0;
    let mut hashes = 0;
    for number in 0..golden::BLOCKS {
        let block = golden::block(number);
        let codes = protoutil::transactions_filter(&block);
        for (index, code) in codes.iter().enumerate() {
            let envelope = protoutil::envelope_at(&block, index).unwrap();
            let Ok(header) = protoutil::channel_header(&envelope) else { continue };
            if *code != 0 || header.r#type != HeaderType::EndorserTransaction as i32 {
                continue;
            }
            let creator = protoutil::signature_header(&envelope).unwrap();
            protoutil::check_tx_id(&header.tx_id, &creator.nonce, &creator.creator).unwrap();
            ids += 1;
            let payload = protoutil::payload(&envelope).unwrap();
            let transaction = Transaction::decode(payload.data.clone()).unwrap();
            let action = ChaincodeActionPayload::decode(transaction.actions[0].payload.clone()).unwrap();
            let endorsed = action.action.unwrap();
            let answer = ProposalResponsePayload::decode(endorsed.proposal_response_payload).unwrap();
            let hash = protoutil::proposal_hash(&payload.header.unwrap(), &action.chaincode_proposal_payload).unwrap();
            assert_eq!(answer.proposal_hash, hash.as_slice());
            hashes += 1;
        }
    }
    assert_eq!((ids, hashes), (90, 90));
}

#[test]
fn recorded_proposals_give_the_recorded_transactions() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden::path("proposals")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let name = format!("proposals/{}", folder.file_name().unwrap().to_str().unwrap());
        let files: Vec<String> =
            std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let expected = golden::json(&format!("{name}/expected.json"));
        let signed: SignedProposal = golden::message(&format!("{name}/signed_proposal.pb"));
        let proposal = fabric_proto::protos::Proposal::decode(signed.proposal_bytes.clone()).unwrap();
        let header = fabric_proto::common::Header::decode(proposal.header.clone()).unwrap();
        let hash = protoutil::proposal_hash(&header, &proposal.payload).unwrap();
        assert_eq!(expected["proposal_hash"], hex::encode(hash), "{name}");
        let creator = SignatureHeader::decode(header.signature_header.clone()).unwrap();
        assert_eq!(expected["txid"], protoutil::tx_id(&creator.nonce, &creator.creator), "{name}");
        let mut responses: Vec<String> = files.into_iter().filter(|file| file.contains("response")).collect();
        responses.sort();
        let responses: Vec<ProposalResponse> =
            responses.iter().map(|file| golden::message(&format!("{name}/{file}"))).collect();
        let envelope: fabric_proto::common::Envelope = golden::message(&format!("{name}/envelope.pb"));
        if let Ok(payload) = protoutil::unsigned_transaction(&proposal, &responses) {
            let recorded = Payload::decode(envelope.payload.clone()).unwrap();
            assert_eq!(payload.header, recorded.header, "{name}");
            if responses.len() == 1 {
                assert_eq!(payload.encode_to_vec(), envelope.payload, "{name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 0, "no recorded proposal was compared");
}

#[test]
fn header_numbers_use_the_shortest_integer() {
    for (number, content) in [
        (0_u64, vec![0]),
        (127, vec![127]),
        (128, vec![0, 128]),
        (256, vec![1, 0]),
        (u64::MAX, vec![0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ] {
        let header = BlockHeader { number, ..BlockHeader::default() };
        let mut expected = vec![0x02, content.len() as u8];
        expected.extend(&content);
        expected.extend([0x04, 0, 0x04, 0]);
        let mut sequence = vec![0x30, expected.len() as u8];
        sequence.extend(expected);
        assert_eq!(protoutil::header_bytes(&header), sequence, "{number}");
    }
    let long = BlockHeader { number: 1, previous_hash: vec![7; 200].into(), data_hash: Bytes::new() };
    let bytes = protoutil::header_bytes(&long);
    assert_eq!(&bytes[..9], &[0x30, 0x81, 208, 2, 1, 1, 4, 0x81, 200]);
}

#[test]
fn other_forms_of_an_envelope_are_refused() {
    let payload = [0x0a, 1, b'p'];
    let signature = [0x12, 1, b's'];
    let check = |parts: &[&[u8]]| {
        protoutil::well_formed_envelope(3, &Bytes::from(parts.concat())).map_err(|error| error.to_string())
    };
    let good = check(&[&payload, &signature]).unwrap();
    assert_eq!((good.payload.as_ref(), good.signature.as_ref()), (&b"p"[..], &b"s"[..]));
    // A field that the message does not have is kept when it comes last, and moved (so refused) when it does not.
    assert!(check(&[&payload, &signature, &[0x18, 1]]).is_ok());
    assert!(check(&[&[0x18, 1], &payload, &signature]).unwrap_err().contains("does not match its raw form"));
    assert!(check(&[&signature, &payload]).unwrap_err().contains("does not match its raw form"));
    assert_eq!(check(&[&payload, &payload, &signature]).unwrap_err(), "transaction 3 has 3 trailing bytes");
    assert_eq!(check(&[&[0x0a, 0x81, 0x00, b'p'], &signature]).unwrap_err(), "transaction 3 has 1 trailing bytes");
    assert_eq!(check(&[&payload]).unwrap_err(), "transaction 3 has no signature");
    assert_eq!(check(&[&signature]).unwrap_err(), "transaction 3 has no payload");
    for broken in [&[0x0a, 9][..], &[0x80], &[0x00], &[0x1b], &[0x1c], &[0x1e], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
        assert!(check(&[&payload, &signature, broken]).unwrap_err().contains("is invalid"), "{broken:?}");
    }
}

#[test]
fn metadata_slots_are_written_where_they_are_read() {
    let mut block = protoutil::new_block(7, Bytes::from_static(b"previous"));
    protoutil::set_transactions_filter(&mut block, Bytes::from_static(&[0, 11]));
    protoutil::set_commit_hash(&mut block, b"hash");
    assert_eq!(protoutil::transactions_filter(&block).as_ref(), [0, 11]);
    assert_eq!(protoutil::commit_hash_of_block(&block).unwrap(), "hash");
    assert_eq!(protoutil::metadata(&block, BlockMetadataIndex::CommitHash).unwrap().value, "hash");
    assert_eq!(block.metadata.unwrap().metadata.len(), protoutil::METADATA_SLOTS);
}
