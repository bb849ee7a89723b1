//! The command line: one file for each verb, with its arguments and what it does.

mod archive;
mod attach;
mod audit;
mod cancel;
mod checkpoint;
mod clean;
mod completions;
mod config;
mod daemon;
mod decision;
mod deps;
mod diff;
mod doctor;
pub(crate) mod expected;
mod export;
mod history;
mod import;
mod index;
mod init;
mod lock;
mod logs;
mod man;
mod merge;
mod node;
mod note;
mod other_names;
mod quota;
mod repair;
mod retry;
mod run;
mod runner;
mod self_test;
mod serve;
mod session;
mod show;
mod start;
mod status;
mod store;
mod task;
mod timeout;
mod wait;

use std::{ffi::OsString, path::PathBuf};

use api_types::{ErrorDocument, ProblemCode};
use clap::{Parser, Subcommand};

use crate::{
    context::Context,
    environment::Environment,
    fail::{Exit, Fail, Outcome},
    output::Output,
};

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong input, 3 not found, 4 the state does not allow it,
5 unavailable, 124 time is over, 130 interrupted.";

/// Runs crews of coding agents: a durable task queue, isolated workspaces, checked results.
#[derive(Debug, Parser)]
#[command(name = "crewboss", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Work on the project in this folder instead of the one around the current folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    project: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Work in place on .gemini/agents (gemini) or .orchestra (orchestra)
    #[arg(
        long,
        global = true,
        value_name = "LAYOUT",
        help_heading = "Global options"
    )]
    layout: Option<String>,
    /// Say on stderr what is being done (as `CREWBOSS_LOG=debug`)
    #[arg(long, short = 'd', global = true, help_heading = "Global options")]
    debug: bool,
    /// Use no colours (as `NO_COLOR`)
    #[arg(long, global = true, help_heading = "Global options")]
    no_color: bool,
    /// Take in variables of Crewboss that this file sets and nothing else has (`.env`, for `daemon` and `serve`)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    env_file: Option<PathBuf>,
    /// Set a configuration key for this command, as KEY=VALUE; may be repeated
    #[arg(
        long = "config",
        global = true,
        value_name = "KEY=VALUE",
        help_heading = "Global options"
    )]
    settings: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make this folder a project, with a commented configuration
    Init(init::Args),
    /// Queue a task for an agent
    Start(Box<start::Args>),
    /// Start waiting tasks, each in a process of its own
    Run(run::Args),
    /// Show what waits, runs and has ended
    Status(status::Args),
    /// Show everything about one task
    Show(show::Args),
    /// Wait until tasks have ended
    Wait(wait::Args),
    /// Follow a running task until it ends; Ctrl+C leaves it running
    Attach(attach::Args),
    /// Print what an agent printed
    Logs(logs::Args),
    /// Print what happened in the course of a task
    History(history::Args),
    /// Add something to a task's history
    Note(note::Args),
    /// Write down what was decided and why, or show it
    Decision(decision::Args),
    /// End tasks and everything that they started
    Cancel(cancel::Args),
    /// Try a failed task again, as a new task
    Retry(retry::Args),
    /// End a task as timed out, or look after time limits
    Timeout(timeout::Args),
    /// Show what a task changed
    Diff(diff::Args),
    /// Merge a task's finished work into a branch
    Merge(merge::Args),
    /// Keep what a task has reached, look at it, and go back to it
    Checkpoint(checkpoint::Args),
    /// Go on with what an agent's session has left
    Session(session::Args),
    /// Delete tasks that have ended, so that they can be brought back
    Clean(clean::Args),
    /// Move old tasks out of the lists, or back
    Archive(archive::Args),
    /// Write everything that the store holds into one archive
    Export(export::Args),
    /// Take in an archive, or the tasks of a .gemini/agents or .orchestra folder
    Import(import::Args),
    /// Look at what depends on what
    Deps(deps::Args),
    /// Take turns at what only one may work on
    Lock(lock::Args),
    /// Find, count and delete tasks, or speak for an agent outside that holds one
    Task(task::Args),
    /// Limit what projects and owners may have at once, or in a month
    Quota(quota::Args),
    /// Start tasks as they come, until it is told to stop; agents outlive it
    Daemon(daemon::Args),
    /// The same as one node among others that share the store
    Serve(serve::Args),
    /// Look at the nodes that share the store, and say which takes no more work
    Node(node::Args),
    /// Look at the configuration, or change it
    Config(config::Args),
    /// Check or count the store's own counters
    Index(index::Args),
    /// Prove that the log of everything that happened is what was written
    Audit(audit::Args),
    /// Copy the store, or look whether its file is whole
    Store(store::Args),
    /// Make folders of tasks again from the store, or a lost store from the folders
    Repair(repair::Args),
    /// Check that everything needed is there, and say what a task would get
    Doctor(doctor::Args),
    /// Run one task from queue to finish in a place of its own, in seconds
    SelfTest(self_test::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
    /// Print the manual page
    Man(man::Args),
    #[command(hide = true)]
    Runner(runner::Args),
    #[command(flatten)]
    Other(other_names::Verb),
}

