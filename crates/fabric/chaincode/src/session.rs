//! The peer's end of one chaincode stream.
//!
//! A [`Session`] is the stream of messages towards the chaincode: polling it reads what the chaincode sent, answers from the ledger
//! and gives the answers out. So a question and its answer pass through no task and no queue in between.

mod operations;
pub(crate) mod query;

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use fabric_proto::protos::{ChaincodeAdditionalParams, ChaincodeId, ChaincodeMessage, chaincode_message::Type};
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use prost::Message as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::Interval,
};
use tonic::Status;

use crate::{
    metrics::{ChaincodeMetrics, StreamMetrics},
    registry::Registry,
    transaction::Transactions,
};

/// What the peer offers chaincode beyond one key per message; sent with READY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Writes may be sent together.
    pub use_write_batch: bool,
    /// The most writes in one message.
    pub max_size_write_batch: u32,
    /// Several keys may be read together.
    pub use_get_multiple_keys: bool,
    /// The most keys in one message.
    pub max_size_get_multiple_keys: u32,
}

impl Default for Batching {
    /// Upstream's default configuration.
    fn default() -> Self {
        Self {
            use_write_batch: true,
            max_size_write_batch: 1000,
            use_get_multiple_keys: true,
            max_size_get_multiple_keys: 1000,
        }
    }
}

/// The limits and settings of a session.
#[derive(Clone)]
pub(crate) struct SessionSettings {
    pub(crate) keepalive: Option<Duration>,
    pub(crate) total_query_limit: u32,
    pub(crate) batching: Batching,
    pub(crate) metrics: Option<Arc<ChaincodeMetrics>>,
}

/// Who a stream may register as.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Dialled in with this certificate (its SHA-256), which was made for one package.
    Certificate([u8; 32]),
    /// Dialled in on a TLS listener without a certificate.
    Anonymous,
    /// Dialled in on a plain listener.
    Plain,
    /// Dialled by us because this package said so.
    Dialled(String),
}

/// What the rest of the runtime knows of a registered stream.
pub(crate) struct SessionHandle {
    pub(crate) package_id: String,
    pub(crate) transactions: Transactions,
    outgoing: mpsc::UnboundedSender<Command>,
}

/// A message for the chaincode, or the end of the stream.
type Command = Option<ChaincodeMessage>;

impl SessionHandle {
    /// Queues a message for the chaincode; false when the stream has ended.
    pub(crate) fn send(&self, message: ChaincodeMessage) -> bool {
        self.outgoing.send(Some(message)).is_ok()
    }

    /// Ends the stream.
    pub(crate) fn close(&self) {
        let _ = self.outgoing.send(None);
    }
}

/// Messages from the chaincode.
type Inbound = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

enum Source {
    /// We dialled and the server has not answered yet.
    Waiting(oneshot::Receiver<Inbound>),
    Open(Inbound),
}

/// The stream of messages to a chaincode.
pub(crate) struct Session {
    source: Source,
    registry: Arc<Registry>,
    settings: SessionSettings,
    caller: Caller,
    handle: Option<Arc<SessionHandle>>,
    outgoing: mpsc::UnboundedSender<Command>,
    commands: mpsc::UnboundedReceiver<Command>,
    ready: VecDeque<ChaincodeMessage>,
    /// Calls from this chaincode to others.
    calls: FuturesUnordered<BoxFuture<'static, ChaincodeMessage>>,
    keepalive: Option<Interval>,
    metrics: StreamMetrics,
    end: Option<Result<(), Status>>,
}

impl Session {
    /// A session over messages that arrive already.
    pub(crate) fn accepted(
        inbound: Inbound,
        registry: Arc<Registry>,
        settings: SessionSettings,
        caller: Caller,
    ) -> Self {
        Self::new(Source::Open(inbound), registry, settings, caller)
    }

