//! Times: milliseconds since 1970 inside, RFC 3339 in UTC outside.

use std::time::{SystemTime, UNIX_EPOCH};

use konsort_pki::time::{civil_from_days, days_from_civil};

/// Now, milliseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A time as RFC 3339 in UTC with milliseconds: `2026-11-22T08:30:00.000Z`.
pub fn rfc3339(milliseconds: i64) -> String {
    let days = milliseconds.div_euclid(86_400_000);
    let of_day = milliseconds.rem_euclid(86_400_000);
    let (year, month, day) = civil_from_days(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3_600_000,
        of_day / 60_000 % 60,
        of_day / 1_000 % 60,
        of_day % 1_000
    )
}

/// Reads an RFC 3339 time, or a number of milliseconds since 1970.
pub fn parse(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() || bytes.len() > 40 {
        return None;
    }
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = text.get(from..to)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| bytes[at] != byte) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let days = days_from_civil(year, month, day);
    if !(1..=12).contains(&month)
        || civil_from_days(days) != (year, month, day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let mut rest = &text[19..];
    let mut fraction = 0;
    if let Some(after) = rest.strip_prefix('.') {
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        let shown: String = after.chars().take(length.min(3)).chain("000".chars()).take(3).collect();
        fraction = if length == 0 { return None } else { shown.parse().ok()? };
        rest = &after[length..];
    }
    let offset = match rest.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()) => {
            let number = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            let minutes = number(*h1, *h2) * 60 + number(*m1, *m2);
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    Some(((days * 24 + hour) * 60 + minute - offset) * 60_000 + second * 1_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_336_200_123), "2026-11-22T08:30:00.123Z");
        assert_eq!(parse("2026-11-22T08:30:00.123Z"), Some(1_795_336_200_123));
        assert_eq!(parse("2026-11-22T16:30:00.123456+08:00"), Some(1_795_336_200_123));
        assert_eq!(parse("1795336200123"), Some(1_795_336_200_123));
        for wrong in [
            "",
            "yesterday",
            "2026-13-22T08:30:00Z",
            "2026-02-30T08:30:00Z",
            "2026-11-22T08:30:00",
            "2026-11-22T08:30:00.Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
