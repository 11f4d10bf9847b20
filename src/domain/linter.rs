//! The content rules of AI components, by the names that GS1's syntax dictionary gives them.
//!
//! Rules that need a foreign code list (ISO 3166, ISO 4217, IBAN countries, package types, North American coupons) or the table of
//! issued company prefixes are known by name and pass: such values come from master data, and are compared byte by byte
//! with what was printed. Length and character set are checked for them all the same.

use crate::domain::charset::Charset;
use crate::domain::date::days_in_month;
use crate::domain::gs1::check_digit;

macro_rules! linters {
    ($($name:ident),+ $(,)?) => {
        /// A content rule; the dictionary writes the name in lower case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Linter { $($name),+ }

        impl Linter {
            pub const ALL: &'static [Linter] = &[$(Linter::$name),+];
        }
    };
}

linters! {
    Couponcode, Couponposoffer, Csum, Csumalpha, Gcppos1, Gcppos2, Hasnondigit, Hh, Hhmi, Hyphen, Iban, Importeridx, Iso3166,
    Iso3166999, Iso3166alpha2, Iso4217, Iso5218, Latitude, Longitude, Mediatype, Mi, Nonzero, Nozeroprefix, Packagetype, Pcenc,
    Pieceoftotal, Posinseqslash, Ss, Winding, Yesno, Yymmd0, Yymmdd, Yyyymmdd, Zero,
}

macro_rules! findings {
    ($($name:ident $message:literal),+ $(,)?) => {
        /// What is wrong with the content of a component, named as in the reference implementation of GS1.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Finding { $($name),+ }

        impl Finding {
            /// Says what is wrong and what is allowed.
            pub fn message(self) -> &'static str {
                match self { $(Finding::$name => $message),+ }
            }
        }
    };
}

findings! {
    NonDigitCharacter "not a digit; allowed: digits only",
    InvalidCset82Character
        "not allowed here; allowed: A-Z a-z 0-9 and ! \" % & ' ( ) * + , - . / : ; < = > ? _ (GS1 CSET 82)",
    InvalidCset39Character "not allowed here; allowed: A-Z 0-9 and # - / (GS1 CSET 39)",
    InvalidCset64Character "not allowed here; allowed: A-Z a-z 0-9 - _ and = at the end (GS1 CSET 64)",
    TooShortForCheckDigit "too short to hold a check digit",
    IncorrectCheckDigit "the check digit does not fit the other digits",
    TooShortForCheckPair "too short to hold a check character pair",
    TooLongForCheckPairImplementation "too long for a check character pair; allowed: 99 characters",
    IncorrectCheckPair "the check character pair does not fit the other characters",
    TooShortForGcp "too short to begin with a GS1 company prefix; the shortest has 4 digits",
    InvalidGcpPrefix "does not begin with a GS1 company prefix; allowed: digits",
    DateTooShort "too short for a date; allowed: YYMMDD, or YYYYMMDD where the AI asks for it",
    DateTooLong "too long for a date; allowed: YYMMDD, or YYYYMMDD where the AI asks for it",
    IllegalMonth "no such month; allowed: 01 to 12",
    IllegalDay "no such day in that month; 00 is allowed only where the AI lets the day be absent",
    HourTooShort "too short for an hour; allowed: 2 digits",
    HourTooLong "too long for an hour; allowed: 2 digits",
    HourWithMinuteTooShort "too short for hour and minute; allowed: HHMM",
    HourWithMinuteTooLong "too long for hour and minute; allowed: HHMM",
    IllegalHour "no such hour; allowed: 00 to 23",
    MinuteTooShort "too short for a minute; allowed: 2 digits",
    MinuteTooLong "too long for a minute; allowed: 2 digits",
    IllegalMinute "no such minute; allowed: 00 to 59",
    SecondTooShort "too short for a second; allowed: 2 digits",
    SecondTooLong "too long for a second; allowed: 2 digits",
    IllegalSecond "no such second; allowed: 00 to 59",
    NotZero "not zero; allowed: 0",
    IllegalZeroValue "zero; allowed: any other number",
    IllegalZeroPrefix "begins with a zero; allowed: a number without leading zeros",
    NotZeroOrOne "neither yes nor no; allowed: 1 or 0",
    NotHyphen "not a hyphen; allowed: - for a temperature below zero",
    InvalidWindingDirection "no such winding direction; allowed: 0, 1 or 9",
    InvalidImportIdxCharacter "no such importer index; allowed: one of A-Z a-z 0-9 - _",
    InvalidPercentSequence "an incomplete escape; allowed: % and two hexadecimal digits",
    RequiresNonDigitCharacter "digits only; at least one other character is asked for",
    InvalidLengthForPieceOfTotal "cannot be parted into piece and total; allowed: an even number of digits",
    ZeroPieceNumber "piece 0; allowed: from 1 up",
    ZeroTotalPieces "a total of 0 pieces; allowed: from 1 up",
    PieceNumberExceedsTotal "the piece number is beyond the total",
    PositionInSequenceMalformed "not a position in a sequence; allowed: 1/3",
    PositionExceedsEnd "the position is beyond the end of the sequence",
    InvalidBiologicalSexCode "no such code; allowed: 0, 1, 2 or 9 (ISO 5218)",
    InvalidMediaType "no such medium; allowed: 01 to 10 and 80 to 99",
    InvalidLatitude "beyond the pole; allowed: 0000000000 to 1800000000",
    InvalidLongitude "beyond the full circle; allowed: 0000000000 to 3600000000",
}

