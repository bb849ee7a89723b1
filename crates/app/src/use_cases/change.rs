//! A change in progress: loads aggregates, asks them to decide, stores what they became together
//! with their events, and collects the effects that the commit will owe.

use std::collections::BTreeMap;

use domain::{
    id::{SessionId, TaskId},
    session::{Session, SessionCommand, SessionEvent},
    task::{Task, TaskCommand, TaskEvent, TaskStatus},
    time::Now,
};

use super::quota::count_tokens;
use crate::{
    command::Meta,
    error::Error,
    event::{NewEvent, Stream, StreamKind},
    ports::store::{Effect, Mark, Tx},
};

#[derive(Debug)]
struct Owed(BTreeMap<TaskId, u64>);

/// See the module.
pub(crate) struct Change<'a> {
    tx: &'a mut dyn Tx,
    meta: &'a Meta,
    owed: Owed,
}

impl<'a> Change<'a> {
    pub(crate) fn new(tx: &'a mut dyn Tx, meta: &'a Meta) -> Self {
        Self {
            tx,
            meta,
            owed: Owed(BTreeMap::new()),
        }
    }

    pub(crate) fn into_effects(self) -> Vec<Effect> {
        self.owed
            .0
            .into_iter()
            .map(|(task, version)| Effect { task, version })
            .collect()
    }

    pub(crate) fn tx(&mut self) -> &mut dyn Tx {
        self.tx
    }

    /// Writes an event of an aggregate that has no `decide` of its own.
    pub(crate) fn append(&mut self, event: NewEvent) -> Result<u64, Error> {
        self.tx.append(self.meta, event)
    }

    pub(crate) fn now(&self) -> Now {
        self.tx.now().clone()
    }

    pub(crate) fn task(&mut self, id: TaskId) -> Result<Task, Error> {
        self.tx
            .task(id)?
            .ok_or_else(|| Error::not_found("Task", id))
    }

    pub(crate) fn session(&mut self, id: SessionId) -> Result<Session, Error> {
        self.tx
            .session(id)?
            .ok_or_else(|| Error::not_found("Session", id))
    }

    /// Stores a new task.
    pub(crate) fn create_task(&mut self, task: &Task) -> Result<(), Error> {
        self.tx.insert_task(task)?;
        self.record_task(
            task,
            &TaskEvent::Created {
                task: Box::new(task.clone()),
            },
        )?;
        self.owe(task)
    }

    /// Asks a task to decide, and stores what it became. Without an event nothing is written.
    pub(crate) fn change_task(&mut self, task: Task, command: &TaskCommand) -> Result<Task, Error> {
        let mut events = task.decide(command)?;
        if events.iter().any(TaskEvent::gives_fence) {
            let epoch = self.tx.mark(Mark::Epoch)?;
            let in_epoch = |event: TaskEvent| event.in_epoch(task.fence, epoch);
            events = events.into_iter().map(in_epoch).collect();
        }
        let expected = task.version;
        let before = task.status();
        let at = self.tx.now().wall;
        let mut changed = task;
        for event in &events {
            changed = changed.evolve(event, at);
        }
        if events.is_empty() {
            return Ok(changed);
        }
        if events.iter().any(TaskEvent::changes_spec) {
            self.tx.rewrite_spec(&changed)?;
        }
        self.tx.update_task(&changed, expected)?;
        for event in &events {
            self.record_task(&changed, event)?;
        }
        if before != TaskStatus::Completed && changed.status() == TaskStatus::Completed {
            self.tx.release_dependants(changed.chain.root)?;
        }
        self.owe(&changed)?;
        Ok(changed)
    }

    /// Stores a new session.
    pub(crate) fn create_session(&mut self, session: &Session) -> Result<(), Error> {
        self.tx.insert_session(session)?;
        self.record_session(
            session,
            &SessionEvent::Created {
                session: Box::new(session.clone()),
            },
        )
    }

    /// Asks a session to decide, and stores what it became; says whether anything was written.
    pub(crate) fn change_session(
        &mut self,
        session: Session,
        fence: u64,
        command: &SessionCommand,
    ) -> Result<(Session, bool), Error> {
        let events = session.decide(fence, command)?;
        let is_live = !session.status.is_terminal();
        let expected = session.version;
        let at = self.tx.now().wall;
        let mut changed = session;
        for event in &events {
            changed = changed.evolve(event, at);
        }
        if events.is_empty() {
            return Ok((changed, false));
        }
        self.tx.update_session(&changed, expected)?;
        for event in &events {
            self.record_session(&changed, event)?;
        }
        if is_live && changed.status.is_terminal() {
            count_tokens(self.tx, &changed, at)?;
            super::end_locks_of(self, &changed)?;
        }
        Ok((changed, true))
    }

    /// Stores what is left of a session whose task is purged.
    pub(crate) fn purge_session(&mut self, session: Session) -> Result<(), Error> {
        let expected = session.version;
        let event = SessionEvent::Purged {
            session: Box::new(session.clone().emptied()),
        };
        let at = self.tx.now().wall;
        let emptied = session.evolve(&event, at);
        self.tx.update_session(&emptied, expected)?;
        self.record_session(&emptied, &event)
    }

    fn record_task(&mut self, task: &Task, event: &TaskEvent) -> Result<(), Error> {
        self.append(NewEvent {
            project: task.project,
            stream: Stream {
                kind: StreamKind::Task,
                id: task.id.number(),
            },
            kind: event.kind(),
            fence: Some(task.fence),
            payload: encode(event)?,
        })
        .map(drop)
    }

    fn record_session(&mut self, session: &Session, event: &SessionEvent) -> Result<(), Error> {
        self.append(NewEvent {
            project: session.project,
            stream: Stream {
                kind: StreamKind::Session,
                id: session.id.number(),
            },
            kind: event.kind(),
            fence: Some(session.fence),
            payload: encode(event)?,
        })
        .map(drop)
    }

    fn owe(&mut self, task: &Task) -> Result<(), Error> {
        self.tx.add_effect(&Effect {
            task: task.id,
            version: task.version,
        })?;
        self.owed.0.insert(task.id, task.version);
        Ok(())
    }
}

/// The JSON of an event, as it is stored and hashed.
pub(crate) fn encode<T: serde::Serialize>(event: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(event).map_err(|error| Error::corrupt(format!("unwritable event: {error}")))
}
