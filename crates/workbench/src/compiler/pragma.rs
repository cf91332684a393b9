//! Versions and the ranges that `pragma solidity` states, in npm's syntax.

use std::collections::BTreeMap;

use super::CompilerInfo;
use super::source::Pragma;
use crate::Diagnostic;
use crate::diagnostic::position;

/// A release of the compiler; one that hashes with SM3 comes before the plain one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release {
    number: [u32; 3],
    plain: bool,
}

impl Release {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (number, plain) = text.strip_suffix("-gm").map_or((text, true), |number| (number, false));
        let mut parts = number.split('.');
        let mut next = || {
            let part = parts.next()?;
            let digits = !part.is_empty() && part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
            if digits { part.parse().ok() } else { None }
        };
        let number = [next()?, next()?, next()?];
        parts.next().is_none().then_some(Self { number, plain })
    }

    pub(super) fn at_least(self, number: [u32; 3]) -> bool {
        self.number >= number
    }
}

/// Half-open: from the first number up to, not including, the second.
type Span = ([u32; 3], [u32; 3]);
const ANY: Span = ([0; 3], [u32::MAX; 3]);

/// Whether a range allows a number; `None` when the range cannot be read.
fn allows(range: &str, number: [u32; 3]) -> Option<bool> {
    let mut any = false;
    for alternative in range.split("||") {
        let mut all = true;
        for (from, to) in spans(alternative)? {
            all &= number >= from && number < to;
        }
        any |= all;
    }
    Some(any)
}

/// The spans that must all hold.
fn spans(text: &str) -> Option<Vec<Span>> {
    if let Some((from, to)) = text.split_once(" - ") {
        let (from, _) = exact(from.trim())?;
        let (_, to) = exact(to.trim())?;
        return Some(vec![(from, to)]);
    }
    // Operators may stand apart from their numbers.
    let mut spaced = String::new();
    let mut before = ' ';
    for letter in text.chars() {
        let operator = "^~<>=".contains(letter);
        if operator && !"<>".contains(before) {
            spaced.push(' ');
        }
        if !(letter.is_whitespace() && "^~<>=".contains(before)) {
            spaced.push(letter);
            before = letter;
        }
    }
    spaced.split_whitespace().map(comparator).collect()
}

fn comparator(text: &str) -> Option<Span> {
    let strip = |prefix: &str| text.strip_prefix(prefix).map(str::trim);
    if let Some(rest) = strip("^") {
        let (from, to) = exact(rest)?;
        let [major, minor, patch] = from;
        let end = match (major, minor, patch) {
            // A caret keeps the first number that is not zero; what was left open stays open.
            (0, 0, _) => to,
            (0, minor, _) => [0, minor + 1, 0],
            (major, ..) => [major + 1, 0, 0],
        };
        return Some((from, end.max(to)));
    }
    if let Some(rest) = strip("~") {
        let (from, to) = exact(rest)?;
        return Some((from, [from[0], from[1] + 1, 0].max(to)));
    }
    if let Some(rest) = strip(">=") {
        return Some((exact(rest)?.0, ANY.1));
    }
    if let Some(rest) = strip("<=") {
        return Some((ANY.0, exact(rest)?.1));
    }
    if let Some(rest) = strip(">") {
        return Some((exact(rest)?.1, ANY.1));
    }
    if let Some(rest) = strip("<") {
        return Some((ANY.0, exact(rest)?.0));
    }
    exact(strip("=").unwrap_or(text))
}

/// `0.8.26` is itself only, `0.8` and `0.8.x` are all of 0.8, `*` is everything.
fn exact(text: &str) -> Option<Span> {
    let text = text.trim().trim_start_matches('v').trim_matches(['"', '\'']);
    let mut number = [0_u32; 3];
    let (mut given, mut open) = (0, false);
    for (index, part) in text.split('.').enumerate() {
        if matches!(part, "*" | "x" | "X") {
            open = true;
            continue;
        }
        if open {
            return None;
        }
        *number.get_mut(index)? = part.parse::<u32>().ok().filter(|part| *part < 10_000)?;
        given = index + 1;
    }
    Some(match given {
        0 => ANY,
        1 => (number, [number[0] + 1, 0, 0]),
        2 => (number, [number[0], number[1] + 1, 0]),
        _ => (number, [number[0], number[1], number[2] + 1]),
    })
}

