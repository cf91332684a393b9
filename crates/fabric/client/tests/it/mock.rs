//! A peer and an orderer that answer what a test tells them to.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fabric_proto::common::{self, Block, BlockHeader, BlockMetadata, Envelope, Payload};
use fabric_proto::orderer::{
    self, BroadcastResponse,
    atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer},
};
use fabric_proto::protos::{
    self, ChaincodeAction, ChaincodeInvocationSpec, ChaincodeProposalPayload, Endorsement, FilteredBlock,
    FilteredTransaction, Proposal, ProposalResponse, ProposalResponsePayload, Response, SignedProposal,
    TxValidationCode,
    deliver_server::{Deliver, DeliverServer},
    endorser_server::{Endorser, EndorserServer},
};
use futures::{Stream, StreamExt};
use prost::Message;
use tokio::sync::watch;
use tonic::{Request, Status, Streaming};

/// What the nodes answer.
#[derive(Default)]
pub(crate) struct Script {
    /// Chaincode and function to the response; a successful one on a channel is endorsed.
    pub(crate) answers: Vec<(&'static str, &'static str, Response)>,
    /// The orderer's answer to a broadcast, when it is not success.
    pub(crate) broadcast: Option<(common::Status, String)>,
    /// The verdict on every transaction.
    pub(crate) verdict: Option<TxValidationCode>,
    /// Blocks that deliver knows.
    pub(crate) blocks: Vec<Block>,
}

/// Both nodes on one listener.
#[derive(Clone)]
pub(crate) struct Node {
    script: Arc<Mutex<Script>>,
    committed: Arc<watch::Sender<String>>,
    broadcasts: Arc<AtomicUsize>,
    pub(crate) address: SocketAddr,
}

fn decoded<M: Message + Default>(bytes: Bytes) -> M {
    M::decode(bytes).unwrap()
}

impl Node {
    /// Two peers that hear of the same transactions; each also plays the orderer.
    pub(crate) fn pair() -> [Self; 2] {
        let committed = Arc::new(watch::channel(String::new()).0);
        [Self::start(Arc::clone(&committed)), Self::start(committed)]
    }

    /// Serves from a thread of its own until the process ends.
    fn start(committed: Arc<watch::Sender<String>>) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let script: Arc<Mutex<Script>> = Arc::default();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let node = Self { script, committed, broadcasts: Arc::default(), address };
                sender.send(node.clone()).unwrap();
                let routes = tonic::service::Routes::new(EndorserServer::new(node.clone()))
                    .add_service(DeliverServer::new(node.clone()))
                    .add_service(AtomicBroadcastServer::new(node));
                axum::serve(listener, routes.prepare().into_axum_router()).await.unwrap();
            });
        });
        receiver.recv().unwrap()
    }

    pub(crate) fn play(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// How many envelopes came in for ordering.
    pub(crate) fn broadcasts(&self) -> usize {
        self.broadcasts.load(Ordering::Relaxed)
    }

    fn block(&self, request: &Envelope) -> Option<Block> {
        let payload: Payload = decoded(request.payload.clone());
        let info: orderer::SeekInfo = decoded(payload.data);
        let script = self.script.lock().unwrap();
        match info.start.unwrap().r#type.unwrap() {
            orderer::seek_position::Type::Newest(_) => script.blocks.last().cloned(),
            orderer::seek_position::Type::Oldest(_) => script.blocks.first().cloned(),
            orderer::seek_position::Type::Specified(at) => {
                script.blocks.iter().find(|block| block.header.as_ref().unwrap().number == at.number).cloned()
            }
            orderer::seek_position::Type::NextCommit(_) => None,
        }
    }
}

