//! The tree of everything in a worktree that is not ignored, made with a private index, so that
//! neither a broken index nor a leftover lock matters.
//!
//! Repositories that the agent created inside the worktree are taken in as plain files; git alone
//! would refuse them or record a link to commits that exist nowhere else.

use std::{
    collections::{HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::ports::workspaces::WorkspaceError;
use domain::workspace::CommitId;

use crate::{
    checkpoint,
    git::{Call, Git},
    layout::delete,
    names,
    repository::io_error,
    worktree::Worktree,
};

/// How deep repositories inside repositories are followed.
const NESTING_MAX: usize = 8;

/// From so many new files on they are written into one pack, as they are: one file to sync instead
/// of thousands, and no time for compressing what most often soon goes away again.
const PACKED_FROM: usize = 256;

/// Part of every warning about files that a snapshot lacks.
pub(crate) const UNREADABLE: &str = "could not be read";

/// How files that cannot be read are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// As a failure.
    Refuse,
    /// As a warning.
    Skip,
}

/// A tree, and what a person should know about it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) tree: CommitId,
    pub(crate) warnings: Vec<String>,
}

/// Takes the snapshot of a worktree whose directory is there; leaves the index it was made with.
pub(crate) fn take(
    worktree: &Worktree<'_>,
    head: &CommitId,
    start: &CommitId,
    index: &Path,
    unreadable: Unreadable,
) -> Result<Snapshot, WorkspaceError> {
    let mut area = Area::of(worktree, index, unreadable);
    area.seed(worktree.admin.as_deref(), head)?;
    let tree = area.tree(Some(start), 0)?;
    Ok(Snapshot {
        tree,
        warnings: area.warnings,
    })
}

/// What an earlier snapshot of the same worktree knew of its files.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    /// Its index; perhaps there is none.
    pub(crate) index: &'a Path,
}

/// Takes the snapshot of a directory, beginning with what is known of it.
pub(crate) fn take_known(
    worktree: &Worktree<'_>,
    head: Option<&CommitId>,
    start: Option<&CommitId>,
    index: &Path,
    unreadable: Unreadable,
    known: &Known<'_>,
) -> Result<Snapshot, WorkspaceError> {
    let mut area = Area::of(worktree, index, unreadable);
    area.packs = true;
    if !area.goes_on_from(known)? {
        match head {
            Some(head) => area.seed(worktree.admin.as_deref(), head)?,
            None => area.clear()?,
        }
    }
    let tree = area.tree(start, 0)?;
    // A warning has to be said again.
    let is_plain = area.warnings.is_empty();
    checkpoint::remember_copy(index, known.index, is_plain.then_some(&tree));
    Ok(Snapshot {
        tree,
        warnings: area.warnings,
    })
}

/// The tree of a directory in which nothing is other than an earlier snapshot found it: one question
/// in place of many. `None` where that is not sure.
pub(crate) fn unchanged(
    worktree: &Worktree<'_>,
    index: &Path,
    known: &Known<'_>,
) -> Result<Option<CommitId>, WorkspaceError> {
    let area = Area::of(worktree, index, Unreadable::Refuse);
    area.clear()?;
    if checkpoint::copy_index(known.index, &area.index).is_err() {
        return Ok(None);
    }
    let Some(tree) = checkpoint::known_tree(known.index, &area.index) else {
        return Ok(None);
    };
    let ask = [
        "ls-files",
        "-z",
        "--others",
        "--modified",
        "--deleted",
        "--exclude-standard",
    ];
    Ok(match area.call().args(ask).run() {
        Ok(found) if found.stdout.is_empty() && found.stderr.is_empty() => Some(tree),
        Ok(_) | Err(_) => None,
    })
}

