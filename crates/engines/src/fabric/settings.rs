//! Settings of a channel that can be changed while it lives.

use fabric_channel::config::{format_duration, keys, parse_duration};
use fabric_proto::orderer::{BatchSize, BatchTimeout};

use super::connect::Net;
use super::layout::invalid;
use super::update::{edit, group};
use crate::EngineError;
use crate::spec::NetworkSpec;

/// Most transactions of a block.
const MAX_MESSAGE_COUNT: &str = "max_message_count";
/// Most bytes of a block, whatever it holds.
const ABSOLUTE_MAX_BYTES: &str = "absolute_max_bytes";
/// Bytes from which on a block is cut.
const PREFERRED_MAX_BYTES: &str = "preferred_max_bytes";
/// Longest wait for more transactions.
const BATCH_TIMEOUT: &str = "batch_timeout";
const KEYS: [&str; 4] = [MAX_MESSAGE_COUNT, ABSOLUTE_MAX_BYTES, PREFERRED_MAX_BYTES, BATCH_TIMEOUT];
/// What the orderers' own limit for a message leaves for a block.
const LARGEST_BLOCK: u32 = 99 << 20;

/// A parsed setting.
enum Setting {
    Count(u32),
    Absolute(u32),
    Preferred(u32),
    Timeout(std::time::Duration),
}

fn parse(key: &str, value: &str) -> Result<Setting, EngineError> {
    let number = |largest: u32| {
        value
            .trim()
            .parse::<u32>()
            .ok()
            .filter(|number| (1..=largest).contains(number))
            .ok_or_else(|| invalid("value", format!("{value:?} is not a number from 1 to {largest}")))
    };
    match key {
        MAX_MESSAGE_COUNT => Ok(Setting::Count(number(100_000)?)),
        ABSOLUTE_MAX_BYTES => Ok(Setting::Absolute(number(LARGEST_BLOCK)?)),
        PREFERRED_MAX_BYTES => Ok(Setting::Preferred(number(LARGEST_BLOCK)?)),
        BATCH_TIMEOUT => {
            let time = parse_duration(value.trim())
                .map_err(|error| invalid("value", format!("{error}; write a time such as 2s or 250ms")))?;
            if time.is_zero() || time > std::time::Duration::from_mins(10) {
                return Err(invalid("value", "use a time from 1ms to 10m"));
            }
            Ok(Setting::Timeout(time))
        }
        _ => Err(invalid("key", format!("{key:?} is not known; use one of {}", KEYS.join(", ")))),
    }
}

/// Refuses keys and values that no channel takes.
pub(super) fn check(key: &str, value: &str) -> Result<(), EngineError> {
    parse(key, value).map(|_| ())
}

impl Net<'_> {
    /// Changes one setting; the network's specification follows when it is one that new channels begin with.
    pub(super) async fn configure(&self, channel: &str, key: &str, value: &str) -> Result<NetworkSpec, EngineError> {
        let setting = parse(key, value)?;
        let (_, admin) = self.orderer_admin()?;
        self.change_config(channel, &[admin], None, |config| {
            let group = group(config, &[keys::ORDERER])?;
            match &setting {
                Setting::Timeout(time) => edit::<BatchTimeout>(group, keys::BATCH_TIMEOUT, |value| {
                    value.timeout = format_duration(*time);
                }),
                Setting::Count(count) => {
                    edit::<BatchSize>(group, keys::BATCH_SIZE, |value| value.max_message_count = *count)
                }
                Setting::Absolute(bytes) => edit::<BatchSize>(group, keys::BATCH_SIZE, |value| {
                    value.absolute_max_bytes = *bytes;
                    value.preferred_max_bytes = value.preferred_max_bytes.min(*bytes);
                }),
                Setting::Preferred(bytes) => edit::<BatchSize>(group, keys::BATCH_SIZE, |value| {
                    value.preferred_max_bytes = *bytes;
                    value.absolute_max_bytes = value.absolute_max_bytes.max(*bytes);
                }),
            }
        })
        .await?;
        let mut spec = self.spec().clone();
        match setting {
            Setting::Timeout(time) => spec.block_time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX),
            Setting::Count(count) => spec.block_transactions = count,
            Setting::Absolute(_) | Setting::Preferred(_) => {}
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_before_anything_is_sent() {
        for (key, value) in [("max_message_count", "10"), ("batch_timeout", "250ms"), ("absolute_max_bytes", "1048576")]
        {
            assert!(check(key, value).is_ok(), "{key} {value}");
        }
        for (key, value) in [
            ("max_message_count", "0"),
            ("max_message_count", "many"),
            ("batch_timeout", "0s"),
            ("batch_timeout", "soon"),
            ("absolute_max_bytes", "4294967295"),
            ("colour", "red"),
        ] {
            assert!(check(key, value).is_err(), "{key} {value}");
        }
    }
}
