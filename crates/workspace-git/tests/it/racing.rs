//! Many sessions at once.

use std::{collections::HashSet, sync::Barrier, thread};

use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, authorship, write};
use app::ports::workspaces::{WorkspaceError, Workspaces};

const TASKS: u64 = 64;

#[test]
fn sixty_four_tasks_started_at_once_give_sixty_four_branches() {
    let fixture = Fixture::new();
    fixture.write("dirty.txt", "mine");
    let before = fixture.users_state();
    let barrier = Barrier::new(usize::try_from(TASKS).expect("small"));
    thread::scope(|scope| {
        for number in 1..=TASKS {
            let (fixture, barrier) = (&fixture, &barrier);
            scope.spawn(move || {
                // An adapter of its own, as in a process of its own.
                let settings = Settings::new(fixture.state.clone(), fixture.environment());
                let workspaces = GitWorkspaces::new(settings);
                barrier.wait();
                let record = workspaces
                    .prepare(&fixture.request(number))
                    .expect("prepared");
                write(&record.path, &format!("{number}.txt"), "done\n");
                let committed = workspaces.commit(&record, &authorship(number));
                let committed = committed.expect("committed").expect("a worktree");
                workspaces
                    .publish(&record, &committed.commit, None)
                    .expect("published");
            });
        }
    });
    let found = fixture
        .workspaces
        .inventory(&fixture.project)
        .expect("inventory");
    assert_eq!(found.worktrees.len(), 64);
    assert!(
        found
            .worktrees
            .iter()
            .all(|w| w.present && w.registered && w.record.is_some())
    );
    assert_eq!(found.branches.len(), 64);
    let commits: HashSet<_> = found.branches.iter().map(|(_, commit)| commit).collect();
    assert_eq!(commits.len(), 64);
    assert_eq!(fixture.users_state(), before);
    fixture.git(["fsck", "--strict"]);
}

#[test]
fn merges_at_once_all_land() {
    let fixture = Fixture::new();
    let branches: Vec<String> = (1..=8)
        .map(|n| fixture.finished(n, &format!("{n}.txt"), "x\n").branch)
        .collect();
    thread::scope(|scope| {
        for branch in &branches {
            let (fixture, workspaces) = (&fixture, &fixture.workspaces);
            scope.spawn(move || {
                workspaces
                    .merge(&fixture.project, branch, None)
                    .expect("merged");
            });
        }
    });
    for number in 1..=8 {
        assert_eq!(fixture.read(&format!("{number}.txt")), "x\n");
    }
    assert_eq!(fixture.git(["status", "--porcelain"]), "");
}

#[test]
fn a_branch_is_published_once() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    write(&record.path, "a", "1");
    let first = fixture.commit(&record, 1).commit;
    let publish = |commit| fixture.workspaces.publish(&record, commit, None);
    assert!(publish(&first).expect("published").moved);
    assert!(!publish(&first).expect("published before").moved);
    write(&record.path, "a", "2");
    let second = fixture.commit(&record, 1).commit;
    match publish(&second) {
        Err(WorkspaceError::BranchTaken { at, .. }) => assert_eq!(at, first),
        other => panic!("{other:?}"),
    }
    let moved = fixture
        .workspaces
        .publish(&record, &second, Some(&first))
        .expect("moved");
    assert_eq!(moved.branch, "crewboss/task_1-task-1-do-it");
}
