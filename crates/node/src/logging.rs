//! Logging: upstream's line format and logging specification over `tracing`.
//!
//! A module's name is its Rust path with dots and without the crate's engine prefix (`fabric_peer::gateway` is
//! `peer.gateway`); a specification such as `peer.gateway=debug:grpc,raft=warning:info` names modules or their parents.

mod files;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

pub use files::{LogFiles, can_write};

use crate::{Clock as _, Environment, SystemClock, utc_fields};

/// A logging specification that cannot be understood; the texts are upstream's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SpecError {
    /// A part between colons has the wrong form.
    #[error("invalid logging specification '{spec}': bad segment '{segment}'")]
    Segment {
        /// The whole specification.
        spec: String,
        /// The part.
        segment: String,
    },
    /// A part gives a level to nobody.
    #[error("invalid logging specification '{spec}': no logger specified in segment '{segment}'")]
    NoLogger {
        /// The whole specification.
        spec: String,
        /// The part.
        segment: String,
    },
}

/// Which modules log at which level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    default: Threshold,
    modules: BTreeMap<String, Threshold>,
}

/// A level or nothing at all (upstream's levels above error: this crate's nodes log nothing there).
type Threshold = Option<Level>;

impl Default for Spec {
    fn default() -> Self {
        Self { default: Some(Level::INFO), modules: BTreeMap::new() }
    }
}

fn level_of(name: &str) -> Option<Threshold> {
    Some(match name.to_ascii_lowercase().as_str() {
        "payload" | "trace" => Some(Level::TRACE),
        "debug" => Some(Level::DEBUG),
        "info" | "notice" => Some(Level::INFO),
        "warning" | "warn" => Some(Level::WARN),
        "error" | "critical" => Some(Level::ERROR),
        "dpanic" | "panic" | "fatal" => None,
        _ => return None,
    })
}

fn name_of(level: Threshold) -> &'static str {
    match level {
        Some(Level::TRACE) => "payload",
        Some(Level::DEBUG) => "debug",
        Some(Level::INFO) => "info",
        Some(Level::WARN) => "warn",
        Some(Level::ERROR) => "error",
        None => "fatal",
    }
}

impl std::str::FromStr for Spec {
    type Err = SpecError;

    fn from_str(spec: &str) -> Result<Self, SpecError> {
        let mut parsed = Self::default();
        for segment in spec.split(':') {
            let bad = || SpecError::Segment { spec: spec.to_owned(), segment: segment.to_owned() };
            match segment.split('=').collect::<Vec<_>>()[..] {
                [""] => {}
                [level] => parsed.default = level_of(level).ok_or_else(bad)?,
                ["", _] => {
                    return Err(SpecError::NoLogger { spec: spec.to_owned(), segment: segment.to_owned() });
                }
                [modules, level] => {
                    let level = level_of(level).ok_or_else(bad)?;
                    for module in modules.split(',') {
                        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '#' | ':' | '-');
                        let plain = module.trim_end_matches('.');
                        if plain.is_empty() || !plain.chars().all(valid) {
                            return Err(bad());
                        }
                        parsed.modules.insert(module.to_owned(), level);
                    }
                }
                _ => return Err(bad()),
            }
        }
        Ok(parsed)
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (module, level) in &self.modules {
            write!(f, "{module}={}:", name_of(*level))?;
        }
        f.write_str(name_of(self.default))
    }
}

impl Spec {
    fn threshold(&self, module: &str) -> Threshold {
        let mut name = module;
        loop {
            if let Some(level) = self.modules.get(name) {
                return *level;
            }
            match name.rfind('.') {
                Some(dot) => name = &name[..dot],
                None => return self.default,
            }
        }
    }

    fn enables(&self, metadata: &Metadata<'_>) -> bool {
        self.threshold(&module_name(metadata.target())).is_some_and(|threshold| *metadata.level() <= threshold)
    }
}

fn module_name(target: &str) -> String {
    let target = target.strip_prefix("fabric_").or_else(|| target.strip_prefix("konsort_")).unwrap_or(target);
    target.replace("::", ".")
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Upstream's console line; in colour when a terminal reads it.
    Console,
    /// One JSON object per line.
    Json,
}

/// The running log: its specification can be read and changed.
#[derive(Clone, Debug)]
pub struct LogHandle {
    spec: Arc<RwLock<Spec>>,
}

impl LogHandle {
    /// The active specification.
    pub fn spec(&self) -> String {
        self.spec.read().to_string()
    }

    /// Takes another specification at once.
    pub fn activate(&self, spec: &str) -> Result<(), SpecError> {
        *self.spec.write() = spec.parse()?;
        tracing::callsite::rebuild_interest_cache();
        Ok(())
    }

    /// A handle that steers nothing, for tests of what uses one.
    pub fn detached() -> Self {
        Self { spec: Arc::default() }
    }
}

/// Entries written so far, from error to trace. A process has one log.
static WRITTEN: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];

