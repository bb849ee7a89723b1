//! What lies where in the state directory. Every name below it is made of an id or a digest.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use app::ports::workspaces::WorkspaceError;
use domain::id::SessionId;

use crate::repository::{Repository, io_error};

/// How often deleting a directory is tried while something still writes into it.
const DELETE_ATTEMPTS_MAX: usize = 5;

/// The state directory.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    state: PathBuf,
}

impl Layout {
    pub(crate) fn new(state: PathBuf) -> Self {
        Self { state }
    }

    /// The state directory by its real name, made where it is missing: git records real names.
    pub(crate) fn real(&self) -> Result<Self, WorkspaceError> {
        make_private(&self.state)?;
        let state = fs::canonicalize(&self.state).map_err(io_error("find", &self.state))?;
        Ok(Self { state })
    }

    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn worktrees(&self, repository: &Repository<'_>) -> PathBuf {
        self.state.join("worktrees").join(repository.key())
    }

    pub(crate) fn worktree(&self, repository: &Repository<'_>, session: SessionId) -> PathBuf {
        self.worktrees(repository).join(session.to_string())
    }

    pub(crate) fn folders(&self) -> PathBuf {
        self.state.join("folders")
    }

    pub(crate) fn folder(&self, session: SessionId) -> PathBuf {
        self.folders().join(session.to_string())
    }

    /// Where the private index of a worktree goes that has no git directory any more.
    pub(crate) fn scratch_index(&self, session: SessionId) -> Result<PathBuf, WorkspaceError> {
        let directory = self.state.join("scratch");
        make_private(&directory)?;
        Ok(directory.join(format!("{session}-index")))
    }
}

/// Makes a directory of ours, with those above it, that only the user may look into.
pub(crate) fn make_private(directory: &Path) -> Result<(), WorkspaceError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error("create", directory))
}

/// The sessions that have an entry in a directory, with its path.
pub(crate) fn sessions_in(directory: &Path) -> Result<Vec<(SessionId, PathBuf)>, WorkspaceError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("read", directory))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("read", directory))?;
        if let Some(session) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            found.push((session, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a path is a directory itself, reached through no link.
pub(crate) fn is_real_directory(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|real| real == path) && path.is_dir()
}

pub(crate) fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Deletes a file, a link or a whole directory; read-only directories below it too. Nothing there
/// is fine. Links are never followed.
pub(crate) fn delete(path: &Path) -> Result<(), WorkspaceError> {
    let mut outcome = delete_once(path);
    for _ in 1..DELETE_ATTEMPTS_MAX {
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open_up(path),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => break,
        }
        outcome = delete_once(path);
    }
    outcome.map_err(io_error("delete", path))
}

fn delete_once(path: &Path) -> io::Result<()> {
    let deleted = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match deleted {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes the directories below a path deletable as far as the system lets us.
fn open_up(directory: &Path) {
    if !fs::symlink_metadata(directory).is_ok_and(|metadata| metadata.is_dir()) {
        return;
    }
    // Where this fails, deleting fails again and says why.
    drop(fs::set_permissions(
        directory,
        fs::Permissions::from_mode(0o700),
    ));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}
