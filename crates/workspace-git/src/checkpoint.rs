//! Checkpoints: the tree of a workspace as a commit of the repository or, where there is none, of
//! a private one in the state directory.

use std::{
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::workspaces::{CheckpointRequest, CheckpointTree, KeptCheckpoint, WorkspaceError},
};
use domain::{
    id::CheckpointId,
    workspace::{CommitId, WorkspaceMode},
};
use sha2::{Digest as _, Sha256};

use crate::{
    git::Git,
    guard::Guard,
    layout::{Layout, delete, is_empty, make_private},
    repository::{Located, Repository, io_error},
    snapshot::{self, Known, Unreadable},
    worktree::Worktree,
};

/// Where checkpoints are kept.
pub(crate) const NAMESPACE: &str = "refs/crewboss/checkpoints/";

/// A file that goes away while it is read is no reason to have no checkpoint.
const ATTEMPTS: usize = 3;

/// The project's own repository, where it is in one.
fn own<'a>(git: &'a Git, project: &Path) -> Result<Option<Located<'a>>, WorkspaceError> {
    match Located::find(git, project) {
        Ok(located) => Ok(Some(located)),
        Err(WorkspaceError::NotARepository { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the private repository of a project is.
fn private_place(layout: &Layout, project: &Path) -> Result<PathBuf, WorkspaceError> {
    let project = fs::canonicalize(project).map_err(io_error("find", project))?;
    let digest = Sha256::digest(project.as_os_str().as_bytes());
    let key = app::hex::hex(&digest[..6]);
    Ok(layout
        .real()?
        .state()
        .join("checkpoints")
        .join(format!("{key}.git")))
}

/// The private repository of a project, where there is one.
fn private<'a>(
    git: &'a Git,
    layout: &Layout,
    project: &Path,
) -> Result<Option<Repository<'a>>, WorkspaceError> {
    let common = private_place(layout, project)?;
    Ok(common
        .join("HEAD")
        .is_file()
        .then_some(Repository { git, common }))
}

/// The same, made where it is missing: whole or not at all.
fn private_made<'a>(
    git: &'a Git,
    layout: &Layout,
    project: &Path,
) -> Result<Repository<'a>, WorkspaceError> {
    if let Some(repository) = private(git, layout, project)? {
        return Ok(repository);
    }
    let common = private_place(layout, project)?;
    let parent = common.parent().unwrap_or(&common).to_owned();
    make_private(&parent)?;
    let repository = Repository { git, common };
    let _lock = repository.lock(layout.real()?.state())?;
    if repository.common.join("HEAD").is_file() {
        return Ok(repository);
    }
    let draft = repository.common.with_extension("new");
    delete(&draft)?;
    delete(&repository.common)?;
    git.discover(&parent)
        .args(["init", "--quiet", "--bare", "--template="])
        .arg(&draft)
        .run()?;
    fs::rename(&draft, &repository.common).map_err(io_error("make", &repository.common))?;
    Ok(repository)
}

/// Keeps the workspace's tree as a commit, and the commit by a reference.
pub(crate) fn take(
    git: &Git,
    layout: &Layout,
    request: &CheckpointRequest,
) -> Result<CheckpointTree, WorkspaceError> {
    let record = &request.workspace;
    let repository = match (&record.repository, record.mode) {
        (Some(common), WorkspaceMode::Worktree) => Repository {
            git,
            common: common.clone(),
        },
        (_, WorkspaceMode::InPlace) => match own(git, &record.path)? {
            Some(located) => return in_checkout(&located, request),
            None => private_made(git, layout, &request.project)?,
        },
        _ => private_made(git, layout, &request.project)?,
    };
    if record.mode != WorkspaceMode::Worktree {
        let worktree = Worktree {
            repository: &repository,
            path: record.path.clone(),
            admin: None,
        };
        return kept(&worktree, None, request);
    }
    let guard = Guard::of_session(&repository, record)?;
    let repository = guard.repository(&repository);
    let worktree = Worktree::at(&repository, &record.path)?;
    let gone = !worktree.is_present();
    if let Some(commit) = request
        .commit
        .as_ref()
        .or(record.start.as_ref().filter(|_| gone))
    {
        return of_commit(&repository, request, &repository.commit(commit)?);
    }
    let parent = match worktree
        .detached_at()
        .filter(|at| record.start.as_ref() == Some(at))
    {
        Some(start) => Some(start),
        None => worktree.head()?.or_else(|| record.start.clone()),
    };
    let mut tree = kept(&worktree, parent.as_ref(), request)?;
    tree.warnings.extend(guard.warnings);
    Ok(tree)
}

