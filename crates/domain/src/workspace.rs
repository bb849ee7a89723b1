//! What a session edits: the mode, the record that is stored of it, and the names of branches.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::id::TaskId;

/// The longest slug of a branch, in bytes.
const SLUG_MAX: usize = 40;

/// Where a session works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceMode {
    /// A detached git worktree of the session's own, outside the repository.
    Worktree,
    /// The project's directory itself; nothing is committed.
    InPlace,
    /// A fresh plain directory.
    Folder,
}

impl WorkspaceMode {
    /// Every mode.
    pub const ALL: &[Self] = &[Self::Worktree, Self::InPlace, Self::Folder];

    /// The word in configuration and storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worktree => "worktree",
            Self::InPlace => "in-place",
            Self::Folder => "folder",
        }
    }
}

impl fmt::Display for WorkspaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no workspace mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a workspace is one of worktree, in-place, folder")]
pub struct InvalidWorkspaceMode;

impl FromStr for WorkspaceMode {
    type Err = InvalidWorkspaceMode;

    fn from_str(text: &str) -> Result<Self, InvalidWorkspaceMode> {
        Self::ALL
            .iter()
            .copied()
            .find(|mode| mode.as_str() == text)
            .ok_or(InvalidWorkspaceMode)
    }
}

/// The full name of a git object: 40 or 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(String);

/// A text that is no [`CommitId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a commit id is 40 or 64 hexadecimal digits")]
pub struct InvalidCommitId;

impl CommitId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// As many zeros as this id has digits: what a reference that does not exist points to.
    #[must_use]
    pub fn zeros(&self) -> String {
        "0".repeat(self.0.len())
    }
}

impl TryFrom<String> for CommitId {
    type Error = InvalidCommitId;

    fn try_from(text: String) -> Result<Self, InvalidCommitId> {
        let hexadecimal = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hexadecimal && matches!(text.len(), 40 | 64) {
            Ok(Self(text))
        } else {
            Err(InvalidCommitId)
        }
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommitId;

    fn from_str(text: &str) -> Result<Self, InvalidCommitId> {
        text.to_owned().try_into()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A workspace as it is stored with its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceRecord {
    /// How it was made.
    pub mode: WorkspaceMode,
    /// Its root.
    pub path: PathBuf,
    /// Where the agent starts: `path`, or below it when the project is part of a repository.
    pub directory: PathBuf,
    /// The repository's common git directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<PathBuf>,
    /// The branch that the work is meant for; none where HEAD was detached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The tip of the target when the task was first claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<CommitId>,
    /// The commit that the work starts from: `base`, or the dependencies' work merged onto it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<CommitId>,
    /// The branch that finished work is published as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The repository to which finished and salvaged work is copied before it is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
}

/// What happened to a file between two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeStatus {
    /// It is new.
    Added,
    /// Its content or mode changed.
    Modified,
    /// It is gone.
    Deleted,
    /// It has another name, and perhaps other content.
    Renamed,
    /// It became another kind: a file, a link, a submodule.
    TypeChanged,
}

/// One changed file.
///
/// Names that are UTF-8 and do not begin with a double quote stand as they are; others are in
/// double quotes with octal escapes, as git prints them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// Its name, relative to the repository's root.
    pub path: String,
    /// What happened.
    pub status: ChangeStatus,
    /// Its name before, where it was renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Lines added; none where the content is binary.
    pub insertions: Option<u64>,
    /// Lines removed; none where the content is binary.
    pub deletions: Option<u64>,
}

/// The branch of a task's finished work: `crewboss/<task>-<slug>`.
#[must_use]
pub fn branch_name(task: TaskId, text: &str) -> String {
    format!("crewboss/{task}-{}", slug(text))
}

/// A name or prompt as part of a branch: `[a-z0-9-]`, 1 to 40 bytes, no dash at either end.
#[must_use]
pub fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() == SLUG_MAX {
            break;
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() {
        "work".to_owned()
    } else {
        slug
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_never_empty_and_never_long() {
        assert_eq!(slug("Fix the LOGIN page!"), "fix-the-login-page");
        assert_eq!(slug("  ../../etc  "), "etc");
        assert_eq!(slug(""), "work");
        assert_eq!(slug("\u{4f60}\u{597d}\n"), "work");
        let long = slug(&"ab ".repeat(100));
        assert!(long.len() <= SLUG_MAX && !long.ends_with('-'), "{long}");
    }

    #[test]
    fn modes_have_one_word_everywhere() {
        for mode in WorkspaceMode::ALL {
            assert_eq!(mode.as_str().parse(), Ok(*mode));
        }
        assert!("Worktree".parse::<WorkspaceMode>().is_err());
    }

    #[test]
    fn a_commit_id_is_whole_and_lowercase() {
        assert!("a".repeat(40).parse::<CommitId>().is_ok());
        assert!("a".repeat(64).parse::<CommitId>().is_ok());
        for text in [
            "",
            "HEAD",
            &"A".repeat(40),
            &"a".repeat(41),
            &"g".repeat(40),
        ] {
            assert!(text.parse::<CommitId>().is_err(), "{text}");
        }
    }
}
