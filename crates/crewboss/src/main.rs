//! The `crewboss` program.

mod cli;
mod config;
mod connection;
mod context;
mod daemon;
mod deletion;
mod environment;
mod fail;
mod follow;
mod heads;
mod history;
mod interrupt;
mod launch;
mod layout;
mod listing;
mod node;
mod output;
mod papers;
mod places;
mod probe;
mod rebuild;
mod render;
mod retention;
mod stop;
mod stores;
#[cfg(debug_assertions)]
mod test_switches;
mod wiring;
mod workplace;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use sandbox_host::Prepared;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    #[cfg(debug_assertions)]
    if test_switches::install() {
        return ExitCode::SUCCESS;
    }
    let first = arguments.get(1).and_then(|argument| argument.to_str());
    match first {
        // Before anything is read or parsed: scripts ask for it often.
        Some("--version" | "-V") if arguments.len() == 2 => {
            let version = concat!("crewboss ", env!("CARGO_PKG_VERSION"), "\n");
            drop(std::io::stdout().write_all(version.as_bytes()));
            ExitCode::SUCCESS
        }
        Some(wiring::EXEC_SHIM) => match sandbox_host::exec_shim(&arguments[2..]) {
            Prepared::Own(arguments) => ExitCode::from(cli::main(arguments) as u8),
            Prepared::Refused(error) => {
                drop(writeln!(
                    std::io::stderr(),
                    "error: cannot execute: {error}"
                ));
                ExitCode::from(u8::try_from(sandbox_host::EXIT_NOT_STARTED).unwrap_or(1))
            }
        },
        _ => ExitCode::from(cli::main(arguments) as u8),
    }
}
