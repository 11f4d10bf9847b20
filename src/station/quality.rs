//! The quality matrix: each tag of each kind of station, each way of not being good, polled and subscribed. Whatever the tag,
//! nothing leaves a station that could verify a unit, pass it, pack it or close a container.
//!
//! A polled device tells every tag in every read; a subscribed one tells all at first and then what changed. A null is what a
//! driver makes of a value that it could not decode: bad, code 0. Stale is a device whose heartbeat no longer moves.
//!
//! Here on paper; `sim::tests::quality` sends the same through the real drivers.

use crate::domain::tag::{Quality, Reading, StationKind, Tag, TagValue};
use crate::engine::input::{CloseEnd, LostCause, Observed, Read};
use crate::station::Cursor;
use crate::station::script::{Script, doubted, number, reading, settings, text};

/// OPC UA Part 8 annex A and Part 4 table 178: sub-codes as field devices send them; Modbus exceptions 4, 6 and 11; null.
const NOT_GOOD: [Quality; 11] = [
    Quality::Uncertain(0x4000_0000),
    Quality::Uncertain(0x4090_0000),
    Quality::Uncertain(0x4094_0000),
    Quality::Bad(0x8000_0000),
    Quality::Bad(0x8031_0000),
    Quality::Bad(0x808B_0000),
    Quality::Bad(0x80AD_0000),
    Quality::Bad(4),
    Quality::Bad(6),
    Quality::Bad(11),
    Quality::Bad(0),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Poll,
    Subscribe,
}

const MODES: [Mode; 2] = [Mode::Poll, Mode::Subscribe];

/// All that a station of this kind shows after its event `n`.
pub(crate) fn shown(kind: StationKind, n: i64) -> Vec<Reading> {
    let code = |n: i64| format!("code {n}").into_bytes();
    match kind {
        StationKind::Printer => vec![number(Tag::PrintedSeq, n), number(Tag::AcceptedSeq, n)],
        StationKind::Camera => vec![
            number(Tag::Seq, n),
            text(Tag::Code, &code(n)),
            number(Tag::Track, n),
            reading(Tag::Grade, TagValue::Milli(4000)),
            number(Tag::Overrun, 0),
        ],
        StationKind::Rejector => {
            let mut ring = vec![0; 128];
            for (slot, value) in ring.iter_mut().skip(2 * (n as usize % 64)).take(2).zip([n, 1]) {
                *slot = value;
            }
            vec![number(Tag::InCount, n), number(Tag::EndSeq, n), reading(Tag::Ends, TagValue::Ints(ring))]
        }
        StationKind::Packer | StationKind::Palletizer => vec![
            number(Tag::Seq, n),
            number(Tag::Request, 2),
            number(Tag::Container, n),
            number(Tag::ChildCount, 1),
            reading(Tag::Children, TagValue::Texts(vec![code(n)])),
            text(Tag::LabelRead, &code(n)),
            number(Tag::PermitAck, n),
            number(Tag::CloseResult, 1),
            number(Tag::GateState, 0),
        ],
    }
}

/// What could go on to verify, pass, pack or close. `tag` is the one that was not good.
pub(crate) fn is_consent(observed: &Observed, tag: Tag) -> bool {
    match observed {
        // A result without a good grade or a good track is told as such, and the engine fails it where it needs one.
        Observed::Result(result) => match tag {
            Tag::Grade => result.grade_milli.is_some(),
            Tag::Track => result.track.is_some(),
            _ => matches!(result.read, Read::Code(_)),
        },
        Observed::CloseRequested(request) => !request.not_good,
        Observed::CloseEnded { result, .. } => *result == CloseEnd::Done,
        Observed::PermitAcked { .. } => true,
        Observed::Ended { .. } | Observed::PrinterCounted { .. } => true,
        _ => false,
    }
}

/// What a damaged tag may not let through. A request is told with what its close result says, each by its own tag.
pub(crate) fn concerns(observed: &Observed, tag: Tag) -> bool {
    match observed {
        Observed::CloseEnded { .. } => !matches!(
            tag,
            Tag::Request
                | Tag::Container
                | Tag::ChildCount
                | Tag::Children
                | Tag::LabelRead
                | Tag::PermitAck
                | Tag::GateState
        ),
        Observed::PermitAcked { .. } => !matches!(
            tag,
            Tag::Request
                | Tag::Container
                | Tag::ChildCount
                | Tag::Children
                | Tag::LabelRead
                | Tag::CloseResult
                | Tag::GateState
        ),
        Observed::CloseRequested(_) => !matches!(tag, Tag::PermitAck | Tag::CloseResult | Tag::GateState),
        _ => true,
    }
}

