//! `man`: the manual page, made from the same definitions as the help.

use clap::CommandFactory as _;

use crate::{
    fail::{Exit, Fail, Outcome},
    output::Output,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "As: crewboss man | man -l -")]
pub(crate) struct Args {
    /// The page of this verb rather than of all
    #[arg(value_name = "VERB")]
    verb: Option<String>,
}

impl Args {
    pub(crate) fn run(self, out: &Output) -> Outcome {
        let mut command = super::Cli::command();
        command.build();
        let page = match &self.verb {
            None => command,
            Some(verb) => command
                .find_subcommand(verb)
                .filter(|found| !found.is_hide_set())
                .cloned()
                .ok_or_else(|| Fail::new(Exit::NotFound, format!("there is no verb `{verb}`")))?,
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(page)
            .render(&mut text)
            .map_err(|error| Fail::io("the page cannot be made", &error))?;
        if self.verb.is_none() {
            text.extend(exit_codes().as_bytes());
        }
        out.raw(&text)?;
        Ok(Exit::Ok)
    }
}

fn exit_codes() -> String {
    let mut text = ".SH \"EXIT STATUS\"\n".to_owned();
    for (exit, meaning) in Exit::TABLE {
        text.extend([".TP\n", &(*exit as u8).to_string(), "\n", meaning, "\n"]);
    }
    text
}
