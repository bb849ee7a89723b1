//! Committing what a session did, and pointing its branch there.

use std::fs;

use app::ports::workspaces::{Authorship, Committed, Published, WorkspaceError};
use domain::{
    id::SessionId,
    workspace::{CommitId, WorkspaceRecord},
};

use crate::{
    changes,
    layout::{Layout, is_real_directory},
    names,
    repository::{Repository, io_error},
    salvage,
    snapshot::{self, Unreadable},
    worktree::Worktree,
};

/// The longest subject line that is made of a task's name.
const SUBJECT_CHARS_MAX: usize = 120;

/// Commits everything in the worktree on top of its HEAD. The agent's own commits stay as they
/// are; where they hold everything, nothing is added to them.
pub(crate) fn commit(
    layout: &Layout,
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    start: &CommitId,
    authorship: &Authorship,
) -> Result<Committed, WorkspaceError> {
    let worktree = Worktree::at(repository, &record.path)?;
    let admin = worktree.registered()?;
    if !worktree.is_present() {
        return Err(worktree.damaged("its directory is gone, empty or a link"));
    }
    let mut warnings = relink(&worktree)?;
    worktree.break_locks()?;
    let head = lawful_head(layout, &worktree, start, authorship.session)?;
    let index = salvage::private_index(layout, &worktree, authorship.session)?;
    let snapshot = snapshot::take(&worktree, &head, start, &index, Unreadable::Refuse)?;
    warnings.extend(snapshot.warnings);
    let commit = if snapshot.tree == repository.tree(&head)? {
        head
    } else {
        let identity = repository.identity()?;
        repository.commit_tree(&snapshot.tree, &[&head], &message(authorship), &identity)?
    };
    let detach = [
        "update-ref",
        "--no-deref",
        "-m",
        "crewboss: commit",
        "HEAD",
        commit.as_str(),
    ];
    worktree.call().args(detach).run()?;
    snapshot::install_index(&index, admin)?;
    let no_change = snapshot.tree == repository.tree(start)?;
    let files = changes::changed_files(repository, start, &commit)?;
    Ok(Committed {
        commit,
        base: start.clone(),
        files,
        no_change,
        ignored: ignored(&worktree)?,
        warnings,
    })
}

fn ignored(worktree: &Worktree<'_>) -> Result<Vec<String>, WorkspaceError> {
    let ask = [
        "ls-files",
        "-z",
        "--others",
        "--ignored",
        "--exclude-standard",
        "--directory",
    ];
    let output = worktree.call().args(ask).run()?;
    Ok(output.items().map(names::shown).collect())
}

/// The worktree's HEAD, which must descend from the start; else the work is salvaged.
fn lawful_head(
    layout: &Layout,
    worktree: &Worktree<'_>,
    start: &CommitId,
    session: SessionId,
) -> Result<CommitId, WorkspaceError> {
    if let Some(head) = worktree.head()?
        && worktree.repository.is_ancestor(start, &head)?
    {
        return Ok(head);
    }
    let salvage = salvage::salvage(layout, worktree, start, session)?;
    Err(WorkspaceError::Diverged {
        start: start.clone(),
        salvage,
    })
}

/// Gives the directory its `.git` file back where the agent deleted it. A repository that the
/// agent put in its place stays, for its history is nowhere else.
fn relink(worktree: &Worktree<'_>) -> Result<Vec<String>, WorkspaceError> {
    let admin = worktree.registered()?;
    let link = worktree.path.join(".git");
    if is_real_directory(&link) {
        return Ok(vec!["the worktree's .git was replaced by a repository of its own, whose history was not taken".to_owned()]);
    }
    let mut expected = b"gitdir: ".to_vec();
    expected.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(admin.as_os_str()));
    expected.push(b'\n');
    if fs::symlink_metadata(&link).is_ok_and(|m| m.is_file())
        && fs::read(&link).is_ok_and(|text| text == expected)
    {
        return Ok(Vec::new());
    }
    crate::layout::delete(&link)?;
    fs::write(&link, expected).map_err(io_error("write", &link))?;
    Ok(vec![
        "the worktree's .git file was missing or changed and was restored".to_owned(),
    ])
}

fn message(authorship: &Authorship) -> String {
    let Authorship {
        title,
        task,
        session,
        agent,
    } = authorship;
    let subject = one_line(
        title
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or(""),
    );
    let subject = if subject.is_empty() {
        task.to_string()
    } else {
        subject
    };
    let agent = one_line(agent);
    format!(
        "{subject}\n\nCrewboss-Task: {task}\nCrewboss-Session: {session}\nCrewboss-Agent: {agent}\n"
    )
}

fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain
        .trim()
        .chars()
        .take(SUBJECT_CHARS_MAX)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

/// Points the branch to the commit, once: compare-and-set, after asking where it is and keeping
/// what it holds.
pub(crate) fn publish(
    repository: &Repository<'_>,
    record: &WorkspaceRecord,
    branch: &str,
    commit: &CommitId,
    expected: Option<&CommitId>,
) -> Result<Published, WorkspaceError> {
    let commit = repository.commit(commit)?;
    let there = repository.branch(branch)?;
    let published = |moved, kept| Published {
        branch: branch.to_owned(),
        commit: commit.clone(),
        moved,
        kept,
    };
    if there.as_ref() == Some(&commit) {
        return Ok(published(false, None));
    }
    let reference = format!("refs/heads/{branch}");
    if there.as_ref() == expected {
        let kept = match &there {
            Some(old) if !repository.is_ancestor(old, &commit)? => {
                Some(salvage::keep_branch(repository, record, old)?)
            }
            _ => None,
        };
        if repository.update_ref(&reference, &commit, expected, "crewboss: publish")? {
            return Ok(published(true, kept));
        }
    }
    match repository.branch(branch)? {
        Some(at) => Err(WorkspaceError::BranchTaken {
            branch: branch.to_owned(),
            at,
        }),
        None => Err(WorkspaceError::TargetMoved {
            branch: branch.to_owned(),
        }),
    }
}
