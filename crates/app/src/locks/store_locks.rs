//! The locks port over a store.

use std::{fmt, sync::Arc, time::Duration};

use domain::{
    id::{LockId, ProjectId},
    lock::{Ask, LEASE_OF_WAITERS_MILLIS, Lock, LockRefused, LockState, Release, Resource, Token},
};

use super::command::{LockAnswer, LockCommand, LockNotice, LockQuery, LockReply};
use crate::{
    command::{Command, Meta, Output, Request},
    error::Error,
    ports::{
        clock::Clock,
        locks::{Attempt, Grant, LOOK_EVERY, LockFilter, LockStatistics, LockView, Locks, Ticket},
        store::Store,
    },
    query::{Query, View},
};

/// Something by which one waiter is told that it may be its turn. A bell that is lost costs a second
/// and nothing else: whoever waits looks by itself that often.
pub trait Bell: Send + Sync + fmt::Debug {
    /// Where it can be rung, as [`Bells::ring`] takes it.
    fn address(&self) -> &str;

    /// Waits until it was rung since the last wait, or for so long.
    fn wait(&self, patience: Duration);
}

/// Makes bells, and rings those of others, in whichever process of this machine they are.
pub trait Bells: Send + Sync + fmt::Debug {
    /// A bell; without one a waiter looks each second.
    fn bell(&self) -> Option<Arc<dyn Bell>>;

    /// Rings the bell at an address, where there still is one.
    fn ring(&self, address: &str);
}

/// Locks of one project, kept by a store.
#[derive(Debug)]
pub struct StoreLocks {
    store: Arc<dyn Store>,
    project: ProjectId,
    clock: Arc<dyn Clock>,
    bells: Arc<dyn Bells>,
    meta: Meta,
    /// Of the requests of this client that wait.
    waiting: std::sync::Mutex<std::collections::BTreeMap<LockId, Arc<dyn Bell>>>,
}

