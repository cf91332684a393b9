//! Host names: what counts as one, and whether a certificate speaks for one.

use std::net::IpAddr;

use crate::certificate::Certificate;
use crate::chain::ChainError;

/// Whether text could be a host name: labels of letters, digits, `-` (not first), `_` and `:`, with `*` allowed as
/// whole first label.
pub fn is_valid_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.split('.').enumerate().all(|(index, label)| {
            !label.is_empty()
                && ((index == 0 && label == "*")
                    || label.char_indices().all(|(at, symbol)| {
                        symbol.is_ascii_alphanumeric() || (symbol == '-' && at != 0) || matches!(symbol, '_' | ':')
                    }))
        })
}

impl Certificate {
    /// Checks that the certificate's alternative names cover `host`, an IP address or a DNS name. The common name does
    /// not count.
    pub fn verify_hostname(&self, host: &str) -> Result<(), ChainError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            if self.ip_addresses().contains(&ip) {
                return Ok(());
            }
        } else if self.dns_names().iter().any(|pattern| host_matches(pattern, host)) {
            return Ok(());
        }
        let names: Vec<String> =
            self.dns_names().iter().cloned().chain(self.ip_addresses().iter().map(ToString::to_string)).collect();
        Err(ChainError::Host { host: host.to_owned(), names: names.join(", ") })
    }
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    if !is_valid_hostname(pattern) || host.is_empty() {
        return pattern.eq_ignore_ascii_case(host) && !host.is_empty();
    }
    match pattern.split_once('.') {
        Some(("*", rest)) => host.split_once('.').is_some_and(|(_, tail)| tail.eq_ignore_ascii_case(rest)),
        _ => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_one_label() {
        assert!(host_matches("*.example.com", "a.EXAMPLE.com") && !host_matches("*.example.com", "b.a.example.com"));
        assert!(!host_matches("*.example.com", "example.com") && host_matches("a_b.c", "a_b.c."));
        assert!(is_valid_hostname("peer0.org1.example.com") && !is_valid_hostname("a b") && !is_valid_hostname("-a"));
        assert!(!is_valid_hostname("") && !is_valid_hostname("a..b"));
    }
}
