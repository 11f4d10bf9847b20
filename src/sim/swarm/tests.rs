//! A few seeds, short: what the whole swarm does in release builds. The harness itself is tested too: it must see.

use crate::sim::swarm::run::{self, Forks, Report};

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

// I29
#[test]
fn the_same_seed_gives_the_same_facts() {
    let (first, again) = (run::seed(3, 80, Forks::None, false), run::seed(3, 80, Forks::None, false));
    assert_eq!(first.head, again.head);
    assert_ne!(first.head, run::seed(4, 80, Forks::None, false).head);
}
