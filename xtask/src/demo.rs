//! `cargo xtask demo`: the main job, from nothing to verified branches, on this machine.
//!
//! Everything it makes is below `.demo/` of this repository: OpenCode's home, Crewboss's home, the
//! sample repository. Without `--model` a scripted model answers, so nothing leaves the machine and
//! nothing costs anything.

mod sample;
mod stage;
mod verdict;

use std::process::ExitCode;

use anyhow::Result;

use crate::{opencode, packages, shell};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Use your own OpenCode configuration with this model (`provider/model`), at your expense
    #[arg(long, env = "CREWBOSS_DEMO_MODEL", value_name = "PROVIDER/MODEL")]
    model: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let watch = shell::start_watch();
    packages::require(packages::RUN)?;
    let opencode = opencode::install()?;
    println!("Building crewboss …");
    shell::run(shell::cargo().args([
        "build",
        "--quiet",
        "--package",
        "crewboss",
        "--package",
        "testkit",
    ]))?;
    let stage = stage::Stage::set(&opencode, options.model.as_deref())?;
    let tasks = stage.queue(sample::TASKS)?;
    stage.work(&tasks)?;
    let good = verdict::show(&stage, &tasks)?;
    println!("Took {} s.", watch.elapsed().as_secs());
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