/// A finding and the place in the component where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub at: usize,
    pub finding: Finding,
}

type Checked = Result<(), Flaw>;

impl Linter {
    /// Checks one component.
    pub fn check(self, part: &[u8]) -> Checked {
        match self {
            Linter::Csum => csum(part),
            Linter::Csumalpha => check_pair(part),
            Linter::Gcppos1 => company_prefix(part, 0),
            Linter::Gcppos2 => company_prefix(part, 1),
            Linter::Yymmdd => date(part, 6, false),
            Linter::Yymmd0 => date(part, 6, true),
            Linter::Yyyymmdd => date(part, 8, false),
            Linter::Hh => hour(part),
            Linter::Mi => minute(part),
            Linter::Ss => second(part),
            Linter::Hhmi => hour_and_minute(part),
            Linter::Zero => require(part.iter().all(|byte| *byte == b'0'), 0, Finding::NotZero),
            Linter::Nonzero => nonzero(part),
            Linter::Nozeroprefix => require(part == b"0" || part.first() != Some(&b'0'), 0, Finding::IllegalZeroPrefix),
            Linter::Yesno => one_of(part, &[b"0", b"1"], Finding::NotZeroOrOne),
            Linter::Hyphen => require(part.iter().all(|byte| *byte == b'-'), 0, Finding::NotHyphen),
            Linter::Winding => one_of(part, &[b"0", b"1", b"9"], Finding::InvalidWindingDirection),
            Linter::Importeridx => importer_index(part),
            Linter::Pcenc => percent_sequences(part),
            Linter::Hasnondigit => {
                require(Charset::Digits.first_foreign(part).is_some(), 0, Finding::RequiresNonDigitCharacter)
            }
            Linter::Pieceoftotal => piece_of_total(part),
            Linter::Posinseqslash => position_in_sequence(part),
            Linter::Iso5218 => one_of(part, &[b"0", b"1", b"2", b"9"], Finding::InvalidBiologicalSexCode),
            Linter::Mediatype => {
                require(matches!(part, [b'0', b'1'..=b'9'] | b"10" | [b'8' | b'9', _]), 0, Finding::InvalidMediaType)
            }
            // Equal lengths of digits order as numbers do, so that no number is made of them.
            Linter::Latitude => require(part <= b"1800000000".as_slice(), 0, Finding::InvalidLatitude),
            Linter::Longitude => require(part <= b"3600000000".as_slice(), 0, Finding::InvalidLongitude),
            Linter::Couponcode
            | Linter::Couponposoffer
            | Linter::Iban
            | Linter::Iso3166
            | Linter::Iso3166999
            | Linter::Iso3166alpha2
            | Linter::Iso4217
            | Linter::Packagetype => Ok(()),
        }
    }
}

