//! Long acts, as operations with steps that survive a crash of the server.

pub(crate) mod finish;
pub mod handlers;
mod log;
pub(crate) mod runner;
pub mod state;
pub(crate) mod store;

pub use state::{Operation, OperationState, Step, StepError, StepState, Work};
pub use store::LogLine;
