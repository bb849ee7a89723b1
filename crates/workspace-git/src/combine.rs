//! Merging commits without a checkout.

use app::ports::workspaces::{Dependency, WorkspaceError};
use domain::workspace::CommitId;

use crate::{names, repository::Repository};

/// What merging two commits gives.
#[derive(Debug)]
pub(crate) enum MergedTree {
    /// The tree.
    Clean(CommitId),
    /// The files that need a person.
    Conflict(Vec<String>),
}

/// Merges two commits to a tree. Attributes are those of `ours`.
pub(crate) fn merge_trees(
    repository: &Repository<'_>,
    ours: &CommitId,
    theirs: &CommitId,
) -> Result<MergedTree, WorkspaceError> {
    let merge = [
        "merge-tree",
        "--write-tree",
        "-z",
        "--name-only",
        "--no-messages",
    ];
    let call = repository
        .call()
        .env("GIT_ATTR_SOURCE", ours.as_str())
        .args(merge);
    let output = call
        .args([ours.as_str(), theirs.as_str()])
        .accept(&[0, 1])
        .run()?;
    let mut items = output.items();
    let tree = items.next().unwrap_or_default();
    if output.code == 0 {
        return crate::git::object(tree).map(MergedTree::Clean);
    }
    let mut files: Vec<String> = items.map(names::shown).collect();
    files.dedup();
    Ok(MergedTree::Conflict(files))
}

/// The base with the dependencies' work merged onto it in the order of task ids.
pub(crate) fn with_dependencies(
    repository: &Repository<'_>,
    base: &CommitId,
    dependencies: &[Dependency],
) -> Result<CommitId, WorkspaceError> {
    let mut ordered: Vec<&Dependency> = dependencies.iter().collect();
    ordered.sort_by_key(|dependency| dependency.task);
    let mut current = base.clone();
    for dependency in ordered {
        let commit = repository.commit(&dependency.commit)?;
        current = onto(repository, &current, dependency, &commit)?;
    }
    Ok(current)
}

fn onto(
    repository: &Repository<'_>,
    current: &CommitId,
    dependency: &Dependency,
    commit: &CommitId,
) -> Result<CommitId, WorkspaceError> {
    if repository.is_ancestor(commit, current)? {
        return Ok(current.clone());
    }
    if repository.is_ancestor(current, commit)? {
        return Ok(commit.clone());
    }
    match merge_trees(repository, current, commit)? {
        MergedTree::Clean(tree) => {
            let message = format!("Merge the work of {}\n", dependency.task);
            let identity = repository.identity()?;
            repository.commit_tree(&tree, &[current, commit], &message, &identity)
        }
        MergedTree::Conflict(files) => Err(WorkspaceError::DependencyConflict {
            task: dependency.task,
            files,
        }),
    }
}
