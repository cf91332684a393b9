//! What other orderers call here.

use std::pin::Pin;

use bytes::Bytes;
use fabric_proto::common::Status as FabricStatus;
use fabric_proto::orderer::cluster_server::Cluster as ClusterRpc;
use fabric_proto::orderer::{StepRequest, StepResponse, SubmitResponse, step_request, step_response};
use konsort_node::ConnectionInfo;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Cluster;

/// The `orderer.Cluster` service.
#[derive(Clone, Debug)]
pub(crate) struct ClusterService(pub Cluster);

type Answers = Pin<Box<dyn Stream<Item = Result<StepResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ClusterRpc for ClusterService {
    type StepStream = Answers;

    async fn step(&self, request: Request<Streaming<StepRequest>>) -> Result<Response<Answers>, Status> {
        let info = request.extensions().get::<ConnectionInfo>();
        let certificate = info.and_then(|i| i.peer_certificate());
        let key = certificate.and_then(|der| crate::raft::key_of_der(der));
        let key = key.ok_or_else(|| Status::unauthenticated("no TLS certificate sent"))?;
        let (sender, receiver) = mpsc::channel(64);
        let cluster = self.0.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let gauge = cluster.0.metrics.ingress_streams.with(&[]);
            gauge.add(1.0);
            loop {
                let outcome = tokio::select! {
                    () = sender.closed() => break,
                    message = requests.message() => match message {
                        Ok(Some(message)) => step(&cluster, &key, message).await,
                        Ok(None) => break,
                        Err(status) => Err(status),
                    },
                };
                let sent = match outcome {
                    Ok(None) => Ok(()),
                    Ok(Some(answer)) => sender.send(Ok(answer)).await,
                    Err(status) => {
                        tracing::warn!("refused a message of another orderer: {}", status.message());
                        let _gone = sender.send(Err(status)).await;
                        break;
                    }
                };
                if sent.is_err() {
                    break;
                }
            }
            gauge.add(-1.0);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

async fn step(cluster: &Cluster, key: &Bytes, request: StepRequest) -> Result<Option<StepResponse>, Status> {
    let denied = |text: String| Status::permission_denied(format!("access denied: {text}"));
    match request.payload {
        None => Err(Status::invalid_argument("message is neither a Submit nor a Consensus request")),
        Some(step_request::Payload::ConsensusRequest(request)) => {
            let (consenter, from) = cluster.caller(&request.channel, key).map_err(denied)?;
            consenter.consensus(from, request).await.map_err(Status::invalid_argument)?;
            Ok(None)
        }
        Some(step_request::Payload::SubmitRequest(request)) => {
            let channel = request.channel.clone();
            let (consenter, _) = cluster.caller(&channel, key).map_err(denied)?;
            let (status, info) = match consenter.submitted(request).await {
                Ok(()) => (FabricStatus::Success, String::new()),
                Err(unavailable) => (FabricStatus::InternalServerError, unavailable.0),
            };
            let answer = SubmitResponse { channel, status: status as i32, info };
            Ok(Some(StepResponse { payload: Some(step_response::Payload::SubmitRes(answer)) }))
        }
    }
}