impl Verb {
    /// Whether it stays, and is started where a file of variables may lie.
    fn is_server(&self) -> bool {
        matches!(self, Self::Daemon(_) | Self::Serve(_))
    }

    /// Whether it may have written to the log by itself. A daemon looks after it all the time, and
    /// a runner is followed by some command.
    fn may_log(&self) -> bool {
        matches!(
            self,
            Self::Init(_)
                | Self::Start(_)
                | Self::Run(_)
                | Self::Cancel(_)
                | Self::Retry(_)
                | Self::Session(_)
                | Self::Timeout(_)
                | Self::Merge(_)
                | Self::Clean(_)
                | Self::Archive(_)
                | Self::Import(_)
                | Self::Export(_)
                | Self::Repair(_)
                | Self::Lock(_)
                | Self::Task(_)
                | Self::Quota(_)
                | Self::Other(_)
        )
    }
}

/// Parses a command line and carries it out.
pub(crate) fn main(arguments: Vec<OsString>) -> Exit {
    let wants_json = wants_json(&arguments);
    let manners = crate::layout::manners(&arguments);
    let cli = match parse(start::keep_dashed_prompts(other_names::spell_out(
        arguments,
    ))) {
        Ok(cli) => cli,
        Err(error) => return manners.misread(&error, usage(&error, wants_json)),
    };
    let global = &cli.global;
    let env =
        Environment::read().map_err(|error| Fail::io("the current folder cannot be used", &error));
    let known = env.as_ref().ok().cloned().unwrap_or_default();
    let out = Output::new(&known, global.json, global.debug, global.no_color);
    match env.and_then(|env| carry_out(cli, env, out.clone())) {
        Ok(exit) => exit,
        Err(fail) => {
            out.fail(&fail, manners.word());
            manners.refused(fail.exit)
        }
    }
}

/// One verb's command line, without all the other verbs around it.
#[derive(Debug, Parser)]
struct Alone<A: clap::Args> {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    args: A,
}

/// Describing every verb to the parser takes longer than most of them run, so the verbs that are
/// called most are first read by themselves. Whatever that does not understand, help and mistakes
/// included, is read as a whole.
fn parse(arguments: Vec<OsString>) -> Result<Cli, clap::Error> {
    let verb = arguments.get(1).and_then(|verb| verb.to_str());
    let short = match verb {
        Some("status") => alone(&arguments, Verb::Status),
        Some("start") => alone(&arguments, |args| Verb::Start(Box::new(args))),
        Some("run") => alone(&arguments, Verb::Run),
        Some("runner") => alone(&arguments, Verb::Runner),
        Some("show") => alone(&arguments, Verb::Show),
        Some("wait") => alone(&arguments, Verb::Wait),
        Some("cancel") => alone(&arguments, Verb::Cancel),
        _ => None,
    };
    match short {
        Some(cli) => Ok(cli),
        None => Cli::try_parse_from(arguments),
    }
}

fn alone<A: clap::Args>(arguments: &[OsString], verb: impl Fn(A) -> Verb) -> Option<Cli> {
    let Alone { global, args } = Alone::try_parse_from(&arguments[1..]).ok()?;
    Some(Cli {
        global,
        verb: Some(verb(args)),
    })
}

/// Whether one document is wanted on standard output, as far as a command line that may be wrong
/// can say.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

