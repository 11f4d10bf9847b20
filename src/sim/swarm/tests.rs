//! A few seeds, short: what the whole swarm does in release builds. The harness itself is tested too: it must see.

use crate::domain::tag::StationId;
use crate::sim::swarm::plan::{Fault, Plan};
use crate::sim::swarm::run::{self, Forks, Report};
use crate::sim::swarm::script::Script;
use crate::sim::swarm::setup::Setup;
use crate::sim::swarm::world::{Due, World};

fn sound(report: &Report) {
    assert!(report.violation.is_none(), "seed {}: {:?}", report.seed, report.violation);
}

// I01, I28, I30
#[test]
fn a_handful_of_seeds_keeps_every_promise() {
    for seed in 0..6 {
        sound(&run::seed(seed, 150, Forks::Some, false));
    }
}

// I28: what a start recovers is what the line knew, at every durable step, and it goes on from there.
#[test]
fn a_crash_at_any_durable_step_changes_nothing_that_was_promised() {
    for name in ["calm", "gates"] {
        let script = Script::named(name).expect("it is in the list");
        sound(&script.run(8, false));
    }
}

// I29
#[test]
fn the_same_seed_gives_the_same_facts() {
    let (first, again) = (run::seed(3, 80, Forks::None, false), run::seed(3, 80, Forks::None, false));
    assert_eq!(first.head, again.head);
    assert_ne!(first.head, run::seed(4, 80, Forks::None, false).head);
}

/// A line at work on a day without faults.
fn at_work() -> World {
    let mut world = World::new(Setup::drawn(3, 400), &Plan::calm());
    while world.model().presented < 30 {
        world.step().expect("nothing goes wrong on a calm day");
        assert!(world.now_us() < 60_000_000, "the line never began: {}", world.why_not_running());
    }
    world
}

// I30: the harness ends what it began.
#[test]
fn mishaps_that_wait_for_their_chance_end_with_the_storm() {
    let mut world = at_work();
    for fault in [Fault::RejectPhantom, Fault::RejectMissing, Fault::SealFails, Fault::LabelUnread].repeat(60) {
        world.strike(fault).expect("a strike breaks no promise");
    }
    world.step().expect("the plant takes them up");
    world.recovers().expect("ready in ten seconds, and a case is closed");
}

// I30: what came for a paused process is not late once healing has ended the pause.
#[test]
fn a_pause_that_heals_early_delivers_what_came_meanwhile() {
    let mut world = at_work();
    for _ in 0..4 {
        world.strike(Fault::Pause).expect("a strike breaks no promise");
    }
    world.drop_device(StationId(3), 300_000);
    for _ in 0..40 {
        world.step().expect("a paused line breaks no promise");
    }
    world.recovers().expect("ready in ten seconds, and a case is closed");
    let waits = |at: u64, due: &Due| matches!(due, Due::Arrival(..)) && at > world.now_us() + 2_000_000;
    assert!(!world.due.iter().any(|((at, _), due)| waits(*at, due)), "something still waits for the pause to end");
}