impl StoreLocks {
    /// A client. `clock` reads the store's time.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        project: ProjectId,
        clock: Arc<dyn Clock>,
        bells: Arc<dyn Bells>,
        meta: Meta,
    ) -> Self {
        let waiting = std::sync::Mutex::default();
        Self {
            store,
            project,
            clock,
            bells,
            meta,
            waiting,
        }
    }

    fn change(&self, command: LockCommand) -> Result<LockAnswer, Error> {
        let reply = self.store.execute(Request {
            meta: self.meta.clone(),
            done: vec![],
            command: Command::Lock {
                project: self.project,
                command: Box::new(command),
            },
        })?;
        let Output::Lock {
            reply: LockReply { answer, wake },
        } = reply.output
        else {
            return Err(unexpected());
        };
        for address in wake {
            self.bells.ring(&address);
        }
        match answer {
            LockAnswer::Refused { refused } => Err(refused.into()),
            answer => Ok(answer),
        }
    }

    fn ask(&self, query: LockQuery) -> Result<LockNotice, Error> {
        let query = Query::Locks {
            project: self.project,
            about: Box::new(query),
        };
        match self.store.read(&query)? {
            View::Locks { notice } => Ok(notice),
            _ => Err(unexpected()),
        }
    }

    fn bells_of_waiting(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<LockId, Arc<dyn Bell>>> {
        self.waiting
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Looks at a request without changing anything: an answer where there is one already, else
    /// nothing where it is well in the queue, and an error where a look of the store is due.
    fn peek(&self, id: LockId) -> Result<Peek, Error> {
        let now = self.clock.now();
        let LockNotice::One { view, is_due } = self.ask(LockQuery::One { id, now })? else {
            return Err(unexpected());
        };
        let Some(view) = view.filter(|_| !is_due) else {
            return Ok(Peek::Due);
        };
        Ok(match &view.lock.state {
            LockState::Held { .. } => Peek::Held(view),
            LockState::Waiting { .. } if view.left_millis * 2 > LEASE_OF_WAITERS_MILLIS => {
                Peek::Waits(view)
            }
            LockState::Waiting { .. } | LockState::Gone { .. } => Peek::Due,
        })
    }

    fn look(&self, id: LockId) -> Result<Attempt, Error> {
        let answer = self.change(LockCommand::Look { id });
        answer.and_then(of_answer)
    }
}

/// What can be seen of a request without changing anything.
enum Peek {
    Held(Box<LockView>),
    Waits(Box<LockView>),
    /// Something is over, or the store has not heard of the waiter for a while.
    Due,
}

impl Locks for StoreLocks {
    fn begin(&self, ask: &Ask) -> Result<Attempt, Error> {
        let bell = if ask.wait_millis > 0 {
            self.bells.bell()
        } else {
            None
        };
        let wake = bell.as_ref().map(|bell| bell.address().to_owned());
        let ask = Ask {
            wake,
            ..ask.clone()
        };
        let attempt = of_answer(self.change(LockCommand::Begin { ask })?)?;
        if let (Attempt::Queued { ticket }, Some(bell)) = (&attempt, bell) {
            self.bells_of_waiting().insert(ticket.id, bell);
        }
        Ok(attempt)
    }

    fn wait(&self, id: LockId, patience: Duration) -> Result<Attempt, Error> {
        let bell = self.bells_of_waiting().get(&id).cloned();
        let mut left = patience;
        let attempt = loop {
            let ticket = match self.peek(id)? {
                Peek::Held(view) => break attempt(*view),
                Peek::Waits(view) => attempt(*view),
                Peek::Due => self.look(id),
            };
            match ticket {
                Ok(Attempt::Queued { .. }) if !left.is_zero() => {}
                done => break done,
            }
            let rest = left.min(LOOK_EVERY);
            left -= rest;
            match &bell {
                Some(bell) => bell.wait(rest),
                None => std::thread::sleep(rest),
            }
            // A bell that was rung ends the wait: what it told of is seen at once.
            if left.is_zero() {
                break match self.peek(id)? {
                    Peek::Held(view) | Peek::Waits(view) => attempt(*view),
                    Peek::Due => self.look(id),
                };
            }
        };
        if !matches!(
            attempt,
            Ok(Attempt::Queued { .. }) | Err(Error::Unavailable { .. })
        ) {
            self.bells_of_waiting().remove(&id);
        }
        attempt
    }

    fn leave(&self, id: LockId) -> Result<bool, Error> {
        self.bells_of_waiting().remove(&id);
        match self.change(LockCommand::Leave { id })? {
            LockAnswer::Left { was_there } => Ok(was_there),
            _ => Err(unexpected()),
        }
    }

    fn renew(&self, token: Token, ttl_millis: Option<u64>) -> Result<Grant, Error> {
        let answer = self.change(LockCommand::Renew { token, ttl_millis })?;
        match of_answer(answer)? {
            Attempt::Granted { grant } => Ok(grant),
            Attempt::Queued { .. } => Err(unexpected()),
        }
    }

    fn release(&self, release: &Release) -> Result<u32, Error> {
        let release = release.clone();
        match self.change(LockCommand::Release { release })? {
            LockAnswer::Released { depth } => Ok(depth),
            _ => Err(unexpected()),
        }
    }

    fn check(&self, token: Token) -> Result<Grant, Error> {
        let now = self.clock.now();
        let LockNotice::One { view, is_due } = self.ask(LockQuery::OfToken { token, now })? else {
            return Err(unexpected());
        };
        let lost = |why| Error::from(LockRefused::NotHeld { token, why });
        let view = view.ok_or_else(|| lost(None))?;
        match &view.lock.state {
            LockState::Gone { why, .. } => Err(lost(Some(why.clone()))),
            LockState::Held { .. } if is_due => Err(lost(Some(domain::lock::Gone::Expired))),
            LockState::Held { .. } | LockState::Waiting { .. } => match attempt(*view)? {
                Attempt::Granted { grant } => Ok(grant),
                Attempt::Queued { .. } => Err(lost(None)),
            },
        }
    }

    fn status(&self, filter: &LockFilter) -> Result<Vec<LockView>, Error> {
        let (filter, now) = (filter.clone(), self.clock.now());
        match self.ask(LockQuery::All { filter, now })? {
            LockNotice::All { views } => Ok(views),
            _ => Err(unexpected()),
        }
    }

    fn statistics(&self) -> Result<LockStatistics, Error> {
        let now = self.clock.now();
        match self.ask(LockQuery::Statistics { now })? {
            LockNotice::Statistics { numbers } => Ok(*numbers),
            _ => Err(unexpected()),
        }
    }

    fn force_release(&self, resource: &Resource, by: &str) -> Result<Vec<Lock>, Error> {
        let (resource, by) = (resource.clone(), by.to_owned());
        taken(self.change(LockCommand::Force { resource, by })?)
    }

    fn emergency_cleanup(&self, holder: &str, by: &str) -> Result<Vec<Lock>, Error> {
        let (holder, by) = (holder.to_owned(), by.to_owned());
        taken(self.change(LockCommand::Cleanup { holder, by })?)
    }
}

fn taken(answer: LockAnswer) -> Result<Vec<Lock>, Error> {
    match answer {
        LockAnswer::Taken { locks } => Ok(locks),
        _ => Err(unexpected()),
    }
}

fn of_answer(answer: LockAnswer) -> Result<Attempt, Error> {
    match answer {
        LockAnswer::Lock { view } => attempt(*view),
        _ => Err(unexpected()),
    }
}

fn attempt(view: LockView) -> Result<Attempt, Error> {
    let id = view.lock.id;
    if view.lock.is_waiting() {
        return Ok(Attempt::Queued {
            ticket: Ticket { id, by: view.by },
        });
    }
    Grant::of(view.lock, view.left_millis)
        .map(|grant| Attempt::Granted { grant })
        .ok_or_else(|| LockRefused::NotWaiting { why: None }.into())
}

impl Grant {
    /// What the holder of a lock is told; nothing where it is not held.
    #[must_use]
    pub fn of(lock: Lock, left_millis: u64) -> Option<Self> {
        let LockState::Held {
            token,
            depth,
            waited_millis,
            ..
        } = lock.state
        else {
            return None;
        };
        Some(Self {
            id: lock.id,
            token,
            holder: lock.holder,
            resources: lock.resources,
            mode: lock.mode,
            depth,
            ttl_millis: lock.ttl_millis,
            left_millis,
            waited_millis,
        })
    }
}

fn unexpected() -> Error {
    Error::unavailable("the store answered something else than was asked: use the same version")
}
