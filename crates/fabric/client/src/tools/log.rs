//! Log lines on standard error in upstream's default format; scripts grep for some of them.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Console;

const BLUE: &str = "34";
const YELLOW: &str = "33";
const RED: &str = "31";
const MAGENTA: &str = "35";

/// Numbers the lines of one run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: u32,
}

impl Log {
    pub(crate) fn info(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, BLUE, "INFO", logger, function, message);
    }

    pub(crate) fn warn(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, YELLOW, "WARN", logger, function, message);
    }

    pub(crate) fn error(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, RED, "ERRO", logger, function, message);
    }

    pub(crate) fn fatal(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, MAGENTA, "FATA", logger, function, message);
    }

    pub(crate) fn panic(&mut self, console: &mut Console<'_>, logger: &str, function: &str, message: &str) {
        self.line(console, MAGENTA, "PANI", logger, function, message);
    }

    fn line(
        &mut self,
        console: &mut Console<'_>,
        colour: &str,
        level: &str,
        logger: &str,
        function: &str,
        message: &str,
    ) {
        if !enabled(console, level, logger) {
            return;
        }
        self.lines += 1;
        let time = timestamp(SystemTime::now());
        let id = self.lines;
        console.err(&format!(
            "\x1b[{colour}m{time} {id:04x} {level}\x1b[0m [{logger}] \x1b[{colour};1m{function}\x1b[0m -> {message}\n"
        ));
    }
}

/// Whether FABRIC_LOGGING_SPEC (`logger,logger=level:default`) lets a line of this level through; the default is INFO.
fn enabled(console: &Console<'_>, level: &str, logger: &str) -> bool {
    let rank = |name: &str| match name.to_ascii_lowercase().as_str() {
        "debug" | "debu" => 0,
        "warning" | "warn" => 2,
        "error" | "erro" => 3,
        "dpanic" | "panic" | "pani" => 4,
        "fatal" | "fata" => 5,
        // INFO, and what is no level.
        _ => 1,
    };
    let spec = (console.env)("FABRIC_LOGGING_SPEC").unwrap_or_default();
    // The most specific logger name decides; without one the default does.
    let mut chosen = (0, rank("info"));
    for field in spec.split(':') {
        match field.split_once('=') {
            None if !field.is_empty() && chosen.0 == 0 => chosen.1 = rank(field),
            None => {}
            Some((loggers, wanted)) => {
                for name in loggers.split(',').filter(|name| !name.is_empty()) {
                    let covers = logger == name || logger.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                    if covers && name.len() > chosen.0 {
                        chosen = (name.len(), rank(wanted));
                    }
                }
            }
        }
    }
    rank(level) >= chosen.1
}

/// `2006-01-02 15:04:05.000 UTC`.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day, hour, minute, second) = civil(since.as_secs());
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03} UTC", since.subsec_millis())
}

/// Calendar fields of a Unix time (days-from-civil, inverted).
fn civil(seconds: u64) -> (u64, u64, u64, u64, u64, u64) {
    let days = seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let rest = seconds % 86_400;
    (year, month, day, rest / 3600, rest % 3600 / 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_utc_with_milliseconds() {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_334_475_443);
        assert_eq!(timestamp(at), "2026-11-22 08:01:15.443 UTC");
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(951_782_401)), "2000-02-29 00:00:01.000 UTC");
    }

    #[test]
    fn the_logging_specification_silences_lines() {
        let shown = |spec: &'static str, level: &str, logger: &str| {
            let env = move |name: &str| (name == "FABRIC_LOGGING_SPEC").then(|| spec.to_owned());
            let (mut stdin, mut stdout, mut stderr) = (std::io::empty(), Vec::new(), Vec::new());
            let console = Console { env: &env, stdin: &mut stdin, stdout: &mut stdout, stderr: &mut stderr };
            enabled(&console, level, logger)
        };
        assert!(shown("", "INFO", "cli.common"));
        assert!(!shown("ERROR", "INFO", "cli.common"));
        assert!(shown("error", "FATA", "main"));
        assert!(shown("ERROR:cli.common=info", "INFO", "cli.common"));
        assert!(!shown("info:chaincodeCmd,cli=error", "WARN", "cli.common"));
        assert!(shown("info:chaincodeCmd=error", "WARN", "cli.common"));
    }
}
