//! Encoding.

use super::kind;

/// Writes the fields of a structure one after the other; the caller keeps tags ascending.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    fn head(&mut self, tag: u8, kind: u8) {
        if tag < 15 {
            self.out.push(tag << 4 | kind);
        } else {
            self.out.extend_from_slice(&[0xf0 | kind, tag]);
        }
    }

    /// An integer, in the smallest width that holds it.
    pub fn int(&mut self, tag: u8, value: i64) -> &mut Self {
        if value == 0 {
            self.head(tag, kind::ZERO);
        } else if let Ok(small) = i8::try_from(value) {
            self.head(tag, kind::INT8);
            self.out.extend_from_slice(&small.to_be_bytes());
        } else if let Ok(small) = i16::try_from(value) {
            self.head(tag, kind::INT16);
            self.out.extend_from_slice(&small.to_be_bytes());
        } else if let Ok(small) = i32::try_from(value) {
            self.head(tag, kind::INT32);
            self.out.extend_from_slice(&small.to_be_bytes());
        } else {
            self.head(tag, kind::INT64);
            self.out.extend_from_slice(&value.to_be_bytes());
        }
        self
    }

    /// A text.
    pub fn text(&mut self, tag: u8, value: &str) -> &mut Self {
        if let Ok(length) = u8::try_from(value.len()) {
            self.head(tag, kind::STRING1);
            self.out.push(length);
        } else {
            self.head(tag, kind::STRING4);
            self.out.extend_from_slice(&(value.len() as u32).to_be_bytes());
        }
        self.out.extend_from_slice(value.as_bytes());
        self
    }

    /// A byte string.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        self.head(tag, kind::SIMPLE_LIST);
        self.head(0, kind::INT8);
        self.int(0, value.len() as i64);
        self.out.extend_from_slice(value);
        self
    }

    /// A structure whose fields `fill` writes.
    pub fn structure(&mut self, tag: u8, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.head(tag, kind::STRUCT_BEGIN);
        fill(self);
        self.head(0, kind::STRUCT_END);
        self
    }

    /// A structure whose fields are encoded already: what a structure's own encoding holds.
    pub fn encoded_structure(&mut self, tag: u8, fields: &[u8]) -> &mut Self {
        self.structure(tag, |inner| inner.out.extend_from_slice(fields))
    }

    /// A list; `write` writes each element with tag 0.
    pub fn list<T>(&mut self, tag: u8, items: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.head(tag, kind::LIST);
        self.int(0, items.len() as i64);
        for item in items {
            write(self, item);
        }
        self
    }

    /// [`int`](Self::int), left out when zero, as upstream leaves optional defaults out.
    pub fn optional_int(&mut self, tag: u8, value: i64) -> &mut Self {
        if value == 0 { self } else { self.int(tag, value) }
    }

    /// [`text`](Self::text), left out when empty.
    pub fn optional_text(&mut self, tag: u8, value: &str) -> &mut Self {
        if value.is_empty() { self } else { self.text(tag, value) }
    }

    /// [`bytes`](Self::bytes), left out when empty.
    pub fn optional_bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        if value.is_empty() { self } else { self.bytes(tag, value) }
    }

    /// [`list`](Self::list), left out when empty.
    pub fn optional_list<T>(&mut self, tag: u8, items: &[T], write: impl FnMut(&mut Self, &T)) -> &mut Self {
        if items.is_empty() { self } else { self.list(tag, items, write) }
    }
}
