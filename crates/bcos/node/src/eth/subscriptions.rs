//! `eth_subscribe`: new heads, logs, pending transactions and synchronisation, pushed over a WebSocket.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Eth, objects};
use crate::rpc::criteria::Criteria;
use crate::rpc::edge::Session;
use crate::rpc::envelope::Manner;
use crate::rpc::error::{INVALID_REQUEST, RpcError};
use crate::rpc::logs;
use crate::rpc::params::Params;
use crate::rpc::text;

/// Subscriptions of one connection.
const MOST_SUBSCRIPTIONS: usize = 256;
/// When a node catches up, heads older than this many before the newest are not told.
const MOST_TOLD: u64 = 128;

/// The subscriptions of all connections.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    running: Mutex<HashMap<u64, HashMap<String, CancellationToken>>>,
}

/// What is wanted.
#[derive(Debug)]
enum Wanted {
    Heads,
    Logs(Box<Criteria>),
    Pending { full: bool },
    Syncing,
}

impl Wanted {
    fn parse(params: Params<'_>) -> Result<Self, RpcError> {
        match params.text(0, "subscription")? {
            "newHeads" => Ok(Self::Heads),
            "logs" => {
                let everything = json!({});
                let filter = params.get(1).unwrap_or(&everything);
                Criteria::parse(filter, Manner::Ethereum).map(|criteria| Self::Logs(Box::new(criteria)))
            }
            "newPendingTransactions" => Ok(Self::Pending { full: params.flag(1, false) }),
            "syncing" => Ok(Self::Syncing),
            other => Err(RpcError::new(INVALID_REQUEST, format!("no {other:?} subscription in eth namespace"))),
        }
    }
}

impl Subscriptions {
    /// Starts a subscription; the answer is its id.
    pub(crate) fn subscribe(
        &self,
        eth: &Arc<Eth>,
        session: &Arc<Session>,
        params: Params<'_>,
    ) -> Result<Value, RpcError> {
        let wanted = Wanted::parse(params)?;
        let id = format!("{:#034x}", rand::random::<u128>());
        let stop = CancellationToken::new();
        {
            let mut running = self.running.lock();
            let own = running.entry(session.id()).or_default();
            if own.len() >= MOST_SUBSCRIPTIONS {
                return Err(RpcError::new(-32005, format!("a connection may have {MOST_SUBSCRIPTIONS} subscriptions")));
            }
            own.insert(id.clone(), stop.clone());
        }
        // The connection may have ended while this request waited; then nobody else takes the entry away.
        if session.is_closed() {
            self.closed(session.id());
            return Err(RpcError::internal("the connection is closed"));
        }
        // The position is taken now, so that nothing between this answer and the task's first look is lost.
        let next = eth.ledger().head() + 1;
        let (eth, session, name) = (Arc::clone(eth), Arc::clone(session), id.clone());
        let pending = eth.group.subscribe_pending();
        tokio::spawn(async move {
            let told = async {
                match wanted {
                    Wanted::Heads => heads(&eth, &session, &name, next).await,
                    Wanted::Logs(criteria) => matching(&eth, &session, &name, next, *criteria).await,
                    Wanted::Pending { full } => accepted(&eth, &session, &name, full, pending).await,
                    Wanted::Syncing => syncing(&eth, &session, &name).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = session.ended() => {}
                () = told => {}
            }
        });
        Ok(id.into())
    }

    /// Ends a subscription; false when there is none.
    pub(crate) fn unsubscribe(&self, session: u64, id: &str) -> bool {
        let stop = self.running.lock().get_mut(&session).and_then(|own| own.remove(id));
        stop.is_some_and(|stop| {
            stop.cancel();
            true
        })
    }

    /// A connection ended.
    pub(crate) fn closed(&self, session: u64) {
        for stop in self.running.lock().remove(&session).unwrap_or_default().into_values() {
            stop.cancel();
        }
    }
}

fn push(session: &Session, id: &str, result: &Value) -> bool {
    session.send_text(
        json!({
            "jsonrpc": "2.0",
            "method": "eth_subscription",
            "params": { "subscription": id, "result": result },
        })
        .to_string(),
    )
}

/// Every block once.
async fn heads(eth: &Eth, session: &Session, id: &str, mut next: u64) {
    let mut head = eth.group.head();
    loop {
        let newest = *head.borrow_and_update();
        for number in next.max((newest + 1).saturating_sub(MOST_TOLD))..=newest {
            match eth.head(number) {
                Ok(fields) => {
                    if !push(session, id, &Value::Object(fields)) {
                        return;
                    }
                }
                Err(error) => tracing::warn!("a subscription to new heads misses block {number}: {error}"),
            }
        }
        next = next.max(newest + 1);
        if head.changed().await.is_err() {
            return;
        }
    }
}

/// Matching logs of every block.
async fn matching(eth: &Eth, session: &Session, id: &str, mut next: u64, criteria: Criteria) {
    let matcher = Arc::new(criteria.matcher);
    let mut head = eth.group.head();
    loop {
        let newest = *head.borrow_and_update();
        if newest >= next {
            match logs::scan(&eth.group, next, newest, Arc::clone(&matcher), usize::MAX).await {
                Ok(found) => {
                    for log in found {
                        if !push(session, id, &log.to_json(Manner::Ethereum)) {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!("a subscription to logs misses blocks {next} to {newest}: {error}"),
            }
            next = newest + 1;
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}

/// Transactions as the pool accepts them.
async fn accepted(
    eth: &Eth,
    session: &Session,
    id: &str,
    full: bool,
    mut pending: tokio::sync::broadcast::Receiver<alloy_primitives::B256>,
) {
    loop {
        let hash = match pending.recv().await {
            Ok(hash) => hash,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let result = if full {
            let Some(waiting) = eth.group.pending(&hash) else { continue };
            objects::transaction(&waiting, None)
        } else {
            text::data(hash).into()
        };
        if !push(session, id, &result) {
            return;
        }
    }
}

/// Begin and end of catching up.
async fn syncing(eth: &Eth, session: &Session, id: &str) {
    let mut head = eth.group.head();
    let mut told = None;
    loop {
        let status = eth.group.sync_status();
        if told != Some(status.syncing) {
            told = Some(status.syncing);
            let result =
                if status.syncing { json!({ "syncing": true, "status": eth.syncing() }) } else { json!(false) };
            if !push(session, id, &result) {
                return;
            }
        }
        if head.changed().await.is_err() {
            return;
        }
    }
}
