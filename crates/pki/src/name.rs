//! Distinguished names.

use std::fmt;

use konsort_crypto::der::{DerError, Reader, Writer, tag};

use crate::{PkiError, malformed};

/// One attribute of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Type as dotted object identifier.
    pub oid: String,
    /// Value as text.
    pub value: String,
}

/// A distinguished name: relative names in order, each a set of attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Name {
    parts: Vec<Vec<Attribute>>,
}

const COMMON_NAME: &str = "2.5.4.3";
const SERIAL_NUMBER: &str = "2.5.4.5";
const COUNTRY: &str = "2.5.4.6";
const LOCALITY: &str = "2.5.4.7";
const PROVINCE: &str = "2.5.4.8";
const STREET: &str = "2.5.4.9";
const ORGANIZATION: &str = "2.5.4.10";
const UNIT: &str = "2.5.4.11";
const POSTAL_CODE: &str = "2.5.4.17";

const SHORT_NAMES: [(&str, &str); 9] = [
    (COUNTRY, "C"),
    (ORGANIZATION, "O"),
    (UNIT, "OU"),
    (COMMON_NAME, "CN"),
    (SERIAL_NUMBER, "SERIALNUMBER"),
    (LOCALITY, "L"),
    (PROVINCE, "ST"),
    (STREET, "STREET"),
    (POSTAL_CODE, "POSTALCODE"),
];

impl Name {
    /// A name of a common name only.
    pub fn common_name(value: impl Into<String>) -> Self {
        Self::default().with(COMMON_NAME, [value.into()])
    }

    /// Adds a relative name holding all `values` of one attribute type; nothing when there are none.
    #[must_use]
    pub fn with(mut self, oid: &str, values: impl IntoIterator<Item = String>) -> Self {
        let set: Vec<_> = values.into_iter().map(|value| Attribute { oid: oid.to_owned(), value }).collect();
        if !set.is_empty() {
            self.parts.push(set);
        }
        self
    }

    /// Adds countries.
    #[must_use]
    pub fn with_country(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(COUNTRY, values)
    }

    /// Adds organisations.
    #[must_use]
    pub fn with_organization(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(ORGANIZATION, values)
    }

    /// Adds organisational units.
    #[must_use]
    pub fn with_units(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(UNIT, values)
    }

    /// Adds localities.
    #[must_use]
    pub fn with_locality(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(LOCALITY, values)
    }

    /// Adds provinces.
    #[must_use]
    pub fn with_province(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(PROVINCE, values)
    }

    /// Adds street addresses.
    #[must_use]
    pub fn with_street(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(STREET, values)
    }

    /// Adds postal codes.
    #[must_use]
    pub fn with_postal_code(self, values: impl IntoIterator<Item = String>) -> Self {
        self.with(POSTAL_CODE, values)
    }

    /// Adds a common name.
    #[must_use]
    pub fn with_common_name(self, value: impl Into<String>) -> Self {
        self.with(COMMON_NAME, [value.into()])
    }

    /// All attributes in order.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.parts.iter().flatten()
    }

    /// Values of one attribute type in order.
    pub fn values<'a>(&'a self, oid: &'a str) -> impl Iterator<Item = &'a str> {
        self.attributes().filter(move |attribute| attribute.oid == oid).map(|attribute| attribute.value.as_str())
    }

    /// The common name; the last one when there are several, empty when there is none.
    pub fn cn(&self) -> &str {
        self.values(COMMON_NAME).last().unwrap_or_default()
    }

    /// The organisational units in order.
    pub fn units(&self) -> Vec<&str> {
        self.values(UNIT).collect()
    }

    /// The organisations in order.
    pub fn organizations(&self) -> Vec<&str> {
        self.values(ORGANIZATION).collect()
    }

    /// Reads a DER `Name`.
    pub fn from_der(der: &[u8]) -> Result<Self, PkiError> {
        let mut outer = Reader::new(der);
        let name = Self::read(&mut outer).map_err(malformed("name"))?;
        outer.finish().map_err(malformed("name"))?;
        Ok(name)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut sequence = reader.sequence()?;
        let mut parts = Vec::new();
        while !sequence.is_empty() {
            let mut set = Reader::new(sequence.contents(tag::SET)?);
            let mut part = Vec::new();
            while !set.is_empty() {
                let mut attribute = set.sequence()?;
                let oid = attribute.oid()?;
                let value = attribute.any()?;
                part.push(Attribute { oid, value: text(value.tag, value.contents)? });
            }
            parts.push(part);
        }
        Ok(Self { parts })
    }

    /// Writes the DER `Name`.
    pub fn to_der(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.sequence(|sequence| {
            for part in &self.parts {
                let mut elements: Vec<Vec<u8>> = part
                    .iter()
                    .map(|attribute| {
                        let mut element = Writer::new();
                        element.sequence(|pair| {
                            pair.oid(&attribute.oid);
                            pair.element(string_tag(&attribute.value), attribute.value.as_bytes());
                        });
                        element.into_bytes()
                    })
                    .collect();
                // DER sorts the members of a SET OF by their encodings.
                elements.sort();
                sequence.element(tag::SET, &elements.concat());
            }
        });
        writer.into_bytes()
    }
}