/// The levels by name with the number of entries written at each.
pub(crate) fn written() -> [(&'static str, u64); 5] {
    let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
    levels.map(|level| (name_of(Some(level)), WRITTEN[place_of(level)].load(Ordering::Relaxed)))
}

fn place_of(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

static HANDLE: OnceLock<LogHandle> = OnceLock::new();

/// Starts logging to standard error as `FABRIC_LOGGING_SPEC` and `FABRIC_LOGGING_FORMAT` (`json`, else console) say.
///
/// A process has one log: a later call returns the first one's handle.
pub fn init(environment: &Environment) -> Result<LogHandle, SpecError> {
    let format = if environment.get("FABRIC_LOGGING_FORMAT") == Some("json") { Format::Json } else { Format::Console };
    init_with(environment.get("FABRIC_LOGGING_SPEC").unwrap_or_default(), format)
}

/// Starts logging with a given specification and format.
pub fn init_with(spec: &str, format: Format) -> Result<LogHandle, SpecError> {
    init_with_files(spec, format, None)
}

/// Starts logging to standard error and, if wanted, to files, too.
pub fn init_with_files(spec: &str, format: Format, files: Option<LogFiles>) -> Result<LogHandle, SpecError> {
    let parsed: Spec = spec.parse()?;
    Ok(HANDLE
        .get_or_init(|| {
            let handle = LogHandle { spec: Arc::new(RwLock::new(parsed)) };
            let colour = std::io::stderr().is_terminal();
            let files = files.map(|files| Mutex::new(files::Writer::new(files)));
            let lines = Lines { spec: Arc::clone(&handle.spec), format, colour, files, next: AtomicU64::new(1) };
            // Another subscriber may be there already (a test's); then that one keeps the log.
            let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
            handle
        })
        .clone())
}

struct Lines {
    spec: Arc<RwLock<Spec>>,
    format: Format,
    colour: bool,
    files: Option<Mutex<files::Writer>>,
    next: AtomicU64,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.spec.read().enables(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.spec.read().enables(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        WRITTEN[place_of(*event.metadata().level())].fetch_add(1, Ordering::Relaxed);
        let now = SystemClock.unix_nanos();
        let line = self.line(now, number, event, self.colour);
        // A log nobody can read must not stop the node.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        if let Some(files) = &self.files {
            let plain = if self.colour { self.line(now, number, event, false) } else { line };
            files.lock().write(now / 1_000_000_000, &plain);
        }
    }
}

impl Lines {
    fn line(&self, unix_nanos: u64, number: u64, event: &Event<'_>, colour: bool) -> String {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let module = module_name(event.metadata().target());
        match self.format {
            Format::Json => {
                let mut object = serde_json::Map::new();
                object.insert("level".into(), name_of(Some(level)).into());
                object.insert("ts".into(), crate::rfc3339(unix_nanos).into());
                object.insert("name".into(), module.into());
                object.insert("msg".into(), fields.message.into());
                for (name, value) in fields.others {
                    object.insert(name.to_owned(), value.into());
                }
                format!("{}\n", serde_json::Value::Object(object))
            }
            Format::Console => console(unix_nanos, number, level, &module, &fields, colour),
        }
    }
}

fn console(unix_nanos: u64, number: u64, level: Level, module: &str, fields: &Fields, coloured: bool) -> String {
    let (year, month, day, hour, minute, second) = utc_fields((unix_nanos / 1_000_000_000) as i64);
    let millis = unix_nanos / 1_000_000 % 1000;
    let (name, colour) = match level {
        Level::ERROR => ("ERRO", "31"),
        Level::WARN => ("WARN", "33"),
        Level::INFO => ("INFO", "34"),
        Level::DEBUG => ("DEBU", "36"),
        Level::TRACE => ("PAYL", "35"),
    };
    let (on, off) = if coloured { (format!("\x1b[{colour}m"), "\x1b[0m") } else { (String::new(), "") };
    let mut line = format!(
        "{on}{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} UTC {number:04x} \
         {name}{off} [{module}] -> {}",
        fields.message
    );
    for (field, value) in &fields.others {
        let _ = write!(line, " {field}={value}");
    }
    line.push('\n');
    line
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.others.push((field.name(), value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_as_upstream_writes_them() {
        let spec: Spec = "peer.gateway=debug:grpc,raft=warning:error".parse().unwrap();
        assert_eq!(spec.to_string(), "grpc=warn:peer.gateway=debug:raft=warn:error");
        assert_eq!(spec.threshold("peer.gateway.events"), Some(Level::DEBUG));
        assert_eq!(spec.threshold("peer"), Some(Level::ERROR));
        assert_eq!("".parse::<Spec>().unwrap().to_string(), "info");
        assert_eq!("fatal".parse::<Spec>().unwrap().threshold("x"), None);
    }

    #[test]
    fn bad_specifications_are_named() {
        for (spec, text) in [
            ("what", "invalid logging specification 'what': bad segment 'what'"),
            ("a=b=c", "invalid logging specification 'a=b=c': bad segment 'a=b=c'"),
            ("=info", "invalid logging specification '=info': no logger specified in segment '=info'"),
        ] {
            assert_eq!(spec.parse::<Spec>().unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn console_line() {
        let fields = Fields { message: "Starting peer".into(), others: vec![("channel", "ch".into())] };
        assert_eq!(
            console(1_709_210_096_500_000_000, 26, Level::INFO, &module_name("fabric_peer::server"), &fields, false),
            "2024-02-29 12:34:56.500 UTC 001a INFO [peer.server] -> Starting peer channel=ch\n"
        );
    }
}
