//! The rules of numbers, one table for every kind of station: repeat, jump, fall, wrap of 16 and of 32 bits, new epoch, reconnection
//! of a device without one, and coherence. Both protocols bring the same `TagUpdate`; what differs between them is the width
//! of the counters, which stands in the table.

use crate::domain::pack::Gate;
use crate::domain::tag::{Reading, StationKind, Tag, TagValue};
use crate::engine::input::{CameraResult, CloseRequest, GateState, Observed, Read, TrackEnd};
use crate::station::counter;
use crate::station::script::{Script, bad, doubted, number, reading, settings, text};
use crate::station::{Cursor, Settings};

const RING: u64 = 64;

/// No wrap; the widest multiple of the ring of ends in 16 bits and in 32 bits; an unsigned register and an unsigned double.
const WRAPS: [u64; 5] = [0, 65_472, 4_294_967_232, 65_535, 4_294_967_295];

const KINDS: [StationKind; 4] = [StationKind::Printer, StationKind::Camera, StationKind::Rejector, StationKind::Packer];

fn signed(value: u64) -> i64 {
    i64::try_from(value).expect("counts of a test are small")
}

/// What the device shows after event `n`, its counters as wide as `wrap` allows.
fn shown(kind: StationKind, n: u64, wrap: u64) -> Vec<Reading> {
    let wide = |count: u64| signed(counter::shown(Some(wrap).filter(|wrap| *wrap > 0), count));
    let code = n.to_string().into_bytes();
    match kind {
        StationKind::Printer => vec![number(Tag::PrintedSeq, wide(n)), number(Tag::AcceptedSeq, wide(n))],
        StationKind::Camera => vec![number(Tag::Seq, wide(n)), text(Tag::Code, &code), number(Tag::Track, wide(n))],
        StationKind::Rejector => {
            let mut ring = vec![0; 128];
            let slot = usize::try_from(n % RING).expect("a slot");
            (ring[2 * slot], ring[2 * slot + 1]) = (wide(n), 1);
            vec![number(Tag::InCount, wide(n)), number(Tag::EndSeq, wide(n)), reading(Tag::Ends, TagValue::Ints(ring))]
        }
        StationKind::Packer | StationKind::Palletizer => vec![
            number(Tag::Seq, wide(n)),
            number(Tag::Request, 1),
            number(Tag::Container, 5),
            number(Tag::ChildCount, 1),
            reading(Tag::Children, TagValue::Texts(vec![code])),
            number(Tag::PermitAck, 0),
            number(Tag::CloseResult, 0),
            number(Tag::GateState, 0),
        ],
    }
}

/// What event `n` is told as.
fn told(kind: StationKind, n: u64) -> Vec<Observed> {
    let code = n.to_string().into_bytes();
    match kind {
        StationKind::Printer => vec![Observed::PrinterCounted { accepted: n, printed: n }],
        StationKind::Camera => {
            let result = CameraResult { seq: n, track: Some(n), read: Read::Code(code), grade_milli: None };
            vec![Observed::Result(result)]
        }
        StationKind::Rejector => {
            vec![Observed::Entered { count: n }, Observed::Ended { end_seq: n, track: n, end: TrackEnd::Passed }]
        }
        StationKind::Packer | StationKind::Palletizer => vec![Observed::CloseRequested(CloseRequest {
            seq: n,
            gate: Gate::Seal,
            container: 5,
            children: vec![code],
            child_count: Some(1),
            label_read: None,
            not_good: false,
        })],
    }
}

/// What events `from` to `to`, of which only the last can be read, are told as.
fn told_after_jump(kind: StationKind, from: u64, to: u64) -> Vec<Observed> {
    let last = told(kind, to);
    match kind {
        StationKind::Camera => [vec![Observed::ResultsMissed { from, to: to - 1 }], last].concat(),
        StationKind::Rejector => {
            // Their slots say nothing: an end that cannot be read is missed, one by one.
            let missed = (from..to).map(|end| Observed::EndsMissed { from: end, to: end });
            [vec![last[0].clone()], missed.collect(), vec![last[1].clone()]].concat()
        }
        // A count that jumped is a count; requests before the one that stands were withdrawn by the machine.
        StationKind::Printer | StationKind::Packer | StationKind::Palletizer => last,
    }
}

fn with_wraps(kind: StationKind, wrap: u64) -> Settings {
    let counters = [Tag::PrintedSeq, Tag::AcceptedSeq, Tag::Seq, Tag::Track, Tag::InCount, Tag::EndSeq];
    Settings { wraps: counters.map(|tag| (tag, wrap)).to_vec(), ..settings(kind) }
}

/// A station that knows the device up to event `n`, levels told.
fn at(kind: StationKind, n: u64, wrap: u64) -> Script {
    let cursor = Cursor { device_epoch: 7, last_seq: n, last_track: n, printed: n, last_container: 5 };
    let mut script = Script::new(with_wraps(kind, wrap), cursor);
    script.join(7, &shown(kind, n, wrap));
    script
}

/// Every cell of the table that makes sense: the ring of ends wants a wrap that is a multiple of it.
fn cells() -> impl Iterator<Item = (StationKind, u64)> {
    let all = KINDS.into_iter().flat_map(|kind| WRAPS.map(|wrap| (kind, wrap)));
    all.filter(|(kind, wrap)| *kind != StationKind::Rejector || wrap % RING == 0)
}

