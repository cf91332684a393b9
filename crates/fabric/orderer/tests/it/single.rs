//! One orderer: join, broadcast, deliver, restart.

use std::time::{Duration, Instant};

use fabric_channel::protoutil;
use fabric_proto::common::{BlockMetadataIndex, Envelope, HeaderType, Metadata, OrdererBlockMetadata, Status};
use fabric_proto::etcdraft::BlockMetadata;
use fabric_proto::orderer::seek_info::{SeekBehavior, SeekContentType};
use prost::Message as _;

use crate::harness::{CHANNEL, Keys, Place, Running, genesis, message, payloads, seek};

fn place(keys: &Keys, data: &std::path::Path) -> Place {
    Place {
        data: data.to_path_buf(),
        tls: keys.orderer("tls"),
        msp: keys.orderer("msp"),
        port: 0,
        extra: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn participation_answers_as_upstream() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let orderer = Running::start(&place(&keys, data.path())).await;
    let get = |path: &'static str| orderer.http("GET", path, None);
    let channels = "/participation/v1/channels";
    assert_eq!(get(channels).await.2, "{\"systemChannel\":null,\"channels\":null}\n");
    let (code, _, body) = get("/participation/v1/channels/nochannel").await;
    assert_eq!((code, body.as_str()), (404, "{\"error\":\"channel does not exist\"}\n"));
    let (code, _, body) = orderer.http("DELETE", "/participation/v1/channels/nochannel", None).await;
    assert_eq!((code, body.as_str()), (404, "{\"error\":\"cannot remove: channel does not exist\"}\n"));

    let block = genesis().encode_to_vec();
    let one = "{\"name\":\"goldenchannel\",\"url\":\"/participation/v1/channels/goldenchannel\",\"consensusRelation\":\"consenter\",\"status\":\"active\",\"height\":1}\n";
    let (code, headers, body) = orderer.http("POST", channels, Some(("config-block", &block))).await;
    assert_eq!((code, body.as_str()), (201, one));
    assert!(headers.contains("location: /participation/v1/channels/goldenchannel"));
    let (code, headers, body) = orderer.http("POST", channels, Some(("config-block", &block))).await;
    assert_eq!((code, body.as_str()), (405, "{\"error\":\"cannot join: channel already exists\"}\n"));
    assert!(headers.contains("allow: get, delete"));
    assert_eq!(
        get(channels).await.2,
        "{\"systemChannel\":null,\"channels\":[{\"name\":\"goldenchannel\",\"url\":\"/participation/v1/channels/goldenchannel\"}]}\n"
    );
    let (code, headers, body) = get("/participation/v1/channels/goldenchannel").await;
    assert_eq!((code, body.as_str()), (200, one));
    assert!(headers.contains("cache-control: no-store"));

    let (code, _, body) = orderer.http("POST", channels, Some(("wrong-key", &block))).await;
    assert_eq!((code, body.as_str()), (400, "{\"error\":\"form does not contains part key: config-block\"}\n"));
    let (code, _, body) = orderer.http("POST", channels, None).await;
    assert_eq!(code, 400, "{body}");
    let (code, headers, body) = orderer.http("PATCH", channels, None).await;
    assert_eq!((code, body.as_str()), (405, "{\"error\":\"invalid request method: PATCH\"}\n"));
    assert!(headers.contains("allow: get, post, put"));
    assert_eq!(get("/participation/v1/").await.0, 302);
    assert_eq!(get("/participation/v1/channels/goldenchannel/blocks/newest").await.0, 200);
    assert_eq!(get("/participation/v1/channels/goldenchannel/blocks/7").await.0, 404);
    assert_eq!(get("/participation/v1/channels/goldenchannel/blocks/last").await.0, 400);

    let (code, _, body) = orderer.http("DELETE", "/participation/v1/channels/goldenchannel", None).await;
    assert_eq!((code, body.as_str()), (204, ""));
    assert_eq!(get(channels).await.2, "{\"systemChannel\":null,\"channels\":null}\n");
    assert!(!data.path().join("chains/goldenchannel").exists());
    orderer.join(&genesis()).await;
    orderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_come_back_in_blocks() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let user = keys.user(1, "User1");
    let orderer = Running::start(&place(&keys, data.path())).await;
    orderer.join(&genesis()).await;

    // One message leaves with the batch timeout (300 ms in this network) and little more.
    let began = Instant::now();
    assert_eq!(orderer.broadcast(vec![message(&*user, "one")]).await[0].status, Status::Success as i32);
    let blocks = orderer.blocks(&*user, 1, 1).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(payloads(&blocks[0]), ["one"]);

    // Ten fill a block; twenty-five are two blocks and a rest.
    let many: Vec<Envelope> = (0..25).map(|i| message(&*user, &i.to_string())).collect();
    let answers = orderer.broadcast(many).await;
    assert!(answers.len() == 25 && answers.iter().all(|a| a.status == Status::Success as i32));
    let blocks = orderer.blocks(&*user, 2, 4).await;
    assert_eq!(blocks.iter().map(|b| payloads(b).len()).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(
        blocks.iter().flat_map(payloads).collect::<Vec<_>>(),
        (0..25).map(|i| i.to_string()).collect::<Vec<_>>()
    );

    // Header chain, metadata, signature.
    let all = orderer.blocks(&*user, 0, 4).await;
    for pair in all.windows(2) {
        let previous = protoutil::header_hash(pair[0].header.as_ref().unwrap());
        assert_eq!(pair[1].header.as_ref().unwrap().previous_hash, previous[..]);
    }
    let metadata = &all[4].metadata.as_ref().unwrap().metadata;
    let slot = Metadata::decode(metadata[BlockMetadataIndex::Signatures as usize].clone()).unwrap();
    let inner = OrdererBlockMetadata::decode(slot.value).unwrap();
    assert_eq!(inner.last_config.unwrap().index, 0);
    let raft = BlockMetadata::decode(protoutil::consenter_metadata(&all[4]).unwrap().value).unwrap();
    assert_eq!((raft.consenter_ids.as_slice(), raft.next_consenter_id), ([1].as_slice(), 2));
    let bundle = fabric_channel::config::Bundle::from_config_block(&all[0]).unwrap();
    let signatures =
        bundle.block_signature_set(all[4].header.as_ref().unwrap(), all[4].metadata.as_ref().unwrap()).unwrap();
    bundle.policies().policy("/Channel/Orderer/BlockValidation").evaluate(&signatures).unwrap();

    // Seek forms.
    let newest = protoutil::seek(protoutil::seek_newest(), protoutil::seek_newest());
    let (blocks, status) = orderer.deliver(&*user, &newest).await;
    assert_eq!((blocks[0].header.as_ref().unwrap().number, blocks.len(), status), (4, 1, Some(Status::Success)));
    let beyond = seek(
        protoutil::seek(protoutil::seek_specified(3), protoutil::seek_specified(9)),
        SeekBehavior::FailIfNotReady,
        SeekContentType::Block,
    );
    let (blocks, status) = orderer.deliver(&*user, &beyond).await;
    assert_eq!((blocks.len(), status), (2, Some(Status::NotFound)));
    let far = protoutil::seek(protoutil::seek_specified(6), protoutil::seek_specified(9));
    assert_eq!(orderer.deliver(&*user, &far).await.1, Some(Status::NotFound));
    let backwards = protoutil::seek(protoutil::seek_specified(3), protoutil::seek_specified(2));
    assert_eq!(orderer.deliver(&*user, &backwards).await.1, Some(Status::BadRequest));
    let headers = seek(
        protoutil::seek(protoutil::seek_oldest(), protoutil::seek_specified(1)),
        SeekBehavior::BlockUntilReady,
        SeekContentType::HeaderWithSig,
    );
    let (blocks, _) = orderer.deliver(&*user, &headers).await;
    assert!(blocks[0].data.is_some() && blocks[1].data.is_none() && blocks[1].metadata.is_some());
    let mut old = protoutil::seek_envelope(CHANNEL, Some(&*user), &newest, None);
    old.signature = old.signature.slice(1..);
    assert_eq!(orderer.deliver_request(old).await.1, Some(Status::Forbidden));
    let elsewhere = protoutil::seek_envelope("nochannel", Some(&*user), &newest, None);
    assert_eq!(orderer.deliver_request(elsewhere).await.1, Some(Status::NotFound));
    orderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_says_why() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let user = keys.user(1, "User1");
    let orderer = Running::start(&place(&keys, data.path())).await;
    orderer.join(&genesis()).await;
    let refused = async |envelope: Envelope| {
        let answer = orderer.broadcast(vec![envelope]).await.remove(0);
        (Status::try_from(answer.status).unwrap(), answer.info)
    };
    let (status, info) =
        refused(protoutil::signed_envelope(HeaderType::Message, "nochannel", Some(&*user), "x".into(), None)).await;
    assert_eq!((status, info.as_str()), (Status::BadRequest, "channel does not exist"));
    let (status, info) =
        refused(protoutil::signed_envelope(HeaderType::Config, CHANNEL, Some(&*user), "x".into(), None)).await;
    assert_eq!((status, info.as_str()), (Status::BadRequest, "message is of type that cannot be processed directly"));
    let mut forged = message(&*user, "forged");
    forged.signature = message(&*user, "other").signature;
    let (status, info) = refused(forged).await;
    assert_eq!(status, Status::Forbidden);
    assert!(info.ends_with(": permission denied"), "{info}");
    let (status, _) = refused(Envelope::default()).await;
    assert_eq!(status, Status::BadRequest);
    let (status, _) = refused(Envelope { payload: "garbage".into(), signature: "x".into() }).await;
    assert_eq!(status, Status::BadRequest);
    // None of it was ordered.
    assert_eq!(orderer.broadcast(vec![message(&*user, "good")]).await[0].status, Status::Success as i32);
    assert_eq!(payloads(&orderer.blocks(&*user, 1, 1).await[0]), ["good"]);
    orderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_the_channel_and_goes_on() {
    let keys = Keys::new();
    let data = tempfile::tempdir().unwrap();
    let user = keys.user(1, "User1");
    let place = place(&keys, data.path());
    let orderer = Running::start(&place).await;
    orderer.join(&genesis()).await;
    orderer.broadcast(vec![message(&*user, "before")]).await;
    let before = orderer.blocks(&*user, 1, 1).await;
    orderer.stop().await;
    let orderer = Running::start(&place).await;
    assert_eq!(orderer.blocks(&*user, 1, 1).await, before);
    assert_eq!(orderer.broadcast(vec![message(&*user, "after")]).await[0].status, Status::Success as i32);
    assert_eq!(payloads(&orderer.blocks(&*user, 2, 2).await[0]), ["after"]);
    orderer.stop().await;
}
