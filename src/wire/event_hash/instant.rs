//! Times as EPCIS writes them, in the proleptic Gregorian calendar, to and from milliseconds since 1970-01-01 UTC.
//!
//! Only RFC 3339 with `T`, seconds and an offset is read. Leap seconds are not.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "every operand is bounded: parsed fields by their count of digits, days by i64 milliseconds"
)]

use std::borrow::Cow;

const DAY_MS: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// `2026-11-22T10:15:30.123Z`: UTC with exactly three decimals. Years beyond 9999 get more digits.
pub(in crate::wire) fn utc_text(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(DAY_MS));
    let of_day = ms.rem_euclid(DAY_MS);
    let minutes = of_day.div_euclid(MINUTE_MS);
    let of_minute = of_day.rem_euclid(MINUTE_MS);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        minutes.div_euclid(60),
        minutes.rem_euclid(60),
        of_minute.div_euclid(1000),
        of_minute.rem_euclid(1000),
    )
}

/// The time in UTC with three decimals, rounded half to even as the reference does; a text that is no time stays as it is.
pub(super) fn normalized(text: &str) -> Cow<'_, str> {
    match parse_ms(text) {
        Some(ms) => Cow::Owned(utc_text(ms)),
        None => Cow::Borrowed(text),
    }
}

fn parse_ms(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once('T')?;
    let (year, month_day) = date.split_once('-')?;
    let (month, day) = month_day.split_once('-')?;
    let (year, month, day) = (digits(year, 4)?, digits(month, 2)?, digits(day, 2)?);
    let days = days_since_epoch(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let (clock, offset_minutes) = split_offset(clock)?;
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let (hour, minute_second) = seconds.split_once(':')?;
    let (minute, second) = minute_second.split_once(':')?;
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let minutes = hour * 60 + minute - offset_minutes;
    Some(days * DAY_MS + minutes * MINUTE_MS + second * 1000 + fraction_ms(fraction)?)
}

/// Splits `Z` or `±hh:mm` off the end.
fn split_offset(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let at = clock.rfind(['+', '-'])?;
    let (clock, offset) = clock.split_at_checked(at)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let minutes = digits(hours, 2)? * 60 + digits(minutes, 2)?;
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    Some((clock, sign * minutes))
}

/// Microseconds (digits beyond the sixth are cut) rounded to milliseconds, half to even; 999.5 ms carries.
fn fraction_ms(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let us = digits(&format!("{:0<6.6}", fraction), 6)?;
    let (ms, rest) = (us.div_euclid(1000), us.rem_euclid(1000));
    let up = rest > 500 || (rest == 500 && ms.rem_euclid(2) == 1);
    Some(ms + i64::from(up))
}

fn digits(text: &str, len: usize) -> Option<i64> {
    let plain = text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let day_of_year = ((month + 9).rem_euclid(12) * 153 + 2).div_euclid(5) + day - 1;
    let day_of_era = of_era * 365 + of_era.div_euclid(4) - of_era.div_euclid(100) + day_of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01; an era of 400 years has 146,097.
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day; the inverse of `days_since_epoch`.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let leap_days = of_era.div_euclid(1460) - of_era.div_euclid(36_524) + of_era.div_euclid(146_096);
    let year_of_era = (of_era - leap_days).div_euclid(365);
    let before = year_of_era * 365 + year_of_era.div_euclid(4) - year_of_era.div_euclid(100);
    let day_of_year = of_era - before;
    let from_march = (day_of_year * 5 + 2).div_euclid(153);
    let day = day_of_year - (from_march * 153 + 2).div_euclid(5) + 1;
    let month = (from_march + 2).rem_euclid(12) + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_with_three_decimals_whatever_its_notation() {
        for (given, expected) in [
            ("2020-03-04T11:00:30.000+01:00", "2020-03-04T10:00:30.000Z"),
            ("2019-10-21T14:58:56+02:00", "2019-10-21T12:58:56.000Z"),
            ("2024-02-29T23:30:00-05:30", "2024-03-01T05:00:00.000Z"),
            ("2023-02-02T11:04:03.1415Z", "2023-02-02T11:04:03.142Z"),
            ("2023-02-02T11:04:03.1425Z", "2023-02-02T11:04:03.142Z"),
            ("1999-12-31T23:59:59.9996Z", "2000-01-01T00:00:00.000Z"),
            ("2023-02-29T00:00:00Z", "2023-02-29T00:00:00Z"),
            ("yesterday", "yesterday"),
        ] {
            assert_eq!(normalized(given), expected);
        }
    }

    #[test]
    fn calendar_days_survive_the_round_trip() {
        for days in (-800_000..800_000).step_by(13) {
            let (year, month, day) = civil(days);
            assert_eq!(days_since_epoch(year, month, day), days);
        }
    }
}
