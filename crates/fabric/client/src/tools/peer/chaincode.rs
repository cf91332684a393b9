//! `peer chaincode invoke` and `query`.

use std::collections::BTreeMap;

use base64::Engine as _;
use bytes::Bytes;
use fabric_proto::common::Envelope;
use fabric_proto::protos::{ChaincodeAction, ProposalResponse, ProposalResponsePayload, TxValidationCode};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use prost::Message;

use super::super::connect::{Failure, Orderers, Session, call_text};
use super::super::gotext;
use super::profile::Network;
use crate::{AdminClient, Call};

const LOGGER: &str = "chaincodeCmd";

/// Endorses, and for an invoke orders and waits.
pub(super) async fn invoke_or_query(session: &mut Session<'_, '_>, invoke: bool) -> Result<(), Failure> {
    let channel = session.parsed.text("channelID").to_owned();
    if channel.is_empty() {
        return Err(Failure::with_usage("The required parameter 'channelID' is empty. Rerun the command with -C flag"));
    }
    let function = if invoke { "invoke" } else { "query" };
    session.info(LOGGER, "InitCmdFactory", &format!("InitCmdFactory: Entry: {function}, true, {invoke}"));
    let peers = peers(session, function).await?;
    let orderer = if invoke { Some(orderer(session, &peers[0], &channel).await?) } else { None };
    let mut call = parse_call(session)?;
    call.transient = transient(session.parsed.text("transient"))?;
    let signed = call.sign(&*session.signer);

    let answers = join_all(peers.iter().map(|peer| peer.propose(&signed))).await;
    let mut responses = Vec::with_capacity(answers.len());
    for answer in answers {
        responses.push(answer.map_err(|error| {
            Failure::plain(format!("error endorsing {function}: {} - proposal response: <nil>", call_text(&error)))
        })?);
    }
    let Some(first) = responses.first().cloned() else {
        return Err(Failure::plain("no proposal responses received - this might indicate a bug"));
    };
    let Some(orderer) = orderer else { return print_query(session, &first) };

    let status = first.response.as_ref().map_or(0, |response| response.status);
    if status < 400 {
        let shown = gotext::proposal_response(&first);
        let transaction = signed.transaction(&*session.signer, &responses).map_err(|error| {
            Failure::plain(format!("could not assemble transaction: {error} - proposal response: {shown}"))
        })?;
        let wait = session.parsed.switch("waitForEvent");
        order_and_wait(session, &peers, &orderer, &channel, transaction, &signed.transaction_id, wait).await.map_err(
            |ended| match ended {
                Ended::Sending(error) => Failure::plain(format!(
                    "error sending transaction for {function}: {error} - proposal response: {shown}"
                )),
                Ended::Waiting(error) => Failure::plain(format!("{error} - proposal response: <nil>")),
            },
        )?;
    }
    let unreadable =
        |what: &str, error: prost::DecodeError| Failure::plain(format!("error while unmarshalling {what}: {error}"));
    let payload = ProposalResponsePayload::decode(first.payload.clone())
        .map_err(|error| unreadable("proposal response payload", error))?;
    let action = ChaincodeAction::decode(payload.extension).map_err(|error| unreadable("chaincode action", error))?;
    if first.endorsement.is_none() {
        let response = first.response.map(|response| gotext::response(&response)).unwrap_or_default();
        return Err(Failure::plain(format!("endorsement failure during invoke. response: {response}")));
    }
    let result = action.response.map(|response| gotext::response(&response)).unwrap_or_default();
    session.info(LOGGER, "chaincodeInvokeOrQuery", &format!("Chaincode invoke successful. result: {result}"));
    Ok(())
}

fn print_query(session: &mut Session<'_, '_>, answer: &ProposalResponse) -> Result<(), Failure> {
    let response = answer.response.clone().unwrap_or_default();
    if answer.endorsement.is_none() {
        let text = gotext::response(&response);
        return Err(Failure::plain(format!("endorsement failure during query. response: {text}")));
    }
    let (raw, hexadecimal) = (session.parsed.switch("raw"), session.parsed.switch("hex"));
    if raw && hexadecimal {
        return Err(Failure::plain("options --raw (-r) and --hex (-x) are not compatible"));
    }
    if raw {
        let numbers: Vec<String> = response.payload.iter().map(u8::to_string).collect();
        session.console.out(&format!("[{}]\n", numbers.join(" ")));
    } else if hexadecimal {
        session.console.out(&format!("{}\n", hex::encode(&response.payload)));
    } else {
        let _ = session.console.stdout.write_all(&response.payload);
        session.console.out("\n");
    }
    Ok(())
}

