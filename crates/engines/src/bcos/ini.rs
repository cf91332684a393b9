//! Small changes to the configuration files that the chain builder writes; everything else in them stays.

/// The name in a line `[name]`.
fn section_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

fn key_of(line: &str) -> Option<&str> {
    line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.starts_with(';'))
}

/// Sets a key of a section, which is added when it is missing.
pub(super) fn set(text: &str, section: &str, key: &str, value: &str) -> String {
    let line = format!("    {key}={value}");
    let mut out = Vec::new();
    let (mut here, mut done) = (false, false);
    for old in text.lines() {
        if let Some(name) = section_of(old) {
            if here && !done {
                out.push(line.clone());
                done = true;
            }
            here = name == section;
        }
        if here && key_of(old) == Some(key) {
            if !done {
                out.push(line.clone());
                done = true;
            }
            continue;
        }
        out.push(old.to_owned());
    }
    if !done {
        if !here {
            out.push(format!("[{section}]"));
        }
        out.push(line);
    }
    out.join("\n") + "\n"
}

/// The value of a key.
#[cfg(test)]
fn get<'a>(text: &'a str, section: &str, key: &str) -> Option<&'a str> {
    let mut here = false;
    for line in text.lines() {
        if let Some(name) = section_of(line) {
            here = name == section;
        } else if here && key_of(line) == Some(key) {
            return line.split_once('=').map(|(_, value)| value.trim());
        }
    }
    None
}

/// Removes all keys of a section that begin with a prefix.
pub(super) fn without(text: &str, section: &str, prefix: &str) -> String {
    let mut here = false;
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some(name) = section_of(line) {
            here = name == section;
        }
        if here && key_of(line).is_some_and(|key| key.starts_with(prefix)) {
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_set_where_they_are_and_added_where_they_are_not() {
        let text = "[a]\n    ; x=comment\n    x=1\n    node.0=q\n\n[b]\n    x=2\n";
        let changed = set(&set(&set(text, "b", "x", "3"), "a", "y", "4"), "c", "z", "5");
        assert_eq!(get(&changed, "b", "x"), Some("3"));
        assert_eq!(get(&changed, "a", "x"), Some("1"));
        assert_eq!(get(&changed, "a", "y"), Some("4"));
        assert_eq!(get(&changed, "c", "z"), Some("5"));
        assert!(changed.contains("; x=comment"));
        assert_eq!(get(&without(&changed, "a", "node."), "a", "node.0"), None);
        assert_eq!(get(&without(&changed, "b", "node."), "a", "node.0"), Some("q"));
    }
}
