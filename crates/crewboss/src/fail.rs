//! How a command ends: exit codes, and errors as a person reads them.

use std::{error::Error as StdError, fmt::Write as _, io};

use api_types::{
    ErrorDocument, FieldDifference, ProblemCode, QuotaInTheWay, VersionConflictDetails,
};
use app::expected::VersionConflict;
use domain::{
    failure::Failure,
    lock::LockRefused,
    quota::{QuotaResource, QuotaUse},
};

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// It failed, or what was waited for did.
    Failed = 1,
    /// The command line, the configuration or another input is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// The state does not allow it.
    Conflict = 4,
    /// The store, the disk or a program that is needed cannot be used.
    Unavailable = 5,
    /// The time to wait is over.
    Timeout = 124,
    /// Ctrl+C.
    Interrupted = 130,
}

impl Exit {
    /// Every code with its meaning, for help and documentation.
    pub(crate) const TABLE: &[(Self, &str)] = &[
        (Self::Ok, "done"),
        (Self::Failed, "it failed, or a task that was waited for did"),
        (
            Self::Usage,
            "wrong command line, configuration or other input",
        ),
        (Self::NotFound, "there is no such task, key or file"),
        (Self::Conflict, "the state does not allow it"),
        (
            Self::Unavailable,
            "the store, the disk or a needed program cannot be used",
        ),
        (Self::Timeout, "the time to wait is over"),
        (Self::Interrupted, "interrupted by Ctrl+C"),
    ];

    /// What a command is told to have met that ends so and does not say it better.
    fn problem(self) -> ProblemCode {
        match self {
            Self::Ok | Self::Failed => ProblemCode::Failed,
            Self::Usage => ProblemCode::Invalid,
            Self::NotFound => ProblemCode::NotFound,
            Self::Conflict => ProblemCode::Rejected,
            Self::Unavailable => ProblemCode::Unavailable,
            Self::Timeout => ProblemCode::Timeout,
            Self::Interrupted => ProblemCode::Interrupted,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) exit: Exit,
    code: ProblemCode,
    message: String,
    causes: Vec<String>,
    details: Option<String>,
    hint: Option<String>,
    conflict: Option<Box<VersionConflict>>,
    quota: Option<Box<QuotaUse>>,
}

/// What a verb returns.
pub(crate) type Outcome = Result<Exit, Fail>;

impl Fail {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: exit.problem(),
            message: message.into(),
            causes: Vec::new(),
            details: None,
            hint: None,
            conflict: None,
            quota: None,
        }
    }

    /// A wrong input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Whoever reads our output has gone: nothing is left to say.
    pub(crate) fn closed() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// What was being done, and what stood in the way.
    pub(crate) fn caused(exit: Exit, message: impl Into<String>, cause: &dyn StdError) -> Self {
        let mut fail = Self::new(exit, message);
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            if !text.is_empty() && fail.causes.last() != Some(&text) {
                fail.causes.push(text);
            }
            next = error.source();
        }
        fail
    }

    /// An error of the system: a full disk and a read-only folder are unavailable.
    pub(crate) fn io(message: impl Into<String>, error: &io::Error) -> Self {
        Self::caused(Exit::Unavailable, message, error)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether a name or a key is another's.
    pub(crate) fn is_taken(&self) -> bool {
        self.code == ProblemCode::Exists
    }

    /// The same with another code of the table, and its exit code.
    pub(crate) fn code(mut self, code: ProblemCode) -> Self {
        self.code = code;
        self.exit = exit_of(code);
        self
    }

    /// A gate that did not pass, with its last lines.
    pub(crate) fn gate(failure: &Failure) -> Self {
        Self {
            code: ProblemCode::GateFailed,
            details: failure.details.clone().filter(|text| !text.is_empty()),
            ..Self::new(Exit::Failed, failure.message.clone())
        }
    }

    /// For programs; nothing where the reader has gone.
    pub(crate) fn document(&self) -> Option<ErrorDocument> {
        (!self.message.is_empty()).then(|| ErrorDocument {
            causes: self.causes.clone(),
            details: self.details.clone(),
            hint: self.hint.clone(),
            retryable: match &self.conflict {
                Some(conflict) => conflict.retryable,
                None => self.code.is_retryable(),
            },
            conflict: self.conflict.as_deref().map(conflict_details),
            quota: self.quota.as_deref().map(QuotaInTheWay::from),
            ..ErrorDocument::new(self.code, self.message.clone())
        })
    }

    /// `error: …`, `caused by: …`, details as they are, `hint: …`; nothing where the reader has
    /// gone.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        if self.message.is_empty() {
            return text;
        }
        let _ = writeln!(text, "error: {}", self.message);
        for cause in &self.causes {
            let _ = writeln!(text, "caused by: {cause}");
        }
        if let Some(details) = &self.details {
            let _ = writeln!(text, "{}", details.trim_end());
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
    }
}

