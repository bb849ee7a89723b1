//! `import`: take in an archive, or the tasks of an Agent Orchestrator layout.

mod archive;

use std::path::PathBuf;

use app::{
    command::{Command, IMPORT_BATCH_MAX, ImportedTask, Output as Done},
    ports::folders::FolderError,
};
use domain::{
    id::TaskId,
    task::{TaskState, TaskStatus},
};
use layouts::{Layout, LayoutFolders, imported};
use serde_json::json;

use crate::{
    context::{Context, unexpected},
    fail::{Exit, Fail, Outcome},
    layout::{Stands, stands},
    papers, wiring,
};

/// What a task's agent printed before it was taken over, in the task's folder.
pub(super) const IMPORTED_LOG: &str = "imported.log";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was imported before is not imported again.

An archive is taken in whole or not at all, with ids, chains and events as they are; where the store
holds something else under one of its ids, nothing is changed.

Nothing in a folder is changed. Ids of its tasks are kept; where one is taken the task gets another
and the old one still names it.")]
pub(crate) struct Args {
    /// An archive made by `crewboss export`; or the folder .gemini/agents, .orchestra, or the
    /// project that holds one of them
    #[arg(value_name = "PATH")]
    folder: PathBuf,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let folder = context.env.directory().join(&self.folder);
        let folder = folder.canonicalize().map_err(|error| {
            Fail::caused(
                Exit::NotFound,
                format!("no file or folder {}", self.folder.display()),
                &error,
            )
        })?;
        if folder.is_file() {
            return archive::run(context, &folder);
        }
        let (root, layout) = Layout::of_folder(&folder).ok_or_else(|| {
            Fail::new(
                Exit::NotFound,
                format!("no tasks in {}", self.folder.display()),
            )
            .hint("name a folder .gemini/agents or .orchestra, or the project around it")
        })?;
        let files = LayoutFolders::documents(layout, &root)?;
        let mut refused: Vec<(String, String)> = Vec::new();
        let mut tasks: Vec<ImportedTask> = Vec::new();
        for warning in &files.warnings {
            context.out.warn(warning);
        }
        for (document, is_archived) in &files.documents {
            let mut waiting = document.clone();
            let end = match stands(context, &root, layout, document)? {
                Stands::AsWritten => None,
                Stands::Ended(state) => Some(state),
                Stands::Running => {
                    let why = "it is running: import it when it has ended".to_owned();
                    refused.push((document.id.to_string(), why));
                    continue;
                }
            };
            if end.is_some() {
                waiting.status = layouts::Word::Pending;
            }
            match imported(&waiting, &context.owner(), layout.base(), *is_archived) {
                Ok(task) => {
                    let state: TaskState = end.unwrap_or_else(|| task.state.clone());
                    tasks.push(ImportedTask { state, ..task });
                }
                Err(why) => refused.push((document.id.to_string(), why.to_string())),
            }
        }
        let papers = |source| LayoutFolders::papers(layout, &root, source);
        Self::take_over(context, papers, &tasks, refused)
    }

    fn take_over(
        context: &Context,
        papers: impl Fn(TaskId) -> Result<[Option<Vec<u8>>; 2], FolderError>,
        tasks: &[ImportedTask],
        mut refused: Vec<(String, String)>,
    ) -> Outcome {
        let out = &context.out;
        let (mut new, mut known) = (Vec::new(), 0);
        let waiting = tasks
            .iter()
            .filter(|task| task.state.status() == TaskStatus::Pending)
            .count();
        if !tasks.is_empty() {
            let project = context.ensure_project()?.id;
            for batch in tasks.chunks(IMPORT_BATCH_MAX) {
                let tasks = batch.to_vec();
                let import = Command::ImportTasks {
                    project,
                    tasks,
                    keep_ids: false,
                };
                let Done::Imported {
                    imported,
                    known: old,
                    refused: not,
                } = context.change(import)?
                else {
                    return Err(unexpected("import"));
                };
                known += old.len();
                new.extend(imported);
                refused.extend(not.into_iter().map(|one| (one.source.to_string(), one.why)));
            }
        }
        for (source, here) in &new {
            let kept = papers(*source)
                .map_err(Fail::from)
                .and_then(|papers| keep(context, *here, papers));
            if let Err(fail) = kept {
                let why = fail.render();
                out.warn(format_args!(
                    "{source}: its plan or log is left behind: {why}"
                ));
            }
        }
        let here: Vec<TaskId> = new.iter().map(|(_, here)| *here).collect();
        if context.places.layout.is_none() {
            let (tasks, layers) = (context.tasks_of(&here)?, wiring::layers());
            papers::take_in(context, &*layers, &context.places.project, &tasks)?;
        }
        out.line(format_args!(
            "Imported {} new task(s), {known} known, {} refused",
            new.len(),
            refused.len()
        ))?;
        for (source, here) in new.iter().filter(|(source, here)| source != here) {
            out.line(format_args!("  {source} is {here} here"))?;
        }
        for (id, why) in &refused {
            out.warn(format_args!("{id} was not imported: {why}"));
        }
        if waiting > 0 && !new.is_empty() && out.terminal {
            out.say("hint: `crewboss run` starts the next of them");
        }
        let new: Vec<_> = new
            .iter()
            .map(|(from, id)| json!({ "from": from, "id": id }))
            .collect();
        let refused: Vec<_> = refused
            .iter()
            .map(|(id, why)| json!({ "id": id, "message": why }))
            .collect();
        let is_whole = refused.is_empty();
        out.document(
            "import",
            &json!({ "imported": new, "known": known, "refused": refused }),
        )?;
        Ok(if is_whole { Exit::Ok } else { Exit::Failed })
    }
}

/// Puts a plan and a log where those of a task of ours are.
fn keep(context: &Context, id: TaskId, [plan, log]: [Option<Vec<u8>>; 2]) -> Result<(), Fail> {
    let (folders, root) = (context.folders(), &context.places.project);
    let cannot = |error: &std::io::Error| Fail::io("it cannot be written", error);
    if let Some(plan) = plan {
        let task = context.details(id)?.view.task;
        let file = folders.plan_file(root, &task)?;
        std::fs::write(file, plan).map_err(|error| cannot(&error))?;
    }
    if let Some(log) = log {
        let file = folders.task_folder(root, id)?.join(IMPORTED_LOG);
        std::fs::write(file, log).map_err(|error| cannot(&error))?;
    }
    Ok(())
}
