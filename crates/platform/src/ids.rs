//! Ids of the platform's own things: a prefix that says what it is and twenty characters of chance.

use rand::RngCore as _;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A new id: `net` gives `net_` and twenty base32 characters (100 bits).
pub fn new(prefix: &str) -> String {
    format!("{prefix}_{}", random_text(20))
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
    fn ids_say_what_they_are_and_are_never_the_same() {
        let id = new("net");
        assert_eq!(id.len(), 24);
        assert!(id.starts_with("net_") && id.bytes().skip(4).all(|byte| ALPHABET.contains(&byte)), "{id}");
        assert_ne!(new("net"), id);
    }
}
