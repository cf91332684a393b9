//! Which names are allowed.

const MAX_LENGTH: usize = 249;

/// Checks the id of a channel: lower-case letters, digits, dots and dashes, beginning with a letter, at most 249 bytes.
pub fn validate_channel_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("channel ID illegal, cannot be empty".into());
    }
    if id.len() > MAX_LENGTH {
        return Err(format!("channel ID illegal, cannot be longer than {MAX_LENGTH}"));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if !id.as_bytes()[0].is_ascii_lowercase() || !id.bytes().all(allowed) {
        return Err(format!("'{id}' contains illegal characters"));
    }
    Ok(())
}

/// Checks the name of a group, value or policy: letters, digits, dots and dashes, at most 249 bytes, not `.` or `..`.
pub fn validate_config_id(id: &str) -> Result<(), String> {
    if id.is_empty() {
        return Err("config ID illegal, cannot be empty".into());
    }
    if id.len() > MAX_LENGTH {
        return Err(format!("config ID illegal, cannot be longer than {MAX_LENGTH}"));
    }
    if matches!(id, "." | "..") {
        return Err(format!("name '{id}' for config ID is not allowed"));
    }
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-') {
        return Err(format!("config ID '{id}' contains illegal characters"));
    }
    Ok(())
}
