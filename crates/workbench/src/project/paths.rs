//! Which paths a project may have: inside it, portable, and of bounded length.

use std::path::{Path, PathBuf};

use super::ProjectError;

/// Longest path, bytes.
const MAX_PATH_BYTES: usize = 400;
/// Longest name of a file or folder, bytes.
const MAX_NAME_BYTES: usize = 200;
/// Deepest folder.
pub(super) const MAX_DEPTH: usize = 16;

/// Checks a path of a project and gives it back.
pub(super) fn check(path: &str) -> Result<&str, ProjectError> {
    let refused = |why| Err(ProjectError::Path { path: path.chars().take(200).collect(), why });
    if path.is_empty() {
        return refused("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return refused("it is longer than 400 bytes");
    }
    if path.starts_with('/') {
        return refused("it must be relative to the project");
    }
    if path.split('/').count() > MAX_DEPTH {
        return refused("it has more than 16 folders");
    }
    for name in path.split('/') {
        if name.is_empty() {
            return refused("a name in it is empty");
        }
        if name == "." || name == ".." {
            return refused("it must not contain . or ..");
        }
        if name.len() > MAX_NAME_BYTES {
            return refused("a name in it is longer than 200 bytes");
        }
        if name.chars().any(|letter| letter.is_control() || "\\:*?\"<>|".contains(letter)) {
            return refused(r#"names must not contain control characters or any of \ : * ? " < > |"#);
        }
        if name.starts_with(' ') || name.ends_with([' ', '.']) {
            return refused("names must not begin with a space or end with a space or dot");
        }
        if name.chars().any(directs_text) {
            return refused("names must not contain invisible characters that turn text around");
        }
        if name.eq_ignore_ascii_case(".git") || name == "node_modules" {
            return refused(".git and node_modules do not belong into a project");
        }
    }
    Ok(path)
}

/// Characters that make a name look like another one.
fn directs_text(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Where a path is below `root`, provided that no folder on the way is a link.
pub(crate) fn place(root: &Path, path: &str) -> Result<PathBuf, ProjectError> {
    let mut target = root.to_path_buf();
    for name in check(path)?.split('/') {
        target.push(name);
        if target.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Err(ProjectError::Path { path: path.to_owned(), why: "a link is in its way" });
        }
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_inside_are_taken() {
        for good in ["a", "src/存证.sol", "contracts/a b/C.sol", ".gitignore", "a-b_c.d/e@1", "..a/b.."] {
            if good.ends_with("..") {
                assert!(check(good).is_err(), "{good}");
            } else {
                check(good).unwrap();
            }
        }
        let long = "a/".repeat(300);
        let deep = vec!["a"; 17].join("/");
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a\\b",
            "C:a",
            "a\0b",
            "a\nb",
            "a.",
            "a ",
            " a",
            ".git/config",
            "a/.GIT/x",
            "node_modules/x",
            "x\u{202e}los.y",
            &long,
            &deep,
        ];
        for path in bad {
            assert!(check(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        assert!(place(folder.path(), "etc/passwd").is_err());
        place(folder.path(), "a/b").unwrap();
    }
}
