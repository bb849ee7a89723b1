//! `note`: something that somebody wants to have in a task's log.

use api_types::NoteDocument;
use app::ports::journal::{Level, NewEntry, Survives};

use super::history::{level, refuse_layout, root, text_of};
use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    history,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task: its id, the end of one, or its key
    #[arg(value_name = "ID")]
    task: String,
    /// What to note; with `-`, each line of standard input
    #[arg(value_name = "TEXT")]
    text: String,
    /// How grave it is: debug, info, warn, error
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    level: Level,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        refuse_layout(context)?;
        let task = context.resolve(&self.task)?;
        refuse_deleted(context, task)?;
        let text = text_of(context, "note", &self.text)?;
        let at = context.clock()?.now().wall;
        let entry = |message: &str| NewEntry {
            at,
            level: self.level,
            message: message.to_owned(),
            data: None,
            position: None,
        };
        let entries: Vec<_> = match self.text.as_str() {
            "-" => text
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(entry)
                .collect(),
            _ => vec![entry(&text)],
        };
        if entries.iter().all(|entry| entry.message.trim().is_empty()) {
            return Err(Fail::usage("the note is empty"));
        }
        let journal = context.journal()?;
        // So that what happened before it stands before it.
        if let Err(error) = history::bring_up(&*context.store()?, &*journal, root(context), task) {
            context
                .out
                .warn(format_args!("the task's log is behind: {}", error.reason()));
        }
        let seq = journal.append(root(context), task, &entries, Survives::PowerCut)?;
        let added = entries.len() as u64;
        context.out.print(&NoteDocument { task, seq, added })?;
        context.out.line(match added {
            1 => format!("Noted in task {task} as entry {seq}."),
            _ => format!("Noted in task {task}: {added} entries up to {seq}."),
        })?;
        Ok(Exit::Ok)
    }
}

/// Somebody may have deleted it since it was found.
pub(super) fn refuse_deleted(context: &Context, task: domain::id::TaskId) -> Result<(), Fail> {
    let found = context.tasks_of(&[task])?;
    if found.iter().any(|task| task.deleted_at.is_some()) {
        return Err(app::error::Error::not_found("Task", task).into());
    }
    Ok(())
}
