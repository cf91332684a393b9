//! What a message must pass to be ordered: upstream's rules, their order and their words.

use std::time::{SystemTime, UNIX_EPOCH};

use fabric_channel::config::{Bundle, OrdererConfig};
use fabric_channel::protoutil;
use fabric_proto::common::{ConfigEnvelope, Envelope, Status};
use fabric_proto::orderer::consensus_type::State;

/// Lets the consenter check a change of its own settings.
pub type ConsenterCheck<'a> = &'a (dyn Fn(&Bundle, &Bundle) -> Result<(), String> + Send + Sync);

/// Why a message is not ordered; the text is what clients see.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Rejection {
    /// No such channel, or a kind of message that is not taken.
    #[error("{0}")]
    Refused(String),
    /// The signature does not satisfy the policy.
    #[error("{0}")]
    Denied(String),
    /// The channel is in maintenance.
    #[error("{0}: maintenance mode")]
    Maintenance(String),
}

impl Rejection {
    /// The broadcast status it gives.
    pub fn status(&self) -> Status {
        match self {
            Self::Refused(_) => Status::BadRequest,
            Self::Denied(_) => Status::Forbidden,
            Self::Maintenance(_) => Status::ServiceUnavailable,
        }
    }

    pub(crate) fn within(self, context: &str) -> Self {
        match self {
            Self::Refused(text) => Self::Refused(format!("{context}: {text}")),
            Self::Denied(text) => Self::Denied(format!("{context}: {text}")),
            Self::Maintenance(text) => Self::Maintenance(format!("{context}: {text}")),
        }
    }
}

pub(crate) fn orderer(bundle: &Bundle) -> Result<&OrdererConfig, Rejection> {
    bundle.orderer().ok_or_else(|| Rejection::Refused("the channel has no orderer configuration".to_owned()))
}

pub(crate) fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

/// Empty, size, expiry, signature: in this order.
pub(crate) fn apply(envelope: &Envelope, bundle: &Bundle, check_expiration: bool) -> Result<(), Rejection> {
    let config = orderer(bundle)?;
    if envelope.payload.is_empty() {
        return Err(Rejection::Refused("Message was empty".to_owned()));
    }
    let size = envelope.payload.len() + envelope.signature.len();
    let limit = config.batch_size.absolute_max_bytes;
    if size > limit as usize {
        return Err(Rejection::Refused(format!(
            "message payload is {size} bytes and exceeds maximum allowed {limit} bytes"
        )));
    }
    let unsigned =
        |e: protoutil::ProtoutilError| Rejection::Refused(format!("could not convert message to signedData: {e}"));
    let signed = protoutil::envelope_signed_data(envelope).map_err(unsigned)?;
    if check_expiration
        && config.capabilities.expiration_check()
        && let Ok(identity) = bundle.msp_manager().deserialize(&signed.identity)
        && identity.expires_at() <= unix_seconds()
    {
        return Err(Rejection::Refused("broadcast client identity expired".to_owned()));
    }
    signature(&[signed], bundle, "Writers")
}

/// Evaluates the channel's `Readers` or `Writers`, in maintenance the orderers' own.
pub(crate) fn signature(signed: &[protoutil::SignedData], bundle: &Bundle, role: &str) -> Result<(), Rejection> {
    let config = orderer(bundle)?;
    let path = if config.state == State::Maintenance {
        format!("/Channel/Orderer/{role}")
    } else {
        format!("/Channel/{role}")
    };
    let policy =
        bundle.policies().get(&path).ok_or_else(|| Rejection::Refused(format!("could not find policy {path}")))?;
    policy.evaluate(signed).map_err(|error| {
        tracing::warn!(channel = bundle.channel_id(), policy = path, "signature refused: {error}");
        Rejection::Denied(format!("{error}: permission denied"))
    })
}

/// The rules of entering, using and leaving maintenance mode.
pub(crate) fn maintenance(transaction: &ConfigEnvelope, bundle: &Bundle, next: &Bundle) -> Result<(), Rejection> {
    let refuse = |text: String| Err(Rejection::Refused(text));
    let now = orderer(bundle)?;
    let Some(then) = next.orderer() else { return refuse("next config is missing orderer group".to_owned()) };
    let name = |state: State| state.as_str_name();
    if !now.capabilities.consensus_type_migration() {
        if then.state != State::Normal {
            return refuse(format!(
                "next config attempted to change ConsensusType.State to {}, but capability is disabled",
                name(then.state)
            ));
        }
        if now.consensus_type != then.consensus_type {
            return refuse(format!(
                "next config attempted to change ConsensusType.Type from {} to {}, but capability is disabled",
                now.consensus_type, then.consensus_type
            ));
        }
        return Ok(());
    }
    if now.state != then.state {
        only_consensus_type(transaction)?;
        if now.consensus_type != then.consensus_type {
            return refuse(format!(
                "attempted to change ConsensusType.Type from {} to {}, but ConsensusType.State is changing from {} to {}",
                now.consensus_type,
                then.consensus_type,
                name(now.state),
                name(then.state)
            ));
        }
        if now.consensus_metadata != then.consensus_metadata {
            return refuse(format!(
                "attempted to change ConsensusType.Metadata, but ConsensusType.State is changing from {} to {}",
                name(now.state),
                name(then.state)
            ));
        }
    }
    if now.consensus_type != then.consensus_type {
        let change =
            format!("attempted to change consensus type from {} to {}", now.consensus_type, then.consensus_type);
        if now.state == State::Normal {
            return refuse(format!("{change}, but current config ConsensusType.State is not in maintenance mode"));
        }
        if then.state == State::Normal {
            return refuse(format!("{change}, but next config ConsensusType.State is not in maintenance mode"));
        }
        // Upstream goes on to BFT from here; this orderer has no such consenter to go on with.
        return refuse(format!("{change}, transition not supported"));
    }
    Ok(())
}

fn only_consensus_type(transaction: &ConfigEnvelope) -> Result<(), Rejection> {
    let refuse = |text: &str| Err(Rejection::Refused(text.to_owned()));
    let Some(update) = &transaction.last_update else {
        return refuse("updated config does not include a config update");
    };
    let update = protoutil::config_update_envelope(update)
        .and_then(|envelope| {
            protoutil::decode::<fabric_proto::common::ConfigUpdate>("ConfigUpdate", &envelope.config_update)
        })
        .map_err(|e| Rejection::Refused(e.to_string()))?;
    let written = update.write_set.unwrap_or_default();
    if written.groups.is_empty() {
        return refuse("config update contains no changes");
    }
    if !written.values.is_empty() {
        return refuse("config update contains changes to values in group Channel");
    }
    if written.groups.len() > 1 {
        return refuse("config update contains changes to more than one group");
    }
    let Some(group) = written.groups.get("Orderer") else { return refuse("update does not contain the Orderer group") };
    if !group.groups.is_empty() {
        return refuse("config update contains changes to groups within the Orderer group");
    }
    if !group.values.contains_key("ConsensusType") {
        return refuse("config update does not contain the ConsensusType value");
    }
    if group.values.len() > 1 {
        return refuse("config update contain more then just the ConsensusType value in the Orderer group");
    }
    Ok(())
}
