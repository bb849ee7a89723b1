//! `completions`: for a shell.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    fail::{Exit, Outcome},
    output::Output,
};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "As: crewboss completions bash > ~/.local/share/bash-completion/completions/crewboss"
)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Outcome {
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut super::Cli::command(),
            "crewboss",
            &mut text,
        );
        out.raw(&text)?;
        Ok(Exit::Ok)
    }
}
