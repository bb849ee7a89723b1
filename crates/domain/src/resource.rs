//! What exists outside the store because of a session, and whose it is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A worktree of a session.
    Worktree,
    /// A plain folder of a session.
    Folder,
    /// A branch with finished work.
    Branch,
    /// A reference that keeps unfinished work.
    Salvage,
    /// A runner's control socket.
    Socket,
    /// Processes of a session, or the control group that they were in.
    Processes,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worktree => "worktree",
            Self::Folder => "folder",
            Self::Branch => "branch",
            Self::Salvage => "salvage",
            Self::Socket => "socket",
            Self::Processes => "processes",
        })
    }
}

/// Whose something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// A session that has not ended, or whose runner is about to.
    Session,
    /// A person: it holds work, and stays until somebody removes it.
    Person,
    /// Nobody: its session has ended without removing it.
    Nobody,
    /// Not known here: no session of this store made it.
    Unknown,
}

impl Owner {
    /// Whether somebody is there who will look after it.
    #[must_use]
    pub const fn is_somebody(self) -> bool {
        matches!(self, Self::Session | Self::Person)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session => "session",
            Self::Person => "person",
            Self::Nobody => "nobody",
            Self::Unknown => "unknown",
        })
    }
}
