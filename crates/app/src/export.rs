//! Everything that a store holds of projects, as streams of JSON lines. Equal states give equal
//! bytes: nothing of the machine, of leases or of positions among other projects is in them.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    gate::GateResult,
    id::{CheckpointId, ProjectId, SessionId, TaskId},
    session::Session,
    task::{Paper, TaskEvent},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    error::Error,
    event::{Entry, Header, Stream, StreamKind},
    hex::hex,
    papers::{self, Papers},
    ports::store::Reader,
};

/// Entries that are read in one go.
const PAGE: usize = 512;

/// A stream of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Member {
    /// A project on each line.
    Projects,
    /// An event on each line ([`EventLine`]), in the order of the log.
    Events,
    /// A task on each line, deleted ones included.
    Tasks,
    /// A retry chain on each line, with its tasks, oldest first.
    Chains,
    /// A session on each line, without its lease.
    Sessions,
    /// What `decisions.md` of a task says on each line ([`PaperLine`]).
    Decisions,
    /// What `plan.md` of a task says on each line, where it was ever kept.
    Plans,
    /// What the gates of a session said on each line.
    Gates,
    /// A checkpoint on each line, with its manifest.
    Checkpoints,
}

impl Member {
    /// Every stream, in its order.
    pub const ALL: [Self; 9] = [
        Self::Projects,
        Self::Events,
        Self::Tasks,
        Self::Chains,
        Self::Sessions,
        Self::Decisions,
        Self::Plans,
        Self::Gates,
        Self::Checkpoints,
    ];

    /// The name of its file.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Projects => "projects.jsonl",
            Self::Events => "events.jsonl",
            Self::Tasks => "tasks.jsonl",
            Self::Chains => "chains.jsonl",
            Self::Sessions => "sessions.jsonl",
            Self::Decisions => "decisions.jsonl",
            Self::Plans => "plans.jsonl",
            Self::Gates => "gates.jsonl",
            Self::Checkpoints => "checkpoints.jsonl",
        }
    }
}

/// An event, with its bytes as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLine {
    /// Its stream, by the id of its aggregate.
    pub stream: String,
    /// Its place in the stream.
    pub seq: u64,
    /// The header's JSON.
    pub header: String,
    /// The content; empty where it was dropped.
    pub payload: String,
    /// The hash in place of a content that was dropped, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The head of the stream's chain, in hexadecimal digits.
    pub stream_hash: String,
}

/// What a paper of a task says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperLine {
    /// The task.
    pub task: TaskId,
    /// All of it.
    pub text: String,
}

#[derive(Serialize)]
struct ChainLine<'a> {
    root: TaskId,
    tasks: &'a [TaskId],
}

#[derive(Serialize)]
struct GatesLine<'a> {
    session: SessionId,
    task: TaskId,
    gates: &'a [GateResult],
}

#[derive(Serialize)]
struct CheckpointLine<'a> {
    task: TaskId,
    checkpoint: CheckpointId,
    manifest_sha256: &'a str,
    manifest: Option<Box<RawValue>>,
}

/// Receives lines, each with its end.
pub type Sink<'s> = &'s mut dyn FnMut(Member, &[u8]) -> Result<(), Error>;

/// Shows everything that a store holds of these projects.
///
/// # Errors
/// Where the store cannot be read, or the sink does not take it.
pub fn export(
    reader: &dyn Reader,
    projects: &BTreeSet<ProjectId>,
    sink: Sink<'_>,
) -> Result<(), Error> {
    for project in reader.projects()? {
        if projects.contains(&project.id) {
            put(sink, Member::Projects, &project)?;
        }
    }
    let found = events(reader, projects, sink)?;
    for session in &found.sessions {
        if let Some(session) = reader.session(*session)? {
            put_session(sink, &session)?;
        }
    }
    let mut chains: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
    for id in &found.tasks {
        if let Some(task) = reader.task(*id)? {
            put(sink, Member::Tasks, &task)?;
            chains.entry(task.chain.root).or_default().push(task.id);
        }
    }
    for (root, tasks) in &chains {
        let line = ChainLine { root: *root, tasks };
        put(sink, Member::Chains, &line)?;
    }
    for (task, papers) in &found.papers {
        for (paper, text) in papers {
            let member = match paper {
                Paper::Plan => Member::Plans,
                Paper::Decisions => Member::Decisions,
            };
            let text = text.clone();
            put(sink, member, &PaperLine { task: *task, text })?;
        }
    }
    Ok(())
}

