//! `logs`: what an agent printed.

use std::{path::PathBuf, time::Duration};

use api_types::LogsDocument;
use domain::{id::TaskId, session::Session};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    follow::Follower,
    interrupt::Interrupt,
    launch::session_folder,
};

/// How often more is looked for.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// Stay, and print what comes, until the task ends
    #[arg(long, short)]
    follow: bool,
    /// The transcript instead: one JSON object for each thing that the agent did
    #[arg(long)]
    transcript: bool,
    /// Only the last so many lines
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
}

/// Which file of a session.
#[derive(Debug, Clone, Copy)]
pub(super) enum Record {
    Log,
    Transcript,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        let record = if self.transcript {
            Record::Transcript
        } else {
            Record::Log
        };
        if self.follow {
            return follow(context, id, record, self.lines);
        }
        let Some(session) = newest(context, id)? else {
            return none_yet(context, id);
        };
        let path = file(context, &session, record)?;
        let mut follower = Follower::new(path.clone());
        if let Some(lines) = self.lines {
            follower.skip_to_last(lines)?;
        }
        if context.out.json {
            return document(context, id, &session, &path, follower);
        }
        loop {
            let bytes = follower.more()?;
            if bytes.is_empty() {
                return Ok(Exit::Ok);
            }
            context.out.foreign(&bytes)?;
        }
    }
}

fn document(
    context: &Context,
    id: TaskId,
    session: &Session,
    path: &std::path::Path,
    mut follower: Follower,
) -> Outcome {
    let mut all = Vec::new();
    loop {
        let bytes = follower.more()?;
        if bytes.is_empty() {
            break;
        }
        all.extend(bytes);
    }
    let text = String::from_utf8_lossy(&all);
    context.out.print(&LogsDocument {
        task: id,
        session: Some(session.id),
        file: Some(path.to_owned()),
        lines: text.lines().map(str::to_owned).collect(),
    })?;
    Ok(Exit::Ok)
}

fn newest(context: &Context, id: TaskId) -> Result<Option<Session>, Fail> {
    Ok(context.details(id)?.sessions.pop())
}

fn none_yet(context: &Context, id: TaskId) -> Outcome {
    let folder = context
        .folders()
        .task_folder(&context.places.project, id)
        .ok();
    let imported = folder.map(|folder| folder.join(super::import::IMPORTED_LOG));
    if let Some(file) = imported.filter(|file| file.exists()) {
        let text = std::fs::read(&file).map_err(|error| Fail::io("its log", &error))?;
        context.out.print(&LogsDocument {
            task: id,
            session: None,
            file: Some(file),
            lines: String::from_utf8_lossy(&text)
                .lines()
                .map(str::to_owned)
                .collect(),
        })?;
        if !context.out.json {
            context.out.foreign(&text)?;
        }
        return Ok(Exit::Ok);
    }
    context.out.print(&LogsDocument {
        task: id,
        session: None,
        file: None,
        lines: vec![],
    })?;
    Err(Fail::new(
        Exit::NotFound,
        format!("Task {id} has not been started: there is no log yet"),
    ))
}

fn file(context: &Context, session: &Session, record: Record) -> Result<PathBuf, Fail> {
    let name = match record {
        Record::Log => "agent.log",
        Record::Transcript => "transcript.jsonl",
    };
    Ok(session_folder(context, session)?.join(name))
}

/// Prints what is there and what comes, from one session to the next, until the task has ended.
pub(super) fn follow(
    context: &Context,
    id: TaskId,
    record: Record,
    lines: Option<usize>,
) -> Outcome {
    let interrupt = Interrupt::listen()?;
    let mut open: Option<(Session, Follower)> = None;
    loop {
        // Read before the log, so that a task seen as ended has no more to print.
        let details = context.details(id)?;
        let newest = details.sessions.into_iter().next_back();
        if let Some(session) = newest {
            let is_new = open
                .as_ref()
                .is_none_or(|(shown, _)| shown.id != session.id);
            if is_new {
                let mut follower = Follower::new(file(context, &session, record)?);
                if let (Some(lines), true) = (lines, open.is_none()) {
                    follower.skip_to_last(lines)?;
                }
                open = Some((session, follower));
            }
        }
        if let Some((_, follower)) = &mut open {
            loop {
                let bytes = follower.more()?;
                if bytes.is_empty() {
                    break;
                }
                context.out.foreign(&bytes)?;
            }
        }
        if details.view.task.status().is_terminal() {
            return Ok(Exit::Ok);
        }
        context.reconcile()?;
        if interrupt.pause(LOOK) {
            return Ok(Exit::Interrupted);
        }
    }
}
