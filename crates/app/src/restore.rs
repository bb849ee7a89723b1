//! Takes events that were written before into a store: from an archive, or from the folders of
//! projects whose store is lost. Rows are what their events make of them.
//!
//! What the store knows already stays as it is, so doing it again changes nothing. A stream of
//! which the store holds the beginning goes on with what is new. Leases are not taken over: a
//! session that had not ended is found by recovery like any other whose runner is gone.

mod fold;
mod images;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    id::{ProjectId, SessionId, TaskId},
    project::Project,
    session::Session,
    task::{Task, TaskStatus, epoch_of},
    time::{BootId, Moment},
};
use serde::{Deserialize, Serialize};

use self::fold::Streams;
use crate::{
    audit::Head,
    command::Meta,
    error::Error,
    event::{self, Hash, Header, Stream, StreamKind},
    ports::store::{Effect, IdKind, Mark, Tx},
    use_cases::count_tokens,
};

/// An event as it was written, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The header's JSON.
    pub header: Vec<u8>,
    /// The content; empty where it was dropped.
    pub payload: Vec<u8>,
    /// The hash in place of a content that was dropped.
    pub dropped: Option<Hash>,
}

impl Told {
    /// The hash that stands for its content.
    #[must_use]
    pub fn payload_hash(&self) -> Hash {
        self.dropped
            .unwrap_or_else(|| event::payload_hash(&self.payload))
    }
}

/// What is taken in.
#[derive(Debug, Default)]
pub struct Source {
    /// Events in the order in which they were written.
    pub events: Vec<Told>,
    /// Where projects are, if that is known better than their events say. A project of which there
    /// is no event is made with this directory.
    pub roots: BTreeMap<ProjectId, String>,
    /// The highest epoch that was ever heard of.
    pub epoch: u64,
    /// Signed heads whose signatures hold.
    pub heads: Vec<Head>,
    /// Tasks as images show them: whatever events are lost of one that had gone further.
    pub images: Vec<Task>,
    /// Tasks as they have to come out, where that is known by other means than their events.
    pub tasks: Vec<Task>,
}

/// Why something of a stream was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The stream.
    pub stream: String,
    /// The first place in it that was not taken in.
    pub seq: u64,
    /// How many events.
    pub events: u64,
    /// Why.
    pub why: String,
    /// Whether the store holds another event at this place.
    pub is_conflict: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Restored {
    /// Events that are in the store now and were not before.
    pub events: u64,
    /// Events that it held already.
    pub known: u64,
    /// Projects that are new.
    pub projects: Vec<ProjectId>,
    /// Tasks that are new or changed.
    pub tasks: Vec<TaskId>,
    /// Those of them of which events are lost, and whose image told where they stood.
    pub restated: Vec<TaskId>,
    /// Sessions that are new or changed.
    pub sessions: Vec<SessionId>,
    /// What was not taken in.
    pub left: Vec<Left>,
    /// The epoch of the store, where it is a new one.
    pub epoch: Option<u64>,
    /// The first and the last position of what is new and no head vouches for.
    pub unverified: Option<(u64, u64)>,
}

