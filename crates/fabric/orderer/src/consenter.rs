//! The door to what orders: a consenter takes messages that passed the filters and makes blocks of them.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use fabric_channel::config::Bundle;
use fabric_proto::common::Envelope;
use serde::Serialize;
use tokio::sync::watch;

/// A future that may be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A message to order, with the configuration sequence its filters ran at.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The message.
    pub envelope: Envelope,
    /// The sequence; when the configuration has moved on the consenter checks again.
    pub config_sequence: u64,
    /// Whether it is a configuration transaction.
    pub is_config: bool,
}

/// The consenter does not take messages at the moment; the text is what clients see.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// How this node stands to the channel's consenters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It is one of them.
    Consenter,
    /// It follows them.
    Follower,
    /// It waits to be added.
    ConfigTracker,
    /// There is no cluster.
    Other,
}

/// Whether the channel is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// It is.
    Active,
    /// Blocks are being fetched.
    Onboarding,
    /// It is not.
    Inactive,
    /// The last operation on it failed.
    Failed,
}

impl Relation {
    /// Its number in metrics.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Other => 0.0,
            Self::Consenter => 1.0,
            Self::Follower => 2.0,
            Self::ConfigTracker => 3.0,
        }
    }
}

impl Activity {
    /// Its number in metrics.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Inactive => 0.0,
            Self::Active => 1.0,
            Self::Onboarding => 2.0,
            Self::Failed => 3.0,
        }
    }
}

/// Orders the messages of one channel.
pub trait Consenter: Send + Sync + Debug {
    /// Takes a message; it is in line to be ordered when this returns.
    fn order(&self, submission: Submission) -> BoxFuture<'_, Result<(), Unavailable>>;

    /// True while the consenter is cut off and readers should look elsewhere.
    fn errored(&self) -> watch::Receiver<bool>;

    /// How this node stands to the channel.
    fn report(&self) -> (Relation, Activity);

    /// Checks a change of the consenter's settings in a configuration update.
    fn check_metadata(&self, now: &Bundle, next: &Bundle) -> Result<(), String>;

    /// Stops; when it returns nothing is written any more.
    fn halt(&self) -> BoxFuture<'_, ()>;
}
