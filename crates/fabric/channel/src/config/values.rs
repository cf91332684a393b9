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
        Some(found) => {
            T::decode(found.value.clone()).map_err(|source| ConfigError::Decode { key: key.to_owned(), source })
        }
        None => Ok(T::default()),
    }
}

/// A value of version zero.
pub(crate) fn new_value(message: &impl Message, mod_policy: &str) -> ConfigValue {
    ConfigValue { version: 0, value: Bytes::from(message.encode_to_vec()), mod_policy: mod_policy.to_owned() }
}

/// A value of version zero that is a message with nothing but a map in field 1.
///
/// Updates compare values by their bytes, and other tools write both parts of every map entry, empty or not, where our
/// encoder would leave out the empty ones.
pub(crate) fn new_map_value<'a, T: Message>(
    sorted: impl Iterator<Item = (&'a String, T)>,
    mod_policy: &str,
) -> ConfigValue {
    const FIRST: u8 = 0x0a;
    const SECOND: u8 = 0x12;
    let delimited = |out: &mut Vec<u8>, tag: u8, content: &[u8]| {
        out.push(tag);
        prost::encoding::encode_varint(content.len() as u64, out);
        out.extend_from_slice(content);
    };
    let mut bytes = Vec::new();
    for (key, message) in sorted {
        let mut entry = Vec::new();
        delimited(&mut entry, FIRST, key.as_bytes());
        delimited(&mut entry, SECOND, &message.encode_to_vec());
        delimited(&mut bytes, FIRST, &entry);
    }
    ConfigValue { version: 0, value: bytes.into(), mod_policy: mod_policy.to_owned() }
}
