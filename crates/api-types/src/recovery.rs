//! Everything as one archive, and what is made again from what is left.

use std::path::PathBuf;

use domain::id::{ProjectId, TaskId};
use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, history::FileFinding};

/// What `export` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDocument {
    /// The archive; nothing where only its digest was asked for.
    pub file: Option<PathBuf>,
    /// The SHA-256 of the archive, in hexadecimal digits: the same for equal states.
    pub sha256: String,
    /// How long the archive is.
    pub bytes: u64,
    /// How many projects are in it.
    pub projects: u64,
    /// How many tasks, deleted ones included.
    pub tasks: u64,
    /// How many sessions.
    pub sessions: u64,
    /// How many events.
    pub events: u64,
    /// How many tasks' `decisions.md`.
    pub decisions: u64,
    /// How many tasks' `plan.md`.
    pub plans: u64,
    /// How many checkpoint manifests.
    pub checkpoints: u64,
}

/// What `import` of an archive prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportArchiveDocument {
    /// The archive.
    pub file: PathBuf,
    /// Projects that are new here.
    #[serde(default)]
    pub projects: Vec<ProjectId>,
    /// Tasks that are new here, or have gone on.
    #[serde(default)]
    pub tasks: Vec<TaskId>,
    /// How many events are new here.
    pub events: u64,
    /// How many were here already.
    pub known: u64,
}

/// What was found in a task's folder, and done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairRow {
    /// The task; nothing where something beside the folders of tasks is meant.
    pub task: Option<TaskId>,
    /// What was made again.
    #[serde(default)]
    pub done: Vec<String>,
    /// What is, or was, not as it was written.
    #[serde(default)]
    pub findings: Vec<FileFinding>,
    /// What stood only in the folder, and is gone with it.
    #[serde(default)]
    pub missing: Vec<String>,
    /// Whether the folder tells of more than the store knows, and was left as it is.
    pub ahead: bool,
    /// Whether something is still wrong.
    pub open: bool,
}

/// Events of a stream that were not taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftStream {
    /// The stream.
    pub stream: String,
    /// The first place in it.
    pub seq: u64,
    /// How many.
    pub events: u64,
    /// Why.
    pub why: String,
}

/// What a store was given from folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuiltDocument {
    /// Under which name a store is kept that could not be read.
    pub aside: Option<PathBuf>,
    /// How many events are new in the store.
    pub events: u64,
    /// How many were there already.
    pub known: u64,
    /// Tasks that are new or have gone on.
    #[serde(default)]
    pub tasks: Vec<TaskId>,
    /// Those of them of which events are lost, and that stand as their `state.json` shows.
    #[serde(default)]
    pub restated: Vec<TaskId>,
    /// The epoch that the store began, where anything is new.
    pub epoch: Option<u64>,
    /// The first position that no signed head vouches for.
    pub unverified_from: Option<u64>,
    /// The last of them.
    pub unverified_to: Option<u64>,
    /// What was not taken in.
    #[serde(default)]
    pub left: Vec<LeftStream>,
    /// What in the folders is not as it was written.
    #[serde(default)]
    pub findings: Vec<FileFinding>,
}

/// What `repair` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairDocument {
    /// Whether nothing is wrong any more.
    pub ok: bool,
    /// How many tasks were looked at.
    pub checked: u64,
    /// Those of which there is something to say.
    #[serde(default)]
    pub rows: Vec<RepairRow>,
    /// Under `--from-folders`: what the store was given.
    pub rebuilt: Option<RebuiltDocument>,
}

/// What `store restore` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRestoreDocument {
    /// The copy that is in the place of the store now.
    pub file: PathBuf,
    /// Where the old file is kept, where there was one.
    pub old: Option<PathBuf>,
    /// How many tasks the store holds, deleted ones included.
    pub tasks: u64,
    /// The last position of its log.
    pub position: u64,
    /// The tasks whose folders tell of more than the store does.
    #[serde(default)]
    pub ahead: Vec<TaskId>,
}

schemas! {
    StoreRestoreDocument = "store_restore";
    RepairDocument = "repair";
    ExportDocument = "export";
    ImportArchiveDocument = "import_archive";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        check(&ExportDocument {
            file: Some("e.tar".into()),
            sha256: "ab".to_owned(),
            bytes: 10_240,
            projects: 1,
            tasks: 2,
            sessions: 1,
            events: 9,
            decisions: 1,
            plans: 0,
            checkpoints: 1,
        });
        check(&StoreRestoreDocument {
            file: "b.db".into(),
            old: Some("crewboss.db.before-1".into()),
            tasks: 1,
            position: 3,
            ahead: vec![task().id],
        });
        let finding = FileFinding {
            file: "logs.jsonl".to_owned(),
            line: 3,
            what: "x".to_owned(),
        };
        check(&RepairDocument {
            ok: false,
            checked: 2,
            rows: vec![RepairRow {
                task: Some(task().id),
                done: vec!["made state.json".to_owned()],
                findings: vec![finding.clone()],
                missing: vec!["sessions/ses_1".to_owned()],
                ahead: false,
                open: true,
            }],
            rebuilt: Some(RebuiltDocument {
                aside: Some("c.db.unreadable-1".into()),
                events: 9,
                known: 1,
                tasks: vec![task().id],
                restated: vec![],
                epoch: Some(1),
                unverified_from: Some(1),
                unverified_to: Some(9),
                left: vec![LeftStream {
                    stream: "task_1".to_owned(),
                    seq: 2,
                    events: 1,
                    why: "x".to_owned(),
                }],
                findings: vec![finding],
            }),
        });
        check(&ImportArchiveDocument {
            file: "e.tar".into(),
            projects: vec![task().project],
            tasks: vec![task().id],
            events: 9,
            known: 0,
        });
    }
}
