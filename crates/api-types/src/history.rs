//! What happened in the course of a task, and what was decided.

use domain::{id::TaskId, time::Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::envelope::schemas;

/// What `history` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// The task.
    pub task: TaskId,
    /// The entries of its log that were asked for, oldest first.
    #[serde(default)]
    pub entries: Vec<HistoryEntry>,
    /// Lines and files of the log that are not as they were written.
    #[serde(default)]
    pub findings: Vec<FileFinding>,
}

/// An entry of a task's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Its number, from 1.
    pub seq: u64,
    /// The place in the store's log of the event that it tells of, or of the last one before it.
    pub position: Option<u64>,
    /// `debug`, `info`, `warn` or `error`.
    pub level: String,
    /// A sentence.
    pub message: String,
    /// More of it; the whole event where it tells of one.
    pub data: Option<Value>,
    /// The head of the log's chain.
    pub hash: String,
}

/// Something in a file of a task's folder that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFinding {
    /// The file's name.
    pub file: String,
    /// The line in it, from 1; 0 where the whole file is meant.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// What `history --verify` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryVerifyDocument {
    /// The task.
    pub task: TaskId,
    /// Whether every line continues the chain, and every event is there as the store has it.
    pub intact: bool,
    /// The entries that were read.
    pub entries: u64,
    /// The number of the first that is there.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// What was done at the first line that breaks the chain: `edited`, `inserted`, `reordered`,
    /// `removed`, `torn` or `unreadable`.
    pub breach: Option<String>,
    /// That line; or the first event that differs from the store.
    pub finding: Option<FileFinding>,
}

/// What `note` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteDocument {
    /// The task.
    pub task: TaskId,
    /// The number of the last entry that was added.
    pub seq: u64,
    /// How many were.
    pub added: u64,
}

/// A decision that was made in the course of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionEntry {
    /// What was decided.
    pub decision: String,
    /// Who did.
    pub agent: String,
    /// When.
    pub timestamp: Option<Timestamp>,
    /// What it was about.
    pub context: String,
    /// What else was thought of.
    #[serde(default)]
    pub alternatives: Vec<String>,
    /// Why it was this.
    pub reasoning: String,
    /// Anything else.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// What `decision add` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionDocument {
    /// The task.
    pub task: TaskId,
    /// The decision as it was written.
    pub added: DecisionEntry,
}

/// What `decision list` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DecisionListDocument {
    /// The task.
    pub task: TaskId,
    /// Its decisions, in the order of the file.
    #[serde(default)]
    pub decisions: Vec<DecisionEntry>,
    /// Lines of the file that were not understood.
    #[serde(default)]
    pub findings: Vec<FileFinding>,
}

schemas! {
    HistoryDocument = "history";
    HistoryVerifyDocument = "history_verify";
    NoteDocument = "note";
    DecisionDocument = "decision";
    DecisionListDocument = "decision_list";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        let finding = FileFinding {
            file: "logs.jsonl".to_owned(),
            line: 7,
            what: "it is empty".to_owned(),
        };
        let timestamp = Timestamp::from_millis(1_700_000_000_000);
        check(&HistoryDocument {
            task: task().id,
            entries: vec![HistoryEntry {
                timestamp,
                seq: 1,
                position: Some(41),
                level: "info".to_owned(),
                message: "created".to_owned(),
                data: Some(Value::from("x")),
                hash: "0".repeat(64),
            }],
            findings: vec![finding.clone()],
        });
        check(&HistoryVerifyDocument {
            task: task().id,
            intact: false,
            entries: 9,
            first: 1,
            last: 9,
            breach: Some("edited".to_owned()),
            finding: Some(finding.clone()),
        });
        check(&NoteDocument {
            task: task().id,
            seq: 9,
            added: 2,
        });
        let decision = DecisionEntry {
            decision: "x".to_owned(),
            agent: "a".to_owned(),
            timestamp: Some(timestamp),
            context: String::new(),
            alternatives: vec!["y".to_owned()],
            reasoning: String::new(),
            metadata: Map::new(),
        };
        check(&DecisionDocument {
            task: task().id,
            added: decision.clone(),
        });
        check(&DecisionListDocument {
            task: task().id,
            decisions: vec![decision],
            findings: vec![finding],
        });
    }
}
