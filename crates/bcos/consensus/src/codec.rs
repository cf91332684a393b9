//! The bytes of messages and records: fixed-width big-endian numbers, lengths before everything that has one.
//!
//! One value has one encoding, and no length is believed before the bytes for it are there.

use alloy_primitives::B256;
use bytes::Bytes;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end too early.
    #[error("the message ends in the middle of {0}")]
    Short(&'static str),
    /// Something follows the end.
    #[error("{0} bytes follow the end of the message")]
    Trailing(usize),
    /// A number or count nobody may send.
    #[error("{0} is out of its limits")]
    Limit(&'static str),
    /// A kind or version this node does not know.
    #[error("unknown {0}")]
    Unknown(&'static str),
}

/// Longest signature: 128 bytes, of SM2 transactions.
pub(crate) const MAX_SIGNATURE: usize = 192;

#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u16(&mut self, value: usize) -> &mut Self {
        self.0.extend_from_slice(&(value as u16).to_be_bytes());
        self
    }

    pub(crate) fn u32(&mut self, value: usize) -> &mut Self {
        self.0.extend_from_slice(&(value as u32).to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn hash(&mut self, value: &B256) -> &mut Self {
        self.0.extend_from_slice(value.as_slice());
        self
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u32(value.len());
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn signature(&mut self, value: &[u8]) -> &mut Self {
        self.u8(value.len().min(MAX_SIGNATURE) as u8);
        self.0.extend_from_slice(&value[..value.len().min(MAX_SIGNATURE)]);
        self
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if self.0.len() < length {
            return Err(DecodeError::Short(what));
        }
        Ok(self.0.split_to(length))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N, what)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Limit(what)),
        }
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        Ok(usize::from(u16::from_be_bytes(self.array(what)?)))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(what)?))
    }

    /// A number that arithmetic may go on with.
    pub(crate) fn position(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let value = self.u64(what)?;
        if value > MAX_POSITION { Err(DecodeError::Limit(what)) } else { Ok(value) }
    }

    pub(crate) fn hash(&mut self, what: &'static str) -> Result<B256, DecodeError> {
        Ok(B256::from(self.array(what)?))
    }

    /// A count of things of at least `size` bytes each, at most `limit`.
    pub(crate) fn count(&mut self, limit: usize, size: usize, what: &'static str) -> Result<usize, DecodeError> {
        let count = u32::from_be_bytes(self.array(what)?) as usize;
        if count > limit {
            return Err(DecodeError::Limit(what));
        }
        if count.saturating_mul(size) > self.0.len() {
            return Err(DecodeError::Short(what));
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.count(usize::MAX, 1, what)?;
        self.take(length, what)
    }

    pub(crate) fn signature(&mut self, what: &'static str) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u8(what)?);
        if length > MAX_SIGNATURE {
            return Err(DecodeError::Limit(what));
        }
        // Copied: a signature that is kept must not keep the whole message alive.
        Ok(Bytes::copy_from_slice(&self.take(length, what)?))
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

/// Numbers and views above this do not occur; refusing them keeps arithmetic on them exact.
const MAX_POSITION: u64 = 1 << 60;
