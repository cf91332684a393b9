//! Times of certificates as seconds since 1970 (UTC), without leap seconds.

use konsort_crypto::der::{DerError, Element, Writer, tag};

/// Days from 1970-01-01 of a date of the Gregorian calendar.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March, so that the leap day is the last of its year.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `2026-01-31T23:59:59Z`.
pub fn rfc3339(seconds: i64) -> String {
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Reads a `UTCTime` or `GeneralizedTime`.
pub(crate) fn parse(element: &Element<'_>) -> Result<i64, DerError> {
    let invalid = DerError::Value("time");
    let text = std::str::from_utf8(element.contents).map_err(|_| invalid)?;
    let (year_digits, base) = match element.tag {
        tag::UTC_TIME => (2, None),
        tag::GENERALIZED_TIME => (4, Some(0)),
        _ => return Err(invalid),
    };
    let (digits, seconds_given, offset) = split_zone(text, year_digits).ok_or(invalid)?;
    let mut rest = digits;
    let mut take = |count: usize| -> Result<i64, DerError> {
        let (head, tail) = rest.split_at_checked(count).ok_or(invalid)?;
        rest = tail;
        if !head.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(invalid);
        }
        head.parse().map_err(|_| invalid)
    };
    let mut year = take(year_digits)?;
    if base.is_none() {
        year += if year >= 50 { 1900 } else { 2000 };
    }
    let (month, day, hour, minute) = (take(2)?, take(2)?, take(2)?, take(2)?);
    let second = if seconds_given { take(2)? } else { 0 };
    let days = days_from_civil(year, month, day);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 || civil_from_days(days).2 != day {
        return Err(invalid);
    }
    Ok(days * 86_400 + hour * 3_600 + minute * 60 + second - offset)
}

/// Digits, whether seconds are among them, and the zone's offset in seconds. Go accepts a `UTCTime` without seconds and
/// with a numeric zone; a `GeneralizedTime` must have seconds.
fn split_zone(text: &str, year_digits: usize) -> Option<(&str, bool, i64)> {
    let (digits, zone) = match text.find(['Z', '+', '-']) {
        Some(at) => text.split_at(at),
        None => return None,
    };
    let seconds_given = match digits.len().checked_sub(year_digits)? {
        10 => true,
        8 if year_digits == 2 => false,
        _ => return None,
    };
    if zone == "Z" {
        return Some((digits, seconds_given, 0));
    }
    let (sign, number) = zone.split_at_checked(1)?;
    if number.len() != 4 || !number.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    let number: i64 = number.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 24 || minutes > 59 || number == 0 {
        return None;
    }
    let offset = hours * 3_600 + minutes * 60;
    Some((digits, seconds_given, if sign == "-" { -offset } else { offset }))
}

/// Writes a time as certificates do: `UTCTime` from 1950 to 2049, else `GeneralizedTime`.
pub(crate) fn write(writer: &mut Writer, seconds: i64) {
    let text: String = rfc3339(seconds).chars().filter(char::is_ascii_digit).collect();
    let (year, _, _) = civil_from_days(seconds.div_euclid(86_400));
    if (1950..2050).contains(&year) {
        writer.element(tag::UTC_TIME, format!("{}Z", &text[2..]).as_bytes());
    } else {
        writer.element(tag::GENERALIZED_TIME, format!("{text}Z").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use konsort_crypto::der::Reader;
    use proptest::prelude::*;

    fn read(tag: u8, text: &str) -> Result<i64, DerError> {
        parse(&Element { tag, contents: text.as_bytes(), encoding: &[] })
    }

    #[test]
    fn both_forms_and_zones() {
        assert_eq!(read(tag::UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(read(tag::UTC_TIME, "7001010000Z"), Ok(0));
        assert_eq!(read(tag::UTC_TIME, "700101010000+0100"), Ok(0));
        assert_eq!(read(tag::GENERALIZED_TIME, "20501231235959Z"), Ok(2_556_143_999));
        assert_eq!(rfc3339(2_556_143_999), "2050-12-31T23:59:59Z");
        for bad in ["", "Z", "700230000000Z", "701301000000Z", "700101240000Z", "700101000000", "7x0101000000Z"] {
            assert!(read(tag::UTC_TIME, bad).is_err(), "{bad}");
        }
        assert!(read(tag::GENERALIZED_TIME, "205012312359Z").is_err());
    }

    proptest! {
        #[test]
        fn written_times_read_back(seconds in -600_000_000_000_i64..250_000_000_000) {
            prop_assume!(seconds >= -62_135_596_800); // year 1
            let mut writer = Writer::new();
            write(&mut writer, seconds);
            let bytes = writer.into_bytes();
            prop_assert_eq!(parse(&Reader::new(&bytes).any().unwrap()), Ok(seconds));
        }
    }
}