/// Refuses the first byte that is not of the set.
pub fn check_charset(charset: Charset, part: &[u8]) -> Checked {
    let finding = match charset {
        Charset::Digits => Finding::NonDigitCharacter,
        Charset::Cset82 => Finding::InvalidCset82Character,
        Charset::Cset39 => Finding::InvalidCset39Character,
        Charset::Cset64 => return check_base64url(part),
    };
    match charset.first_foreign(part) {
        Some(at) => Err(Flaw { at, finding }),
        None => Ok(()),
    }
}

/// The padding stands at the end, at most twice.
fn check_base64url(part: &[u8]) -> Checked {
    let finding = Finding::InvalidCset64Character;
    if let Some(at) = Charset::Cset64.first_foreign(part) {
        return Err(Flaw { at, finding });
    }
    let padding = part.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = part.len().saturating_sub(padding);
    match part.iter().take(text).position(|byte| *byte == b'=') {
        Some(at) => Err(Flaw { at, finding }),
        None => require(padding <= 2, text, finding),
    }
}

fn require(holds: bool, at: usize, finding: Finding) -> Checked {
    if holds { Ok(()) } else { Err(Flaw { at, finding }) }
}

fn require_digits(part: &[u8]) -> Checked {
    check_charset(Charset::Digits, part)
}

fn require_length(part: &[u8], length: usize, short: Finding, long: Finding) -> Checked {
    require(part.len() >= length, 0, short)?;
    require(part.len() <= length, 0, long)
}

fn one_of(part: &[u8], allowed: &[&[u8]], finding: Finding) -> Checked {
    require(allowed.contains(&part), 0, finding)
}

fn csum(part: &[u8]) -> Checked {
    let Some((last, body)) = part.split_last() else {
        return require(false, 0, Finding::TooShortForCheckDigit);
    };
    require_digits(part)?;
    require(char::from(*last) == check_digit(body), body.len(), Finding::IncorrectCheckDigit)
}

/// GenSpecs 7.9.5: values of CSET 82 weighted with primes from the right, modulo 1021, as two characters of 32.
fn check_pair(part: &[u8]) -> Checked {
    const PAIR: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    require(part.len() >= 2, 0, Finding::TooShortForCheckPair)?;
    require(part.len() <= 99, 0, Finding::TooLongForCheckPairImplementation)?;
    check_charset(Charset::Cset82, part)?;
    let cut = part.len().saturating_sub(2);
    let (body, pair) = part.split_at_checked(cut).unwrap_or_default();
    let primes = (2_usize..).filter(|n| (2..*n).all(|divisor| n.checked_rem(divisor) != Some(0)));
    let sum = body.iter().rev().zip(primes).fold(0_usize, |sum, (byte, prime)| {
        let value = (0..*byte).filter(|lower| Charset::Cset82.contains(*lower)).count();
        sum.wrapping_add(value.wrapping_mul(prime))
    });
    let sum = sum % 1021;
    let expected = [PAIR.get(sum / 32), PAIR.get(sum % 32)];
    require(pair.iter().map(Some).eq(expected), cut, Finding::IncorrectCheckPair)
}

/// Without the table of issued prefixes only the form can be checked: a prefix has 4 to 12 digits.
fn company_prefix(part: &[u8], start: usize) -> Checked {
    let key = part.get(start..).unwrap_or_default();
    let Some(shortest) = key.get(..4) else {
        return require(false, 0, Finding::TooShortForGcp);
    };
    require(Charset::Digits.first_foreign(shortest).is_none(), start, Finding::InvalidGcpPrefix)
}

