//! Facts as they lie in the file: squeezed on the way in, whole again on the way out.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use crate::store::error::StoreError;
use crate::store::phrase;
use crate::store::words::Words;
use crate::wire::chain::Columns;
use crate::wire::fact;

/// One fact as read. `wire::fact::decode` makes an entry of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFact {
    pub seq: u64,
    pub at_us: i64,
    pub mono_us: u64,
    pub boot: u32,
    pub kind: Arc<str>,
    pub version: u16,
    pub batch: Option<Arc<str>>,
    pub actor: Arc<str>,
    pub subject: String,
    pub body: String,
    pub hash: [u8; 32],
}

impl StoredFact {
    pub fn columns(&self) -> Columns<'_> {
        Columns {
            seq: self.seq,
            at_us: self.at_us,
            mono_us: self.mono_us,
            boot: self.boot,
            kind: &self.kind,
            version: self.version,
            batch: self.batch.as_deref(),
            actor: &self.actor,
            subject: &self.subject,
            body: &self.body,
        }
    }

    /// What of it may leave this computer.
    pub fn published(&self) -> fact::Published<'_> {
        fact::Published::new((self.seq, &self.kind), Some(&self.hash), &self.subject, &self.body)
    }

    /// What `wire::fact::decode` takes.
    pub fn undecoded(&self) -> fact::StoredFact<'_> {
        fact::StoredFact {
            seq: self.seq,
            kind: &self.kind,
            version: self.version,
            batch: self.batch.as_deref(),
            actor: &self.actor,
            body: &self.body,
        }
    }
}

/// The columns that [`read`] expects, in its order.
pub(super) const SELECT: &str =
    "SELECT seq, at_us, mono_us, boot, kind, version, batch, actor, subject, body, hash FROM fact";

/// A subject that begins with the prefix of its own batch keeps only the rest, behind a tilde. No EPC and no serial
/// holds a tilde (CSET 82), and a subject that begins with one doubles it.
pub(super) fn squeeze<'a>(subject: &'a str, prefix: Option<&str>) -> Cow<'a, str> {
    if let Some(rest) = prefix.filter(|prefix| !prefix.is_empty()).and_then(|prefix| subject.strip_prefix(prefix))
        && !rest.starts_with('~')
    {
        return Cow::Owned(format!("~{rest}"));
    }
    if subject.starts_with('~') { Cow::Owned(format!("~{subject}")) } else { Cow::Borrowed(subject) }
}

/// One row of [`SELECT`], every column of the type it must have and every word known.
pub(super) fn read(conn: &Connection, words: &mut Words, row: &Row<'_>) -> Result<StoredFact, StoreError> {
    let seq = integer(row, 0, "seq").map_err(StoreError::damaged)?;
    let seq = u64::try_from(seq).map_err(|_| StoreError::damaged("a fact has a negative number"))?;
    read_rest(conn, words, row, seq).map_err(|what| StoreError::Damaged { seq: Some(seq), what })
}

/// Whether the columns that are kept short have the one form that the commit gives them: another form of the same fact
/// is a change too.
pub(super) fn is_stored_as_written(conn: &Connection, words: &mut Words, row: &Row<'_>, fact: &StoredFact) -> bool {
    let (Ok(subject), Ok(body)) = (text(row, 8, "subject"), text(row, 9, "body")) else { return false };
    let prefix = row.get(6).ok().and_then(|batch| words.prefix(conn, batch).ok()).flatten();
    squeeze(&fact.subject, prefix.as_deref()) == subject
        && phrase::shorten(&fact.body, subject).is_ok_and(|short| short == body)
}

fn read_rest(conn: &Connection, words: &mut Words, row: &Row<'_>, seq: u64) -> Result<StoredFact, String> {
    let batch_id = match row.get_ref(6) {
        Ok(ValueRef::Null) => None,
        Ok(_) | Err(_) => Some(integer(row, 6, "batch")?),
    };
    let mut word = |at, name: &str| -> Result<Arc<str>, String> {
        let id = integer(row, at, name)?;
        let text = words.text(conn, id).map_err(|error| format!("{name}: {error}"))?;
        text.ok_or_else(|| format!("{name}: word {id} is unknown"))
    };
    let kind = word(4, "kind")?;
    let batch = batch_id.map(|_| word(6, "batch")).transpose()?;
    let actor = word(7, "actor")?;
    let stored_subject = text(row, 8, "subject")?;
    let body = phrase::lengthen(text(row, 9, "body")?, stored_subject);
    let body = body.ok_or("body: a control character in it stands for nothing")?;
    Ok(StoredFact {
        seq,
        at_us: integer(row, 1, "at_us")?,
        mono_us: count(row, 2, "mono_us")?,
        boot: count(row, 3, "boot")?,
        kind,
        version: count(row, 5, "version")?,
        batch,
        actor,
        subject: whole_subject(conn, words, stored_subject, batch_id)?,
        body,
        hash: match row.get_ref(10) {
            Ok(ValueRef::Blob(bytes)) => bytes.try_into().map_err(|_| "hash: not 32 bytes".to_owned())?,
            Ok(_) | Err(_) => return Err("hash: not a blob".into()),
        },
    })
}

fn whole_subject(conn: &Connection, words: &mut Words, stored: &str, batch: Option<i64>) -> Result<String, String> {
    let Some(rest) = stored.strip_prefix('~') else { return Ok(stored.to_owned()) };
    if rest.starts_with('~') {
        return Ok(rest.to_owned());
    }
    let batch = batch.ok_or("subject: it is short, but the fact has no batch")?;
    let prefix = words.prefix(conn, batch).map_err(|error| format!("subject: {error}"))?;
    let prefix = prefix.ok_or("subject: it is short, but its batch is unknown")?;
    Ok(format!("{prefix}{rest}"))
}

fn integer(row: &Row<'_>, at: usize, name: &str) -> Result<i64, String> {
    match row.get_ref(at) {
        Ok(ValueRef::Integer(value)) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{name}: not an integer")),
    }
}

fn count<T: TryFrom<i64>>(row: &Row<'_>, at: usize, name: &str) -> Result<T, String> {
    integer(row, at, name)?.try_into().map_err(|_| format!("{name}: out of its range"))
}

fn text<'a>(row: &'a Row<'_>, at: usize, name: &str) -> Result<&'a str, String> {
    match row.get_ref(at) {
        Ok(ValueRef::Text(bytes)) => std::str::from_utf8(bytes).map_err(|_| format!("{name}: not UTF-8")),
        Ok(_) | Err(_) => Err(format!("{name}: not text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeezes_only_what_can_be_made_whole_again() {
        assert_eq!(squeeze("urn:p.A1", Some("urn:p.")), "~A1");
        assert_eq!(squeeze("urn:q.A1", Some("urn:p.")), "urn:q.A1");
        assert_eq!(squeeze("~odd", Some("urn:p.")), "~~odd");
        assert_eq!(squeeze("urn:p.~A1", Some("urn:p.")), "urn:p.~A1");
        assert_eq!(squeeze("", None), "");
    }
}
