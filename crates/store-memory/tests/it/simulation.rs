//! The whole application over this store, with everything that can happen to it.

use testkit::simulation::{self, Lived};

use crate::make;

/// So many courses of events, each with a seed of its own.
const COURSES: u64 = 300;

const STEPS: u32 = 400;

/// `CREWBOSS_SIMULATION_SEED=<seed>` lives through one again.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a person names the seed to run again"
)]
fn nothing_is_lost_done_twice_or_left_behind() {
    let one = std::env::var("CREWBOSS_SIMULATION_SEED").ok();
    let one = one.and_then(|seed| seed.parse::<u64>().ok());
    let seeds = one.map_or(0..COURSES, |seed| seed..seed + 1);
    let mut all = (0, 0, 0, 0);
    for seed in seeds {
        println!("CREWBOSS_SIMULATION_SEED={seed}");
        let lived = simulation::run(make, seed, STEPS);
        all.0 += lived.deaths;
        all.1 += lived.refusals;
        all.2 += lived.completed;
        all.3 += lived.entries;
    }
    println!("deaths, refusals, completed, entries: {all:?}");
    assert!(all.0 > 0 && all.1 > 0 && all.2 > 0, "{all:?}");
}

#[test]
fn a_seed_is_a_course_of_events() {
    let live = || -> Lived { simulation::run(make, 7, STEPS) };
    assert_eq!(live(), live());
}