/// The newest compiler that all pragmas allow, installed ones first.
pub(super) fn choose(
    listed: &[CompilerInfo],
    asked: &[(String, Pragma)],
    sources: &BTreeMap<String, String>,
) -> Result<String, Vec<Diagnostic>> {
    let at = |file: &str, pragma: &Pragma, diagnostic: Diagnostic| {
        let text = sources.get(file).map_or("", String::as_str);
        let (line, column) = position(text, pragma.offset);
        let (end_line, end_column) = position(text, pragma.offset + pragma.length);
        Diagnostic { end_line, end_column, ..diagnostic.at(file, line, column) }
    };
    for (file, pragma) in asked {
        if allows(&pragma.range, [0, 8, 0]).is_none() {
            let problem = Diagnostic::general(
                "bad_pragma",
                format!("{:?} is no range of versions", pragma.range),
                "Write for example: pragma solidity ^0.8.20;",
                "请写成例如:pragma solidity ^0.8.20;",
            );
            return Err(vec![at(file, pragma, problem)]);
        }
    }
    let fits = |info: &&CompilerInfo| {
        // One that hashes with SM3 is never taken by itself: its contracts run on chains of that kind only.
        let release = Release::parse(&info.version).filter(|release| release.plain);
        release
            .is_some_and(|release| asked.iter().all(|(_, pragma)| allows(&pragma.range, release.number) == Some(true)))
    };
    let newest = |found: &mut dyn Iterator<Item = &CompilerInfo>| {
        found.max_by_key(|info| Release::parse(&info.version)).map(|info| info.version.clone())
    };
    let installed = newest(&mut listed.iter().filter(|info| info.installed).filter(fits));
    if let Some(version) = installed.or_else(|| newest(&mut listed.iter().filter(fits))) {
        return Ok(version);
    }
    let known: Vec<&str> = listed.iter().map(|info| info.version.as_str()).collect();
    let known = known.join(", ");
    Err(asked
        .iter()
        .map(|(file, pragma)| {
            let problem = Diagnostic::general(
                "no_compiler",
                format!("no known compiler fits all pragmas; here {:?} is asked for; known are {known}", pragma.range),
                "Make the pragmas of all files agree, or install another compiler in the settings.",
                "请让所有文件的 pragma 一致,或在设置中安装其他版本的编译器。",
            );
            at(file, pragma, problem)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(range: &str, version: &str) -> bool {
        allows(range, Release::parse(version).unwrap().number).unwrap()
    }

    #[test]
    fn ranges_mean_what_npm_says() {
        for (range, yes, no) in [
            ("0.8.26", "0.8.26", "0.8.25"),
            ("=0.8.26", "0.8.26", "0.8.27"),
            ("^0.8.20", "0.8.37", "0.9.0"),
            ("^0.8.20", "0.8.20", "0.8.19"),
            ("^ 0.4.24", "0.4.26", "0.5.0"),
            ("^0.0.3", "0.0.3", "0.0.4"),
            ("^1.2.3", "1.9.0", "2.0.0"),
            ("~0.8.1", "0.8.9", "0.9.0"),
            (">=0.4.22 <0.9.0", "0.8.37", "0.9.0"),
            (">= 0.4.22 < 0.6", "0.5.17", "0.6.0"),
            (">=0.4.22<0.6.0", "0.5.17", "0.6.0"),
            (">0.5.2", "0.5.3", "0.5.2"),
            (">0.5", "0.6.0", "0.5.17"),
            ("<=0.5.2", "0.5.2", "0.5.3"),
            ("0.4.25 || ^0.6.0", "0.6.12", "0.5.2"),
            ("0.5.0 - 0.5.17", "0.5.17", "0.6.0"),
            ("0.8", "0.8.11", "0.7.6"),
            ("0.8.x", "0.8.11", "0.7.6"),
            ("\"0.8.11\"", "0.8.11", "0.8.12"),
        ] {
            assert!(is(range, yes), "{range} allows {yes}");
            assert!(!is(range, no), "{range} does not allow {no}");
        }
        assert!(is("*", "0.1.0") && is("", "0.1.0"));
        for bad in ["abc", "0.8.26.1", "^", ">=x.y", "99999999999.0.0"] {
            assert!(bad == "^" || allows(bad, [0, 8, 0]).is_none(), "{bad}");
        }
    }

    #[test]
    fn releases_are_ordered_and_names_of_folders() {
        assert!(Release::parse("0.8.26") > Release::parse("0.8.9"));
        assert!(Release::parse("0.4.25-gm") < Release::parse("0.4.25"));
        for bad in ["", "..", "0.8", "0.8.26/..", "0.8.x", "0.8.26-evil", "0.8.26.1", "0.8.123456"] {
            assert!(Release::parse(bad).is_none(), "{bad}");
        }
    }
}
