//! Keeping work that is on no branch.

use std::path::PathBuf;

use app::ports::workspaces::{Salvage, WorkspaceError};
use domain::{
    id::SessionId,
    workspace::{CommitId, WorkspaceRecord},
};

use crate::{
    layout::{Layout, delete},
    repository::Repository,
    snapshot::{self, Unreadable},
    worktree::Worktree,
};

/// Where salvaged work is kept.
pub(crate) const NAMESPACE: &str = "refs/crewboss/salvage/";

/// Keeps what a worktree holds beyond `start` that no reference reaches. What an earlier salvage
/// of the session kept stays reachable.
pub(crate) fn salvage(
    layout: &Layout,
    worktree: &Worktree<'_>,
    start: &CommitId,
    session: SessionId,
) -> Result<Option<Salvage>, WorkspaceError> {
    let repository = worktree.repository;
    let start = repository.commit(start)?;
    let parent = worktree.head()?.unwrap_or_else(|| start.clone());
    let (tree, warnings) = content(layout, worktree, &parent, &start, session)?;
    let uncommitted = tree != repository.tree(&parent)?;
    if !uncommitted && parent == start {
        return Ok(None);
    }
    let reference = format!("{NAMESPACE}{session}");
    let existing = repository.reference(&reference)?;
    if let Some(commit) = &existing
        && repository.is_ancestor(&parent, commit)?
        && (!uncommitted || repository.tree(commit)? == tree)
    {
        return Ok(Some(Salvage {
            reference,
            commit: commit.clone(),
            warnings,
        }));
    }
    if !uncommitted && is_on_a_branch(worktree, &parent)? {
        return Ok(None);
    }
    let commit = match &existing {
        Some(earlier) if !repository.is_ancestor(earlier, &parent)? => {
            record(worktree, &tree, &[&parent, earlier], session)?
        }
        _ if uncommitted => record(worktree, &tree, &[&parent], session)?,
        _ => parent,
    };
    let why = "crewboss: salvage";
    if !repository.update_ref(&reference, &commit, existing.as_ref(), why)? {
        return Err(WorkspaceError::TargetMoved { branch: reference });
    }
    Ok(Some(Salvage {
        reference,
        commit,
        warnings,
    }))
}

/// Keeps what a session's branch holds before it is pointed elsewhere. The worktree is named after
/// the session.
pub(crate) fn keep_branch(
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    commit: &CommitId,
) -> Result<String, WorkspaceError> {
    let session = record.path.file_name().unwrap_or_default();
    let session = session.to_string_lossy();
    let first = format!("{NAMESPACE}{session}-branch");
    for reference in [first.clone(), format!("{first}-{commit}")] {
        if repository.update_ref(&reference, commit, None, "crewboss: keep a branch")? {
            return Ok(reference);
        }
    }
    Err(WorkspaceError::TargetMoved { branch: first })
}

/// The tree of the directory, or of HEAD where the directory is gone.
fn content(
    layout: &Layout,
    worktree: &Worktree<'_>,
    parent: &CommitId,
    start: &CommitId,
    session: SessionId,
) -> Result<(CommitId, Vec<String>), WorkspaceError> {
    if !worktree.is_present() {
        return Ok((worktree.repository.tree(parent)?, Vec::new()));
    }
    let index = private_index(layout, worktree, session)?;
    let taken = snapshot::take(worktree, parent, start, &index, Unreadable::Skip);
    delete(&index)?;
    taken.map(|snapshot| (snapshot.tree, snapshot.warnings))
}

/// Where the index goes that a snapshot is made with.
pub(crate) fn private_index(
    layout: &Layout,
    worktree: &Worktree<'_>,
    session: SessionId,
) -> Result<PathBuf, WorkspaceError> {
    match &worktree.admin {
        Some(admin) => Ok(admin.join("crewboss-index")),
        None => layout.scratch_index(session),
    }
}

fn record(
    worktree: &Worktree<'_>,
    tree: &CommitId,
    parents: &[&CommitId],
    session: SessionId,
) -> Result<CommitId, WorkspaceError> {
    let message = format!("Unfinished work of {session}\n\nCrewboss-Session: {session}\n");
    let identity = worktree.repository.identity()?;
    worktree
        .repository
        .commit_tree(tree, parents, &message, &identity)
}

/// Whether a branch, tag or other reference reaches the commit.
fn is_on_a_branch(worktree: &Worktree<'_>, commit: &CommitId) -> Result<bool, WorkspaceError> {
    let ask = [
        "for-each-ref",
        "--count=1",
        "--format=%(refname)",
        "--contains",
    ];
    let output = worktree
        .repository
        .call()
        .args(ask)
        .arg(commit.as_str())
        .run()?;
    Ok(!output.stdout.is_empty())
}
