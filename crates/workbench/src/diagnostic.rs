//! What a compiler found, in one shape for every language.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A remark.
    Info,
    /// Works, but look at it.
    Warning,
    /// Does not build.
    Error,
}

/// One finding at one place. Lines and columns count from 1, columns in UTF-16 units as editors do; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnostic {
    /// Path in the project; empty when the finding belongs to no file.
    pub file: String,
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// Column after the last character.
    pub end_column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// The tool's own code (`2314`, `TS2304`, `E0308`), or ours (`missing_toolchain`).
    pub code: String,
    /// The tool's text.
    pub message: String,
    /// What to do, English; empty when the message says it all.
    #[serde(default)]
    pub hint: String,
    /// What to do, Chinese.
    #[serde(default)]
    pub hint_zh: String,
}

impl Diagnostic {
    /// An error that belongs to no place in a file.
    pub fn general(code: &str, message: impl Into<String>, hint: &str, hint_zh: &str) -> Self {
        Self {
            file: String::new(),
            line: 0,
            column: 0,
            end_line: 0,
            end_column: 0,
            severity: Severity::Error,
            code: code.to_owned(),
            message: message.into(),
            hint: hint.to_owned(),
            hint_zh: hint_zh.to_owned(),
        }
    }

    /// The same at one place of a file.
    #[must_use]
    pub fn at(mut self, file: &str, line: u32, column: u32) -> Self {
        file.clone_into(&mut self.file);
        (self.line, self.column, self.end_line, self.end_column) = (line, column, line, column);
        self
    }
}

/// Line and column (from 1, UTF-16 units) of a byte offset; offsets past the end mean the end.
pub fn position(text: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].encode_utf16().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_as_editors_do() {
        let text = "// 存证 𝔸\nx;";
        assert_eq!(position(text, 0), (1, 1));
        // Three bytes each for the two Han characters, four for the letter outside the basic plane, which counts twice.
        assert_eq!(position(text, "// 存证 𝔸".len()), (1, 9));
        assert_eq!(position(text, "// 存证 𝔸\nx".len()), (2, 2));
        assert_eq!(position(text, 9999), (2, 3));
        assert_eq!(position(text, 4), (1, 4), "inside a character means its start");
    }
}
