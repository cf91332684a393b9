//! A reader and a writer for DER, as much as keys, certificates and block headers need.
//!
//! The reader follows the strictness of Go's `cryptobyte`: definite minimal lengths of at most four bytes, low tag
//! numbers, minimal integers. It borrows and never allocates.

/// What is wrong with an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DerError {
    /// The value ends before its length says.
    #[error("data truncated")]
    Truncated,
    /// Indefinite, over-long or non-minimal length.
    #[error("length is not DER")]
    Length,
    /// Another element stands where this one was expected.
    #[error("unexpected tag {found:#04x}, expected {expected:#04x}")]
    Tag {
        /// The identifier octet found.
        found: u8,
        /// The identifier octet the caller asked for.
        expected: u8,
    },
    /// Bytes follow the last element.
    #[error("trailing data")]
    Trailing,
    /// An integer, boolean, object identifier or string breaks its own rules.
    #[error("invalid {0}")]
    Value(&'static str),
}

/// Identifier octets used here.
pub mod tag {
    /// BOOLEAN
    pub const BOOLEAN: u8 = 0x01;
    /// INTEGER
    pub const INTEGER: u8 = 0x02;
    /// BIT STRING
    pub const BIT_STRING: u8 = 0x03;
    /// OCTET STRING
    pub const OCTET_STRING: u8 = 0x04;
    /// NULL
    pub const NULL: u8 = 0x05;
    /// OBJECT IDENTIFIER
    pub const OID: u8 = 0x06;
    /// ENUMERATED
    pub const ENUMERATED: u8 = 0x0a;
    /// UTF8String
    pub const UTF8_STRING: u8 = 0x0c;
    /// PrintableString
    pub const PRINTABLE_STRING: u8 = 0x13;
    /// IA5String
    pub const IA5_STRING: u8 = 0x16;
    /// UTCTime
    pub const UTC_TIME: u8 = 0x17;
    /// GeneralizedTime
    pub const GENERALIZED_TIME: u8 = 0x18;
    /// SEQUENCE
    pub const SEQUENCE: u8 = 0x30;
    /// SET
    pub const SET: u8 = 0x31;

    /// A primitive context-specific tag.
    pub const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// A constructed context-specific tag.
    pub const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// One element: its identifier octet, its contents and its whole encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Identifier octet.
    pub tag: u8,
    /// Contents octets.
    pub contents: &'a [u8],
    /// Identifier, length and contents.
    pub encoding: &'a [u8],
}

/// Walks over consecutive elements.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// True after the last element.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Fails unless everything was read.
    pub fn finish(self) -> Result<(), DerError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DerError::Trailing) }
    }

    /// The next element's identifier octet, if there is one.
    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next element, whatever it is.
    pub fn any(&mut self) -> Result<Element<'a>, DerError> {
        let (&tag, after_tag) = self.rest.split_first().ok_or(DerError::Truncated)?;
        if tag & 0x1f == 0x1f {
            return Err(DerError::Value("tag"));
        }
        let (&first, after_first) = after_tag.split_first().ok_or(DerError::Truncated)?;
        let (length, header) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return Err(DerError::Length);
            }
            let octets = after_first.get(..count).ok_or(DerError::Truncated)?;
            let length = octets.iter().fold(0_usize, |length, &octet| (length << 8) | usize::from(octet));
            if length < 0x80 || octets[0] == 0 {
                return Err(DerError::Length);
            }
            (length, 2 + count)
        };
        let end = header.checked_add(length).ok_or(DerError::Length)?;
        let encoding = self.rest.get(..end).ok_or(DerError::Truncated)?;
        self.rest = &self.rest[end..];
        Ok(Element { tag, contents: &encoding[header..], encoding })
    }

    /// The next element, which must carry `tag`.
    pub fn element(&mut self, tag: u8) -> Result<Element<'a>, DerError> {
        let mut ahead = self.clone();
        let element = ahead.any()?;
        if element.tag != tag {
            return Err(DerError::Tag { found: element.tag, expected: tag });
        }
        *self = ahead;
        Ok(element)
    }

    /// The contents of the next element, which must carry `tag`.
    pub fn contents(&mut self, tag: u8) -> Result<&'a [u8], DerError> {
        self.element(tag).map(|element| element.contents)
    }

    /// The next element if it carries `tag`.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, DerError> {
        if self.peek() == Some(tag) { self.element(tag).map(Some) } else { Ok(None) }
    }

    /// A reader over the contents of a SEQUENCE.
    pub fn sequence(&mut self) -> Result<Reader<'a>, DerError> {
        self.contents(tag::SEQUENCE).map(Reader::new)
    }

    /// The contents of an INTEGER, checked to be minimal; two's complement.
    pub fn integer(&mut self) -> Result<&'a [u8], DerError> {
        let contents = self.contents(tag::INTEGER)?;
        check_integer(contents)?;
        Ok(contents)
    }

    /// A small INTEGER that is not negative.
    pub fn small_unsigned(&mut self) -> Result<u64, DerError> {
        let contents = self.integer()?;
        if contents[0] & 0x80 != 0 || contents.len() > 9 || (contents.len() == 9 && contents[0] != 0) {
            return Err(DerError::Value("integer"));
        }
        Ok(contents.iter().fold(0, |value, &octet| (value << 8) | u64::from(octet)))
    }

    /// A BOOLEAN; DER allows 0x00 and 0xff only.
    pub fn boolean(&mut self) -> Result<bool, DerError> {
        match self.contents(tag::BOOLEAN)? {
            [0x00] => Ok(false),
            [0xff] => Ok(true),
            _ => Err(DerError::Value("boolean")),
        }
    }

    /// A BIT STRING of whole octets.
    pub fn bit_string(&mut self) -> Result<&'a [u8], DerError> {
        match self.contents(tag::BIT_STRING)?.split_first() {
            Some((0, octets)) => Ok(octets),
            _ => Err(DerError::Value("bit string")),
        }
    }

    /// A BIT STRING with unused bits, which must be zero.
    pub fn bits(&mut self) -> Result<(&'a [u8], u8), DerError> {
        let (&unused, octets) = self.contents(tag::BIT_STRING)?.split_first().ok_or(DerError::Value("bit string"))?;
        let mask = (1_u16 << unused.min(8)) - 1;
        let last = octets.last().copied();
        if unused > 7 || (unused > 0 && last.is_none_or(|last| u16::from(last) & mask != 0)) {
            return Err(DerError::Value("bit string"));
        }
        Ok((octets, unused))
    }

    /// An OBJECT IDENTIFIER in dotted form.
    pub fn oid(&mut self) -> Result<String, DerError> {
        oid_text(self.contents(tag::OID)?)
    }
}

