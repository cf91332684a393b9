//! Event subscriptions: logs of a range of blocks, past and coming, pushed as they match.

use std::collections::HashMap;
use std::sync::Arc;

use bcos_types::codes::event::{
    GROUP_NOT_EXIST, INVALID_PARAMS, INVALID_REQUEST, INVALID_REQUEST_RANGE, PUSH_COMPLETED, SUCCESS,
};
use bcos_types::frame::{Frame, kind};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::line;
use crate::api::{Group, Node};
use crate::rpc::criteria::Matcher;
use crate::rpc::edge::Session;
use crate::rpc::logs::{self, Found};
use crate::rpc::text;

/// Subscriptions of one session.
const MOST_SUBSCRIPTIONS: usize = 1_024;
/// Blocks looked at in one go.
const STRIDE: u64 = 64;
/// Logs in one push.
const MOST_PUSHED: usize = 1_000;

type Subscriptions = HashMap<u64, HashMap<String, CancellationToken>>;

/// The subscriptions of all sessions.
#[derive(Debug)]
pub(crate) struct Events {
    node: Node,
    running: Arc<Mutex<Subscriptions>>,
}

/// A request, its form checked.
#[derive(Debug, PartialEq)]
pub(super) struct Wanted {
    id: String,
    group: String,
    from: Option<u64>,
    to: Option<u64>,
    matcher: Matcher,
}

impl Events {
    pub(crate) fn new(node: Node) -> Self {
        Self { node, running: Arc::default() }
    }

    /// Answers a subscription and starts it.
    pub(crate) fn subscribe(&self, session: &Arc<Session>, frame: Frame) {
        let request: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let id = request["id"].as_str().unwrap_or_default().to_owned();
        let status = match parse(&request) {
            Ok(wanted) => self.begin(session, wanted),
            Err(status) => status,
        };
        reply(session, frame, &id, status);
    }

    fn begin(&self, session: &Arc<Session>, wanted: Wanted) -> i32 {
        let Some(group) = self.node.group(&wanted.group).cloned() else { return GROUP_NOT_EXIST };
        let mut running = self.running.lock();
        let own = running.entry(session.id()).or_default();
        // Upstream answers a repeated id with success and keeps the first.
        if own.contains_key(&wanted.id) {
            return SUCCESS;
        }
        if own.len() >= MOST_SUBSCRIPTIONS {
            return INVALID_REQUEST;
        }
        let stop = CancellationToken::new();
        own.insert(wanted.id.clone(), stop.clone());
        drop(running);
        let (session, running) = (Arc::clone(session), Arc::clone(&self.running));
        tokio::spawn(async move {
            let id = wanted.id.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = session.ended() => {}
                () = follow(&session, &group, wanted) => {}
            }
            if let Some(own) = running.lock().get_mut(&session.id()) {
                own.remove(&id);
            }
        });
        SUCCESS
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, session: &Arc<Session>, frame: Frame) {
        let request: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let (Some(id), Some(_)) = (request["id"].as_str(), request["group"].as_str()) else {
            reply(session, frame, "", INVALID_PARAMS);
            return;
        };
        let id = id.to_owned();
        if let Some(stop) = self.running.lock().get_mut(&session.id()).and_then(|own| own.remove(&id)) {
            stop.cancel();
        }
        reply(session, frame, &id, SUCCESS);
    }

    /// A session ended.
    pub(crate) fn closed(&self, session: u64) {
        for stop in self.running.lock().remove(&session).unwrap_or_default().into_values() {
            stop.cancel();
        }
    }
}

fn reply(session: &Session, frame: Frame, id: &str, status: i32) {
    let payload = line(&json!({ "id": id, "status": status }));
    session.send_binary(Frame { payload, ..frame }.encode());
}

fn push(session: &Session, content: &Value) -> bool {
    session.send_binary(Frame::push(kind::EVENT_PUSH, line(content)).encode())
}

