//! Requests to servers of others (the login provider): TLS checked against the public authorities, answers bounded in size and
//! time, redirects not followed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

/// Largest answer.
const LARGEST: usize = 1024 * 1024;

/// The authorities to trust: the public ones and those of a PEM text.
pub(crate) fn roots(extra: Option<&str>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(pem) = extra {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| format!("it is not PEM: {error}"))?;
            store.add(certificate).map_err(|error| format!("a certificate cannot be used: {error}"))?;
            count += 1;
        }
        if count == 0 {
            return Err("it holds no certificate; give PEM with BEGIN CERTIFICATE".to_owned());
        }
    }
    Ok(store)
}

/// What to send.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    /// Media type and content.
    pub(crate) body: Option<(&'static str, String)>,
    pub(crate) authorization: Option<String>,
    pub(crate) ca_pem: Option<&'a str>,
}

/// Sends it and returns status and body; the error says in words what failed.
pub(crate) async fn send(call: Call<'_>) -> Result<(u16, Bytes), String> {
    let url = call.url.to_owned();
    tokio::time::timeout(Duration::from_secs(10), exchange(call))
        .await
        .unwrap_or_else(|_| Err("no answer within 10 seconds".to_owned()))
        .map_err(|why| format!("{url}: {why}"))
}

async fn exchange(call: Call<'_>) -> Result<(u16, Bytes), String> {
    let uri: Uri = call.url.parse().map_err(|error| format!("not an address: {error}"))?;
    let host = uri.host().ok_or("the address has no host")?.to_owned();
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let authority = uri.authority().map_or_else(|| host.clone(), ToString::to_string);
    let mut request = Request::builder()
        .method(call.method)
        .uri(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("konsort/", env!("CARGO_PKG_VERSION")));
    if let Some(authorization) = call.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let body = match call.body {
        Some((media, text)) => {
            request = request.header(header::CONTENT_TYPE, media).header(header::CONTENT_LENGTH, text.len());
            Full::new(Bytes::from(text))
        }
        None => Full::new(Bytes::new()),
    };
    let request = request.body(body).map_err(|error| error.to_string())?;
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let stream = TcpStream::connect((name.as_str(), port)).await.map_err(|error| error.to_string())?;
    if tls {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots(call.ca_pem)?)
            .with_no_client_auth();
        let server = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(server, stream)
            .await
            .map_err(|error| error.to_string())?;
        over(stream, request).await
    } else {
        over(stream, request).await
    }
}

async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let task = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), LARGEST)
            .collect()
            .await
            .map_err(|error| format!("the answer could not be read: {error}"))?;
        Ok((status, body.to_bytes()))
    }
    .await;
    task.abort();
    answer
}
