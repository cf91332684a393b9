//! Times as text, without a calendar library.

/// Year, month, day, hour, minute, second of an instant in UTC.
pub fn utc_fields(unix_seconds: i64) -> (i64, u32, u32, u32, u32, u32) {
    let (year, month, day) = konsort_pki::time::civil_from_days(unix_seconds.div_euclid(86_400));
    let rest = unix_seconds.rem_euclid(86_400);
    (year, month as u32, day as u32, (rest / 3600) as u32, (rest % 3600 / 60) as u32, (rest % 60) as u32)
}

/// An instant as RFC 3339 text with nanoseconds, as Go prints it.
pub fn rfc3339(unix_nanos: u64) -> String {
    let (year, month, day, hour, minute, second) = utc_fields((unix_nanos / 1_000_000_000) as i64);
    let nanos = unix_nanos % 1_000_000_000;
    let fraction = if nanos == 0 { String::new() } else { format!(".{nanos:09}").trim_end_matches('0').to_owned() };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_709_210_096_500_000_000), "2024-02-29T12:34:56.5Z");
        assert_eq!(utc_fields(-1), (1969, 12, 31, 23, 59, 59));
    }
}
