//! Removing the references to work of a task that is wanted no longer, as far as nothing is lost by
//! it.

use app::ports::workspaces::{Retired, WorkspaceError};
use domain::{
    id::SessionId,
    workspace::{CommitId, WorkspaceRecord},
};

use crate::{
    checkpoint,
    repository::Repository,
    salvage::{self, NAMESPACE},
};

/// The branch first: what it alone has becomes a salvage, and salvages are looked at after it. A
/// crash in between leaves both, and the next call goes on.
pub(crate) fn retire(
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<Retired, WorkspaceError> {
    let mut retired = Retired::default();
    if let Some(branch) = &record.branch {
        retire_branch(repository, record, branch, &mut retired)?;
    }
    for reference in salvages(repository, session)? {
        let Some(commit) = repository.reference(&reference)? else {
            continue;
        };
        if is_elsewhere(repository, &commit, &reference)? {
            remove(repository, &reference, &commit)?;
            retired.removed.push(reference);
        } else {
            retired.kept.push(reference);
        }
    }
    Ok(retired)
}

fn retire_branch(
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    branch: &str,
    retired: &mut Retired,
) -> Result<(), WorkspaceError> {
    let reference = format!("refs/heads/{branch}");
    let Some(commit) = repository.branch(branch)? else {
        return Ok(());
    };
    if is_checked_out(repository, &reference)? {
        retired.kept.push(reference);
        return Ok(());
    }
    if !is_elsewhere(repository, &commit, &reference)? {
        salvage::keep_branch(repository, record, &commit)?;
    }
    remove(repository, &reference, &commit)?;
    retired.removed.push(reference);
    Ok(())
}

/// The salvage references of a session.
fn salvages(
    repository: &Repository<'_>,
    session: SessionId,
) -> Result<Vec<String>, WorkspaceError> {
    let own = format!("{NAMESPACE}{session}");
    let ask = ["for-each-ref", "--format=%(refname)", NAMESPACE];
    let output = repository.call().args(ask).run()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_own = |name: &&str| {
        let rest = name.strip_prefix(&own);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("-branch"))
    };
    Ok(text.lines().filter(is_own).map(str::to_owned).collect())
}

fn is_checked_out(repository: &Repository<'_>, reference: &str) -> Result<bool, WorkspaceError> {
    let ask = ["for-each-ref", "--format=%(worktreepath)", reference];
    let output = repository.call().args(ask).run()?;
    Ok(!output.stdout.trim_ascii().is_empty())
}

/// Whether another reference reaches the commit. Those of checkpoints do not count: they go with
/// their task.
fn is_elsewhere(
    repository: &Repository<'_>,
    commit: &CommitId,
    but: &str,
) -> Result<bool, WorkspaceError> {
    let ask = ["for-each-ref", "--format=%(refname)", "--contains"];
    let output = repository.call().args(ask).arg(commit.as_str()).run()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text
        .lines()
        .any(|name| name != but && !name.starts_with(checkpoint::NAMESPACE)))
}

fn remove(
    repository: &Repository<'_>,
    reference: &str,
    commit: &CommitId,
) -> Result<(), WorkspaceError> {
    let change = ["update-ref", "-d", reference, commit.as_str()];
    match repository.call().args(change).run() {
        Err(error) if repository.reference(reference)?.as_ref() == Some(commit) => Err(error),
        _ => Ok(()),
    }
}
