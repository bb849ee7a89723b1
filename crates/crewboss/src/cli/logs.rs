//! `logs`: what an agent printed.

use std::{collections::VecDeque, path::PathBuf, time::Duration};

use api_types::LogsDocument;
use domain::{agent::DriverKind, id::TaskId, session::Session};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    follow::Follower,
    interrupt::Interrupt,
    launch::session_folder,
    render::transcript::Transcript,
    wiring,
};

/// How often more is looked for.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// Also a deleted one
    #[arg(long)]
    include_deleted: bool,
    /// Stay, and print what comes, until the task ends
    #[arg(long, short)]
    follow: bool,
    /// The bytes as they were printed, where the agent speaks a protocol too
    #[arg(long, conflicts_with = "transcript")]
    raw: bool,
    /// The transcript instead: one JSON object for each thing that the agent did
    #[arg(long)]
    transcript: bool,
    /// Only the last so many lines
    #[arg(long, short = 'n', value_name = "N")]
    lines: Option<usize>,
}

/// Which file of a session, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    /// The log, with an agent's protocol put in words.
    Words,
    /// The log as it is.
    Log,
    Transcript,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.find(&self.task, self.include_deleted)?;
        let record = match (self.transcript, self.raw || context.out.json) {
            (true, _) => Record::Transcript,
            (false, true) => Record::Log,
            (false, false) => Record::Words,
        };
        if self.follow {
            return follow(context, id, record, self.lines);
        }
        let Some(session) = newest(context, id)? else {
            return none_yet(context, id);
        };
        let mut reading = Reading::open(context, session, record, self.lines)?;
        if context.out.json {
            return document(
                context,
                id,
                &reading.session,
                &reading.path,
                reading.follower,
            );
        }
        reading.print(context)?;
        reading.finish(context)?;
        Ok(Exit::Ok)
    }
}

/// One session's file, and how far it was printed.
#[derive(Debug)]
struct Reading {
    session: Session,
    path: PathBuf,
    follower: Follower,
    words: Option<Transcript>,
    /// Of what is there at first, only the last lines.
    last: Option<usize>,
}

impl Reading {
    fn open(
        context: &Context,
        session: Session,
        record: Record,
        last: Option<usize>,
    ) -> Result<Self, Fail> {
        let path = file(context, &session, record)?;
        let words = if record == Record::Words {
            words(context, &session)?
        } else {
            None
        };
        let mut follower = Follower::new(path.clone());
        if let (Some(lines), None) = (last, &words) {
            follower.skip_to_last(lines)?;
        }
        Ok(Self {
            session,
            path,
            follower,
            last: last.filter(|_| words.is_some()),
            words,
        })
    }

    /// The session as it is by now: at first it had no workspace.
    fn knows(&mut self, session: &Session) {
        if let (Some(words), Some(workspace)) = (&mut self.words, &session.workspace) {
            words.works_in(&workspace.path);
        }
    }

    /// Prints what was added.
    fn print(&mut self, context: &Context) -> Result<(), Fail> {
        let mut held = VecDeque::new();
        loop {
            let bytes = self.follower.more()?;
            if bytes.is_empty() {
                break;
            }
            match (&mut self.words, self.last) {
                (None, _) => context.out.foreign(&bytes)?,
                (Some(words), None) => context.out.told(&words.feed(&bytes))?,
                (Some(words), Some(lines)) => {
                    let text = words.feed(&bytes);
                    held.extend(text.split_inclusive('\n').map(str::to_owned));
                    held.drain(..held.len().saturating_sub(lines));
                }
            }
        }
        if self.last.take().is_some() {
            context.out.told(&held.into_iter().collect::<String>())?;
        }
        Ok(())
    }

    /// Prints what can only be said at the end.
    fn finish(&mut self, context: &Context) -> Result<(), Fail> {
        match &mut self.words {
            Some(words) => context.out.told(&words.end()),
            None => Ok(()),
        }
    }
}

/// What puts a session's log in words, where its agent speaks a protocol: those sessions have a
/// transcript.
fn words(context: &Context, session: &Session) -> Result<Option<Transcript>, Fail> {
    let agents = wiring::agents(context.config()?, &context.places, &context.places.project);
    let has_transcript = file(context, session, Record::Transcript)?.exists();
    let will_have = || {
        let driver = agents.resolve(&session.agent).config.driver;
        !session.status.is_terminal() && driver == DriverKind::Opencode
    };
    if !has_transcript && !will_have() {
        return Ok(None);
    }
    let parser = agents.driver(DriverKind::Opencode).parser();
    let workspace = session
        .workspace
        .as_ref()
        .map(|record| record.path.as_path());
    Ok(Some(Transcript::new(&context.out, parser, workspace)))
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
        Record::Words | Record::Log => "agent.log",
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
    let mut open: Option<Reading> = None;
    loop {
        // Read before the log, so that a task seen as ended has no more to print.
        let details = context.details(id)?;
        if let Some(session) = details.sessions.into_iter().next_back() {
            let is_new = open
                .as_ref()
                .is_none_or(|shown| shown.session.id != session.id);
            if is_new {
                let last = lines.filter(|_| open.is_none());
                if let Some(mut before) = open.take() {
                    before.finish(context)?;
                }
                open = Some(Reading::open(context, session, record, last)?);
            } else if let Some(reading) = &mut open {
                reading.knows(&session);
            }
        }
        if let Some(reading) = &mut open {
            reading.print(context)?;
        }
        if details.view.task.status().is_terminal() {
            if let Some(mut reading) = open {
                reading.finish(context)?;
            }
            return Ok(Exit::Ok);
        }
        context.reconcile()?;
        if interrupt.pause(LOOK) {
            return Ok(Exit::Interrupted);
        }
    }
}
