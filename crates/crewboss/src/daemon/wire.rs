//! What is said on the daemon's socket: one JSON document a line, `[version, question]` one way
//! and an answer the other.

use app::{
    command::{Reply, Request},
    error::Error,
    query::{Query, View},
};
use serde::{Deserialize, Serialize};

/// The version of this protocol. A daemon serves its own and the one before.
pub(crate) const PROTOCOL: u32 = 1;

/// The longest line accepted: a prompt of a few MiB with everything around it.
pub(crate) const LINE_MAX: u64 = 16 * 1024 * 1024;

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(crate) enum Asked {
    /// Change something.
    Request {
        /// What.
        request: Box<Request>,
    },
    /// Read something.
    Query {
        /// What.
        query: Query,
    },
    /// The store's generation.
    Generation,
    /// The generation now, and a line for each change from now on.
    Watch,
    /// Who answers.
    About,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(crate) enum Answered {
    /// To [`Asked::Request`].
    Reply {
        /// What came of it.
        reply: Box<Reply>,
    },
    /// To [`Asked::Query`].
    View {
        /// What was read.
        view: Box<View>,
    },
    /// To [`Asked::Generation`] and [`Asked::Watch`].
    Generation {
        /// The number.
        generation: u64,
    },
    /// To [`Asked::About`].
    About {
        /// The daemon's process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// It was refused, or failed.
    Error {
        /// Why.
        error: Error,
    },
}

impl Answered {
    pub(crate) fn into_reply(self) -> Result<Reply, Error> {
        match self {
            Self::Reply { reply } => Ok(*reply),
            other => Err(other.into_error()),
        }
    }

    pub(crate) fn into_view(self) -> Result<View, Error> {
        match self {
            Self::View { view } => Ok(*view),
            other => Err(other.into_error()),
        }
    }

    pub(crate) fn into_generation(self) -> Result<u64, Error> {
        match self {
            Self::Generation { generation } => Ok(generation),
            other => Err(other.into_error()),
        }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Error { error } => error,
            other => Error::unavailable(format!("the daemon answered something else: {other:?}")),
        }
    }
}
