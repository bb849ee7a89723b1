//! A repository as seen from a project's directory: its common git directory, its lock, its
//! references and commits.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::workspaces::{Target, WorkspaceError},
};
use domain::workspace::CommitId;
use sha2::{Digest, Sha256};

use crate::{
    git::{Call, Git},
    identity::Identity,
    layout::make_private,
};

/// A repository, by its common git directory.
#[derive(Debug)]
pub(crate) struct Repository<'a> {
    pub(crate) git: &'a Git,
    pub(crate) common: PathBuf,
}

/// A project's place in its repository.
#[derive(Debug)]
pub(crate) struct Located<'a> {
    pub(crate) repository: Repository<'a>,
    /// The project's directory.
    pub(crate) project: PathBuf,
    /// The project's directory below the root of the checkout; empty where it is the root.
    pub(crate) prefix: PathBuf,
}

impl<'a> Located<'a> {
    /// Finds the repository around a directory.
    pub(crate) fn find(git: &'a Git, project: &Path) -> Result<Self, WorkspaceError> {
        git.require()?;
        let project = fs::canonicalize(project).map_err(io_error("find", project))?;
        let ask = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let common = match git.discover(&project).args(ask).run() {
            Err(WorkspaceError::Git { message, .. })
                if message.contains("not a git repository") =>
            {
                return Err(WorkspaceError::NotARepository { path: project });
            }
            answer => answer?.path(),
        };
        let common = fs::canonicalize(&common).map_err(io_error("find", &common))?;
        let prefix = git
            .discover(&project)
            .args(["rev-parse", "--show-prefix"])
            .run()?
            .path();
        Ok(Self {
            repository: Repository { git, common },
            project,
            prefix,
        })
    }

    /// The root of the checkout that the project is in.
    pub(crate) fn root(&self) -> &Path {
        let depth = self.prefix.components().count();
        self.project.ancestors().nth(depth).unwrap_or(&self.project)
    }

    /// The target branch, configured or HEAD's, and its tip.
    pub(crate) fn target(&self, configured: Option<&str>) -> Result<Target, WorkspaceError> {
        if let Some(branch) = configured {
            let commit = self.repository.branch(branch)?;
            let missing = || WorkspaceError::TargetMissing {
                branch: branch.to_owned(),
            };
            return Ok(Target {
                branch: Some(branch.to_owned()),
                commit: commit.ok_or_else(missing)?,
            });
        }
        let branch = self.head_branch()?;
        let commit = match &branch {
            Some(branch) => self.repository.branch(branch)?,
            None => self.resolve_head()?,
        };
        let none = || WorkspaceError::NoCommits {
            path: self.project.clone(),
        };
        Ok(Target {
            branch,
            commit: commit.ok_or_else(none)?,
        })
    }

    /// The branch that HEAD points to, or that a rebase in progress will return to.
    pub(crate) fn head_branch(&self) -> Result<Option<String>, WorkspaceError> {
        let git = self.repository.git;
        let ask = ["symbolic-ref", "--quiet", "HEAD"];
        let output = git
            .discover(&self.project)
            .args(ask)
            .accept(&[0, 1])
            .run()?;
        if output.code == 0 {
            let name = String::from_utf8_lossy(output.line()).into_owned();
            return Ok(name.strip_prefix("refs/heads/").map(str::to_owned));
        }
        let ask = ["rev-parse", "--path-format=absolute", "--git-dir"];
        let git_dir = git.discover(&self.project).args(ask).run()?.path();
        Ok(rebased_branch(&git_dir))
    }

    fn resolve_head(&self) -> Result<Option<CommitId>, WorkspaceError> {
        let ask = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"];
        let output = self
            .repository
            .git
            .discover(&self.project)
            .args(ask)
            .accept(&[0, 1])
            .run()?;
        if output.code == 0 {
            output.object().map(Some)
        } else {
            Ok(None)
        }
    }
}

