//! Decoding.

use alloy_primitives::{B256, Bytes};

use super::{MAX_DEPTH, MAX_ITEMS, MAX_LENGTH, TarsError, kind};

/// Reads the fields of a structure in ascending order of tags.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Reader<'a> {
    /// A reader over a structure's own encoding.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, depth: 0 }
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], TarsError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(TarsError::Truncated { field })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], TarsError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(TarsError::Truncated { field })?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next head (tag, type) and its size, without consuming it.
    fn peek(&self, field: &'static str) -> Result<Option<(u8, u8, usize)>, TarsError> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        if first >> 4 < 15 {
            return Ok(Some((first >> 4, first & 15, 1)));
        }
        let &tag = self.rest.get(1).ok_or(TarsError::Truncated { field })?;
        Ok(Some((tag, first & 15, 2)))
    }

    /// Consumes heads up to the field with this tag and gives its type; stops before a higher tag or the end.
    fn seek(&mut self, tag: u8, field: &'static str) -> Result<Option<u8>, TarsError> {
        while let Some((found, kind, size)) = self.peek(field)? {
            if kind == kind::STRUCT_END || found > tag {
                return Ok(None);
            }
            self.rest = &self.rest[size..];
            if found == tag {
                return Ok(Some(kind));
            }
            self.skip(kind, field)?;
        }
        Ok(None)
    }

    fn head(&mut self, field: &'static str) -> Result<u8, TarsError> {
        let (_, kind, size) = self.peek(field)?.ok_or(TarsError::Truncated { field })?;
        self.rest = &self.rest[size..];
        Ok(kind)
    }

    /// Consumes a value whose head was read.
    fn skip(&mut self, kind: u8, field: &'static str) -> Result<(), TarsError> {
        match kind {
            kind::ZERO => Ok(()),
            kind::INT8 => self.take(1, field).map(drop),
            kind::INT16 => self.take(2, field).map(drop),
            kind::INT32 | kind::FLOAT => self.take(4, field).map(drop),
            kind::INT64 | kind::DOUBLE => self.take(8, field).map(drop),
            kind::STRING1 | kind::STRING4 => self.text_body(kind, field).map(drop),
            kind::SIMPLE_LIST => self.bytes_body(kind, field).map(drop),
            kind::LIST | kind::MAP => {
                let count = self.count(field)?;
                let count = if kind == kind::MAP { count.saturating_mul(2) } else { count };
                self.nested(|reader| {
                    for _ in 0..count {
                        let kind = reader.head(field)?;
                        reader.skip(kind, field)?;
                    }
                    Ok(())
                })
            }
            kind::STRUCT_BEGIN => self.nested(|reader| reader.skip_to_end(field)),
            found => Err(TarsError::Type { field, found }),
        }
    }

    /// Consumes fields up to and with the end of the structure.
    fn skip_to_end(&mut self, field: &'static str) -> Result<(), TarsError> {
        loop {
            let kind = self.head(field)?;
            if kind == kind::STRUCT_END {
                return Ok(());
            }
            self.skip(kind, field)?;
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, TarsError>) -> Result<T, TarsError> {
        if self.depth >= MAX_DEPTH {
            return Err(TarsError::Depth);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn int_body(&mut self, kind: u8, field: &'static str) -> Result<i64, TarsError> {
        match kind {
            kind::ZERO => Ok(0),
            kind::INT8 => self.array(field).map(i8::from_be_bytes).map(i64::from),
            kind::INT16 => self.array(field).map(i16::from_be_bytes).map(i64::from),
            kind::INT32 => self.array(field).map(i32::from_be_bytes).map(i64::from),
            kind::INT64 => self.array(field).map(i64::from_be_bytes),
            found => Err(TarsError::Type { field, found }),
        }
    }

    fn length(&mut self, field: &'static str) -> Result<usize, TarsError> {
        let kind = self.head(field)?;
        let length = self.int_body(kind, field)?;
        usize::try_from(length).map_err(|_| TarsError::Range { field })
    }

    /// The count of a list, of which each element takes at least one byte.
    fn count(&mut self, field: &'static str) -> Result<usize, TarsError> {
        let count = self.length(field)?;
        if count > MAX_ITEMS {
            return Err(TarsError::Count { field, count: count as u64 });
        }
        if count > self.rest.len() {
            return Err(TarsError::Truncated { field });
        }
        Ok(count)
    }

    fn text_body(&mut self, kind: u8, field: &'static str) -> Result<&'a [u8], TarsError> {
        let length = match kind {
            kind::STRING1 => usize::from(self.array::<1>(field)?[0]),
            kind::STRING4 => u32::from_be_bytes(self.array(field)?) as usize,
            found => return Err(TarsError::Type { field, found }),
        };
        if length > MAX_LENGTH {
            return Err(TarsError::Count { field, count: length as u64 });
        }
        self.take(length, field)
    }

    fn bytes_body(&mut self, kind: u8, field: &'static str) -> Result<&'a [u8], TarsError> {
        if kind != kind::SIMPLE_LIST {
            return Err(TarsError::Type { field, found: kind });
        }
        let element = self.head(field)?;
        if element != kind::INT8 {
            return Err(TarsError::Type { field, found: element });
        }
        let length = self.length(field)?;
        if length > MAX_LENGTH {
            return Err(TarsError::Count { field, count: length as u64 });
        }
        self.take(length, field)
    }

    /// An optional integer of up to 64 bits; absent means 0.
    pub fn int(&mut self, tag: u8, field: &'static str) -> Result<i64, TarsError> {
        match self.seek(tag, field)? {
            Some(kind) => self.int_body(kind, field),
            None => Ok(0),
        }
    }

    /// An integer that must be there.
    pub fn required_int(&mut self, tag: u8, field: &'static str) -> Result<i64, TarsError> {
        let kind = self.seek(tag, field)?.ok_or(TarsError::Missing { field })?;
        self.int_body(kind, field)
    }

    /// An optional integer that must fit a narrower or unsigned type.
    pub fn number<T: TryFrom<i64>>(&mut self, tag: u8, field: &'static str) -> Result<T, TarsError> {
        self.int(tag, field)?.try_into().map_err(|_| TarsError::Range { field })
    }

    /// An optional text; absent means empty.
    pub fn text(&mut self, tag: u8, field: &'static str) -> Result<&'a str, TarsError> {
        match self.seek(tag, field)? {
            Some(kind) => std::str::from_utf8(self.text_body(kind, field)?).map_err(|_| TarsError::Text { field }),
            None => Ok(""),
        }
    }

    /// [`text`](Self::text) as an owned value.
    pub fn string(&mut self, tag: u8, field: &'static str) -> Result<String, TarsError> {
        self.text(tag, field).map(str::to_owned)
    }

    /// An optional decimal number in a text; absent and empty mean 0.
    pub fn decimal(&mut self, tag: u8, field: &'static str) -> Result<u64, TarsError> {
        match self.text(tag, field)? {
            "" => Ok(0),
            text if text.bytes().all(|digit| digit.is_ascii_digit()) => {
                text.parse().map_err(|_| TarsError::Range { field })
            }
            _ => Err(TarsError::Range { field }),
        }
    }

    /// An optional byte string, borrowed; absent means empty. Accepts the compact form and a list of small integers,
    /// which old encoders write, through [`bytes`](Self::bytes) only.
    pub fn slice(&mut self, tag: u8, field: &'static str) -> Result<&'a [u8], TarsError> {
        match self.seek(tag, field)? {
            Some(kind) => self.bytes_body(kind, field),
            None => Ok(&[]),
        }
    }

    /// An optional byte string; absent means empty. A list of small integers is accepted too, as upstream does.
    pub fn bytes(&mut self, tag: u8, field: &'static str) -> Result<Bytes, TarsError> {
        match self.seek(tag, field)? {
            Some(kind::LIST) => {
                let count = self.count(field)?;
                let mut out = Vec::with_capacity(count);
                for _ in 0..count {
                    let kind = self.head(field)?;
                    let value = self.int_body(kind, field)?;
                    out.push(i8::try_from(value).map_err(|_| TarsError::Range { field })? as u8);
                }
                Ok(out.into())
            }
            Some(kind) => self.bytes_body(kind, field).map(Bytes::copy_from_slice),
            None => Ok(Bytes::new()),
        }
    }

    /// An optional hash; absent and empty mean zero.
    pub fn hash(&mut self, tag: u8, field: &'static str) -> Result<B256, TarsError> {
        match self.slice(tag, field)? {
            [] => Ok(B256::ZERO),
            bytes => B256::try_from(bytes).map_err(|_| TarsError::Range { field }),
        }
    }

    /// An optional structure, read by `read`, which gets a reader inside it; `None` when absent.
    pub fn structure<T>(
        &mut self,
        tag: u8,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, TarsError>,
    ) -> Result<Option<T>, TarsError> {
        match self.seek(tag, field)? {
            Some(kind::STRUCT_BEGIN) => self
                .nested(|reader| {
                    let value = read(reader)?;
                    reader.skip_to_end(field)?;
                    Ok(value)
                })
                .map(Some),
            Some(found) => Err(TarsError::Type { field, found }),
            None => Ok(None),
        }
    }

    /// An optional list; `read` reads each element at tag 0. Absent means empty.
    pub fn list<T>(
        &mut self,
        tag: u8,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, TarsError>,
    ) -> Result<Vec<T>, TarsError> {
        match self.seek(tag, field)? {
            Some(kind::LIST) => {
                let count = self.count(field)?;
                // Elements may be far larger in memory than here, so room grows as they turn out to be real.
                let mut out = Vec::with_capacity(count.min(256));
                self.nested(|reader| {
                    for _ in 0..count {
                        out.push(read(reader)?);
                    }
                    Ok(out)
                })
            }
            Some(found) => Err(TarsError::Type { field, found }),
            None => Ok(Vec::new()),
        }
    }

    /// An optional list of structures.
    pub fn structures<T>(
        &mut self,
        tag: u8,
        field: &'static str,
        mut read: impl FnMut(&mut Self) -> Result<T, TarsError>,
    ) -> Result<Vec<T>, TarsError> {
        self.list(tag, field, |reader| reader.structure(0, field, &mut read)?.ok_or(TarsError::Missing { field }))
    }
}