/// Takes a source in, as one transaction.
///
/// # Errors
/// Where the store cannot be written, or what is taken in contradicts what it holds otherwise: then
/// nothing may be committed.
pub fn restore(tx: &mut dyn Tx, source: &Source, meta: &Meta) -> Result<Restored, Error> {
    let mut restored = Restored::default();
    let mut streams = Streams::default();
    for told in &source.events {
        streams.take(tx, told, &mut restored)?;
    }
    streams.drop_unowned(tx, &mut restored)?;
    insert_projects(tx, source, &streams, &mut restored)?;
    let mut fence = source.epoch;
    for (task, before) in streams.tasks() {
        fence = fence.max(epoch_of(task.fence));
        if restore_task(tx, task, before)? {
            restored.tasks.push(task.id);
        }
    }
    for (session, before) in streams.sessions() {
        if restore_session(tx, session, before)? {
            let was_over = before.is_some_and(|before| before.status.is_terminal());
            if let (false, Some(outcome)) = (was_over, &session.outcome) {
                count_tokens(tx, session, outcome.ended_at)?;
            }
            restored.sessions.push(session.id);
        }
    }
    for (key, quota) in streams.quotas() {
        match quota {
            Some(quota) => tx.put_quota(quota)?,
            None => tx.remove_quota(key)?,
        }
    }
    check_tasks(tx, source, &restored)?;
    append(tx, source, &streams, &mut restored)?;
    if let Some(last) = images::restate(tx, source, meta, &mut restored)? {
        let from = restored.unverified.map_or(last, |(from, _)| from);
        mark_unverified(tx, from, last, &mut restored)?;
    }
    if restored.events > 0 {
        let heard = fence.max(images::epoch(source));
        restored.epoch = Some(images::raise_epoch(tx, heard)?);
        images::requeue_abandoned(tx, meta, &restored)?;
    }
    Ok(restored)
}

fn insert_projects(
    tx: &mut dyn Tx,
    source: &Source,
    streams: &Streams,
    restored: &mut Restored,
) -> Result<(), Error> {
    let mut wanted: BTreeMap<ProjectId, Project> = BTreeMap::new();
    for (id, root) in &source.roots {
        let mut images = source.images.iter();
        let image = images.find(|image| image.project == *id);
        let first = streams.first_of(*id);
        if let Some(at) = first.or(image.map(|image| image.created_at)) {
            let name = root.rsplit('/').next().unwrap_or(root).to_owned();
            let project = Project {
                id: *id,
                root: root.clone(),
                name,
                created_at: at,
                remote: None,
            };
            wanted.insert(*id, project);
        }
    }
    for told in streams.projects() {
        let mut project = told.clone();
        if let Some(root) = source.roots.get(&project.id) {
            project.root.clone_from(root);
        }
        wanted.insert(project.id, project);
    }
    for id in streams.mentioned() {
        if !wanted.contains_key(&id) && tx.project(id)?.is_none() {
            let message = format!("nothing says where project {id} is");
            return Err(Error::invalid("project", message));
        }
    }
    for (id, project) in wanted {
        if tx.project(id)?.is_some() {
            continue;
        }
        if let Some(other) = tx.project_at(&project.root)? {
            return Err(Error::Exists {
                what: format!("another project ({}) at the same place", other.id),
                name: project.root,
            });
        }
        tx.insert_project(&project)?;
        tx.raise_number(IdKind::Project, id.number())?;
        restored.projects.push(id);
    }
    Ok(())
}

/// Whether anything is new.
fn restore_task(tx: &mut dyn Tx, task: &Task, before: Option<&Task>) -> Result<bool, Error> {
    match before {
        Some(before) if before == task => return Ok(false),
        Some(before) => {
            if before.deleted_at.is_some() && task.deleted_at.is_none() {
                refuse_taken_key(tx, task)?;
            }
            if before.purged_at.is_none() && task.purged_at.is_some() {
                drop_contents(tx, task.id)?;
            }
            if before.spec != task.spec {
                tx.rewrite_spec(task)?;
            }
            tx.update_task(task, before.version)?;
            let done = TaskStatus::Completed;
            if before.status() != done && task.status() == done {
                tx.release_dependants(task.chain.root)?;
            }
        }
        None => {
            refuse_taken_key(tx, task)?;
            tx.insert_task(task)?;
            tx.raise_number(IdKind::Task, task.id.number())?;
        }
    }
    tx.add_effect(&Effect {
        task: task.id,
        version: task.version,
    })?;
    Ok(true)
}

fn refuse_taken_key(tx: &dyn Tx, task: &Task) -> Result<(), Error> {
    if let Some(key) = task.spec.key.as_ref().filter(|_| task.deleted_at.is_none())
        && let Some(other) = tx.task_of_key(task.project, key)?
    {
        return Err(Error::Exists {
            what: format!("another task ({}) of this key", other.id),
            name: key.to_string(),
        });
    }
    Ok(())
}

