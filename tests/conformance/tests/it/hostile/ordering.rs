//! Envelopes that no orderer takes, and transactions that are ordered but change nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fabric_channel::protoutil;
use fabric_client::ClientError;
use fabric_client::envelope::Seek;
use fabric_proto::common::{Envelope, Header, HeaderType, Payload};
use fabric_proto::protos::{ProposalResponse, Transaction, TransactionAction, TxValidationCode};
use prost::Message as _;

use super::identities::Cast;
use super::{GARBAGE, World};

async fn refused(world: &World, envelope: Envelope) -> (String, String) {
    match world.orderer(&world.user).await.broadcast(envelope).await {
        Err(ClientError::Broadcast { status, info, .. }) => (status, info),
        other => panic!("not refused with a status: {other:?}"),
    }
}

fn signed(world: &World, kind: HeaderType, channel: &str, data: Bytes) -> Envelope {
    protoutil::signed_envelope(kind, channel, Some(&*world.user), data, None)
}

fn with_header(world: &World, header: Option<Header>) -> Envelope {
    let payload = Bytes::from(Payload { header, data: GARBAGE }.encode_to_vec());
    Envelope { signature: world.user.sign(&payload).into(), payload }
}

/// Everything the filters of the orderer stop.
pub(crate) async fn refused_envelopes(world: &World, cast: &Cast) {
    const POLICY: &str = "implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 of the \
                          'Writers' sub-policies to be satisfied: permission denied";
    let right =
        |data: &[u8]| signed(world, HeaderType::EndorserTransaction, world.channel(), Bytes::copy_from_slice(data));
    let channel_header = GARBAGE;
    let header = Header { channel_header, ..Header::default() };
    let unidentified = "could not determine channel ID";
    for envelope in [
        Envelope::default(),
        Envelope { payload: GARBAGE, signature: Bytes::new() },
        with_header(world, None),
        with_header(world, Some(header)),
    ] {
        let (status, info) = refused(world, envelope).await;
        assert_eq!(status, "BAD_REQUEST");
        assert!(info.starts_with(unidentified), "{info}");
    }
    let elsewhere = signed(world, HeaderType::EndorserTransaction, "nochannel", GARBAGE);
    assert_eq!(refused(world, elsewhere).await, ("BAD_REQUEST".into(), "channel does not exist".into()));
    for kind in [HeaderType::Config, HeaderType::OrdererTransaction] {
        let (status, info) = refused(world, signed(world, kind, world.channel(), GARBAGE)).await;
        assert_eq!(status, "BAD_REQUEST");
        assert!(info.starts_with("message is of type that"), "{info}");
    }
    let (status, _) = refused(world, signed(world, HeaderType::ConfigUpdate, world.channel(), GARBAGE)).await;
    assert_eq!(status, "BAD_REQUEST");

    let mut forged = right(b"x");
    forged.signature = right(b"y").signature;
    assert_eq!(refused(world, forged).await, ("FORBIDDEN".into(), POLICY.into()));
    for who in [&cast.imitator, &cast.turncoat, &cast.stranger] {
        let data = Bytes::from_static(b"x");
        let envelope =
            protoutil::signed_envelope(HeaderType::EndorserTransaction, world.channel(), Some(&**who), data, None);
        assert_eq!(refused(world, envelope).await, ("FORBIDDEN".into(), POLICY.into()));
    }
    let data = Bytes::from_static(b"x");
    let late =
        protoutil::signed_envelope(HeaderType::EndorserTransaction, world.channel(), Some(&*cast.expired), data, None);
    assert_eq!(refused(world, late).await, ("BAD_REQUEST".into(), "broadcast client identity expired".into()));
    // 99 MB is the largest message of the channel; one more byte than a message may have at all is tried elsewhere.
    let (status, info) = refused(world, right(&vec![0; 99 << 20])).await;
    assert_eq!(status, "BAD_REQUEST");
    assert!(
        info.starts_with("message payload is ") && info.ends_with(" bytes and exceeds maximum allowed 103809024 bytes"),
        "{info}"
    );
}

