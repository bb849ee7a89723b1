//! Streams on their way into a store: held against what it has, and folded into rows.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use domain::{
    id::{ProjectId, SessionId, TaskId},
    project::Project,
    quota::{Quota, QuotaKey},
    session::{Session, SessionEvent},
    task::{Task, TaskEvent},
    time::Timestamp,
};

use super::{Left, Restored, Told, header_of};
use crate::{
    error::Error,
    event::{self, GENESIS, Hash, Header, QuotaRemoved, Stream, StreamKind},
    ports::store::Tx,
};

/// Everything that was heard, by stream.
#[derive(Debug, Default)]
pub(super) struct Streams {
    of: BTreeMap<Stream, OneStream>,
    /// In the order of the first event of each.
    order: Vec<Stream>,
    /// For each event that was heard: its stream, and whether it may be new.
    heard: Vec<(Stream, bool)>,
    /// Quotas as the newest new event of each leaves them.
    quotas: BTreeMap<QuotaKey, Option<Quota>>,
    /// The projects that events belong to, with the time of the first.
    mentioned: BTreeMap<ProjectId, Timestamp>,
}

#[derive(Debug)]
struct OneStream {
    /// The hashes that the store holds.
    stored: Vec<Hash>,
    seq: u64,
    hash: Hash,
    /// Where nothing more of it is taken in: its place in the report.
    left: Option<usize>,
    /// Whether rows can be made of it.
    row: Row,
}

/// What a stream makes, and what the store had of it.
#[derive(Debug)]
enum Row {
    Project(Option<Project>),
    Task(Option<Box<Task>>, Option<Box<Task>>),
    Session(Option<Box<Session>>, Option<Box<Session>>),
}

impl Streams {
    pub(super) fn take(
        &mut self,
        tx: &dyn Tx,
        told: &Told,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        let stream = match self.of.entry(told.stream) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.order.push(told.stream);
                new.insert(OneStream::open(tx, told.stream)?)
            }
        };
        let verdict = match stream.left {
            Some(at) => {
                restored.left[at].events += 1;
                Verdict::Left
            }
            None => stream.take(told),
        };
        self.heard
            .push((told.stream, matches!(verdict, Verdict::New(_))));
        match verdict {
            Verdict::Known => restored.known += 1,
            Verdict::New(header) => {
                if let Ok(Some((key, quota))) = quota_told(&header, &told.payload) {
                    self.quotas.insert(key, quota);
                }
                self.mentioned.entry(header.project).or_insert(header.at);
            }
            Verdict::Left => {}
            Verdict::Refused { why, is_conflict } => {
                stream.left = Some(restored.left.len());
                restored.left.push(Left {
                    stream: told.stream.to_string(),
                    seq: told.seq,
                    events: 1,
                    why,
                    is_conflict,
                });
            }
        }
        Ok(())
    }

    /// A session whose task is nowhere has no row, and nothing of it is taken in.
    pub(super) fn drop_unowned(
        &mut self,
        tx: &dyn Tx,
        restored: &mut Restored,
    ) -> Result<(), Error> {
        let mut tasks: BTreeSet<TaskId> = self.tasks().map(|(task, _)| task.id).collect();
        let owners: Vec<TaskId> = self.sessions().map(|(session, _)| session.task).collect();
        for owner in owners {
            if !tasks.contains(&owner) && tx.task(owner)?.is_some() {
                tasks.insert(owner);
            }
        }
        let mut dropped = BTreeSet::new();
        for (stream, of) in &mut self.of {
            let why = match &of.row {
                Row::Task(None, None) | Row::Session(None, None) => {
                    "there is no event that made it"
                }
                Row::Session(Some(session), None) if !tasks.contains(&session.task) => {
                    "nothing is known of its task"
                }
                _ => continue,
            };
            of.row = match stream.kind {
                StreamKind::Session => Row::Session(None, None),
                StreamKind::Task => Row::Task(None, None),
                StreamKind::Project => continue,
            };
            dropped.insert(*stream);
            if of.left.is_none() {
                restored.left.push(Left {
                    stream: stream.to_string(),
                    seq: 1,
                    events: of.seq,
                    why: why.to_owned(),
                    is_conflict: false,
                });
            }
        }
        for (stream, is_new) in &mut self.heard {
            *is_new &= !dropped.contains(stream);
        }
        Ok(())
    }

    /// Whether each event that was heard, in its order, is to be written.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = bool> {
        self.heard.iter().map(|(_, is_new)| *is_new)
    }

    /// Projects that were registered, oldest first.
    pub(super) fn projects(&self) -> impl Iterator<Item = &Project> {
        self.rows().filter_map(|row| match row {
            Row::Project(project) => project.as_ref(),
            Row::Task(..) | Row::Session(..) => None,
        })
    }

    /// Tasks as they have become, with what the store had, oldest first.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (&Task, Option<&Task>)> {
        self.rows().filter_map(|row| match row {
            Row::Task(Some(task), before) => Some((&**task, before.as_deref())),
            Row::Task(None, _) | Row::Project(_) | Row::Session(..) => None,
        })
    }

    /// Sessions as they have become, with what the store had, oldest first.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (&Session, Option<&Session>)> {
        self.rows().filter_map(|row| match row {
            Row::Session(Some(session), before) => Some((&**session, before.as_deref())),
            Row::Session(None, _) | Row::Project(_) | Row::Task(..) => None,
        })
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        let known = self.order.iter().filter_map(|stream| self.of.get(stream));
        known.map(|stream| &stream.row)
    }

    /// Quotas that were set or removed, in the order of their keys.
    pub(super) fn quotas(&self) -> impl Iterator<Item = (&QuotaKey, Option<&Quota>)> {
        self.quotas.iter().map(|(key, quota)| (key, quota.as_ref()))
    }

    /// Every project that something new belongs to.
    pub(super) fn mentioned(&self) -> impl Iterator<Item = ProjectId> {
        self.mentioned.keys().copied()
    }

    /// When the first new event of a project was written.
    pub(super) fn first_of(&self, project: ProjectId) -> Option<Timestamp> {
        self.mentioned.get(&project).copied()
    }
}