/// A task that was purged elsewhere keeps no contents here.
fn drop_contents(tx: &mut dyn Tx, task: TaskId) -> Result<(), Error> {
    let stream = |kind, id| Stream { kind, id };
    tx.drop_payloads(stream(StreamKind::Task, task.number()))?;
    for session in tx.sessions_of(task)? {
        tx.drop_payloads(stream(StreamKind::Session, session.id.number()))?;
    }
    Ok(())
}

fn restore_session(
    tx: &mut dyn Tx,
    session: &Session,
    before: Option<&Session>,
) -> Result<bool, Error> {
    match before {
        Some(before) if before == session => Ok(false),
        Some(before) => {
            let version = session.version.max(before.version + 1);
            let session = Session {
                version,
                ..session.clone()
            };
            tx.update_session(&session, before.version)?;
            Ok(true)
        }
        None => {
            let mut session = session.clone();
            if !session.status.is_terminal() {
                session.lease_until = ended_lease();
            }
            tx.insert_session(&session)?;
            tx.raise_number(IdKind::Session, session.id.number())?;
            Ok(true)
        }
    }
}

fn check_tasks(tx: &dyn Tx, source: &Source, restored: &Restored) -> Result<(), Error> {
    let new: BTreeSet<TaskId> = restored.tasks.iter().copied().collect();
    for task in source.tasks.iter().filter(|task| new.contains(&task.id)) {
        if tx.task(task.id)?.as_ref() != Some(task) {
            let message = format!("{} is not what its events make of it", task.id);
            return Err(Error::invalid("tasks", message));
        }
    }
    Ok(())
}

/// Of no boot that ever was.
fn ended_lease() -> Moment {
    Moment {
        boot: BootId("restored".to_owned()),
        millis: 0,
    }
}

/// Writes what is new behind everything else, in its order.
fn append(
    tx: &mut dyn Tx,
    source: &Source,
    streams: &Streams,
    restored: &mut Restored,
) -> Result<(), Error> {
    let mut heads: BTreeMap<u64, BTreeSet<[u8; 32]>> = BTreeMap::new();
    for head in &source.heads {
        heads
            .entry(head.position)
            .or_default()
            .insert(head.global_hash);
    }
    let (mut first, mut last, mut vouched) = (0, 0, 0);
    for (told, is_new) in source.events.iter().zip(streams.verdicts()) {
        if !is_new {
            continue;
        }
        let entry = tx.append_again(told)?;
        if entry.seq != told.seq {
            let message = format!(
                "{} {} came to stand at {}",
                told.stream, told.seq, entry.seq
            );
            return Err(Error::corrupt(message));
        }
        if first == 0 {
            first = entry.position;
        }
        last = entry.position;
        if heads
            .get(&last)
            .is_some_and(|of| of.contains(&entry.global_hash))
        {
            vouched = last;
        }
        restored.events += 1;
    }
    if last > vouched {
        mark_unverified(tx, first.max(vouched + 1), last, restored)?;
    }
    Ok(())
}

fn mark_unverified(
    tx: &mut dyn Tx,
    from: u64,
    to: u64,
    restored: &mut Restored,
) -> Result<(), Error> {
    restored.unverified = Some((from, to));
    let known = tx.mark(Mark::UnverifiedFrom)?;
    let from = if known == 0 { from } else { known.min(from) };
    tx.set_mark(Mark::UnverifiedFrom, from)?;
    tx.set_mark(Mark::UnverifiedTo, to)
}

/// The header of an event, where it is one of this place.
fn header_of(told: &Told) -> Result<Header, String> {
    let header: Header = serde_json::from_slice(&told.header)
        .map_err(|error| format!("its header cannot be read: {error}"))?;
    if (header.stream, header.seq) != (told.stream, told.seq) {
        return Err("its header is that of another event".to_owned());
    }
    if told.stream.kind == StreamKind::Project && header.project.number() != told.stream.id {
        return Err("its header names another project".to_owned());
    }
    Ok(header)
}
