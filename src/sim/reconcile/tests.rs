//! One small run that agrees in all three records, and what must be found when one of them is changed.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;
use crate::domain::gs1::Sscc;
use crate::sim::capture::hex;
use crate::store::views::{ContainerRow, FactRow, InspectionRow, MemberRow, MessageRow, PermitRow, RejectRow, UnitRow};

const GTIN: &str = "09506000134352";

/// Four good units in two cases on one pallet, and a fifth with another lot, which lies in the bin.
#[derive(Clone)]
struct Run {
    truth: Vec<String>,
    views: Views,
    feed: Vec<String>,
}

fn sscc(number: u64) -> String {
    Sscc::build(0, "9506000", number).expect("nine digits fit").as_str().to_owned()
}

fn code(serial: &str, lot: &str) -> String {
    format!("01{GTIN}1727033110{lot}\u{1d}21{serial}")
}

fn uri(serial: &str) -> String {
    format!("urn:epc:id:sgtin:9506000.013435.{serial}")
}

impl Run {
    fn new() -> Self {
        let mut run = Self { truth: Vec::new(), views: Views::default(), feed: Vec::new() };
        run.fact("station_joined", &join("packer", 71, 1));
        run.fact("station_joined", &join("palletizer", 81, 2));
        for (number, serial) in (1..).zip(["A1", "A2", "A3", "A4"]) {
            run.unit(number, serial, "none");
        }
        run.unit(5, "A5", "wrong_lot");
        run.container("packer", 1, &[1, 2], &[uri("A1"), uri("A2")]);
        run.container("packer", 2, &[3, 4], &[uri("A3"), uri("A4")]);
        run.container("palletizer", 3, &[1, 2], &[sscc(1), sscc(2)]);
        run.message("epcis", 1, "_epcis/packing");
        run.message("batch", 1, "_batch/closed");
        run
    }

    fn line(&mut self, line: serde_json::Value) {
        self.truth.push(line.to_string());
    }

    fn fact(&mut self, kind: &str, body: &str) {
        let seq = self.views.facts.len() as u64 + 1;
        self.views.facts.push(FactRow { seq, kind: kind.into(), body: body.into(), hash: format!("{seq:064x}") });
        self.capture("fact", seq, &format!("_fact/{kind}"), body);
    }

