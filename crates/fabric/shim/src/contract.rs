//! What a chaincode author writes.

use std::future::Future;

use bytes::Bytes;

use crate::{error::ContractError, stub::Stub};

/// The payload of a successful transaction, or why it fails (status 500 with the error's text).
pub type Reply = Result<Bytes, ContractError>;

/// A chaincode.
pub trait Contract: Send + Sync + 'static {
    /// Runs one transaction; which function with which arguments, the [`Stub`] says.
    fn invoke(&self, stub: &Stub) -> impl Future<Output = Reply> + Send;

    /// Runs the initialization of a chaincode whose definition requires one; the same as [`Contract::invoke`] unless written.
    fn init(&self, stub: &Stub) -> impl Future<Output = Reply> + Send {
        self.invoke(stub)
    }
}
