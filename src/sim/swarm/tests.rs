//! A few seeds, short: what the whole swarm does in release builds. The harness itself is tested too: it must see.

use crate::sim::swarm::run::{self, Forks, Report};
use crate::sim::swarm::script::Script;

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