#[tonic::async_trait]
impl Endorser for Node {
    async fn process_proposal(
        &self,
        request: Request<SignedProposal>,
    ) -> Result<tonic::Response<ProposalResponse>, Status> {
        let proposal: Proposal = decoded(request.into_inner().proposal_bytes);
        let header: common::Header = decoded(proposal.header);
        let channel: common::ChannelHeader = decoded(header.channel_header);
        let payload: ChaincodeProposalPayload = decoded(proposal.payload);
        let spec = decoded::<ChaincodeInvocationSpec>(payload.input).chaincode_spec.unwrap();
        let (name, args) = (spec.chaincode_id.unwrap().name, spec.input.unwrap().args);
        let function = args.first().map(|arg| String::from_utf8_lossy(arg).into_owned()).unwrap_or_default();
        let script = self.script.lock().unwrap();
        let found = script.answers.iter().find(|(chaincode, known, _)| *chaincode == name && *known == function);
        let Some((_, _, response)) = found else {
            return Err(Status::unknown(format!("the test has no answer for {name}/{function}")));
        };
        let response = response.clone();
        let mut answer = ProposalResponse { response: Some(response.clone()), ..ProposalResponse::default() };
        if response.status < 400 && !channel.channel_id.is_empty() {
            let action = ChaincodeAction { response: Some(response), ..ChaincodeAction::default() };
            let payload = ProposalResponsePayload {
                proposal_hash: Bytes::from_static(b"hash"),
                extension: action.encode_to_vec().into(),
            };
            answer.version = 1;
            answer.payload = payload.encode_to_vec().into();
            answer.endorsement = Some(Endorsement { endorser: "somebody".into(), signature: "signed".into() });
        }
        Ok(tonic::Response::new(answer))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AtomicBroadcast for Node {
    type BroadcastStream = Answers<BroadcastResponse>;
    type DeliverStream = Answers<orderer::DeliverResponse>;

    async fn broadcast(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::BroadcastStream>, Status> {
        let node = self.clone();
        let answers = request.into_inner().map(move |envelope| {
            let payload: Payload = decoded(envelope?.payload);
            let header: common::ChannelHeader = decoded(payload.header.unwrap().channel_header);
            let (status, info) =
                node.script.lock().unwrap().broadcast.clone().unwrap_or((common::Status::Success, String::new()));
            node.broadcasts.fetch_add(1, Ordering::Relaxed);
            if status == common::Status::Success {
                node.committed.send_replace(header.tx_id);
            }
            Ok(BroadcastResponse { status: status as i32, info })
        });
        Ok(tonic::Response::new(Box::pin(answers)))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::DeliverStream>, Status> {
        let request = request.into_inner().message().await?.unwrap();
        use orderer::deliver_response::Type;
        let kind = match self.block(&request) {
            Some(block) => Type::Block(block),
            None => Type::Status(common::Status::NotFound as i32),
        };
        let answer = orderer::DeliverResponse { r#type: Some(kind) };
        Ok(tonic::Response::new(Box::pin(futures::stream::iter([Ok(answer)]))))
    }
}

#[tonic::async_trait]
impl Deliver for Node {
    type DeliverStream = Answers<protos::DeliverResponse>;
    type DeliverFilteredStream = Answers<protos::DeliverResponse>;
    type DeliverWithPrivateDataStream = Answers<protos::DeliverResponse>;

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::DeliverStream>, Status> {
        let request = request.into_inner().message().await?.unwrap();
        use protos::deliver_response::Type;
        let kind = match self.block(&request) {
            Some(block) => Type::Block(block),
            None => Type::Status(common::Status::NotFound as i32),
        };
        let answer = protos::DeliverResponse { r#type: Some(kind) };
        Ok(tonic::Response::new(Box::pin(futures::stream::iter([Ok(answer)]))))
    }

    async fn deliver_filtered(
        &self,
        _request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::DeliverFilteredStream>, Status> {
        let node = self.clone();
        let changes = futures::stream::unfold(self.committed.subscribe(), |mut receiver| async move {
            receiver.changed().await.ok()?;
            let txid = receiver.borrow_and_update().clone();
            Some((txid, receiver))
        });
        let blocks = changes.map(move |txid| {
            let verdict = node.script.lock().unwrap().verdict.unwrap_or(TxValidationCode::Valid);
            let transaction =
                FilteredTransaction { txid, tx_validation_code: verdict as i32, ..FilteredTransaction::default() };
            let block = FilteredBlock { filtered_transactions: vec![transaction], ..FilteredBlock::default() };
            Ok(protos::DeliverResponse { r#type: Some(protos::deliver_response::Type::FilteredBlock(block)) })
        });
        Ok(tonic::Response::new(Box::pin(blocks)))
    }

    async fn deliver_with_private_data(
        &self,
        _request: Request<Streaming<Envelope>>,
    ) -> Result<tonic::Response<Self::DeliverWithPrivateDataStream>, Status> {
        Err(Status::unimplemented("not in tests"))
    }
}

pub(crate) fn ok(payload: impl Into<Bytes>) -> Response {
    Response { status: 200, message: String::new(), payload: payload.into() }
}

pub(crate) fn failed(status: i32, message: &str) -> Response {
    Response { status, message: message.into(), payload: Bytes::new() }
}

/// A channel configuration that knows one orderer.
pub(crate) fn orderer_at(address: SocketAddr) -> common::Config {
    let endpoints = common::OrdererAddresses { addresses: vec![address.to_string()] };
    let value = common::ConfigValue { value: endpoints.encode_to_vec().into(), ..common::ConfigValue::default() };
    let mut organization = common::ConfigGroup::default();
    organization.values.insert("Endpoints".into(), value);
    let mut orderer = common::ConfigGroup::default();
    orderer.groups.insert("OrdererOrg".into(), organization);
    let mut channel = common::ConfigGroup::default();
    channel.groups.insert("Orderer".into(), orderer);
    common::Config { channel_group: Some(channel), ..common::Config::default() }
}

pub(crate) fn block(number: u64, metadata: Vec<Bytes>) -> Block {
    Block {
        header: Some(BlockHeader { number, ..BlockHeader::default() }),
        data: None,
        metadata: Some(BlockMetadata { metadata }),
    }
}
