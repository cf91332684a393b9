//! Results as JSON in the shape that upstream's structures have: field order of the definition, zero values left out, one-of fields
//! under their Go names.

mod definitions;

use std::fmt::Write as _;

pub(crate) use definitions::{all_approved, all_committed, approved, committed, installed, readiness};

/// A JSON value that keeps the order of its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(i128),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn number(number: impl Into<i128>) -> Self {
        Self::Number(number.into())
    }

    pub(crate) fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Json)>) -> Self {
        Self::Object(fields.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// On one line.
    pub(crate) fn compact(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, None);
        text
    }

    /// With tabs.
    pub(crate) fn indented(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, Some(0));
        text
    }

    fn write(&self, text: &mut String, depth: Option<usize>) {
        match self {
            Self::Null => text.push_str("null"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => {
                let _ = write!(text, "{value}");
            }
            Self::Text(value) => quote(text, value),
            Self::List(items) => {
                Self::block(text, depth, '[', ']', items, |text, item, deeper| item.write(text, deeper));
            }
            Self::Object(fields) => Self::block(text, depth, '{', '}', fields, |text, (key, value), deeper| {
                quote(text, key);
                text.push_str(if deeper.is_some() { ": " } else { ":" });
                value.write(text, deeper);
            }),
        }
    }

    fn block<T>(
        text: &mut String,
        depth: Option<usize>,
        open: char,
        close: char,
        items: &[T],
        mut write: impl FnMut(&mut String, &T, Option<usize>),
    ) {
        text.push(open);
        let deeper = depth.map(|depth| depth + 1);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            new_line(text, deeper);
            write(text, item, deeper);
        }
        if !items.is_empty() {
            new_line(text, depth);
        }
        text.push(close);
    }
}

fn new_line(text: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n('\t', depth));
    }
}

/// Quotes as Go does, which also escapes what matters inside HTML.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let _ = write!(text, "\\u{:04x}", letter as u32);
            }
            letter => text.push(letter),
        }
    }
    text.push('"');
}

/// Indents JSON text with tabs and changes nothing else: order, numbers and escapes stay as they are.
pub(crate) fn indent(source: &[u8]) -> Result<String, String> {
    let checked: Result<serde_json::Value, _> = serde_json::from_slice(source);
    if let Err(error) = checked {
        return Err(match source.first() {
            None => "unexpected end of JSON input".into(),
            Some(_) if error.is_eof() => "unexpected end of JSON input".into(),
            Some(first) => format!("invalid character {:?} looking for beginning of value", *first as char),
        });
    }
    let text = std::str::from_utf8(source).map_err(|error| error.to_string())?;
    let body = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let trimmed = body.trim_end_matches([' ', '\t', '\r', '\n']);
    let mut out = String::with_capacity(source.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    // Whether the innermost bracket has just been opened: an empty one is closed on the same line.
    let mut opened = false;
    for letter in trimmed.chars() {
        if in_text {
            out.push(letter);
            (in_text, escaped) = match letter {
                _ if escaped => (true, false),
                '\\' => (true, true),
                '"' => (false, false),
                _ => (true, false),
            };
            continue;
        }
        if letter.is_ascii_whitespace() {
            continue;
        }
        if opened && !matches!(letter, ']' | '}') {
            opened = false;
            depth += 1;
            new_line(&mut out, Some(depth));
        }
        match letter {
            '"' => {
                in_text = true;
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                new_line(&mut out, Some(depth));
            }
            ':' => out.push_str(": "),
            '{' | '[' => {
                opened = true;
                out.push(letter);
            }
            '}' | ']' => {
                if opened {
                    opened = false;
                } else {
                    depth = depth.saturating_sub(1);
                    new_line(&mut out, Some(depth));
                }
                out.push(letter);
            }
            other => out.push(other),
        }
    }
    out.push_str(&body[trimmed.len()..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_indented_without_other_changes() {
        let source = b" {\"b\":null,\"a\":[{\"n\":\"x,{}\\\"\",\"e\":{}},[]]}\n";
        let expected = "{\n\t\"b\": null,\n\t\"a\": [\n\t\t{\n\t\t\t\"n\": \"x,{}\\\"\",\n\t\t\t\"e\": {}\n\t\t},\n\t\t[]\n\t]\n}\n";
        assert_eq!(indent(source).unwrap(), expected);
        assert_eq!(indent(b"").unwrap_err(), "unexpected end of JSON input");
        assert_eq!(indent(b"page not found").unwrap_err(), "invalid character 'p' looking for beginning of value");
    }

    #[test]
    fn values_are_written_as_go_does() {
        let value = Json::object([("k", Json::List(vec![])), ("t", Json::text("a<b&\"")), ("n", Json::number(7_u32))]);
        assert_eq!(value.compact(), "{\"k\":[],\"t\":\"a\\u003cb\\u0026\\\"\",\"n\":7}");
        assert_eq!(value.indented(), "{\n\t\"k\": [],\n\t\"t\": \"a\\u003cb\\u0026\\\"\",\n\t\"n\": 7\n}");
    }
}
