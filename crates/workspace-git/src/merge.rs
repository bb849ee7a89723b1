//! Merging a task's branch into its target.
//!
//! The merge commit is built without a checkout. Where the target is not checked out, its branch
//! is moved by compare-and-set. Where it is, `git merge --ff-only` takes the checkout to the merge
//! commit: one git process, in a process group of its own, that checks, writes files, index and
//! branch, and goes on when this process dies. So there is no state between branch and checkout
//! of our making: before that process nothing is visible, after it everything is, and a merge
//! that was cut off is simply run again. If the machine itself dies inside it, what is left is
//! what any killed `git merge` leaves: the branch unmoved and an `index.lock`, which is named.

use std::path::Path;

use app::ports::workspaces::{Merged, WorkspaceError};
use domain::workspace::CommitId;

use crate::{
    changes, checkout,
    combine::{MergedTree, merge_trees},
    git::Git,
    guard::Guard,
    layout::Layout,
    repository::{Located, Repository},
};

/// Merges a branch into a target and updates a clean checkout of the target.
pub(crate) fn merge(
    git: &Git,
    layout: &Layout,
    project: &Path,
    branch: &str,
    target: Option<&str>,
) -> Result<Merged, WorkspaceError> {
    let located = Located::find(git, project)?;
    let layout = layout.real()?;
    let guard = Guard::of_repository(&located.repository, &layout)?;
    let repository = &guard.repository(&located.repository);
    let lock = repository.lock(layout.state())?;
    let target = located.target(target)?;
    let name = target.branch.ok_or(WorkspaceError::NoTargetBranch)?;
    let missing = || WorkspaceError::Unknown {
        what: branch.to_owned(),
    };
    let tip = repository.branch(branch)?.ok_or_else(missing)?;
    let old = target.commit;
    if repository.is_ancestor(&tip, &old)? {
        let files = Vec::new();
        return Ok(Merged {
            target: name,
            commit: old,
            already: true,
            updated: None,
            files,
        });
    }
    checkout::refuse_rebased(repository, &name)?;
    let checked_out = checkout::checkout_of(repository, &name)?;
    if let Some(checkout) = &checked_out {
        checkout::refuse_busy_or_dirty(repository.git, checkout)?;
    }
    let new = merge_commit(repository, &name, &old, branch, &tip)?;
    match &checked_out {
        Some(checkout) => {
            checkout::refuse_overwriting(repository, checkout, &old, &new)?;
            advance(repository, checkout, &name, &old, &new)?;
        }
        None => move_branch(repository, &name, &old, &new)?,
    }
    let commit = verified(repository, &name, &tip)?;
    drop(lock);
    let files = changes::changed_files(repository, &old, &new)?;
    Ok(Merged {
        target: name,
        commit,
        already: false,
        updated: checked_out,
        files,
    })
}

fn merge_commit(
    repository: &Repository<'_>,
    target: &str,
    old: &CommitId,
    branch: &str,
    tip: &CommitId,
) -> Result<CommitId, WorkspaceError> {
    match merge_trees(repository, old, tip)? {
        MergedTree::Clean(tree) => {
            let message = format!("Merge branch '{branch}' into {target}\n");
            repository.commit_tree(&tree, &[old, tip], &message, &repository.identity()?)
        }
        MergedTree::Conflict(files) => Err(WorkspaceError::MergeConflict {
            branch: branch.to_owned(),
            target: target.to_owned(),
            files,
        }),
    }
}

/// Takes a clean checkout and its branch to a descendant, in one git process.
fn advance(
    repository: &Repository<'_>,
    checkout: &Path,
    target: &str,
    old: &CommitId,
    new: &CommitId,
) -> Result<(), WorkspaceError> {
    let git = repository.git;
    let merge = [
        "merge",
        "--ff-only",
        "--no-overwrite-ignore",
        "--no-autostash",
        "--no-stat",
    ];
    let call = git
        .discover(checkout)
        .env("GIT_REFLOG_ACTION", "crewboss merge")
        .args(merge);
    // Killed, it would leave the user's checkout half written.
    let call = call.args(["--quiet", new.as_str()]).unbounded();
    let Err(error) = call.run() else {
        return Ok(());
    };
    // Git moves the branch last: where it is moved, the files are written.
    match repository.branch(target)? {
        Some(there) if there == *new => return Ok(()),
        Some(there) if there == *old => {}
        _ => {
            return Err(WorkspaceError::TargetMoved {
                branch: target.to_owned(),
            });
        }
    }
    checkout::refuse_busy_or_dirty(git, checkout)?;
    checkout::refuse_overwriting(repository, checkout, old, new)?;
    Err(error)
}

fn move_branch(
    repository: &Repository<'_>,
    target: &str,
    old: &CommitId,
    new: &CommitId,
) -> Result<(), WorkspaceError> {
    let reference = format!("refs/heads/{target}");
    if repository.update_ref(&reference, new, Some(old), "crewboss: merge")? {
        return Ok(());
    }
    Err(WorkspaceError::TargetMoved {
        branch: target.to_owned(),
    })
}

/// The target's tip, checked to contain the work.
fn verified(
    repository: &Repository<'_>,
    target: &str,
    tip: &CommitId,
) -> Result<CommitId, WorkspaceError> {
    let moved = || WorkspaceError::TargetMoved {
        branch: target.to_owned(),
    };
    let commit = repository.branch(target)?.ok_or_else(moved)?;
    if repository.is_ancestor(tip, &commit)? {
        Ok(commit)
    } else {
        Err(moved())
    }
}
