//! Why a command did not do what was asked: one table of codes, with the exit code of each and
//! whether asking again, unchanged, makes sense.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, quota::QuotaInTheWay};

macro_rules! problems {
    ($($(#[$meta:meta])* $name:ident = $word:literal, exit: $exit:literal, retry: $retry:literal;)*) => {
        /// A kind of problem. Codes are added; a reader takes one that it does not know for
        /// [`ProblemCode::Failed`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$meta])* $name,)*
        }

        impl ProblemCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in documents.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The exit code of a command that ends with it.
            #[must_use]
            pub const fn exit_code(self) -> u8 {
                match self { $(Self::$name => $exit),* }
            }

            /// Whether the same command may succeed later, with nothing mended in between.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retry),* }
            }
        }
    };
}

problems! {
    /// The command line, the configuration or another input is wrong.
    Invalid = "invalid", exit: 2, retry: false;
    /// Several things go by the name that was given.
    Ambiguous = "ambiguous", exit: 2, retry: false;
    /// There is no such thing.
    NotFound = "not_found", exit: 3, retry: false;
    /// The state does not allow it.
    Rejected = "rejected", exit: 4, retry: false;
    /// The name, key or directory is taken.
    Exists = "exists", exit: 4, retry: false;
    /// Someone else changed it in between.
    Conflict = "conflict", exit: 4, retry: true;
    /// It is not as the caller has seen it; the document says what differs, and its own `retryable`
    /// whether the change would be taken with the version that was found.
    VersionConflict = "version_conflict", exit: 4, retry: true;
    /// A quota is used up; room comes as tasks start or end, or with a new month.
    QuotaExceeded = "quota_exceeded", exit: 4, retry: true;
    /// The caller speaks for a session that is no longer the task's.
    FenceLost = "fence_lost", exit: 4, retry: false;
    /// Somebody else holds the lock, or comes before.
    Locked = "locked", exit: 4, retry: true;
    /// Requests for locks wait for each other in a circle, and this one stepped out of it.
    Deadlock = "deadlock", exit: 4, retry: true;
    /// The lock has ended: it was not renewed in time, was taken away, or is another's.
    LockLost = "lock_lost", exit: 4, retry: false;
    /// A limit of the configuration was hit; room comes as tasks end.
    Limit = "limit", exit: 4, retry: true;
    /// The store, the disk or a program that is needed cannot be used.
    Unavailable = "unavailable", exit: 5, retry: true;
    /// A required gate did not pass.
    GateFailed = "gate_failed", exit: 1, retry: false;
    /// The store holds something that it must not.
    Corrupt = "corrupt", exit: 1, retry: false;
    /// The log is not what was written, or a signed head is not what was signed.
    LogBroken = "log_broken", exit: 1, retry: false;
    /// The time to wait is over.
    Timeout = "timeout", exit: 124, retry: true;
    /// Ctrl+C.
    Interrupted = "interrupted", exit: 130, retry: true;
    /// Anything else.
    #[serde(other)]
    Failed = "failed", exit: 1, retry: false;
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a failing command prints under `--json`, where it has printed no other document. The same
/// stands on standard error for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDocument {
    /// What kind of problem it is.
    pub code: ProblemCode,
    /// [`ProblemCode::exit_code`], which is how the command ended.
    pub exit_code: u8,
    /// [`ProblemCode::is_retryable`]; of a `version_conflict`, whether the same change would be taken
    /// with the version that was found.
    pub retryable: bool,
    /// One line for people.
    pub message: String,
    /// What led to it, nearest first.
    #[serde(default)]
    pub causes: Vec<String>,
    /// Everything longer: the last lines of a gate.
    pub details: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Of a `version_conflict`: what was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<VersionConflictDetails>,
    /// Of a `quota_exceeded`: the quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaInTheWay>,
}

/// How something differs from what the caller has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionConflictDetails {
    /// What was to be changed.
    pub target: String,
    /// The version that was expected.
    pub expected_version: u64,
    /// The version that it has.
    pub found_version: u64,
    /// The fields that differ, as far as the log tells.
    #[serde(default)]
    pub fields: Vec<FieldDifference>,
    /// The kinds of the events since, oldest first.
    #[serde(default)]
    pub events: Vec<String>,
    /// Why the change would not be taken with the version that was found either.
    pub why_not: Option<String>,
}

/// A field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDifference {
    /// Its name.
    pub field: String,
    /// What it was, as text.
    pub expected: Option<String>,
    /// What it is, as text.
    pub found: Option<String>,
}

schemas! {
    ErrorDocument = "error";
}

impl ErrorDocument {
    /// A problem with nothing but a message.
    pub fn new(code: ProblemCode, message: impl Into<String>) -> Self {
        Self {
            code,
            exit_code: code.exit_code(),
            retryable: code.is_retryable(),
            message: message.into(),
            causes: vec![],
            details: None,
            hint: None,
            conflict: None,
            quota: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::check;

    #[test]
    fn words_are_those_of_the_table() {
        for code in ProblemCode::ALL {
            let word = serde_json::to_value(code).unwrap();
            assert_eq!(word, code.as_str());
            assert_eq!(serde_json::from_value::<ProblemCode>(word).unwrap(), *code);
            assert_ne!(code.exit_code(), 0);
        }
        let later: ProblemCode = serde_json::from_str("\"of_a_later_version\"").unwrap();
        assert_eq!(later, ProblemCode::Failed);
    }

    #[test]
    fn it_can_be_read_back() {
        check(&ErrorDocument {
            causes: vec!["no space left on device".to_owned()],
            details: Some("1 of 2 failed".to_owned()),
            hint: Some("free some space".to_owned()),
            ..ErrorDocument::new(ProblemCode::Unavailable, "cannot write x")
        });
        check(&ErrorDocument {
            conflict: Some(VersionConflictDetails {
                target: "task_4".to_owned(),
                expected_version: 1,
                found_version: 2,
                fields: vec![FieldDifference {
                    field: "status".to_owned(),
                    expected: Some("pending".to_owned()),
                    found: None,
                }],
                events: vec!["task.claimed".to_owned()],
                why_not: Some("it is running".to_owned()),
            }),
            ..ErrorDocument::new(ProblemCode::VersionConflict, "task_4 has version 2, not 1")
        });
    }
}
