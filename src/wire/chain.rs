//! The hash chain of the journal: which bytes are hashed, so that anyone can recompute it.
//!
//! ```text
//! field(n, v)  = n (1 byte) | type (1 byte) | length (4 bytes, big endian) | bytes
//!                type and bytes:  'n'  no bytes                     NULL
//!                                 'i'  8 bytes, big endian, signed  integer
//!                                 't'  UTF-8                        text
//!                                 'b'  as they are                  bytes
//! genesis      = SHA-256( "sealgate.genesis.1\n" | field(1, line) | field(2, store_uuid) )
//! hash(0)      = genesis
//! hash(seq)    = SHA-256( "sealgate.fact.1\n" | field(0, hash(seq - 1) as bytes)
//!                | field(1, seq) | field(2, at_us) | field(3, mono_us) | field(4, boot) | field(5, kind)
//!                | field(6, version) | field(7, batch) | field(8, actor) | field(9, subject) | field(10, body) )
//! ```
//!
//! The columns are those of `v_fact`, words in full, whatever the tables hold; `line` and `store_uuid` are those of
//! `v_meta`, so that a file cannot be passed off as another line's. The first fact is 1 and no number is left out. A chain
//! alone cannot show that its tail was cut: that takes a checkpoint kept elsewhere.
//! `tests/foreign/verify_proof.py` is written from this page and from `wire::checkpoint` alone.

use sha2::{Digest, Sha256};

use crate::wire::record::FactRow;

const GENESIS: &[u8] = b"sealgate.genesis.1\n";
const FACT: &[u8] = b"sealgate.fact.1\n";

/// The columns of one fact as they are hashed.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    pub seq: u64,
    pub at_us: i64,
    pub mono_us: u64,
    pub boot: u32,
    pub kind: &'a str,
    pub version: u16,
    pub batch: Option<&'a str>,
    pub actor: &'a str,
    pub subject: &'a str,
    pub body: &'a str,
}

/// The hash before the first fact.
pub fn genesis(line: &str, store_uuid: &str) -> [u8; 32] {
    let mut sha = Sha256::new_with_prefix(GENESIS);
    field(&mut sha, 1, b't', line.as_bytes());
    field(&mut sha, 2, b't', store_uuid.as_bytes());
    sha.finalize().into()
}

/// The hash of a fact that follows the one with the hash `prev`.
pub fn hash(prev: &[u8; 32], row: &FactRow) -> [u8; 32] {
    hash_columns(
        prev,
        &Columns {
            seq: row.seq,
            at_us: row.at_us,
            mono_us: row.mono_us,
            boot: row.boot,
            kind: row.kind,
            version: row.version,
            batch: row.batch.as_deref(),
            actor: &row.actor,
            subject: &row.subject,
            body: &row.body,
        },
    )
}

pub fn hash_columns(prev: &[u8; 32], row: &Columns<'_>) -> [u8; 32] {
    let mut sha = Sha256::new_with_prefix(FACT);
    field(&mut sha, 0, b'b', prev);
    // Unsigned counts below 2^63 have the same eight bytes as signed ones; the store takes no others.
    field(&mut sha, 1, b'i', &row.seq.to_be_bytes());
    field(&mut sha, 2, b'i', &row.at_us.to_be_bytes());
    field(&mut sha, 3, b'i', &row.mono_us.to_be_bytes());
    field(&mut sha, 4, b'i', &i64::from(row.boot).to_be_bytes());
    field(&mut sha, 5, b't', row.kind.as_bytes());
    field(&mut sha, 6, b'i', &i64::from(row.version).to_be_bytes());
    match row.batch {
        Some(batch) => field(&mut sha, 7, b't', batch.as_bytes()),
        None => field(&mut sha, 7, b'n', &[]),
    }
    field(&mut sha, 8, b't', row.actor.as_bytes());
    field(&mut sha, 9, b't', row.subject.as_bytes());
    field(&mut sha, 10, b't', row.body.as_bytes());
    sha.finalize().into()
}

/// SHA-256 of the bytes of a message, as `message.body_sha256` holds it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// SQLite holds no value of 2^31 bytes or more, so the length always fits.
fn field(sha: &mut Sha256, number: u8, kind: u8, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    sha.update([number, kind]);
    sha.update(length.to_be_bytes());
    sha.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> FactRow {
        FactRow {
            seq: 7,
            at_us: -3,
            mono_us: 12,
            boot: 2,
            kind: "verified",
            version: 1,
            batch: Some("B1".into()),
            actor: "line".into(),
            subject: "urn:epc:id:sgtin:9506000.0134352.A1".into(),
            body: "{\"seq\":1}".into(),
        }
    }

    fn hex(bytes: [u8; 32]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Computed with Python's hashlib from the head of this file.
    #[test]
    fn hashes_as_another_language_computes_it() {
        let start = genesis("site/line1", "3f1c");
        assert_eq!(hex(start), "403b3c53e6c4e82cb172dc72b843a305300868a9b3848d5cf94ed5814d778255");
        assert_eq!(hex(hash(&start, &row())), "c471dce5545aaf3e677408bdd12cd719fd8a7cebd1e641d2443201f3f3cde95f");
    }

    #[test]
    fn depends_on_every_column_and_on_the_one_before() {
        let prev = [0; 32];
        let whole = hash(&prev, &row());
        let changes: [fn(&mut FactRow); 11] = [
            |row| row.seq = 8,
            |row| row.at_us = 3,
            |row| row.mono_us = 13,
            |row| row.boot = 3,
            |row| row.kind = "failed",
            |row| row.version = 2,
            |row| row.batch = None,
            |row| row.batch = Some(String::new()),
            |row| row.actor.push('x'),
            |row| row.subject.push('x'),
            |row| row.body.push(' '),
        ];
        for (place, change) in changes.iter().enumerate() {
            let mut other = row();
            change(&mut other);
            assert_ne!(hash(&prev, &other), whole, "change {place}");
        }
        assert_ne!(hash(&[1; 32], &row()), whole);
    }

    #[test]
    fn a_byte_moved_to_the_next_column_is_another_fact() {
        let mut moved = row();
        moved.actor.push('u');
        moved.subject.remove(0);
        assert_ne!(hash(&[0; 32], &moved), hash(&[0; 32], &row()));
    }
}
