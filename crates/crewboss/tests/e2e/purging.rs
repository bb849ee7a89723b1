//! Deleting and purging while others act, and dying in the middle of it.

use std::{path::PathBuf, process::Stdio};

use app::crash_points::CrashPoint;

use crate::arena::Arena;

fn folder(arena: &Arena, id: &str) -> PathBuf {
    arena.project().join(".crewboss/tasks").join(id)
}

fn references(arena: &Arena) -> String {
    let below = ["refs/crewboss", "refs/heads/crewboss"];
    arena
        .repo()
        .git(&["for-each-ref", "--format=%(refname)", below[0], below[1]])
}

/// Work that no other branch has, with a checkpoint, deleted.
fn deleted(arena: &Arena) -> (String, String) {
    let id = arena.start("echo mine >mine.txt", &[]);
    arena.run(&["run", &id, "--wait"]).ok();
    arena.run(&["checkpoint", "create", &id]).ok();
    let shown = arena.show(&id);
    let commit = shown["session"]["commit"].as_str().unwrap().to_owned();
    arena.run(&["task", "delete", &id]).ok();
    (id, commit)
}

fn dies(arena: &Arena, args: &[&str], point: CrashPoint) {
    let died = arena
        .command(args)
        .env("CREWBOSS_CRASH_AT", point.as_str())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(died.status.code(), None, "{point:?}");
}

#[test]
fn dying_while_purging_is_made_good_by_whoever_comes_next() {
    for point in CrashPoint::OF_PURGING {
        let arena = Arena::repository();
        let (id, commit) = deleted(&arena);
        dies(&arena, &["task", "purge", &id, "--yes"], point);
        // Nobody names it again but before its rows are gone.
        if point == CrashPoint::Retired {
            arena.run(&["task", "purge", &id, "--yes"]).ok();
        } else {
            arena.run(&["task", "purge", "--yes"]).ok();
        }
        assert!(!folder(&arena, &id).exists(), "{point:?}");
        let left = references(&arena);
        assert!(
            left.starts_with("refs/crewboss/salvage/") && left.lines().count() == 1,
            "{point:?}: {left}"
        );
        assert_eq!(arena.repo().git(&["rev-parse", &left]), commit);
        assert!(arena.show(&id)["purged_at"].is_string());
        arena.run(&["audit", "verify"]).ok();
        arena.run(&["index", "verify"]).ok();
        arena.run(&["doctor", "--resources"]).ok();
    }
}

#[test]
fn what_was_not_purged_yet_comes_back_with_its_work() {
    let arena = Arena::repository();
    let (id, commit) = deleted(&arena);
    dies(
        &arena,
        &["task", "purge", &id, "--yes"],
        CrashPoint::Retired,
    );
    arena.run(&["task", "undelete", &id]).ok();
    let shown = arena.show(&id);
    assert_eq!(
        (&shown["status"], &shown["session"]["commit"]),
        (&"completed".into(), &commit.into())
    );
    let diff = arena.run(&["diff", &id]).ok().out;
    assert!(diff.contains("mine.txt"), "{diff}");
    let listed = arena.run(&["checkpoint", "list", &id]).ok().out;
    assert!(listed.contains("ckp_"), "{listed}");
    arena.run(&["history", &id, "--verify"]).ok();
}

