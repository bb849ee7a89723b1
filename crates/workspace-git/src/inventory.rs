//! What exists because of sessions: for reconciling the world with the store.

use std::collections::BTreeMap;

use app::ports::workspaces::{FoundWorktree, Inventory, WorkspaceError};
use domain::{id::SessionId, workspace::CommitId};

use crate::{
    git::object,
    layout::{Layout, sessions_in},
    repository::Repository,
    salvage::NAMESPACE,
    worktree::{Worktree, entries},
};

/// Lists worktrees, branches and salvages of a repository.
pub(crate) fn inventory(
    layout: &Layout,
    repository: &Repository<'_>,
) -> Result<Inventory, WorkspaceError> {
    let layout = layout.real()?;
    let branches = references(repository, "refs/heads/crewboss/", "refs/heads/")?;
    let salvages = references(repository, NAMESPACE, NAMESPACE)?;
    let salvages = salvages
        .into_iter()
        .filter_map(|(name, commit)| Some((name.parse().ok()?, commit)));
    Ok(Inventory {
        worktrees: worktrees(&layout, repository)?,
        branches,
        salvages: salvages.collect(),
    })
}

fn worktrees(
    layout: &Layout,
    repository: &Repository<'_>,
) -> Result<Vec<FoundWorktree>, WorkspaceError> {
    let directory = layout.worktrees(repository);
    let mut paths: BTreeMap<SessionId, _> = sessions_in(&directory)?.into_iter().collect();
    for (_, path) in entries(&repository.common)? {
        let session = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if let Some(session) = session.filter(|_| path.parent() == Some(&directory)) {
            paths.insert(session, path);
        }
    }
    let found = paths.into_iter().map(|(session, path)| {
        let worktree = Worktree::at(repository, &path)?;
        Ok(FoundWorktree {
            session,
            present: path.is_dir(),
            registered: worktree.admin.is_some(),
            record: worktree.record(),
            path,
        })
    });
    found.collect()
}

/// The references below a prefix, without a part of their name.
fn references(
    repository: &Repository<'_>,
    below: &str,
    without: &str,
) -> Result<Vec<(String, CommitId)>, WorkspaceError> {
    let ask = ["for-each-ref", "--format=%(objectname) %(refname)", below];
    let output = repository.call().args(ask).run()?;
    let mut found = Vec::new();
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let space = line
            .iter()
            .position(|byte| *byte == b' ')
            .unwrap_or(line.len());
        let name = String::from_utf8_lossy(line.get(space + 1..).unwrap_or_default()).into_owned();
        let name = name
            .strip_prefix(without)
            .map(str::to_owned)
            .unwrap_or(name);
        found.push((name, object(&line[..space])?));
    }
    Ok(found)
}
