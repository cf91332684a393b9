//! What is read of sources before the compiler sees them: pragmas and imports.

use std::collections::BTreeMap;
use std::path::Path;

use crate::Diagnostic;

/// The most bytes of all sources of one compilation.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most sources of one compilation.
const MAX_SOURCES: usize = 1000;

/// A `pragma solidity`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pragma {
    pub(super) range: String,
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// A statement that begins with one of two words.
enum Statement {
    Pragma(Pragma),
    Import(String),
}

/// The version pragmas of a source.
pub(super) fn pragmas(source: &str) -> Vec<Pragma> {
    statements(source)
        .into_iter()
        .filter_map(|statement| match statement {
            Statement::Pragma(pragma) => Some(pragma),
            Statement::Import(_) => None,
        })
        .collect()
}

/// Finds pragmas and imports outside comments and texts.
fn statements(source: &str) -> Vec<Statement> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = skipped(bytes, at) {
            at = end;
        } else if word(bytes[at]) {
            let start = at;
            while at < bytes.len() && word(bytes[at]) {
                at += 1;
            }
            match &source[start..at] {
                "pragma" => {
                    let (code, _, end) = statement(source, at);
                    if let Some(range) = code.trim_start().strip_prefix("solidity") {
                        let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
                        let length = end - start;
                        found.push(Statement::Pragma(Pragma { range, offset: start, length }));
                    }
                    at = end;
                }
                "import" => {
                    let (_, texts, end) = statement(source, at);
                    // `import "a"`, `import "a" as b`, `import {c} from "a"`: the only text is the path.
                    found.extend(texts.into_iter().next().map(Statement::Import));
                    at = end;
                }
                _ => {}
            }
        } else {
            at += 1;
        }
    }
    found
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

/// The end of a comment or text that begins here.
fn skipped(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let until = |pattern: &[u8], from: usize| {
        let found = rest[from..].windows(pattern.len()).position(|window| window == pattern);
        found.map_or(bytes.len(), |index| at + from + index + pattern.len())
    };
    match rest {
        [b'/', b'/', ..] => Some(until(b"\n", 2)),
        [b'/', b'*', ..] => Some(until(b"*/", 2)),
        [quote @ (b'"' | b'\''), ..] => {
            let mut index = 1;
            while index < rest.len() && rest[index] != *quote && rest[index] != b'\n' {
                index += if rest[index] == b'\\' { 2 } else { 1 };
            }
            Some((at + index + 1).min(bytes.len()))
        }
        _ => None,
    }
}

/// The statement from here to its semicolon: its code without comments, its texts, and where it ends.
fn statement(source: &str, from: usize) -> (String, Vec<String>, usize) {
    let bytes = source.as_bytes();
    let (mut code, mut texts, mut at) = (Vec::new(), Vec::new(), from);
    while at < bytes.len() && bytes[at] != b';' {
        if let Some(end) = skipped(bytes, at) {
            if bytes[at] != b'/' && end > at + 1 {
                let inside = source.get(at + 1..end - 1).unwrap_or_default();
                texts.push(inside.to_owned());
                code.extend_from_slice(inside.as_bytes());
            }
            at = end;
        } else {
            code.push(bytes[at]);
            at += 1;
        }
    }
    (String::from_utf8_lossy(&code).into_owned(), texts, at.min(bytes.len()))
}

/// The sources and everything they import that the library has. What neither has, the compiler reports at its place.
pub(super) fn gather(
    mut sources: BTreeMap<String, String>,
    library: Option<&Path>,
) -> Result<BTreeMap<String, String>, Diagnostic> {
    limit(&sources)?;
    let Some(library) = library else { return Ok(sources) };
    let mut open: Vec<String> = sources.keys().cloned().collect();
    while let Some(file) = open.pop() {
        let imports: Vec<String> = statements(&sources[&file])
            .into_iter()
            .filter_map(|statement| match statement {
                Statement::Import(path) => Some(path),
                Statement::Pragma(_) => None,
            })
            .collect();
        for import in imports {
            let Some(path) = resolve(&file, &import).filter(|path| !sources.contains_key(path)) else { continue };
            let Some(text) = read(library, &path) else { continue };
            sources.insert(path.clone(), text);
            limit(&sources)?;
            open.push(path);
        }
    }
    Ok(sources)
}

