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
        self.lines += 1;
        let time = timestamp(SystemTime::now());
        let id = self.lines;
        console.err(&format!(
            "\x1b[{colour}m{time} {id:04x} {level}\x1b[0m [{logger}] \x1b[{colour};1m{function}\x1b[0m -> {message}\n"
        ));
    }
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
        assert_eq!(timestamp(UNIX_EPOCH + Duration::from_millis(951_782_400_000)), "2000-02-29 00:00:00.000 UTC");
    }
}
