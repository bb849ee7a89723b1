//! Why a lock is not given, kept or released.

use serde::{Deserialize, Serialize};

use super::{Gone, Holder, Mode, Resource, Token};

/// Somebody in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocker {
    /// Who.
    pub holder: Holder,
    /// How it holds, or wants to.
    pub mode: Mode,
    /// What of that which was asked for.
    pub resource: Resource,
    /// Whether it waits itself, and came before.
    pub waits: bool,
}

/// One step of a circle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Who waits.
    pub holder: Holder,
    /// For what, which the next one in the circle has or gets before.
    pub resource: Resource,
}

/// A refusal. Nothing was changed by it but what was over already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "refused", rename_all = "snake_case")]
pub enum LockRefused {
    /// A bound is broken.
    #[error("{field}: {message}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What would be right.
        message: String,
    },
    /// Somebody is in the way, and there was no time to wait.
    #[error("{}", busy(by))]
    Busy {
        /// Who.
        by: Vec<Blocker>,
    },
    /// Somebody was in the way for the whole wait.
    #[error("the wait is over after {waited_millis} ms: {}", busy(by))]
    TimedOut {
        /// How long it was.
        waited_millis: u64,
        /// Who is in the way still.
        by: Vec<Blocker>,
    },
    /// Nobody in a circle could ever go on; this one was chosen to step out of it.
    #[error("a deadlock: {}", circle(cycle))]
    Deadlock {
        /// The circle, from the one that was chosen on.
        cycle: Vec<Wait>,
    },
    /// No lock is held under the token.
    #[error("no lock is held under token {token}{}", reason(why.as_ref()))]
    NotHeld {
        /// It.
        token: Token,
        /// Why not, where that is known still.
        why: Option<Gone>,
    },
    /// The token is of another lock than the one that was meant.
    #[error(
        "token {token} is not yours: it is for {} of {holder}",
        list(resources)
    )]
    NotYours {
        /// It.
        token: Token,
        /// Who holds it.
        holder: Holder,
        /// On what.
        resources: Vec<Resource>,
    },
    /// The lock of the token does not cover what was asked for.
    #[error("token {token} does not cover {resource} in mode {mode}: ask for that by itself")]
    NotCovered {
        /// It.
        token: Token,
        /// What it does not cover.
        resource: Resource,
        /// In which mode.
        mode: Mode,
    },
    /// The waiter is not in the queue any more.
    #[error("the request has left the queue{}", reason(why.as_ref()))]
    NotWaiting {
        /// Why, where that is known still.
        why: Option<Gone>,
    },
    /// The session does not hold its task any more.
    #[error("{holder} has ended, or speaks under a void fence: it holds no locks")]
    FenceLost {
        /// Which.
        holder: Holder,
    },
    /// Too many wait.
    #[error("{waiting} wait for {resource} already: try again later")]
    QueueFull {
        /// For what.
        resource: Resource,
        /// How many.
        waiting: usize,
    },
}

impl LockRefused {
    /// A [`LockRefused::Invalid`].
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

fn busy(by: &[Blocker]) -> String {
    let Some(first) = by.first() else {
        return "it is locked".to_owned();
    };
    let Blocker {
        holder,
        mode,
        resource,
        waits,
    } = first;
    let others = match by.len() {
        1 => String::new(),
        several => format!(", and {} more are in the way", several - 1),
    };
    if *waits {
        format!("{holder} waits for {resource} before this one ({mode}){others}")
    } else {
        format!("{resource} is locked by {holder} ({mode}){others}")
    }
}

fn circle(cycle: &[Wait]) -> String {
    let step = |(at, wait): (usize, &Wait)| {
        let next = &cycle[(at + 1) % cycle.len()].holder;
        format!("{} waits for {} of {next}", wait.holder, wait.resource)
    };
    let steps: Vec<String> = cycle.iter().enumerate().map(step).collect();
    steps.join(", ")
}

fn reason(why: Option<&Gone>) -> String {
    why.map_or_else(String::new, |why| format!(": {why}"))
}

fn list(resources: &[Resource]) -> String {
    let texts: Vec<String> = resources.iter().map(ToString::to_string).collect();
    texts.join(", ")
}
