//! Whether the log is what was written.

use std::path::PathBuf;

use domain::id::TaskId;
use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, problem::ProblemCode};

/// The first position that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditFault {
    /// The position.
    pub position: i64,
    /// The last position that the same happened to, where it is known to be more than one.
    pub until: Option<i64>,
    /// `edited`, `inserted`, `reordered`, `deleted`, `truncated`, or `rewritten`: a whole chain that
    /// is not the one that a head was signed for.
    pub what: String,
    /// How it shows.
    pub evidence: String,
}

/// A line of a file of heads that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditBadHead {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: u64,
    /// The position that it speaks of, where that can be read.
    pub position: Option<u64>,
    /// What is wrong with it.
    pub why: String,
}

/// A task's `logs.jsonl` that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLogFault {
    /// The task.
    pub task: TaskId,
    /// The file in its folder.
    pub file: String,
    /// The first line that is wrong; 0 where the whole file is meant.
    pub line: u64,
    /// `edited`, `inserted`, `reordered`, `removed`, `truncated` or `unreadable`.
    pub what: String,
    /// How it shows.
    pub evidence: String,
}

/// What `audit verify` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerifyDocument {
    /// Whether nothing is wrong.
    pub whole: bool,
    /// `log_broken` where something is.
    pub code: Option<ProblemCode>,
    /// The one stream that was verified, else the whole log was.
    pub stream: Option<String>,
    /// Entries that are as they were written, up to the first that is not.
    pub entries: u64,
    /// The position of the last of them.
    pub last_position: u64,
    /// The hash there, in hexadecimal digits: of the log's chain, or of the stream's.
    pub hash: String,
    /// Entries whose content retention has dropped; their hashes hold.
    pub dropped: u64,
    /// Entries that a later version wrote in a way that this one does not read; their hashes hold.
    pub unknown: u64,
    /// The position of the first of them.
    pub first_unknown: Option<u64>,
    /// Signed heads that the log holds to.
    pub heads: u64,
    /// The position of the last of them: nothing up to there was cut off.
    pub vouched_to: Option<u64>,
    /// Ids of the keys whose heads count.
    #[serde(default)]
    pub keys: Vec<String>,
    /// What is wrong with the log.
    pub fault: Option<AuditFault>,
    /// Heads with a wrong signature, or signed by a key that is not vouched for.
    #[serde(default)]
    pub bad_heads: Vec<AuditBadHead>,
    /// Logs of tasks that were held against the store.
    #[serde(default)]
    pub logs: u64,
    /// Those of them that are not what was written.
    #[serde(default)]
    pub log_faults: Vec<AuditLogFault>,
    /// What a person should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What `audit head` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHeadDocument {
    /// The position of the log's last entry.
    pub position: u64,
    /// The hash of the log's chain there, in hexadecimal digits.
    pub global_hash: String,
    /// When it was signed.
    pub at: String,
    /// By which key.
    pub key_id: String,
    /// The Ed25519 signature, in hexadecimal digits.
    pub signature: String,
    /// The files that were written to.
    #[serde(default)]
    pub files: Vec<PathBuf>,
}

/// What `audit export --out` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditExportDocument {
    /// How many entries were exported.
    pub entries: u64,
    /// The file.
    pub file: PathBuf,
}

/// What `audit rotate-key` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditKeyDocument {
    /// The id of the key that signed until now.
    pub retired: String,
    /// The id of the key that signs from now on.
    pub key_id: String,
    /// Its public half, in hexadecimal digits.
    pub public_key: String,
}

schemas! {
    AuditVerifyDocument = "audit_verify";
    AuditHeadDocument = "audit_head";
    AuditExportDocument = "audit_export_done";
    AuditKeyDocument = "audit_key";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::check;

    #[test]
    fn they_can_be_read_back() {
        check(&AuditVerifyDocument {
            whole: false,
            code: Some(ProblemCode::LogBroken),
            stream: Some("task_4".to_owned()),
            entries: 6,
            last_position: 6,
            hash: "00".repeat(32),
            dropped: 1,
            unknown: 1,
            first_unknown: Some(2),
            heads: 1,
            vouched_to: Some(5),
            keys: vec!["0011223344556677".to_owned()],
            fault: Some(AuditFault {
                position: 7,
                until: None,
                what: "edited".to_owned(),
                evidence: "its content was changed".to_owned(),
            }),
            bad_heads: vec![AuditBadHead {
                file: "/a/heads.jsonl".into(),
                line: 3,
                position: Some(4),
                why: "its signature is wrong".to_owned(),
            }],
            logs: 2,
            log_faults: vec![AuditLogFault {
                task: "task_4".parse().unwrap(),
                file: "logs.jsonl".to_owned(),
                line: 3,
                what: "edited".to_owned(),
                evidence: "x".to_owned(),
            }],
            notes: vec!["n".to_owned()],
        });
        check(&AuditHeadDocument {
            position: 7,
            global_hash: "00".repeat(32),
            at: "2026-01-02T03:04:05.678Z".to_owned(),
            key_id: "0011223344556677".to_owned(),
            signature: "00".repeat(64),
            files: vec!["/a/heads.jsonl".into()],
        });
        check(&AuditExportDocument {
            entries: 7,
            file: "/a/x.jsonl".into(),
        });
        check(&AuditKeyDocument {
            retired: "0011223344556677".to_owned(),
            key_id: "1011223344556677".to_owned(),
            public_key: "00".repeat(32),
        });
    }
}
