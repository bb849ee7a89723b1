//! One request for a lock, as it is stored.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Ask, Holder, Mode, Resource, Wait};
use crate::{
    id::LockId,
    task::Priority,
    time::{Moment, Now, Timestamp},
};

/// The number of a grant: higher than that of every grant before it, below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A text that is no [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a token is the number that was given with the lock")]
pub struct InvalidToken;

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let plain = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| plain);
        number
            .filter(|number| *number < 1 << 53)
            .map(Self)
            .ok_or(InvalidToken)
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Why a lock was taken from its holder, or a waiter from the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Gone {
    /// It was not renewed in time.
    Expired,
    /// Somebody released it by force.
    Forced {
        /// Who.
        by: String,
    },
    /// Its session has ended, or speaks under a void fence.
    SessionEnded,
    /// It waited for what waited for it.
    Deadlock {
        /// The whole circle, from this one on.
        cycle: Vec<Wait>,
    },
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("it was not renewed in time"),
            Self::Forced { by } => write!(f, "{by} released it by force"),
            Self::SessionEnded => f.write_str("its session has ended"),
            Self::Deadlock { .. } => f.write_str("it waited for what waited for it"),
        }
    }
}

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LockState {
    /// In the queue.
    Waiting {
        /// It has left unless it is heard of until then.
        alive_until: Moment,
        /// Its patience is over then.
        gives_up_at: Moment,
    },
    /// Granted.
    Held {
        /// The number of the grant.
        token: Token,
        /// How often it was entered and not left again.
        depth: u32,
        /// The lease ends then.
        until: Moment,
        /// When it was granted.
        since: Moment,
        /// The same for people.
        since_wall: Timestamp,
        /// How long it had waited.
        waited_millis: u64,
    },
    /// Taken away. Kept for a while, so that its holder can be told why.
    Gone {
        /// Why.
        why: Gone,
        /// The number of the grant, where it was held.
        token: Option<Token>,
        /// Nobody needs to know any more then.
        until: Moment,
    },
}

/// A request for a lock, from the queue to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its id.
    pub id: LockId,
    /// On what, in canonical order.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// For whom.
    pub holder: Holder,
    /// How important it was called.
    pub priority: Priority,
    /// The lease that it asked for.
    pub ttl_millis: u64,
    /// Its place in the queue, as [`Ask::rank`] has it.
    pub rank: u64,
    /// When it came.
    pub asked: Moment,
    /// The same for people.
    pub asked_wall: Timestamp,
    /// Where its holder can be told that something has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<String>,
    /// Where it stands.
    pub state: LockState,
}

impl Lock {
    /// A checked request at the end of its queue, no earlier than `after`.
    pub(super) fn waiting(id: LockId, ask: &Ask, now: &Now, after: u64) -> Self {
        let mut asked = now.moment.clone();
        asked.millis = asked.millis.max(after);
        Self {
            id,
            resources: ask.resources.clone(),
            mode: ask.mode,
            holder: ask.holder.clone(),
            priority: ask.priority,
            ttl_millis: ask.ttl_millis,
            rank: ask.rank(&asked),
            asked,
            asked_wall: now.wall,
            wake: ask.wake.clone(),
            state: LockState::Waiting {
                alive_until: now.moment.plus_millis(super::LEASE_OF_WAITERS_MILLIS),
                gives_up_at: now.moment.plus_millis(ask.wait_millis),
            },
        }
    }

    /// The number of the grant, where it is held.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match &self.state {
            LockState::Held { token, .. } => Some(*token),
            LockState::Waiting { .. } | LockState::Gone { .. } => None,
        }
    }

    /// Whether it waits.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self.state, LockState::Waiting { .. })
    }

    /// Until when it stands as it does, unless it is heard of.
    #[must_use]
    pub fn stands_until(&self) -> &Moment {
        match &self.state {
            LockState::Waiting { alive_until, .. } => alive_until,
            LockState::Held { until, .. } | LockState::Gone { until, .. } => until,
        }
    }

    /// When its time is over unless something happens.
    #[must_use]
    pub fn over_at(&self) -> &Moment {
        match &self.state {
            LockState::Waiting {
                alive_until,
                gives_up_at,
            } if gives_up_at.millis < alive_until.millis => gives_up_at,
            LockState::Waiting { .. } | LockState::Held { .. } | LockState::Gone { .. } => {
                self.stands_until()
            }
        }
    }

    /// Whether its time is over, by the store's clock.
    #[must_use]
    pub fn is_over(&self, now: &Moment) -> bool {
        let over = |until: &Moment| until.boot != now.boot || until.millis <= now.millis;
        match &self.state {
            LockState::Waiting {
                alive_until,
                gives_up_at,
            } => over(alive_until) || over(gives_up_at),
            LockState::Held { until, .. } | LockState::Gone { until, .. } => over(until),
        }
    }

    /// Milliseconds until its time is over.
    #[must_use]
    pub fn left_millis(&self, now: &Moment) -> u64 {
        let until = self.stands_until();
        if until.boot == now.boot {
            until.millis.saturating_sub(now.millis)
        } else {
            0
        }
    }

    /// Its place among those that wait.
    #[must_use]
    pub fn place(&self) -> (u64, LockId) {
        (self.rank, self.id)
    }

    /// Whether both cannot be held beside each other.
    #[must_use]
    pub fn is_against(&self, resources: &[Resource], mode: Mode) -> bool {
        !self.mode.goes_with(mode)
            && self
                .resources
                .iter()
                .any(|own| resources.iter().any(|other| own.overlaps(other)))
    }

    /// The first of the resources that this one stands in the way of.
    #[must_use]
    pub fn in_the_way_of(&self, resources: &[Resource]) -> Option<Resource> {
        let overlap = |other: &&Resource| self.resources.iter().any(|own| own.overlaps(other));
        resources.iter().find(overlap).cloned()
    }
}
