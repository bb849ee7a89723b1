//! The user's checkouts of a branch: finding them, and what forbids updating them.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::ports::workspaces::WorkspaceError;
use domain::workspace::CommitId;

use crate::{
    git::Git,
    names,
    repository::{Repository, io_error, rebased_branch},
};

/// What lies in a git directory while a command waits for the user.
const IN_PROGRESS: &[(&str, &str)] = &[
    ("rebase-merge", "a rebase is in progress"),
    ("rebase-apply", "a rebase or `git am` is in progress"),
    ("MERGE_HEAD", "a merge is in progress"),
    ("CHERRY_PICK_HEAD", "a cherry-pick is in progress"),
    ("REVERT_HEAD", "a revert is in progress"),
    ("sequencer", "a cherry-pick or revert is in progress"),
    (
        "index.lock",
        "another git command is running or was killed (index.lock exists)",
    ),
];

/// The directory in which a branch is checked out; refuses where there are several.
pub(crate) fn checkout_of(
    repository: &Repository<'_>,
    branch: &str,
) -> Result<Option<PathBuf>, WorkspaceError> {
    let output = repository
        .call()
        .args(["worktree", "list", "--porcelain", "-z"])
        .run()?;
    let wanted = format!("branch refs/heads/{branch}");
    let mut current = None;
    let mut found = Vec::new();
    for item in output.items() {
        if let Some(path) = item.strip_prefix(b"worktree ") {
            current = Some(PathBuf::from(OsStr::from_bytes(path)));
        } else if item == wanted.as_bytes() {
            found.extend(current.take().filter(|path| path.is_dir()));
        }
    }
    if found.len() > 1 {
        let what = format!("`{branch}` is checked out in {} worktrees", found.len());
        return Err(WorkspaceError::OperationInProgress {
            checkout: found.swap_remove(0),
            what,
        });
    }
    Ok(found.pop())
}

/// Refuses while any worktree rebases the branch: the rebase would undo the move at its end.
pub(crate) fn refuse_rebased(
    repository: &Repository<'_>,
    branch: &str,
) -> Result<(), WorkspaceError> {
    let mut git_dirs = vec![repository.common.clone()];
    let entries = crate::worktree::entries(&repository.common)?;
    git_dirs.extend(entries.into_iter().map(|(admin, _)| admin));
    for checkout in git_dirs {
        let updates = fs::read(checkout.join("rebase-merge/update-refs")).unwrap_or_default();
        let reference = format!("refs/heads/{branch}");
        let is_updated = updates
            .split(|b| *b == b'\n')
            .any(|line| line == reference.as_bytes());
        if is_updated || rebased_branch(&checkout).as_deref() == Some(branch) {
            let what = format!("a rebase of `{branch}` is in progress");
            return Err(WorkspaceError::OperationInProgress { checkout, what });
        }
    }
    Ok(())
}

/// Refuses a checkout that is in the middle of something or has uncommitted changes.
pub(crate) fn refuse_busy_or_dirty(git: &Git, checkout: &Path) -> Result<(), WorkspaceError> {
    let ask = ["rev-parse", "--path-format=absolute", "--git-dir"];
    let git_dir = git.discover(checkout).args(ask).run()?.path();
    if let Some((_, what)) = IN_PROGRESS
        .iter()
        .find(|(name, _)| git_dir.join(name).exists())
    {
        let (checkout, what) = (checkout.to_owned(), (*what).to_owned());
        return Err(WorkspaceError::OperationInProgress { checkout, what });
    }
    let ask = ["status", "--porcelain=v2", "-z", "--untracked-files=no"];
    let output = git
        .discover(checkout)
        .args(ask)
        .arg("--ignore-submodules=dirty")
        .run()?;
    let files = dirty_files(&output.stdout);
    if files.is_empty() {
        return Ok(());
    }
    Err(WorkspaceError::DirtyTarget {
        checkout: checkout.to_owned(),
        files,
    })
}

/// The names in `status --porcelain=v2 -z`: the last field, behind a number of fields that
/// depends on the kind of the entry.
fn dirty_files(stdout: &[u8]) -> Vec<String> {
    let mut items = stdout
        .split(|byte| *byte == 0)
        .filter(|item| !item.is_empty());
    let mut files = Vec::new();
    while let Some(item) = items.next() {
        let fields = match item[0] {
            b'1' => 9,
            b'2' => 10,
            b'u' => 11,
            _ => continue,
        };
        files.extend(
            item.splitn(fields, |byte| *byte == b' ')
                .nth(fields - 1)
                .map(names::shown),
        );
        if item[0] == b'2' {
            items.next();
        }
    }
    files
}

/// Refuses where a file that the merge adds is there already, untracked, ignored ones too.
pub(crate) fn refuse_overwriting(
    repository: &Repository<'_>,
    checkout: &Path,
    old: &CommitId,
    new: &CommitId,
) -> Result<(), WorkspaceError> {
    let deleted: HashSet<Vec<u8>> = names_of(repository, "D", old, new)?.into_iter().collect();
    let mut files = Vec::new();
    for added in names_of(repository, "A", old, new)? {
        if let Some(file) = in_the_way(checkout, &added, &deleted)
            .map_err(io_error("look for untracked files in", checkout))?
        {
            files.push(names::shown(&file));
        }
    }
    files.dedup();
    if files.is_empty() {
        return Ok(());
    }
    Err(WorkspaceError::WouldOverwrite {
        checkout: checkout.to_owned(),
        files,
    })
}

fn names_of(
    repository: &Repository<'_>,
    kind: &str,
    old: &CommitId,
    new: &CommitId,
) -> Result<Vec<Vec<u8>>, WorkspaceError> {
    let ask = ["diff-tree", "-r", "-z", "--no-renames", "--name-only"];
    let call = repository
        .call()
        .args(ask)
        .arg(format!("--diff-filter={kind}"));
    let output = call.args([old.as_str(), new.as_str()]).run()?;
    Ok(output.items().map(<[u8]>::to_vec).collect())
}

/// The untracked file at, above or below the place of a new one.
fn in_the_way(
    checkout: &Path,
    added: &[u8],
    deleted: &HashSet<Vec<u8>>,
) -> io::Result<Option<Vec<u8>>> {
    let slashes = added
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(at, _)| at);
    for end in slashes.chain([added.len()]) {
        let name = &added[..end];
        let metadata = match fs::symlink_metadata(checkout.join(names::path(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            metadata => metadata?,
        };
        if !metadata.is_dir() {
            return Ok((!deleted.contains(name)).then(|| name.to_vec()));
        }
    }
    untracked_below(checkout, added, deleted)
}

fn untracked_below(
    checkout: &Path,
    directory: &[u8],
    deleted: &HashSet<Vec<u8>>,
) -> io::Result<Option<Vec<u8>>> {
    for entry in fs::read_dir(checkout.join(names::path(directory)))? {
        let entry = entry?;
        let mut name = directory.to_vec();
        name.push(b'/');
        name.extend_from_slice(entry.file_name().as_bytes());
        if entry.file_type()?.is_dir() {
            if let Some(file) = untracked_below(checkout, &name, deleted)? {
                return Ok(Some(file));
            }
        } else if !deleted.contains(&name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::dirty_files;

    #[test]
    fn every_kind_of_entry_names_its_file() {
        let output = b"1 .M N... 100644 100644 100644 a a one two\n\0\
            2 R. N... 100644 100644 100644 a a R100 new\0old\0\
            u UU N... 100644 100644 100644 100644 a b c both\0? untracked\0";
        assert_eq!(dirty_files(output), ["one two\n", "new", "both"]);
    }
}
