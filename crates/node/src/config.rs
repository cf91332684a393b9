//! Configuration as upstream's nodes read it: a YAML file, with every key open to an environment variable.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_yaml_ng::Value;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {path}: {source}; set FABRIC_CFG_PATH to the folder that holds it")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("the configuration file {path} is not valid YAML: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's reason, with line and column.
        source: serde_yaml_ng::Error,
    },
    /// A value does not have the form its key wants.
    #[error("configuration key {key} is {value:?}, but {wanted} is expected (from {origin})")]
    Value {
        /// The dotted key.
        key: String,
        /// What was found.
        value: String,
        /// What would be right.
        wanted: String,
        /// The file or environment variable it came from.
        origin: String,
    },
    /// A key that must be there is missing.
    #[error("configuration key {key} is not set in {path}, nor by the variable {variable}")]
    Missing {
        /// The dotted key.
        key: String,
        /// The file.
        path: PathBuf,
        /// The environment variable that would set it.
        variable: String,
    },
}

/// A copy of the environment, so that nothing but this crate reads the real one.
#[derive(Clone, Debug, Default)]
pub struct Environment(Arc<HashMap<String, String>>);

impl Environment {
    /// What every program that is started for somebody may see of the environment.
    pub const COMMON: [&str; 5] = ["LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"];
    /// What build tools may see besides: how to reach their registries, and which of their versions to use.
    pub const BUILDING: [&str; 20] = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "GOPROXY",
        "GOSUMDB",
        "GONOSUMDB",
        "GONOSUMCHECK",
        "GOPRIVATE",
        "GOINSECURE",
        "GOFLAGS",
        "GOTOOLCHAIN",
        "GOROOT",
        "NODE_EXTRA_CA_CERTS",
        "NPM_CONFIG_REGISTRY",
        "npm_config_registry",
        "CARGO_HTTP_CAINFO",
        "RUSTUP_TOOLCHAIN",
    ];

    /// The process's own environment; values that are not UTF-8 are left out.
    pub fn process() -> Self {
        Self(Arc::new(
            std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        ))
    }

    /// A made-up environment.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(Arc::new(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect()))
    }

    /// One variable; an empty one counts as unset, as upstream treats it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// One node's configuration: case-insensitive dotted keys over a YAML file, each overridden by
/// `PREFIX_A_B_C` from the environment.
#[derive(Clone, Debug)]
pub struct Config {
    tree: Value,
    file: PathBuf,
    prefix: String,
    environment: Environment,
}

impl Config {
    /// Reads a file. `path` is the file itself or the folder that holds `file_name` (`core.yaml`).
    pub fn load(path: impl AsRef<Path>, file_name: &str, prefix: &str) -> Result<Self, ConfigError> {
        Self::load_with(path, file_name, prefix, &Environment::process())
    }

    /// As [`Config::load`] with a given environment.
    pub fn load_with(
        path: impl AsRef<Path>,
        file_name: &str,
        prefix: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let file = if path.is_dir() { path.join(file_name) } else { path.to_path_buf() };
        let text = std::fs::read_to_string(&file).map_err(|source| ConfigError::Read { path: file.clone(), source })?;
        // Relative keys must not change their meaning when the process changes its folder.
        let file = std::path::absolute(&file).unwrap_or(file);
        Self::from_yaml(&text, file, prefix, environment)
    }

    /// Looks for the file where upstream does: the folder in `FABRIC_CFG_PATH`, else the current folder, else
    /// `/etc/hyperledger/fabric`.
    pub fn find(file_name: &str, prefix: &str, environment: &Environment) -> Result<Self, ConfigError> {
        if let Some(folder) = environment.get("FABRIC_CFG_PATH") {
            return Self::load_with(Path::new(folder).join(file_name), file_name, prefix, environment);
        }
        let folder =
            ["./", "/etc/hyperledger/fabric"].into_iter().find(|folder| Path::new(folder).join(file_name).is_file());
        Self::load_with(Path::new(folder.unwrap_or("./")).join(file_name), file_name, prefix, environment)
    }

    /// Takes the text of a file; `file` is where relative path keys start from.
    pub fn from_yaml(
        text: &str,
        file: impl Into<PathBuf>,
        prefix: &str,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let file = file.into();
        let mut tree: Value =
            serde_yaml_ng::from_str(text).map_err(|source| ConfigError::Syntax { path: file.clone(), source })?;
        tree.apply_merge().map_err(|source| ConfigError::Syntax { path: file.clone(), source })?;
        Ok(Self { tree: lower(tree), file, prefix: prefix.to_uppercase(), environment: environment.clone() })
    }