    /// A session that we dial: its messages arrive once the sender is used.
    pub(crate) fn dialled(
        registry: Arc<Registry>,
        settings: SessionSettings,
        package_id: &str,
    ) -> (Self, oneshot::Sender<Inbound>) {
        let (sender, receiver) = oneshot::channel();
        let session = Self::new(Source::Waiting(receiver), registry, settings, Caller::Dialled(package_id.to_owned()));
        (session, sender)
    }

    fn new(source: Source, registry: Arc<Registry>, settings: SessionSettings, caller: Caller) -> Self {
        let (outgoing, commands) = mpsc::unbounded_channel();
        let keepalive = settings.keepalive.map(|period| {
            let mut interval = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            interval
        });
        Self {
            source,
            registry,
            settings,
            caller,
            handle: None,
            outgoing,
            commands,
            ready: VecDeque::new(),
            calls: FuturesUnordered::new(),
            keepalive,
            metrics: StreamMetrics::default(),
            end: None,
        }
    }

    fn poll_inbound(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<ChaincodeMessage, Status>>> {
        if let Source::Waiting(receiver) = &mut self.source {
            match ready!(receiver.poll_unpin(context)) {
                Ok(inbound) => self.source = Source::Open(inbound),
                Err(_) => return Poll::Ready(None),
            }
        }
        match &mut self.source {
            Source::Open(inbound) => inbound.poll_next_unpin(context),
            Source::Waiting(_) => Poll::Pending,
        }
    }

    fn handle(&mut self, message: ChaincodeMessage) {
        let kind = Type::try_from(message.r#type);
        if kind == Ok(Type::Keepalive) {
            return;
        }
        let Some(handle) = self.handle.clone() else {
            if kind == Ok(Type::Register) {
                self.register(message);
            } else {
                self.fail(&message, "created");
            }
            return;
        };
        match kind {
            Ok(Type::Completed | Type::Error) => {
                if let Some(transaction) = handle.transactions.get(&message.channel_id, &message.txid) {
                    transaction.complete(message);
                } else {
                    tracing::debug!(txid = %message.txid, channel = %message.channel_id, "answer for a transaction that is not open");
                }
            }
            Ok(kind) if operations::is_request(kind) => self.request(&handle, kind, message),
            _ => self.fail(&message, "ready"),
        }
    }

    /// Ends the stream because the chaincode does not keep to the protocol.
    fn fail(&mut self, message: &ChaincodeMessage, state: &str) {
        let kind = Type::try_from(message.r#type)
            .map_or_else(|_| message.r#type.to_string(), |kind| kind.as_str_name().to_owned());
        let package = self.handle.as_ref().map_or("(not registered)", |handle| handle.package_id.as_str());
        let text = format!(
            "error handling message, ending stream: [{}] Fabric side handler cannot handle message ({kind}) while in {state} state",
            message.txid
        );
        tracing::error!(chaincode = package, "{text}");
        self.end = Some(Err(Status::unknown(text)));
    }

    fn register(&mut self, message: ChaincodeMessage) {
        let name = match ChaincodeId::decode(message.payload) {
            Ok(id) => id.name,
            Err(error) => {
                self.end = Some(Err(Status::unknown(format!(
                    "Error in received REGISTER, could NOT unmarshal registration info: {error}"
                ))));
                return;
            }
        };
        let handle = Arc::new(SessionHandle {
            package_id: name,
            transactions: Transactions::default(),
            outgoing: self.outgoing.clone(),
        });
        if let Err(text) = self.registry.register(&handle, &self.caller) {
            tracing::error!(chaincode = %handle.package_id, "failed to register: {text}");
            self.registry.refused(&self.caller, &text);
            self.end = Some(Err(Status::unknown(text)));
            return;
        }
        let Batching { use_write_batch, max_size_write_batch, use_get_multiple_keys, max_size_get_multiple_keys } =
            self.settings.batching;
        let parameters = ChaincodeAdditionalParams {
            use_write_batch,
            max_size_write_batch,
            use_get_multiple_keys,
            max_size_get_multiple_keys,
        };
        self.ready.push_back(ChaincodeMessage { r#type: Type::Registered.into(), ..ChaincodeMessage::default() });
        self.ready.push_back(ChaincodeMessage {
            r#type: Type::Ready.into(),
            payload: Bytes::from(parameters.encode_to_vec()),
            ..ChaincodeMessage::default()
        });
        self.registry.ready(&handle.package_id);
        tracing::debug!(chaincode = %handle.package_id, "chaincode registered");
        self.handle = Some(handle);
    }

    fn request(&mut self, handle: &SessionHandle, kind: Type, message: ChaincodeMessage) {
        let Some(transaction) = handle.transactions.get(&message.channel_id, &message.txid) else {
            let cause =
                if kind == Type::InvokeChaincode { "could not get valid transaction" } else { "no ledger context" };
            self.ready.push_back(operations::error_message(kind, &message.channel_id, &message.txid, cause));
            return;
        };
        if transaction.busy.load(Ordering::Acquire) {
            tracing::error!(chaincode = %handle.package_id, txid = %message.txid, "another request of the transaction is pending, this one is dropped");
            return;
        }
        // Counted only from here on: channels that are not the chaincode's own choice keep the number of metric lines small.
        let started = self
            .settings
            .metrics
            .as_ref()
            .map(|metrics| self.metrics.start(metrics, kind, &transaction.call.channel, &handle.package_id));
        let answered = move |answer: &ChaincodeMessage| {
            if let Some(started) = &started {
                started.answered(answer);
            }
        };
        if kind == Type::InvokeChaincode {
            transaction.set_busy();
            self.calls.push(
                async move {
                    let answer = operations::invoke(&transaction, message.payload).await;
                    transaction.clear_busy();
                    answered(&answer);
                    answer
                }
                .boxed(),
            );
            return;
        }
        let answer = operations::answer(&transaction, kind, message.payload, self.settings.total_query_limit);
        answered(&answer);
        self.ready.push_back(answer);
    }
}

impl Stream for Session {
    type Item = Result<ChaincodeMessage, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = &mut *self;
        loop {
            if let Some(message) = session.ready.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            if let Some(end) = session.end.take() {
                session.end = Some(Ok(()));
                session.close();
                return Poll::Ready(end.err().map(Err));
            }
            if let Poll::Ready(Some(command)) = session.commands.poll_recv(context) {
                match command {
                    Some(message) => return Poll::Ready(Some(Ok(message))),
                    None => session.end = Some(Ok(())),
                }
                continue;
            }
            if let Poll::Ready(Some(message)) = session.calls.poll_next_unpin(context) {
                return Poll::Ready(Some(Ok(message)));
            }
            match session.poll_inbound(context) {
                Poll::Ready(Some(Ok(message))) => {
                    session.handle(message);
                    continue;
                }
                Poll::Ready(Some(Err(status))) => {
                    tracing::debug!(%status, "receive from chaincode support stream failed");
                    session.end = Some(Ok(()));
                    continue;
                }
                Poll::Ready(None) => {
                    session.end = Some(Ok(()));
                    continue;
                }
                Poll::Pending => {}
            }
            if let Some(interval) = &mut session.keepalive
                && interval.poll_tick(context).is_ready()
            {
                return Poll::Ready(Some(Ok(ChaincodeMessage {
                    r#type: Type::Keepalive.into(),
                    ..ChaincodeMessage::default()
                })));
            }
            return Poll::Pending;
        }
    }
}

impl Session {
    fn close(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.registry.deregister(&handle);
            handle.transactions.close();
            tracing::debug!(chaincode = %handle.package_id, "chaincode stream ended");
        }
        if let Caller::Dialled(package_id) = &self.caller {
            self.registry.stream_ended(package_id);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.close();
    }
}
