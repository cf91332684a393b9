//! The deliver services: blocks, filtered blocks and blocks with private data, as a stream.

mod filtered;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fabric_channel::seek::{self, Binding, Cursor, Session, Step};
use fabric_proto::common::{Block, Envelope, Status as Code};
use fabric_proto::protos::deliver_response::Type;
use fabric_proto::protos::{BlockAndPrivateData, DeliverResponse, deliver_server};
use konsort_node::metrics::CounterFamily;
use konsort_node::{Clock, ConnectionInfo, Metrics, Shutdown};
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub use filtered::{FilterError, filtered_block};

use crate::acl::AccessControl;
use crate::channel::{Channel, Channels};

/// Blocks that may wait for a slow reader before the chain is read on for it.
const AHEAD: usize = 8;

/// What of a block a session is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Filtered,
    WithPrivateData,
}

impl Form {
    fn resource(self) -> &'static str {
        match self {
            Self::Filtered => "event/FilteredBlock",
            Self::Whole | Self::WithPrivateData => "event/Block",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Whole => "block",
            Self::Filtered => "filtered_block",
            Self::WithPrivateData => "block_and_pvtdata",
        }
    }

    fn shape(self, block: Block) -> Result<Type, FilterError> {
        Ok(match self {
            Self::Whole => Type::Block(block),
            Self::Filtered => Type::FilteredBlock(filtered_block(&block)?),
            // Private values are not kept yet, so no caller is entitled to any here.
            Self::WithPrivateData => {
                Type::BlockAndPrivateData(BlockAndPrivateData { block: Some(block), ..BlockAndPrivateData::default() })
            }
        })
    }
}

/// The services of `protos.Deliver`. Clones share everything.
#[derive(Clone, Debug)]
pub struct Deliver(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    channels: Channels,
    access: AccessControl,
    clock: Arc<dyn Clock>,
    window: Duration,
    mutual_tls: bool,
    figures: Figures,
    limit: usize,
    permits: Arc<Semaphore>,
    shutdown: Shutdown,
}

/// What the deliver services are made of.
#[derive(Debug)]
pub struct DeliverParts<'a> {
    /// The channels.
    pub channels: Channels,
    /// Who may read.
    pub access: AccessControl,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// How far a caller's clock may be off.
    pub window: Duration,
    /// Requests must be bound to the caller's TLS certificate.
    pub mutual_tls: bool,
    /// The most streams at once; 0 is no limit.
    pub limit: usize,
    /// Where the figures go.
    pub metrics: &'a Metrics,
    /// Ends open streams.
    pub shutdown: Shutdown,
}

#[derive(Debug)]
struct Figures {
    opened: CounterFamily,
    closed: CounterFamily,
    received: CounterFamily,
    completed: CounterFamily,
    sent: CounterFamily,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let labels = ["channel", "filtered", "data_type"];
        Self {
            opened: metrics.counter(
                "deliver_streams_opened",
                "The number of GRPC streams that have been opened for the deliver service.",
                &[],
            ),
            closed: metrics.counter(
                "deliver_streams_closed",
                "The number of GRPC streams that have been closed for the deliver service.",
                &[],
            ),
            received: metrics.counter(
                "deliver_requests_received",
                "The number of deliver requests that have been received.",
                &labels,
            ),
            completed: metrics.counter(
                "deliver_requests_completed",
                "The number of deliver requests that have been completed.",
                &["channel", "filtered", "data_type", "success"],
            ),
            sent: metrics.counter("deliver_blocks_sent", "The number of blocks sent by the deliver service.", &labels),
        }
    }
}

impl Deliver {
    /// Puts the services together.
    pub fn new(parts: DeliverParts<'_>) -> Self {
        let permits = if parts.limit == 0 { Semaphore::MAX_PERMITS } else { parts.limit };
        Self(Arc::new(Parts {
            channels: parts.channels,
            access: parts.access,
            clock: parts.clock,
            window: parts.window,
            mutual_tls: parts.mutual_tls,
            figures: Figures::new(parts.metrics),
            limit: parts.limit,
            permits: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            shutdown: parts.shutdown,
        }))
    }

