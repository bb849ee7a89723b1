//! `repair`: folders made again from the store, and a lost store from the folders.

mod from_folders;

pub(crate) use from_folders::hold_daemon_off;

use std::path::{Path, PathBuf};

use api_types::{FileFinding, RepairDocument, RepairRow};
use app::{
    ports::journal::Finding,
    query::{Query, View},
    repair::{RepairError, Repairer, Row},
};
use domain::{id::TaskId, project::Project, task::Task};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    history, listing, papers,
    render::{count, symbols::Symbol},
    wiring,
};

/// Tasks whose papers are asked for at once.
const AT_ONCE: usize = 100;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every folder of the project's tasks is held against the store: state.json by its checksum, logs.jsonl
by its chain and by the events of the store, plan.md and decisions.md by what was kept of them,
checkpoints by their manifests. What is not as it was written is made again, what it was is kept
beside it, and both are said. It may run at any time, and again after it was cut off.

--from-folders builds a store that is lost from the folders of this project and of those named by
--also. A store that cannot be read is kept under another name. One that is there and lacks what the
folders tell, because an older copy was put in its place, is given it.")]
pub(crate) struct Args {
    /// Only these tasks: ids, ends of them, or keys
    #[arg(value_name = "ID", conflicts_with = "from_folders")]
    tasks: Vec<String>,
    /// Build the store from the folders, or give it what it lacks
    #[arg(long, conflicts_with = "store_wins")]
    from_folders: bool,
    /// The folder of another project that the lost store served; may be repeated
    #[arg(long, value_name = "DIR", requires = "from_folders")]
    also: Vec<PathBuf>,
    /// Bring folders that tell of more than the store back to it; what they told is kept aside
    #[arg(long)]
    store_wins: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        super::history::refuse_layout(context)?;
        if self.from_folders {
            return from_folders::run(context, &self.also);
        }
        super::store::require_store(context)?;
        let Some(project) = context.known_project()? else {
            let root = context.places.project.display();
            return Err(Fail::new(
                Exit::NotFound,
                format!("{root} is no project of this store"),
            )
            .hint("`crewboss repair --from-folders` takes in what its folders tell"));
        };
        let only = context.resolve_all(&self.tasks)?;
        let mut report = Report::default();
        folders(context, &project, &only, self.store_wins, &mut report)?;
        report.say(context)?;
        Ok(report.exit())
    }
}

/// What was found and done.
#[derive(Debug, Default)]
pub(super) struct Report {
    checked: usize,
    rows: Vec<(Option<TaskId>, Row)>,
    rebuilt: Option<from_folders::Rebuilt>,
}

/// Brings the folders of a project's tasks to what the store holds; of all where none is named.
fn folders(
    context: &Context,
    project: &Project,
    only: &[TaskId],
    store_wins: bool,
    report: &mut Report,
) -> Result<(), Fail> {
    let root = Path::new(&project.root);
    let layers = wiring::layers();
    let wanted = |context: &Context| -> Result<Vec<Task>, Fail> {
        let store = context.store()?;
        let mut tasks = listing::every_task(&*store, project.id)?;
        tasks.retain(|task| only.is_empty() || only.contains(&task.id));
        tasks.sort_by_key(|task| task.id);
        Ok(tasks)
    };
    papers::take_in(context, &*layers, root, &wanted(context)?)?;
    let (store, journal) = (context.store()?, context.journal()?);
    let (files, checkpoints) = (wiring::folders(), wiring::checkpoints());
    let repairer = Repairer {
        store: &*store,
        folders: &*files,
        journal: &*journal,
        layers: &*layers,
        checkpoints: &*checkpoints,
        store_wins,
    };
    let tasks = wanted(context)?;
    for tasks in tasks.chunks(AT_ONCE) {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        for (task, papers) in tasks.iter().zip(papers::kept(context, &ids)?) {
            let row = match repairer.task(root, task, &papers) {
                Ok(row) => row,
                Err(RepairError::Store(error)) => return Err(error.into()),
                Err(RepairError::Folder(error)) => Row {
                    findings: vec![finding("", format!("{error}: {}", error.source))],
                    is_open: true,
                    ..Row::default()
                },
            };
            report.add(Some(task.id), row);
        }
    }
    report.checked += tasks.len();
    if only.is_empty() {
        strangers(context, root, report)?;
        history::bring_up_project(&*store, &*layers, root, project.id)?;
    }
    Ok(())
}

