//! A decoded message together with the exact bytes it came from.
//!
//! Hashes and signatures are over bytes as received; a decoder drops unknown fields and an encoder may order maps differently.
//! So what was received is never encoded again: it is hashed, verified, stored and forwarded from [`Raw::bytes`].

use std::ops::Deref;

use bytes::Bytes;
use prost::Message;

/// A message view beside the bytes it was decoded from (or authored as).
#[derive(Debug, Clone, PartialEq)]
pub struct Raw<T> {
    bytes: Bytes,
    view: T,
}

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot decode {message}: {source}")]
pub struct DecodeError {
    /// The Rust path of the message type that was expected.
    pub message: &'static str,
    /// What the decoder found.
    #[source]
    pub source: prost::DecodeError,
}

impl<T: Message + Default> Raw<T> {
    /// Decodes `bytes` and keeps them.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let view =
            T::decode(bytes.clone()).map_err(|source| DecodeError { message: std::any::type_name::<T>(), source })?;
        Ok(Self { bytes, view })
    }

    /// Encodes a message of our own making; from here on its bytes do not change.
    pub fn author(view: T) -> Self {
        Self { bytes: Bytes::from(view.encode_to_vec()), view }
    }
}

impl<T> Raw<T> {
    /// The bytes as received or authored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The decoded view.
    pub fn view(&self) -> &T {
        &self.view
    }

    /// Gives up the bytes and keeps the view.
    pub fn into_view(self) -> T {
        self.view
    }

    /// Gives up the view and keeps the bytes.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl<T> Deref for Raw<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.view
    }
}
