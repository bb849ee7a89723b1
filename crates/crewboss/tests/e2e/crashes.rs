//! A process that dies at any named moment: whoever comes next brings the task to one end.

use std::fs;

use app::crash_points::CrashPoint;
use testkit::poll::poll_until;

use crate::arena::{Arena, LONG};

/// Work with a child that stays behind. Says so where two of it are alive at once.
const WORKER: &str = "exec 9>>$HOME/alone; flock -n 9 || echo overlap >>$HOME/log; \
    echo begun $CREWBOSS_SESSION >>$HOME/log; (setsid sleep 600 9>&- >/dev/null 2>&1 &); \
    echo $CREWBOSS_TASK >work.txt; sleep 0.05; echo ended $CREWBOSS_SESSION >>$HOME/log";

/// Runs a task with a death at this moment, then without until it has ended.
fn survives(point: CrashPoint) {
    let arena = Arena::repository();
    arena.configure("requeues_max = 3\n");
    let id = arena.start(WORKER, &["--gate", "test -s work.txt"]);
    if matches!(point, CrashPoint::LeftoversEnded | CrashPoint::Salvaged) {
        die_at(&arena, CrashPoint::AgentEnded, &["run"]);
        die_at(&arena, point, &["status"]);
    } else {
        die_at(&arena, point, &["run"]);
    }
    let mut rounds = 0;
    while arena.status_of(&id) != "completed" {
        rounds += 1;
        assert!(rounds < 4, "{point:?}: {:#}", arena.show(&id));
        // What is still on its way, or waits.
        let ran = arena.run(&["run", &id]);
        assert!(matches!(ran.code, Some(0 | 4)), "{point:?}: {ran:#?}");
        arena.run(&["wait", &id, "--timeout", "60"]).ok();
    }
    arena.until_deserted();
    verify(&arena, &id, point);
}

/// A command that dies, or whose runner does, at this moment; every process of ours has gone after.
fn die_at(arena: &Arena, point: CrashPoint, args: &[&str]) {
    let mut command = arena.command(args);
    command.env("CREWBOSS_CRASH_AT", point.as_str());
    let output = command.output().unwrap();
    let by_itself = matches!(
        point,
        CrashPoint::Logged
            | CrashPoint::Claimed
            | CrashPoint::RunnerStarted
            | CrashPoint::LeftoversEnded
            | CrashPoint::Salvaged
    );
    let died = output.status.code().is_none();
    assert_eq!(died, by_itself, "{point:?}: {output:?}");
    if point != CrashPoint::RunnerStarted {
        assert!(poll_until(LONG, || arena.runners().is_empty()), "{point:?}");
    }
}

fn verify(arena: &Arena, id: &str, point: CrashPoint) {
    let log = arena.lines("home/log");
    assert!(!log.contains(&"overlap".to_owned()), "{point:?}: {log:?}");
    let shown = arena.show(id);
    let sessions = shown["sessions"].as_array().unwrap();
    let completed: Vec<_> = sessions
        .iter()
        .filter(|one| one["status"] == "completed")
        .collect();
    assert_eq!(completed.len(), 1, "{point:?}: {shown:#}");
    let last = completed[0]["id"].as_str().unwrap();
    assert_eq!(
        log.last(),
        Some(&format!("ended {last}")),
        "{point:?}: {log:?}"
    );
    if matches!(
        point,
        CrashPoint::OutcomeWritten
            | CrashPoint::Published
            | CrashPoint::Cleared
            | CrashPoint::Finished
    ) {
        assert_eq!(log.len(), 2, "{point:?}: done once: {log:?}");
    }

    arena.run(&["history", id, "--verify"]).ok();
    let repo = arena.repo();
    let branches = repo.git(&["for-each-ref", "--format=%(refname)", "refs/heads/crewboss"]);
    assert_eq!(branches.lines().count(), 1, "{point:?}: {branches}");
    assert_eq!(repo.git(&["show", &format!("{branches}:work.txt")]), id);
    assert_eq!(
        repo.git(&["rev-list", "--count", &format!("main..{branches}")]),
        "1"
    );
    assert_eq!(
        repo.git(&["worktree", "list"]).lines().count(),
        1,
        "{point:?}"
    );
    let worktrees = worktrees(arena);
    assert_eq!(worktrees, [""; 0], "{point:?}");
}

/// Folders of sessions below the state directory.
fn worktrees(arena: &Arena) -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![arena.store().join("state")];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.join(".git").exists() {
                found.push(path.display().to_string());
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

macro_rules! at_each {
    ($($test:ident: $($point:ident),*;)*) => {
        $(#[test]
        fn $test() {
            for point in [$(CrashPoint::$point),*] {
                survives(point);
            }
        })*

        #[test]
        fn every_moment_has_its_test() {
            let mut tested = vec![$($(CrashPoint::$point),*),*];
            tested.retain(|point| CrashPoint::OF_SESSIONS.contains(point));
            assert_eq!(tested.len(), CrashPoint::OF_SESSIONS.len());
        }
    };
}

at_each! {
    dying_while_it_starts: Logged, Claimed, RunnerStarted, Begun;
    dying_while_it_prepares: WorkspaceMade, Prepared, AgentStarted;
    dying_while_it_verifies: AgentEnded, Committed, Checked;
    dying_while_it_settles: OutcomeWritten, Published, Cleared, Finished;
    dying_while_it_recovers: LeftoversEnded, Salvaged;
}