fn carry_out(cli: Cli, mut env: Environment, out: Output) -> Outcome {
    if let Some(layout) = &cli.global.layout {
        let directory = env.directory().clone();
        env = env.with(directory, &[(crate::layout::VARIABLE, layout.as_ref())]);
    }
    let global = cli.global;
    let Some(verb) = cli.verb else {
        let help = <Cli as clap::CommandFactory>::command().render_help();
        out.raw(help.to_string().as_bytes())?;
        return Ok(Exit::Ok);
    };
    match verb {
        Verb::Completions(args) => return args.run(&out),
        Verb::Man(args) => return args.run(&out),
        Verb::SelfTest(args) => return args.run(env, &out),
        _ => {}
    }
    let beside = env.directory().join(".env");
    match &global.env_file {
        Some(file) => crate::stores::read_env_file(&mut env, file)?,
        None if verb.is_server() && beside.is_file() => {
            crate::stores::read_env_file(&mut env, &beside)?;
        }
        None => {}
    }
    let context = Context::new(env, out, global.project.as_deref(), global.settings)?;
    let hears_by_itself = matches!(
        verb,
        Verb::Runner(_)
            | Verb::Daemon(_)
            | Verb::Serve(_)
            | Verb::Node(_)
            | Verb::Index(_)
            | Verb::Config(_)
            | Verb::Store(_)
    );
    if !hears_by_itself {
        crate::layout::sync(&context)?;
    }
    let may_log = verb.may_log();
    let outcome = dispatch(verb, &context);
    if may_log {
        crate::heads::after_command(&context);
    }
    outcome
}

fn dispatch(verb: Verb, context: &Context) -> Outcome {
    match verb {
        Verb::Init(args) => args.run(context),
        Verb::Start(args) => args.run(context),
        Verb::Run(args) => args.run(context),
        Verb::Status(args) => args.run(context),
        Verb::Show(args) => args.run(context),
        Verb::Wait(args) => args.run(context),
        Verb::Attach(args) => args.run(context),
        Verb::Logs(args) => args.run(context),
        Verb::Session(args) => args.run(context),
        Verb::History(args) => args.run(context),
        Verb::Note(args) => args.run(context),
        Verb::Decision(args) => args.run(context),
        Verb::Cancel(args) => args.run(context),
        Verb::Retry(args) => args.run(context),
        Verb::Timeout(args) => args.run(context),
        Verb::Diff(args) => args.run(context),
        Verb::Merge(args) => args.run(context),
        Verb::Checkpoint(args) => args.run(context),
        Verb::Clean(args) => args.run(context),
        Verb::Archive(args) => args.run(context),
        Verb::Export(args) => args.run(context),
        Verb::Import(args) => args.run(context),
        Verb::Deps(args) => args.run(context),
        Verb::Lock(args) => args.run(context),
        Verb::Task(args) => args.run(context),
        Verb::Quota(args) => args.run(context),
        Verb::Daemon(args) => args.run(context),
        Verb::Serve(args) => args.run(context),
        Verb::Node(args) => args.run(context),
        Verb::Config(args) => args.run(context),
        Verb::Index(args) => args.run(context),
        Verb::Audit(args) => args.run(context),
        Verb::Store(args) => args.run(context),
        Verb::Repair(args) => args.run(context),
        Verb::Doctor(args) => args.run(context),
        Verb::Runner(args) => args.run(context),
        Verb::Other(verb) => {
            let words = verb.words(context)?;
            context
                .out
                .debug(format_args!("crewboss {}", words.join(" ")));
            dispatch(again(&words)?, context)
        }
        Verb::SelfTest(_) | Verb::Completions(_) | Verb::Man(_) => {
            unreachable!("carried out without a project")
        }
    }
}

/// The verb of a command line that another name stands for.
fn again(words: &[String]) -> Result<Verb, Fail> {
    let words = std::iter::once("crewboss").chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Ok(Cli {
            verb: Some(verb), ..
        }) => Ok(verb),
        Ok(_) => Err(Fail::usage("there is nothing to do")),
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(Fail::usage(first.strip_prefix("error: ").unwrap_or(first)))
        }
    }
}

