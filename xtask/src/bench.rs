//! `cargo xtask bench`: the released program beside what it is measured against, in turns, so that
//! whatever disturbs the machine disturbs both. Ratios decide; times are only told.

mod agents;
mod build;
mod checkpoints;
mod commands;
mod disk;
mod machine;
mod parts;
mod pueue;
mod report;
mod sample;
mod stage;
mod stillness;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Result;

use self::report::{Row, Verdict};
use crate::shell;

/// The exit code where the machine was too busy to judge.
const NOT_JUDGED: u8 = 75;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What to measure; everything where it is not given
    #[arg(value_enum)]
    only: Vec<Subject>,
    /// How often each case is run
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(20..))]
    rounds: u32,
    /// Leave the peers out, which are built at their first use
    #[arg(long)]
    no_peers: bool,
    /// Seconds to wait for the machine to become quiet before the first case
    #[arg(long, default_value_t = 180)]
    patience: u64,
    /// Measure `crewboss` and the examples in this folder instead of building them
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
    /// Print one JSON document instead of the table
    #[arg(long)]
    json: bool,
}

impl Options {
    fn wants(&self, subject: Subject) -> bool {
        self.only.is_empty() || self.only.contains(&subject)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Subject {
    /// `--version` and `status`
    Look,
    /// `start`
    Queue,
    /// `run`
    Launch,
    /// `cancel`
    Cancel,
    /// Whole tasks
    Tasks,
    /// An idle daemon, and `status --watch`
    Still,
    /// The store by itself
    Port,
    /// Locks that the store keeps
    Locks,
    /// `checkpoint create`
    Checkpoints,
    /// A task's log by itself
    Logs,
    /// What two documents claim, with their scripts
    Documents,
}

/// What is measured, and with what.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) crewboss: PathBuf,
    pub(crate) store_speed: PathBuf,
    pub(crate) log_speed: PathBuf,
    pub(crate) pueue: Option<PathBuf>,
    pub(crate) documents: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let built = match &options.built {
        Some(folder) => folder.clone(),
        None => build::all()?,
    };
    let peer = |subjects: &[Subject]| {
        !options.no_peers && subjects.iter().any(|subject| options.wants(*subject))
    };
    let tools = Tools {
        crewboss: built.join("crewboss"),
        store_speed: built.join("examples/store-speed"),
        log_speed: built.join("examples/log-speed"),
        pueue: peer(&[Subject::Look, Subject::Tasks])
            .then(pueue::build)
            .transpose()?,
        documents: peer(&[Subject::Logs, Subject::Documents])
            .then(parts::install_documents)
            .transpose()?,
    };
    wait_for_quiet(options.patience);
    let machine = machine::describe(&shell::target());
    let may_judge = machine::load() <= machine::load_max();
    let rows = measure(&tools, options);
    stage::clear();
    let rows = rows?;
    if options.json {
        println!("{:#}", report::document(&machine, &rows, may_judge));
    } else {
        println!("{machine:#}\n\n{}", report::table(&rows, may_judge));
    }
    Ok(conclusion(&rows, may_judge))
}

fn measure(tools: &Tools, options: &Options) -> Result<Vec<Row>> {
    let rounds = usize::try_from(options.rounds)?;
    let wanted = |subject| options.wants(subject);
    let mut rows = Vec::new();
    if wanted(Subject::Look) {
        rows.extend(commands::looking(tools, rounds)?);
    }
    if wanted(Subject::Queue) {
        rows.extend(commands::queueing(tools, rounds)?);
    }
    if wanted(Subject::Launch) {
        rows.extend(agents::launching(tools, rounds)?);
    }
    if wanted(Subject::Cancel) {
        rows.extend(agents::cancelling(tools, rounds)?);
    }
    if wanted(Subject::Tasks) {
        rows.extend(agents::whole_tasks(tools, rounds / 8)?);
    }
    if wanted(Subject::Still) {
        rows.extend(stillness::rows(tools)?);
        rows.extend(stillness::of_the_queued(tools)?);
    }
    for subject in [
        Subject::Port,
        Subject::Locks,
        Subject::Logs,
        Subject::Documents,
    ] {
        if wanted(subject) {
            rows.extend(parts::rows(tools, subject)?);
        }
    }
    if wanted(Subject::Checkpoints) {
        rows.extend(checkpoints::rows(tools, rounds)?);
    }
    Ok(rows)
}

/// What was just built has left a load behind.
fn wait_for_quiet(patience_seconds: u64) {
    let watch = shell::start_watch();
    if machine::load() > machine::load_max() {
        eprintln!(
            "waiting until the load falls below {:.1}",
            machine::load_max()
        );
    }
    while machine::load() > machine::load_max() && watch.elapsed().as_secs() < patience_seconds {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn conclusion(rows: &[Row], may_judge: bool) -> ExitCode {
    if !may_judge {
        eprintln!(
            "not judged: the load was above {:.1}, half of the processors; ratios are told only",
            machine::load_max()
        );
        return ExitCode::from(NOT_JUDGED);
    }
    let missed = rows
        .iter()
        .filter(|row| row.verdict(true) == Verdict::Missed)
        .count();
    if missed > 0 {
        eprintln!("{missed} limits missed");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
