//! Composite keys: an object type and attributes in one key, so that a range finds them by prefix.

use crate::error::ShimError;

const SEPARATOR: char = '\u{0}';
const MAX: char = '\u{10FFFF}';
/// A simple key starts after every composite one, so an empty range start means this.
pub(crate) const FIRST_SIMPLE_KEY: &str = "\u{1}";

fn check(part: &str) -> Result<(), ShimError> {
    if part.contains([SEPARATOR, MAX]) {
        return Err(ShimError::Argument(format!(
            "composite key part {part:?} contains U+0000 or U+10FFFF, which separate the parts"
        )));
    }
    Ok(())
}

/// Joins an object type and attributes to a key.
pub fn composite_key(object_type: &str, attributes: &[&str]) -> Result<String, ShimError> {
    check(object_type)?;
    let mut key = String::from(SEPARATOR);
    key.push_str(object_type);
    key.push(SEPARATOR);
    for attribute in attributes {
        check(attribute)?;
        key.push_str(attribute);
        key.push(SEPARATOR);
    }
    Ok(key)
}

/// Takes a composite key apart; `None` when it is not one.
pub fn split_composite_key(key: &str) -> Option<(&str, Vec<&str>)> {
    let mut parts = key.strip_prefix(SEPARATOR)?.strip_suffix(SEPARATOR)?.split(SEPARATOR);
    let object_type = parts.next()?;
    Some((object_type, parts.collect()))
}

/// The range of keys that begin with these parts.
pub(crate) fn composite_range(object_type: &str, attributes: &[&str]) -> Result<(String, String), ShimError> {
    let start = composite_key(object_type, attributes)?;
    let end = format!("{start}{MAX}");
    Ok((start, end))
}

/// The key of simple ranges and writes must not look like a composite one.
pub(crate) fn check_simple(key: &str) -> Result<(), ShimError> {
    if key.starts_with(SEPARATOR) {
        return Err(ShimError::Argument(format!(
            "first character of the key [{key:?}] contains a null character which is not allowed"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_as_they_were_joined() {
        let key = composite_key("color~id", &["blue", "asset1"]).unwrap();
        assert_eq!(key, "\0color~id\0blue\0asset1\0");
        assert_eq!(split_composite_key(&key), Some(("color~id", vec!["blue", "asset1"])));
        assert_eq!(split_composite_key("plain"), None);
        assert!(composite_key("a\0b", &[]).is_err());
        assert!(composite_key("a", &["\u{10FFFF}"]).is_err());
        let (start, end) = composite_range("color~id", &["blue"]).unwrap();
        assert!(start.as_str() <= key.as_str() && key.as_str() < end.as_str());
    }
}
