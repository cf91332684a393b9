//! PEM with the rules of Go's `encoding/pem`, because whether an identity's bytes decode decides a transaction.
//!
//! Text before the first block is skipped, headers are tolerated, and a broken block is passed over in search of the
//! next one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const START: &[u8] = b"\n-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// One block: its label and its decoded bytes (wiped when dropped, they may be a key).
#[derive(Clone, PartialEq, Eq)]
pub struct Block {
    /// The text between `BEGIN ` and the dashes.
    pub label: String,
    /// The decoded contents.
    pub contents: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("label", &self.label).field("length", &self.contents.len()).finish()
    }
}

/// The first block in `data` and what follows it; `None` when there is none.
pub fn decode(data: &[u8]) -> Option<(Block, &[u8])> {
    let mut rest = data;
    loop {
        rest = if rest.starts_with(&START[1..]) {
            &rest[START.len() - 1..]
        } else {
            &rest[find(rest, START)? + START.len()..]
        };
        let (label_line, after_label) = line(rest);
        rest = after_label;
        let Some(label) = label_line.strip_suffix(DASHES) else { continue };

        let mut has_headers = false;
        loop {
            if rest.is_empty() {
                return None;
            }
            let (header, next) = line(rest);
            if !header.contains(&b':') {
                break;
            }
            has_headers = true;
            rest = next;
        }

        let (end, trailer_at) = if !has_headers && rest.starts_with(&END[1..]) {
            (0, END.len() - 1)
        } else {
            let Some(end) = find(rest, END) else { continue };
            (end, end + END.len())
        };
        let trailer = &rest[trailer_at..];
        let Some((closing, after_closing)) = trailer.split_at_checked(label.len() + DASHES.len()) else { continue };
        if !closing.starts_with(label) || !closing.ends_with(DASHES) || !line(after_closing).0.is_empty() {
            continue;
        }
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(
            rest[..end].iter().copied().filter(|octet| !matches!(octet, b' ' | b'\t' | b'\r' | b'\n')).collect(),
        );
        let Ok(contents) = STANDARD.decode(text.as_slice()) else { continue };
        let (_, after) = line(&rest[end + END.len() - 1..]);
        let label = String::from_utf8_lossy(label).into_owned();
        return Some((Block { label, contents: Zeroizing::new(contents) }, after));
    }
}

/// Every block in `data`.
pub fn decode_all(data: &[u8]) -> Vec<Block> {
    let mut rest = data;
    std::iter::from_fn(|| {
        let (block, after) = decode(rest)?;
        rest = after;
        Some(block)
    })
    .collect()
}

/// One block in text, lines of 64 characters.
pub fn encode(label: &str, contents: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(contents));
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(64));
        out.push_str(head);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, tail) = needle.split_first()?;
    let mut from = 0;
    while let Some(offset) = haystack[from..].iter().position(|&octet| octet == first) {
        let at = from + offset;
        if haystack[at + 1..].starts_with(tail) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The first line without its end and without trailing blanks, and what follows.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    let (mut head, rest) = match data.iter().position(|&octet| octet == b'\n') {
        Some(at) => (data[..at].strip_suffix(b"\r").unwrap_or(&data[..at]), &data[at + 1..]),
        None => (data, &data[data.len()..]),
    };
    while let [before @ .., b' ' | b'\t'] = head {
        head = before;
    }
    (head, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_before_headers_and_windows_lines_are_tolerated() {
        let text = b"noise\n-----BEGIN A-----\nKey: value\n\nAQI=\n-----END A-----\n";
        let (block, rest) = decode(text).unwrap();
        assert_eq!((block.label.as_str(), &block.contents[..], rest), ("A", &[1, 2][..], &b""[..]));
        let (block, rest) = decode(b"-----BEGIN A-----\r\nAQI=\r\n-----END A-----\r\nafter").unwrap();
        assert_eq!((&block.contents[..], rest), (&[1, 2][..], &b"after"[..]));
    }

    #[test]
    fn broken_blocks_are_passed_over() {
        assert!(decode(b"-----BEGIN A-----\nAQI=\n-----END B-----\n").is_none());
        assert!(decode(b"-----BEGIN A-----\nAQ=I\n-----END A-----\n").is_none());
        assert!(decode(b"-----BEGIN A-----\nAQI=\n-----END A----- x\n").is_none());
        assert!(decode(b"x-----BEGIN A-----\nAQI=\n-----END A-----\n").is_none());
        assert!(decode(b"").is_none());
        let two = b"-----BEGIN A-----\n?\n-----END A-----\n-----BEGIN C-----\nAw==\n-----END C-----\n";
        assert_eq!(decode(two).unwrap().0.label, "C");
    }

    proptest! {
        #[test]
        fn encoded_blocks_read_back(contents in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &contents);
            let twice = format!("{text}{text}");
            let blocks = decode_all(twice.as_bytes());
            prop_assert_eq!(blocks.len(), 2);
            prop_assert_eq!(&blocks[1].contents[..], &contents[..]);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "(-----BEGIN |-----END |-----|A|\n|\r|AQI=| |:){0,40}") {
            let _ = decode_all(text.as_bytes());
        }
    }
}
