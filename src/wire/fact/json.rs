//! The bytes of a fact's body: one JSON object, no white space, fields in one fixed order, integers and strings only.
//!
//! The writer and the reader know exactly this form. The reader goes through the text once, in the order of writing, so that
//! a fold over millions of facts is fast and a flaw is named by its field. It is no general JSON parser and refuses what the
//! writer would not have written: another order, white space, an unknown field.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Writes an object; every call adds one field.
pub(super) struct ObjectWriter {
    out: String,
}

impl ObjectWriter {
    pub(super) fn new() -> Self {
        let mut out = String::with_capacity(128);
        out.push('{');
        Self { out }
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push('}');
        self.out
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_text(&mut self.out, value);
    }

    pub(super) fn count(&mut self, key: &str, value: u64) {
        self.key(key);
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
    }

    pub(super) fn signed(&mut self, key: &str, value: i64) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
    }

    pub(super) fn texts(&mut self, key: &str, values: impl Iterator<Item = impl AsRef<str>>) {
        self.key(key);
        self.out.push('[');
        for (value, separator) in values.zip(separators()) {
            self.out.push_str(separator);
            push_text(&mut self.out, value.as_ref());
        }
        self.out.push(']');
    }

    pub(super) fn object(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braced(write);
    }

    pub(super) fn objects<T>(&mut self, key: &str, values: &[T], write: impl Fn(&mut Self, &T)) {
        self.key(key);
        self.out.push('[');
        for (value, separator) in values.iter().zip(separators()) {
            self.out.push_str(separator);
            self.braced(|inner| write(inner, value));
        }
        self.out.push(']');
    }

    fn braced(&mut self, write: impl FnOnce(&mut Self)) {
        self.out.push('{');
        write(self);
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }
}

/// Nothing before the first element, a comma before every other one.
fn separators() -> impl Iterator<Item = &'static str> {
    std::iter::once("").chain(std::iter::repeat(","))
}

fn push_text(out: &mut String, value: &str) {
    if value.bytes().all(is_plain) {
        out.push('"');
        out.push_str(value);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(value).expect("a str always has a JSON form"));
    }
}

/// Stands for itself between JSON quotes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E) && byte != b'"' && byte != b'\\'
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) field: &'static str,
    pub(super) what: String,
}

/// Reads what [`ObjectWriter`] wrote, field by field in the same order.
pub(super) struct ObjectReader<'a> {
    rest: &'a str,
    first: bool,
    field: &'static str,
}

impl<'a> ObjectReader<'a> {
    pub(super) fn open(body: &'a str) -> Result<Self, Flaw> {
        let mut reader = Self { rest: body, first: true, field: "" };
        reader.expect("{")?;
        Ok(reader)
    }

    /// The object must end here, and the body with it.
    pub(super) fn close(mut self) -> Result<(), Flaw> {
        self.expect("}")?;
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.flaw("the body goes on after its end"))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.after_key(key).is_some()
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Cow<'a, str>, Flaw> {
        self.key(key)?;
        self.any_text()
    }

    pub(super) fn count<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<T, Flaw> {
        self.key(key)?;
        let number: Option<u64> = self.digits(0).parse().ok();
        let number = number.ok_or_else(|| self.flaw("a count from 0 on is due here"))?;
        T::try_from(number).map_err(|_| self.flaw("the count is too large for this field"))
    }

    pub(super) fn signed(&mut self, key: &'static str) -> Result<i64, Flaw> {
        self.key(key)?;
        let sign = usize::from(self.rest.starts_with('-'));
        let number = self.digits(sign).parse().ok();
        number.ok_or_else(|| self.flaw("an integer is due here"))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<bool, Flaw> {
        self.key(key)?;
        if self.take("true") {
            return Ok(true);
        }
        self.expect("false").map(|()| false)
    }

    pub(super) fn texts<T>(&mut self, key: &'static str, make: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Flaw> {
        self.key(key)?;
        self.list(|reader| {
            let text = reader.any_text()?;
            make(&text).ok_or_else(|| reader.unfit(&text))
        })
    }

    pub(super) fn object<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Flaw>,
    ) -> Result<T, Flaw> {
        self.key(key)?;
        self.braced(read)
    }

    pub(super) fn objects<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Self) -> Result<T, Flaw>,
    ) -> Result<Vec<T>, Flaw> {
        self.key(key)?;
        self.list(|reader| reader.braced(&read))
    }

    /// A value that is well written and means nothing here.
    pub(super) fn unfit(&self, value: &str) -> Flaw {
        let shown: String = value.chars().take(60).collect();
        self.flaw(&format!("{shown:?} is no value of this field"))
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Flaw>) -> Result<Vec<T>, Flaw> {
        self.expect("[")?;
        let mut values = Vec::new();
        while !self.take("]") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            values.push(read(self)?);
        }
        Ok(values)
    }

    fn braced<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Flaw>) -> Result<T, Flaw> {
        self.expect("{")?;
        self.first = true;
        let value = read(self)?;
        self.expect("}")?;
        self.first = false;
        Ok(value)
    }

    fn key(&mut self, key: &'static str) -> Result<(), Flaw> {
        self.field = key;
        match self.after_key(key) {
            Some(rest) => self.rest = rest,
            None => return Err(self.flaw("the field is missing or not in its place")),
        }
        self.first = false;
        Ok(())
    }

    fn after_key(&self, key: &str) -> Option<&'a str> {
        let rest = match self.first {
            true => self.rest,
            false => self.rest.strip_prefix(',')?,
        };
        let rest = rest.strip_prefix('"')?.strip_prefix(key)?;
        rest.strip_prefix("\":")
    }

    fn any_text(&mut self) -> Result<Cow<'a, str>, Flaw> {
        if !self.rest.starts_with('"') {
            return Err(self.flaw("a text is due here"));
        }
        let end = end_of_text(self.rest).ok_or_else(|| self.flaw("the text has no end"))?;
        let (quoted, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if inner.bytes().all(is_plain) {
            return Ok(Cow::Borrowed(inner));
        }
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| self.flaw("the text is not well-formed JSON"))
    }

    /// Takes `sign` characters and the digits after them; JSON allows no leading zero.
    fn digits(&mut self, sign: usize) -> &'a str {
        let unsigned = self.rest.get(sign..).unwrap_or_default();
        let count = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        if count > 1 && unsigned.starts_with('0') {
            return "";
        }
        let (number, rest) = self.rest.split_at_checked(sign.saturating_add(count)).unwrap_or_default();
        self.rest = rest;
        number
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), Flaw> {
        if self.take(token) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(20).collect();
        Err(self.flaw(&format!("{token:?} is due here, not {found:?}")))
    }

    fn flaw(&self, what: &str) -> Flaw {
        Flaw { field: self.field, what: what.to_owned() }
    }
}

/// The length of the quoted text at the start of `rest`, both quotes included.
fn end_of_text(rest: &str) -> Option<usize> {
    let mut escaped = false;
    let inner = rest.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    inner.checked_add(2)
}
