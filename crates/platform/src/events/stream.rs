//! `GET /v1/events`: the stream of events as server-sent events.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event as Sse, KeepAlive, Sse as SseAnswer};
use futures::{Stream, stream};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{Event, Topic};
use crate::access::{Caller, ScopeFilter};
use crate::app::{App, Routes};
use crate::db::{DbError, Kind};
use crate::http::Query;
use crate::index::query;
use crate::operations::store;
use crate::problem::{Problem, kinds};
use crate::time;

/// Events read at once.
const PORTION: usize = 200;
/// Transactions of a block read at once.
const TRANSACTIONS: u32 = 500;
/// How long it is remembered whether the reader sees a network.
const SIGHT: Duration = Duration::from_secs(10);

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventQuery {
    /// `block`, `transaction`, `contract_event`, `operation`, `node`, divided by commas; default: all but transaction.
    topics: Option<String>,
    /// Only of this network.
    network: Option<String>,
    /// Go on after this event; the header `Last-Event-ID` goes before it. Default: begin with what comes next.
    last_event_id: Option<String>,
}

/// A place in the stream: an event, or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Every event up to this one is told.
    seq: i64,
    /// Of the event after it, parts that are told.
    parts: u64,
}

impl Place {
    /// `12` or `12.3`, as ids of events are written.
    fn read(text: &str) -> Option<Self> {
        match text.split_once('.') {
            None => Some(Self { seq: text.parse().ok().filter(|&seq: &i64| seq >= 0)?, parts: 0 }),
            Some((seq, part)) => {
                let seq: i64 = seq.parse().ok()?;
                let part: u64 = part.parse().ok()?;
                Some(Self { seq: seq.checked_sub(1).filter(|&seq| seq >= 0)?, parts: part.checked_add(1)? })
            }
        }
    }
}

/// A reader.
struct Reader {
    app: App,
    scope: ScopeFilter,
    topics: HashSet<Topic>,
    network: Option<String>,
    place: Place,
    newest: watch::Receiver<i64>,
    ready: VecDeque<Sse>,
    sight: HashMap<String, (bool, Instant)>,
    /// Told once: events between the reader's place and the oldest one kept are gone.
    checked_gap: bool,
}

/// Ends when who reads a stream may not read it any more as they could at its beginning: logged out, disabled, their key revoked,
/// their role another one.
pub(crate) async fn gone(app: App, headers: HeaderMap, caller: Caller) {
    loop {
        tokio::time::sleep(SIGHT).await;
        match app.auth.identify(&headers).await {
            Ok(Some(now))
                if now.caller.role == caller.role
                    && now.caller.organisation == caller.organisation
                    && now.caller.networks == caller.networks => {}
            // The database does not answer: nobody has been told anything else yet.
            Err(problem) if problem.kind().code == kinds::DATABASE_UNAVAILABLE.code => {}
            _ => return,
        }
    }
}

