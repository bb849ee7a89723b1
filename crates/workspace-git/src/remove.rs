//! Removing worktrees, whole or half. `git worktree remove` refuses what is locked, half made or
//! half gone, and `git worktree prune` would also forget the user's own; so the directory and the
//! one entry that belongs to it are deleted here, in this order: a crash in between leaves an
//! entry without a directory, which the next call removes.

use std::{fs, io, path::Path};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::workspaces::{Removed, Salvage, WorkspaceError},
};
use domain::{
    id::SessionId,
    workspace::{CommitId, WorkspaceMode, WorkspaceRecord},
};

use crate::{
    git::Git,
    guard::{self, Guard},
    layout::{Layout, delete},
    repository::{Located, Repository, io_error},
    salvage,
    snapshot::UNREADABLE,
    worktree::Worktree,
};

/// Salvages and removes a session's workspace.
pub(crate) fn remove(
    git: &Git,
    layout: &Layout,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<Removed, WorkspaceError> {
    match record.mode {
        WorkspaceMode::InPlace => Ok(Removed::Kept(record.path.clone())),
        WorkspaceMode::Folder => folder(layout, record, session),
        WorkspaceMode::Worktree => worktree(git, layout, record, session),
    }
}

fn folder(
    layout: &Layout,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<Removed, WorkspaceError> {
    own_folder(layout, record, session)?;
    let act = Act::new(Thing::Folder, Deed::Remove);
    match faults::around(act, || fs::remove_dir(&record.path)) {
        Ok(()) => Ok(Removed::Gone(None)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Removed::Gone(None)),
        Err(_) => Ok(Removed::Kept(record.path.clone())),
    }
}

/// Removes what a preparation made that was cut off, or of which nobody was told.
pub(crate) fn abandon(
    git: &Git,
    layout: &Layout,
    project: &Path,
    session: SessionId,
) -> Result<(), WorkspaceError> {
    let layout = layout.real()?;
    let folder = layout.folder(session);
    match fs::remove_dir(&folder) {
        Err(error) if !is_expected(&error) => return Err(io_error("delete", &folder)(error)),
        _ => {}
    }
    let located = match Located::find(git, project) {
        Err(WorkspaceError::NotARepository { .. }) => return Ok(()),
        located => located?,
    };
    let repository = &located.repository;
    let worktree = Worktree::at(repository, &layout.worktree(repository, session))?;
    if let Some(record) = worktree.record() {
        return remove(git, &layout, &record, session).map(drop);
    }
    delete(&worktree.path)?;
    let lock = repository.lock(layout.state())?;
    unregister(&worktree)?;
    drop(lock);
    Ok(())
}

/// Deletes a session's plain folder with its content.
pub(crate) fn discard_folder(
    layout: &Layout,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<(), WorkspaceError> {
    own_folder(layout, record, session)?;
    delete(&record.path)
}

fn own_folder(
    layout: &Layout,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<(), WorkspaceError> {
    let own = layout.real()?.folder(session);
    if record.mode == WorkspaceMode::Folder && record.path == own {
        return Ok(());
    }
    Err(foreign(record))
}

fn foreign(record: &WorkspaceRecord) -> WorkspaceError {
    let what = "it is not a workspace of this session in the state directory".to_owned();
    WorkspaceError::Damaged {
        path: record.path.clone(),
        what,
    }
}

fn worktree(
    git: &Git,
    layout: &Layout,
    record: &WorkspaceRecord,
    session: SessionId,
) -> Result<Removed, WorkspaceError> {
    let layout = layout.real()?;
    let (Some(common), Some(start)) = (&record.repository, &record.start) else {
        return Err(foreign(record));
    };
    git.require()?;
    let repository = Repository {
        git,
        common: common.clone(),
    };
    if record.path != layout.worktree(&repository, session) {
        return Err(foreign(record));
    }
    if !common.is_dir() {
        return Ok(Removed::Kept(record.path.clone()));
    }
    let guard = Guard::of_session(&repository, record)?;
    let repository = guard.repository(&repository);
    let worktree = Worktree::at(&repository, &record.path)?;
    let salvaged = salvage_and_delete(&layout, &worktree, start, session)?;
    let lock = repository.lock(layout.state())?;
    unregister(&worktree)?;
    drop(lock);
    Ok(Removed::Gone(salvaged))
}

/// Salvages what is there and deletes the directory. Its registration stays.
pub(crate) fn salvage_and_delete(
    layout: &Layout,
    worktree: &Worktree<'_>,
    start: &CommitId,
    session: SessionId,
) -> Result<Option<Salvage>, WorkspaceError> {
    if worktree.admin.is_none() && fs::symlink_metadata(&worktree.path).is_err() {
        return Ok(None);
    }
    let salvaged = salvage::salvage(layout, worktree, start, session)?;
    if let Some(salvage) = &salvaged
        && let Some(lost) = salvage.warnings.iter().find(|w| w.contains(UNREADABLE))
    {
        return Err(worktree.damaged(lost));
    }
    let act = Act::new(Thing::Worktree, Deed::Remove);
    let told = |error| io_error("delete", &worktree.path)(error);
    faults::around_with(act, told, || delete(&worktree.path))?;
    Ok(salvaged)
}

/// Removes the repository's entry of a worktree, locked or not. The caller holds the lock.
pub(crate) fn unregister(worktree: &Worktree<'_>) -> Result<(), WorkspaceError> {
    delete(&guard::baseline(&worktree.path))?;
    let Some(admin) = &worktree.admin else {
        return Ok(());
    };
    delete(admin)?;
    let all = worktree.repository.common.join("worktrees");
    match fs::remove_dir(&all) {
        Err(error) if !is_expected(&error) => Err(io_error("tidy", &all)(error)),
        _ => Ok(()),
    }
}

fn is_expected(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
    )
}
