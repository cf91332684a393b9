//! The gRPC service that chaincode processes dial.

use std::sync::Arc;

use fabric_proto::protos::{
    ChaincodeMessage,
    chaincode_support_server::{ChaincodeSupport, ChaincodeSupportServer},
};
use konsort_node::{ConnectionInfo, MAX_MESSAGE_SIZE};
use tonic::{Request, Response, Status, Streaming};

use super::{Inner, Runtime};
use crate::session::{Caller, Session};

/// `protos.ChaincodeSupport` over a [`Runtime`].
#[derive(Clone)]
pub struct Support {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Support {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Support")
    }
}

impl Runtime {
    /// The service for the chaincode listener. The listener must hand over [`ConnectionInfo`].
    pub fn service(&self) -> ChaincodeSupportServer<Support> {
        ChaincodeSupportServer::new(Support { inner: Arc::clone(&self.inner) })
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE)
    }
}

#[tonic::async_trait]
impl ChaincodeSupport for Support {
    type RegisterStream = futures::stream::BoxStream<'static, Result<ChaincodeMessage, Status>>;

    async fn register(
        &self,
        request: Request<Streaming<ChaincodeMessage>>,
    ) -> Result<Response<Self::RegisterStream>, Status> {
        let caller = match request.extensions().get::<ConnectionInfo>() {
            _ if !self.inner.settings.tls => Caller::Plain,
            // Only what the listener checked against the chaincode CA counts.
            Some(connection) if connection.is_verified() => connection
                .peer_certificate()
                .map_or(Caller::Anonymous, |der| Caller::Certificate(konsort_crypto::hash::sha256(der))),
            _ => Caller::Anonymous,
        };
        let session = Session::accepted(
            Box::pin(request.into_inner()),
            Arc::clone(&self.inner.registry),
            self.inner.session_settings(),
            caller,
        );
        Ok(Response::new(Box::pin(session)))
    }
}