/// Events as they happen. Each has an `id`; a reader that comes back with `Last-Event-ID` misses nothing that is still kept (an
/// event named `gap` says when something is not). Data is `{topic, at, network, channel, …}`.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "stream_events", params(EventQuery),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream")))]
async fn events(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(asked): Query<EventQuery>,
) -> Result<SseAnswer<impl Stream<Item = Result<Sse, Infallible>>>, Problem> {
    let topics = match asked.topics.as_deref().filter(|text| !text.is_empty()) {
        None => Topic::ALL.into_iter().filter(|topic| *topic != Topic::Transaction).collect(),
        Some(text) => text
            .split(',')
            .map(|name| {
                Topic::named(name.trim()).ok_or_else(|| {
                    Problem::new(&kinds::INVALID_PARAMETER).details(
                        format!("topics: there is no topic {name}; there are block, transaction, contract_event, operation, node"),
                        format!("topics：没有主题 {name}；可用 block、transaction、contract_event、operation、node"),
                    )
                })
            })
            .collect::<Result<HashSet<_>, _>>()?,
    };
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let newest = app.control.outbox.subscribe();
    let from = last.or(asked.last_event_id).filter(|text| !text.is_empty());
    let from = from.unwrap_or_else(|| newest.borrow().to_string());
    let place = Place::read(&from).ok_or_else(|| {
        Problem::new(&kinds::INVALID_PARAMETER)
            .details("Last-Event-ID is not the id of an event", "Last-Event-ID 不是有效的事件编号")
    })?;
    let stopping = app.stopping.clone();
    let gone = gone(app.clone(), headers, caller.clone());
    // First of all an id alone, which no reader takes for an event: one that loses the connection before its first event comes
    // back with it and has missed nothing.
    let begin = Sse::default().id(from);
    let reader = Reader {
        scope: caller.scope(),
        app,
        topics,
        network: asked.network,
        place,
        newest,
        ready: VecDeque::from([begin]),
        sight: HashMap::new(),
        checked_gap: false,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok(event), reader))
    });
    let events = futures::StreamExt::take_until(events, async move { stopping.run_until_cancelled(gone).await });
    Ok(SseAnswer::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn sse(id: &str, topic: &str, data: &Value) -> Sse {
    Sse::default().id(id).event(topic).data(data.to_string())
}

fn data(event: &Event, topic: Topic, at: i64, doc: Map<String, Value>) -> Value {
    let mut data = Map::from_iter([
        ("topic".to_owned(), json!(topic.name())),
        ("at".to_owned(), json!(time::rfc3339(at))),
        ("network".to_owned(), json!(event.network)),
        ("channel".to_owned(), json!(event.channel)),
    ]);
    data.extend(doc);
    Value::Object(data)
}

impl Reader {
    async fn next(&mut self) -> Option<Sse> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) => {
                    // Wakes up now and then by itself: a database without us (another server) may have written.
                    let _ = tokio::time::timeout(Duration::from_secs(5), self.newest.changed()).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "events cannot be read now");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Reads a portion; says whether there was anything.
    async fn read(&mut self) -> Result<bool, DbError> {
        self.newest.borrow_and_update();
        if !self.checked_gap {
            let oldest = self.app.control.outbox.oldest().await?;
            self.checked_gap = true;
            let newest = *self.newest.borrow();
            // Older than what is kept, or of a database that was there before this one.
            let from = match oldest {
                _ if self.place.seq > newest => Some(newest.saturating_add(1)),
                Some(oldest) if oldest > self.place.seq.saturating_add(1) => Some(oldest),
                _ => None,
            };
            if let Some(from) = from {
                self.place = Place { seq: from.saturating_sub(1), parts: 0 };
                let doc = json!({ "topic": "gap", "from": from });
                self.ready.push_back(sse(&self.place.seq.to_string(), "gap", &doc));
            }
        }
        let events = self.app.control.outbox.after(self.place.seq, PORTION).await?;
        let any = !events.is_empty();
        for event in events {
            let done = self.tell(&event).await?;
            if !done {
                // A block with more parts than fit at once; the rest comes when these have been taken.
                return Ok(true);
            }
            self.place = Place { seq: event.seq, parts: 0 };
        }
        Ok(any)
    }

    /// Makes an event's parts ready; says whether those were all.
    async fn tell(&mut self, event: &Event) -> Result<bool, DbError> {
        if self.network.is_some() && self.network != event.network {
            return Ok(true);
        }
        if !self.sees(event).await? {
            return Ok(true);
        }
        if event.topic == Topic::Block && !self.tell_parts(event).await? {
            return Ok(false);
        }
        if self.topics.contains(&event.topic) {
            let data = data(event, event.topic, event.at, event.doc.clone());
            self.ready.push_back(sse(&event.seq.to_string(), event.topic.name(), &data));
        }
        Ok(true)
    }

    /// A block's transactions, then its contracts' events; says whether those were all.
    async fn tell_parts(&mut self, event: &Event) -> Result<bool, DbError> {
        let (Some(network), Some(channel)) = (&event.network, &event.channel) else { return Ok(true) };
        let Some(ledger) = self.app.control.index.ledger(network, channel).map(|ledger| ledger.id) else {
            return Ok(true);
        };
        let number = |name: &str| event.doc.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (height, count) = (number("height"), number("transactions"));
        let pool = self.app.db.read();
        if self.topics.contains(&Topic::Transaction) && self.place.parts < count {
            let from = u32::try_from(self.place.parts).unwrap_or(u32::MAX);
            let rows = query::transactions_of_block(pool, ledger, height, from, TRANSACTIONS).await?;
            let full = rows.len() == TRANSACTIONS as usize;
            for row in rows {
                let (_, index) = row.place();
                let doc = json!({
                    "height": height, "index": index, "id": row.id, "kind": row.kind, "ok": row.ok, "code": row.code,
                    "from": row.sender, "to": row.contract, "method": row.method, "time": row.time,
                });
                let Value::Object(doc) = doc else { continue };
                let data = data(event, Topic::Transaction, event.at, doc);
                self.ready.push_back(sse(&format!("{}.{index}", event.seq), Topic::Transaction.name(), &data));
                self.place.parts = u64::from(index) + 1;
            }
            if full && self.place.parts < count {
                return Ok(false);
            }
        }
        let none = event.doc.get("events").and_then(Value::as_u64) == Some(0);
        if self.topics.contains(&Topic::ContractEvent) && !none {
            let told = self.place.parts.saturating_sub(count);
            let rows = query::events_of_block(pool, ledger, height).await?;
            for (place, row) in rows.into_iter().enumerate().skip(usize::try_from(told).unwrap_or(usize::MAX)) {
                let doc = json!({
                    "height": height, "transaction": row.transaction, "contract": row.contract, "name": row.name,
                    "payload": row.payload, "time": row.time,
                });
                let Value::Object(doc) = doc else { continue };
                let data = data(event, Topic::ContractEvent, event.at, doc);
                let id = format!("{}.{}", event.seq, count + place as u64);
                self.ready.push_back(sse(&id, Topic::ContractEvent.name(), &data));
            }
        }
        Ok(true)
    }

    /// Whether the reader's organisation asked for the operation of an event.
    async fn sees_operation(&self, event: &Event) -> Result<bool, DbError> {
        let id = event.doc.get("operation").and_then(|operation| operation.get("id")).and_then(Value::as_str);
        let (Some(id), Some(own), None) = (id, &self.scope.organisation, &self.scope.networks) else {
            return Ok(false);
        };
        Ok(store::organisation(&self.app.db, id).await?.as_ref() == Some(own))
    }

    /// Whether the reader may know of it.
    async fn sees(&mut self, event: &Event) -> Result<bool, DbError> {
        if self.scope == ScopeFilter::default() {
            return Ok(true);
        }
        let Some(network) = &event.network else {
            // Of no network: builds. Those who see the project see them.
            let project = event.doc.get("operation").and_then(|operation| operation.pointer("/request/project"));
            let Some(project) = project.and_then(Value::as_str) else { return Ok(false) };
            return self.app.records.sees(&self.scope, Kind::Project, project).await;
        };
        if let Some((sees, at)) = self.sight.get(network)
            && at.elapsed() < SIGHT
        {
            return Ok(*sees);
        }
        let mut sees = self.app.records.sees(&self.scope, Kind::Network, network).await?;
        if !sees && deleted(event) {
            // Its record is gone: who saw it, or could see the operation, is told so.
            sees = self.sight.get(network).is_some_and(|(saw, _)| *saw) || self.sees_operation(event).await?;
            return Ok(sees);
        }
        if self.sight.len() > 10_000 {
            self.sight.clear();
        }
        self.sight.insert(network.clone(), (sees, Instant::now()));
        Ok(sees)
    }
}

/// Whether it tells of the end of a network.
fn deleted(event: &Event) -> bool {
    let text = |pointer: &str| event.doc.get("operation").and_then(|operation| operation.pointer(pointer));
    let ended = |name: &str, pointer: &str| text(pointer).and_then(Value::as_str) == Some(name);
    event.doc.get("state").and_then(Value::as_str) == Some("deleted")
        || (ended("delete", "/kind") && ended("done", "/state"))
}

/// The route.
pub fn routes() -> Routes {
    Routes::new().routes(routes!(events))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_name_events_and_their_parts() {
        assert_eq!(Place::read("12"), Some(Place { seq: 12, parts: 0 }));
        assert_eq!(Place::read("12.0"), Some(Place { seq: 11, parts: 1 }));
        assert_eq!(Place::read("12.7"), Some(Place { seq: 11, parts: 8 }));
        for wrong in ["", "x", "-1", "1.x", "0.1.2", "0.0", "99999999999999999999"] {
            assert_eq!(Place::read(wrong), None, "{wrong}");
        }
    }
}
