//! Making a session's workspace.

use std::{fs, path::Path};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::workspaces::{PrepareRequest, WorkspaceError},
};
use domain::workspace::{CommitId, WorkspaceMode, WorkspaceRecord, branch_name};

use crate::{
    checkpoint, combine,
    git::Git,
    guard::{self, Guard},
    layout::{Layout, delete, make_private},
    remote, remove,
    repository::{Located, Repository, io_error},
    worktree::Worktree,
};

/// Makes the workspace that is asked for, or finds it.
pub(crate) fn prepare(
    git: &Git,
    layout: &Layout,
    request: &PrepareRequest,
) -> Result<WorkspaceRecord, WorkspaceError> {
    match request.mode {
        WorkspaceMode::Worktree => worktree(git, layout, request),
        WorkspaceMode::InPlace => in_place(request),
        WorkspaceMode::Folder => folder(git, layout, request),
    }
}

fn in_place(request: &PrepareRequest) -> Result<WorkspaceRecord, WorkspaceError> {
    let project = &request.project;
    let path = fs::canonicalize(project).map_err(io_error("find", project))?;
    Ok(plain(WorkspaceMode::InPlace, &path))
}

fn folder(
    git: &Git,
    layout: &Layout,
    request: &PrepareRequest,
) -> Result<WorkspaceRecord, WorkspaceError> {
    let path = layout.real()?.folder(request.session);
    let act = Act::new(Thing::Folder, Deed::Make);
    let told = |error| io_error("make", &path)(error);
    faults::around_with(act, told, || make_private(&path))?;
    if let Some(tree) = &request.restore {
        checkpoint::fill_folder(git, layout, &request.project, tree, &path)?;
    }
    Ok(plain(WorkspaceMode::Folder, &path))
}

fn plain(mode: WorkspaceMode, path: &Path) -> WorkspaceRecord {
    WorkspaceRecord {
        mode,
        path: path.to_owned(),
        directory: path.to_owned(),
        repository: None,
        target: None,
        base: None,
        start: None,
        branch: None,
        remote: None,
    }
}

fn worktree(
    git: &Git,
    layout: &Layout,
    request: &PrepareRequest,
) -> Result<WorkspaceRecord, WorkspaceError> {
    let located = Located::find(git, &request.project)?;
    let layout = layout.real()?;
    refuse_state_inside(&located, layout.state())?;
    let guard = Guard::of_repository(&located.repository, &layout)?;
    let repository = &guard.repository(&located.repository);
    let path = layout.worktree(repository, request.session);
    let found = Worktree::at(repository, &path)?;
    if let Some(record) = found.record().filter(|_| found.is_present()) {
        return Ok(record);
    }
    if let Some(remote) = &request.remote {
        remote::fetch_missing(repository, remote, &needed(request))?;
    }
    let (record, start) = planned(&located, repository, request, &path)?;
    register(&layout, repository, request, &record, &start)?;
    let made = Worktree::at(repository, &path)?;
    made.registered()?;
    made.call()
        .args(["reset", "--quiet", "--hard", start.as_str(), "--"])
        .run()?;
    if let Some(whole) = &request.restore {
        checkpoint::add_ignored(&made, &start, whole)?;
    }
    fs::create_dir_all(&record.directory).map_err(io_error("create", &record.directory))?;
    guard::record(&Worktree::at(&located.repository, &path)?)?;
    made.write_record(&record)?;
    Ok(record)
}

/// The commits that a workspace is made from.
fn needed(request: &PrepareRequest) -> Vec<&CommitId> {
    let given = request.base.iter().chain(&request.continue_from);
    let finished = request.dependencies.iter().map(|done| &done.commit);
    given.chain(finished).collect()
}

/// What is going to be made; refuses before anything is.
fn planned(
    located: &Located<'_>,
    repository: &Repository<'_>,
    request: &PrepareRequest,
    path: &Path,
) -> Result<(WorkspaceRecord, CommitId), WorkspaceError> {
    let branch = branch_name(request.task, &request.title);
    refuse_in_the_way(repository, &branch)?;
    let configured = request.target.as_deref();
    let (target, base) = if let Some(base) = &request.base {
        let named = configured.map(str::to_owned);
        let target = named.map_or_else(|| located.head_branch(), |name| Ok(Some(name)))?;
        (target, repository.commit(base)?)
    } else {
        let target = located.target(configured)?;
        let base = match (&request.remote, &target.branch) {
            (Some(remote), Some(branch)) => {
                remote::newer(repository, remote, branch, target.commit)?
            }
            _ => target.commit,
        };
        (target.branch, base)
    };
    let start = match &request.continue_from {
        Some(commit) => repository.commit(commit)?,
        None => combine::with_dependencies(repository, &base, &request.dependencies)?,
    };
    let record = WorkspaceRecord {
        mode: WorkspaceMode::Worktree,
        path: path.to_owned(),
        directory: path.join(&located.prefix),
        repository: Some(repository.common.clone()),
        target,
        base: Some(base),
        start: Some(start.clone()),
        branch: Some(branch),
        remote: request.remote.clone(),
    };
    Ok((record, start))
}

/// Refuses where a branch has the name of a folder that the wanted one lies in.
fn refuse_in_the_way(repository: &Repository<'_>, wanted: &str) -> Result<(), WorkspaceError> {
    for (end, _) in wanted.match_indices('/') {
        let branch = &wanted[..end];
        if repository.branch(branch)?.is_some() {
            return Err(WorkspaceError::BranchInTheWay {
                branch: branch.to_owned(),
                wanted: wanted.to_owned(),
            });
        }
    }
    Ok(())
}

/// Registers the worktree under the repository's lock, without its files: those are written by
/// many sessions at a time.
fn register(
    layout: &Layout,
    repository: &Repository<'_>,
    request: &PrepareRequest,
    record: &WorkspaceRecord,
    start: &CommitId,
) -> Result<(), WorkspaceError> {
    let leftover = Worktree::at(repository, &record.path)?;
    if leftover.is_half_made() {
        delete(&record.path)?;
    } else {
        remove::salvage_and_delete(layout, &leftover, start, request.session)?;
    }
    let lock = repository.lock(layout.state())?;
    remove::unregister(&Worktree::at(repository, &record.path)?)?;
    let parent = layout.worktrees(repository);
    make_private(&parent)?;
    let add = [
        "worktree",
        "add",
        "--quiet",
        "--detach",
        "--no-checkout",
        "--",
    ];
    let act = Act::new(Thing::Worktree, Deed::Make);
    let told = |error| io_error("make", &record.path)(error);
    faults::around_with(act, told, || {
        let call = repository.call().args(add);
        call.arg(&record.path).arg(start.as_str()).run()
    })?;
    drop(lock);
    Ok(())
}

fn refuse_state_inside(located: &Located<'_>, state: &Path) -> Result<(), WorkspaceError> {
    let common = &located.repository.common;
    let checkout = if common.file_name().is_some_and(|name| name == ".git") {
        common.parent().unwrap_or(common)
    } else {
        common
    };
    if state.starts_with(located.root()) || state.starts_with(checkout) {
        return Err(WorkspaceError::StateInsideRepository {
            path: state.to_owned(),
        });
    }
    Ok(())
}