    /// The file this came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The environment it is layered with.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The environment variable that overrides a key.
    pub fn variable(&self, key: &str) -> String {
        format!("{}_{}", self.prefix, key.replace('.', "_").to_uppercase())
    }

    /// Whether the key has a value that is not empty.
    pub fn is_set(&self, key: &str) -> bool {
        self.scalar(key).is_some_and(|value| !value.is_empty())
            || self.in_file(key).is_some_and(|value| matches!(value, Value::Mapping(_) | Value::Sequence(_)))
    }

    fn in_file(&self, key: &str) -> Option<&Value> {
        key.to_lowercase().split('.').try_fold(&self.tree, |node, part| node.get(part)).filter(|value| !value.is_null())
    }

    fn scalar(&self, key: &str) -> Option<String> {
        if let Some(value) = self.environment.get(&self.variable(key)) {
            return Some(value.to_owned());
        }
        match self.in_file(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn wrong(&self, key: &str, value: impl Into<String>, wanted: &str) -> ConfigError {
        let variable = self.variable(key);
        let origin = if self.environment.get(&variable).is_some() { variable } else { self.file.display().to_string() };
        ConfigError::Value { key: key.to_owned(), value: value.into(), wanted: wanted.to_owned(), origin }
    }

    /// Text, empty when unset.
    pub fn string(&self, key: &str) -> String {
        self.scalar(key).unwrap_or_default()
    }

    /// Text that must be there.
    pub fn required(&self, key: &str) -> Result<String, ConfigError> {
        self.scalar(key).filter(|value| !value.is_empty()).ok_or_else(|| ConfigError::Missing {
            key: key.to_owned(),
            path: self.file.clone(),
            variable: self.variable(key),
        })
    }

    /// True or false; unset is `None`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(text) = self.scalar(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        match text.to_lowercase().as_str() {
            "true" | "1" | "t" | "yes" | "on" => Ok(Some(true)),
            "false" | "0" | "f" | "no" | "off" => Ok(Some(false)),
            _ => Err(self.wrong(key, text, "true or false")),
        }
    }

    /// A whole number; unset is `None`.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        let Some(text) = self.scalar(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.trim().parse().map(Some).map_err(|_| self.wrong(key, text, "a whole number"))
    }

    /// A time span such as `10s`, `1h30m`, `300ms`; a bare number counts nanoseconds, as in Go.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = self.scalar(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        match parse_duration(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(key, text, "a time span such as 10s, 500ms or 1h")),
        }
    }

    /// A size in bytes such as `10 MB` or `512 KB` (powers of 1024), or a bare number.
    pub fn size(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(text) = self.scalar(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        match parse_size(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.wrong(key, text, "a size such as 10 MB or 512 KB")),
        }
    }

    /// A path; a relative one starts at the configuration file's folder.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.scalar(key).filter(|text| !text.is_empty()).map(|text| self.resolve(&text))
    }

    /// A list of paths.
    pub fn paths(&self, key: &str) -> Vec<PathBuf> {
        self.list(key).iter().map(|text| self.resolve(text)).collect()
    }

    /// A path as a key would mean it.
    pub fn resolve(&self, path: &str) -> PathBuf {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        if Path::new(path).is_absolute() { PathBuf::from(path) } else { folder.join(path) }
    }

    /// A list of texts. From the environment it may be written `[a, b]`, `a,b` or `a b`; a single text is a list of one.
    pub fn list(&self, key: &str) -> Vec<String> {
        if let Some(text) = self.environment.get(&self.variable(key)) {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            return inner
                .split([',', ' ', '\n'])
                .map(|item| item.trim().trim_matches('"'))
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect();
        }
        match self.in_file(key) {
            Some(Value::Sequence(items)) => items.iter().filter_map(text_of).collect(),
            Some(value) => text_of(value)
                .into_iter()
                .flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
                .collect(),
            None => Vec::new(),
        }
    }

    /// The names below a key, in the file's order; names are lower case.
    pub fn children(&self, key: &str) -> Vec<String> {
        match self.in_file(key) {
            Some(Value::Mapping(map)) => map.keys().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    }

    /// A whole subtree as a typed value (field names in lower case); the environment may give it as YAML text.
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let tree = match self.environment.get(&self.variable(key)) {
            Some(text) => {
                lower(serde_yaml_ng::from_str(text).map_err(|error| self.wrong(key, text, &format!("YAML ({error})")))?)
            }
            None => match self.in_file(key) {
                Some(value) => value.clone(),
                None => return Ok(None),
            },
        };
        serde_yaml_ng::from_value(tree)
            .map(Some)
            .map_err(|error| self.wrong(key, "", &format!("another shape ({error})")))
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn lower(value: Value) -> Value {
    match value {
        Value::Mapping(map) => Value::Mapping(
            map.into_iter()
                .map(|(key, value)| {
                    let key = match &key {
                        Value::String(text) => Value::String(text.to_lowercase()),
                        other => text_of(other).map_or(key.clone(), Value::String),
                    };
                    (key, lower(value))
                })
                .collect(),
        ),
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(lower).collect()),
        Value::Tagged(tagged) => lower(tagged.value),
        other => other,
    }
}