/// Of the user's own checkout, whose index is only read.
fn in_checkout(
    located: &Located<'_>,
    request: &CheckpointRequest,
) -> Result<CheckpointTree, WorkspaceError> {
    let git = located.repository.git;
    let ask = ["rev-parse", "--path-format=absolute", "--git-dir"];
    let admin = git.discover(&located.project).args(ask).run()?.path();
    let worktree = Worktree {
        repository: &located.repository,
        path: located.root().to_owned(),
        admin: Some(admin),
    };
    kept(&worktree, worktree.head()?.as_ref(), request)
}

/// Of work that has ended: what its session left.
fn of_commit(
    repository: &Repository<'_>,
    request: &CheckpointRequest,
    commit: &CommitId,
) -> Result<CheckpointTree, WorkspaceError> {
    let tree = repository.tree(commit)?;
    let made = record(repository, request, &tree, &[commit])?;
    finish(repository, request, made, None, tree, None, vec![])
}

fn kept(
    worktree: &Worktree<'_>,
    parent: Option<&CommitId>,
    request: &CheckpointRequest,
) -> Result<CheckpointTree, WorkspaceError> {
    if !fs::symlink_metadata(&worktree.path).is_ok_and(|found| found.is_dir()) {
        return Err(worktree.damaged("it is gone"));
    }
    let repository = worktree.repository;
    let snapshot = snapshot_of(worktree, parent, request)?;
    let mut warnings = snapshot.warnings;
    let parents: Vec<&CommitId> = parent.into_iter().collect();
    let commit = record(repository, request, &snapshot.tree, &parents)?;
    if !request.with_ignored {
        // As long as nobody has committed, what it builds on is the same.
        let is_base = parent == request.workspace.start.as_ref();
        let known = request.known_tree.as_ref();
        let known = known.filter(|(tree, _)| is_base && *tree == snapshot.tree);
        let known = known.map(|(_, bytes)| *bytes);
        return finish(
            repository,
            request,
            commit,
            None,
            snapshot.tree,
            known,
            warnings,
        );
    }
    let whole = snapshot::with_ignored(worktree, &request.index)?;
    warnings.extend(whole.warnings);
    let with_ignored = record(repository, request, &whole.tree, &[&commit])?;
    finish(
        repository,
        request,
        commit,
        Some(with_ignored),
        whole.tree,
        None,
        warnings,
    )
}

fn snapshot_of(
    worktree: &Worktree<'_>,
    parent: Option<&CommitId>,
    request: &CheckpointRequest,
) -> Result<snapshot::Snapshot, WorkspaceError> {
    let known = Known {
        index: &request.known_index,
    };
    if !request.with_ignored
        && let Some(tree) = snapshot::unchanged(worktree, &request.index, &known)?
    {
        return Ok(snapshot::Snapshot {
            tree,
            warnings: vec![],
        });
    }
    let start = request.workspace.start.as_ref().or(parent);
    let mut attempts = 1;
    loop {
        let unreadable = if attempts < ATTEMPTS {
            Unreadable::Refuse
        } else {
            Unreadable::Skip
        };
        let taken =
            snapshot::take_known(worktree, parent, start, &request.index, unreadable, &known);
        match taken {
            Err(WorkspaceError::Git { .. } | WorkspaceError::Damaged { .. })
                if attempts < ATTEMPTS =>
            {
                attempts += 1;
            }
            taken => return taken,
        }
    }
}

fn record(
    repository: &Repository<'_>,
    request: &CheckpointRequest,
    tree: &CommitId,
    parents: &[&CommitId],
) -> Result<CommitId, WorkspaceError> {
    let (id, task) = (request.id, request.task);
    let message = format!(
        "Checkpoint {id} of {task}\n\nCrewboss-Checkpoint: {id}\nCrewboss-Task: {task}\n\
         Crewboss-Session: {}\nCrewboss-Project: {}\n",
        request.session, request.project_id
    );
    repository.commit_tree(tree, parents, &message, &repository.identity()?)
}

fn finish(
    repository: &Repository<'_>,
    request: &CheckpointRequest,
    commit: CommitId,
    with_ignored: Option<CommitId>,
    tree: CommitId,
    known: Option<u64>,
    warnings: Vec<String>,
) -> Result<CheckpointTree, WorkspaceError> {
    let bytes = match known {
        Some(bytes) => bytes,
        None => bytes_of(repository, &commit, with_ignored.as_ref())?,
    };
    Ok(CheckpointTree {
        repository: repository.common.clone(),
        reference: format!("{NAMESPACE}{}", request.id),
        commit,
        with_ignored,
        tree,
        bytes,
        warnings,
    })
}