type QuotaTold = Option<(QuotaKey, Option<Quota>)>;

/// The quota that an event of a project is about, as it is after that.
fn quota_told(header: &Header, payload: &[u8]) -> Result<QuotaTold, serde_json::Error> {
    Ok(match header.kind.as_str() {
        "quota.set" => {
            let quota: Quota = serde_json::from_slice(payload)?;
            Some((quota.key.clone(), Some(quota)))
        }
        "quota.removed" => {
            let removed: QuotaRemoved = serde_json::from_slice(payload)?;
            Some((removed.key, None))
        }
        _ => None,
    })
}

enum Verdict {
    Known,
    New(Box<Header>),
    Left,
    Refused { why: String, is_conflict: bool },
}

fn refused(why: impl Into<String>) -> Verdict {
    Verdict::Refused {
        why: why.into(),
        is_conflict: false,
    }
}

impl OneStream {
    fn open(tx: &dyn Tx, stream: Stream) -> Result<Self, Error> {
        let stored = tx.events(Some(stream), 0, usize::MAX >> 1)?;
        let unknown = || Error::corrupt(format!("{stream} is no id"));
        let row = match stream.kind {
            StreamKind::Project => Row::Project(None),
            StreamKind::Task => {
                let id = TaskId::from_number(stream.id).ok_or_else(unknown)?;
                let task = tx.task(id)?.map(Box::new);
                Row::Task(task.clone(), task)
            }
            StreamKind::Session => {
                let id = SessionId::from_number(stream.id).ok_or_else(unknown)?;
                let session = tx.session(id)?.map(Box::new);
                Row::Session(session.clone(), session)
            }
        };
        Ok(Self {
            stored: stored.into_iter().map(|entry| entry.stream_hash).collect(),
            seq: 0,
            hash: GENESIS,
            left: None,
            row,
        })
    }

    fn take(&mut self, told: &Told) -> Verdict {
        if told.seq <= self.seq {
            return refused(format!("its number {} comes a second time", told.seq));
        }
        if told.seq > self.seq + 1 {
            return refused(format!(
                "numbers {} to {} are missing",
                self.seq + 1,
                told.seq - 1
            ));
        }
        let header = match header_of(told) {
            Ok(header) => header,
            Err(why) => return refused(why),
        };
        if told.dropped.is_some() && !told.payload.is_empty() {
            return refused("it has a content and the hash of one that was dropped");
        }
        let hash = event::stream_hash(&self.hash, &told.header, &told.payload_hash());
        let at = usize::try_from(self.seq).unwrap_or(usize::MAX);
        if let Some(stored) = self.stored.get(at) {
            if *stored != hash {
                return Verdict::Refused {
                    why: "the store holds another event at this place".to_owned(),
                    is_conflict: true,
                };
            }
            (self.seq, self.hash) = (told.seq, hash);
            return Verdict::Known;
        }
        // What is left of a purged task comes with the event that says so.
        if told.dropped.is_none()
            && let Err(why) = self.row.fold(&header, &told.payload)
        {
            return refused(why);
        }
        (self.seq, self.hash) = (told.seq, hash);
        Verdict::New(Box::new(header))
    }
}

impl Row {
    fn fold(&mut self, header: &Header, payload: &[u8]) -> Result<(), String> {
        let unreadable = |error: serde_json::Error| format!("its content cannot be read: {error}");
        match self {
            Self::Project(project) => {
                match (header.kind.as_str(), project.as_mut()) {
                    ("project.registered", _) => {
                        *project = Some(serde_json::from_slice(payload).map_err(unreadable)?);
                    }
                    ("project.joined_by", Some(known)) => {
                        let joined: Project =
                            serde_json::from_slice(payload).map_err(unreadable)?;
                        known.remote = joined.remote;
                    }
                    _ => {}
                }
                quota_told(header, payload).map_err(unreadable)?;
            }
            Self::Task(task, _) => {
                let event: TaskEvent = serde_json::from_slice(payload).map_err(unreadable)?;
                let before = match (&event, task.as_deref()) {
                    (_, Some(task)) => task,
                    (
                        TaskEvent::Created { task }
                        | TaskEvent::Restated { task }
                        | TaskEvent::Purged { task },
                        None,
                    ) => &**task,
                    (_, None) => return Err("no event has made it before".to_owned()),
                };
                let next = before.clone().evolve(&event, header.at);
                if next.id.number() != header.stream.id || next.project != header.project {
                    return Err("it is about another task".to_owned());
                }
                *task = Some(Box::new(next));
            }
            Self::Session(session, _) => {
                let event: SessionEvent = serde_json::from_slice(payload).map_err(unreadable)?;
                let before = match (&event, session.as_deref()) {
                    (_, Some(session)) => session,
                    (
                        SessionEvent::Created { session } | SessionEvent::Purged { session },
                        None,
                    ) => &**session,
                    (_, None) => return Err("no event has made it before".to_owned()),
                };
                let next = before.clone().evolve(&event, header.at);
                if next.id.number() != header.stream.id || next.project != header.project {
                    return Err("it is about another session".to_owned());
                }
                *session = Some(Box::new(next));
            }
        }
        Ok(())
    }
}