/// Help and version go to stdout and are no error; everything else is a wrong command line.
fn usage(error: &clap::Error, wants_json: bool) -> Exit {
    use std::io::Write as _;
    if error.use_stderr() {
        let mut text = error.render().to_string();
        if let Some(hint) = hint(error, &text) {
            text = format!("{}\nhint: {hint}\n", text.trim_end());
        }
        drop(std::io::stderr().lock().write_all(text.as_bytes()));
        if wants_json {
            let first = text.lines().next().unwrap_or_default();
            let message = first.strip_prefix("error: ").unwrap_or(first);
            let env = Environment::default();
            let out = Output::new(&env, true, false, true);
            let problem = ErrorDocument {
                details: Some(text.clone()),
                ..ErrorDocument::new(ProblemCode::Invalid, message)
            };
            // Whoever does not read it has the exit code.
            drop(out.print(&problem));
        }
        return Exit::Usage;
    }
    drop(
        std::io::stdout()
            .lock()
            .write_all(error.render().to_string().as_bytes()),
    );
    Exit::Ok
}

/// What other queues call our verbs.
const OTHER_WORDS: &[(&[&str], &str)] = &[
    (&["list", "ls", "ps", "tasks", "queue"], "status"),
    (
        &["add", "new", "create", "submit", "enqueue"],
        "start AGENT PROMPT",
    ),
    (&["stop", "kill", "abort", "end"], "cancel ID"),
    (&["rm", "remove", "delete"], "task delete ID"),
    (&["prune"], "clean"),
    (&["log", "output", "tail"], "logs ID"),
    (&["info", "inspect", "describe"], "show ID"),
    (&["server", "worker"], "serve"),
    (&["nodes", "workers"], "node list"),
    (&["check", "health"], "doctor"),
];

/// What may have been meant.
fn hint(error: &clap::Error, text: &str) -> Option<String> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => {
            let known = |(words, _): &&(&[&str], _)| words.contains(&word.as_str());
            Some(match OTHER_WORDS.iter().find(known) {
                Some((_, verb)) => format!("`crewboss {verb}` does that"),
                None => "`crewboss --help` lists the commands".to_owned(),
            })
        }
        (ErrorKind::MissingRequiredArgument, _) if text.contains("--depends-on") => {
            Some(start::DEPENDENCIES_FIRST.to_owned())
        }
        _ => None,
    }
}

/// A question to a person, answered `y` or not. Where nobody can answer, that is an error.
pub(crate) fn confirm(out: &Output, question: &str) -> Result<bool, Fail> {
    use std::io::{BufRead as _, Write as _};
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "{question} (y/N): "));
    drop(stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    match read {
        Ok(0) | Err(_) => {
            drop(writeln!(stderr));
            out.debug("standard input is closed");
            Err(
                Fail::usage("there is nobody to answer: standard input is closed")
                    .hint("say --yes (-y) to go ahead without asking"),
            )
        }
        Ok(_) => Ok(matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verb read alone means what it means among all the others.
    #[test]
    fn alone_and_as_a_whole_are_one() {
        let lines: [&[&str]; 9] = [
            &["status"],
            &["status", "--json", "--watch", "-i", "3"],
            &["status", "--project", "/a", "task_1", "--no-color"],
            &[
                "start",
                "coder",
                "Create",
                "a",
                "server",
                "--timeout=300",
                "-d",
            ],
            &["start", "--config", "a=b", "--config", "c=d", "coder", "X"],
            &["run", "--parallel"],
            &["run", "--parallel", "5", "--layout", "gemini"],
            &["wait", "task_1", "task_2", "--timeout", "5"],
            &["cancel", "--json", "task_1"],
        ];
        for line in lines {
            let line = || {
                ["crewboss"]
                    .iter()
                    .chain(line)
                    .map(OsString::from)
                    .collect()
            };
            let arguments: Vec<OsString> = line();
            let whole = Cli::try_parse_from(line() as Vec<OsString>).expect("right");
            let short = parse(arguments).expect("right");
            assert_eq!(format!("{short:?}"), format!("{whole:?}"));
        }
    }

    #[test]
    fn a_mistake_is_told_as_if_the_line_had_been_read_as_a_whole() {
        let line: Vec<OsString> = ["crewboss", "status", "--wach"].map(OsString::from).into();
        let short = parse(line.clone()).expect_err("no such flag").to_string();
        let whole = Cli::try_parse_from(line)
            .expect_err("no such flag")
            .to_string();
        assert_eq!(short, whole);
        assert!(short.contains("crewboss status"), "{short}");
    }
}
