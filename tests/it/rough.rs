//! Rough weather in virtual time: the simulated plant with every kind of mishap, and the line as it ships (stations, engine, spine,
//! the real journal), without a network between. What comes out is judged by the comparison that judges the demo.

mod night;

use std::collections::BTreeSet;

use sealgate::sim::mishap::{Mishap, Rough};
use sealgate::sim::settings::{PlantSettings, Weather};

use night::Night;

fn rough(seed: u64, kinds: &[Mishap], units: u64) -> PlantSettings {
    let rough = Rough { kinds: kinds.to_vec(), times: 1 };
    PlantSettings {
        seed,
        rate_per_minute: 6000,
        units_min: units,
        weather: Weather::NONE,
        rough,
        ..PlantSettings::default()
    }
}

/// Seeds of one run of this test; more of them with `SEALGATE_ROUGH_SEEDS=1..40`.
fn seeds() -> std::ops::Range<u64> {
    let named = std::env::var("SEALGATE_ROUGH_SEEDS").ok();
    let range = named.as_deref().and_then(|text| text.split_once("..")).map(|(from, to)| (from.parse(), to.parse()));
    match range {
        Some((Ok(from), Ok(to))) => from..to,
        Some(_) => panic!("SEALGATE_ROUGH_SEEDS is written 1..40"),
        None => 1..3,
    }
}

#[test]
fn on_a_calm_day_everything_is_commissioned_and_every_case_closes() {
    let report = Night::new(rough(1, &[], 300)).into_report();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.presented, report.commissioned, report.false_rejects), (300, 300, 0));
}

// F28, F44, F45, F46, F47, F78, F79, F81, F83, F84, F85, F86, F87, F88, F94, F97, F99, F101, F102, F106, F108, F109, F112
#[test]
fn in_rough_weather_nothing_wrong_is_closed_and_what_was_not_touched_is_treated_as_on_a_calm_day() {
    for seed in seeds() {
        let report = Night::new(rough(seed, Mishap::ALL, 2000)).into_report();
        let never: Vec<&str> =
            Mishap::ALL.iter().map(|kind| kind.name()).filter(|kind| !report.faults.contains_key(*kind)).collect();
        assert_eq!(report.differences, Vec::<String>::new(), "seed {seed}");
        assert_eq!(never, Vec::<&str>::new(), "seed {seed}");
        assert_eq!(report.wrong_in_closed_case, 0, "seed {seed}");
        assert!(report.touched * 4 < report.presented * 3, "seed {seed}: {} of {}", report.touched, report.presented);
    }
}

#[test]
fn each_kind_alone_is_survived() {
    for (seed, mishap) in (1..).zip(Mishap::ALL) {
        // What is put back lay in the bin or was taken off before.
        let mut kinds = vec![*mishap];
        if *mishap == Mishap::UnitPutBack {
            kinds.extend([Mishap::UnitRemoved, Mishap::WrongLot]);
        }
        let report = Night::new(rough(seed, &kinds, 200)).into_report();
        assert_eq!(report.differences, Vec::<String>::new(), "{mishap}");
        let happened: BTreeSet<&str> = report.faults.keys().map(String::as_str).collect();
        assert_eq!(happened, kinds.iter().map(|kind| kind.name()).collect());
    }
}
