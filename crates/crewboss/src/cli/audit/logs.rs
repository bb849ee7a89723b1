//! The `logs.jsonl` of tasks, held against the store.

use std::path::Path;

use api_types::AuditLogFault;
use app::{
    event::{Stream, StreamKind},
    ports::store::Mark,
    query::{Query, View},
    repair::{LogVerdict, RepairError, verify_log},
};
use domain::{id::TaskId, project::Project, task::Task};

use crate::{
    context::{Context, unexpected},
    fail::Fail,
    listing,
    places::PROJECT_FOLDER,
    render::count,
    wiring,
};

/// What was found in the folders of tasks.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pub(super) checked: u64,
    pub(super) faults: Vec<AuditLogFault>,
    pub(super) notes: Vec<String>,
    behind: usize,
}

impl Logs {
    /// Of every task of every project whose folder is there.
    pub(super) fn of_store(context: &Context) -> Result<Self, Fail> {
        let mut logs = Self::default();
        if context.places.layout.is_some() {
            return Ok(logs);
        }
        for project in projects(context)? {
            if !Path::new(&project.root).join(PROJECT_FOLDER).is_dir() {
                logs.notes.push(format!(
                    "the logs of tasks in {} are not there to be looked at",
                    project.root
                ));
                continue;
            }
            let store = context.store()?;
            for task in listing::every_task(&*store, project.id)? {
                logs.task(context, &project, &task)?;
            }
        }
        logs.end(context)
    }

    /// Of the task of a stream.
    pub(super) fn of_stream(context: &Context, stream: Stream) -> Result<Self, Fail> {
        let mut logs = Self::default();
        let id = TaskId::from_number(stream.id);
        let (StreamKind::Task, Some(id), None) = (stream.kind, id, context.places.layout) else {
            return Ok(logs);
        };
        let task = context.details(id)?.view.task;
        let mut known = projects(context)?.into_iter();
        if let Some(project) = known.find(|project| project.id == task.project)
            && task.purged_at.is_none()
        {
            logs.task(context, &project, &task)?;
        }
        logs.end(context)
    }

    fn task(&mut self, context: &Context, project: &Project, task: &Task) -> Result<(), Fail> {
        let (store, journal, layers) = (context.store()?, context.journal()?, wiring::layers());
        let root = Path::new(&project.root);
        let verdict = verify_log(&*store, &*journal, &*layers, root, task);
        self.checked += 1;
        let fault = |what: &str, file, line, evidence| AuditLogFault {
            task: task.id,
            file,
            line,
            what: what.to_owned(),
            evidence,
        };
        match verdict {
            Ok(LogVerdict::Whole) => {}
            Ok(LogVerdict::Behind(_)) => self.behind += 1,
            Ok(LogVerdict::Fault { what, finding }) => {
                let found = fault(what, finding.file, finding.line, finding.what);
                self.faults.push(found);
            }
            Err(RepairError::Store(error)) => return Err(error.into()),
            Err(RepairError::Folder(error)) => {
                let evidence = format!("{error}: {}", error.source);
                let found = fault("unreadable", "logs.jsonl".to_owned(), 0, evidence);
                self.faults.push(found);
            }
        }
        Ok(())
    }

    fn end(mut self, context: &Context) -> Result<Self, Fail> {
        if self.behind > 0 {
            self.notes.push(format!(
                "the logs of {} end before what the store knows: `crewboss repair` makes it up",
                count(self.behind, "task")
            ));
        }
        if !self.faults.is_empty() {
            self.notes
                .push("`crewboss repair` makes logs of tasks again from the store".to_owned());
        }
        let store = context.direct()?;
        let marks = |mark| store.look(|reader| reader.mark(mark));
        let (from, to) = (marks(Mark::UnverifiedFrom)?, marks(Mark::UnverifiedTo)?);
        if from > 0 {
            self.notes.push(format!(
                "positions {from} to {to} were taken in from elsewhere, and no head was signed for \
                 them before that"
            ));
        }
        Ok(self)
    }
}

fn projects(context: &Context) -> Result<Vec<Project>, Fail> {
    match context.store()?.read(&Query::Projects)? {
        View::Projects { projects } => Ok(projects),
        _ => Err(unexpected("projects")),
    }
}
