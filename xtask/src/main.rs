//! Chores of this repository: `cargo xtask demo | model | test | chaos | bench | tidy`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what it is for"
)]

mod bench;
mod chaos;
mod codegen;
mod demo;
mod model;
mod opencode;
mod packages;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of this repository")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Set up all that is needed and run the main job: five tasks through real OpenCode
    Demo(demo::Options),
    /// Open a shell in which OpenCode asks a scripted model, for who has no account
    Model(model::Options),
    /// Install what the tests need, run every check and test, print `N passed, N failed`
    Test(test::Options),
    /// Kill the real binary's processes at random, and race it against itself
    Chaos(chaos::Options),
    /// Measure the released program beside what it is compared with; fail where a limit is missed
    Bench(bench::Options),
    /// Write the pages of the reference that are made from the program
    Codegen(codegen::Options),
    /// Check the rules that no compiler checks: which crate may use which, what texts may say
    Tidy,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Demo(options) => demo::run(&options),
        Chore::Model(options) => model::run(&options),
        Chore::Test(options) => test::run(&options),
        Chore::Chaos(options) => chaos::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Codegen(options) => codegen::run(&options),
        Chore::Tidy => tidy::run(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