/// What the repository holds for a checkpoint and not for the commit that it builds on.
fn bytes_of(
    repository: &Repository<'_>,
    commit: &CommitId,
    with_ignored: Option<&CommitId>,
) -> Result<u64, WorkspaceError> {
    let tip = with_ignored.unwrap_or(commit);
    let ask = [
        "rev-list",
        "--objects",
        "--disk-usage",
        tip.as_str(),
        "--not",
    ];
    let before = format!("{commit}^@");
    let usage = repository.call().args(ask).arg(before).run()?;
    let bytes = String::from_utf8_lossy(usage.line()).trim().parse();
    Ok(bytes.unwrap_or(0))
}

/// Writes the reference that keeps a checkpoint.
pub(crate) fn keep(
    git: &Git,
    repository: &Path,
    id: CheckpointId,
    commit: &CommitId,
) -> Result<(), WorkspaceError> {
    let repository = Repository {
        git,
        common: repository.to_owned(),
    };
    let reference = format!("{NAMESPACE}{id}");
    if repository.update_ref(&reference, commit, None, "crewboss: checkpoint")? {
        return Ok(());
    }
    Err(WorkspaceError::BranchTaken {
        branch: reference,
        at: commit.clone(),
    })
}

/// The repositories that may hold checkpoints of a project.
fn repositories<'a>(
    git: &'a Git,
    layout: &Layout,
    project: &Path,
) -> Result<Vec<Repository<'a>>, WorkspaceError> {
    let own = own(git, project)?.map(|located| located.repository);
    Ok(own
        .into_iter()
        .chain(private(git, layout, project)?)
        .collect())
}

/// The references that keep checkpoints, with what their commits say of them.
pub(crate) fn list(
    git: &Git,
    layout: &Layout,
    project: &Path,
) -> Result<Vec<KeptCheckpoint>, WorkspaceError> {
    let mut found = Vec::new();
    for repository in repositories(git, layout, project)? {
        let format = "--format=%(refname)%00%(objectname)%00%(contents:trailers:key=Crewboss-Task,valueonly,separator=)%00%(contents:trailers:key=Crewboss-Project,valueonly,separator=)";
        let output = repository
            .call()
            .args(["for-each-ref", format, NAMESPACE])
            .run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        found.extend(text.lines().filter_map(|line| {
            let mut parts = line.split('\0');
            Some(KeptCheckpoint {
                repository: repository.common.clone(),
                id: parts.next()?.strip_prefix(NAMESPACE)?.parse().ok()?,
                commit: parts.next()?.parse().ok()?,
                task: parts.next()?.trim().parse().ok()?,
                project: parts.next()?.trim().parse().ok()?,
            })
        }));
    }
    Ok(found)
}

/// Removes the reference of a checkpoint, wherever it is.
pub(crate) fn drop_kept(
    git: &Git,
    layout: &Layout,
    project: &Path,
    id: CheckpointId,
) -> Result<(), WorkspaceError> {
    let reference = format!("{NAMESPACE}{id}");
    for repository in repositories(git, layout, project)? {
        let act = Act::new(Thing::Reference, Deed::Remove);
        let told = |error| io_error("write to", &repository.common)(error);
        let drop_it = ["update-ref", "-d", &reference];
        faults::around_with(act, told, || repository.call().args(drop_it).run())?;
    }
    Ok(())
}

/// What is wrong with the objects of a commit, beyond those of the commit that it builds on.
pub(crate) fn verify(
    git: &Git,
    repository: &Path,
    commit: &CommitId,
    tree: &CommitId,
) -> Result<Vec<String>, WorkspaceError> {
    git.require()?;
    if !repository.is_dir() {
        return Ok(vec![format!(
            "the repository {} is gone",
            repository.display()
        )]);
    }
    let repository = Repository {
        git,
        common: repository.to_owned(),
    };
    match repository.tree(commit) {
        Ok(found) if found == *tree => {}
        Ok(_) => return Ok(vec![format!("commit {} has another tree", commit.short())]),
        Err(WorkspaceError::Unknown { .. }) => {
            return Ok(vec![format!("commit {} is gone", commit.short())]);
        }
        Err(error) => return Err(error),
    }
    let ask = [
        "rev-list",
        "--objects",
        "--verify-objects",
        "--quiet",
        "--max-count=1",
    ];
    match repository.call().args(ask).arg(commit.as_str()).run() {
        Err(WorkspaceError::Git { message, .. }) => {
            let first = message.lines().next().unwrap_or_default().to_owned();
            Ok(vec![format!(
                "objects of the workspace are damaged: {first}"
            )])
        }
        answer => answer.map(|_| vec![]),
    }
}

