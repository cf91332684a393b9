//! The chaincode's end of the stream.
//!
//! A [`Session`] is the stream of messages towards the peer. Polling it reads what the peer sent and runs the transactions that can
//! go on, all in one task: an answer wakes no other task, and what a transaction asks next leaves in the same frame.

use std::{
    collections::{HashMap, VecDeque},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use fabric_proto::protos::{
    ChaincodeAdditionalParams, ChaincodeId, ChaincodeInput, ChaincodeMessage, Response, chaincode_message::Type,
};
use futures::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use crate::{contract::Contract, error::ShimError, stub::Stub};

/// What the peer takes in one message; 0 when it knows no batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Parameters {
    pub(crate) max_writes: usize,
    pub(crate) max_keys: usize,
}

/// Batches larger than this are not worth their memory, whatever the peer allows.
const MAX_BATCH: u32 = 10_000;

/// A transaction's connection to its session.
#[derive(Debug)]
pub(crate) struct Link {
    channel: String,
    txid: String,
    parameters: Parameters,
    outgoing: mpsc::UnboundedSender<ChaincodeMessage>,
    answer: Arc<Answer>,
    /// The protocol allows one open request per transaction.
    turn: tokio::sync::Mutex<()>,
}

type Answer = Mutex<Option<oneshot::Sender<ChaincodeMessage>>>;

impl Link {
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    pub(crate) fn txid(&self) -> &str {
        &self.txid
    }

    pub(crate) fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Asks the peer and waits for its answer.
    pub(crate) async fn request(&self, kind: Type, payload: Bytes) -> Result<Bytes, ShimError> {
        let _turn = self.turn.lock().await;
        let (sender, receiver) = oneshot::channel();
        *self.answer.lock() = Some(sender);
        let message = ChaincodeMessage {
            r#type: kind.into(),
            payload,
            txid: self.txid.clone(),
            channel_id: self.channel.clone(),
            ..ChaincodeMessage::default()
        };
        self.outgoing.send(message).map_err(|_| ShimError::Closed)?;
        let answer = receiver.await.map_err(|_| ShimError::Closed)?;
        if answer.r#type == i32::from(Type::Response) {
            Ok(answer.payload)
        } else {
            Err(ShimError::Peer(String::from_utf8_lossy(&answer.payload).into_owned()))
        }
    }
}

/// Messages from the peer.
pub(crate) type Inbound = Pin<Box<dyn Stream<Item = Result<ChaincodeMessage, Status>> + Send>>;

enum Source {
    Waiting(oneshot::Receiver<Inbound>),
    Open(Inbound),
}

/// The stream of messages to a peer.
pub(crate) struct Session<C> {
    contract: Arc<C>,
    source: Source,
    ready: VecDeque<ChaincodeMessage>,
    parameters: Parameters,
    transactions: FuturesUnordered<BoxFuture<'static, ChaincodeMessage>>,
    /// Where the answers to open transactions go, by transaction id and channel.
    answers: HashMap<(String, String), Arc<Answer>>,
    outgoing: mpsc::UnboundedSender<ChaincodeMessage>,
    requests: mpsc::UnboundedReceiver<ChaincodeMessage>,
    /// Gets what is left of the peer's messages when the session ends.
    rest: Option<mpsc::UnboundedSender<Inbound>>,
    ended: bool,
}

impl<C: Contract> Session<C> {
    /// A session over messages that arrive already.
    pub(crate) fn accepted(contract: Arc<C>, chaincode_id: &str, inbound: Inbound) -> Self {
        Self::new(contract, chaincode_id, Source::Open(inbound))
    }

    /// A session that dials: its messages arrive once the sender is used. The last value gives back what is left of them at the end.
    pub(crate) fn dialled(
        contract: Arc<C>,
        chaincode_id: &str,
    ) -> (Self, oneshot::Sender<Inbound>, mpsc::UnboundedReceiver<Inbound>) {
        let (sender, receiver) = oneshot::channel();
        let mut session = Self::new(contract, chaincode_id, Source::Waiting(receiver));
        let (rest, left) = mpsc::unbounded_channel();
        session.rest = Some(rest);
        (session, sender, left)
    }