fn conflict_details(conflict: &VersionConflict) -> VersionConflictDetails {
    let fields = conflict.fields.iter().map(|one| FieldDifference {
        field: one.field.clone(),
        expected: one.expected.clone(),
        found: one.found.clone(),
    });
    VersionConflictDetails {
        target: conflict.target.clone(),
        expected_version: conflict.expected,
        found_version: conflict.found,
        fields: fields.collect(),
        events: conflict.events.clone(),
        why_not: conflict.why_not.clone(),
    }
}

/// What a person reads below: each field as it was and is.
fn told_differences(conflict: &VersionConflict) -> Option<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let fields = conflict.fields.iter();
    let lines: Vec<String> = fields
        .map(|one| {
            let (expected, found) = (text(&one.expected), text(&one.found));
            format!("  {}: {expected} -> {found}", one.field)
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn way_out_of(quota: &QuotaUse) -> String {
    let resource = quota.key.resource.as_str().replace('_', "-");
    let room = match quota.key.resource {
        QuotaResource::QueuedTasks => "there is room as tasks start or are cancelled",
        QuotaResource::ActiveSessions => "there is room as tasks end",
        QuotaResource::TokensMonth => "there is room with the next month, in UTC",
    };
    format!(
        "{room}; `crewboss quota set {resource} MAX` changes it, `crewboss quota list` shows all"
    )
}

/// The table of problems decides.
fn exit_of(code: ProblemCode) -> Exit {
    let number = code.exit_code();
    let known = Exit::TABLE.iter().find(|(exit, _)| *exit as u8 == number);
    known.map_or(Exit::Failed, |(exit, _)| *exit)
}

/// What the refusal of a lock is among problems.
fn problem_of(refused: &LockRefused) -> ProblemCode {
    match refused {
        LockRefused::Invalid { .. } | LockRefused::NotCovered { .. } => ProblemCode::Invalid,
        LockRefused::Busy { .. } => ProblemCode::Locked,
        LockRefused::TimedOut { .. } => ProblemCode::Timeout,
        LockRefused::Deadlock { .. } => ProblemCode::Deadlock,
        LockRefused::NotHeld { .. }
        | LockRefused::NotYours { .. }
        | LockRefused::NotWaiting { .. } => ProblemCode::LockLost,
        LockRefused::FenceLost { .. } => ProblemCode::FenceLost,
        LockRefused::QueueFull { .. } => ProblemCode::Limit,
    }
}

impl From<app::error::Error> for Fail {
    fn from(error: app::error::Error) -> Self {
        use app::error::Error as E;
        let code = match &error {
            E::NotFound { .. } => ProblemCode::NotFound,
            E::Ambiguous { .. } => ProblemCode::Ambiguous,
            E::Invalid { .. } => ProblemCode::Invalid,
            E::Rejected(_) => ProblemCode::Rejected,
            E::Exists { .. } => ProblemCode::Exists,
            E::Conflict { .. } => ProblemCode::Conflict,
            E::Version(_) => ProblemCode::VersionConflict,
            E::Quota(_) => ProblemCode::QuotaExceeded,
            E::FenceLost { .. } => ProblemCode::FenceLost,
            E::Lock { refused } => problem_of(refused),
            E::Limit { .. } => ProblemCode::Limit,
            E::Unavailable { .. } => ProblemCode::Unavailable,
            E::Corrupt { .. } => ProblemCode::Corrupt,
        };
        let fail = Self {
            code,
            ..Self::new(exit_of(code), error.to_string())
        };
        match error {
            E::NotFound { what, .. } if what.to_lowercase().contains("task") => {
                fail.hint("`crewboss status` lists the tasks of this project")
            }
            E::Ambiguous { .. } => fail.hint("give more digits of the id"),
            E::Exists { what, name } if what.ends_with("key") => fail.hint(format!(
                "`crewboss show {name}` shows it, and `crewboss retry {name}` tries it again if it \
                 failed"
            )),
            E::Rejected(refused) if refused.command == "start" && refused.state == "failed" => fail
                .hint(format!(
                    "`crewboss retry {} --run` does that",
                    refused.target
                )),
            E::Version(conflict) => {
                let hint = match &conflict.why_not {
                    None => {
                        format!(
                            "look again, and expect version {} if it is still right",
                            conflict.found
                        )
                    }
                    Some(why) => format!("asking again makes no sense: {why}"),
                };
                Self {
                    details: told_differences(&conflict),
                    conflict: Some(conflict),
                    ..fail.hint(hint)
                }
            }
            E::Quota(quota) => Self {
                quota: Some(Box::new(quota.clone())),
                ..fail.hint(way_out_of(&quota))
            },
            E::Corrupt { .. } => fail.hint("`crewboss doctor` looks closer"),
            _ => fail,
        }
    }
}

impl From<app::ports::workspaces::WorkspaceError> for Fail {
    fn from(error: app::ports::workspaces::WorkspaceError) -> Self {
        use app::ports::workspaces::WorkspaceError as W;
        let exit = match &error {
            W::GitMissing { .. } | W::GitTooOld { .. } | W::TimedOut { .. } | W::Io { .. } => {
                Exit::Unavailable
            }
            W::TargetMissing { .. } | W::Unknown { .. } => Exit::NotFound,
            W::NotARepository { .. }
            | W::NoCommits { .. }
            | W::NoTargetBranch
            | W::StateInsideRepository { .. }
            | W::DependencyConflict { .. }
            | W::Diverged { .. }
            | W::BranchTaken { .. }
            | W::BranchInTheWay { .. }
            | W::MergeConflict { .. }
            | W::DirtyTarget { .. }
            | W::WouldOverwrite { .. }
            | W::OperationInProgress { .. }
            | W::TargetMoved { .. } => Exit::Conflict,
            W::Damaged { .. } | W::OutputTooLong { .. } | W::Git { .. } => Exit::Failed,
        };
        let message = error.to_string();
        let fail = match StdError::source(&error) {
            Some(cause) => Self::caused(exit, message, cause),
            None => Self::new(exit, message),
        };
        match &error {
            W::MergeConflict { branch, .. } => fail.hint(format!(
                "nothing was changed; `git merge {branch}` lets you resolve it"
            )),
            _ => fail,
        }
    }
}

impl From<app::ports::folders::FolderError> for Fail {
    fn from(error: app::ports::folders::FolderError) -> Self {
        Self::io(error.to_string(), &error.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_next() {
        let cause = io::Error::other("no space left on device");
        let fail = Fail::io("cannot write x", &cause).hint("free some space");
        assert_eq!(
            fail.render(),
            "error: cannot write x\ncaused by: no space left on device\nhint: free some space\n"
        );
        assert_eq!(Fail::closed().render(), "");
    }

    #[test]
    fn exit_codes_are_those_of_the_table_of_problems() {
        for code in ProblemCode::ALL {
            assert_eq!(exit_of(*code) as u8, code.exit_code(), "{code}");
        }
        for (exit, _) in Exit::TABLE.iter().filter(|(exit, _)| *exit != Exit::Ok) {
            assert_eq!(exit.problem().exit_code(), *exit as u8);
        }
    }

    #[test]
    fn a_program_reads_the_same_as_a_person() {
        let cause = io::Error::other("no space left on device");
        let document = Fail::io("cannot write x", &cause)
            .hint("free some space")
            .document();
        let document = document.unwrap();
        assert_eq!(
            (document.code, document.exit_code),
            (ProblemCode::Unavailable, 5)
        );
        assert_eq!(document.causes, ["no space left on device"]);
        assert_eq!(Fail::closed().document(), None);
    }

    #[test]
    fn every_kind_of_error_has_its_code() {
        use app::error::Error;
        for (error, exit) in [
            (Error::not_found("Task", "x"), Exit::NotFound),
            (Error::invalid("prompt", "is empty"), Exit::Usage),
            (Error::unavailable("away"), Exit::Unavailable),
            (Error::corrupt("what"), Exit::Failed),
            (
                Error::Limit {
                    message: "full".into(),
                },
                Exit::Conflict,
            ),
        ] {
            assert_eq!(Fail::from(error).exit, exit);
        }
    }
}
