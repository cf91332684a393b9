//! What every node of every engine has: configuration layers, TLS listening and dialling, gRPC and HTTP serving,
//! metrics, logging, the operations service, a task tree with a graceful stop, and the doors to clock and randomness.
//!
//! ```
//! use konsort_node::{Config, Environment};
//!
//! let environment = Environment::from_pairs([("CORE_PEER_ADDRESS", "peer0.example.com:7051")]);
//! let yaml = "peer:\n  id: peer0\n  address: 0.0.0.0:7051\n  keepalive:\n    interval: 60s\n";
//! let config = Config::from_yaml(yaml, "/etc/konsort/core.yaml", "CORE", &environment)?;
//! assert_eq!(config.string("peer.id"), "peer0");
//! assert_eq!(config.string("peer.address"), "peer0.example.com:7051");
//! assert_eq!(config.duration("peer.keepAlive.interval")?.map(|d| d.as_secs()), Some(60));
//! # Ok::<(), konsort_node::ConfigError>(())
//! ```
//!
//! A listener is a [`Server`]: bind it, give it an `axum` router (a gRPC service set is one too), and every request
//! carries a [`ConnectionInfo`] extension with the caller's certificates and the TLS exporter. A port with one kind of
//! request needs no router: it implements [`Respond`]. [`dial`] is the other end.
//!
//! What this crate does not do: it knows no message, policy or protocol of an engine, keeps no state on disk and
//! decides nothing about identities beyond the TLS chain.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod certificates;
mod clock;
mod config;
mod connection;
mod dial;
mod grpc;
pub mod logging;
pub mod metrics;
mod operations;
pub mod ports;
mod process;
mod refusal;
mod server;
mod tasks;
mod text;
mod tls;
mod unread;

pub use clock::{Clock, ManualClock, OsRandom, Random, SeededRandom, SystemClock};
pub use config::{Config, ConfigError, Environment, parse_duration, parse_size};
pub use connection::ConnectionInfo;
pub use dial::{DialError, DialOptions, Dialed, dial, dial_checked, dial_observed, dial_stream, http_request};
pub use grpc::{code_name, count_requests};
pub use metrics::Metrics;
pub use operations::{Health, Operations, OperationsOptions};
pub use process::ProcessStat;
pub use refusal::unreadable;
pub use server::{Respond, ServeError, Server, ServerOptions};
pub use tasks::{Shutdown, Tasks};
pub use text::{rfc3339, utc_fields};
pub use tls::{ClientAuth, ClientTls, Roots, ServerTls, TlsError, TlsIdentity};
pub use unread::{BodyError, discard_body, read_body};

/// Largest gRPC message either side accepts or sends, in bytes (upstream's default, 100 MiB).
///
/// Pass it to `max_decoding_message_size` and `max_encoding_message_size` of every generated client and server.
pub const MAX_MESSAGE_SIZE: usize = 100 * 1024 * 1024;
