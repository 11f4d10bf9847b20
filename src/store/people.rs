//! The table of people: what facts change of it, what recovery and whoever checks a password read of it.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::store::change::Scope;
use crate::store::error::{Flaw, StoreError};
use crate::store::reader::Reader;
use crate::store::recover::{rows, unsigned, unsigned_or_null};
use crate::wire::fact;
use crate::wire::record::{PersonChange, SignatureRow};

/// One row of `v_user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    pub user: String,
    pub full_name: String,
    /// Words with a blank between.
    pub roles: String,
    pub is_enabled: bool,
    pub must_change: bool,
    pub failures: u32,
    pub locked_seq: Option<u64>,
    pub added_seq: u64,
    /// The fact that holds the hash of the password; 0 where there is none.
    pub credential_seq: u64,
}

/// What a password is compared with.
pub struct Credential {
    /// The fact that set it.
    pub seq: u64,
    /// A PHC string.
    pub phc: String,
    pub must_change: bool,
}

const SELECT: &str = "SELECT user, full_name, roles, is_enabled, must_change, failures, locked_seq, added_seq, \
                      credential_seq FROM v_user";

impl Scope<'_> {
    pub(super) fn change_person(&mut self, user: &str, change: &PersonChange) -> Result<(), Flaw> {
        let seq = self.seq;
        match change {
            PersonChange::Added { full_name, roles } => self.one(
                "a person of this name is there already",
                "INSERT INTO person (user, full_name, roles, is_enabled, must_change, failures, added_seq, credential_seq) \
                 VALUES (?1, ?2, ?3, 1, 0, 0, ?4, 0)",
                (user, full_name, roles, seq),
            ),
            PersonChange::Set { roles, is_enabled } => self.one(
                "person",
                "UPDATE person SET roles = ?2, is_enabled = ?3 WHERE user = ?1",
                (user, roles, is_enabled),
            ),
            PersonChange::Credential { must_change } => self.one(
                "person",
                "UPDATE person SET credential_seq = ?2, must_change = ?3 WHERE user = ?1",
                (user, seq, must_change),
            ),
            PersonChange::Failures { failures } => {
                self.one("person", "UPDATE person SET failures = ?2 WHERE user = ?1", (user, failures))
            }
            PersonChange::Locked => {
                self.one("person", "UPDATE person SET locked_seq = ?2 WHERE user = ?1", (user, seq))
            }
            PersonChange::Unlocked => {
                self.one("person", "UPDATE person SET locked_seq = NULL, failures = 0 WHERE user = ?1", [user])
            }
        }
    }
}

impl Scope<'_> {
    /// There may be nobody.
    pub(super) fn void_passwords(&mut self) -> Result<(), Flaw> {
        self.execute("person", "UPDATE person SET credential_seq = 0", []).map(|_| ())
    }

    pub(super) fn insert_signature(&mut self, row: &SignatureRow) -> Result<(), Flaw> {
        self.one(
            "signature",
            "INSERT INTO signature (signature, user, full_name, meaning, at_us, subject, subject_hash, challenge, fact_seq) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, unhex(?7), ?8, ?1)",
            (
                self.seq,
                &row.user,
                &row.full_name,
                row.meaning,
                row.at_us,
                &row.subject,
                &row.subject_hash,
                &row.challenge,
            ),
        )
    }
}

impl Reader {
    /// Everybody who has or had an account, by name.
    pub fn people(&self) -> Result<Vec<PersonRow>, StoreError> {
        all(&self.conn)
    }

    /// What the password of this person is compared with; none where nobody has this name.
    pub fn credential(&mut self, user: &str) -> Result<Option<Credential>, StoreError> {
        let sql = "SELECT credential_seq, must_change FROM person WHERE user = ?1 AND credential_seq > 0";
        let found = self.conn.query_row(sql, [user], |row| Ok((unsigned(row, 0)?, row.get(1)?))).optional();
        let Some((seq, must_change)) = found.map_err(StoreError::sqlite("looking for a credential"))? else {
            return Ok(None);
        };
        let fact = self.fact(seq)?.ok_or_else(|| StoreError::damaged(format!("fact {seq} is missing")))?;
        let phc = fact::credential(fact.undecoded()).map_err(|error| StoreError::damaged(error.to_string()))?;
        Ok(phc.map(|phc| Credential { seq, phc: phc.reveal().to_owned(), must_change }))
    }
}

pub(super) fn all(conn: &Connection) -> Result<Vec<PersonRow>, StoreError> {
    rows(conn, &format!("{SELECT} ORDER BY user"), [], person)
}

fn person(row: &Row<'_>) -> rusqlite::Result<PersonRow> {
    Ok(PersonRow {
        user: row.get(0)?,
        full_name: row.get(1)?,
        roles: row.get(2)?,
        is_enabled: row.get(3)?,
        must_change: row.get(4)?,
        failures: row.get(5)?,
        locked_seq: unsigned_or_null(row, 6)?,
        added_seq: unsigned(row, 7)?,
        credential_seq: unsigned(row, 8)?,
    })
}
