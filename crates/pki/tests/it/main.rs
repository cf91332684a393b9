//! Certificates, requests and lists through the public door.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authorities;
mod hostile;
mod openssl;
mod real_network;

use konsort_crypto::{KeyKind, PrivateKey};
use konsort_pki::{Certificate, CertificateTemplate, Name};

/// A time inside every certificate made here.
pub(crate) const NOW: i64 = 1_800_000_000;
const START: i64 = NOW - 1_000;
const END: i64 = NOW + 1_000;

pub(crate) fn key() -> PrivateKey {
    PrivateKey::generate(KeyKind::EcdsaP256).unwrap()
}

pub(crate) fn ca_template(name: &str) -> CertificateTemplate {
    CertificateTemplate::ca(Name::common_name(name), START, END)
}

pub(crate) fn leaf_template(name: &str) -> CertificateTemplate {
    CertificateTemplate::leaf(Name::common_name(name), START, END)
}

/// A root with its key.
pub(crate) fn root(name: &str) -> (Certificate, PrivateKey) {
    let key = key();
    (ca_template(name).self_sign(&key).unwrap(), key)
}
