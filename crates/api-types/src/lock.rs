//! Locks.

use domain::{
    id::LockId,
    lock::{Blocker, Lock, LockState, Mode, Resource, Token},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// A lock, held or waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockRow {
    /// The request's id.
    pub id: LockId,
    /// `waiting`, `held` or `gone`.
    pub state: String,
    /// Who holds it, or waits.
    pub holder: String,
    /// On what.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// How important it was called, 1 to 10.
    pub priority: u8,
    /// The number of the grant; `null` while it waits.
    pub token: Option<Token>,
    /// How often it was entered.
    pub depth: Option<u32>,
    /// When it was granted.
    pub held_since: Option<Timestamp>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// The lease, in milliseconds.
    pub ttl_ms: u64,
    /// Milliseconds until it ends unless it is renewed; of one that waits, unless it is heard of.
    pub left_ms: u64,
    /// Milliseconds since it was granted; of one that waits, since it was asked for.
    pub since_ms: u64,
    /// Who is in its way, where it waits.
    pub blocked_by: Vec<LockBlocker>,
}

/// Somebody in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockBlocker {
    /// Who.
    pub holder: String,
    /// How.
    pub mode: Mode,
    /// Of what.
    pub resource: Resource,
    /// Whether it waits itself, and came before.
    pub waits: bool,
}

/// What `lock acquire` got, and `lock renew`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDocument {
    /// The request's id.
    pub id: LockId,
    /// The number of the grant: higher than that of every one before.
    pub token: Token,
    /// Who holds it.
    pub holder: String,
    /// On what, in canonical order.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// How often it was entered.
    pub depth: u32,
    /// The lease, in milliseconds.
    pub ttl_ms: u64,
    /// What is left of it.
    pub left_ms: u64,
    /// How long it had waited.
    pub waited_ms: u64,
}

/// What `lock list` shows: holders by token, then the queue in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockListDocument {
    /// Each.
    pub locks: Vec<LockRow>,
}

/// What `lock release` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockReleasedDocument {
    /// The grant.
    pub token: Token,
    /// How often it is entered still; 0 once it has ended.
    pub depth: u32,
}

/// What `lock release --force` and `lock cleanup` took away, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockTakenDocument {
    /// Each.
    pub taken: Vec<LockRow>,
}

/// What `lock wait` saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockWaitDocument {
    /// What is free.
    pub resources: Vec<Resource>,
    /// How long that took, in milliseconds.
    pub waited_ms: u64,
}

/// What `lock stats` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatsDocument {
    /// How many are held now.
    pub held: u64,
    /// How many wait now.
    pub waiting: u64,
    /// How long the one has been held that is held the longest, in milliseconds.
    pub oldest_hold_ms: u64,
    /// How long the one has waited that waits the longest.
    pub oldest_wait_ms: u64,
    /// Locks that were given since the beginning.
    pub granted: u64,
    /// Those of them that had waited.
    pub waited: u64,
    /// How long these had waited, together.
    pub wait_ms: u64,
    /// The longest wait that ended with a lock.
    pub longest_wait_ms: u64,
    /// Requests that somebody was in the way of.
    pub conflicts: u64,
    /// Those of them that did not wait.
    pub refused: u64,
    /// Waits that were over before their turn came.
    pub timed_out: u64,
    /// Waiters that left by themselves, or were not heard of.
    pub left: u64,
    /// Locks that were released.
    pub released: u64,
    /// Locks that were not renewed in time.
    pub expired: u64,
    /// Locks that were taken away.
    pub forced: u64,
    /// Requests that were refused because of a deadlock.
    pub deadlocks: u64,
    /// How long locks that have ended were held, together.
    pub held_ms: u64,
    /// The longest of these times.
    pub longest_hold_ms: u64,
}

schemas! {
    LockDocument = "lock";
    LockListDocument = "locks";
    LockReleasedDocument = "lock_released";
    LockTakenDocument = "locks_taken";
    LockWaitDocument = "lock_wait";
    LockStatsDocument = "lock_stats";
}

impl LockRow {
    /// A lock as it stands.
    #[must_use]
    pub fn of(lock: &Lock, left_ms: u64, since_ms: u64, by: &[Blocker]) -> Self {
        let (state, token, depth, held_since) = match &lock.state {
            LockState::Waiting { .. } => ("waiting", None, None, None),
            LockState::Held {
                token,
                depth,
                since_wall,
                ..
            } => ("held", Some(*token), Some(*depth), Some(*since_wall)),
            LockState::Gone { token, .. } => ("gone", *token, None, None),
        };
        Self {
            id: lock.id,
            state: state.to_owned(),
            holder: lock.holder.to_string(),
            resources: lock.resources.clone(),
            mode: lock.mode,
            priority: lock.priority.value(),
            token,
            depth,
            held_since,
            asked_at: lock.asked_wall,
            ttl_ms: lock.ttl_millis,
            left_ms,
            since_ms,
            blocked_by: by.iter().map(LockBlocker::from).collect(),
        }
    }
}

impl From<&Blocker> for LockBlocker {
    fn from(blocker: &Blocker) -> Self {
        Self {
            holder: blocker.holder.to_string(),
            mode: blocker.mode,
            resource: blocker.resource.clone(),
            waits: blocker.waits,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        lock::Ask,
        time::{BootId, Moment},
    };

    use super::*;
    use crate::samples::check;

    #[test]
    fn they_can_be_read_back() {
        let ask = Ask::exclusive("src/".parse().unwrap(), "ada".parse().unwrap());
        let moment = Moment {
            boot: BootId("b".to_owned()),
            millis: 7,
        };
        let lock = Lock {
            id: LockId::from_number(1).unwrap(),
            resources: ask.resources.clone(),
            mode: ask.mode,
            holder: ask.holder.clone(),
            priority: ask.priority,
            ttl_millis: ask.ttl_millis,
            rank: 0,
            asked: moment.clone(),
            asked_wall: Timestamp::from_millis(1_700_000_000_000),
            wake: None,
            state: LockState::Waiting {
                alive_until: moment.clone(),
                gives_up_at: moment,
            },
        };
        let row = LockRow::of(&lock, 1, 2, &[]);
        assert_eq!((row.state.as_str(), row.token), ("waiting", None));
        check(&LockListDocument {
            locks: vec![row.clone()],
        });
        check(&LockTakenDocument { taken: vec![row] });
        check(&LockWaitDocument {
            resources: ask.resources.clone(),
            waited_ms: 1,
        });
        check(&LockReleasedDocument {
            token: Token(7),
            depth: 0,
        });
        check(&LockDocument {
            id: lock.id,
            token: Token(7),
            holder: "ada".to_owned(),
            resources: ask.resources,
            mode: Mode::Shared,
            depth: 1,
            ttl_ms: 1,
            left_ms: 1,
            waited_ms: 0,
        });
    }
}
