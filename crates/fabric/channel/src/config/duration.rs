//! Durations as configuration files and configuration values write them: `300ms`, `1m30s`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time: {problem} \"{text}\"")]
pub struct DurationError {
    /// What is wrong, as upstream's language says it.
    pub problem: String,
    /// The text.
    pub text: String,
}

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads a duration; negative ones are given as zero, since no setting accepts them.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let error = |problem: &str| DurationError { problem: problem.to_owned(), text: text.to_owned() };
    let invalid = || error("invalid duration");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds = 0_u128;
    while !rest.is_empty() {
        let number_end =
            rest.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_end =
            after.find(|character: char| character.is_ascii_digit() || character == '.').unwrap_or(after.len());
        let (unit, remaining) = after.split_at(unit_end);
        if unit.is_empty() {
            return Err(error("missing unit in duration"));
        }
        let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(error(&format!("unknown unit \"{unit}\" in duration")));
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let fraction: f64 =
            if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().map_err(|_| invalid())? };
        nanoseconds += u128::from(whole) * (*scale as u128) + (fraction * scale) as u128;
        if nanoseconds > i64::MAX as u128 {
            return Err(invalid());
        }
        rest = remaining;
    }
    Ok(if negative { Duration::ZERO } else { Duration::from_nanos(nanoseconds as u64) })
}

fn with_fraction(nanoseconds: u64, unit: u64) -> String {
    let whole = nanoseconds / unit;
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", nanoseconds % unit);
    let fraction = fraction.trim_end_matches('0');
    if unit == 1 || fraction.is_empty() { whole.to_string() } else { format!("{whole}.{fraction}") }
}

/// Writes a duration as upstream's language does: `2s`, `1m30s`, `300ms`, `1.5s`.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}µs", with_fraction(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", with_fraction(nanoseconds, 1_000_000)),
        _ => {
            let minutes = nanoseconds / 60_000_000_000;
            let seconds = with_fraction(nanoseconds % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_upstream() {
        for (text, nanoseconds, printed) in [
            ("2s", 2_000_000_000, "2s"),
            ("300ms", 300_000_000, "300ms"),
            ("90s", 90_000_000_000, "1m30s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("1m.5s", 60_500_000_000, "1m0.5s"),
            ("10us", 10_000, "10µs"),
            ("0", 0, "0s"),
            ("-5s", 0, "0s"),
        ] {
            let parsed = parse_duration(text).unwrap();
            assert_eq!(parsed.as_nanos(), nanoseconds, "{text}");
            assert_eq!(format_duration(parsed), printed, "{text}");
        }
        for (text, problem) in [
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("s", "time: invalid duration \"s\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), problem);
        }
    }
}