fn date(part: &[u8], length: usize, day_may_be_absent: bool) -> Checked {
    require_length(part, length, Finding::DateTooShort, Finding::DateTooLong)?;
    require_digits(part)?;
    let year_end = length.saturating_sub(4);
    let month_end = length.saturating_sub(2);
    let number = |from, to| part.get(from..to).and_then(number);
    // Two digits of a year tell its leap years, as the window of a century holds 2000 but neither 1900 nor 2100.
    let year = number(0, year_end).unwrap_or_default();
    let year = if length == 6 { year.saturating_add(2000) } else { year };
    let month = number(year_end, month_end).unwrap_or_default();
    let day = number(month_end, length).unwrap_or_default();
    let month = u8::try_from(month).unwrap_or_default();
    let Some(last) = days_in_month(year, month) else {
        return require(false, year_end, Finding::IllegalMonth);
    };
    let is_real = (1..=u16::from(last)).contains(&day) || (day == 0 && day_may_be_absent);
    require(is_real, month_end, Finding::IllegalDay)
}

fn hour(part: &[u8]) -> Checked {
    require_length(part, 2, Finding::HourTooShort, Finding::HourTooLong)?;
    require_digits(part)?;
    require(part <= b"23".as_slice(), 0, Finding::IllegalHour)
}

fn minute(part: &[u8]) -> Checked {
    require_length(part, 2, Finding::MinuteTooShort, Finding::MinuteTooLong)?;
    require_digits(part)?;
    require(part <= b"59".as_slice(), 0, Finding::IllegalMinute)
}

fn second(part: &[u8]) -> Checked {
    require_length(part, 2, Finding::SecondTooShort, Finding::SecondTooLong)?;
    require_digits(part)?;
    require(part <= b"59".as_slice(), 0, Finding::IllegalSecond)
}

fn hour_and_minute(part: &[u8]) -> Checked {
    require_length(part, 4, Finding::HourWithMinuteTooShort, Finding::HourWithMinuteTooLong)?;
    require_digits(part)?;
    let (hours, minutes) = part.split_at_checked(2).unwrap_or_default();
    hour(hours)?;
    minute(minutes).map_err(|flaw| Flaw { at: flaw.at.saturating_add(2), finding: flaw.finding })
}

fn nonzero(part: &[u8]) -> Checked {
    require_digits(part)?;
    require(!is_zero(part), 0, Finding::IllegalZeroValue)
}

fn importer_index(part: &[u8]) -> Checked {
    let is_index = matches!(part, [byte] if *byte != b'=' && Charset::Cset64.contains(*byte));
    require(is_index, 0, Finding::InvalidImportIdxCharacter)
}

fn percent_sequences(part: &[u8]) -> Checked {
    let mut rest = part.iter().enumerate();
    while let Some((at, byte)) = rest.next() {
        if *byte != b'%' {
            continue;
        }
        let is_hex = |next: Option<(usize, &u8)>| next.is_some_and(|(_, byte)| byte.is_ascii_hexdigit());
        let is_complete = is_hex(rest.next()) && is_hex(rest.next());
        require(is_complete, at, Finding::InvalidPercentSequence)?;
    }
    Ok(())
}

fn piece_of_total(part: &[u8]) -> Checked {
    let is_even = !part.is_empty() && part.len().is_multiple_of(2);
    require(is_even, 0, Finding::InvalidLengthForPieceOfTotal)?;
    require_digits(part)?;
    let half = part.len() / 2;
    let (piece, total) = part.split_at_checked(half).unwrap_or_default();
    require(!is_zero(piece), 0, Finding::ZeroPieceNumber)?;
    require(!is_zero(total), half, Finding::ZeroTotalPieces)?;
    require(piece <= total, 0, Finding::PieceNumberExceedsTotal)
}

fn position_in_sequence(part: &[u8]) -> Checked {
    let [position @ b'0'..=b'9', b'/', end @ b'0'..=b'9'] = part else {
        return require(false, 0, Finding::PositionInSequenceMalformed);
    };
    require(*position != b'0', 0, Finding::IllegalZeroPrefix)?;
    require(*end != b'0', 2, Finding::IllegalZeroPrefix)?;
    require(position <= end, 0, Finding::PositionExceedsEnd)
}

fn is_zero(digits: &[u8]) -> bool {
    digits.iter().all(|byte| *byte == b'0')
}

/// At most four digits, proven by the caller.
fn number(digits: &[u8]) -> Option<u16> {
    digits
        .iter()
        .try_fold(0_u16, |number, byte| number.checked_mul(10)?.checked_add(u16::from(byte.checked_sub(b'0')?)))
}