/// What the log speaks of.
#[derive(Default)]
struct Found {
    tasks: BTreeSet<TaskId>,
    sessions: BTreeSet<SessionId>,
    papers: BTreeMap<TaskId, Papers>,
}

fn events(
    reader: &dyn Reader,
    projects: &BTreeSet<ProjectId>,
    sink: Sink<'_>,
) -> Result<Found, Error> {
    let (mut found, mut after) = (Found::default(), 0);
    loop {
        let entries = reader.events(None, after, PAGE)?;
        let is_last = entries.len() < PAGE;
        for entry in entries {
            after = entry.position;
            let position = entry.position;
            let header: Header = serde_json::from_slice(&entry.header).map_err(|error| {
                Error::corrupt(format!("the header of event {position}: {error}"))
            })?;
            if projects.contains(&header.project) {
                found.note(&entry, sink)?;
                put(sink, Member::Events, &line(entry)?)?;
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}

impl Found {
    fn note(&mut self, entry: &Entry, sink: Sink<'_>) -> Result<(), Error> {
        let Stream { kind, id } = entry.stream;
        match kind {
            StreamKind::Project => {}
            StreamKind::Session => self.sessions.extend(SessionId::from_number(id)),
            StreamKind::Task => {
                let Some(task) = TaskId::from_number(id) else {
                    return Ok(());
                };
                self.tasks.insert(task);
                if entry.payload.starts_with(br#"{"type":"paper_kept""#) {
                    papers::apply(self.papers.entry(task).or_default(), &entry.payload);
                }
                if entry.payload.starts_with(br#"{"type":"checkpointed""#) {
                    put_checkpoint(sink, task, &entry.payload)?;
                }
            }
        }
        Ok(())
    }
}

fn put_checkpoint(sink: Sink<'_>, task: TaskId, payload: &[u8]) -> Result<(), Error> {
    if let Ok(TaskEvent::Checkpointed {
        checkpoint,
        manifest,
        content,
    }) = serde_json::from_slice(payload)
    {
        let line = CheckpointLine {
            task,
            checkpoint,
            manifest_sha256: &manifest,
            manifest: content.and_then(|content| RawValue::from_string(content).ok()),
        };
        put(sink, Member::Checkpoints, &line)?;
    }
    Ok(())
}

/// Its version counts renewals of a lease too, which are nobody's business elsewhere.
fn put_session(sink: Sink<'_>, session: &Session) -> Result<(), Error> {
    let mut line = serde_json::to_value(session).map_err(|error| unwritable(&error))?;
    if let Some(fields) = line.as_object_mut() {
        fields.remove("lease_until");
        fields.remove("version");
    }
    put(sink, Member::Sessions, &line)?;
    match &session.outcome {
        Some(outcome) if !outcome.gates.is_empty() => {
            let line = GatesLine {
                session: session.id,
                task: session.task,
                gates: &outcome.gates,
            };
            put(sink, Member::Gates, &line)
        }
        _ => Ok(()),
    }
}

fn line(entry: Entry) -> Result<EventLine, Error> {
    let position = entry.position;
    let text = |bytes, what: &str| {
        String::from_utf8(bytes)
            .map_err(|_| Error::corrupt(format!("the {what} of event {position} is no text")))
    };
    Ok(EventLine {
        stream: entry.stream.to_string(),
        seq: entry.seq,
        header: text(entry.header, "header")?,
        payload: text(entry.payload, "content")?,
        dropped: entry.dropped.map(|hash| hex(&hash)),
        stream_hash: hex(&entry.stream_hash),
    })
}

fn put<T: Serialize>(sink: Sink<'_>, member: Member, line: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec(line).map_err(|error| unwritable(&error))?;
    text.push(b'\n');
    sink(member, &text)
}

fn unwritable(error: &serde_json::Error) -> Error {
    Error::corrupt(format!("it cannot be written as JSON: {error}"))
}
