//! What differs between two sets of files.

use std::collections::BTreeSet;

use similar::{Algorithm, ChangeTag, TextDiff};

use super::{FileDiff, Files};

/// Lines around a change.
const CONTEXT: usize = 3;
/// Larger files are compared as a whole, not line by line.
const MAX_DIFF_BYTES: usize = 512 * 1024;
/// How long the comparison of one file may look for the shortest answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

pub(super) fn between(from: &Files, to: &Files) -> Vec<FileDiff> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let (before, after) = (from.get(path), to.get(path));
        if before == after {
            continue;
        }
        let change = match (before, after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        changes.push(file(path, change, before.map_or(&[], Vec::as_slice), after.map_or(&[], Vec::as_slice)));
    }
    changes
}

fn file(path: &str, change: &str, before: &[u8], after: &[u8]) -> FileDiff {
    let mut made = FileDiff {
        path: path.to_owned(),
        change: change.to_owned(),
        diff: String::new(),
        added: 0,
        removed: 0,
        binary: false,
    };
    let small = before.len() <= MAX_DIFF_BYTES && after.len() <= MAX_DIFF_BYTES;
    let (Some(before), Some(after)) = (text(before), text(after)) else {
        made.binary = true;
        return made;
    };
    if !small {
        made.removed = u32::try_from(before.lines().count()).unwrap_or(u32::MAX);
        made.added = u32::try_from(after.lines().count()).unwrap_or(u32::MAX);
        return made;
    }
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_lines(before, after);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => made.added += 1,
            ChangeTag::Delete => made.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    let header = |there: bool, side: &str| if there { format!("{side}/{path}") } else { "/dev/null".to_owned() };
    made.diff = diff
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&header(change != "added", "a"), &header(change != "removed", "b"))
        .to_string();
    made
}

fn text(bytes: &[u8]) -> Option<&str> {
    if bytes.contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}
