//! A session's worktree: its directory, its private git directory (`<common>/worktrees/<name>`),
//! and the record inside the latter that says that preparing it was finished.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::ports::workspaces::WorkspaceError;
use domain::workspace::{CommitId, WorkspaceRecord};

use crate::{
    git::Call,
    layout::{delete, is_empty, is_real_directory},
    repository::{Repository, io_error},
};

/// Written last, synced, renamed into place: a worktree without it was never handed out, or its
/// agent removed it.
const RECORD: &str = "crewboss.json";

/// A worktree as far as it is there.
#[derive(Debug)]
pub(crate) struct Worktree<'a> {
    pub(crate) repository: &'a Repository<'a>,
    pub(crate) path: PathBuf,
    /// Its private git directory.
    pub(crate) admin: Option<PathBuf>,
}

impl<'a> Worktree<'a> {
    /// Looks for what is left of a worktree at a path.
    pub(crate) fn at(repository: &'a Repository<'a>, path: &Path) -> Result<Self, WorkspaceError> {
        let entries = entries(&repository.common)?;
        let admin = entries.into_iter().find(|(_, worktree)| worktree == path);
        Ok(Self {
            repository,
            path: path.to_owned(),
            admin: admin.map(|(admin, _)| admin),
        })
    }

    /// Whether there is a directory with anything in it.
    pub(crate) fn is_present(&self) -> bool {
        is_real_directory(&self.path) && !is_empty(&self.path)
    }

    /// The record of a finished preparation.
    pub(crate) fn record(&self) -> Option<WorkspaceRecord> {
        let text = fs::read(self.admin.as_ref()?.join(RECORD)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether preparing it was begun and not finished. Where the store has no record either, no
    /// agent ever saw it; where it has one, the file alone proves nothing.
    pub(crate) fn is_half_made(&self) -> bool {
        self.admin.is_some() && self.record().is_none()
    }

    pub(crate) fn write_record(&self, record: &WorkspaceRecord) -> Result<(), WorkspaceError> {
        let admin = self.registered()?;
        let path = admin.join(RECORD);
        let text = serde_json::to_vec(record).map_err(io::Error::from);
        let text = text.map_err(io_error("describe", &self.path))?;
        let draft = admin.join("crewboss.json.new");
        let written = File::create(&draft).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()
        });
        written.map_err(io_error("write", &draft))?;
        fs::rename(&draft, &path).map_err(io_error("write", &path))
    }

    /// Its private git directory, or what is wrong.
    pub(crate) fn registered(&self) -> Result<&Path, WorkspaceError> {
        let missing = || self.damaged("the repository does not know it any more");
        self.admin.as_deref().ok_or_else(missing)
    }

    /// A git command in it.
    pub(crate) fn call(&self) -> Call<'a> {
        let git_dir = self.admin.as_deref().unwrap_or(&self.repository.common);
        self.repository.git.worktree(git_dir, &self.path)
    }

    /// The commit of its own HEAD; `None` where that is lost or on no commit.
    pub(crate) fn head(&self) -> Result<Option<CommitId>, WorkspaceError> {
        let Some(admin) = &self.admin else {
            return Ok(None);
        };
        let ask = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        let output = self
            .repository
            .git
            .bare(admin)
            .args(ask)
            .accept(&[0, 1, 128])
            .run()?;
        if output.code == 0 {
            output.object().map(Some)
        } else {
            Ok(None)
        }
    }

    /// What its own HEAD names where that is a commit and no branch; whether it exists was not asked.
    pub(crate) fn detached_at(&self) -> Option<CommitId> {
        let head = fs::read_to_string(self.admin.as_ref()?.join("HEAD")).ok()?;
        head.trim_end().parse().ok()
    }

    /// Removes the locks that killed processes left in its private git directory. Nothing of the
    /// session may run any more.
    pub(crate) fn break_locks(&self) -> Result<(), WorkspaceError> {
        for name in ["index.lock", "HEAD.lock"] {
            if let Some(admin) = &self.admin {
                delete(&admin.join(name))?;
            }
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, what: &str) -> WorkspaceError {
        WorkspaceError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
        }
    }
}

/// The private git directories of a repository's worktrees, each with the worktree it is for.
pub(crate) fn entries(common: &Path) -> Result<Vec<(PathBuf, PathBuf)>, WorkspaceError> {
    let directory = common.join("worktrees");
    let listed = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(io_error("read", &directory))?,
    };
    let admins = listed.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    Ok(admins
        .filter_map(|admin| Some((admin.clone(), worktree_of(&admin)?)))
        .collect())
}

fn worktree_of(admin: &Path) -> Option<PathBuf> {
    let text = fs::read(admin.join("gitdir")).ok()?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    Path::new(OsStr::from_bytes(text))
        .parent()
        .map(Path::to_owned)
}
