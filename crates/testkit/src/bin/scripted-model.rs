//! Serves a scenario file until it is ended: `scripted-model SCENARIO [--port N]
//! [--home DIR] [--quit-with-stdin]`.
//!
//! It prints one line, the API's base address, once it listens. With `--home` it first makes an
//! isolated home for `OpenCode` in DIR and prints its environment after that line, as `NAME=VALUE`
//! lines and an empty one. With `--quit-with-stdin` it ends when its standard input does, so that it
//! never outlives whoever started it.

use std::{
    error::Error,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use testkit::scripted_model::{Scenario, ScriptedModel, isolated_env};

const USAGE: &str = "usage: scripted-model SCENARIO [--port N] [--home DIR] [--quit-with-stdin]";

#[derive(Debug, Default)]
struct Arguments {
    scenario: PathBuf,
    port: u16,
    home: Option<PathBuf>,
    quit_with_stdin: bool,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            complain(&format!("error: {problem}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            let mut cause = error.source();
            while let Some(inner) = cause {
                complain(&format!("caused by: {inner}"));
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut scenario = None;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--port" => {
                let port = words.next().ok_or("--port needs a number")?;
                arguments.port = port
                    .parse()
                    .map_err(|_| format!("--port: `{port}` is no port"))?;
            }
            "--home" => {
                arguments.home = Some(words.next().ok_or("--home needs a folder")?.into());
            }
            "--quit-with-stdin" => arguments.quit_with_stdin = true,
            _ if word.starts_with('-') => return Err(format!("unknown option `{word}`")),
            _ if scenario.is_some() => return Err(format!("a second scenario: `{word}`")),
            _ => scenario = Some(PathBuf::from(word)),
        }
    }
    arguments.scenario = scenario.ok_or("no scenario is named")?;
    Ok(arguments)
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let scenario = Scenario::from_file(&arguments.scenario)?;
    let model = ScriptedModel::start_at(scenario, arguments.port)?;
    announce(&model.base_url(), arguments.home.as_deref())?;
    if arguments.quit_with_stdin {
        let mut ignored = Vec::new();
        io::stdin().read_to_end(&mut ignored)?;
    } else {
        loop {
            thread::park();
        }
    }
    Ok(())
}

fn announce(base_url: &str, home: Option<&Path>) -> io::Result<()> {
    let mut lines = format!("{base_url}\n");
    if let Some(home) = home {
        for (name, value) in isolated_env(home, base_url)? {
            lines.extend([&name, "=", &value, "\n"]);
        }
        lines.push('\n');
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(lines.as_bytes())?;
    stdout.flush()
}

fn complain(message: &str) {
    // There is nowhere left to say that standard error is gone.
    let _unwritten = writeln!(io::stderr(), "{message}");
}
