//! Locks: fair, leased, fenced.
//!
//! What is granted to whom and when is what [`domain::lock`] says, whoever keeps the locks. Every
//! adapter must:
//!
//! - decide by one clock, its own, never by a caller's;
//! - grant a batch with all of its resources at once, or queue it with none;
//! - grant in the order of the queue: a grant follows from a release, an end, or a look of who waits,
//!   and from nothing that a caller could win by asking more often;
//! - give each grant a token that is higher than that of every grant before it, through restarts;
//! - refuse one request of a circle at once, when it closes;
//! - end what was not renewed in time, and take a waiter out of the queue that was not heard of for
//!   [`domain::lock::LEASE_OF_WAITERS_MILLIS`];
//! - answer every refusal as [`Error::Lock`], and [`Error::Unavailable`] where it cannot be reached.

use std::{fmt, time::Duration};

use domain::{
    id::LockId,
    lock::{Ask, Blocker, Holder, Lock, LockRefused, Mode, Release, Resource, Token, Totals},
};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The request that it was given to.
    pub id: LockId,
    /// Its number: whoever guards what is locked refuses a lower one than it has seen.
    pub token: Token,
    /// Who holds it.
    pub holder: Holder,
    /// On what, in canonical order.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// How often it was entered.
    pub depth: u32,
    /// The lease that each renewal gives.
    pub ttl_millis: u64,
    /// What is left of the lease. Less than `ttl_millis` for who has waited: the first renewal says
    /// that somebody is there.
    pub left_millis: u64,
    /// How long it had waited.
    pub waited_millis: u64,
}

/// A place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The request.
    pub id: LockId,
    /// Who is in the way: holders first, then those that wait before.
    pub by: Vec<Blocker>,
}

/// What came of a request, so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "attempt", rename_all = "snake_case")]
pub enum Attempt {
    /// It is held.
    Granted {
        /// The lock.
        grant: Grant,
    },
    /// It waits.
    Queued {
        /// Where.
        ticket: Ticket,
    },
}

/// Which locks to show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LockFilter {
    /// Those that overlap this one only.
    pub resource: Option<Resource>,
    /// Those of this holder only, by its text.
    pub holder: Option<String>,
}

/// A lock as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockView {
    /// All of it.
    pub lock: Lock,
    /// What is left of its lease, or of its time in the queue unless it is heard of.
    pub left_millis: u64,
    /// How long it has been held, or has waited.
    pub since_millis: u64,
    /// Who is in its way, where it waits.
    pub by: Vec<Blocker>,
}

/// Numbers about locks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LockStatistics {
    /// How many are held.
    pub held: u64,
    /// How many wait.
    pub waiting: u64,
    /// How long the one has been held that is held the longest.
    pub oldest_hold_millis: u64,
    /// How long the one has waited that waits the longest.
    pub oldest_wait_millis: u64,
    /// What has happened since the beginning.
    pub totals: Totals,
}

/// See the module.
pub trait Locks: Send + Sync + fmt::Debug {
    /// Grants a request, or queues it where it has time to wait. Never waits itself.
    ///
    /// # Errors
    /// [`LockRefused::Invalid`], [`LockRefused::Busy`], [`LockRefused::Deadlock`] where this request
    /// is the one that is refused, [`LockRefused::NotHeld`] and [`LockRefused::NotCovered`] where it
    /// names a token, [`LockRefused::FenceLost`], [`LockRefused::QueueFull`].
    fn begin(&self, ask: &Ask) -> Result<Attempt, Error>;

    /// Waits at most so long for the turn of a request, and keeps its place in the queue meanwhile.
    /// Answers where it stands then. The caller comes again within
    /// [`domain::lock::LEASE_OF_WAITERS_MILLIS`].
    ///
    /// # Errors
    /// [`LockRefused::TimedOut`] once the request's own time is over, [`LockRefused::Deadlock`],
    /// [`LockRefused::NotWaiting`].
    fn wait(&self, id: LockId, patience: Duration) -> Result<Attempt, Error>;

    /// Leaves the queue; releases the lock where it was granted meanwhile. Says whether there was
    /// anything to leave.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn leave(&self, id: LockId) -> Result<bool, Error>;

    /// The lease goes on from now; with another length where that is given.
    ///
    /// # Errors
    /// [`LockRefused::NotHeld`] once it has ended, with the reason where it is known still.
    fn renew(&self, token: Token, ttl_millis: Option<u64>) -> Result<Grant, Error>;

    /// Leaves a lock once; it ends when it was left as often as it was entered. Answers how often it
    /// is entered still.
    ///
    /// # Errors
    /// [`LockRefused::NotHeld`], [`LockRefused::NotYours`].
    fn release(&self, release: &Release) -> Result<u32, Error>;

    /// What is held under a token now, without renewing it. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::renew`].
    fn check(&self, token: Token) -> Result<Grant, Error>;

    /// Locks that are held and requests that wait: what overlaps a resource, or a holder's, or all.
    /// Holders first by token, then the queue in its order. What is over is not among them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn status(&self, filter: &LockFilter) -> Result<Vec<LockView>, Error>;

    /// Numbers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn statistics(&self) -> Result<LockStatistics, Error>;

    /// Takes away what is held on exactly this resource. Answers what was taken.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn force_release(&self, resource: &Resource, by: &str) -> Result<Vec<Lock>, Error>;

    /// Takes away everything that a holder has or waits for, by the holder's text. Answers what was
    /// taken.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn emergency_cleanup(&self, holder: &str, by: &str) -> Result<Vec<Lock>, Error>;

    /// Waits for a lock as long as the request allows, unless `cancelled` says at one of its looks
    /// that nobody wants it any more.
    ///
    /// # Errors
    /// As [`Self::begin`] and [`Self::wait`]; [`LockRefused::NotWaiting`] where it was cancelled.
    fn acquire(&self, ask: &Ask, cancelled: &dyn Fn() -> bool) -> Result<Grant, Error> {
        let mut attempt = self.begin(ask)?;
        loop {
            let id = match attempt {
                Attempt::Granted { grant } => return Ok(grant),
                Attempt::Queued { ticket } => ticket.id,
            };
            if cancelled() {
                self.leave(id)?;
                return Err(LockRefused::NotWaiting { why: None }.into());
            }
            attempt = self.wait(id, LOOK_EVERY)?;
        }
    }
}

/// How often a waiter looks by itself, should nobody tell it.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