    fn new(contract: Arc<C>, chaincode_id: &str, source: Source) -> Self {
        let (outgoing, requests) = mpsc::unbounded_channel();
        let id = ChaincodeId { name: chaincode_id.to_owned(), ..ChaincodeId::default() };
        let register = ChaincodeMessage {
            r#type: Type::Register.into(),
            payload: Bytes::from(id.encode_to_vec()),
            ..ChaincodeMessage::default()
        };
        Self {
            contract,
            source,
            ready: VecDeque::from([register]),
            parameters: Parameters::default(),
            transactions: FuturesUnordered::new(),
            answers: HashMap::new(),
            outgoing,
            requests,
            rest: None,
            ended: false,
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
        match Type::try_from(message.r#type) {
            Ok(Type::Transaction) => self.begin(message, false),
            Ok(Type::Init) => self.begin(message, true),
            Ok(Type::Response | Type::Error) => {
                let key = (message.txid.clone(), message.channel_id.clone());
                if let Some(sender) = self.answers.get(&key).and_then(|answer| answer.lock().take()) {
                    // The transaction may have stopped waiting.
                    let _ = sender.send(message);
                } else {
                    tracing::debug!(txid = %message.txid, "answer that no transaction waits for");
                }
            }
            Ok(Type::Ready) => {
                // Peers before 3.1 send no parameters.
                let parameters = ChaincodeAdditionalParams::decode(message.payload).unwrap_or_default();
                let size = |used: bool, size: u32| if used { size.min(MAX_BATCH) as usize } else { 0 };
                self.parameters = Parameters {
                    max_writes: size(parameters.use_write_batch, parameters.max_size_write_batch),
                    max_keys: size(parameters.use_get_multiple_keys, parameters.max_size_get_multiple_keys),
                };
            }
            Ok(Type::Keepalive) => self.ready.push_back(message),
            Ok(Type::Registered) => {}
            other => tracing::warn!(kind = ?other, txid = %message.txid, "message that a chaincode does not expect"),
        }
    }

    fn begin(&mut self, message: ChaincodeMessage, init: bool) {
        let key = (message.txid.clone(), message.channel_id.clone());
        let input = match ChaincodeInput::decode(message.payload) {
            Ok(input) => input,
            Err(error) => {
                let text = format!("[{}] Incorrect payload format: {error}", message.txid);
                self.ready.push_back(ended(key, Type::Error, text.into_bytes().into(), None));
                return;
            }
        };
        let answer = Arc::<Answer>::default();
        let link = Link {
            channel: message.channel_id,
            txid: message.txid,
            parameters: self.parameters,
            outgoing: self.outgoing.clone(),
            answer: Arc::clone(&answer),
            turn: tokio::sync::Mutex::default(),
        };
        self.answers.insert(key.clone(), answer);
        let stub = Stub::new(link, input, message.proposal);
        let contract = Arc::clone(&self.contract);
        self.transactions.push(transact(contract, stub, key, init).boxed());
    }

    fn finish(&mut self) {
        self.ended = true;
        self.transactions.clear();
        self.answers.clear();
    }
}

async fn transact<C: Contract>(contract: Arc<C>, stub: Stub, key: (String, String), init: bool) -> ChaincodeMessage {
    let run = async {
        let reply = if init { contract.init(&stub).await } else { contract.invoke(&stub).await };
        let payload = reply?;
        stub.flush().await?;
        Ok::<_, crate::ContractError>(payload)
    };
    let response = match AssertUnwindSafe(run).catch_unwind().await {
        Ok(Ok(payload)) => Response { status: 200, message: String::new(), payload },
        Ok(Err(error)) => Response { status: error.status, message: error.message, payload: Bytes::new() },
        Err(_) => {
            let text = "the chaincode panicked; see its log".to_owned();
            return ended(key, Type::Error, text.into_bytes().into(), None);
        }
    };
    let event = if response.status < 400 { stub.take_event() } else { None };
    ended(key, Type::Completed, Bytes::from(response.encode_to_vec()), event)
}

fn ended(
    (txid, channel_id): (String, String),
    kind: Type,
    payload: Bytes,
    chaincode_event: Option<fabric_proto::protos::ChaincodeEvent>,
) -> ChaincodeMessage {
    ChaincodeMessage { r#type: kind.into(), payload, txid, channel_id, chaincode_event, ..ChaincodeMessage::default() }
}

impl<C: Contract> Stream for Session<C> {
    type Item = ChaincodeMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let session = &mut *self;
        loop {
            if let Some(message) = session.ready.pop_front() {
                return Poll::Ready(Some(message));
            }
            if session.ended {
                return Poll::Ready(None);
            }
            if let Poll::Ready(Some(message)) = session.transactions.poll_next_unpin(context) {
                session.answers.remove(&(message.txid.clone(), message.channel_id.clone()));
                return Poll::Ready(Some(message));
            }
            if let Poll::Ready(Some(message)) = session.requests.poll_recv(context) {
                return Poll::Ready(Some(message));
            }
            match session.poll_inbound(context) {
                Poll::Ready(Some(Ok(message))) => session.handle(message),
                Poll::Ready(Some(Err(status))) => {
                    // Given back to be read by whoever runs the session.
                    session.source = Source::Open(Box::pin(futures::stream::iter([Err(status)])));
                    session.finish();
                }
                Poll::Ready(None) => session.finish(),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<C> Drop for Session<C> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take()
            && let Source::Open(inbound) = &mut self.source
        {
            let _ = rest.send(std::mem::replace(inbound, Box::pin(futures::stream::empty())));
        }
    }
}
