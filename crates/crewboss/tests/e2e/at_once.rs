//! Several commands at the same moment.

use crate::arena::{Arena, Ran};

/// Says so where two of it are alive at once.
const WORKER: &str = "exec 9>>$HOME/alone-$CREWBOSS_TASK; flock -n 9 || echo overlap >>$HOME/log; \
    echo begun $CREWBOSS_TASK >>$HOME/log; echo $CREWBOSS_TASK >mine.txt";

fn with_code(ran: &[Ran], code: i32) -> usize {
    ran.iter().filter(|one| one.code == Some(code)).count()
}

/// Each succeeded or found that another was faster.
#[track_caller]
fn assert_orderly(ran: &[Ran]) {
    for one in ran {
        assert!(matches!(one.code, Some(0 | 4)), "{ran:#?}");
        if one.code == Some(4) {
            one.error();
        }
    }
}

#[test]
fn two_cancels_of_a_running_task_end_it_once() {
    let arena = Arena::folder();
    for _ in 0..3 {
        let id = arena.start("trap '' TERM; while :; do sleep 0.1; done", &[]);
        arena.run(&["run"]).ok();
        arena.runner_at_work(&id);
        let cancel: &[&str] = &["cancel", &id];
        let ran = arena.at_once(&[cancel, cancel]);
        assert_orderly(&ran);
        assert!(with_code(&ran, 0) >= 1, "{ran:#?}");
        assert_eq!(arena.status_of(&id), "cancelled");
        arena.until_deserted();
    }
}

#[test]
fn a_cancel_that_races_the_start_leaves_nothing_running() {
    let arena = Arena::repository();
    for _ in 0..8 {
        let id = arena.start(&format!("{WORKER}; sleep 600"), &[]);
        let ran = arena.at_once(&[&["run", &id], &["cancel", &id]]);
        assert_orderly(&ran);
        assert_eq!(ran[1].code, Some(0), "{ran:#?}");
        assert_eq!(arena.status_of(&id), "cancelled", "{ran:#?}");
        arena.until_deserted();
    }
    assert_eq!(arena.repo().git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn two_retries_make_one_child() {
    let arena = Arena::folder();
    let id = arena.start("exit 1", &[]);
    arena.run(&["run", "--wait"]).with(1);
    let retry: &[&str] = &["retry", &id];
    let ran = arena.at_once(&[retry, retry, retry, retry]);
    assert_orderly(&ran);
    assert_eq!(with_code(&ran, 0), 1, "{ran:#?}");
    assert_eq!(arena.show(&id)["chain"].as_array().unwrap().len(), 2);
}

#[test]
fn one_failure_is_tried_again_once_however_many_look() {
    let arena = Arena::folder();
    arena.configure("backoff_base_seconds = 1\n");
    let script = "echo begun >>$HOME/log; test $(grep -c . $HOME/log) -ge 2";
    let id = arena.start(script, &["--auto-retry"]);
    arena.run(&["run", "--wait"]);
    let status: &[&str] = &["status"];
    for _ in 0..2 {
        arena
            .at_once(&[status; 10])
            .into_iter()
            .for_each(|ran| drop(ran.ok()));
    }
    let run: &[&str] = &["run", "--parallel", "4"];
    arena.until("tried again", || {
        arena
            .at_once(&[run; 4])
            .into_iter()
            .for_each(|ran| drop(ran.ok()));
        arena.lines("home/log").len() == 2
    });
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    arena.at_once(&[status; 5]);
    assert_eq!(arena.show(&id)["chain"].as_array().unwrap().len(), 2);
    assert_eq!(arena.lines("home/log").len(), 2);
}

#[test]
fn cleaning_beside_starting_deletes_only_what_has_ended() {
    let arena = Arena::repository();
    let old: Vec<String> = (0..4).map(|_| arena.start(WORKER, &[])).collect();
    arena.run(&["run", "--parallel", "4"]).ok();
    arena.run(&["wait"]).ok();
    let new: Vec<String> = (0..4).map(|_| arena.start(WORKER, &[])).collect();
    let clean: &[&str] = &["clean", "all", "--yes"];
    let run: &[&str] = &["run", "--parallel", "4"];
    let ran = arena.at_once(&[clean, run, clean, run]);
    assert!(
        ran.iter().all(|one| matches!(one.code, Some(0 | 1))),
        "{ran:#?}"
    );
    arena.run(&["wait", "--timeout", "60"]).ok();
    let log = arena.lines("home/log");
    for id in old.iter().chain(&new) {
        let begun = format!("begun {id}");
        assert_eq!(
            log.iter().filter(|line| **line == begun).count(),
            1,
            "{log:?}"
        );
        assert_eq!(arena.status_of(id), "completed");
        let repo = arena.repo();
        let branches = repo.git(&["for-each-ref", "--format=%(refname)", "refs/heads/crewboss"]);
        let branch = branches.lines().find(|name| name.contains(id.as_str()));
        let branch = branch.unwrap_or_else(|| panic!("the work of {id} is lost: {branches}"));
        assert_eq!(repo.git(&["show", &format!("{branch}:mine.txt")]), **id);
    }
}

#[test]
fn merges_at_the_same_moment_all_arrive() {
    let arena = Arena::repository();
    let ids: Vec<String> = (0..4)
        .map(|n| arena.start(&format!("echo {n} >file-{n}.txt"), &[]))
        .collect();
    arena.run(&["run", "--parallel", "4"]).ok();
    arena.run(&["wait", "--timeout", "60"]).ok();
    let merges: Vec<Vec<&str>> = ids.iter().map(|id| vec!["merge", id.as_str()]).collect();
    let mut commands: Vec<&[&str]> = merges.iter().map(Vec::as_slice).collect();
    commands.push(&merges[0]);
    let ran = arena.at_once(&commands);
    assert_eq!(with_code(&ran, 0), ran.len(), "{ran:#?}");
    let repo = arena.repo();
    for n in 0..4 {
        assert_eq!(
            repo.git(&["show", &format!("main:file-{n}.txt")]),
            n.to_string()
        );
    }
    assert_eq!(
        repo.git(&["--no-optional-locks", "status", "--porcelain", "-uno"]),
        ""
    );
    assert_eq!(repo.git(&["rev-list", "--merges", "--count", "main"]), "4");
    assert_eq!(repo.git(&["worktree", "list"]).lines().count(), 1);
}

#[test]
fn one_pending_task_is_launched_once() {
    let arena = Arena::folder();
    for _ in 0..3 {
        let id = arena.start(WORKER, &[]);
        let run: &[&str] = &["run", &id];
        let ran = arena.at_once(&[run; 8]);
        assert_orderly(&ran);
        assert_eq!(with_code(&ran, 0), 1, "{ran:#?}");
        arena.run(&["wait", &id, "--timeout", "60"]).ok();
        let begun = format!("begun {id}");
        let log = arena.lines("home/log");
        assert_eq!(
            log.iter().filter(|line| **line == begun).count(),
            1,
            "{log:?}"
        );
    }
}
