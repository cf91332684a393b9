//! The INI dialect of upstream's files.

use std::path::{Path, PathBuf};

use super::ConfigError;

/// A parsed INI file that remembers where it came from, so that every complaint can name file, section and key.
#[derive(Clone, Debug)]
pub struct Ini {
    path: PathBuf,
    sections: Vec<(String, Vec<(String, String)>)>,
}

impl Ini {
    /// Parses text. Lines that begin with `;` or `#` are comments; a section or a key may stand only once.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let mut ini = Self { path: path.to_path_buf(), sections: Vec::new() };
        for (index, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = raw.trim();
            let wrong = |reason: String| ConfigError::Line { path: path.to_path_buf(), line: index + 1, reason };
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let Some(name) = rest.strip_suffix(']') else {
                    return Err(wrong(format!("{line:?} opens a section and does not close it; write [name]")));
                };
                let name = name.trim();
                if ini.section(name).is_some() {
                    return Err(wrong(format!("section [{name}] stands twice; join both parts")));
                }
                ini.sections.push((name.to_owned(), Vec::new()));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                return Err(wrong(format!(
                    "{line:?} is neither [section] nor key=value nor a comment; begin comments with ;"
                )));
            };
            let (key, value) = (key.trim(), value.trim());
            let Some((section, entries)) = ini.sections.last_mut() else {
                return Err(wrong(format!("key {key} stands before the first [section]")));
            };
            if key.is_empty() {
                return Err(wrong("the key before = is empty".to_owned()));
            }
            if entries.iter().any(|(other, _)| other == key) {
                return Err(wrong(format!("key {key} stands twice in section [{section}]; remove one of them")));
            }
            entries.push((key.to_owned(), value.to_owned()));
        }
        Ok(ini)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys of a section in file order; `None` without the section.
    pub fn section(&self, name: &str) -> Option<&[(String, String)]> {
        self.sections.iter().find(|(section, _)| section == name).map(|(_, entries)| entries.as_slice())
    }

    /// A value as written; `None` when the key is missing.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.section(section)?.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A complaint about a key.
    pub fn error(&self, section: &str, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Value { path: self.path.clone(), section: section.into(), key: key.into(), reason: reason.into() }
    }

    pub(crate) fn text(&self, section: &str, key: &str, default: &str) -> String {
        self.get(section, key).unwrap_or(default).to_owned()
    }

    pub(crate) fn flag(&self, section: &str, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(section, key) {
            None | Some("") => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(self.error(section, key, format!("{other:?} is not a switch; write true or false"))),
        }
    }

    /// A whole number within bounds, both included.
    pub(crate) fn number(
        &self,
        section: &str,
        key: &str,
        default: u64,
        low: u64,
        high: u64,
    ) -> Result<u64, ConfigError> {
        let Some(text) = self.get(section, key).filter(|text| !text.is_empty()) else { return Ok(default) };
        let value: u64 = text.parse().map_err(|_| {
            self.error(section, key, format!("{text:?} is not a whole number; write one from {low} to {high}"))
        })?;
        if (low..=high).contains(&value) {
            Ok(value)
        } else {
            Err(self.error(section, key, format!("{value} is out of range; write a number from {low} to {high}")))
        }
    }

    /// The values of `prefix0`, `prefix1`, … of a section, in file order, with their keys.
    pub(crate) fn numbered<'a>(&'a self, section: &str, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.section(section)
            .unwrap_or_default()
            .iter()
            .filter(move |(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Ini, ConfigError> {
        Ini::parse(text, Path::new("config.ini"))
    }

    #[test]
    fn values_keep_what_a_comment_would_start_with() {
        let ini = parse("; c\n[a]\n  x = 1;2 \n# d\n\n[b]\ny=\n").unwrap();
        assert_eq!(ini.get("a", "x"), Some("1;2"));
        assert_eq!(ini.get("b", "y"), Some(""));
        assert_eq!(ini.get("b", "x"), None);
    }

    #[test]
    fn every_complaint_names_the_place() {
        let text = |text: &str| parse(text).unwrap_err().to_string();
        assert!(text("[a]\nx\n").starts_with("config.ini line 2: \"x\" is neither"));
        assert!(text("x=1").contains("before the first [section]"));
        assert!(text("[a]\n[a]").contains("section [a] stands twice"));
        assert!(text("[a]\nx=1\nx=2").contains("key x stands twice in section [a]"));
        let ini = parse("[rpc]\nlisten_port=70000\nenable_ssl=yes").unwrap();
        assert_eq!(
            ini.number("rpc", "listen_port", 20200, 0, 65535).unwrap_err().to_string(),
            "config.ini, section [rpc], key listen_port: 70000 is out of range; write a number from 0 to 65535"
        );
        assert!(ini.flag("rpc", "enable_ssl", true).unwrap_err().to_string().contains("write true or false"));
    }
}