/// The tree of an index after a snapshot, with the ignored files too.
pub(crate) fn with_ignored(
    worktree: &Worktree<'_>,
    index: &Path,
) -> Result<Snapshot, WorkspaceError> {
    let mut area = Area::of(worktree, index, Unreadable::Skip);
    let ask = [
        "ls-files",
        "-z",
        "--others",
        "--ignored",
        "--exclude-standard",
    ];
    let output = area.call().args(ask).run()?;
    let (mut files, mut nested) = (Vec::new(), Vec::new());
    for name in output
        .items()
        .filter(|name| !checkpoint::is_of_crewboss(name))
    {
        match name.strip_suffix(b"/") {
            Some(name) => nested.push(name.to_vec()),
            None => files.push(name),
        }
    }
    if !files.is_empty() {
        let call = area.call().args(["update-index", "--add", "-z", "--stdin"]);
        call.stdin(files.join(&0)).run()?;
    }
    for name in nested {
        let shown = names::shown(&name);
        area.warnings.push(format!(
            "{shown} is an ignored git repository of its own and was left out"
        ));
    }
    Ok(Snapshot {
        tree: area.call().args(["write-tree"]).run()?.object()?,
        warnings: area.warnings,
    })
}

/// A directory and the index that it is gathered in.
#[derive(Debug)]
struct Area<'a> {
    git: &'a Git,
    git_dir: &'a Path,
    root: PathBuf,
    index: PathBuf,
    /// Ignore rules from above; of a nested repository only.
    excludes: Option<OsString>,
    unreadable: Unreadable,
    /// Whether many new files are written into a pack: what is committed for good is not.
    packs: bool,
    warnings: Vec<String>,
}

impl<'a> Area<'a> {
    fn of(worktree: &'a Worktree<'_>, index: &Path, unreadable: Unreadable) -> Self {
        let git_dir = worktree
            .admin
            .as_deref()
            .unwrap_or(&worktree.repository.common);
        Self {
            git: worktree.repository.git,
            git_dir,
            root: worktree.path.clone(),
            index: index.to_owned(),
            excludes: None,
            unreadable,
            packs: false,
            warnings: Vec::new(),
        }
    }

    /// Begins with an earlier snapshot's index. Not where it has files that are ignored: it cannot
    /// say whether they are tracked or were not ignored then.
    fn goes_on_from(&self, known: &Known<'_>) -> Result<bool, WorkspaceError> {
        self.clear()?;
        if checkpoint::copy_index(known.index, &self.index).is_err() {
            return Ok(false);
        }
        let ask = [
            "ls-files",
            "-z",
            "--cached",
            "--ignored",
            "--exclude-standard",
        ];
        Ok(match self.call().args(ask).run() {
            Ok(output) => output.stdout.is_empty(),
            Err(_) => false,
        })
    }