impl Repository<'_> {
    /// A command on this repository's objects and references.
    pub(crate) fn call(&self) -> Call<'_> {
        self.git.bare(&self.common)
    }

    /// A name for this repository that is unique on this machine and may be part of a path.
    pub(crate) fn key(&self) -> String {
        let digest = Sha256::digest(self.common.as_os_str().as_bytes());
        let number = digest
            .iter()
            .take(6)
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let checkout = match self.common.file_name() {
            Some(name) if name == ".git" => self.common.parent().and_then(Path::file_name),
            name => name,
        };
        let name = domain::workspace::slug(&checkout.unwrap_or(OsStr::new("")).to_string_lossy());
        format!("{name}-{number:012x}")
    }

    /// Where a branch points; `None` where it does not exist or cannot exist.
    pub(crate) fn branch(&self, branch: &str) -> Result<Option<CommitId>, WorkspaceError> {
        let reference = format!("refs/heads/{branch}");
        let check = self
            .call()
            .args(["check-ref-format", &reference])
            .accept(&[0, 1])
            .run()?;
        if check.code == 0 {
            self.reference(&reference)
        } else {
            Ok(None)
        }
    }

    /// The commit that a well-formed reference points to.
    pub(crate) fn reference(&self, reference: &str) -> Result<Option<CommitId>, WorkspaceError> {
        self.resolve(&format!("{reference}^{{commit}}"))
    }

    /// The commit with this id, checked to be there.
    pub(crate) fn commit(&self, id: &CommitId) -> Result<CommitId, WorkspaceError> {
        let found = self.resolve(&format!("{id}^{{commit}}"))?;
        found.ok_or_else(|| WorkspaceError::Unknown {
            what: id.to_string(),
        })
    }

    /// The tree of a commit.
    pub(crate) fn tree(&self, commit: &CommitId) -> Result<CommitId, WorkspaceError> {
        let found = self.resolve(&format!("{commit}^{{tree}}"))?;
        found.ok_or_else(|| WorkspaceError::Unknown {
            what: commit.to_string(),
        })
    }

    fn resolve(&self, expression: &str) -> Result<Option<CommitId>, WorkspaceError> {
        let ask = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            expression,
        ];
        let output = self.call().args(ask).accept(&[0, 1, 128]).run()?;
        if output.code == 0 {
            output.object().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn is_ancestor(
        &self,
        ancestor: &CommitId,
        descendant: &CommitId,
    ) -> Result<bool, WorkspaceError> {
        let ask = [
            "merge-base",
            "--is-ancestor",
            ancestor.as_str(),
            descendant.as_str(),
        ];
        Ok(self.call().args(ask).accept(&[0, 1]).run()?.code == 0)
    }

    /// Makes a commit of a tree; references nothing.
    pub(crate) fn commit_tree(
        &self,
        tree: &CommitId,
        parents: &[&CommitId],
        message: &str,
        identity: &Identity,
    ) -> Result<CommitId, WorkspaceError> {
        let mut call = identity
            .sign(self.call())
            .args(["commit-tree", tree.as_str()]);
        for parent in parents {
            call = call.args(["-p", parent.as_str()]);
        }
        call.args(["-F", "-"]).stdin(message).run()?.object()
    }

    /// Moves a reference from `old` (`None`: it must not exist); `false` where it is elsewhere.
    pub(crate) fn update_ref(
        &self,
        reference: &str,
        new: &CommitId,
        old: Option<&CommitId>,
        why: &str,
    ) -> Result<bool, WorkspaceError> {
        let expected = old.map_or_else(|| new.zeros(), ToString::to_string);
        let change = ["update-ref", "-m", why, reference, new.as_str(), &expected];
        let act = Act::new(Thing::Reference, Deed::Move);
        let told = |error| io_error("write to", &self.common)(error);
        let moved = faults::around_with(act, told, || self.call().args(change).run());
        match moved {
            Ok(_) => Ok(true),
            Err(error) => match self.reference(reference)? {
                Some(there) if there == *new => Ok(true),
                there if there.as_ref() == old => Err(error),
                _ => Ok(false),
            },
        }
    }

    /// The user's configured identity, else Crewboss's own.
    pub(crate) fn identity(&self) -> Result<Identity, WorkspaceError> {
        match self.git.identity() {
            Some(identity) => Ok(identity.clone()),
            None => Identity::configured(self.call()),
        }
    }

    /// Takes the repository's lock, which every process and thread that makes or removes
    /// worktrees or merges waits for. Dropping the file or dying releases it.
    pub(crate) fn lock(&self, state_directory: &Path) -> Result<File, WorkspaceError> {
        let directory = state_directory.join("locks");
        make_private(&directory)?;
        let path = directory.join(format!("{}.lock", self.key()));
        let open = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = open.map_err(io_error("open", &path))?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_error("lock", &path)(error)),
            }
        }
    }
}

/// The branch that a rebase in this git directory will return to.
pub(crate) fn rebased_branch(git_dir: &Path) -> Option<String> {
    ["rebase-merge/head-name", "rebase-apply/head-name"]
        .iter()
        .find_map(|name| {
            let text = fs::read_to_string(git_dir.join(name)).ok()?;
            text.trim_end()
                .strip_prefix("refs/heads/")
                .map(str::to_owned)
        })
}

/// Turns what the file system said into an error that names the path.
pub(crate) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> WorkspaceError + use<> {
    let path = path.to_owned();
    move |source| WorkspaceError::Io {
        action,
        path,
        source,
    }
}
