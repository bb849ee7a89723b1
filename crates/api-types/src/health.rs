//! Looking after the installation and the store.

use std::{collections::BTreeMap, path::PathBuf};

use domain::{
    id::{SessionId, TaskId},
    resource::{Owner, ResourceKind},
};
use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, queue::Counts};

/// What came of looking at one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// It is as it should be.
    Ok,
    /// A person should know.
    Note,
    /// It has to be mended.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorCheck {
    /// What.
    pub check: String,
    /// How it is.
    pub verdict: CheckVerdict,
    /// What was seen, and what to do.
    pub text: String,
}

/// What `doctor` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorDocument {
    /// Whether nothing has to be mended.
    pub ok: bool,
    /// Everything that was looked at.
    #[serde(default)]
    pub checks: Vec<DoctorCheck>,
}

/// What `self-test` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTestDocument {
    /// Whether a task went from queue to finish.
    pub ok: bool,
    /// How long it took.
    pub duration_ms: u64,
}

/// What `index rebuild` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRebuildDocument {
    /// How many tasks there are.
    pub tasks: u64,
}

/// What `index stats` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexStatsDocument {
    /// How many tasks there are.
    pub total: u64,
    /// How many of each status.
    #[serde(default)]
    pub by_status: Counts,
    /// How many of each agent.
    #[serde(default)]
    pub by_agent: BTreeMap<String, u64>,
    /// How many of each priority, whose number is text here as every name is.
    #[serde(default)]
    pub by_priority: BTreeMap<String, u64>,
}

/// What `index verify` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexVerifyDocument {
    /// Whether counters and tasks agree.
    pub consistent: bool,
    /// Where they do not.
    #[serde(default)]
    pub problems: Vec<String>,
    /// Tasks that the index file of a layout lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<TaskId>,
    /// Tasks that it lists and that are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra: Vec<TaskId>,
}

/// What `doctor --resources` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcesDocument {
    /// Whether everything has an owner.
    pub ok: bool,
    /// Everything that exists because of sessions of this project.
    #[serde(default)]
    pub resources: Vec<ResourceRow>,
    /// What was done under `--sweep` about what nobody owned, a line for each.
    #[serde(default)]
    pub swept: Vec<String>,
}

/// Something that exists because of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRow {
    /// What it is.
    pub kind: ResourceKind,
    /// Its path, its reference, or the id of the session whose processes it is.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// The session that it was made for.
    pub session: Option<SessionId>,
    /// The task of that.
    pub task: Option<TaskId>,
    /// The generation: the fence of that session.
    pub fence: Option<String>,
}

/// What `store backup` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreBackupDocument {
    /// The copy.
    pub file: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// How many tasks it holds, deleted ones included.
    pub tasks: u64,
    /// The last position of its log.
    pub position: u64,
}

/// What `store check` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCheckDocument {
    /// Whether it is whole.
    pub ok: bool,
    /// The file that was looked at.
    pub file: PathBuf,
    /// What is wrong with it.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// What `store schema` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSchemaDocument {
    /// The store, without a password.
    pub store: String,
    /// The form that it has; 0 where there is none yet.
    pub found: i64,
    /// The form that this program reads and writes.
    pub known: i64,
    /// The server's version.
    pub server: String,
    /// What brings it up to date, oldest first; empty after it was done.
    #[serde(default)]
    pub pending: Vec<StoreMigration>,
}

/// A change of the store's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMigration {
    /// The form after it.
    pub form: i64,
    /// What it is called.
    pub name: String,
    /// The statements, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<String>,
}

/// What `store migrate` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreMigrateDocument {
    /// The store that everything was taken from.
    pub from: String,
    /// The store that has it now, without a password.
    pub to: String,
    /// How many projects.
    pub projects: u64,
    /// How many tasks, deleted ones included.
    pub tasks: u64,
    /// How many sessions.
    pub sessions: u64,
    /// How many events.
    pub events: u64,
    /// The end of the log's chain, the same in both.
    pub hash: String,
}

schemas! {
    ResourcesDocument = "resources";
    StoreBackupDocument = "store_backup";
    StoreCheckDocument = "store_check";
    StoreMigrateDocument = "store_migrate";
    StoreSchemaDocument = "store_schema";
    DoctorDocument = "doctor";
    SelfTestDocument = "self_test";
    IndexRebuildDocument = "index_rebuild";
    IndexStatsDocument = "index_stats";
    IndexVerifyDocument = "index_verify";
}

#[cfg(test)]
mod tests {
    use domain::task::TaskStatus;

    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        let checks = [CheckVerdict::Ok, CheckVerdict::Note, CheckVerdict::Problem].map(|verdict| {
            DoctorCheck {
                check: "git".to_owned(),
                verdict,
                text: "2.47".to_owned(),
            }
        });
        check(&DoctorDocument {
            ok: false,
            checks: checks.into(),
        });
        check(&StoreBackupDocument {
            file: "b.db".into(),
            bytes: 4096,
            tasks: 1,
            position: 3,
        });
        check(&StoreCheckDocument {
            ok: false,
            file: "b.db".into(),
            problems: vec!["x".to_owned()],
        });
        check(&StoreMigrateDocument {
            from: "b.db".to_owned(),
            to: "postgres://ada:***@db:5432/work".to_owned(),
            projects: 1,
            tasks: 2,
            sessions: 3,
            events: 4,
            hash: "00".to_owned(),
        });
        check(&StoreSchemaDocument {
            store: "postgres://ada:***@db:5432/work".to_owned(),
            found: 0,
            known: 1,
            server: "15.18".to_owned(),
            pending: vec![StoreMigration {
                form: 1,
                name: "store".to_owned(),
                statements: Some("CREATE".to_owned()),
            }],
        });
        check(&ResourcesDocument {
            ok: false,
            resources: vec![ResourceRow {
                kind: ResourceKind::Worktree,
                name: "/w".to_owned(),
                owner: Owner::Nobody,
                session: "ses_1".parse().ok(),
                task: None,
                fence: Some("3".to_owned()),
            }],
            swept: vec!["x".to_owned()],
        });
        check(&SelfTestDocument {
            ok: true,
            duration_ms: 12,
        });
        check(&IndexRebuildDocument { tasks: 2 });
        check(&IndexStatsDocument {
            total: 2,
            by_status: [(TaskStatus::Pending, 2)].into(),
            by_agent: [("a".to_owned(), 2)].into(),
            by_priority: [("5".to_owned(), 2)].into(),
        });
        check(&IndexVerifyDocument {
            consistent: false,
            problems: vec!["pending: counted 3, found 2".to_owned()],
            missing: vec![task().id],
            extra: vec![],
        });
    }
}
