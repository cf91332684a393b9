//! Writing answers as JSON, without a tree of values in between where every transaction pays for it.

use std::io::Write as _;

use alloy_primitives::hex;
use serde::Serialize;
use serde_json::Value;

/// What can be the result of a request.
pub(crate) trait Show {
    /// Writes it behind what is already there.
    fn show(&self, out: &mut Vec<u8>);
}

impl Show for Value {
    fn show(&self, out: &mut Vec<u8>) {
        append(out, self);
    }
}

pub(crate) fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        // A vector takes every write and a value has only text keys; should that change, the answer stays JSON.
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

/// `"`, perhaps `0x`, the bytes and `"`: hex needs no escaping, so it is not searched for what would.
fn hex_text(out: &mut Vec<u8>, prefix: &str, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(prefix.as_bytes());
    let start = out.len();
    out.resize(start + 2 * bytes.len(), b'0');
    // It fails only for room of another length.
    let _fits = hex::encode_to_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

/// An object that is written member by member. Names are written as they are.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    next: u8,
}

impl<'a> Object<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, next: b'{' }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.push(self.next);
        self.next = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A text, escaped.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        append(self.name(name), text);
        self
    }

    /// `0x` and the bytes.
    pub(crate) fn data(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> &mut Self {
        hex_text(self.name(name), "0x", bytes.as_ref());
        self
    }

    /// The bytes in hex, without `0x`.
    pub(crate) fn digits(&mut self, name: &str, bytes: impl AsRef<[u8]>) -> &mut Self {
        hex_text(self.name(name), "", bytes.as_ref());
        self
    }

    /// A list of bytes, each with `0x`.
    pub(crate) fn data_list<T: AsRef<[u8]>>(&mut self, name: &str, items: impl IntoIterator<Item = T>) -> &mut Self {
        self.list(name, items, |item, out| hex_text(out, "0x", item.as_ref()))
    }

    /// A list, each item written by `show`.
    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut show: impl FnMut(T, &mut Vec<u8>),
    ) -> &mut Self {
        let out = self.name(name);
        out.push(b'[');
        let start = out.len();
        for item in items {
            if out.len() > start {
                out.push(b',');
            }
            show(item, out);
        }
        out.push(b']');
        self
    }

    /// A whole number.
    pub(crate) fn number(&mut self, name: &str, number: impl Into<i128>) -> &mut Self {
        // A vector takes every write.
        let _written = write!(self.name(name), "{}", number.into());
        self
    }

    /// A whole number as decimal text.
    pub(crate) fn number_text(&mut self, name: &str, number: impl Into<i128>) -> &mut Self {
        let _written = write!(self.name(name), "\"{}\"", number.into());
        self
    }

    /// Anything else.
    pub(crate) fn value(&mut self, name: &str, value: &Value) -> &mut Self {
        append(self.name(name), value);
        self
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        if self.next == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(write: impl FnOnce(&mut Object<'_>)) -> Value {
        let mut out = Vec::new();
        let mut object = Object::new(&mut out);
        write(&mut object);
        object.end();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn what_is_written_reads_as_what_it_was() {
        let text = "a \"quoted\" \\ line\n\u{1}会盟";
        let written = shown(|object| {
            object.text("text", text).data("data", [0, 255]).digits("digits", [1]).data("empty", []);
            object.data_list("some", [[1], [2]]).data_list("none", [[0_u8; 1]; 0]);
            object.list("objects", [1, 2], |item, out| Object::new(out).number("n", item).end());
            object.number("least", i64::MIN).number("most", u64::MAX).number_text("decimal", 7);
            object.value("value", &json!({ "a": [null] }));
        });
        let expected = json!({
            "text": text, "data": "0x00ff", "digits": "01", "empty": "0x",
            "some": ["0x01", "0x02"], "none": [], "objects": [{ "n": 1 }, { "n": 2 }],
            "least": i64::MIN, "most": u64::MAX, "decimal": "7", "value": { "a": [null] },
        });
        assert_eq!(written, expected);
        assert_eq!(shown(|_| {}), json!({}));
    }
}