/// The text form of RFC 2253: last relative name first.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().rev().enumerate() {
            for (position, attribute) in part.iter().enumerate() {
                f.write_str(if position > 0 {
                    "+"
                } else if index > 0 {
                    ","
                } else {
                    ""
                })?;
                let short = SHORT_NAMES.iter().find(|(oid, _)| *oid == attribute.oid).map(|(_, short)| *short);
                write!(f, "{}=", short.unwrap_or(&attribute.oid))?;
                let last = attribute.value.chars().count();
                for (at, symbol) in attribute.value.chars().enumerate() {
                    let escape = match symbol {
                        ',' | '+' | '"' | '\\' | '<' | '>' | ';' => true,
                        ' ' => at == 0 || at + 1 == last,
                        '#' => at == 0,
                        _ => false,
                    };
                    if escape {
                        f.write_str("\\")?;
                    }
                    write!(f, "{symbol}")?;
                }
            }
        }
        Ok(())
    }
}

fn is_printable(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&octet)
}

fn string_tag(value: &str) -> u8 {
    if value.bytes().all(is_printable) { tag::PRINTABLE_STRING } else { tag::UTF8_STRING }
}

/// The string types that Go reads in names, with its checks.
fn text(tag_found: u8, contents: &[u8]) -> Result<String, DerError> {
    const T61_STRING: u8 = 0x14;
    const BMP_STRING: u8 = 0x1e;
    const NUMERIC_STRING: u8 = 0x12;
    let invalid = DerError::Value("string");
    match tag_found {
        tag::UTF8_STRING => String::from_utf8(contents.to_vec()).map_err(|_| invalid),
        // Asterisk and ampersand are no printable characters, but occur and are tolerated.
        tag::PRINTABLE_STRING if contents.iter().all(|&octet| is_printable(octet) || b"*&".contains(&octet)) => {
            Ok(contents.iter().map(|&octet| char::from(octet)).collect())
        }
        tag::IA5_STRING if contents.is_ascii() => Ok(contents.iter().map(|&octet| char::from(octet)).collect()),
        T61_STRING => Ok(contents.iter().map(|&octet| char::from(octet)).collect()),
        NUMERIC_STRING if contents.iter().all(|octet| octet.is_ascii_digit() || *octet == b' ') => {
            Ok(contents.iter().map(|&octet| char::from(octet)).collect())
        }
        BMP_STRING if contents.len().is_multiple_of(2) => {
            let units: Vec<u16> = contents.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            let units = units.strip_suffix(&[0]).unwrap_or(&units);
            Ok(String::from_utf16_lossy(units))
        }
        _ => Err(invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn display_is_reversed_and_escaped() {
        let name = Name::default()
            .with_country(["US".to_owned()])
            .with_units(["a,b".to_owned(), "client".to_owned()])
            .with_common_name(" x ");
        assert_eq!(name.to_string(), "CN=\\ x\\ ,OU=a\\,b+OU=client,C=US");
    }

    proptest! {
        #[test]
        fn names_round_trip(units in proptest::collection::vec("\\PC{0,8}", 0..4), cn in "\\PC{0,20}") {
            let mut sorted = units.clone();
            sorted.sort_by_key(|value| Name::default().with_units([value.clone()]).to_der().split_off(4));
            let name = Name::default().with_units(units).with_common_name(cn.clone());
            let read = Name::from_der(&name.to_der()).unwrap();
            prop_assert_eq!(read.cn(), cn);
            let mut found: Vec<String> = read.units().into_iter().map(str::to_owned).collect();
            found.sort();
            sorted.sort();
            prop_assert_eq!(found, sorted);
            prop_assert_eq!(read.to_der(), name.to_der());
        }
    }
}
