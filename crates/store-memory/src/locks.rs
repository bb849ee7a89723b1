//! Locks in memory, for one process: the same contract, gone with it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, Thread},
    time::Duration,
};

use app::{
    error::Error,
    ports::{
        clock::Clock,
        locks::{Attempt, Grant, LOOK_EVERY, LockFilter, LockStatistics, LockView, Locks, Ticket},
    },
};
use domain::{
    id::LockId,
    lock::{
        Ask, Gone, Lock, LockEvent, LockRefused, LockState, Numbers, Release, Resource, Table,
        Token, Totals,
    },
    time::Now,
};

/// Locks of one process.
pub struct MemoryLocks {
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    table: Table,
    numbers: Numbers,
    totals: Totals,
    /// Threads that wait for the turn of a request.
    waiting: BTreeMap<LockId, Thread>,
    /// What was taken away, oldest first: it is forgotten after a while.
    gone: Vec<LockId>,
}

impl fmt::Debug for MemoryLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLocks").finish_non_exhaustive()
    }
}

impl MemoryLocks {
    /// Locks that nobody holds.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            inside: Mutex::default(),
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides, counts what has happened, and wakes whom it concerns.
    fn turn<T>(
        &self,
        decide: impl FnOnce(&mut Table, &mut Numbers, &Now) -> Result<T, LockRefused>,
    ) -> Result<T, Error> {
        let mut guard = self.inside();
        let now = self.clock.now();
        let inside = &mut *guard;
        let decided = decide(&mut inside.table, &mut inside.numbers, &now);
        inside.settle_up(decided.as_ref().err(), &now);
        drop(guard);
        decided.map_err(Error::from)
    }

    fn attempt(
        &self,
        decide: impl FnOnce(&mut Table, &mut Numbers, &Now) -> Result<Lock, LockRefused>,
    ) -> Result<Attempt, Error> {
        self.turn(|table, numbers, now| {
            let lock = decide(table, numbers, now)?;
            Ok(attempt(table, lock, now))
        })
    }
}

impl Inside {
    fn settle_up(&mut self, refused: Option<&LockRefused>, now: &Now) {
        if let Some(refused) = refused {
            self.totals.refuse(refused);
        }
        for event in self.table.take_events() {
            self.totals.count(&event);
            let id = event.lock().id;
            if let LockEvent::Taken { .. } = event {
                self.gone.push(id);
            }
            if let LockEvent::Granted { .. } | LockEvent::Taken { .. } = event
                && let Some(thread) = self.waiting.remove(&id)
            {
                thread.unpark();
            }
        }
        if !self.gone.is_empty() {
            let table = &mut self.table;
            self.gone.retain(|id| {
                let kept = table.lock(*id).filter(|lock| !lock.is_over(&now.moment));
                let is_kept = kept.is_some();
                if !is_kept {
                    table.forget(*id);
                }
                is_kept
            });
        }
    }
}

fn attempt(table: &Table, lock: Lock, now: &Now) -> Attempt {
    let (id, left) = (lock.id, lock.left_millis(&now.moment));
    let by = table.blockers(&lock, &now.moment);
    match Grant::of(lock, left) {
        Some(grant) => Attempt::Granted { grant },
        None => Attempt::Queued {
            ticket: Ticket { id, by },
        },
    }
}

impl Locks for MemoryLocks {
    fn begin(&self, ask: &Ask) -> Result<Attempt, Error> {
        let ask = ask.clone().checked()?;
        self.attempt(|table, numbers, now| table.acquire(&ask, numbers, now))
    }

    fn wait(&self, id: LockId, patience: Duration) -> Result<Attempt, Error> {
        let mut left = patience;
        loop {
            self.inside().waiting.insert(id, thread::current());
            let looked = self.attempt(|table, numbers, now| table.look(id, numbers, now));
            match looked {
                Ok(Attempt::Queued { .. }) if !left.is_zero() => {}
                done => {
                    self.inside().waiting.remove(&id);
                    return done;
                }
            }
            let rest = left.min(LOOK_EVERY);
            left -= rest;
            thread::park_timeout(rest);
        }
    }

    fn leave(&self, id: LockId) -> Result<bool, Error> {
        self.turn(|table, numbers, now| Ok(table.leave(id, numbers, now)))
    }

    fn renew(&self, token: Token, ttl_millis: Option<u64>) -> Result<Grant, Error> {
        self.turn(|table, numbers, now| {
            let lock = table.renew(token, ttl_millis, numbers, now)?;
            let left = lock.left_millis(&now.moment);
            Grant::of(lock, left).ok_or(LockRefused::NotHeld { token, why: None })
        })
    }

    fn release(&self, release: &Release) -> Result<u32, Error> {
        self.turn(|table, numbers, now| {
            table.release(release, numbers, now)?;
            Ok(table
                .of_token(release.token)
                .map_or(0, |lock| match &lock.state {
                    LockState::Held { depth, .. } => *depth,
                    LockState::Waiting { .. } | LockState::Gone { .. } => 0,
                }))
        })
    }

    fn check(&self, token: Token) -> Result<Grant, Error> {
        let guard = self.inside();
        let now = self.clock.now().moment;
        let lost = |why| Error::from(LockRefused::NotHeld { token, why });
        let lock = guard.table.of_token(token).ok_or_else(|| lost(None))?;
        match &lock.state {
            LockState::Gone { why, .. } => Err(lost(Some(why.clone()))),
            LockState::Waiting { .. } => Err(lost(None)),
            LockState::Held { .. } if lock.is_over(&now) => Err(lost(Some(Gone::Expired))),
            LockState::Held { .. } => {
                let left = lock.left_millis(&now);
                Grant::of(lock.clone(), left).ok_or_else(|| lost(None))
            }
        }
    }

    fn status(&self, filter: &LockFilter) -> Result<Vec<LockView>, Error> {
        let guard = self.inside();
        let (table, now) = (&guard.table, self.clock.now().moment);
        let is_meant = |lock: &&Lock| {
            let of_holder = filter.holder.as_ref();
            !lock.is_over(&now)
                && !matches!(lock.state, LockState::Gone { .. })
                && of_holder.is_none_or(|holder| lock.holder.to_string() == *holder)
        };
        let found: Vec<&Lock> = match &filter.resource {
            Some(resource) => table.overlapping(std::slice::from_ref(resource)),
            None => table.locks().collect(),
        };
        let meant = found.into_iter().filter(is_meant);
        let mut views: Vec<LockView> = meant
            .map(|lock| LockView::of(lock.clone(), table, &now))
            .collect();
        LockView::sort(&mut views);
        Ok(views)
    }

    fn statistics(&self) -> Result<LockStatistics, Error> {
        let guard = self.inside();
        let mut numbers = LockStatistics {
            totals: guard.totals,
            ..LockStatistics::default()
        };
        numbers.add(guard.table.locks(), &self.clock.now().moment);
        Ok(numbers)
    }

    fn force_release(&self, resource: &Resource, by: &str) -> Result<Vec<Lock>, Error> {
        self.turn(|table, numbers, now| Ok(table.force(resource, by, numbers, now)))
    }

    fn emergency_cleanup(&self, holder: &str, by: &str) -> Result<Vec<Lock>, Error> {
        let why = Gone::Forced { by: by.to_owned() };
        self.turn(|table, numbers, now| Ok(table.cleanup(holder, &why, numbers, now)))
    }
}
