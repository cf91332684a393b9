//! Configuration transactions.

use fabric_channel::config::Bundle;
use fabric_proto::common::ConfigEnvelope;
use fabric_proto::common::HeaderType;
use prost::Message;

use crate::ValidationError;
use crate::decode::{DecodedBlock, TxBody};

/// Checks the configuration transaction of a configuration block against the configuration in force and gives the next one;
/// `None` when the block holds none, or one that was refused already.
///
/// Call it after the signature stage. A configuration that an orderer ordered and this node refuses stops the channel here, as
/// it does the original: every later verdict would be made under the wrong rules.
pub fn apply_config(block: &DecodedBlock, bundle: &Bundle) -> Result<Option<Bundle>, ValidationError> {
    let number = block.number();
    let is_config = |header_type: i32| header_type == HeaderType::Config as i32;
    let Some(index) = block.transactions.iter().position(|tx| tx.undecided() && is_config(tx.header_type)) else {
        return Ok(None);
    };
    if block.transactions.len() != 1 {
        return Err(ValidationError::MixedConfig { number, channel: bundle.channel_id().to_owned(), index });
    }
    let TxBody::Config(bytes) = &block.transactions[index].body else { return Ok(None) };
    let refused = |reason: String| ValidationError::Config { number, channel: bundle.channel_id().to_owned(), reason };
    let envelope = ConfigEnvelope::decode(bytes.clone()).map_err(|error| refused(error.to_string()))?;
    bundle.validate(&envelope).map_err(|error| refused(error.to_string()))?;
    let config =
        envelope.config.ok_or_else(|| refused("the configuration envelope holds no configuration".to_owned()))?;
    let next = Bundle::from_config(bundle.channel_id(), config).map_err(|error| refused(error.to_string()))?;
    bundle.validate_new(&next).map_err(|error| refused(error.to_string()))?;
    next.check_peer_capabilities().map_err(|error| refused(error.to_string()))?;
    Ok(Some(next))
}