async fn peers(session: &mut Session<'_, '_>, function: &str) -> Result<Vec<AdminClient>, Failure> {
    let mut addresses = session.parsed.array("peerAddresses");
    let mut roots = session.parsed.array("tlsRootCertFiles");
    let wrong = |text: String| Failure::plain(format!("error validating peer connection parameters: {text}"));
    let profile = session.parsed.text("connectionProfile");
    if !profile.is_empty() {
        let network = Network::read(profile).map_err(wrong)?;
        if let Some(targets) = network.endorsers(session.parsed.text("channelID")).map_err(wrong)? {
            (addresses, roots) = targets.into_iter().unzip();
        }
    }
    if function != "invoke" && addresses.len() > 1 {
        return Err(wrong(format!(
            "'{function}' command can only be executed against one peer. received {}",
            addresses.len()
        )));
    }
    if roots.len() > addresses.len() {
        let text =
            format!("received more TLS root cert files ({}) than peer addresses ({})", roots.len(), addresses.len());
        session.warn(LOGGER, "validatePeerConnectionParameters", &text);
    }
    if session.settings.tls_enabled() {
        if roots.len() != addresses.len() {
            return Err(wrong(format!(
                "number of peer addresses ({}) does not match the number of TLS root cert files ({})",
                addresses.len(),
                roots.len()
            )));
        }
    } else {
        roots = vec![String::new(); addresses.len()];
    }
    let mut peers = Vec::with_capacity(addresses.len());
    for (address, root) in addresses.iter().zip(&roots) {
        peers.push(
            session
                .peer(address, root)
                .await
                .map_err(|error| Failure::plain(format!("error getting endorser client for {function}: {error}")))?,
        );
    }
    if peers.is_empty() {
        return Err(Failure::plain("no endorser clients retrieved - this might indicate a bug"));
    }
    Ok(peers)
}

async fn orderer(session: &mut Session<'_, '_>, peer: &AdminClient, channel: &str) -> Result<Orderers, Failure> {
    let mut address = session.parsed.text("orderer").to_owned();
    if address.is_empty() {
        let found = session
            .orderer_addresses(peer, channel)
            .await
            .map_err(|error| Failure::plain(format!("error getting channel ({channel}) orderer endpoint: {error}")))?;
        address = found.into_iter().next().ok_or_else(|| {
            Failure::plain(format!(
                "no orderer endpoints retrieved for channel {channel}, pass orderer endpoint with -o flag instead"
            ))
        })?;
        session.info(LOGGER, "InitCmdFactory", &format!("Retrieved channel ({channel}) orderer endpoint: {address}"));
    }
    session.orderers(&address).await.map_err(|error| Failure::plain(format!("error getting broadcast client: {error}")))
}

/// `-c`: function and arguments as JSON.
fn parse_call(session: &Session<'_, '_>) -> Result<Call, Failure> {
    let parsed = session.parsed;
    let name = parsed.text("name");
    if name.is_empty() {
        return Err(Failure::with_usage("must supply value for chaincode name parameter"));
    }
    let mut call = Call::new(parsed.text("channelID"), name).args(call_args(parsed.text("ctor"))?);
    call.is_init = parsed.switch("isInit");
    Ok(call)
}

fn call_args(json: &str) -> Result<Vec<String>, Failure> {
    let keys = "must contain the following keys: 'Args' or 'Function' and 'Args'";
    if json == "{}" {
        return Err(Failure::with_usage(format!("empty JSON chaincode parameters {keys}")));
    }
    let value: serde_json::Value = serde_json::from_str(json)
        .map_err(|error| Failure::with_usage(format!("chaincode argument error: {error}")))?;
    let Some(object) = value.as_object() else {
        return Err(Failure::with_usage(format!("non-empty JSON chaincode parameters {keys}")));
    };
    let field = |wanted: &str| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
    let (args, function) = (field("args"), field("function"));
    if args.is_none() || (object.len() == 2 && function.is_none()) || object.len() > 2 {
        return Err(Failure::with_usage(format!("non-empty JSON chaincode parameters {keys}")));
    }
    let text = |value: &serde_json::Value| {
        value.as_str().map(str::to_owned).ok_or_else(|| {
            Failure::plain(format!("chaincode argument error: json: cannot unmarshal {value} into a string"))
        })
    };
    let mut list = Vec::new();
    if let Some(function) = function.filter(|function| !function.is_null()) {
        let function = text(function)?;
        if !function.is_empty() {
            list.push(function);
        }
    }
    match args {
        Some(serde_json::Value::Array(values)) => {
            for value in values {
                list.push(text(value)?);
            }
        }
        Some(serde_json::Value::Null) | None => {}
        Some(other) => {
            return Err(Failure::plain(format!(
                "chaincode argument error: json: cannot unmarshal {other} into a list of strings"
            )));
        }
    }
    Ok(list)
}