    fn start(&self, request: Request<Streaming<Envelope>>, form: Form) -> Answer {
        let permit = Arc::clone(&self.0.permits).try_acquire_owned().map_err(|_| {
            let limit = self.0.limit;
            let text = format!("too many requests for /protos.Deliver, exceeding concurrency limit ({limit})");
            tracing::error!("{text}");
            Status::unknown(text)
        })?;
        let certificate = request.extensions().get::<ConnectionInfo>().and_then(ConnectionInfo::peer_certificate);
        let certificate_hash = certificate.map(|der| Bytes::copy_from_slice(&konsort_pki::tls_hash(der)));
        let remote = request
            .extensions()
            .get::<ConnectionInfo>()
            .map_or_else(String::new, |info| info.remote_addr().to_string());
        let (sender, receiver) = mpsc::channel(AHEAD);
        let stream = DeliverStream { parts: Arc::clone(&self.0), form, certificate_hash, remote, sender };
        let shutdown = self.0.shutdown.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let requests = request.into_inner();
            stream.parts.figures.opened.with(&[]).inc();
            tokio::select! {
                () = stream.serve(requests) => {}
                () = shutdown.triggered() => {}
            }
            stream.parts.figures.closed.with(&[]).inc();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<DeliverResponse, Status>> + Send>>;
type Answer = Result<Response<Answers>, Status>;

#[tonic::async_trait]
impl deliver_server::Deliver for Deliver {
    type DeliverStream = Answers;
    type DeliverFilteredStream = Answers;
    type DeliverWithPrivateDataStream = Answers;

    async fn deliver(&self, request: Request<Streaming<Envelope>>) -> Answer {
        self.start(request, Form::Whole)
    }

    async fn deliver_filtered(&self, request: Request<Streaming<Envelope>>) -> Answer {
        self.start(request, Form::Filtered)
    }

    async fn deliver_with_private_data(&self, request: Request<Streaming<Envelope>>) -> Answer {
        self.start(request, Form::WithPrivateData)
    }
}

/// One open stream.
struct DeliverStream {
    parts: Arc<Parts>,
    form: Form,
    certificate_hash: Option<Bytes>,
    remote: String,
    sender: mpsc::Sender<Result<DeliverResponse, Status>>,
}

/// The caller is gone; nothing more can be sent.
struct Gone;

impl DeliverStream {
    async fn serve(&self, mut requests: Streaming<Envelope>) {
        loop {
            let envelope = match requests.message().await {
                Ok(Some(envelope)) => envelope,
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!("error reading from {}: {status}", self.remote);
                    // A caller that is gone does not read it.
                    let _gone = self.sender.send(Err(konsort_node::unreadable(status))).await;
                    return;
                }
            };
            let Ok(code) = self.answer(&envelope).await else { return };
            if self.send(Type::Status(code.into())).await.is_err() || code != Code::Success {
                return;
            }
        }
    }

    async fn send(&self, response: Type) -> Result<(), Gone> {
        self.sender.send(Ok(DeliverResponse { r#type: Some(response) })).await.map_err(|_| Gone)
    }

    /// Serves one request and gives the status that ends it.
    async fn answer(&self, envelope: &Envelope) -> Result<Code, Gone> {
        let parts = &self.parts;
        let binding = match &self.certificate_hash {
            _ if !parts.mutual_tls => Binding::None,
            hash => Binding::MutualTls(hash.as_deref()),
        };
        let request = match seek::parse(envelope, parts.clock.unix_nanos(), parts.window, binding) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!("error parsing envelope from {}: {error}", self.remote);
                return Ok(Code::BadRequest);
            }
        };
        let id = request.channel_header.channel_id.clone();
        let Some(channel) = parts.channels.get(&id) else {
            tracing::debug!("rejecting deliver for {} because channel {id} is not found", self.remote);
            return Ok(Code::NotFound);
        };
        let filtered = if self.form == Form::Filtered { "true" } else { "false" };
        let labels = [id.as_str(), filtered, self.form.label()];
        parts.figures.received.with(&labels).inc();
        let outcome = self.blocks(&channel, &request, &labels).await;
        let success = if matches!(outcome, Ok(Code::Success)) { "true" } else { "false" };
        parts.figures.completed.with(&[labels[0], labels[1], labels[2], success]).inc();
        outcome
    }

    async fn blocks(&self, channel: &Channel, request: &seek::Request, labels: &[&str]) -> Result<Code, Gone> {
        let refuse = |code: Code, reason: &dyn std::fmt::Display| {
            tracing::warn!(channel = channel.id(), "deliver request of {} refused: {reason}", self.remote);
            Ok(code)
        };
        let info = match request.seek_info() {
            Ok(info) => info,
            Err(error) => return refuse(Code::BadRequest, &format!("malformed seekInfo payload: {error}")),
        };
        let expires = channel
            .bundle()
            .msp_manager()
            .deserialize(&request.signed_data.identity)
            .ok()
            .map(|identity| identity.expires_at());
        let mut session = Session::new(expires);
        if let Err(reason) = self.authorize(&mut session, channel, request) {
            return refuse(Code::Forbidden, &reason);
        }
        let mut heights = channel.ledger().height_watch();
        let mut cursor = match Cursor::new(&info, channel.ledger().height()) {
            Ok(cursor) => cursor,
            Err(code) => return refuse(code, &"start or stop position is missing or out of order"),
        };
        let sent = self.parts.figures.sent.with(labels);
        loop {
            let height = *heights.borrow_and_update();
            let number = match cursor.step(height) {
                Step::End(code) => return Ok(code),
                Step::Send(number) => number,
                Step::Wait(_) => {
                    tokio::select! {
                        changed = heights.changed() => if changed.is_err() { return Err(Gone) },
                        () = self.sender.closed() => return Err(Gone),
                    }
                    continue;
                }
            };
            let block = match read_block(channel, number) {
                Ok(block) => block,
                Err(reason) => return refuse(Code::InternalServerError, &reason),
            };
            if let Err(reason) = self.authorize(&mut session, channel, request) {
                return refuse(Code::Forbidden, &reason);
            }
            match self.form.shape(cursor.shape(block)) {
                Ok(response) => self.send(response).await?,
                // The original sends a status in the block's place and goes on.
                Err(error) => {
                    tracing::warn!(channel = channel.id(), "failed to generate filtered block due to: {error}");
                    self.send(Type::Status(Code::BadRequest.into())).await?;
                }
            }
            sent.inc();
            cursor.sent();
        }
    }

    fn authorize(&self, session: &mut Session, channel: &Channel, request: &seek::Request) -> Result<(), String> {
        let bundle = channel.bundle();
        let needed = session
            .must_check(bundle.sequence(), self.parts.clock.unix_seconds())
            .map_err(|expired| expired.to_string())?;
        if needed {
            self.parts
                .access
                .check(self.form.resource(), Some(&bundle), &request.signed_data)
                .map_err(|error| format!("client is not authorized: {error}"))?;
        }
        Ok(())
    }
}

/// One block of the ledger.
pub(crate) fn read_block(channel: &Channel, number: u64) -> Result<Block, String> {
    let bytes = channel
        .ledger()
        .blocks()
        .block(number)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("block {number} is not in the ledger"))?;
    Block::decode(bytes).map_err(|error| format!("block {number} cannot be decoded: {error}"))
}