// F50, F83
#[test]
fn a_repeat_says_nothing_however_often_it_comes() {
    for (kind, wrap) in cells() {
        let mut script = at(kind, 10, wrap);
        let event = shown(kind, 11, wrap);
        assert_eq!(script.said(&event), told(kind, 11), "{kind:?} {wrap}");
        for _ in 0..3 {
            assert_eq!(script.said(&event), [], "{kind:?} {wrap}");
        }
    }
}

// F49, F85
#[test]
fn a_jump_names_every_number_that_was_missed() {
    for (kind, wrap) in cells() {
        let mut script = at(kind, 10, wrap);
        assert_eq!(script.said(&shown(kind, 14, wrap)), told_after_jump(kind, 11, 14), "{kind:?} {wrap}");
    }
}

// F69
#[test]
fn counters_go_on_across_the_wrap_one_by_one_and_in_a_jump() {
    for (kind, wrap) in cells().filter(|(_, wrap)| *wrap > 0) {
        let mut script = at(kind, wrap - 2, wrap);
        for n in [wrap - 1, wrap, wrap + 1, wrap + 2] {
            assert_eq!(script.said(&shown(kind, n, wrap)), told(kind, n), "{kind:?} {wrap}: event {n}");
        }
        let mut script = at(kind, wrap - 1, wrap);
        let jumped = script.said(&shown(kind, wrap + 2, wrap));
        assert_eq!(jumped, told_after_jump(kind, wrap, wrap + 2), "{kind:?} {wrap}");
    }
}

// F70
#[test]
fn a_counter_that_falls_within_its_epoch_loses_the_station_until_it_stands_where_it_may() {
    for (kind, wrap) in cells() {
        let mut script = at(kind, 10, wrap);
        assert!(doubted(&script.said(&shown(kind, 9, wrap))).is_some(), "{kind:?} {wrap}");
        assert_eq!(script.said(&shown(kind, 9, wrap)), [], "{kind:?} {wrap}");
        let out = script.said(&shown(kind, 11, wrap));
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 7, reset: false }), "{kind:?} {wrap}");
        assert!(told(kind, 11).iter().all(|said| out.contains(said)), "{kind:?} {wrap}: {out:?}");
    }
}

// F47, F70
#[test]
fn a_new_epoch_begins_at_zero_and_what_was_missed_since_is_told() {
    for (kind, wrap) in cells() {
        let mut script = at(kind, 10, wrap);
        let event = [vec![number(Tag::Epoch, 8)], shown(kind, 3, wrap)].concat();
        let out = script.said(&event);
        assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 8, reset: true }), "{kind:?} {wrap}");
        let levels = |said: &Observed| matches!(said, Observed::GateMoved { state: GateState::Shut });
        let rest: Vec<Observed> = out.into_iter().skip(1).filter(|said| !levels(said)).collect();
        // Nothing was written to a printer since it started: what it took over is strange.
        let strange = (kind == StationKind::Printer).then_some(Observed::RecordStrange);
        let expected: Vec<Observed> = strange.into_iter().chain(told_after_jump(kind, 1, 3)).collect();
        assert_eq!(rest, expected, "{kind:?} {wrap}");
    }
}

// F47
#[test]
fn a_device_without_an_epoch_that_was_away_is_a_reset_and_nothing_is_guessed() {
    // Whether a printer is another one, its counters say.
    for (kind, wrap) in cells().filter(|(kind, _)| *kind != StationKind::Printer) {
        let mut without = with_wraps(kind, wrap);
        without.absent = vec![Tag::Epoch, Tag::EpochOut];
        let mut script = Script::new(without, Cursor::default());
        script.show(&shown(kind, 10, wrap));
        let epoch = |out: &[Observed]| match out.first() {
            Some(Observed::Joined { device_epoch, reset: true }) => *device_epoch,
            other => panic!("{kind:?} {wrap}: {other:?}"),
        };
        let first = epoch(&script.said(&shown(kind, 10, wrap)));
        script.reconnect();
        script.show(&shown(kind, 20, wrap));
        let out = script.said(&shown(kind, 20, wrap));
        assert!(epoch(&out) > first, "{kind:?} {wrap}");
        let missed = |said: &Observed| matches!(said, Observed::ResultsMissed { .. } | Observed::EndsMissed { .. });
        assert!(!out.iter().any(missed), "{kind:?} {wrap}: nothing is known of the numbers before: {out:?}");
    }
}

// F68
#[test]
fn values_that_were_not_read_with_their_number_belong_to_none() {
    let large = [Tag::Code, Tag::Ends, Tag::Children, Tag::Request];
    for (kind, wrap) in cells().filter(|(kind, _)| *kind != StationKind::Printer) {
        let mut script = at(kind, 10, wrap);
        let event = shown(kind, 11, wrap);
        let number_alone: Vec<Reading> =
            event.iter().filter(|reading| !large.contains(&reading.tag)).cloned().collect();
        let out = script.said(&number_alone);
        let early = |said: &Observed| told(kind, 11).contains(said) && !matches!(said, Observed::Entered { .. });
        assert!(!out.iter().any(early), "{kind:?} {wrap}: {out:?}");
        let torn: Vec<Reading> = event
            .iter()
            .map(|read| if read.tag == Tag::guard(kind) { bad(read.clone()) } else { read.clone() })
            .collect();
        assert_eq!(doubted(&script.said(&torn)), Some(Tag::guard(kind)), "{kind:?} {wrap}");
        let out = script.said(&event);
        assert!(told(kind, 11).iter().all(|said| out.contains(said)), "{kind:?} {wrap}: {out:?}");
    }
}
