//! The archive: tasks that are out of the ordinary lists.

use domain::id::TaskId;
use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, task::TaskDocument};

/// What `archive` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveDocument {
    /// The tasks that were archived, or would be.
    #[serde(default)]
    pub archived: Vec<TaskId>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// What `archive list` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveListDocument {
    /// Every archived task, oldest first.
    #[serde(default)]
    pub tasks: Vec<TaskDocument>,
}

/// What `archive stats` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveStatsDocument {
    /// How many tasks are archived.
    pub total: u64,
    /// Whether old tasks are archived without being asked to.
    pub enabled: bool,
    /// Days after which a completed task may be archived.
    pub max_completed_age_days: u32,
    /// Days after which a failed or cancelled task may be archived.
    pub max_failed_age_days: u32,
}

/// What `archive restore` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRestoreDocument {
    /// The tasks that are back in the lists.
    #[serde(default)]
    pub restored: Vec<TaskId>,
}

schemas! {
    ArchiveDocument = "archive";
    ArchiveListDocument = "archive_list";
    ArchiveStatsDocument = "archive_stats";
    ArchiveRestoreDocument = "archive_restore";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        check(&ArchiveDocument {
            archived: vec![task().id],
            dry_run: true,
        });
        check(&ArchiveListDocument {
            tasks: vec![(&task()).into()],
        });
        check(&ArchiveStatsDocument {
            total: 1,
            enabled: true,
            max_completed_age_days: 7,
            max_failed_age_days: 14,
        });
        check(&ArchiveRestoreDocument {
            restored: vec![task().id],
        });
    }
}
