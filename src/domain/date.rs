//! Dates as GS1 writes them: six digits on the pack (GenSpecs 3.4, 7.12), a full date everywhere else.
//!
//! Day 00 means that no day was given; read as a date it is the last day of the month.

use std::fmt;

use crate::domain::gs1::{Gs1Error, require_digits, shown};
use crate::domain::text::Text;

/// AI (17) as a full date. `day` 0 means that none was given, and stays 0 on the pack.
/// Ordered by year, month and day as given; compare [`Expiry::to_iso_date`] where day 0 has to count as the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry {
    year: u16,
    month: u8,
    day: u8,
}

impl Expiry {
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, Gs1Error> {
        let refusal = |what, position, allowed| Gs1Error::Range {
            what,
            value: format!("{year:04}-{month:02}-{day:02}"),
            position,
            allowed,
        };
        if !(1900..=9999).contains(&year) {
            return Err(refusal("year", 1, "1900 to 9999"));
        }
        let Some(last) = days_in_month(year, month) else {
            return Err(refusal("month", 6, "01 to 12"));
        };
        if day > last {
            return Err(refusal("day", 9, "a day of that month, or 00 where none is given"));
        }
        Ok(Self { year, month, day })
    }

    /// `2027-03-31`; `2027-03-00` and `2027-03` where no day is given.
    pub fn parse_iso(text: &str) -> Result<Self, Gs1Error> {
        let form = || Gs1Error::Form {
            what: "date",
            value: shown(text),
            position: 1,
            allowed: "YYYY-MM-DD, or YYYY-MM-00 or YYYY-MM where no day is given",
        };
        let mut parts = text.split('-');
        let (Some(year), Some(month), day, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(form());
        };
        let day = day.unwrap_or("00");
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return Err(form());
        }
        let number = |part: &str| decimal(part).ok_or_else(form);
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        Self::new(year, two_digits(month), two_digits(day))
    }

    /// Reads YYMMDD with the century window of GenSpecs 7.12, which moves with the current year.
    pub fn from_yymmdd(text: &str, current_year: u16) -> Result<Self, Gs1Error> {
        require_digits("date", text)?;
        let form = || Gs1Error::Length { what: "date", value: shown(text), allowed: "6 digits, YYMMDD" };
        if text.len() != 6 {
            return Err(form());
        }
        let part = |from, to| text.get(from..to).and_then(decimal).ok_or_else(form);
        let year = full_year(part(0, 2)?, current_year);
        Self::new(year, two_digits(part(2, 4)?), two_digits(part(4, 6)?))
    }

    /// As AI (17) carries it; compare packs by this text, byte by byte.
    pub fn to_yymmdd(self) -> Text<6> {
        let text = format!("{:02}{:02}{:02}", self.year % 100, self.month, self.day);
        Text::new(&text).unwrap_or_default()
    }

    /// As EPCIS and people read it: always a real day.
    pub fn to_iso_date(self) -> Text<10> {
        let day = match self.day {
            0 => days_in_month(self.year, self.month).unwrap_or(31),
            given => given,
        };
        let text = format!("{:04}-{:02}-{:02}", self.year, self.month, day);
        Text::new(&text).unwrap_or_default()
    }

    pub fn year(self) -> u16 {
        self.year
    }

    pub fn month(self) -> u8 {
        self.month
    }

    /// 0 where no day was given.
    pub fn day(self) -> u8 {
        self.day
    }
}

/// Year, month and day as given, so that day 00 stays visible and `parse_iso` gives back the same date.
impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// The number of days, or `None` where there is no such month.
pub(crate) fn days_in_month(year: u16, month: u8) -> Option<u8> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// 51 years or more ahead is the past century, 50 or more behind is the next one.
fn full_year(yy: u16, current_year: u16) -> u16 {
    let current = current_year % 100;
    let century = current_year.saturating_sub(current);
    let year = century.saturating_add(yy);
    if yy >= current.saturating_add(51) {
        year.saturating_sub(100)
    } else if current >= yy.saturating_add(50) {
        year.saturating_add(100)
    } else {
        year
    }
}

