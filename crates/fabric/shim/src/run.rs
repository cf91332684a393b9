//! Running a contract: dialling the peer or listening for it.

use std::{sync::Arc, time::Duration};

use fabric_proto::protos::{
    ChaincodeMessage,
    chaincode_server::{Chaincode, ChaincodeServer},
    chaincode_support_client::ChaincodeSupportClient,
};
use futures::StreamExt as _;
use konsort_node::{
    ClientAuth, ClientTls, DialOptions, Environment, MAX_MESSAGE_SIZE, Roots, Server, ServerOptions, ServerTls,
    Shutdown, TlsIdentity,
};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    contract::Contract,
    error::RunError,
    session::Session,
    settings::{ClientSettings, Mode, ServerSettings},
};

/// How long to wait for the reason when the peer has ended the stream.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs a contract as environment and arguments say, until the peer ends the stream (client) or `shutdown` (server).
pub async fn run(
    contract: impl Contract,
    environment: &Environment,
    args: &[String],
    shutdown: Shutdown,
) -> Result<(), RunError> {
    match Mode::from_environment(environment, args)? {
        Mode::Client(settings) => {
            tokio::select! {
                result = connect(contract, &settings) => result,
                () = shutdown.triggered() => Ok(()),
            }
        }
        Mode::Server(settings) => serve(contract, &settings, shutdown).await,
    }
}

/// Dials the peer and serves until the stream ends.
pub async fn connect(contract: impl Contract, settings: &ClientSettings) -> Result<(), RunError> {
    let tls = match &settings.tls {
        None => None,
        Some(files) => Some(ClientTls {
            roots: Roots::from_pem([&files.root])?,
            identity: Some(TlsIdentity::from_pem(&files.certificate, &files.key)?),
            server_name_override: None,
        }),
    };
    let options = DialOptions { tls, ..DialOptions::default() };
    let dialed = konsort_node::dial_checked(&settings.peer_address, &options).await?;
    let mut client = ChaincodeSupportClient::new(dialed.channel)
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE);
    let (session, inbound, mut rest) = Session::dialled(Arc::new(contract), &settings.chaincode_id);
    let failed = |status: &Status| RunError::Stream {
        chaincode: settings.chaincode_id.clone(),
        status: status.message().to_owned(),
    };
    // Whoever stops waiting for this future stops the chaincode.
    let (_alive, stopped) = tokio::sync::oneshot::channel::<()>();
    let response = client.register(session.take_until(stopped)).await.map_err(|status| failed(&status))?;
    // The session is polled by the connection; here is only waited for its end, which may have come already.
    let mut left = match inbound.send(Box::pin(response.into_inner())) {
        Err(unread) => unread,
        Ok(()) => match rest.recv().await {
            Some(left) => left,
            // The connection was cut under the session: nobody said that this is the end.
            None => return Err(failed(&Status::unavailable("the connection broke"))),
        },
    };
    // A peer that ends the stream with an error may cut our half before the error is read.
    let status = tokio::time::timeout(LAST_WORDS, async {
        loop {
            match left.next().await {
                Some(Ok(_)) => {}
                Some(Err(status)) => return Some(status),
                None => return None,
            }
        }
    });
    match status.await {
        Ok(Some(status)) => Err(failed(&status)),
        _ => Ok(()),
    }
}

/// The gRPC service of a contract that peers dial.
#[derive(Debug)]
pub struct ContractService<C> {
    contract: Arc<C>,
    chaincode_id: Arc<str>,
}

/// `protos.Chaincode` over a contract, for a server of one's own.
pub fn service<C: Contract>(contract: C, chaincode_id: &str) -> ChaincodeServer<ContractService<C>> {
    ChaincodeServer::new(ContractService { contract: Arc::new(contract), chaincode_id: chaincode_id.into() })
        .max_decoding_message_size(MAX_MESSAGE_SIZE)
        .max_encoding_message_size(MAX_MESSAGE_SIZE)
}

#[tonic::async_trait]
impl<C: Contract> Chaincode for ContractService<C> {
    type ConnectStream = futures::stream::BoxStream<'static, Result<ChaincodeMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let inbound = Box::pin(request.into_inner());
        let session = Session::accepted(Arc::clone(&self.contract), &self.chaincode_id, inbound);
        Ok(Response::new(Box::pin(session.map(Ok))))
    }
}

/// Listens for peers until `shutdown`.
pub async fn serve(contract: impl Contract, settings: &ServerSettings, shutdown: Shutdown) -> Result<(), RunError> {
    let tls = match &settings.tls {
        None => None,
        Some(files) => Some(ServerTls {
            identity: TlsIdentity::from_pem(&files.certificate, &files.key)?,
            client_auth: if files.client_root.is_some() { ClientAuth::Require } else { ClientAuth::None },
            client_roots: match &files.client_root {
                Some(root) => Roots::from_pem([root])?,
                None => Roots::new(),
            },
        }),
    };
    let server =
        Server::bind("chaincode", &settings.address, ServerOptions { tls, ..ServerOptions::default() }).await?;
    let routes = tonic::service::Routes::new(service(contract, &settings.chaincode_id));
    server.serve_grpc(routes, shutdown).await;
    Ok(())
}