/// The next read in this mode, where `tag` has a value of that quality.
fn next_read(kind: StationKind, n: i64, mode: Mode, beat: i64, tag: Tag, quality: Quality) -> Vec<Reading> {
    let mut all = vec![number(Tag::Heartbeat, beat), number(Tag::Epoch, 7)];
    all.extend(shown(kind, n));
    if mode == Mode::Subscribe {
        let before = shown(kind, n - 1);
        all.retain(|new| {
            let is_same = before.iter().any(|old| old.tag == new.tag && old.value == new.value);
            new.tag == tag || new.tag == Tag::Heartbeat || (new.tag != Tag::Epoch && !is_same)
        });
    }
    for reading in all.iter_mut().filter(|reading| reading.tag == tag) {
        reading.quality = quality;
    }
    all
}

fn joined(kind: StationKind) -> Script {
    let mut script = Script::new(settings(kind), Cursor { device_epoch: 7, ..Cursor::default() });
    script.join(7, &shown(kind, 0));
    script
}

pub(crate) fn tags_of(kind: StationKind) -> Vec<Tag> {
    [Tag::Heartbeat, Tag::Epoch].into_iter().chain(shown(kind, 1).into_iter().map(|reading| reading.tag)).collect()
}

// F44, F45, F55
#[test]
fn no_tag_that_is_not_good_verifies_packs_or_closes_anything_polled_or_subscribed() {
    let mut cells = 0;
    for kind in StationKind::ALL.iter().copied() {
        for (mode, quality) in MODES.into_iter().flat_map(|mode| NOT_GOOD.map(|quality| (mode, quality))) {
            for tag in tags_of(kind) {
                let mut script = joined(kind);
                let out = script.read(&next_read(kind, 1, mode, 100, tag, quality)).0;
                let wrong: Vec<_> = out.iter().filter(|said| concerns(said, tag) && is_consent(said, tag)).collect();
                assert!(wrong.is_empty(), "{kind:?}.{tag} {quality:?} {mode:?}: {wrong:?}");
                cells += 1;
            }
        }
    }
    assert!(cells > 700, "{cells} cells");
}

/// The control of the matrix: with everything good, each kind says what the matrix looks for.
#[test]
fn the_same_reads_with_every_tag_good_say_everything() {
    for kind in StationKind::ALL.iter().copied() {
        for mode in MODES {
            let out = joined(kind).read(&next_read(kind, 1, mode, 100, Tag::Heartbeat, Quality::Good)).0;
            assert!(out.iter().any(|said| is_consent(said, Tag::Seq)), "{kind:?} {mode:?}: {out:?}");
        }
    }
}

// F44, F45
#[test]
fn what_was_not_good_is_told_once_it_is_good_or_stays_a_fail() {
    for kind in StationKind::ALL.iter().copied() {
        let guard = Tag::guard(kind);
        for mode in MODES {
            let mut script = joined(kind);
            let out = script.read(&next_read(kind, 1, mode, 100, guard, NOT_GOOD[0])).0;
            assert_eq!(doubted(&out), Some(guard), "{kind:?} {mode:?}");
            // A device tells a tag again when its quality changes; the rest it tells with its guard.
            let out = script.read(&next_read(kind, 1, Mode::Poll, 101, guard, Quality::Good)).0;
            assert_eq!(out.first(), Some(&Observed::Joined { device_epoch: 7, reset: false }), "{kind:?} {mode:?}");
            assert!(out.iter().any(|said| is_consent(said, Tag::Seq)), "{kind:?} {mode:?}: {out:?}");
        }
    }
}

// F46
#[test]
fn a_device_whose_heartbeat_stands_still_says_nothing_that_counts_however_good_its_values() {
    for kind in StationKind::ALL.iter().copied() {
        for mode in MODES {
            let mut script = joined(kind);
            script.read(&next_read(kind, 0, mode, 100, Tag::Heartbeat, Quality::Good));
            script.pass_ms(1001);
            assert_eq!(script.tick(), [Observed::Lost { cause: LostCause::Heartbeat }], "{kind:?}");
            let out = script.read(&next_read(kind, 1, mode, 100, Tag::Heartbeat, Quality::Good)).0;
            assert_eq!(out, [], "{kind:?} {mode:?}");
        }
    }
}

// F48, F59
#[test]
fn a_session_that_delivers_nothing_at_all_loses_the_station_by_our_own_clock() {
    for kind in StationKind::ALL.iter().copied() {
        let mut script = joined(kind);
        script.pass_ms(1000);
        assert_eq!(script.tick(), [], "{kind:?}: the time-out itself still holds");
        script.pass_ms(1);
        assert_eq!(script.tick(), [Observed::Lost { cause: LostCause::Heartbeat }], "{kind:?}");
    }
}
