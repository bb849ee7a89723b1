//! What is asked for, by whom, and within which bounds.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{LockRefused, Resource, Token};
use crate::{id::SessionId, task::Priority, time::Moment};

/// The shortest lease: below it a busy machine could not renew in time.
pub const TTL_MIN_MILLIS: u64 = 1_000;

/// The lease of who asks for none in particular.
pub const TTL_DEFAULT_MILLIS: u64 = 30_000;

/// The longest lease: what a holder that dies may cost the others at most.
pub const TTL_MAX_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// The longest wait.
pub const WAIT_MAX_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// Waiting makes as much as one step of priority in this time.
pub const AGEING_MILLIS: u64 = 30_000;

/// Resources of one request, at most.
pub const RESOURCES_MAX: usize = 64;

/// Requests that wait for things that overlap, at most.
pub const WAITERS_MAX: usize = 1_000;

/// A waiter that has not been heard of for so long has left the queue; and what a waiter is given
/// is its own for so long, until it has said that it is there.
pub const LEASE_OF_WAITERS_MILLIS: u64 = 5_000;

/// How a lock shares its resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// With nobody.
    Exclusive,
    /// With everybody else who shares.
    Shared,
    /// Of a path and all beneath it, with nobody: who means to work there.
    Intent,
}

impl Mode {
    /// Whether locks of both modes may be held beside each other.
    #[must_use]
    pub const fn goes_with(self, other: Self) -> bool {
        matches!((self, other), (Self::Shared, Self::Shared))
    }

    /// Whether who holds this may do all that `other` would allow.
    #[must_use]
    pub const fn allows(self, other: Self) -> bool {
        !matches!(self, Self::Shared) || matches!(other, Self::Shared)
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
            Self::Intent => "intent",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The name of one line of work: a person, a script, a process. Whoever goes by the same name is
/// taken for the same when a circle of waiting is looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HolderName(String);

/// A text that cannot be a [`HolderName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a holder has 1 to 128 characters without spaces, and no name of a session")]
pub struct InvalidHolder;

impl TryFrom<String> for HolderName {
    type Error = InvalidHolder;

    fn try_from(text: String) -> Result<Self, InvalidHolder> {
        let fits = (1..=128).contains(&text.chars().count());
        let plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if fits && plain && !text.starts_with("ses_") {
            Ok(Self(text))
        } else {
            Err(InvalidHolder)
        }
    }
}

impl From<HolderName> for String {
    fn from(name: HolderName) -> Self {
        name.0
    }
}

/// Who holds a lock, or waits for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Holder {
    /// A session under its fence; what it holds ends with it.
    Session {
        /// Which.
        session: SessionId,
        /// The fence under which it speaks.
        #[serde(with = "number_as_text")]
        fence: u64,
    },
    /// Whoever goes by this name.
    Named {
        /// The name.
        name: HolderName,
    },
}

impl Holder {
    /// The session, where it is one.
    #[must_use]
    pub fn session(&self) -> Option<(SessionId, u64)> {
        match self {
            Self::Session { session, fence } => Some((*session, *fence)),
            Self::Named { .. } => None,
        }
    }
}

/// `ses_…`, or the name: two holders of one text are one holder.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { session, .. } => session.fmt(f),
            Self::Named { name } => f.pad(&name.0),
        }
    }
}

impl FromStr for Holder {
    type Err = InvalidHolder;

    /// A named holder.
    fn from_str(text: &str) -> Result<Self, InvalidHolder> {
        let name = text.to_owned().try_into()?;
        Ok(Self::Named { name })
    }
}

mod number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form that serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// A request for a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// On what; all of them together or none.
    pub resources: Vec<Resource>,
    /// How.
    pub mode: Mode,
    /// For whom.
    pub holder: Holder,
    /// How important it is.
    pub priority: Priority,
    /// The lock is lost where it is not renewed for so long.
    pub ttl_millis: u64,
    /// How long to wait for it; 0: now or not at all.
    pub wait_millis: u64,
    /// A lock that is held already and covers this: it is entered once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Where the waiter can be told that it is its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wake: Option<String>,
}

impl Ask {
    /// A request for one resource alone, now or not at all.
    #[must_use]
    pub fn exclusive(resource: Resource, holder: Holder) -> Self {
        Self {
            resources: vec![resource],
            mode: Mode::Exclusive,
            holder,
            priority: Priority::DEFAULT,
            ttl_millis: TTL_DEFAULT_MILLIS,
            wait_millis: 0,
            token: None,
            wake: None,
        }
    }

    /// The same as it is decided upon: resources in their order, each once, paths with all that is
    /// beneath them where the mode says so.
    ///
    /// # Errors
    /// [`LockRefused::Invalid`] where a bound is broken.
    pub fn checked(mut self) -> Result<Self, LockRefused> {
        check_ttl(self.ttl_millis)?;
        if self.wait_millis > WAIT_MAX_MILLIS {
            return Err(LockRefused::invalid("wait", "wait for 24 hours at most"));
        }
        if self.mode == Mode::Intent {
            let all = self.resources.into_iter().map(Resource::with_all_beneath);
            self.resources = all.collect();
        }
        self.resources = Resource::canonical(self.resources);
        if self.resources.is_empty() {
            return Err(LockRefused::invalid("resource", "name at least one"));
        }
        if self.resources.len() > RESOURCES_MAX {
            let message = format!("one request takes {RESOURCES_MAX} at most");
            return Err(LockRefused::invalid("resource", message));
        }
        Ok(self)
    }

    /// Its place among those that wait: the lower ones first, among equals the older.
    #[must_use]
    pub fn rank(&self, asked: &Moment) -> u64 {
        let steps = Priority::MAX.value().saturating_sub(self.priority.value());
        asked
            .millis
            .saturating_add(u64::from(steps) * AGEING_MILLIS)
    }
}

/// Refuses a lease that is out of bounds.
pub(super) fn check_ttl(ttl_millis: u64) -> Result<(), LockRefused> {
    if (TTL_MIN_MILLIS..=TTL_MAX_MILLIS).contains(&ttl_millis) {
        return Ok(());
    }
    let message = "a lease lasts from 1 second to 24 hours; it is renewed while its holder lives";
    Err(LockRefused::invalid("ttl", message))
}