/// Reads a time span in Go's notation; `None` when it is not one. Negative spans are not accepted.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return rest.parse().ok().map(Duration::from_nanos);
    }
    let mut total = 0f64;
    let mut seen = false;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let nanos = match &rest[..unit_length] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * nanos;
        rest = &rest[unit_length..];
        seen = true;
    }
    (seen && total.is_finite() && total < 9.2e18).then(|| Duration::from_nanos(total.round() as u64))
}

/// Reads a size with an optional unit (K, M, G, T with or without B; powers of 1024).
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..split].parse().ok()?;
    let unit = text[split..].trim().to_lowercase();
    let shift = match unit.trim_end_matches('b') {
        "" if unit.len() < 2 => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
General:
  ListenPort: 7050
  TLS: {Enabled: true, PrivateKey: tls/server.key}
  Roots: [a.pem, /b.pem]
  Size: 10 MB
  Empty:
Peer:
  builders:
    - name: one
      path: /x
";

    fn config(environment: &[(&str, &str)]) -> Config {
        Config::from_yaml(
            YAML,
            "/etc/node/orderer.yaml",
            "ORDERER",
            &Environment::from_pairs(environment.iter().copied()),
        )
        .unwrap()
    }

    #[test]
    fn keys_ignore_case_and_environment_wins() {
        let plain = config(&[]);
        assert_eq!(plain.integer("general.listenport").unwrap(), Some(7050));
        assert_eq!(plain.bool("General.TLS.Enabled").unwrap(), Some(true));
        assert!(!plain.is_set("General.Empty"));
        let layered = config(&[("ORDERER_GENERAL_LISTENPORT", "8050"), ("ORDERER_GENERAL_TLS_ENABLED", "")]);
        assert_eq!(layered.integer("General.ListenPort").unwrap(), Some(8050));
        assert_eq!(layered.bool("General.TLS.Enabled").unwrap(), Some(true));
    }

    #[test]
    fn paths_start_at_the_file() {
        let config = config(&[("ORDERER_GENERAL_ROOTS", "[x.pem, /y.pem]")]);
        assert_eq!(config.path("General.TLS.PrivateKey").unwrap(), Path::new("/etc/node/tls/server.key"));
        assert_eq!(config.paths("General.Roots"), [PathBuf::from("/etc/node/x.pem"), PathBuf::from("/y.pem")]);
    }

    #[test]
    fn errors_name_key_value_and_origin() {
        let error = config(&[("ORDERER_GENERAL_SIZE", "ten")]).size("General.Size").unwrap_err();
        assert_eq!(
            error.to_string(),
            "configuration key General.Size is \"ten\", but a size such as 10 MB or 512 KB is expected (from ORDERER_GENERAL_SIZE)"
        );
        let error = config(&[]).required("General.Empty").unwrap_err();
        assert!(error.to_string().contains("ORDERER_GENERAL_EMPTY"));
    }

    #[test]
    fn typed_subtrees() {
        #[derive(serde::Deserialize)]
        struct Builder {
            name: String,
            path: String,
        }
        let builders: Vec<Builder> = config(&[]).value("peer.Builders").unwrap().unwrap();
        assert_eq!((builders[0].name.as_str(), builders[0].path.as_str()), ("one", "/x"));
    }

    #[test]
    fn go_time_spans_and_sizes() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(parse_duration("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse_duration("250"), Some(Duration::from_nanos(250)));
        for bad in ["", "s", "1x", "-1s", "1s2", "1e400h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(parse_size("10 MB"), Some(10 << 20));
        assert_eq!(parse_size("512k"), Some(512 << 10));
        assert_eq!(parse_size("7"), Some(7));
        for bad in ["", "MB", "1 bb", "1 XB", "99999999999 PB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
