//! The signing client of the fabric engine: gateway client, administration clients and the command-line tools under upstream's names.
//!
//! ```no_run
//! # async fn example(signer: std::sync::Arc<dyn fabric_client::Signer>) -> Result<(), fabric_client::ClientError> {
//! use fabric_client::{Call, Endpoint, GatewayClient};
//!
//! let channel = Endpoint::tls("localhost:7051", std::fs::read("tls/ca.crt").unwrap()).connect().await?;
//! let gateway = GatewayClient::new(channel, signer);
//! let call = Call::new("mychannel", "basic").args(["CreateAsset", "asset1", "blue", "5", "Tom", "300"]);
//! let result = gateway.submit_and_wait(&call).await?;
//! println!("committed in block {}: {:?}", result.status.block_number, result.payload);
//! # Ok(())
//! # }
//! ```
//!
//! Three layers, each usable alone:
//!
//! 1. [`proposal`] and [`envelope`] build and sign messages; they do no I/O.
//! 2. [`GatewayClient`], [`AdminClient`], [`OrdererClient`] and [`ParticipationClient`] talk to one node each over a connection that
//!    is dialled once and shared by clones.
//! 3. [`tools`] is `peer`, `osnadmin`, `discover`, `cryptogen`, `configtxgen` and `configtxlator`: upstream's flags, texts and exit codes.
//!
//! The crate does not discover peers by itself (the gateway service does), keeps no wallet, and never reads the process environment:
//! tools receive it through [`tools::Console`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod admin;
pub mod blocks;
pub mod collections;
pub mod config_update;
pub mod configtxgen;
pub mod configtxlator;
pub mod cryptogen;
pub mod envelope;
mod error;
pub mod gateway;
pub mod package;
pub mod proposal;
pub mod protolator;
pub mod tools;
pub mod transport;

pub use admin::{AdminClient, OrdererClient, ParticipationClient};
pub use error::{ClientError, PeerDetail};
pub use fabric_channel::protoutil::Signer;
pub use gateway::{GatewayClient, Submitted};
pub use proposal::Call;
pub use transport::Endpoint;
