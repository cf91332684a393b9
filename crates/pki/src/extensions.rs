//! Certificate extensions: reading with Go's rules, and writing.

use std::net::IpAddr;

use konsort_crypto::der::{DerError, Reader, Writer, tag};

/// Key usage bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// digitalSignature
    pub const DIGITAL_SIGNATURE: Self = Self(1 << 0);
    /// keyEncipherment
    pub const KEY_ENCIPHERMENT: Self = Self(1 << 2);
    /// keyCertSign
    pub const CERT_SIGN: Self = Self(1 << 5);
    /// cRLSign
    pub const CRL_SIGN: Self = Self(1 << 6);

    /// True when every bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, DerError> {
        let mut reader = Reader::new(value);
        let (octets, _) = reader.bits()?;
        let mut usage = 0;
        for bit in 0..9 {
            let octet = octets.get(bit / 8).copied().unwrap_or(0);
            if octet & (0x80 >> (bit % 8)) != 0 {
                usage |= 1 << bit;
            }
        }
        Ok(Self(usage))
    }

    pub(crate) fn to_der(self) -> Vec<u8> {
        let octets = [(self.0 as u8).reverse_bits(), ((self.0 >> 8) as u8).reverse_bits()];
        let used = if octets[1] != 0 { 2 } else { usize::from(octets[0] != 0) };
        let unused = if used == 0 { 0 } else { octets[used - 1].trailing_zeros() as u8 };
        let mut contents = vec![unused];
        contents.extend_from_slice(&octets[..used]);
        let mut writer = Writer::new();
        writer.element(tag::BIT_STRING, &contents);
        writer.into_bytes()
    }
}

impl std::ops::BitOr for KeyUsage {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Extended key usages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtendedKeyUsage {
    /// Any usage.
    Any,
    /// TLS server.
    ServerAuth,
    /// TLS client.
    ClientAuth,
    /// Another purpose, by object identifier.
    Other(String),
}

impl ExtendedKeyUsage {
    fn from_oid(oid: String) -> Self {
        match oid.as_str() {
            "2.5.29.37.0" => Self::Any,
            "1.3.6.1.5.5.7.3.1" => Self::ServerAuth,
            "1.3.6.1.5.5.7.3.2" => Self::ClientAuth,
            _ => Self::Other(oid),
        }
    }

    /// The object identifier.
    pub fn oid(&self) -> &str {
        match self {
            Self::Any => "2.5.29.37.0",
            Self::ServerAuth => "1.3.6.1.5.5.7.3.1",
            Self::ClientAuth => "1.3.6.1.5.5.7.3.2",
            Self::Other(oid) => oid,
        }
    }

    pub(crate) fn read_all(value: &[u8]) -> Result<Vec<Self>, DerError> {
        let mut sequence = Reader::new(value).sequence()?;
        let mut usages = Vec::new();
        while !sequence.is_empty() {
            usages.push(Self::from_oid(sequence.oid()?));
        }
        Ok(usages)
    }
}

/// Subject alternative names of the four kinds that are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubjectAltNames {
    /// DNS names
    pub dns: Vec<String>,
    /// IP addresses
    pub ips: Vec<IpAddr>,
    /// Mail addresses
    pub emails: Vec<String>,
    /// URIs
    pub uris: Vec<String>,
}

impl SubjectAltNames {
    /// True when no name of a known kind is present.
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty() && self.ips.is_empty() && self.emails.is_empty() && self.uris.is_empty()
    }

    /// Sorts words into IP addresses and DNS names.
    pub fn from_words<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Self {
        let mut names = Self::default();
        for word in words {
            match word.as_ref().parse() {
                Ok(ip) => names.ips.push(ip),
                Err(_) => names.dns.push(word.as_ref().to_owned()),
            }
        }
        names
    }

    pub(crate) fn read(value: &[u8]) -> Result<Self, DerError> {
        let mut names = Self::default();
        let mut sequence = Reader::new(value).sequence()?;
        while !sequence.is_empty() {
            let element = sequence.any()?;
            let ascii = || {
                if element.contents.is_ascii() {
                    Ok(String::from_utf8_lossy(element.contents).into_owned())
                } else {
                    Err(DerError::Value("alternative name"))
                }
            };
            match element.tag {
                0x81 => names.emails.push(ascii()?),
                0x82 => names.dns.push(ascii()?),
                0x86 => names.uris.push(ascii()?),
                0x87 => names.ips.push(ip(element.contents).ok_or(DerError::Value("IP address"))?),
                _ => {}
            }
        }
        Ok(names)
    }

    pub(crate) fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(|sequence| {
            for name in &self.dns {
                sequence.element(tag::context(2), name.as_bytes());
            }
            for name in &self.emails {
                sequence.element(tag::context(1), name.as_bytes());
            }
            for address in &self.ips {
                match address {
                    IpAddr::V4(v4) => sequence.element(tag::context(7), &v4.octets()),
                    IpAddr::V6(v6) => sequence.element(tag::context(7), &v6.octets()),
                };
            }
            for name in &self.uris {
                sequence.element(tag::context(6), name.as_bytes());
            }
        });
        writer.into_bytes()
    }
}

/// An address from its 4 or 16 octets.
pub(crate) fn ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// Basic constraints: whether the subject is an authority, and how many intermediates may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BasicConstraints {
    pub(crate) is_ca: bool,
    pub(crate) max_path_len: Option<u64>,
}

impl BasicConstraints {
    pub(crate) fn read(value: &[u8]) -> Result<Self, DerError> {
        let mut sequence = Reader::new(value).sequence()?;
        let is_ca = if sequence.peek() == Some(tag::BOOLEAN) { sequence.boolean()? } else { false };
        let max_path_len = if sequence.peek() == Some(tag::INTEGER) { Some(sequence.small_unsigned()?) } else { None };
        Ok(Self { is_ca, max_path_len })
    }

    pub(crate) fn to_der(self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(|sequence| {
            if self.is_ca {
                sequence.element(tag::BOOLEAN, &[0xff]);
            }
            if let Some(length) = self.max_path_len {
                sequence.unsigned(&length.to_be_bytes());
            }
        });
        writer.into_bytes()
    }
}

/// The key identifier inside an authority key identifier.
pub(crate) fn authority_key_id(value: &[u8]) -> Result<Option<&[u8]>, DerError> {
    let mut sequence = Reader::new(value).sequence()?;
    Ok(sequence.optional(tag::context(0))?.map(|element| element.contents))
}
