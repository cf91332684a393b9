//! ECDSA signatures as two integers: decoding with the exact tolerance of Go's `encoding/asn1`, low-S handling.

use crate::der::{self, check_integer, strip_zeros};

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not an ECDSA signature encoding.
    #[error("failed to decode the signature: {0}")]
    Malformed(&'static str),
    /// S lies in the upper half of the group order; such signatures could be altered without the key.
    #[error("Invalid S. Must be smaller than half the order [{s}][{half_order}].")]
    HighS {
        /// S in decimal.
        s: String,
        /// Half of the group order in decimal.
        half_order: String,
    },
    /// The signature is well formed and was not made by this key over these bytes.
    #[error("The signature is invalid")]
    Mismatch,
    /// The signature scheme is for another kind of key, or not supported.
    #[error("signature algorithm does not fit the public key")]
    WrongKey,
}

/// An ECDSA signature: R and S as big-endian magnitudes without leading zeros, both positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcdsaSignature<'a> {
    /// R
    pub r: &'a [u8],
    /// S
    pub s: &'a [u8],
    /// True when the bytes are exactly the DER encoding of the two numbers.
    pub canonical: bool,
}

impl<'a> EcdsaSignature<'a> {
    /// Decodes as Go's `asn1.Unmarshal` into a struct of two big integers does: strict lengths and minimal integers,
    /// but bytes after S inside the sequence, and after the sequence, are ignored. Upstream ignores them too, so a
    /// stricter reading would reject blocks that other peers accept.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, SignatureError> {
        let (contents, after) = go_element(bytes, der::tag::SEQUENCE)?;
        let (r, tail) = go_integer(contents)?;
        let (s, extra) = go_integer(tail)?;
        Ok(Self { r, s, canonical: after.is_empty() && extra.is_empty() })
    }

    /// The DER encoding.
    pub fn encode(r: &[u8], s: &[u8]) -> Vec<u8> {
        let mut writer = der::Writer::new();
        writer.sequence(|sequence| {
            sequence.unsigned(r).unsigned(s);
        });
        writer.into_bytes()
    }
}

/// Go's length rules differ from `cryptobyte`: up to 127 length octets, value below 2^31.
fn go_element(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), SignatureError> {
    let malformed = SignatureError::Malformed;
    let (&found, rest) = bytes.split_first().ok_or(malformed("sequence truncated"))?;
    if found != tag {
        return Err(malformed("tags don't match"));
    }
    let (&first, mut rest) = rest.split_first().ok_or(malformed("truncated tag or length"))?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = first & 0x7f;
        if count == 0 {
            return Err(malformed("indefinite length found (not DER)"));
        }
        length = 0;
        for _ in 0..count {
            let (&octet, tail) = rest.split_first().ok_or(malformed("truncated tag or length"))?;
            if length >= 1 << 23 {
                return Err(malformed("length too large"));
            }
            length = (length << 8) | usize::from(octet);
            if length == 0 {
                return Err(malformed("superfluous leading zeros in length"));
            }
            rest = tail;
        }
        if length < 0x80 {
            return Err(malformed("non-minimal length"));
        }
    }
    rest.split_at_checked(length).ok_or(malformed("data truncated"))
}

fn go_integer(bytes: &[u8]) -> Result<(&[u8], &[u8]), SignatureError> {
    let (contents, rest) = go_element(bytes, der::tag::INTEGER)?;
    check_integer(contents).map_err(|_| SignatureError::Malformed("integer not minimally-encoded"))?;
    let magnitude = strip_zeros(contents);
    if contents[0] & 0x80 != 0 || magnitude.is_empty() {
        return Err(SignatureError::Malformed("R and S must be larger than zero"));
    }
    Ok((magnitude, rest))
}

/// `a > b` for magnitudes without leading zeros.
pub(crate) fn greater(a: &[u8], b: &[u8]) -> bool {
    (a.len(), a) > (b.len(), b)
}

/// `minuend - subtrahend` for magnitudes; the caller knows that the result is not negative.
pub(crate) fn subtract(minuend: &[u8], subtrahend: &[u8]) -> Vec<u8> {
    let mut out = minuend.to_vec();
    let mut borrow = 0_i16;
    for index in 0..out.len() {
        let position = out.len() - 1 - index;
        let take = subtrahend.len().checked_sub(index + 1).map_or(0, |at| i16::from(subtrahend[at]));
        let value = i16::from(out[position]) - take - borrow;
        borrow = i16::from(value < 0);
        out[position] = value.rem_euclid(256) as u8;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_ignores_bytes_after_the_two_numbers() {
        let plain = EcdsaSignature::encode(&[5], &[7]);
        assert!(EcdsaSignature::decode(&plain).unwrap().canonical);
        let mut after = plain.clone();
        after.push(0xaa);
        let decoded = EcdsaSignature::decode(&after).unwrap();
        assert_eq!((decoded.r, decoded.s, decoded.canonical), (&[5][..], &[7][..], false));
        let inside = [0x30, 0x09, 2, 1, 5, 2, 1, 7, 2, 1, 9];
        assert!(!EcdsaSignature::decode(&inside).unwrap().canonical);
    }

    #[test]
    fn encodings_go_refuses_are_refused() {
        for bytes in [
            &[][..],
            &[0x30, 0x06, 2, 1, 5, 2, 1],
            &[0x30, 0x06, 2, 1, 0, 2, 1, 7],
            &[0x30, 0x06, 2, 1, 0x85, 2, 1, 7],
            &[0x30, 0x07, 2, 2, 0, 5, 2, 1, 7],
            &[0x30, 0x81, 0x06, 2, 1, 5, 2, 1, 7],
            &[0x30, 0x80, 2, 1, 5, 2, 1, 7, 0, 0],
            &[0x31, 0x06, 2, 1, 5, 2, 1, 7],
            &[0x30, 0x03, 2, 1, 5],
        ] {
            assert!(EcdsaSignature::decode(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn subtraction_borrows() {
        assert_eq!(subtract(&[1, 0, 0], &[1]), [0, 0xff, 0xff]);
        assert_eq!(subtract(&[9, 8, 7], &[9, 8, 7]), [0, 0, 0]);
        assert!(greater(&[2], &[1]) && greater(&[1, 0], &[9]) && !greater(&[1], &[1]));
    }
}
