//! The serials of a batch, which stand in no fact: read out of `serial` or, where that was changed or damaged, out of `used`,
//! and believed only when their digest is the one in the batch's `batch_loaded` fact.

use std::sync::Arc;

use rusqlite::Connection;

use crate::domain::gs1::SerialNumber;
use crate::domain::text::Text;
use crate::store::batches::unit_id;
use crate::store::words::Words;
use crate::wire::order::serials_sha256;
use crate::wire::record::Order;
use crate::wire::refold::OrderProof;

/// One table's answer: a serial for each place that could be read.
type Places = Vec<Option<SerialNumber>>;

/// The order that the fact proves, from either table or from both together; `None` where they do not hold it.
pub(super) fn order(conn: &Connection, words: &mut Words, proof: OrderProof<'_>) -> Option<Arc<Order>> {
    let batch = words.find(conn, proof.sheet.batch.as_str()).ok().flatten()?;
    let own = from_serial(conn, batch, proof.serial_count);
    if let Some(order) = proven(&own, proof) {
        return Some(order);
    }
    let used = from_used(conn, words, batch, proof);
    let together: Places = own.iter().zip(&used).map(|(own, used)| own.or(*used)).collect();
    let other: Places = own.iter().zip(&used).map(|(own, used)| used.or(*own)).collect();
    [used, together, other].iter().find_map(|places| proven(places, proof))
}

fn proven(places: &Places, proof: OrderProof<'_>) -> Option<Arc<Order>> {
    let serials = places.iter().copied().collect::<Option<Vec<_>>>()?;
    let digest = serials_sha256(&serials);
    if digest.as_str() != proof.serials_sha256 {
        return None;
    }
    let serials_sha256 = Text::new(proof.serials_sha256)?;
    Some(Arc::new(Order { sheet: proof.sheet.clone(), serials, serials_sha256 }))
}

fn from_serial(conn: &Connection, batch: i64, count: u32) -> Places {
    let mut places = empty(count);
    for direction in ["ASC", "DESC"] {
        let sql = format!("SELECT id, serial FROM serial WHERE id BETWEEN ?1 AND ?2 ORDER BY id {direction}");
        let range = (unit_id(batch, 0), unit_id(batch, u32::MAX));
        if fill(conn, &sql, range, &mut places).is_ok() {
            break;
        }
    }
    places
}

fn from_used(conn: &Connection, words: &mut Words, batch: i64, proof: OrderProof<'_>) -> Places {
    let mut places = empty(proof.serial_count);
    let Ok(Some(gtin)) = words.find(conn, proof.sheet.gtin.as_str()) else { return places };
    for direction in ["ASC", "DESC"] {
        let sql = format!("SELECT id, serial FROM used WHERE gtin = ?1 AND id >> 32 = ?2 ORDER BY serial {direction}");
        if fill(conn, &sql, (gtin, batch), &mut places).is_ok() {
            break;
        }
    }
    places
}

fn empty(count: u32) -> Places {
    vec![None; usize::try_from(count).unwrap_or_default()]
}

/// Takes what can be read; a page that cannot ends it, and the other direction brings what lies behind.
fn fill(conn: &Connection, sql: &str, params: impl rusqlite::Params, places: &mut Places) -> rusqlite::Result<()> {
    let mut list = conn.prepare_cached(sql)?;
    let mut rows = list.query(params)?;
    while let Some(row) = rows.next()? {
        let (Ok(id), Ok(text)) = (row.get::<_, i64>(0), row.get_ref(1)) else { continue };
        let place = usize::try_from(id & 0xFFFF_FFFF).ok().and_then(|place| places.get_mut(place));
        let serial = text.as_str().ok().and_then(|text| SerialNumber::new(text).ok());
        if let (Some(place), Some(serial)) = (place, serial) {
            *place = Some(serial);
        }
    }
    Ok(())
}
