//! `cargo xtask chaos`: the real binary, many times over, with its processes killed at random.
//!
//! Every campaign prints its seed; the same seed kills at the same delays. `cargo xtask test` runs
//! a tenth of each.

mod arena;
mod census;
mod dice;
mod faults;
mod kills;
mod nodes;
mod races;

use std::process::ExitCode;

use anyhow::Result;

use crate::shell;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to do; everything where it is not given
    #[arg(value_enum)]
    campaign: Option<Campaign>,
    /// How often, in percent of a full campaign
    #[arg(long, default_value_t = 100)]
    percent: u32,
    /// Repeat the campaign that printed this seed
    #[arg(long)]
    seed: Option<u64>,
    /// How many rounds of `faults`, or faults of `nodes`, whatever the percentage
    #[arg(long)]
    rounds: Option<u32>,
    /// How many arenas `faults` works in at once
    #[arg(long, default_value_t = 3)]
    workers: u32,
    /// Only `faults` at points whose names begin like this
    #[arg(long, value_name = "POINT")]
    at: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Campaign {
    /// 500 launches with the command, the daemon or the runner killed at random points
    Kills,
    /// 1,000 times two `run` at once on one pending task
    Pairs,
    /// 200 `start` at once
    Starts,
    /// 200 times `task complete`, `task fail` and `cancel` at once on one task
    Ends,
    /// 5,000 rounds of work, each with one fault at one moment of one act
    Faults,
    /// 2,000 faults on three nodes and the PostgreSQL server that they share
    Nodes,
    /// 1,000 tasks on three nodes, some through OpenCode, and one node lost half-way
    Thousand,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    shell::run(shell::cargo().args(["build", "--quiet", "--package", "crewboss"]))?;
    campaigns(options.campaign, options.percent, options.seed)?;
    if options.campaign.is_none_or(|only| only == Campaign::Faults) {
        let rounds = options.rounds.unwrap_or(share(FAULTS, options.percent));
        let seed = options.seed.unwrap_or_else(dice::fresh_seed);
        faults::campaign(faults::Wanted {
            rounds,
            seed,
            workers: options.workers,
            at: options.at.as_deref(),
        })?;
    }
    if options.campaign.is_none_or(|only| only == Campaign::Nodes) {
        let faults = options
            .rounds
            .unwrap_or(share(nodes::FAULTS, options.percent));
        nodes::campaign(faults, options.seed.unwrap_or_else(dice::fresh_seed))?;
    }
    if options
        .campaign
        .is_none_or(|only| only == Campaign::Thousand)
    {
        let tasks = options.rounds.unwrap_or(share(1_000, options.percent));
        nodes::thousand(usize::try_from(tasks)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The rounds of a full campaign of faults.
const FAULTS: u32 = 5_000;

fn share(full: u32, percent: u32) -> u32 {
    (full * percent / 100).max(1)
}

/// A tenth of everything, and less of what takes long, for `cargo xtask test`.
pub(crate) fn sample() -> Vec<(&'static str, Result<()>)> {
    vec![
        ("chaos kills", campaigns(Some(Campaign::Kills), 10, None)),
        ("chaos pairs", campaigns(Some(Campaign::Pairs), 10, None)),
        ("chaos starts", campaigns(Some(Campaign::Starts), 100, None)),
        ("chaos ends", campaigns(Some(Campaign::Ends), 10, None)),
        (
            "chaos faults",
            faults::campaign(faults::Wanted {
                rounds: share(FAULTS, 2),
                seed: dice::fresh_seed(),
                workers: 3,
                at: None,
            }),
        ),
        (
            "chaos nodes",
            nodes::campaign(share(nodes::FAULTS, 5), dice::fresh_seed()),
        ),
    ]
}

fn campaigns(only: Option<Campaign>, percent: u32, seed: Option<u64>) -> Result<()> {
    let wanted = |campaign| only.is_none_or(|only| only == campaign);
    let share = |full| share(full, percent);
    let seed = seed.unwrap_or_else(dice::fresh_seed);
    if wanted(Campaign::Kills) {
        kills::campaign(share(500), seed)?;
    }
    if wanted(Campaign::Pairs) {
        races::pairs(share(1_000))?;
    }
    if wanted(Campaign::Starts) {
        races::starts(share(200))?;
    }
    if wanted(Campaign::Ends) {
        races::ends(share(200))?;
    }
    Ok(())
}