/// Digits only: `u16::from_str` alone would take a plus sign.
pub(crate) fn decimal(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Out of range stays out of range: 255 is no month and no day.
fn two_digits(number: u16) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expiry(text: &str) -> Expiry {
        Expiry::parse_iso(text).expect("a good date")
    }

    #[test]
    fn reads_and_writes_both_forms() {
        let date = expiry("2028-03-27");
        assert_eq!((date.year(), date.month(), date.day()), (2028, 3, 27));
        assert_eq!(date.to_yymmdd().as_str(), "280327");
        assert_eq!(date.to_iso_date().as_str(), "2028-03-27");
    }

    #[test]
    fn reads_an_absent_day_as_the_last_of_the_month() {
        for (text, pack, full) in [
            ("2027-03-00", "270300", "2027-03-31"),
            ("2027-04", "270400", "2027-04-30"),
            ("2027-02", "270200", "2027-02-28"),
            ("2028-02", "280200", "2028-02-29"),
        ] {
            assert_eq!(expiry(text).to_yymmdd().as_str(), pack);
            assert_eq!(expiry(text).to_iso_date().as_str(), full);
            assert_eq!(Expiry::from_yymmdd(pack, 2026), Ok(expiry(text)));
        }
    }

    #[test]
    fn moves_the_century_window_with_the_current_year() {
        for (yy, current, year) in [
            ("00", 2026, 2000),
            ("76", 2026, 2076),
            ("77", 2026, 1977),
            ("99", 2026, 1999),
            ("49", 2099, 2149),
            ("50", 2099, 2050),
            ("51", 2000, 1951),
            ("50", 2000, 2050),
        ] {
            let date = Expiry::from_yymmdd(&format!("{yy}0101"), current).expect("a good date");
            assert_eq!(date.year(), year, "{yy} read in {current}");
        }
    }

    #[test]
    fn refuses_days_that_never_were() {
        for text in ["2027-02-29", "2027-13-01", "2027-00-01", "2027-00", "2027-04-31", "2100-02-29", "0027-01-01"] {
            assert!(Expiry::parse_iso(text).is_err(), "{text}");
        }
        for text in ["010229", "271301", "270001", "27033", "2703311", "27033x", "2703é", ""] {
            assert!(Expiry::from_yymmdd(text, 2026).is_err(), "{text}");
        }
        assert!(Expiry::from_yymmdd("000229", 2026).is_ok(), "2000 was a leap year");
    }

    #[test]
    fn refuses_other_ways_to_write_a_date() {
        for text in
            ["", "2027", "27-03-31", "2027/03/31", "2027-3-31", "2027-03-31 ", "+027-03-31", "2027-03-31-", "2027-+3"]
        {
            assert!(Expiry::parse_iso(text).is_err(), "{text}");
        }
        let message = Expiry::parse_iso("2027-02-30").expect_err("no such day").to_string();
        assert_eq!(
            message,
            "day is out of range in \"2027-02-30\" at position 9; allowed: a day of that month, or 00 where none is given"
        );
    }

    proptest! {
        #[test]
        fn round_trips(year in 1977_u16..=2076, month in 1_u8..=12, day in 0_u8..=28) {
            let date = Expiry::new(year, month, day).expect("a good date");
            prop_assert_eq!(Expiry::parse_iso(&date.to_string()), Ok(date));
            prop_assert_eq!(Expiry::from_yymmdd(date.to_yymmdd().as_str(), 2026), Ok(date));
        }

        #[test]
        fn never_panics_on_any_text(text in any::<String>(), year in any::<u16>()) {
            let _ = (Expiry::parse_iso(&text), Expiry::from_yymmdd(&text, year), Expiry::from_yymmdd("990101", year));
        }
    }
}
