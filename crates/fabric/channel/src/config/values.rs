//! Values of a group as messages. A key that the group does not know is refused; one that is absent is the empty message.

use bytes::Bytes;
use fabric_proto::common::{ConfigGroup, ConfigValue};
use prost::Message;

use super::ConfigError;

/// Refuses keys that are not in `known`.
pub(super) fn check_keys(group: &ConfigGroup, known: &[&str]) -> Result<(), ConfigError> {
    match group.values.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(ConfigError::UnexpectedKey(key.clone())),
        None => Ok(()),
    }
}

/// The value with this key.
pub(super) fn value<T: Message + Default>(group: &ConfigGroup, key: &str) -> Result<T, ConfigError> {
    match group.values.get(key) {
        Some(found) => T::decode(found.value.clone())
            .map_err(|source| ConfigError::Decode { key: key.to_owned(), source }),
        None => Ok(T::default()),
    }
}

/// A value of version zero.
pub(crate) fn new_value(message: &impl Message, mod_policy: &str) -> ConfigValue {
    ConfigValue { version: 0, value: Bytes::from(message.encode_to_vec()), mod_policy: mod_policy.to_owned() }
}