    fn call(&self) -> Call<'a> {
        let call = self
            .git
            .worktree(self.git_dir, &self.root)
            .env("GIT_INDEX_FILE", &self.index);
        match &self.excludes {
            Some(setting) => call.config(setting),
            None => call,
        }
    }

    fn clear(&self) -> Result<(), WorkspaceError> {
        let mut lock = self.index.clone().into_os_string();
        lock.push(".lock");
        delete(Path::new(&lock))?;
        delete(&self.index)
    }

    /// Begins with a copy of the worktree's index, which knows what need not be read again, or,
    /// where that is unreadable, with the tree of HEAD. The copy keeps the index's time: by it git
    /// knows which files may have been changed, to the same size, in the second in which they were
    /// checked out.
    fn seed(&self, admin: Option<&Path>, head: &CommitId) -> Result<(), WorkspaceError> {
        self.clear()?;
        let copied = admin
            .is_some_and(|admin| checkpoint::copy_index(&admin.join("index"), &self.index).is_ok());
        if copied && self.unhide().is_ok() {
            return Ok(());
        }
        self.clear()?;
        self.call()
            .args(["read-tree", head.as_str()])
            .run()
            .map(drop)
    }

    /// Takes away the marks that make git overlook changes.
    fn unhide(&self) -> Result<(), WorkspaceError> {
        let output = self.call().args(["ls-files", "-v", "-z"]).run()?;
        let (mut assumed, mut skipped) = (Vec::new(), Vec::new());
        for item in output.items() {
            let (tag, name) = (item[0], item.get(2..).unwrap_or_default());
            if tag.is_ascii_lowercase() {
                assumed.push(name);
            }
            let there = || fs::symlink_metadata(self.root.join(names::path(name))).is_ok();
            if tag.eq_ignore_ascii_case(&b'S') && there() {
                skipped.push(name);
            }
        }
        self.mark("--no-assume-unchanged", &assumed)?;
        self.mark("--no-skip-worktree", &skipped)
    }

    fn mark(&self, mark: &str, files: &[&[u8]]) -> Result<(), WorkspaceError> {
        if files.is_empty() {
            return Ok(());
        }
        let call = self.call().args(["update-index", mark, "-z", "--stdin"]);
        call.stdin(files.join(&0)).run().map(drop)
    }

    fn tree(&mut self, start: Option<&CommitId>, depth: usize) -> Result<CommitId, WorkspaceError> {
        let (nested, files) = self.untracked()?;
        self.add(&nested, self.packs && files >= PACKED_FROM)?;
        let mut inside: Vec<Vec<u8>> = nested;
        inside.extend(self.foreign_links(start)?);
        for name in inside {
            self.take_in(&name, depth)?;
        }
        self.call().args(["write-tree"]).run()?.object()
    }

    /// The repositories that are not tracked, and how many files are not.
    fn untracked(&self) -> Result<(Vec<Vec<u8>>, usize), WorkspaceError> {
        let ask = ["ls-files", "-z", "--others", "--exclude-standard"];
        let output = self.call().args(ask).run()?;
        let directories = output.items().filter_map(|name| name.strip_suffix(b"/"));
        let directories: Vec<Vec<u8>> = directories.map(<[u8]>::to_vec).collect();
        let files = output.items().count() - directories.len();
        Ok((directories, files))
    }

    fn add(&mut self, except: &[Vec<u8>], into_pack: bool) -> Result<(), WorkspaceError> {
        let mut paths = b":(top)\0".to_vec();
        for name in except {
            paths.extend_from_slice(b":(top,exclude,literal)");
            paths.extend_from_slice(name);
            paths.push(0);
        }
        let mut call = self.call();
        if into_pack {
            call = call
                .config(OsStr::new("core.bigFileThreshold=1"))
                .config(OsStr::new("pack.compression=0"));
        }
        call = call.args(["add", "--all", "--sparse"]);
        if self.unreadable == Unreadable::Skip {
            call = call.arg("--ignore-errors").accept(&[0, 1]);
        }
        let call = call.args(["--pathspec-from-file=-", "--pathspec-file-nul"]);
        let output = call.stdin(paths).run()?;
        // Git leaves out a directory that it may not open, and calls that a success.
        if output.code == 0 && !output.stderr.contains("could not open directory") {
            return Ok(());
        }
        let lost = format!("some files {UNREADABLE}: {}", output.stderr);
        if self.unreadable == Unreadable::Refuse {
            return Err(WorkspaceError::Damaged {
                path: self.root.clone(),
                what: lost,
            });
        }
        self.warnings.push(lost);
        Ok(())
    }

    /// The links to other repositories that the start did not have and no `.gitmodules` explains.
    fn foreign_links(&mut self, start: Option<&CommitId>) -> Result<Vec<Vec<u8>>, WorkspaceError> {
        let output = self.call().args(["ls-files", "--stage", "-z"]).run()?;
        let links: Vec<_> = output.items().filter_map(link).collect();
        if links.is_empty() {
            return Ok(Vec::new());
        }
        let known = start.map_or_else(|| Ok(HashMap::new()), |start| self.links_of(start))?;
        let declared = self.declared_submodules()?;
        let mut foreign = Vec::new();
        for (name, commit) in links {
            let is_repository = self.root.join(names::path(&name)).join(".git").exists();
            if known.get(&name) == Some(&commit) {
                continue;
            }
            if known.contains_key(&name) || declared.contains(&name) || !is_repository {
                let shown = names::shown(&name);
                let commit = String::from_utf8_lossy(&commit).into_owned();
                self.warnings.push(format!("submodule {shown} now points to {commit}; publish that commit in its own repository"));
            } else {
                foreign.push(name);
            }
        }
        Ok(foreign)
    }

    /// The links to other repositories in a commit.
    fn links_of(&self, commit: &CommitId) -> Result<HashMap<Vec<u8>, Vec<u8>>, WorkspaceError> {
        let output = self
            .call()
            .args(["ls-tree", "-r", "-z", "--full-tree", commit.as_str()])
            .run()?;
        Ok(output.items().filter_map(tree_link).collect())
    }

    fn declared_submodules(&self) -> Result<HashSet<Vec<u8>>, WorkspaceError> {
        let file = self.root.join(".gitmodules");
        if !file.is_file() {
            return Ok(HashSet::new());
        }
        let call = self.call().args(["config", "--null", "--file"]).arg(file);
        let output = call
            .args(["--get-regexp", "\\.path$"])
            .accept(&[0, 1])
            .run()?;
        let paths = output
            .items()
            .filter_map(|item| item.split(|b| *b == b'\n').nth(1));
        Ok(paths.map(<[u8]>::to_vec).collect())
    }

    /// Puts the files of a repository inside this one into the index, in the place of a link.
    fn take_in(&mut self, name: &[u8], depth: usize) -> Result<(), WorkspaceError> {
        let shown = names::shown(name);
        if depth == NESTING_MAX {
            self.warnings.push(format!(
                "{shown} is a repository nested too deep and was left out"
            ));
            return Ok(());
        }
        let mut index = self.index.clone().into_os_string();
        index.push(".nested");
        let mut nested = Self {
            git: self.git,
            git_dir: self.git_dir,
            root: self.root.join(names::path(name)),
            index: index.into(),
            excludes: self.excludes_for_nested(),
            unreadable: self.unreadable,
            packs: self.packs,
            warnings: Vec::new(),
        };
        nested.clear()?;
        let tree = nested.tree(None, depth + 1);
        nested.clear()?;
        let tree = tree?;
        self.warnings.append(&mut nested.warnings);
        self.warnings.push(format!(
            "{shown} is a git repository of its own: its files were taken, its history was not"
        ));
        let remove = self
            .call()
            .args(["update-index", "-z", "--force-remove", "--stdin"]);
        remove.stdin(name).run()?;
        let mut prefix = OsString::from("--prefix=");
        prefix.push(OsStr::from_bytes(name));
        prefix.push("/");
        self.call()
            .arg("read-tree")
            .arg(prefix)
            .arg(tree.as_str())
            .run()
            .map(drop)
    }

    fn excludes_for_nested(&self) -> Option<OsString> {
        let above = self.root.join(".gitignore");
        let mut setting = OsString::from("core.excludesFile=");
        setting.push(&above);
        if above.is_file() {
            Some(setting)
        } else {
            self.excludes.clone()
        }
    }
}

/// `160000 <id> <stage>\t<name>` of `ls-files --stage`.
fn link(item: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (head, name) = split_at_tab(item.strip_prefix(b"160000 ")?)?;
    Some((name.to_vec(), head.split(|b| *b == b' ').next()?.to_vec()))
}

/// `160000 commit <id>\t<name>` of `ls-tree`.
fn tree_link(item: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (id, name) = split_at_tab(item.strip_prefix(b"160000 commit ")?)?;
    Some((name.to_vec(), id.to_vec()))
}

fn split_at_tab(item: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = item.iter().position(|byte| *byte == b'\t')?;
    Some((&item[..tab], &item[tab + 1..]))
}

/// Makes the private index the worktree's own.
pub(crate) fn install_index(index: &Path, admin: &Path) -> Result<(), WorkspaceError> {
    fs::rename(index, admin.join("index")).map_err(io_error("replace the index of", admin))
}
