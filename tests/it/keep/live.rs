//! Proofs beside a daemon that goes on: each judges one moment of the journal, in which everything belongs together.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use sealgate::domain::text::Text;
use sealgate::engine::fact::{Entry, Fact};
use sealgate::store::commit::Job;
use sealgate::store::{Store, rebuild, verify};
use sealgate::wire::lower::{Lowering, Stamp};

use super::story::{Story, lowering, order};

const ROUNDS: u64 = 8;
/// Commits that a round lets the writer make, so that the journal stays small.
const SHARE: u64 = 120;

/// One more batch: a fact, its message and its serials in one commit.
fn load_next(store: &mut Store, lowering: &Lowering) {
    let seq = store.head().0 + 1;
    let serials = [format!("S{seq}A"), format!("S{seq}B")];
    let order = order(&format!("L{seq}"), &[&serials[0], &serials[1]], seq * 1000);
    let fact = Fact::BatchLoaded { sheet: order.sheet.clone(), serial_count: 2, serials_sha256: order.serials_sha256 };
    let entry = Entry { seq, batch: Some(order.sheet.batch), actor: Text::new("line").unwrap(), fact };
    let at_us = 1_795_000_000_000_000 + i64::try_from(seq).unwrap();
    let stamp = Stamp { at_us, mono_us: seq * 1000, boot: store.boot() };
    let record = lowering.record(&entry, Some(&order.sheet), Some(&order), stamp);
    store.commit(&Job { records: vec![record], work: Vec::new() }, || 0).unwrap();
}

/// What both proofs say.
fn prove(path: &Path, at_least: u64) {
    let verified = verify::run(path).unwrap();
    assert_eq!(verified.first_bad, None);
    let report = rebuild::check(path, &std::env::temp_dir()).unwrap();
    assert!(report.is_same(), "{report:?}");
    assert!(at_least <= verified.facts && verified.facts <= report.verified.facts, "{report:?}");
}

#[test]
fn a_journal_that_is_being_written_is_whole_and_follows_from_its_facts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("line.db");
    let mut store = Story::whole().commit_and_hold(&path, 1);
    let before = store.head().0;
    let (grant, granted) = mpsc::sync_channel::<()>(1);
    let (done, made) = mpsc::sync_channel::<()>(1);
    thread::scope(|scope| {
        scope.spawn(move || {
            let lowering = lowering();
            while granted.recv().is_ok() {
                (0..SHARE).for_each(|_| load_next(&mut store, &lowering));
                done.send(()).unwrap();
            }
        });
        // Dropped where a proof fails, too, so that the writer ends.
        let grant = grant;
        for round in 0..ROUNDS {
            grant.send(()).unwrap();
            prove(&path, before + round * SHARE);
            made.recv().unwrap();
        }
    });
    prove(&path, before + ROUNDS * SHARE);
}
