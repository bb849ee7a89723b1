//! What happened where, and how often.

use std::{collections::BTreeMap, time::Duration};

use super::moments::{Moment, Moments, What, Work};

/// A round's fault, and whether it came.
#[derive(Debug)]
pub(super) struct Fired {
    pub(super) moment: Moment,
    pub(super) what: What,
    pub(super) work: Work,
    pub(super) came: bool,
    pub(super) has_daemon: bool,
    pub(super) claims: usize,
    pub(super) took: Duration,
}

#[derive(Debug, Default)]
struct Counts {
    rounds: u64,
    killed: u64,
    failed: u64,
    stalled: u64,
}

#[derive(Debug)]
pub(super) struct Report {
    moments: BTreeMap<Moment, Counts>,
    works: BTreeMap<Work, (u64, u64, Duration)>,
    daemons: u64,
    claims: usize,
}

impl Report {
    pub(super) fn new(moments: &Moments) -> Self {
        let none = |moment: &Moment| (moment.clone(), Counts::default());
        Self {
            moments: moments.0.iter().map(none).collect(),
            works: BTreeMap::new(),
            daemons: 0,
            claims: 0,
        }
    }

    pub(super) fn add(&mut self, rounds: Vec<Fired>) {
        for round in rounds {
            let came = u64::from(round.came);
            let counts = self.moments.entry(round.moment).or_default();
            counts.rounds += 1;
            match round.what {
                What::Kill => counts.killed += came,
                What::InputOutput | What::NoSpace => counts.failed += came,
                What::Stall(_) => counts.stalled += came,
            }
            let work = self.works.entry(round.work).or_default();
            *work = (work.0 + 1, work.1 + came, work.2 + round.took);
            self.daemons += u64::from(round.has_daemon);
            self.claims += round.claims;
        }
    }

    /// The tables, as Markdown.
    pub(super) fn print(&self, took: Duration) {
        let sum = |of: fn(&Counts) -> u64| -> u64 { self.moments.values().map(of).sum() };
        let (rounds, killed) = (sum(|one| one.rounds), sum(|one| one.killed));
        let (failed, stalled) = (sum(|one| one.failed), sum(|one| one.stalled));
        println!("\n| moment | rounds | killed | failed | stalled |\n|---|---|---|---|---|");
        for (Moment { point, when }, counts) in &self.moments {
            println!(
                "| {point} {when} | {} | {} | {} | {} |",
                counts.rounds, counts.killed, counts.failed, counts.stalled
            );
        }
        println!("\n| work | rounds | faults that came | ms a round |\n|---|---|---|---|");
        for (work, (rounds, came, took)) in &self.works {
            let each = took.as_millis() / u128::from(*rounds);
            println!("| {work:?} | {rounds} | {came} | {each} |");
        }
        println!(
            "\nchaos faults: {rounds} rounds, {} faults came ({killed} kills, {failed} failures, {stalled} stalls), \
             {} rounds with a daemon, {} acknowledged answers held, in {} s",
            killed + failed + stalled,
            self.daemons,
            self.claims,
            took.as_secs()
        );
        let never: Vec<String> = self
            .moments
            .iter()
            .filter(|(_, counts)| counts.killed + counts.failed + counts.stalled == 0)
            .map(|(moment, _)| format!("{} {}", moment.point, moment.when))
            .collect();
        if !never.is_empty() {
            println!("moments that never came: {}", never.join(", "));
        }
    }
}
