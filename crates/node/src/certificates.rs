//! Judging the other side's certificate in a TLS handshake, as Go's `crypto/tls` does.

use konsort_pki::{Certificate, CertificatePool, ChainError, PkiError, Usage, VerifyOptions};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::{DigitallySignedStruct, ProtocolVersion};

/// Why a certificate is not accepted; the text reaches both sides' logs.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the certificate cannot be read: {0}")]
    Unreadable(#[from] PkiError),
    #[error("{0}")]
    Chain(#[from] ChainError),
}

/// What the certificate is for.
#[derive(Debug)]
pub(crate) enum Purpose<'a> {
    Client,
    /// A server, under this name where certificates carry names.
    Server(Option<&'a str>),
}

/// Checks chain, time, purpose and (for servers) name.
pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &CertificatePool,
    at: i64,
    purpose: &Purpose<'_>,
) -> Result<(), Refused> {
    let leaf = Certificate::from_der(leaf)?;
    let mut between = CertificatePool::default();
    for der in intermediates {
        between.add(Certificate::from_der(der)?);
    }
    if let Purpose::Server(Some(name)) = purpose {
        leaf.verify_hostname(name)?;
    }
    let usage = match purpose {
        Purpose::Client => Usage::ClientAuth,
        Purpose::Server(_) => Usage::ServerAuth,
    };
    konsort_pki::verify(&leaf, &VerifyOptions { roots, intermediates: &between, at, usage })?;
    Ok(())
}

/// Checks the signature over the handshake with the certificate's key, whatever else the certificate says.
pub(crate) fn handshake_signature(
    version: ProtocolVersion,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let algorithms = &crate::tls::provider().signature_verification_algorithms;
    if version == ProtocolVersion::TLSv1_2 {
        return rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms);
    }
    let parsed = Certificate::from_der(certificate)
        .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
    let key = SubjectPublicKeyInfoDer::from(parsed.public_key().spki_der());
    rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
}