/// The repository of a project that has a commit.
pub(crate) fn holder<'a>(
    git: &'a Git,
    layout: &Layout,
    project: &Path,
    commit: &CommitId,
) -> Result<Repository<'a>, WorkspaceError> {
    for repository in repositories(git, layout, project)? {
        if repository.commit(commit).is_ok() {
            return Ok(repository);
        }
    }
    Err(WorkspaceError::Unknown {
        what: commit.to_string(),
    })
}

/// Fills a folder that is empty with the files of a commit.
pub(crate) fn fill_folder(
    git: &Git,
    layout: &Layout,
    project: &Path,
    commit: &CommitId,
    folder: &Path,
) -> Result<(), WorkspaceError> {
    git.require()?;
    if !is_empty(folder) {
        return Ok(());
    }
    let repository = holder(git, layout, project, commit)?;
    let draft = folder.with_extension("new");
    delete(&draft)?;
    make_private(&draft)?;
    let index = folder.with_extension("index");
    delete(&index)?;
    let call = || {
        git.worktree(&repository.common, &draft)
            .env("GIT_INDEX_FILE", &index)
    };
    let written = call()
        .args(["read-tree", commit.as_str()])
        .run()
        .and_then(|_| call().args(["checkout-index", "--all", "--force"]).run());
    delete(&index)?;
    written?;
    fs::rename(&draft, folder).map_err(io_error("fill", folder))
}

/// Writes the ignored files of a checkpoint into a worktree that has all the others.
pub(crate) fn add_ignored(
    worktree: &Worktree<'_>,
    start: &CommitId,
    with_ignored: &CommitId,
) -> Result<(), WorkspaceError> {
    let ask = ["diff-tree", "-r", "-z", "--name-only", "--diff-filter=A"];
    let call = worktree.repository.call().args(ask);
    let names = call.args([start.as_str(), with_ignored.as_str()]).run()?;
    if names.stdout.is_empty() {
        return Ok(());
    }
    let index = worktree.registered()?.join("crewboss-ignored-index");
    delete(&index)?;
    let call = || worktree.call().env("GIT_INDEX_FILE", &index);
    let written = call()
        .args(["read-tree", with_ignored.as_str()])
        .run()
        .and_then(|_| {
            call()
                .args(["checkout-index", "--force", "-z", "--stdin"])
                .stdin(names.stdout)
                .run()
        });
    delete(&index)?;
    written.map(drop)
}

/// Keeps the index that a checkpoint was made with for the next one, and which tree it is of.
pub(crate) fn remember_copy(index: &Path, known: &Path, tree: Option<&CommitId>) {
    // It only saves reading again what has not changed.
    let draft = index.with_extension("known");
    drop(copy_index(index, &draft).and_then(|()| fs::rename(&draft, known)));
    let note = note_of(known);
    let noted = tree.zip(seal(index)).map(|(tree, seal)| {
        let draft = index.with_extension("tree");
        fs::write(&draft, format!("{tree} {seal}\n")).and_then(|()| fs::rename(&draft, &note))
    });
    if noted.is_none() {
        drop(fs::remove_file(&note));
    }
}

/// Beside an index, the tree that it is of.
fn note_of(known: &Path) -> PathBuf {
    let mut name = known.as_os_str().to_owned();
    name.push(".tree");
    name.into()
}

/// The tree that an index is of, where that was noted of this very index and no other.
pub(crate) fn known_tree(known: &Path, index: &Path) -> Option<CommitId> {
    let note = fs::read_to_string(note_of(known)).ok()?;
    let (tree, of) = note.trim_end().split_once(' ')?;
    (seal(index)? == of).then(|| tree.parse().ok()).flatten()
}

/// The checksum that an index ends with, where it has one.
fn seal(index: &Path) -> Option<String> {
    use std::os::unix::fs::FileExt as _;
    let file = File::open(index).ok()?;
    let size = file.metadata().ok()?.len();
    let mut seal = [0; 20];
    file.read_exact_at(&mut seal, size.checked_sub(20)?).ok()?;
    (seal != [0; 20]).then(|| app::hex::hex(&seal))
}

/// Copies an index with its time, by which git knows what it must read again.
pub(crate) fn copy_index(from: &Path, to: &Path) -> std::io::Result<()> {
    let found = fs::symlink_metadata(from)?;
    if !found.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    fs::copy(from, to)?;
    File::options()
        .write(true)
        .open(to)?
        .set_modified(found.modified()?)
}

/// Whether a path lies in a project's own folder.
pub(crate) fn is_of_crewboss(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'/')
        .any(|part| part == b".crewboss")
}