#[test]
fn deleting_bringing_back_and_purging_at_once_end_orderly() {
    let arena = Arena::repository();
    for round in 0..4 {
        let id = arena.start("true", &[]);
        if round % 2 == 0 {
            arena.run(&["run", &id, "--wait"]);
        }
        let delete: &[&str] = &["task", "delete", &id];
        let undelete: &[&str] = &["task", "undelete", &id];
        let purge: &[&str] = &["task", "purge", &id, "--yes"];
        let look: &[&str] = &["show", &id, "--include-deleted"];
        let ran = arena.at_once(&[delete, undelete, purge, look, delete, undelete, purge]);
        for one in &ran {
            assert!(matches!(one.code, Some(0 | 3 | 4)), "{ran:#?}");
        }
        let shown = arena.show(&id);
        if shown["purged_at"].is_string() {
            assert!(!folder(&arena, &id).exists());
        } else {
            arena
                .run(&["history", &id, "--include-deleted", "--verify"])
                .ok();
        }
        arena.run(&["index", "verify"]).ok();
        arena.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn deleting_beside_a_daemon_ends_what_it_starts() {
    let arena = Arena::repository();
    let ids: Vec<String> = (0..4).map(|_| arena.start("sleep 600", &[])).collect();
    let mut daemon = arena
        .command(["daemon", "--max-concurrent", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    arena.runner_at_work(&ids[0]);
    let deletes: Vec<Vec<&str>> = ids.iter().map(|id| vec!["task", "delete", id]).collect();
    let mut commands: Vec<&[&str]> = deletes.iter().map(Vec::as_slice).collect();
    commands.push(&deletes[0]);
    let ran = arena.at_once(&commands);
    for one in &ran {
        assert!(matches!(one.code, Some(0 | 3)), "{ran:#?}");
    }
    let status = arena.run(&["status", "--json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(status["tasks"].as_array().unwrap().len(), 0, "{status:#}");
    arena.until("nobody works", || arena.runners().is_empty());
    for id in &ids {
        let shown = arena.show(id);
        assert!(shown["deleted_at"].is_string(), "{shown:#}");
    }
    arena.run(&["task", "undelete", &ids[3]]).ok();
    let purged = arena
        .run(&["task", "delete", &ids[3], "--purge", "--yes"])
        .ok();
    assert!(purged.out.contains("purged"), "{purged:?}");
    arena.until("its folder is gone", || !folder(&arena, &ids[3]).exists());
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    arena.run(&["index", "verify"]).ok();
    arena.run(&["audit", "verify"]).ok();
}

#[test]
fn every_moment_of_purging_has_its_test() {
    assert_eq!(CrashPoint::OF_PURGING.len(), 3);
}

#[test]
fn the_daemon_purges_what_was_deleted_long_enough_ago() {
    for (setting, is_purged) in [
        ("deletion.keep_days=0", true),
        ("deletion.keep_days=1", false),
        ("deletion.purge=false", false),
    ] {
        let arena = Arena::repository();
        let (id, _) = deleted(&arena);
        let next = arena.start("true", &[]);
        let settings = [setting, "deletion.keep_days=0"];
        let settings = &settings[..if setting.contains("days") { 1 } else { 2 }];
        let flags = settings.iter().flat_map(|setting| ["--config", setting]);
        let args: Vec<&str> = ["daemon"].into_iter().chain(flags).collect();
        let mut daemon = arena
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if is_purged {
            arena.until("purged", || !folder(&arena, &id).exists());
            assert!(arena.show(&id)["purged_at"].is_string());
        } else {
            // Its housekeeping comes before it starts anything.
            arena.run(&["wait", &next, "--timeout", "60"]).ok();
            assert!(arena.show(&id)["purged_at"].is_null(), "{setting}");
            assert!(folder(&arena, &id).exists(), "{setting}");
        }
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        arena.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn who_dies_while_the_task_ends_leaves_it_cancelled_and_another_deletes_it() {
    let arena = Arena::repository();
    let id = arena.start(
        "trap '' TERM; touch $HOME/ready; while :; do sleep 0.1; done",
        &[],
    );
    arena.run(&["run", &id]).ok();
    let ready = arena.root().join("home/ready");
    arena.until("at work", || ready.exists());
    let mut delete = arena
        .command(["task", "delete", &id])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    arena.until("told to stop", || {
        let history = arena.run(&["history", &id]).ok().out;
        history.contains("was told to stop")
    });
    delete.kill().unwrap();
    delete.wait().unwrap();
    arena.run(&["wait", &id, "--timeout", "60"]);
    assert_eq!(arena.status_of(&id), "cancelled");
    assert!(arena.show(&id)["deleted_at"].is_null());
    arena.run(&["task", "delete", &id]).ok();
    assert!(arena.show(&id)["deleted_at"].is_string());
    arena.until("nobody works", || arena.runners().is_empty());
}
