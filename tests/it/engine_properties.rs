//! The engine under random inputs: a plant that behaves and misbehaves, crashes, and bytes that no plant would send. After
//! every step the promises are judged from outside (`judge`); at the end the faults stop, and the line must work again.

mod astray;
mod journal;
mod judge;
mod matching;
mod plant;

use plant::{Act, Plant};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn acts(kinds: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Act>> {
    let act = (kinds, any::<u8>(), any::<u8>()).prop_map(|(kind, a, b)| Act { kind, a, b });
    prop::collection::vec(act, 1..120)
}

fn config() -> Config {
    Config { failure_persistence: None, max_shrink_iters: 2_000, ..Config::with_cases(cases()) }
}

/// More with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(128)
}

fn holds(kinds: std::ops::Range<u8>, is_reset: bool) {
    let outcome = TestRunner::new(config()).run(&acts(kinds), |acts| {
        let mut plant = Plant::new();
        acts.iter().try_for_each(|act| plant.play(*act)).map_err(TestCaseError::fail)?;
        plant.heal(is_reset).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn promises_hold_over_a_plant_with_faults_and_the_line_heals() {
    holds(0..plant::CHAOS, false);
}

#[test]
fn promises_hold_over_hostile_stations_and_new_epochs_heal_the_line() {
    holds(0..plant::KINDS, true);
}

/// A change that the tables refuse would end the process with exit 74: none may follow from any facts.
#[test]
fn the_journal_takes_whatever_the_engine_decides() {
    let outcome = TestRunner::new(config()).run(&acts(0..plant::KINDS), |acts| {
        let mut plant = Plant::new();
        acts.iter().try_for_each(|act| plant.play(*act)).map_err(TestCaseError::fail)?;
        journal::takes(&plant).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Liveness of the whole: what the counts can explain closes without a signature, over rejects, phantoms and crashes.
#[test]
fn a_calm_batch_always_closes() {
    let outcome = TestRunner::new(config()).run(&acts(0..12), |acts| {
        let mut plant = Plant::new();
        acts.iter().try_for_each(|act| plant.play_calmly(*act)).map_err(TestCaseError::fail)?;
        plant.finish().map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// The generator must reach what it is to attack.
#[test]
fn random_plants_close_cases() {
    let (mut containers, mut withdrawn, mut again) = (0, 0, 0);
    let strategy = prop::collection::vec((0..plant::CHAOS, any::<u8>(), any::<u8>()), 240);
    let mut runner = TestRunner::deterministic();
    for _ in 0..96 {
        let tree = strategy.new_tree(&mut runner).expect("the strategy rejects nothing");
        let mut plant = Plant::new();
        for (kind, a, b) in proptest::strategy::ValueTree::current(&tree) {
            plant.play(Act { kind, a, b }).expect("judged in the other tests");
        }
        containers += plant.judge.closed_containers();
        withdrawn += plant.judge.withdrawn_units();
        again += plant.judge.released_again;
    }
    assert!(containers > 20, "{containers} containers were closed");
    assert!(withdrawn + again > 20, "{withdrawn} units went by hand, {again} containers came back");
}