    fn message(&mut self, stream: &str, seq: u64, topic: &str) {
        let body = format!(r#"{{"message": "{stream} {seq}"}}"#);
        let (stream_text, id) = (stream.to_owned(), format!("plant/line1/1/{stream}/{seq}"));
        let body_sha256 = hex(&Sha256::digest(&body));
        self.views.messages.push(MessageRow { stream: stream_text, seq, id, topic: topic.into(), body_sha256 });
        self.capture(stream, seq, topic, &body);
    }

    fn capture(&mut self, stream: &str, seq: u64, topic: &str, body: &str) {
        let (sha256, size) = (hex(&Sha256::digest(body)), body.len());
        self.feed.push(format!(
            r#"{{"at_us":1,"topic":"plant/line1/{topic}","retain":false,"size":{size},"sha256":"{sha256}","properties":{{"id":"plant/line1/1/{stream}/{seq}"}},"payload":{body}}}"#
        ));
    }

    fn unit(&mut self, number: u64, serial: &str, spoil: &str) {
        let is_good = spoil == "none";
        let (record, printed) = (code(serial, "L7"), code(serial, if is_good { "L7" } else { "L8" }));
        self.line(json!({ "t_us": number, "kind": "unit", "unit": number, "epoch": 1, "data_seq": number, "record": record, "printed": printed, "spoil": spoil }));
        self.line(json!({ "t_us": number, "kind": "result", "unit": number, "epoch": 1, "seq": number, "track": number, "dropped": false }));
        let (end, lies, state) = if is_good { (1, "line", "commissioned") } else { (2, "bin", "label_scrapped") };
        self.line(json!({ "t_us": number, "kind": "end", "unit": number, "epoch": 1, "track": number, "end": end, "end_seq": number, "passed": is_good, "lies": lies }));
        self.views.units.push(UnitRow {
            unit: uri(serial),
            batch: "B1".into(),
            gtin: GTIN.into(),
            serial: serial.into(),
            state: state.into(),
            verified: is_good,
        });
        self.views.inspections.push(InspectionRow {
            inspection: number,
            purpose: "production".into(),
            station: "camera".into(),
            epoch: 1,
            result_seq: Some(number),
            track: Some(number),
            verdict: if is_good { "pass" } else { "fail" }.into(),
            unit: Some(uri(serial)),
        });
        if !is_good {
            self.views.rejects.push(RejectRow { inspection: number, confirmed_seq: Some(9), alarm_seq: None });
        }
        self.fact(if is_good { "commissioned" } else { "failed" }, &format!(r#"{{"serial":"{serial}"}}"#));
    }

    /// Sealed on token 10 × its number, released on the next.
    fn container(&mut self, station: &str, number: u64, inside: &[u64], children: &[String]) {
        let (label, epoch) = (format!("00{}", sscc(number)), if station == "packer" { 71 } else { 81 });
        for (step, gate) in (0..).zip(["seal", "release"]) {
            let (token, seq) = (number * 10 + step, number * 2 + step);
            self.line(json!({ "t_us": token, "kind": "gate", "station": station, "epoch": epoch, "seq": seq, "gate": gate, "container": number, "token": token, "children": [], "inside": inside, "label": label }));
            self.line(json!({ "t_us": token, "kind": "closed", "station": station, "epoch": epoch, "seq": seq, "gate": gate, "container": number, "token": token, "result": 1 }));
            self.views.permits.push(PermitRow {
                token,
                container: sscc(number),
                gate: gate.into(),
                station: station.into(),
                epoch: if station == "packer" { 1 } else { 2 },
                request_seq: seq,
                state: "acked".into(),
            });
        }
        self.line(json!({ "t_us": number, "kind": "moved", "station": station, "epoch": epoch, "container": number, "label": label }));
        let level = if station == "packer" { "case" } else { "pallet" };
        self.views.containers.push(ContainerRow {
            container: sscc(number),
            level: level.into(),
            batch: "B1".into(),
            state: "released".into(),
            capacity: 2,
        });
        let member =
            |child: &String| MemberRow { child: child.clone(), parent: sscc(number), from_seq: 1, to_seq: None };
        self.views.members.extend(children.iter().map(member));
        self.fact("released", &format!(r#"{{"container":"{}"}}"#, sscc(number)));
    }

    fn report(&self) -> Report {
        reconcile(&self.truth.join("\n"), &self.views, &self.feed.join("\n"))
    }

    /// The first difference after one change; fails when the change is not found.
    fn finds(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut changed = self.clone();
        change(&mut changed);
        let report = changed.report();
        assert!(!report.is_reconciled());
        report.differences.join("; ")
    }

    fn swap_in_truth(&mut self, from: &str, to: &str) {
        let before = self.truth.clone();
        for line in &mut self.truth {
            *line = line.replace(from, to);
        }
        assert_ne!(before, self.truth, "the change changes something");
    }
}

fn join(kind: &str, device_epoch: u64, epoch: u64) -> String {
    format!(
        r#"{{"station":"{kind}","station_kind":"{kind}","device_epoch":{device_epoch},"epoch":{epoch},"reset":true}}"#
    )
}

#[test]
fn three_records_that_agree_are_reconciled_and_counted() {
    let report = Run::new().report();
    assert_eq!(report.differences, Vec::<String>::new());
    let counts = [report.presented, report.printed, report.commissioned, report.rejected, report.cases_closed];
    assert_eq!(counts, [5, 5, 4, 1, 2]);
    let counts =
        [report.pallets_closed, report.wrong_in_closed_case, report.false_rejects, report.facts, report.messages];
    assert_eq!(counts, [1, 0, 0, 10, 12]);
}

#[test]
fn finds_a_member_that_was_moved_to_another_case() {
    let run = Run::new();
    let moved = |run: &mut Run| run.views.members[0].parent = sscc(2);
    assert!(run.finds(moved).contains("only physically inside"));
    let mut changed = run.clone();
    moved(&mut changed);
    assert_eq!(changed.report().wrong_in_closed_case, 1);
}

#[test]
fn finds_a_fact_that_the_capture_lacks_or_holds_changed() {
    let run = Run::new();
    assert!(run.finds(|run| drop(run.feed.remove(3))).contains("fact 4 (commissioned) is missing"));
    assert!(run.finds(|run| drop(run.feed.pop())).contains("message batch 1 is missing"));
    let forged = |run: &mut Run| run.feed[3] = run.feed[3].replace(r#"{"serial":"A2"}"#, r#"{"serial":"A9"}"#);
    assert!(run.finds(forged).contains("digest"));
}

#[test]
fn finds_a_unit_that_was_swapped_in_the_truth() {
    let run = Run::new();
    assert!(
        run.finds(|run| run.swap_in_truth(
            r#""container":1,"token":10,"children":[],"inside":[1,2]"#,
            r#""container":1,"token":10,"children":[],"inside":[5,2]"#
        ))
        .contains("only in the journal")
    );
    assert!(run.finds(|run| run.swap_in_truth("21A3", "21A4")).contains("is borne by units"));
}

#[test]
fn finds_copies_that_differ_and_ids_that_changed() {
    let run = Run::new();
    let other = |run: &mut Run| {
        let body = r#"{"serial":"A7"}"#;
        run.capture("fact", 3, "_fact/commissioned", body);
    };
    assert!(run.finds(other).contains("other bytes than before"));
    let renamed = |run: &mut Run| run.feed[3] = run.feed[3].replace("line1/1/fact/4", "line1/2/fact/4");
    let again = |run: &mut Run| run.feed.push(run.feed[3].replace("line1/1/fact/4", "line1/2/fact/4"));
    let mut same = run.clone();
    same.feed.push(same.feed[3].clone());
    assert!(same.report().is_reconciled(), "an equal copy is no difference");
    assert!(run.finds(again).contains("under another id"));
    let mut message = run.clone();
    renamed(&mut message);
    assert!(message.feed != run.feed);
}

#[test]
fn finds_a_gate_that_opened_without_its_permit() {
    let run = Run::new();
    assert!(run.finds(|run| drop(run.views.permits.remove(0))).contains("never granted"));
    assert!(run.finds(|run| run.views.permits[0].request_seq = 99).contains("granted as"));
    assert!(run.finds(|run| run.views.permits[0].epoch = 2).contains("granted as"));
    assert!(run.finds(|run| run.views.permits[0].container = sscc(2)).contains("granted as"));
    let twice = |run: &mut Run| run.swap_in_truth(r#""token":20"#, r#""token":10"#);
    assert!(run.finds(twice).contains("opened a gate twice"));
}

#[test]
fn finds_units_whose_fate_differs() {
    let run = Run::new();
    assert!(run.finds(|run| run.views.units[0].state = "label_scrapped".into()).contains("is not commissioned"));
    assert!(
        run.finds(|run| run.views.units[4].state = "commissioned".into())
            .contains("lies in the bin and is commissioned")
    );
    assert!(run.finds(|run| run.swap_in_truth(r#""end":2"#, r#""end":1"#)).contains("spoiled and passed the gate"));
    assert!(run.finds(|run| run.views.units.push(run.views.units[0].clone())).contains("stands twice"));
}

#[test]
fn finds_containers_closed_on_paper_alone_and_counts_that_do_not_balance() {
    let run = Run::new();
    let unsealed = |run: &mut Run| {
        run.truth.retain(|line| !(line.contains(r#""kind":"closed""#) && line.contains(r#""token":30"#)))
    };
    assert!(run.finds(unsealed).contains("never sealed"));
    assert!(run.finds(|run| drop(run.views.inspections.pop())).contains("inspections for"));
    assert!(run.finds(|run| run.views.rejects.clear()).contains("lie in the bin"));
    assert!(run.finds(|run| drop(run.views.facts.remove(4))).contains("missing in the journal"));
    assert!(run.finds(|run| run.truth.push("{".into())).contains("truth line"));
}

#[test]
fn a_conforming_unit_in_the_bin_is_a_false_reject_and_no_contradiction() {
    let mut run = Run::new();
    run.swap_in_truth("wrong_lot", "none");
    let report = run.report();
    assert!(report.is_reconciled(), "{:?}", report.differences);
    assert_eq!(report.false_rejects, 1);
}

impl Run {
    fn mishap(&mut self, mishap: &str, container: u64, units: &[u64]) {
        self.line(json!({ "t_us": 1, "kind": "mishap", "mishap": mishap, "station": "packer", "epoch": 71, "container": container, "units": units }));
    }

    /// The same run in rough weather: cases are full when they ask, and somewhere a unit was swapped with another.
    fn rough() -> Self {
        let mut run = Self::new();
        run.line(json!({ "t_us": 0, "kind": "plant", "seed": 1, "rate_per_minute": 1, "units_min": 5, "case_capacity": 2, "pallet_capacity": 2 }));
        for (container, inside) in [(1, [1, 2]), (2, [3, 4])] {
            run.line(json!({ "t_us": 1, "kind": "filled", "station": "packer", "epoch": 71, "container": container, "inside": inside }));
        }
        run.mishap("wrong_lot", 0, &[5]);
        run
    }
}

#[test]
fn counts_mishaps_and_what_they_touched() {
    let report = Run::rough().report();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.faults.get("wrong_lot"), report.touched), (Some(&1), 1));
}

#[test]
fn a_unit_that_nothing_touched_has_to_be_commissioned() {
    let run = Run::rough();
    let scrapped = |run: &mut Run| {
        run.swap_in_truth(r#""spoil":"wrong_lot""#, r#""spoil":"none""#);
        run.truth.retain(|line| !line.contains(r#""kind":"mishap""#));
        run.mishap("broker_away", 0, &[]);
    };
    assert!(run.finds(scrapped).contains("unit 5 (A5) conforms, nothing touched it, and it stands as label_scrapped"));
    let mut touched = run.clone();
    scrapped(&mut touched);
    touched.mishap("slow_device", 0, &[5]);
    assert_eq!(touched.report().differences, Vec::<String>::new(), "a mishap excuses it");
    let mut halted = run.clone();
    scrapped(&mut halted);
    halted.mishap("line_halted", 0, &[5]);
    assert_eq!(halted.report().differences, Vec::<String>::new(), "nobody was there to let it pass");
}

#[test]
fn a_line_that_was_halted_excuses_nothing_that_passed_the_gate() {
    let scrapped = |run: &mut Run| {
        run.mishap("line_halted", 0, &[1, 2]);
        run.views.units[0].state = "label_scrapped".into();
    };
    let found = Run::rough().finds(scrapped);
    assert!(found.contains("unit 1 (A1) conforms, nothing touched it, and it stands as label_scrapped"), "{found}");
    assert!(found.contains("unit 1 (A1) passed the gate and is not commissioned"), "{found}");
}

#[test]
fn a_full_case_that_nothing_touched_has_to_close() {
    let run = Run::rough();
    let unsealed = |run: &mut Run| {
        run.truth.retain(|line| {
            let is_case = line.contains(r#""station":"packer""#) && line.contains(r#""container":2"#);
            !(is_case && (line.contains(r#""kind":"gate""#) || line.contains(r#""kind":"closed""#)))
        });
    };
    let what = "case 2 of the packer (epoch 71) is full and conforming, nothing touched it, and it is not closed";
    assert!(run.finds(unsealed).contains(what));
    let touched = |run: &mut Run| {
        unsealed(run);
        run.mishap("lost_permit_ack", 2, &[]);
    };
    assert!(!run.finds(touched).contains(what), "but on paper it stands as closed, and that is found");
}

#[test]
fn a_mishap_excuses_nothing_in_a_closed_case() {
    let run = Run::rough();
    let slipped = |run: &mut Run| {
        run.mishap("missing_reject", 0, &[5]);
        run.swap_in_truth(
            r#""container":1,"token":10,"children":[],"inside":[1,2]"#,
            r#""container":1,"token":10,"children":[],"inside":[1,5]"#,
        );
    };
    assert!(run.finds(slipped).contains("container"));
    let mut changed = run.clone();
    slipped(&mut changed);
    assert_eq!(changed.report().wrong_in_closed_case, 1);
    let paper = |run: &mut Run| {
        run.mishap("gate_forced", 1, &[1, 2]);
        run.views.containers[0].state = "open".into();
    };
    assert!(run.finds(paper).contains("stands as open"));
}

#[test]
fn an_open_reject_needs_an_alarm() {
    let run = Run::rough();
    let open = |run: &mut Run| run.views.rejects[0].confirmed_seq = None;
    let tracked = |run: &mut Run| run.views.inspections.iter_mut().for_each(|row| row.track = Some(row.inspection));
    let silent = |run: &mut Run| {
        open(run);
        tracked(run);
    };
    assert!(run.finds(silent).contains("no reject is confirmed and no alarm says so"));
    let mut alarmed = run.clone();
    silent(&mut alarmed);
    alarmed.views.rejects[0].alarm_seq = Some(10);
    assert_eq!(alarmed.report().differences, Vec::<String>::new());
}

#[test]
fn a_forced_gate_that_the_journal_does_not_know_is_found() {
    let run = Run::rough();
    let forced = |run: &mut Run| run.mishap("gate_forced", 0, &[]);
    assert!(run.finds(forced).contains("no gate_forced fact"));
    let mut known = run.clone();
    forced(&mut known);
    known.fact("gate_forced", "{}");
    assert_eq!(known.report().differences, Vec::<String>::new());
}