/// Go's rule for INTEGER contents: not empty, no redundant leading octet.
pub fn check_integer(contents: &[u8]) -> Result<(), DerError> {
    match contents {
        [] => Err(DerError::Value("integer")),
        [0x00, next, ..] if next & 0x80 == 0 => Err(DerError::Value("integer")),
        [0xff, next, ..] if next & 0x80 != 0 => Err(DerError::Value("integer")),
        _ => Ok(()),
    }
}

/// The dotted form of OBJECT IDENTIFIER contents.
pub fn oid_text(contents: &[u8]) -> Result<String, DerError> {
    use std::fmt::Write as _;
    let invalid = DerError::Value("object identifier");
    let mut out = String::new();
    let mut value = 0_u64;
    let mut at_start = true;
    for &octet in contents {
        // A leading 0x80 pads the number, which DER forbids; Go bounds each arc by 31 bits.
        if (at_start && octet == 0x80) || value > u64::from(u32::MAX) {
            return Err(invalid);
        }
        value = (value << 7) | u64::from(octet & 0x7f);
        at_start = octet & 0x80 == 0;
        if at_start {
            let text = if out.is_empty() {
                let root = (value / 40).min(2);
                write!(out, "{root}.{}", value - root * 40)
            } else {
                write!(out, ".{value}")
            };
            text.map_err(|_| invalid)?;
            value = 0;
        }
    }
    if out.is_empty() || !at_start { Err(invalid) } else { Ok(out) }
}

