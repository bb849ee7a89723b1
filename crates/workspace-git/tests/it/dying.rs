//! A session's whole life, cut off behind every single git command and then continued.

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use app::ports::workspaces::{Removed, WorkspaceError, Workspaces};
use domain::workspace::{CommitId, WorkspaceRecord};
use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, authorship, session, write, write_program};

/// Counts its calls and dies behind the one that is asked for.
const MORTAL_GIT: &str = r#"#!/bin/sh
read -r calls < "$HOME/calls"; calls=$((calls + 1)); echo $calls > "$HOME/calls"
read -r last < "$HOME/last"
git "$@"; code=$?
[ $calls = $last ] && kill -9 $$
exit $code
"#;

/// How far a life has come.
#[derive(Default)]
struct Life {
    record: Option<WorkspaceRecord>,
    commit: Option<CommitId>,
    branch: Option<String>,
    merged: bool,
    removed: bool,
}

impl Life {
    /// Goes on from where it is until the end or the first failure.
    fn go_on(&mut self, fixture: &Fixture, git: &dyn Workspaces) -> Result<(), WorkspaceError> {
        if self.record.is_none() {
            let record = git.prepare(&fixture.request(1))?;
            write(&record.path, "dir/a.txt", "a\n");
            fs::remove_file(record.path.join("README.md")).expect("removed");
            self.record = Some(record);
        }
        let record = self.record.as_ref().expect("prepared");
        if self.commit.is_none() {
            let committed = git.commit(record, &authorship(1))?.expect("a worktree");
            assert_eq!(committed.files.len(), 2);
            self.commit = Some(committed.commit);
        }
        let commit = self.commit.as_ref().expect("committed");
        if self.branch.is_none() {
            self.branch = Some(git.publish(record, commit, None)?.branch);
        }
        if !self.merged {
            git.merge(
                &fixture.project,
                self.branch.as_ref().expect("published"),
                None,
            )?;
            self.merged = true;
        }
        if !self.removed {
            write(&record.path, "late.txt", "late\n");
            let removed = git.remove(record, session(1))?;
            assert!(matches!(removed, Removed::Gone(Some(_))), "{removed:?}");
            self.removed = true;
        }
        Ok(())
    }
}

#[test]
fn a_life_cut_off_anywhere_can_be_continued() {
    let (next, survived) = (AtomicU32::new(1), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while cut_off_behind(next.fetch_add(1, Ordering::Relaxed)) {
                    survived.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let survived = survived.into_inner();
    assert!(survived > 50, "every call was cut off once: {survived}");
}

/// Whether there was a call of this number to be cut off behind.
fn cut_off_behind(last: u32) -> bool {
    let fixture = Fixture::new();
    let root = fixture.real_root();
    write_program(&root.join("git"), MORTAL_GIT);
    write(&root, "home/calls", "0\n");
    write(&root, "home/last", &format!("{last}\n"));
    let mut settings = Settings::new(fixture.state.clone(), fixture.environment());
    settings.program = root.join("git").into();
    let mut life = Life::default();
    let first = life.go_on(&fixture, &GitWorkspaces::new(settings));
    if first.is_err() {
        let second = life.go_on(&fixture, fixture.workspaces.as_ref());
        assert!(
            second.is_ok(),
            "cut off behind call {last}: {first:?}, then {second:?}"
        );
    }
    assert_eq!(
        fixture.git(["show", "main:dir/a.txt"]),
        "a\n",
        "call {last}"
    );
    assert_eq!(fixture.read("dir/a.txt"), "a\n", "call {last}");
    assert_eq!(fixture.git(["status", "--porcelain"]), "", "call {last}");
    let kept = fixture.git(["show", "refs/crewboss/salvage/ses_1:late.txt"]);
    assert_eq!(kept, "late\n", "call {last}");
    let found = fixture
        .workspaces
        .inventory(&fixture.project)
        .expect("found");
    assert_eq!(
        (found.worktrees.len(), found.branches.len()),
        (0, 1),
        "call {last}"
    );
    let merges = fixture.git(["rev-list", "--count", "--merges", "main"]);
    assert_eq!(merges.trim(), "1", "call {last}");
    let calls = fs::read_to_string(root.join("home/calls")).expect("calls");
    let was_reached = calls.trim().parse::<u32>().expect("a number") >= last;
    assert!(was_reached || first.is_ok(), "{first:?}");
    was_reached
}
