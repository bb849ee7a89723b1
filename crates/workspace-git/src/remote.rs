//! The repository that joins a project's checkouts on several nodes: what one of them has finished or
//! salvaged is copied there before it is reported, and fetched from there where another builds on it.

use std::{path::Path, thread, time::Duration};

use app::ports::workspaces::WorkspaceError;
use domain::{
    id::SessionId,
    workspace::{CommitId, WorkspaceRecord},
};

use crate::{
    git::{Git, object},
    repository::{Located, Repository},
    salvage,
};

/// Where branches are kept that another session of the task had left on the shared repository.
const REPLACED: &str = "refs/crewboss/replaced/";

/// Between attempts to reach the shared repository.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// How often the shared branch may move while it is being moved.
const ATTEMPTS: u32 = 4;

/// The address behind the configured name of a remote, or the address itself.
pub(crate) fn address(
    git: &Git,
    project: &Path,
    configured: &str,
) -> Result<String, WorkspaceError> {
    if configured.contains(['/', ':']) {
        return Ok(configured.to_owned());
    }
    let located = Located::find(git, project)?;
    let key = format!("remote.{configured}.url");
    let ask = ["config", "--get", &key];
    let output = located.repository.call().args(ask).accept(&[0, 1]).run()?;
    if output.code != 0 || output.line().is_empty() {
        return Err(WorkspaceError::Unknown {
            what: format!("the remote {configured}"),
        });
    }
    Ok(String::from_utf8_lossy(output.line()).into_owned())
}

/// Gets the commits that this repository lacks.
pub(crate) fn fetch_missing(
    repository: &Repository<'_>,
    remote: &str,
    wanted: &[&CommitId],
) -> Result<(), WorkspaceError> {
    let mut missing = Vec::new();
    for commit in wanted {
        if repository.commit(commit).is_err() {
            missing.push(commit.as_str());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let fetch = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-recurse-submodules",
        "--",
        remote,
    ];
    repository.call().args(fetch).args(missing).run().map(drop)
}

/// The tip of a branch there, where it goes on from ours; ours where it does not.
pub(crate) fn newer(
    repository: &Repository<'_>,
    remote: &str,
    branch: &str,
    ours: CommitId,
) -> Result<CommitId, WorkspaceError> {
    let Some(theirs) = look(repository, remote, &format!("refs/heads/{branch}"))? else {
        return Ok(ours);
    };
    if theirs == ours {
        return Ok(ours);
    }
    fetch_missing(repository, remote, &[&theirs])?;
    if repository.is_ancestor(&ours, &theirs)? {
        Ok(theirs)
    } else {
        Ok(ours)
    }
}

/// [`share_once`], again where the repository could not be reached: finished work is not given up for
/// that at once.
pub(crate) fn share(
    repository: &Repository<'_>,
    remote: &str,
    branch: &str,
    commit: &CommitId,
    is_ours: &dyn Fn() -> bool,
) -> Result<bool, WorkspaceError> {
    for pause in PAUSES {
        match share_once(repository, remote, branch, commit, is_ours) {
            Err(WorkspaceError::Git { .. } | WorkspaceError::TimedOut { .. }) => {
                thread::sleep(pause);
            }
            shared => return shared,
        }
    }
    share_once(repository, remote, branch, commit, is_ours)
}

/// Points the branch there to a finished commit. It is asked where it points first, then whether
/// the task is still ours, and moved only from where it was: whoever has the task after us has moved
/// it by the time that we would. `false` where the task is not ours any more.
fn share_once(
    repository: &Repository<'_>,
    remote: &str,
    branch: &str,
    commit: &CommitId,
    is_ours: &dyn Fn() -> bool,
) -> Result<bool, WorkspaceError> {
    let reference = format!("refs/heads/{branch}");
    for _ in 0..ATTEMPTS {
        let there = look(repository, remote, &reference)?;
        if !is_ours() {
            return Ok(false);
        }
        if there.as_ref() == Some(commit) {
            return Ok(true);
        }
        if let Some(old) = &there {
            fetch_missing(repository, remote, &[old])?;
            if !repository.is_ancestor(old, commit)? {
                push(repository, remote, old, &format!("{REPLACED}{old}"), None)?;
            }
        }
        let expected = there.as_ref().map_or("", CommitId::as_str);
        let lease = format!("--force-with-lease={reference}:{expected}");
        if push(repository, remote, commit, &reference, Some(&lease))? {
            return Ok(true);
        }
    }
    Err(WorkspaceError::TargetMoved {
        branch: branch.to_owned(),
    })
}

/// Copies what was salvaged of a session; a warning where that was not possible.
pub(crate) fn share_salvage(
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Option<String> {
    let remote = record.remote.as_deref()?;
    let reference = format!("{}{session}", salvage::NAMESPACE);
    let commit = repository.reference(&reference).ok()??;
    match push(repository, remote, &commit, &reference, Some("--force")) {
        Ok(true) => None,
        Ok(false) => Some(format!("{reference} is on this node alone: refused")),
        Err(error) => Some(format!("{reference} is on this node alone: {error}")),
    }
}

/// Where a reference points there.
fn look(
    repository: &Repository<'_>,
    remote: &str,
    reference: &str,
) -> Result<Option<CommitId>, WorkspaceError> {
    let ask = ["ls-remote", "--refs", "--", remote, reference];
    let output = repository.call().args(ask).run()?;
    let line = output.line();
    match line.split(|byte| *byte == b'\t').next() {
        Some(id) if !id.is_empty() => object(id).map(Some),
        _ => Ok(None),
    }
}

/// `false` where it was refused there.
fn push(
    repository: &Repository<'_>,
    remote: &str,
    commit: &CommitId,
    reference: &str,
    flag: Option<&str>,
) -> Result<bool, WorkspaceError> {
    let destination = format!("{commit}:{reference}");
    let call = repository
        .call()
        .args(["push", "--quiet", "--no-verify", "--no-signed"])
        .args(flag)
        .args(["--", remote, &destination]);
    Ok(call.accept(&[0, 1]).run()?.code == 0)
}
