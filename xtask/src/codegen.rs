//! `cargo xtask codegen`: the pages of the reference that are made from the program.

use std::process::ExitCode;

use anyhow::Result;

use crate::shell;

/// The tests that hold these pages, and write them where the variable is set.
const TESTS: &[&str] = &["--package", "crewboss", "--test", "docs", "generated::"];

/// See [`TESTS`].
const WRITE: &str = "UPDATE_DOCS";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail if a page is stale
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.check {
        check()?;
        println!("docs/src/reference/generated is as the program says");
    } else {
        shell::run(tests().env(WRITE, "1"))?;
        println!("Wrote docs/src/reference/generated");
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails if a page is stale.
pub(crate) fn check() -> Result<()> {
    shell::run(tests().env_remove(WRITE))
}

fn tests() -> std::process::Command {
    let mut command = shell::cargo();
    command.args(["test", "--quiet"]).args(TESTS);
    command
}