fn limit(sources: &BTreeMap<String, String>) -> Result<(), Diagnostic> {
    let bytes: usize = sources.values().map(String::len).sum();
    if bytes > MAX_BYTES || sources.len() > MAX_SOURCES {
        return Err(Diagnostic::general(
            "too_large",
            format!("{} sources with {bytes} bytes; at most {MAX_SOURCES} and {MAX_BYTES}", sources.len()),
            "Leave out what this contract does not need.",
            "请去掉该合约不需要的文件。",
        ));
    }
    Ok(())
}

/// The path that an import means, as the compiler resolves it.
fn resolve(file: &str, import: &str) -> Option<String> {
    if !import.starts_with("./") && !import.starts_with("../") {
        return Some(import.to_owned());
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in import.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn read(library: &Path, path: &str) -> Option<String> {
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || path.contains(['\\', '\0']) || !path.ends_with(".sol") {
        return None;
    }
    let place = library.join(path);
    // A link that leads outside is not followed.
    let (real, root) = (place.canonicalize().ok()?, library.canonicalize().ok()?);
    if !real.starts_with(root) || real.metadata().ok()?.len() > MAX_BYTES as u64 {
        return None;
    }
    std::fs::read_to_string(real).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(source: &str) -> Vec<String> {
        let found = statements(source).into_iter();
        found.filter_map(|one| if let Statement::Import(path) = one { Some(path) } else { None }).collect()
    }

    #[test]
    fn pragmas_are_found_where_they_are_code() {
        let source = "// pragma solidity ^0.4.0;\n/* pragma solidity 1; */\npragma /* x */ solidity >=0.5.0\n  <0.9.0;\npragma experimental ABIEncoderV2;\n\
                      contract C { string s = \"pragma solidity 0.1.0;\"; }";
        let found = pragmas(source);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].range, ">=0.5.0 <0.9.0");
        assert!(source[found[0].offset..].starts_with("pragma /*"));
    }

    #[test]
    fn imports_of_every_form_are_found() {
        let source = "import \"./a.sol\"; import './b.sol' as b;\nimport * as c from \"@x/c.sol\"; import {d, e as f} from \"../d.sol\";\n\
                      // import \"no.sol\";\ncontract important { }";
        assert_eq!(imports(source), ["./a.sol", "./b.sol", "@x/c.sol", "../d.sol"]);
        assert!(imports("import").is_empty() && imports("import \"unclosed").len() <= 1);
    }

    #[test]
    fn relative_imports_follow_the_importing_file() {
        assert_eq!(resolve("contracts/a/B.sol", "./C.sol").unwrap(), "contracts/a/C.sol");
        assert_eq!(resolve("contracts/a/B.sol", "../C.sol").unwrap(), "contracts/C.sol");
        assert_eq!(resolve("B.sol", "@lib/C.sol").unwrap(), "@lib/C.sol");
        assert!(resolve("B.sol", "../../C.sol").is_none());
    }

    #[test]
    fn the_library_gives_what_is_inside_only() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("library");
        std::fs::create_dir_all(library.join("@x")).unwrap();
        std::fs::write(library.join("@x/a.sol"), "import \"./b.sol\";").unwrap();
        std::fs::write(library.join("@x/b.sol"), "contract B {}").unwrap();
        std::fs::write(folder.path().join("secret.sol"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret.sol"), library.join("link.sol")).unwrap();
        let main = "import \"@x/a.sol\"; import \"../secret.sol\"; import \"link.sol\"; import \"/etc/passwd\"; import \"nowhere.sol\";";
        let sources = BTreeMap::from([("main.sol".to_owned(), main.to_owned())]);
        let found = gather(sources, Some(&library)).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["@x/a.sol", "@x/b.sol", "main.sol"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in ".{0,200}") {
            let _ = statements(&text);
            let _ = statements(&format!("pragma solidity {text}; import {text} \"a"));
        }
    }
}
