//! What a use case answers when it does not do what was asked.

use domain::{lock::LockRefused, quota::QuotaUse, rejection::Rejected};
use serde::{Deserialize, Serialize};

use crate::expected::VersionConflict;

/// Every failure that a caller can act on. It travels over the local socket as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Error {
    /// There is no such thing.
    #[error("{what} {name} not found")]
    NotFound {
        /// The kind of thing: `Task`, `Session`, `Project`.
        what: String,
        /// What was asked for.
        name: String,
    },
    /// Several things go by this name.
    #[error("{name} is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Some of those that match.
        candidates: Vec<String>,
    },
    /// The state does not allow it.
    #[error(transparent)]
    Rejected(Rejected),
    /// The name, key or directory is taken.
    #[error("{what} {name} exists already")]
    Exists {
        /// The kind of thing.
        what: String,
        /// What was asked for.
        name: String,
    },
    /// Someone else changed it in between; asking again makes sense.
    #[error("{what} was changed by someone else in between, try again")]
    Conflict {
        /// What was changed.
        what: String,
    },
    /// It is not as the caller has seen it; nothing was done.
    #[error("{_0}")]
    Version(Box<VersionConflict>),
    /// A quota is used up.
    #[error("the quota is used up: {_0}")]
    Quota(QuotaUse),
    /// The caller speaks under a fence that is void.
    #[error("{session} no longer holds its task: it must stop and change nothing more")]
    FenceLost {
        /// The session that spoke.
        session: String,
    },
    /// A lock is not given, kept or released.
    #[error(transparent)]
    Lock {
        /// Why not.
        refused: LockRefused,
    },
    /// A limit that the configuration sets.
    #[error("{message}")]
    Limit {
        /// What was hit, and what to do.
        message: String,
    },
    /// The input is wrong; nothing was changed.
    #[error("{field}: {message}")]
    Invalid {
        /// The field at fault.
        field: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The store or the daemon cannot be reached, is full, or is read-only.
    #[error("{message}")]
    Unavailable {
        /// What happened and what to do.
        message: String,
    },
    /// The store holds something that it must not.
    #[error("the store is corrupt: {message}")]
    Corrupt {
        /// What was found where.
        message: String,
    },
}

impl Error {
    /// A [`Error::NotFound`].
    pub fn not_found(what: &str, name: impl std::fmt::Display) -> Self {
        Self::NotFound {
            what: what.to_owned(),
            name: name.to_string(),
        }
    }

    /// A [`Error::Invalid`].
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.to_owned(),
            message: message.into(),
        }
    }

    /// A [`Error::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::Corrupt {
            message: message.into(),
        }
    }

    /// A [`Error::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable {
            message: message.into(),
        }
    }
}

impl From<LockRefused> for Error {
    fn from(refused: LockRefused) -> Self {
        Self::Lock { refused }
    }
}

impl From<Rejected> for Error {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}
