//! The SDK's WebSocket: frames with a handshake, JSON-RPC, pushes of blocks and group information, events and AMOP.
//!
//! It shares its port with JSON-RPC over HTTP; a text message on the WebSocket is JSON-RPC without a frame.

pub(crate) mod amop;
mod events;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::Bytes;
use bcos_types::frame::{Frame, kind};
use konsort_node::{Shutdown, Tasks};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::api::{Group, Node};
use crate::rpc::Rpc;
use crate::rpc::edge::{Incoming, Session, Surface, Work};
use crate::rpc::groups;
use amop::Amop;
use events::Events;

/// The highest protocol version an SDK may settle on with us; the lowest is 0.
const HIGHEST_PROTOCOL: u64 = 2;
/// When a node catches up, blocks older than this many before the newest are not told one by one.
const MOST_TOLD: u64 = 64;

/// Everything behind the SDK's port.
#[derive(Debug)]
pub(crate) struct Sdk {
    node: Node,
    rpc: Arc<Rpc>,
    sessions: Mutex<HashMap<u64, Arc<Client>>>,
    amop: Arc<Amop>,
    events: Events,
}

#[derive(Debug)]
struct Client {
    session: Arc<Session>,
    greeted: AtomicBool,
}

impl Sdk {
    pub(crate) fn new(node: Node, rpc: Arc<Rpc>) -> Self {
        let events = Events::new(node.clone());
        Self { node, rpc, sessions: Mutex::default(), amop: Arc::default(), events }
    }

    /// Topics and requests between SDKs, for the network to join.
    pub(crate) fn amop(&self) -> &Arc<Amop> {
        &self.amop
    }

    /// Starts telling sessions about new blocks and changed groups.
    pub(crate) fn start(self: &Arc<Self>, tasks: &Tasks) {
        for group in self.node.groups() {
            let (sdk, group, shutdown) = (Arc::clone(self), group.clone(), tasks.shutdown().clone());
            tasks.spawn(async move { sdk.tell(group, shutdown).await });
        }
    }

    async fn tell(&self, group: Group, shutdown: Shutdown) {
        let mut head = group.head();
        let mut told = *head.borrow_and_update();
        let mut members = member_ids(&group);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                changed = head.changed() => if changed.is_err() { return },
            }
            let newest = *head.borrow_and_update();
            for number in (told + 1).max(newest.saturating_sub(MOST_TOLD))..=newest {
                self.push(
                    kind::BLOCK_NOTIFY,
                    &json!({
                        "blockNumber": number,
                        "group": group.id(),
                        "nodeName": groups::node_name(&self.node),
                    }),
                );
            }
            told = newest;
            let now = member_ids(&group);
            if now != members {
                // Before the first block nobody has told who the members are.
                let first = std::mem::replace(&mut members, now).is_empty();
                if first {
                    continue;
                }
                self.push(kind::GROUP_NOTIFY, &groups::info(&self.node, &group));
            }
        }
    }

    fn push(&self, kind: u16, content: &Value) {
        let greeted: Vec<Arc<Client>> =
            self.sessions.lock().values().filter(|client| client.greeted.load(Ordering::Acquire)).cloned().collect();
        if greeted.is_empty() {
            return;
        }
        let frame: bytes::Bytes = Frame::push(kind, line(content)).encode().into();
        for client in greeted {
            client.session.send_binary(frame.clone());
        }
    }

    fn greet(&self, session: &Arc<Session>, frame: Frame) {
        let asked: Value = serde_json::from_slice(&frame.payload).unwrap_or_default();
        let (Some(lowest), Some(highest)) = (asked["minVersion"].as_u64(), asked["maxVersion"].as_u64()) else {
            tracing::debug!("sdk session {}: a handshake without versions", session.id());
            return;
        };
        if lowest > HIGHEST_PROTOCOL || lowest > highest {
            tracing::info!("sdk session {}: protocol {lowest} to {highest} is not spoken here", session.id());
            session.close();
            return;
        }
        let infos: Vec<Value> = self.node.groups().iter().map(|group| groups::info(&self.node, group)).collect();
        let heads: Vec<Value> =
            self.node.groups().iter().map(|group| json!({ group.id(): *group.head().borrow() })).collect();
        let answer = json!({
            "groupBlockNumber": heads,
            "groupInfoList": infos,
            "protocolVersion": highest.min(HIGHEST_PROTOCOL),
        });
        session.send_binary(Frame { payload: line(&answer), ..frame }.encode());
        if let Some(client) = self.sessions.lock().get(&session.id()) {
            client.greeted.store(true, Ordering::Release);
        }
    }

    fn frame(&self, session: &Arc<Session>, frame: Frame) -> Option<Work> {
        match frame.kind {
            kind::HANDSHAKE => self.greet(session, frame),
            kind::RPC => {
                let (rpc, session) = (Arc::clone(&self.rpc), Arc::clone(session));
                return Some(Box::pin(async move {
                    let answer = rpc.answer(&frame.payload).await;
                    session.send_binary(frame.reply(answer).encode());
                }));
            }
            kind::EVENT_SUBSCRIBE => self.events.subscribe(session, frame),
            kind::EVENT_UNSUBSCRIBE => self.events.unsubscribe(session, frame),
            kind::AMOP_SUBSCRIBE => self.amop.subscribe(session, &frame.payload),
            kind::AMOP_REQUEST => return Some(self.amop.request(session, frame)),
            kind::AMOP_BROADCAST => self.amop.broadcast(&frame.payload),
            // An answer is known by its number; SDKs send it as 0x113, but the number is what counts.
            other => {
                if !self.amop.answered(session.id(), frame) {
                    tracing::debug!("sdk session {}: a frame of type {other:#x} that nobody waits for", session.id());
                }
            }
        }
        None
    }
}

impl Surface for Sdk {
    async fn post(self: Arc<Self>, body: bytes::Bytes) -> Vec<u8> {
        self.rpc.answer(&body).await
    }

    fn opened(&self, session: &Arc<Session>) {
        let client = Client { session: Arc::clone(session), greeted: AtomicBool::new(false) };
        self.sessions.lock().insert(session.id(), Arc::new(client));
    }

    fn message(self: &Arc<Self>, session: &Arc<Session>, message: Incoming) -> Option<Work> {
        match message {
            Incoming::Text(text) => {
                let (rpc, session) = (Arc::clone(&self.rpc), Arc::clone(session));
                Some(Box::pin(async move {
                    let answer = rpc.answer(&text).await;
                    session.send_json(answer);
                }))
            }
            Incoming::Binary(bytes) => match Frame::decode(bytes.into()) {
                Ok(frame) => self.frame(session, frame),
                Err(error) => {
                    // What follows cannot be trusted to begin where a frame begins.
                    tracing::info!("sdk session {}: {error}; closing", session.id());
                    session.close();
                    None
                }
            },
        }
    }

    fn closed(&self, session: &Arc<Session>) {
        self.sessions.lock().remove(&session.id());
        self.amop.closed(session.id());
        self.events.closed(session.id());
    }
}

/// Reads the request of an event subscription.
pub(crate) fn fuzz_event(value: &Value) {
    let _wanted = events::parse(value);
}

/// JSON with the newline that upstream's writer ends it with.
pub(crate) fn line(content: &Value) -> Bytes {
    let mut text = content.to_string();
    text.push('\n');
    text.into_bytes().into()
}

fn member_ids(group: &Group) -> Vec<String> {
    group.consensus_status().nodes.into_iter().map(|member| member.node_id).collect()
}