/// Decimal text of a big-endian magnitude.
pub fn decimal(magnitude: &[u8]) -> String {
    // Base 10^9 limbs, least significant first; serial numbers and signatures are small.
    let mut limbs: Vec<u64> = vec![0];
    for &octet in magnitude {
        let mut carry = u64::from(octet);
        for limb in &mut limbs {
            let value = *limb * 256 + carry;
            *limb = value % 1_000_000_000;
            carry = value / 1_000_000_000;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = limbs.last().copied().unwrap_or(0).to_string();
    for limb in limbs.iter().rev().skip(1) {
        use std::fmt::Write as _;
        let _ = write!(text, "{limb:09}");
    }
    text
}

/// Builds DER by appending elements.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Appends an element.
    pub fn element(&mut self, tag: u8, contents: &[u8]) -> &mut Self {
        self.out.push(tag);
        if contents.len() < 0x80 {
            self.out.push(contents.len() as u8);
        } else {
            let octets = contents.len().to_be_bytes();
            let used = &octets[octets.iter().take_while(|&&octet| octet == 0).count()..];
            self.out.push(0x80 | used.len() as u8);
            self.out.extend_from_slice(used);
        }
        self.out.extend_from_slice(contents);
        self
    }

    /// Appends a constructed element whose contents `fill` writes.
    pub fn nested(&mut self, tag: u8, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        let mut inner = Writer::new();
        fill(&mut inner);
        self.element(tag, &inner.out)
    }

    /// Appends a SEQUENCE.
    pub fn sequence(&mut self, fill: impl FnOnce(&mut Writer)) -> &mut Self {
        self.nested(tag::SEQUENCE, fill)
    }

    /// Appends bytes that are already DER.
    pub fn raw(&mut self, encoding: &[u8]) -> &mut Self {
        self.out.extend_from_slice(encoding);
        self
    }

    /// Appends an INTEGER from a big-endian magnitude.
    pub fn unsigned(&mut self, magnitude: &[u8]) -> &mut Self {
        let stripped = strip_zeros(magnitude);
        let mut contents = Vec::with_capacity(stripped.len() + 1);
        if stripped.first().is_none_or(|first| first & 0x80 != 0) {
            contents.push(0);
        }
        contents.extend_from_slice(stripped);
        self.element(tag::INTEGER, &contents)
    }

    /// Appends a BIT STRING of whole octets.
    pub fn bit_string(&mut self, octets: &[u8]) -> &mut Self {
        let mut contents = Vec::with_capacity(octets.len() + 1);
        contents.push(0);
        contents.extend_from_slice(octets);
        self.element(tag::BIT_STRING, &contents)
    }

    /// Appends an OBJECT IDENTIFIER given in dotted form; arcs that are no numbers are left out.
    pub fn oid(&mut self, dotted: &str) -> &mut Self {
        let arcs: Vec<u64> = dotted.split('.').filter_map(|arc| arc.parse().ok()).collect();
        let mut contents = Vec::new();
        if let [first, second, rest @ ..] = arcs.as_slice() {
            push_base128(&mut contents, first.saturating_mul(40).saturating_add(*second));
            for &arc in rest {
                push_base128(&mut contents, arc);
            }
        }
        self.element(tag::OID, &contents)
    }
}

fn push_base128(out: &mut Vec<u8>, value: u64) {
    let groups = (64 - value.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let more = if group > 0 { 0x80 } else { 0 };
        out.push(((value >> (7 * group)) as u8 & 0x7f) | more);
    }
}

/// A magnitude without its leading zero octets.
pub fn strip_zeros(magnitude: &[u8]) -> &[u8] {
    &magnitude[magnitude.iter().take_while(|&&octet| octet == 0).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identifiers_round_trip() {
        for oid in ["1.2.840.10045.4.3.2", "2.5.29.15", "1.2.3.4.5.6.7.8.1", "2.999.3", "0.9.2342"] {
            let mut writer = Writer::new();
            writer.oid(oid);
            let bytes = writer.into_bytes();
            assert_eq!(Reader::new(&bytes).oid().unwrap(), oid);
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_are_refused() {
        assert_eq!(Reader::new(&[0x04, 0x81, 0x01, 0x00]).any(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x04, 0x82, 0x00, 0x80]).any(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x30, 0x80, 0x00, 0x00]).any(), Err(DerError::Length));
        assert_eq!(Reader::new(&[0x04, 0x02, 0x00]).any(), Err(DerError::Truncated));
        assert_eq!(Reader::new(&[0x1f, 0x01, 0x00]).any(), Err(DerError::Value("tag")));
    }

    #[test]
    fn decimal_text_of_large_numbers() {
        assert_eq!(decimal(&[]), "0");
        assert_eq!(decimal(&[0xff; 8]), u64::MAX.to_string());
        assert_eq!(decimal(&[1, 0, 0, 0, 0, 0, 0, 0, 0]), (u128::from(u64::MAX) + 1).to_string());
    }

    proptest! {
        #[test]
        fn written_elements_read_back(contents in proptest::collection::vec(any::<u8>(), 0..70_000)) {
            let mut writer = Writer::new();
            writer.element(tag::OCTET_STRING, &contents).unsigned(&contents[..contents.len().min(40)]);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.contents(tag::OCTET_STRING).unwrap(), &contents[..]);
            let integer = reader.integer().unwrap();
            prop_assert_eq!(strip_zeros(integer), strip_zeros(&contents[..contents.len().min(40)]));
            prop_assert!(reader.finish().is_ok());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(element) = reader.any() {
                let _ = oid_text(element.contents);
                let _ = Reader::new(element.encoding).bits();
            }
        }
    }
}
