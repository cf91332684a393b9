//! One framed record, and the header of the file that holds it.
//!
//! Every file has a random salt. Frames begin with one half of it and their checksum begins with the other, so that bytes which someone
//! else chose, and frames of another file that the disk kept, are never taken for frames of this one.

/// First bytes of every file.
const FILE_MAGIC: [u8; 4] = *b"KSlg";
/// Version of the layout of a file and its frames.
const FORMAT: u32 = 2;
/// Magic, format version, salt, checksum.
pub(super) const FILE_HEADER_BYTES: usize = 4 + 4 + SALT_BYTES + 4;
const SALT_BYTES: usize = 16;
/// Tag, length, number, durable offset, checksum.
pub(super) const HEADER_BYTES: usize = TAG_BYTES + 4 + 8 + 8 + 4;
const TAG_BYTES: usize = 8;

/// What tells frames of one file from all other bytes. Nothing that leaves the file shows it.
#[derive(Debug, Clone)]
pub(super) struct Salt {
    bytes: [u8; SALT_BYTES],
    /// The checksum after the second half of the salt.
    crc: crc32fast::Hasher,
}

/// Why a file's first bytes are no header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// Too short, or not what was written.
    Unreadable,
    /// Whole, but of another version.
    Format(u32),
}

impl Salt {
    pub(super) fn random() -> Self {
        Self::new(rand::random())
    }

    fn new(bytes: [u8; SALT_BYTES]) -> Self {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes[TAG_BYTES..]);
        Self { bytes, crc }
    }

    fn tag(&self) -> &[u8] {
        &self.bytes[..TAG_BYTES]
    }

    /// The header of a file with this salt.
    pub(super) fn file_header(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..4].copy_from_slice(&FILE_MAGIC);
        out[4..8].copy_from_slice(&FORMAT.to_le_bytes());
        out[8..8 + SALT_BYTES].copy_from_slice(&self.bytes);
        let crc = crc32fast::hash(&out[..8 + SALT_BYTES]);
        out[8 + SALT_BYTES..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The salt of the file that begins with `bytes`.
    pub(super) fn of_file(bytes: &[u8]) -> Result<Self, NoHeader> {
        let read = || {
            let body = bytes.get(..8 + SALT_BYTES)?;
            let whole = body[..4] == FILE_MAGIC && crc32fast::hash(body).to_le_bytes() == array(bytes, 8 + SALT_BYTES)?;
            whole.then_some((u32::from_le_bytes(array(bytes, 4)?), array(bytes, 8)?))
        };
        match read() {
            Some((FORMAT, salt)) => Ok(Self::new(salt)),
            Some((other, _)) => Err(NoHeader::Format(other)),
            None => Err(NoHeader::Unreadable),
        }
    }
}

/// What stands before a record's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the record.
    pub(super) length: u32,
    /// Number of the record.
    pub(super) number: u64,
    /// Offset before which the file was durable when this frame was written.
    pub(super) durable: u64,
}

impl Header {
    /// The header bytes for a record given in parts.
    pub(super) fn encode(&self, salt: &Salt, parts: &[&[u8]]) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(salt.tag());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12..20].copy_from_slice(&self.number.to_le_bytes());
        out[20..28].copy_from_slice(&self.durable.to_le_bytes());
        let mut crc = salt.crc.clone();
        crc.update(&out[TAG_BYTES..28]);
        for part in parts {
            crc.update(part);
        }
        out[28..].copy_from_slice(&crc.finalize().to_le_bytes());
        out
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// The header at the beginning of `bytes`, unchecked against the record; `None` when it is no header.
pub(super) fn header(salt: &Salt, bytes: &[u8]) -> Option<Header> {
    if bytes.get(..TAG_BYTES)? != salt.tag() {
        return None;
    }
    Some(Header {
        length: u32::from_le_bytes(array(bytes, 8)?),
        number: u64::from_le_bytes(array(bytes, 12)?),
        durable: u64::from_le_bytes(array(bytes, 20)?),
    })
}

/// The frame at the beginning of `bytes`, if it is whole and its checksum holds.
pub(super) fn parse<'a>(salt: &Salt, bytes: &'a [u8]) -> Option<(Header, &'a [u8])> {
    let found = header(salt, bytes)?;
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES.checked_add(found.length as usize)?)?;
    let mut crc = salt.crc.clone();
    crc.update(&bytes[TAG_BYTES..28]);
    crc.update(payload);
    (crc.finalize() == u32::from_le_bytes(array(bytes, 28)?)).then_some((found, payload))
}
