//! Building and starting a chaincode.

use std::{sync::Arc, time::Duration};

use fabric_proto::protos::chaincode_client::ChaincodeClient;
use futures::StreamExt as _;
use konsort_node::{ClientTls, DialError, DialOptions, MAX_MESSAGE_SIZE, Roots, TlsIdentity};

use super::Inner;
use crate::{
    error::LaunchError,
    launcher::{ChaincodeLauncher, PeerConnection, Running, RunningProcess, ServerAddress},
    package::Package,
    registry::Launch,
    session::Session,
};

/// Between attempts to reach a chaincode server.
const RETRY: Duration = Duration::from_millis(200);

impl Inner {
    /// Has the first launcher that takes the package build it.
    pub(crate) async fn build(&self, package: &Package) -> Result<Arc<dyn ChaincodeLauncher>, LaunchError> {
        for launcher in &self.launchers {
            if launcher.build(package).await? {
                return Ok(Arc::clone(launcher));
            }
        }
        Err(LaunchError::NoLauncher { package_id: package.id().to_owned(), kind: package.metadata().kind.clone() })
    }

    /// Starts a chaincode and tells everyone who waits.
    pub(crate) async fn launch(self: Arc<Self>, package_id: String, launch: Launch) {
        let started = tokio::time::Instant::now();
        let result = tokio::select! {
            result = tokio::time::timeout(self.settings.startup_timeout, self.start(&package_id, &launch)) => {
                result.unwrap_or_else(|_elapsed| {
                    Err(LaunchError::Timeout { package_id: package_id.clone(), log: self.log(&package_id) })
                })
            }
            () = self.stopping.cancelled() => Err(LaunchError::Stopping(package_id.clone())),
        };
        if let Some(metrics) = &self.metrics {
            let timed_out = matches!(result, Err(LaunchError::Timeout { .. }));
            metrics.launched(&package_id, started.elapsed(), result.is_err(), timed_out);
        }
        match &result {
            Ok(()) => {
                tracing::info!(chaincode = %package_id, milliseconds = started.elapsed().as_millis(), "chaincode started");
            }
            Err(error) => {
                tracing::error!(chaincode = %package_id, "could not launch chaincode {package_id}: {error}");
                // Told before the process is ended, so that its end is not taken for the reason.
                launch.notify(Err(error.clone()));
                if let Some(process) = self.registry.take_process(&package_id) {
                    process.stop().await;
                }
            }
        }
        self.registry.finish_launch(&package_id, &launch, result);
    }

    async fn start(self: &Arc<Self>, package_id: &str, launch: &Launch) -> Result<(), LaunchError> {
        // What is left of an earlier run holds no stream any more.
        if let Some(process) = self.registry.take_process(package_id) {
            process.stop().await;
        }
        let package = self
            .store
            .package(package_id)
            .map_err(|error| LaunchError::Package { package_id: package_id.to_owned(), cause: error.to_string() })?;
        let launcher = self.build(&package).await?;
        let tls = match &self.ca {
            None => None,
            Some(ca) => {
                let (tls, hash) = ca.issue_client(package_id).map_err(|cause| LaunchError::Start {
                    package_id: package_id.to_owned(),
                    cause,
                    log: None,
                })?;
                self.registry.bind_certificate(hash, package_id);
                Some((tls, hash))
            }
        };
        let hash = tls.as_ref().map(|(_tls, hash)| *hash);
        let peer = PeerConnection {
            address: self.settings.address.clone(),
            mspid: self.settings.mspid.clone(),
            tls: tls.map(|(tls, _hash)| tls),
        };
        let running = launcher.launch(&package, &peer).await.inspect_err(|_| {
            if let Some(hash) = &hash {
                self.registry.forget_certificate(hash);
            }
        })?;
        match running {
            Running::Process(process) => self.watch_process(package_id, Arc::from(process), hash, launch).await,
            Running::Server(server) => {
                if let Some(hash) = hash {
                    self.registry.forget_certificate(&hash);
                }
                self.connect(package_id, &server).await?;
                launch.done().await
            }
        }
    }

    /// Waits until a started process registers, and goes on watching it in the background.
    async fn watch_process(
        self: &Arc<Self>,
        package_id: &str,
        process: Arc<dyn RunningProcess>,
        certificate: Option<[u8; 32]>,
        launch: &Launch,
    ) -> Result<(), LaunchError> {
        self.registry.keep_process(package_id, Arc::clone(&process));
        let (inner, id, waiting) = (Arc::clone(self), package_id.to_owned(), launch.clone());
        tokio::spawn(async move {
            let code = process.wait().await;
            tracing::info!(chaincode = %id, "chaincode process exited with {code}");
            if let Some(hash) = &certificate {
                inner.registry.forget_certificate(hash);
            }
            let log = process.log();
            inner.registry.process_ended(&id, &process);
            waiting.notify(Err(LaunchError::Exited { code, log }));
        });
        launch.done().await
    }

    /// Dials a chaincode server and runs the stream in the background.
    async fn connect(self: &Arc<Self>, package_id: &str, server: &ServerAddress) -> Result<(), LaunchError> {
        let failed = |cause: String| LaunchError::Connect { package_id: package_id.to_owned(), cause };
        let tls = match &server.tls {
            None => None,
            Some(tls) => {
                let roots = Roots::from_pem([&tls.root]).map_err(|error| failed(format!("root_cert: {error}")))?;
                let identity = tls
                    .identity
                    .as_ref()
                    .map(|(certificate, key)| TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()))
                    .transpose()
                    .map_err(|error| failed(format!("client_cert, client_key: {error}")))?;
                Some(ClientTls { roots, identity, server_name_override: tls.server_name.clone() })
            }
        };
        let options = DialOptions { tls, connect_timeout: server.dial_timeout, ..DialOptions::default() };
        // The server may be starting at the same moment, so a refused connection is tried again while the timeout lasts.
        let until = tokio::time::Instant::now() + server.dial_timeout;
        let dialed = loop {
            match konsort_node::dial_checked(&server.address, &options).await {
                Ok(dialed) => break dialed,
                Err(DialError::Connect { .. }) if tokio::time::Instant::now() + RETRY < until => {
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => {
                    return Err(failed(format!("error creating grpc connection to {}: {error}", server.address)));
                }
            }
        };
        let (session, inbound) = Session::dialled(Arc::clone(&self.registry), self.session_settings(), package_id);
        let mut client = ChaincodeClient::new(dialed.channel)
            .max_decoding_message_size(MAX_MESSAGE_SIZE)
            .max_encoding_message_size(MAX_MESSAGE_SIZE);
        let id = package_id.to_owned();
        tokio::spawn(async move {
            // A request stream carries no error: it just ends, and the server sees it end.
            let outgoing = session
                .take_while(|message| std::future::ready(message.is_ok()))
                .filter_map(|message| std::future::ready(message.ok()));
            match client.connect(outgoing).await {
                Ok(response) => {
                    let _ = inbound.send(Box::pin(response.into_inner()));
                }
                Err(status) => {
                    tracing::error!(chaincode = %id, "error creating grpc client connection to {id}: {status}");
                }
            }
        });
        Ok(())
    }
}
