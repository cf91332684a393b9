//! Name constraints of authorities.

use std::net::IpAddr;

use konsort_crypto::der::{DerError, Reader, tag};

use crate::extensions::SubjectAltNames;

/// A block of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    address: Vec<u8>,
    mask: Vec<u8>,
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        let octets = match ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        octets.len() == self.address.len()
            && octets.iter().zip(&self.address).zip(&self.mask).all(|((octet, net), mask)| octet & mask == net & mask)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Subtrees {
    dns: Vec<String>,
    emails: Vec<String>,
    hosts_of_uris: Vec<String>,
    networks: Vec<Network>,
}

/// Which names an authority may (not) certify.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct NameConstraints {
    permitted: Subtrees,
    excluded: Subtrees,
    /// Kinds of names are constrained that are not understood here.
    pub(crate) has_unknown_kinds: bool,
}

impl NameConstraints {
    pub(crate) fn read(value: &[u8]) -> Result<Self, DerError> {
        let mut sequence = Reader::new(value).sequence()?;
        let mut constraints = Self::default();
        for (number, permitted) in [(0, true), (1, false)] {
            if let Some(subtrees) = sequence.optional(tag::constructed(number))? {
                let (trees, unknown) = Subtrees::read(subtrees.contents)?;
                constraints.has_unknown_kinds |= unknown;
                if permitted {
                    constraints.permitted = trees;
                } else {
                    constraints.excluded = trees;
                }
            }
        }
        Ok(constraints)
    }

    /// The first name that may not be certified, as text.
    pub(crate) fn violation(&self, names: &SubjectAltNames) -> Option<String> {
        let refused = |excluded: bool, any_permitted: bool, permitted: bool| excluded || (any_permitted && !permitted);
        for name in &names.dns {
            let (permitted, excluded) = (&self.permitted.dns, &self.excluded.dns);
            if refused(
                excluded.iter().any(|tree| domain_matches(name, tree)),
                !permitted.is_empty(),
                permitted.iter().any(|tree| domain_matches(name, tree)),
            ) {
                return Some(format!("DNS name {name:?}"));
            }
        }
        for ip in &names.ips {
            let (permitted, excluded) = (&self.permitted.networks, &self.excluded.networks);
            if refused(
                excluded.iter().any(|network| network.contains(*ip)),
                !permitted.is_empty(),
                permitted.iter().any(|network| network.contains(*ip)),
            ) {
                return Some(format!("IP address \"{ip}\""));
            }
        }
        for email in &names.emails {
            let (permitted, excluded) = (&self.permitted.emails, &self.excluded.emails);
            if refused(
                excluded.iter().any(|tree| email_matches(email, tree)),
                !permitted.is_empty(),
                permitted.iter().any(|tree| email_matches(email, tree)),
            ) {
                return Some(format!("email address {email:?}"));
            }
        }
        for uri in &names.uris {
            let host = host_of(uri);
            let (permitted, excluded) = (&self.permitted.hosts_of_uris, &self.excluded.hosts_of_uris);
            let matches = |tree: &String| host.is_some_and(|host| domain_matches(host, tree));
            let constrained = !permitted.is_empty() || !excluded.is_empty();
            // A URI without a domain name cannot be placed in any tree.
            if constrained && host.is_none()
                || refused(excluded.iter().any(matches), !permitted.is_empty(), permitted.iter().any(matches))
            {
                return Some(format!("URI {uri:?}"));
            }
        }
        None
    }
}

impl Subtrees {
    fn read(contents: &[u8]) -> Result<(Self, bool), DerError> {
        let mut list = Reader::new(contents);
        let mut trees = Self::default();
        let mut unknown = false;
        while !list.is_empty() {
            let base = list.sequence()?.any()?;
            let text = || {
                if base.contents.is_ascii() {
                    Ok(String::from_utf8_lossy(base.contents).into_owned())
                } else {
                    Err(DerError::Value("name constraint"))
                }
            };
            match base.tag {
                0x81 => trees.emails.push(text()?),
                0x82 => trees.dns.push(text()?),
                0x86 => trees.hosts_of_uris.push(text()?),
                0x87 if matches!(base.contents.len(), 8 | 32) => {
                    let (address, mask) = base.contents.split_at(base.contents.len() / 2);
                    trees.networks.push(Network { address: address.to_vec(), mask: mask.to_vec() });
                }
                0x87 => return Err(DerError::Value("IP constraint")),
                _ => unknown = true,
            }
        }
        Ok((trees, unknown))
    }
}

/// A tree covers itself and what is below it; a leading dot demands something below; an empty tree covers all.
fn domain_matches(domain: &str, tree: &str) -> bool {
    let domain = domain.trim_end_matches('.').to_ascii_lowercase();
    let tree = tree.to_ascii_lowercase();
    if tree.is_empty() {
        return true;
    }
    if let Some(suffix) = tree.strip_prefix('.') {
        return domain.strip_suffix(suffix).is_some_and(|head| head.len() > 1 && head.ends_with('.'));
    }
    domain == tree || domain.strip_suffix(&tree).is_some_and(|head| head.ends_with('.'))
}

fn email_matches(email: &str, tree: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    match tree.rsplit_once('@') {
        Some((tree_local, tree_domain)) => local == tree_local && domain.eq_ignore_ascii_case(tree_domain),
        None => domain_matches(domain, tree),
    }
}

fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    (!host.is_empty() && host.parse::<IpAddr>().is_err()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_of_domains() {
        assert!(domain_matches("peer0.Org1.example.com", "org1.example.com"));
        assert!(domain_matches("org1.example.com", "org1.example.com"));
        assert!(!domain_matches("evilorg1.example.com", "org1.example.com"));
        assert!(!domain_matches("org1.example.com", ".org1.example.com"));
        assert!(domain_matches("a.org1.example.com", ".org1.example.com"));
        assert!(email_matches("a@example.com", "example.com") && !email_matches("a@example.com", "b@example.com"));
        assert_eq!(host_of("https://user@host:80/x"), Some("host"));
    }
}