/// The verdicts of the chain on some transactions, by their ids, once all are there.
async fn verdicts(world: &World, wanted: &[String]) -> BTreeMap<String, Vec<TxValidationCode>> {
    let client = world.client(&world.user).await;
    let started = Instant::now();
    let mut found: BTreeMap<String, Vec<TxValidationCode>> = BTreeMap::new();
    let mut next = 0;
    while wanted.iter().any(|id| found.get(id).map_or(0, Vec::len) < wanted.iter().filter(|one| *one == id).count()) {
        assert!(started.elapsed() < Duration::from_secs(15), "only these are in the chain: {found:?}");
        let height = client.channel_info(world.channel()).await.unwrap().height;
        while next < height {
            let block = client.block(world.channel(), Seek::Number(next), false).await.unwrap().unwrap();
            let codes = protoutil::transactions_filter(&block);
            for (index, code) in codes.iter().enumerate() {
                let id = protoutil::envelope_at(&block, index)
                    .ok()
                    .and_then(|envelope| protoutil::channel_header(&envelope).ok());
                let code = TxValidationCode::try_from(i32::from(*code)).unwrap();
                found.entry(id.map(|header| header.tx_id).unwrap_or_default()).or_default().push(code);
            }
            next += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    found
}

async fn endorsed(world: &World, key: &str) -> (String, Envelope, ProposalResponse) {
    let call = world.put(key).sign(&*world.user);
    let response = world.client(&world.user).await.propose(&call).await.unwrap();
    let envelope = call.transaction(&*world.user, std::slice::from_ref(&response)).unwrap();
    (call.transaction_id, envelope, response)
}

/// Rewrites the data of an envelope and signs it again.
fn altered(world: &World, envelope: &Envelope, change: impl FnOnce(&mut Payload)) -> Envelope {
    let mut payload = Payload::decode(envelope.payload.clone()).unwrap();
    change(&mut payload);
    let payload = Bytes::from(payload.encode_to_vec());
    Envelope { signature: world.user.sign(&payload).into(), payload }
}

/// The orderer does not look into transactions, so these get as far as the peers' verdict.
pub(crate) async fn ordered_but_invalid(world: &World) {
    let mut expected = Vec::new();
    let (id, envelope, _) = endorsed(world, "garbage-data").await;
    expected.push((
        id,
        TxValidationCode::InvalidEndorserTransaction,
        altered(world, &envelope, |payload| payload.data = GARBAGE),
    ));
    let (id, envelope, _) = endorsed(world, "no-action").await;
    expected.push((
        id,
        TxValidationCode::InvalidEndorserTransaction,
        altered(world, &envelope, |payload| payload.data = Bytes::new()),
    ));
    let (id, envelope, _) = endorsed(world, "garbage-action").await;
    let action = TransactionAction { header: GARBAGE, payload: GARBAGE };
    let transaction = Transaction { actions: vec![action] };
    let broken = altered(world, &envelope, |payload| payload.data = transaction.encode_to_vec().into());
    expected.push((id, TxValidationCode::InvalidEndorserTransaction, broken));
    let (id, envelope, _) = endorsed(world, "other-id").await;
    let broken = altered(world, &envelope, |payload| {
        let header = payload.header.as_mut().unwrap();
        let mut channel = fabric_proto::common::ChannelHeader::decode(header.channel_header.clone()).unwrap();
        channel.tx_id.replace_range(..4, "0000");
        header.channel_header = channel.encode_to_vec().into();
    });
    let id = format!("0000{}", &id[4..]);
    expected.push((id, TxValidationCode::BadProposalTxid, broken));
    let call = world.put("forged-endorsement").sign(&*world.user);
    let mut response = world.client(&world.user).await.propose(&call).await.unwrap();
    response.endorsement.as_mut().unwrap().signature = GARBAGE;
    let forged = call.transaction(&*world.user, &[response]).unwrap();
    expected.push((call.transaction_id, TxValidationCode::EndorsementPolicyFailure, forged));
    let orderer = world.orderer(&world.user).await;
    for (_, _, envelope) in &expected {
        orderer.broadcast(envelope.clone()).await.unwrap();
    }
    let ids: Vec<String> = expected.iter().map(|(id, _, _)| id.clone()).collect();
    let found = verdicts(world, &ids).await;
    let judged: Vec<_> = expected.iter().map(|(id, code, _)| (found[id].clone(), vec![*code])).collect();
    assert!(judged.iter().all(|(got, wanted)| got == wanted), "(verdicts, expected): {judged:?}");
    let gateway = world.gateway().await;
    let status = gateway.commit_status(world.channel(), &expected[4].0).await.unwrap();
    assert_eq!(status.code, TxValidationCode::EndorsementPolicyFailure);
}

/// The same transaction several times: it counts once.
pub(crate) async fn replays(world: &World) {
    let (id, envelope, _) = endorsed(world, "replayed").await;
    let orderer = world.orderer(&world.user).await;
    // In one block or the next, and once more when it is certainly committed.
    orderer.broadcast(envelope.clone()).await.unwrap();
    orderer.broadcast(envelope.clone()).await.unwrap();
    verdicts(world, &[id.clone(), id.clone()]).await;
    orderer.broadcast(envelope.clone()).await.unwrap();
    let found = verdicts(world, &[id.clone(), id.clone(), id.clone()]).await;
    use TxValidationCode::{DuplicateTxid, Valid};
    assert_eq!(found[&id], [Valid, DuplicateTxid, DuplicateTxid]);
    let status = world.gateway().await.commit_status(world.channel(), &id).await.unwrap();
    assert_eq!(status.code, Valid, "the first verdict stays");
    // The endorser says it at once.
    let call = world.put("replayed-proposal").sign(&*world.user);
    let client = world.client(&world.user).await;
    let response = client.propose(&call).await.unwrap();
    let transaction = call.transaction(&*world.user, &[response]).unwrap();
    orderer.broadcast(transaction).await.unwrap();
    verdicts(world, std::slice::from_ref(&call.transaction_id)).await;
    let error = client.propose(&call).await.unwrap_err();
    assert_eq!(error.code(), Some(tonic::Code::Unknown));
    assert!(
        error.to_string().contains(&format!("duplicate transaction found [{}]. Creator [", call.transaction_id)),
        "{error}"
    );
}
