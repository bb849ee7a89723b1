//! Keeps a lock while its holder works, and tells it at once when it is lost.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use domain::{
    lock::{Release, Token},
    time::Moment,
};

use crate::{
    error::Error,
    ports::{
        clock::Clock,
        locks::{Grant, Locks},
    },
};

/// How often a keeper looks whether the lock is there still.
const LOOK_EVERY_MILLIS: u64 = 500;

/// Why a lock is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It has ended: not renewed in time, or taken away.
    #[error(transparent)]
    Ended(Error),
    /// It could not be renewed before its lease was about to end.
    #[error("the lock could not be renewed before its lease ends: {0}")]
    Unreachable(Error),
}

/// Renews a lock on a thread of its own. Dropping it stops that and leaves the lock to its lease.
pub struct Keeper {
    locks: Arc<dyn Locks>,
    token: Token,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    asked: Mutex<bool>,
    bell: Condvar,
}

impl Stop {
    /// Waits until it is asked for, or for so long; says whether it is.
    fn wait(&self, millis: u64) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = Duration::from_millis(millis);
        let waited = self
            .bell
            .wait_timeout_while(asked, patience, |asked| !*asked);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.bell.notify_all();
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

impl Keeper {
    /// Keeps a lock from now on. `on_lost` is called once, should it be lost, within half a second of
    /// that; a lock that cannot be renewed counts as lost when a fifth of its lease is left.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where there is no thread to be had.
    pub fn start(
        locks: Arc<dyn Locks>,
        clock: Arc<dyn Clock>,
        grant: &Grant,
        on_lost: Box<dyn FnOnce(Lost) + Send>,
    ) -> Result<Self, Error> {
        let stop = Arc::new(Stop::default());
        let mut watch = Watch {
            locks: Arc::clone(&locks),
            token: grant.token,
            ttl_millis: grant.ttl_millis,
            ends: clock.now().moment.plus_millis(grant.left_millis),
            renew_at_left: grant.left_millis * 2 / 3,
            clock,
        };
        let told = Arc::clone(&stop);
        let keep = move || {
            if let Some(lost) = watch.until(&told) {
                on_lost(lost);
            }
        };
        let thread = thread::Builder::new()
            .name("lock-keeper".to_owned())
            .spawn(keep);
        let thread = thread.map_err(|error| {
            Error::unavailable(format!(
                "a thread that renews the lock cannot start: {error}"
            ))
        })?;
        Ok(Self {
            locks,
            token: grant.token,
            stop,
            thread: Some(thread),
        })
    }

    /// Stops renewing, and releases the lock.
    ///
    /// # Errors
    /// As [`Locks::release`].
    pub fn release(mut self) -> Result<u32, Error> {
        self.end();
        self.locks.release(&Release::of(self.token))
    }

    fn end(&mut self) {
        self.stop.ask();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            drop(thread.join());
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

struct Watch {
    locks: Arc<dyn Locks>,
    clock: Arc<dyn Clock>,
    token: Token,
    ttl_millis: u64,
    /// When the lease ends, by this process's own clock.
    ends: Moment,
    /// So much of the lease is left when it is renewed.
    renew_at_left: u64,
}

impl Watch {
    /// Until it is told to stop, or the lock is lost.
    fn until(&mut self, stop: &Stop) -> Option<Lost> {
        loop {
            let left = self.left();
            let until_due = left.saturating_sub(self.renew_at_left).max(20);
            if stop.wait(until_due.min(LOOK_EVERY_MILLIS)) {
                return None;
            }
            let left = self.left();
            let is_due = left <= self.renew_at_left;
            let before = self.clock.now().moment;
            let answer = if is_due {
                self.locks.renew(self.token, None)
            } else {
                self.locks.check(self.token)
            };
            match answer {
                Ok(grant) if is_due => {
                    // Counted from before the renewal was asked for, never from later.
                    self.ends = before.plus_millis(grant.left_millis);
                    self.renew_at_left = grant.left_millis * 2 / 3;
                }
                Err(error @ Error::Lock { .. }) => return Some(Lost::Ended(error)),
                Err(error) if left * 5 <= self.ttl_millis => return Some(Lost::Unreachable(error)),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn left(&self) -> u64 {
        let now = self.clock.now();
        if now.moment.boot == self.ends.boot {
            self.ends.millis.saturating_sub(now.moment.millis)
        } else {
            0
        }
    }
}
