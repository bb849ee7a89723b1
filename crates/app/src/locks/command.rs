//! What is asked of a store about locks, and what it answers.

use domain::{
    id::LockId,
    lock::{Ask, Gone, Holder, Lock, LockRefused, Release, Resource, Token},
    time::Now,
};
use serde::{Deserialize, Serialize};

use crate::ports::locks::{LockFilter, LockStatistics, LockView};

/// A change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lock", rename_all = "snake_case")]
pub enum LockCommand {
    /// Give a lock, or a place in the queue.
    Begin {
        /// What is asked for.
        ask: Ask,
    },
    /// Who waits is there.
    Look {
        /// The request.
        id: LockId,
    },
    /// Take a request out of the queue.
    Leave {
        /// The request.
        id: LockId,
    },
    /// Its holder is there.
    Renew {
        /// The grant.
        token: Token,
        /// Another lease from now on.
        ttl_millis: Option<u64>,
    },
    /// Its holder is done with it.
    Release {
        /// Which, and what it has to fit.
        release: Release,
    },
    /// Take away what is held on a resource.
    Force {
        /// Which.
        resource: Resource,
        /// Who wants that.
        by: String,
    },
    /// Take away everything that a holder has or waits for.
    Cleanup {
        /// The holder's text.
        holder: String,
        /// Who wants that.
        by: String,
    },
}

impl LockCommand {
    /// Whether doing it twice may differ from doing it once.
    #[must_use]
    pub fn differs_when_repeated(&self) -> bool {
        match self {
            Self::Begin { .. }
            | Self::Release { .. }
            | Self::Leave { .. }
            | Self::Force { .. }
            | Self::Cleanup { .. } => true,
            Self::Look { .. } | Self::Renew { .. } => false,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum LockAnswer {
    /// One lock as it stands.
    Lock {
        /// It.
        view: Box<LockView>,
    },
    /// To [`LockCommand::Release`].
    Released {
        /// How often it is entered still.
        depth: u32,
    },
    /// To [`LockCommand::Leave`].
    Left {
        /// Whether there was anything to leave.
        was_there: bool,
    },
    /// To [`LockCommand::Force`] and [`LockCommand::Cleanup`].
    Taken {
        /// As they were.
        locks: Vec<Lock>,
    },
    /// It was refused. What was over has ended all the same, which is why this is no error of the
    /// transaction.
    Refused {
        /// Why.
        refused: LockRefused,
    },
}

/// An answer, and who has to hear of what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockReply {
    /// What came of it.
    pub answer: LockAnswer,
    /// Addresses at which somebody waits for what has just happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wake: Vec<String>,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "locks", rename_all = "snake_case")]
pub enum LockQuery {
    /// One request.
    One {
        /// Which.
        id: LockId,
        /// The time to judge by.
        now: Now,
    },
    /// The lock of a grant.
    OfToken {
        /// Which.
        token: Token,
        /// The time to judge by.
        now: Now,
    },
    /// What is held and what waits.
    All {
        /// Of these only.
        filter: LockFilter,
        /// The time to judge by.
        now: Now,
    },
    /// Numbers.
    Statistics {
        /// The time to judge by.
        now: Now,
    },
}

/// The answer to a [`LockQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case")]
pub enum LockNotice {
    /// To [`LockQuery::One`] and [`LockQuery::OfToken`]: nothing where it is not known any more.
    One {
        /// It.
        view: Option<Box<LockView>>,
        /// Whether something in its way is over, so that a look would change something.
        is_due: bool,
    },
    /// To [`LockQuery::All`].
    All {
        /// Holders by token, then the queue.
        views: Vec<LockView>,
    },
    /// To [`LockQuery::Statistics`].
    Statistics {
        /// The numbers.
        numbers: Box<LockStatistics>,
    },
}

/// The content of `lock.taken`: a lock was taken away, or a place in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockTaken {
    pub(crate) lock: LockId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Token>,
    pub(crate) holder: Holder,
    pub(crate) resources: Vec<Resource>,
    pub(crate) gone: Gone,
}
