//! Ids of the platform's own things: a prefix that says what it is and twenty characters of chance.

use rand::RngCore as _;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A new id: `net` gives `net_` and twenty base32 characters (100 bits).
pub fn new(prefix: &str) -> String {
    format!("{prefix}_{}", random_text(20))
}

/// Whether a text has the form of an id with this prefix.
pub fn is(prefix: &str, text: &str) -> bool {
    text.strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .is_some_and(|rest| rest.len() == 20 && rest.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// Base32 characters of chance, five bits each.
pub fn random_text(length: usize) -> String {
    let mut bytes = vec![0_u8; length];
    rand::rng().fill_bytes(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_anything_else() {
        let id = new("net");
        assert_eq!(id.len(), 24);
        assert!(is("net", &id));
        assert!(!is("org", &id));
        assert!(!is("net", "net_../../etc/passwd00000"));
        assert_ne!(new("net"), id);
    }
}
