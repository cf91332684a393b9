//! Protobuf messages in the one-line text form that upstream prints with `%v`.

use std::fmt::Write as _;

use fabric_proto::protos::{ProposalResponse, Response};

/// Quotes bytes as the text form does: readable UTF-8 stays, everything else becomes an escape.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    let mut rest = bytes;
    while !rest.is_empty() {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, 0),
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), error.error_len().unwrap_or(after.len()).min(1))
            }
        };
        for letter in valid.chars() {
            push(&mut text, letter);
        }
        let start = valid.len();
        for byte in &rest[start..start + invalid] {
            let _ = write!(text, "\\x{byte:02x}");
        }
        rest = &rest[start + invalid..];
    }
    text.push('"');
    text
}

fn push(text: &mut String, letter: char) {
    match letter {
        '"' | '\\' => {
            text.push('\\');
            text.push(letter);
        }
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        letter if (letter as u32) < 0x20 || letter == '\u{7f}' => {
            let _ = write!(text, "\\x{:02x}", letter as u32);
        }
        letter if ('\u{80}'..='\u{9f}').contains(&letter) => {
            let _ = write!(text, "\\u{:04x}", letter as u32);
        }
        letter => text.push(letter),
    }
}

/// Joins the set fields of a message.
struct Fields(Vec<String>);

impl Fields {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn number(&mut self, name: &str, value: i64) {
        if value != 0 {
            self.0.push(format!("{name}:{value}"));
        }
    }

    fn bytes(&mut self, name: &str, value: &[u8]) {
        if !value.is_empty() {
            self.0.push(format!("{name}:{}", quote(value)));
        }
    }

    fn message(&mut self, name: &str, value: Option<String>) {
        if let Some(value) = value {
            self.0.push(format!("{name}:{{{value}}}"));
        }
    }

    fn switch(&mut self, name: &str, value: bool) {
        if value {
            self.0.push(format!("{name}:true"));
        }
    }

    fn done(self) -> String {
        self.0.join(" ")
    }
}

/// `status:200 payload:"ok"`.
pub(crate) fn response(message: &Response) -> String {
    let mut fields = Fields::new();
    fields.number("status", i64::from(message.status));
    fields.bytes("message", message.message.as_bytes());
    fields.bytes("payload", &message.payload);
    fields.done()
}

/// A whole proposal response.
pub(crate) fn proposal_response(message: &ProposalResponse) -> String {
    let mut fields = Fields::new();
    fields.number("version", i64::from(message.version));
    fields.message(
        "timestamp",
        message.timestamp.as_ref().map(|time| {
            let mut inner = Fields::new();
            inner.number("seconds", time.seconds);
            inner.number("nanos", i64::from(time.nanos));
            inner.done()
        }),
    );
    fields.message("response", message.response.as_ref().map(response));
    fields.bytes("payload", &message.payload);
    fields.message(
        "endorsement",
        message.endorsement.as_ref().map(|endorsement| {
            let mut inner = Fields::new();
            inner.bytes("endorser", &endorsement.endorser);
            inner.bytes("signature", &endorsement.signature);
            inner.done()
        }),
    );
    fields.message(
        "interest",
        message.interest.as_ref().map(|interest| {
            let calls: Vec<String> = interest
                .chaincodes
                .iter()
                .map(|call| {
                    let mut inner = Fields::new();
                    inner.bytes("name", call.name.as_bytes());
                    for collection in &call.collection_names {
                        inner.bytes("collection_names", collection.as_bytes());
                    }
                    inner.switch("no_private_reads", call.no_private_reads);
                    inner.switch("no_public_writes", call.no_public_writes);
                    inner.switch("disregard_namespace_policy", call.disregard_namespace_policy);
                    format!("chaincodes:{{{}}}", inner.done())
                })
                .collect();
            calls.join(" ")
        }),
    );
    fields.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_the_text_form_does() {
        assert_eq!(quote(b"ok"), "\"ok\"");
        assert_eq!(quote(b"\nGkv_1.0\x12\x06k\"\\"), "\"\\nGkv_1.0\\x12\\x06k\\\"\\\\\"");
        assert_eq!(quote(b"W\x8an\xb2\xabk\x82^\xdd\xb9b\x89"), "\"W\\x8an\\xb2\\xabk\\x82^\u{779}b\\x89\"");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let message = Response { status: 500, message: "deliberate failure".into(), payload: bytes::Bytes::new() };
        assert_eq!(response(&message), "status:500 message:\"deliberate failure\"");
        assert_eq!(response(&Response::default()), "");
    }
}