/// Walks the range, then waits for blocks, until the range ends or nobody listens any more.
async fn follow(session: &Arc<Session>, group: &Group, wanted: Wanted) {
    let mut head = group.head();
    let mut next = wanted.from.unwrap_or(*head.borrow());
    let matcher = Arc::new(wanted.matcher);
    loop {
        let newest = *head.borrow_and_update();
        if wanted.to.is_some_and(|to| next > to) {
            push(session, &json!({ "id": wanted.id, "status": PUSH_COMPLETED }));
            return;
        }
        if next > newest {
            if head.changed().await.is_err() {
                return;
            }
            continue;
        }
        let last = newest.min(wanted.to.unwrap_or(u64::MAX)).min(next.saturating_add(STRIDE - 1));
        let found = match logs::scan(group, next, last, Arc::clone(&matcher), usize::MAX).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("event subscription {} of group {}: {error}", wanted.id, group.id());
                return;
            }
        };
        next = last + 1;
        for some in found.chunks(MOST_PUSHED) {
            let result: Vec<Value> = some.iter().map(event).collect();
            if !push(session, &json!({ "id": wanted.id, "status": SUCCESS, "result": result })) {
                return;
            }
        }
    }
}

/// One log as SDKs get it: the address bare, the index counted inside its transaction.
fn event(found: &Found) -> Value {
    json!({
        "address": alloy_primitives::hex::encode(found.address),
        "blockNumber": found.block_number,
        "data": text::data(&found.data),
        "logIndex": found.index_in_transaction,
        "topics": text::list(&found.topics),
        "transactionHash": text::data(found.transaction_hash),
        "transactionIndex": found.transaction_index,
    })
}

pub(super) fn parse(request: &Value) -> Result<Wanted, i32> {
    let (Some(id), Some(group), Some(params)) =
        (request["id"].as_str(), request["group"].as_str(), request["params"].as_object())
    else {
        return Err(INVALID_PARAMS);
    };
    let block = |name: &str| match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_i64().map(|number| u64::try_from(number).ok().filter(|number| *number > 0)).ok_or(INVALID_PARAMS)
        }
    };
    let (from, to) = (block("fromBlock")?, block("toBlock")?);
    if let (Some(from), Some(to)) = (from, to)
        && to < from
    {
        return Err(INVALID_REQUEST_RANGE);
    }
    let mut matcher = Matcher::parse(params.get("addresses"), params.get("topics")).map_err(|_| INVALID_PARAMS)?;
    // Upstream drops places that ask for nothing at the end, so they do not demand a topic there.
    while matcher.topics.last().is_some_and(Vec::is_empty) {
        matcher.topics.pop();
    }
    Ok(Wanted { id: id.to_owned(), group: group.to_owned(), from, to, matcher })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "0x91c95f04198617c60eaf2180fbca88fc192db379657df0e412a9f7dd4ebbe95d";

    #[test]
    fn the_published_request_is_read() {
        let request = json!({
            "group": "group0", "id": "0x123",
            "params": {
                "addresses": ["0xca5ed56862869c25da0bdf186e634aac6c6361ee"], "fromBlock": -1, "toBlock": -1,
                "topics": [[TOPIC], null, null, null],
            },
        });
        let wanted = parse(&request).unwrap();
        assert_eq!((wanted.from, wanted.to), (None, None));
        assert_eq!(wanted.matcher.addresses.len(), 1);
        assert_eq!(wanted.matcher.topics.len(), 1);
    }

    #[test]
    fn what_cannot_be_read_has_upstreams_code() {
        assert_eq!(parse(&json!({"id": "1"})), Err(INVALID_PARAMS));
        assert_eq!(parse(&json!({"id": "1", "group": "g", "params": {"fromBlock": "x"}})), Err(INVALID_PARAMS));
        assert_eq!(
            parse(&json!({"id": "1", "group": "g", "params": {"fromBlock": 9, "toBlock": 3}})),
            Err(INVALID_REQUEST_RANGE)
        );
    }
}