fn finding(file: &str, what: String) -> Finding {
    Finding {
        file: file.to_owned(),
        line: 0,
        what,
    }
}

/// Folders of tasks that the store does not know, and what is no folder of a task.
fn strangers(context: &Context, root: &Path, report: &mut Report) -> Result<(), Fail> {
    let listing = wiring::layers().listing(root)?;
    for name in listing.foreign {
        let what = "it is no task's folder: it is left as it is".to_owned();
        let findings = vec![finding(&name, what)];
        report.add(
            None,
            Row {
                findings,
                ..Row::default()
            },
        );
    }
    for id in listing.tasks {
        match context.store()?.read(&Query::Task { id }) {
            Ok(View::Task { .. }) => {}
            Err(app::error::Error::NotFound { .. }) => {
                let what = "the store does not know this task".to_owned();
                let row = Row {
                    findings: vec![finding("", what)],
                    is_ahead: true,
                    is_open: true,
                    ..Row::default()
                };
                report.add(Some(id), row);
            }
            Ok(_) => return Err(crate::context::unexpected("task")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Report {
    fn add(&mut self, task: Option<TaskId>, row: Row) {
        if !row.is_quiet() {
            self.rows.push((task, row));
        }
    }

    fn exit(&self) -> Exit {
        let is_open = self.rows.iter().any(|(_, row)| row.is_open);
        let has_left = self
            .rebuilt
            .as_ref()
            .is_some_and(from_folders::Rebuilt::has_left);
        if is_open || has_left {
            Exit::Failed
        } else {
            Exit::Ok
        }
    }

    fn say(&self, context: &Context) -> Result<(), Fail> {
        let out = &context.out;
        if let Some(rebuilt) = &self.rebuilt {
            rebuilt.say(out)?;
        }
        for (task, row) in &self.rows {
            let sign = if row.is_open {
                Symbol::Failed
            } else {
                Symbol::Check
            };
            let name = task.map_or_else(|| "tasks".to_owned(), |task| task.to_string());
            out.line(format_args!(
                "{} {name}",
                out.paint(sign.color(), sign.text(out.unicode))
            ))?;
            for finding in &row.findings {
                let file = if finding.file.is_empty() {
                    "its folder"
                } else {
                    &finding.file
                };
                let place = match finding.line {
                    0 => file.to_owned(),
                    line => format!("{file}:{line}"),
                };
                out.line(format_args!("    found    {place}: {}", finding.what))?;
            }
            for done in &row.done {
                out.line(format_args!("    done     {done}"))?;
            }
            for missing in &row.missing {
                out.line(format_args!("    missing  {missing}"))?;
            }
        }
        let repaired = self.rows.iter().filter(|(_, row)| !row.done.is_empty());
        out.line(format_args!(
            "Looked at {}, repaired {}",
            count(self.checked, "task"),
            repaired.count()
        ))?;
        if self.rows.iter().any(|(_, row)| row.is_ahead) {
            out.say(
                "hint: `crewboss repair --from-folders` takes in what folders tell and the store \
                 does not know; `--store-wins` brings them back to the store",
            );
        }
        out.print(&RepairDocument {
            ok: self.exit() == Exit::Ok,
            checked: self.checked as u64,
            rows: self.rows.iter().map(document).collect(),
            rebuilt: self.rebuilt.as_ref().map(from_folders::Rebuilt::document),
        })
    }
}

fn document((task, row): &(Option<TaskId>, Row)) -> RepairRow {
    RepairRow {
        task: *task,
        done: row.done.clone(),
        findings: row.findings.iter().cloned().map(shown).collect(),
        missing: row.missing.clone(),
        ahead: row.is_ahead,
        open: row.is_open,
    }
}

fn shown(finding: Finding) -> FileFinding {
    FileFinding {
        file: finding.file,
        line: finding.line,
        what: finding.what,
    }
}