/// `--transient`: a JSON object of base64 values.
fn transient(json: &str) -> Result<BTreeMap<String, Bytes>, Failure> {
    if json.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wrong =
        |reason: String| Failure::plain(format!("error parsing transient string: {reason} - proposal response: <nil>"));
    let values: BTreeMap<String, Option<String>> =
        serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    values
        .into_iter()
        .map(|(key, value)| {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(value.unwrap_or_default())
                .map_err(|error| wrong(format!("value of {key:?} is not base64: {error}")))?;
            Ok((key, Bytes::from(bytes)))
        })
        .collect()
}

/// How ordering and waiting ended badly.
pub(super) enum Ended {
    Sending(String),
    Waiting(String),
}

/// Broadcasts, and waits for the verdict of every peer when asked to.
pub(super) async fn order_and_wait(
    session: &mut Session<'_, '_>,
    peers: &[AdminClient],
    orderer: &Orderers,
    channel: &str,
    transaction: Envelope,
    transaction_id: &str,
    wait: bool,
) -> Result<(), Ended> {
    if !wait {
        return orderer.broadcast(&transaction).await.map_err(|error| Ended::Sending(call_text(&error)));
    }
    let timeout = session.parsed.duration("waitForEventTimeout");
    let deadline = tokio::time::Instant::now() + timeout;
    let connecting = join_all(peers.iter().map(|peer| peer.watch(channel)));
    let connected = tokio::time::timeout_at(deadline, connecting)
        .await
        .map_err(|_| Ended::Waiting("timed out waiting for connection to deliver on all peers".into()))?;
    let mut watches = Vec::with_capacity(connected.len());
    for (watch, peer) in connected.into_iter().zip(peers) {
        watches.push(watch.map_err(|error| {
            Ended::Waiting(format!(
                "failed to connect to deliver on all peers: error connecting to deliver filtered at {}: {}",
                peer.address(),
                call_text(&error)
            ))
        })?);
    }
    orderer.broadcast(&transaction).await.map_err(|error| Ended::Sending(call_text(&error)))?;
    let mut waiting: FuturesUnordered<_> = watches
        .iter_mut()
        .map(|watch| async move {
            let verdict = watch.verdict(transaction_id).await;
            (watch.address().to_owned(), verdict)
        })
        .collect();
    let mut failed = None;
    loop {
        let next = tokio::time::timeout_at(deadline, waiting.next())
            .await
            .map_err(|_| Ended::Waiting("timed out waiting for txid on all peers".into()))?;
        let Some((address, verdict)) = next else { break };
        match verdict {
            Ok(code) => {
                let name = code.as_str_name();
                session.info(
                    LOGGER,
                    "ClientWait",
                    &format!("txid [{transaction_id}] committed with status ({name}) at {address}"),
                );
                if code != TxValidationCode::Valid {
                    failed = Some(format!("transaction invalidated with status ({name})"));
                }
            }
            Err(error) => failed = Some(call_text(&error)),
        }
    }
    failed.map_or(Ok(()), |text| Err(Ended::Waiting(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_json_with_function_and_args() {
        assert_eq!(call_args("{\"Args\":[\"get\",\"k1\"]}").unwrap(), ["get", "k1"]);
        assert_eq!(call_args("{\"function\": \"put\", \"Args\": [\"k2\", \"v2\"]}").unwrap(), ["put", "k2", "v2"]);
        assert_eq!(call_args("{\"args\":[]}").unwrap(), Vec::<String>::new());
        let refused = |json: &str| call_args(json).unwrap_err();
        assert_eq!(
            refused("{\"Nope\": 1}"),
            Failure::with_usage(
                "non-empty JSON chaincode parameters must contain the following keys: 'Args' or 'Function' and 'Args'"
            )
        );
        assert!(refused("{}").text.unwrap().starts_with("empty JSON"));
        assert!(refused("{\"Args\":[1]}").text.unwrap().starts_with("chaincode argument error"));
    }

    #[test]
    fn transient_values_are_base64() {
        assert_eq!(transient("{\"k\":\"djE=\"}").unwrap()["k"], "v1".as_bytes());
        assert!(transient("{\"k\":\"?\"}").is_err());
        assert!(transient("").unwrap().is_empty());
    }
}
