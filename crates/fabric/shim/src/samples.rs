//! Contracts that come with the binary.

mod asset_transfer;

use konsort_node::{Environment, Shutdown};

pub use asset_transfer::{Asset, AssetTransfer};

use crate::error::RunError;

/// The names under which [`run`] knows the samples.
pub const NAMES: [&str; 1] = ["asset-transfer"];

/// Runs a sample by name; see [`crate::run`].
pub async fn run(name: &str, environment: &Environment, args: &[String], shutdown: Shutdown) -> Result<(), RunError> {
    match name {
        "asset-transfer" => crate::run(AssetTransfer, environment, args, shutdown).await,
        other => Err(RunError::UnknownSample(other.to_owned())),
    }
}
