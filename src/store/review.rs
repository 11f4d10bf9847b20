//! Review by exception, as the journal gives it: what stood out since the last review that somebody signed.

use crate::store::error::StoreError;
use crate::store::facts::{self, StoredFact};
use crate::store::reader::Reader;
use crate::store::recover::{rows, signed, unsigned};
use crate::wire::review::{self, EXCEPTIONS, Exceptions, Review};

/// Exceptions of one review; what is behind them waits for the next.
const REVIEW_MAX: usize = 1000;

impl Reader {
    /// The review that is due, up to the fact `to_seq` or the newest, and what stands out in it.
    pub fn review(&mut self, to_seq: Option<u64>) -> Result<(Review, Vec<StoredFact>), StoreError> {
        let reviewed = self.reviewed()?;
        let head = self.head()?.0;
        let mut to_seq = to_seq.unwrap_or(head).min(head);
        let mut found = self.exceptions(reviewed, to_seq)?;
        if found.len() > REVIEW_MAX {
            found.truncate(REVIEW_MAX);
            to_seq = found.last().map_or(to_seq, |last| last.seq);
        }
        let mut gathered = Exceptions::behind(reviewed);
        found.iter().for_each(|fact| gathered.see(fact.seq, &fact.kind, &fact.body));
        Ok((gathered.review(to_seq), found))
    }

    fn exceptions(&mut self, reviewed: u64, to_seq: u64) -> Result<Vec<StoredFact>, StoreError> {
        let doing = "looking for what stands out";
        let kinds: Vec<String> = EXCEPTIONS.iter().map(|kind| format!("'{kind}'")).collect();
        let sql = format!(
            "{} WHERE seq > ?1 AND seq <= ?2 AND kind IN (SELECT word FROM word WHERE text IN ({})) ORDER BY seq LIMIT ?3",
            facts::SELECT,
            kinds.join(", ")
        );
        let (conn, words) = self.parts();
        let mut list = conn.prepare(&sql).map_err(StoreError::sqlite(doing))?;
        let limit = u64::try_from(REVIEW_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut rows =
            list.query([signed(reviewed), signed(to_seq), signed(limit)]).map_err(StoreError::sqlite(doing))?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(StoreError::sqlite(doing))? {
            found.push(facts::read(conn, words, row)?);
        }
        Ok(found)
    }

    /// The newest fact that a signed review has looked at; 0 before the first one.
    fn reviewed(&mut self) -> Result<u64, StoreError> {
        let sql = "SELECT seq FROM newest WHERE kind = 'audit_reviewed'";
        let newest = rows(&self.conn, sql, [], |row| unsigned(row, 0))?;
        let Some(newest) = newest.first() else { return Ok(0) };
        let review = self.fact(*newest)?.and_then(|fact| review::read(fact.undecoded()));
        let review = review.ok_or_else(|| StoreError::damaged(format!("fact {newest} is no review")))?;
        Ok(review.to_seq)
    }
}
