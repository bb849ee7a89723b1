//! Work with one fault at one moment of one act, over every moment that the program names.
//!
//! Each round picks a moment, what happens there (the process is killed, the system says that it
//! failed, or nothing goes on for a while) and a piece of work that comes by. After it everything is
//! brought up again by ordinary commands, and held against what was answered before.

mod agent;
mod claims;
mod loss;
mod moments;
mod report;
mod round;
mod settle;
mod stage;
mod work;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};

use self::{moments::Moments, report::Report, stage::Stage};
use super::dice::Dice;
use crate::shell;

/// So many rounds share a store: long enough that logs are rotated, copied and signed.
const BATCH: u32 = 25;

/// What is wanted of a campaign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// How many arenas at once.
    pub(crate) workers: u32,
    /// Only at points whose names begin like this.
    pub(crate) at: Option<&'a str>,
}

pub(crate) fn campaign(wanted: Wanted<'_>) -> Result<()> {
    let Wanted {
        rounds,
        seed,
        workers,
        at,
    } = wanted;
    println!("chaos faults: {rounds} rounds, --seed {seed}");
    let watch = shell::start_watch();
    let moments = Moments::of_the_program()?;
    let (moments, only) = match at {
        Some(point) => (moments.at(point)?, format!(" --at {point}")),
        None => (moments, String::new()),
    };
    let batches = rounds.div_ceil(BATCH);
    let next = AtomicU32::new(0);
    let failed = AtomicBool::new(false);
    let report = Mutex::new(Report::new(&moments));
    let work = || -> Result<()> {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= batches {
                break;
            }
            let length = BATCH.min(rounds - number * BATCH);
            let seed = seed.wrapping_add(u64::from(number));
            let done = batch(&moments, length, seed).with_context(|| {
                format!("repeat with: cargo xtask chaos faults --seed {seed} --rounds {length} --workers 1{only}")
            });
            if done.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.add(done?);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ends.collect::<Result<Vec<()>>>()
    })?;
    let report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.print(watch.elapsed());
    Ok(())
}

fn batch(moments: &Moments, rounds: u32, seed: u64) -> Result<Vec<report::Fired>> {
    let stage = Stage::new(seed)?;
    let done = rounds_on(&stage, moments, rounds, seed);
    match done {
        Ok(done) => Ok(done),
        Err(error) => {
            let place = stage.keep();
            Err(error.context(format!("everything stays in {}", place.display())))
        }
    }
}

fn rounds_on(
    stage: &Stage,
    moments: &Moments,
    rounds: u32,
    seed: u64,
) -> Result<Vec<report::Fired>> {
    let mut dice = Dice::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut done = Vec::new();
    let mut claims = Vec::new();
    for number in 0..rounds {
        let fault = moments.pick(&mut dice);
        let told = fault.to_string();
        let (fired, claimed) = round::run(stage, fault, &mut dice)
            .with_context(|| format!("round {number}: {told}"))?;
        done.push(fired);
        claims.extend(claimed);
    }
    for claim in &claims {
        claim
            .check(stage)
            .context("at the end of all rounds in one store")?;
    }
    settle::everything(stage).context("at the end of all rounds in one store")?;
    Ok(done)
}
