//! A project: a directory in which agents work.

use serde::{Deserialize, Serialize};

use crate::{id::ProjectId, time::Timestamp};

/// A registered directory. Every other row belongs to one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its directory: absolute, without symbolic links, UTF-8. Of nodes that share a store each has
    /// a checkout of its own, and this one names where it was registered first.
    pub root: String,
    /// What people call it.
    pub name: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The repository that joins its checkouts on several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}
