//! The Tars codec: heads of tag and type, big-endian integers of the smallest width, lists, byte strings, structures.
//!
//! Reading is as tolerant as upstream's: a structure is read in ascending order of tags, unknown tags are skipped, an
//! absent optional field has its default, and a field that stands after a higher tag counts as absent. Every length
//! and count is checked against what is really there before anything is allocated.
//!
//! ```
//! use bcos_types::tars::{Reader, Writer};
//!
//! let mut writer = Writer::new();
//! writer.int(1, 300).text(2, "chain0");
//! let bytes = writer.into_bytes();
//! assert_eq!(bytes, [0x11, 0x01, 0x2c, 0x26, 6, b'c', b'h', b'a', b'i', b'n', b'0']);
//!
//! let mut reader = Reader::new(&bytes);
//! assert_eq!(reader.text(2, "chainID")?, "chain0");
//! # Ok::<(), bcos_types::TarsError>(())
//! ```

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

/// The longest single text or byte string accepted, 100 MiB as upstream.
pub const MAX_LENGTH: usize = 100 << 20;
/// How deeply structures and lists may lie in each other.
pub const MAX_DEPTH: u8 = 16;
/// The most elements of one list: structures are much larger in memory than the two bytes they can have here.
pub const MAX_ITEMS: usize = 1 << 17;

/// The type in the lower half of a head byte.
mod kind {
    pub(super) const INT8: u8 = 0;
    pub(super) const INT16: u8 = 1;
    pub(super) const INT32: u8 = 2;
    pub(super) const INT64: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const STRING1: u8 = 6;
    pub(super) const STRING4: u8 = 7;
    pub(super) const MAP: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT_BEGIN: u8 = 10;
    pub(super) const STRUCT_END: u8 = 11;
    pub(super) const ZERO: u8 = 12;
    pub(super) const SIMPLE_LIST: u8 = 13;
}

/// Why bytes are not the structure they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TarsError {
    /// The data ends inside a field.
    #[error("the Tars data ends inside {field}")]
    Truncated {
        /// Upstream's name of the field.
        field: &'static str,
    },
    /// The field has another type than its place demands.
    #[error("the Tars field {field} has type {found}, which does not fit it")]
    Type {
        /// Upstream's name of the field.
        field: &'static str,
        /// The type number found.
        found: u8,
    },
    /// A field that must be there is not.
    #[error("the Tars field {field} is missing")]
    Missing {
        /// Upstream's name of the field.
        field: &'static str,
    },
    /// A number or fixed-size value is outside what the field can mean.
    #[error("the Tars field {field} holds a value out of range")]
    Range {
        /// Upstream's name of the field.
        field: &'static str,
    },
    /// A text is not UTF-8.
    #[error("the Tars field {field} is not UTF-8 text")]
    Text {
        /// Upstream's name of the field.
        field: &'static str,
    },
    /// A length or count exceeds the limit.
    #[error("the Tars field {field} claims {count} items or bytes, more than the limit")]
    Count {
        /// Upstream's name of the field.
        field: &'static str,
        /// What the field claims.
        count: u64,
    },
    /// Structures nested too deeply.
    #[error("the Tars data is nested more than {MAX_DEPTH} levels deep")]
    Depth,
}
