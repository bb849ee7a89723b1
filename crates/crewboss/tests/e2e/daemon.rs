//! The daemon comes and goes; agents stay.

use std::{
    fs::File,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    arena::{Arena, ended},
    census,
    shutdown::checkpoints,
};

const AGENTS: usize = 10;

fn begin(arena: &Arena) -> Child {
    begin_saying(arena, Stdio::piped())
}

fn begin_saying(arena: &Arena, to: Stdio) -> Child {
    let daemon = arena
        .command(["daemon", "--max-concurrent", "20"])
        .stdout(to)
        .spawn()
        .unwrap();
    arena.until_a_daemon();
    daemon
}

/// A script that notes its beginning and, when the file `go` is there, its end with a code.
fn patient(code: usize) -> String {
    format!(
        "echo begun {code} $$ >>$HOME/log; until test -e $HOME/go; do sleep 0.05; done; \
         echo $CREWBOSS_TASK >mine.txt; echo ended {code} >>$HOME/log; exit {code}"
    )
}

fn count(arena: &Arena, word: &str) -> usize {
    let lines = arena.lines("home/log");
    lines.iter().filter(|line| line.starts_with(word)).count()
}

#[test]
fn agents_outlive_a_killed_daemon_and_their_ends_are_known_to_the_next() {
    let arena = Arena::repository();
    let mut daemon = begin(&arena);
    let ids: Vec<String> = (0..AGENTS)
        .map(|code| arena.start(&patient(code), &[]))
        .collect();
    let late = "trap '' TERM; echo late $$ >>$HOME/log; while :; do sleep 0.1; done";
    let late = arena.start(late, &["--timeout", "3"]);
    let began = Instant::now();
    arena.until("all at work", || {
        count(&arena, "begun") == AGENTS && count(&arena, "late") == 1
    });
    let second = arena.run(&["daemon"]).with(4);
    assert!(second.error().contains("daemon"), "{second:#?}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    // Nobody of ours looks from here on: only the runners are there.
    let late_pid = arena.lines("home/log").iter().find_map(|line| {
        line.strip_prefix("late ")
            .and_then(|pid| pid.parse::<u32>().ok())
    });
    arena_until(&|| !census::is_alive(late_pid.unwrap()));
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    std::fs::write(arena.root().join("home/go"), "").unwrap();
    arena_until(&|| count(&arena, "ended") == AGENTS && arena.runners().is_empty());

    let daemon = begin(&arena);
    for (code, id) in ids.iter().enumerate() {
        let shown = arena.show(id);
        let status = if code == 0 { "completed" } else { "failed" };
        assert_eq!(shown["status"], status, "{shown:#}");
        assert_eq!(shown["session"]["exit"]["code"], code, "{shown:#}");
        assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);
    }
    let shown = arena.show(&late);
    assert_eq!(shown["failure"]["reason"], "timeout", "{shown:#}");
    assert_eq!(
        shown["failure"]["message"],
        "Task timed out after 3 seconds"
    );
    assert_eq!(shown["session"]["exit"]["signal"], 9);
    assert_eq!(count(&arena, "begun"), AGENTS, "none ran twice");
    census::signal(daemon.id(), Signal::TERM);
    let daemon = ended(daemon);
    assert_eq!(daemon.code, Some(0), "{daemon:#?}");
}

fn arena_until(holds: &dyn Fn() -> bool) {
    assert!(testkit::poll::poll_until(crate::arena::LONG, holds));
}

#[test]
fn it_stops_in_two_seconds_without_ending_agents_and_the_next_adopts_them() {
    let arena = Arena::folder();
    let daemon = begin(&arena);
    let ids: Vec<String> = (0..3).map(|_| arena.start(&patient(0), &[])).collect();
    arena.until("all at work, and known to be", || {
        let known = |id: &String| arena.show(id)["session"]["status"] == "running";
        count(&arena, "begun") == 3 && ids.iter().all(known)
    });
    let began = Instant::now();
    census::signal(daemon.id(), Signal::TERM);
    let daemon = ended(daemon);
    let took = began.elapsed();
    assert_eq!(daemon.code, Some(0), "{daemon:#?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(daemon.out.contains("Daemon stopped"), "{daemon:#?}");
    assert_eq!(arena.runners().len(), 3);
    for id in &ids {
        let kept = checkpoints(&arena, id);
        assert_eq!(kept.len(), 1, "{daemon:#?}");
        assert_eq!(kept[0]["cause"], "shutdown");
        assert!(daemon.out.contains(kept[0]["id"].as_str().unwrap()));
    }

    let mut daemon = begin(&arena);
    for id in &ids {
        assert_eq!(arena.status_of(id), "running");
    }
    // One whose runner dies under the new daemon goes back to the queue and is started by it.
    census::kill(arena.runner_at_work(&ids[0]));
    arena.until("started again", || count(&arena, "begun") == 4);
    std::fs::write(arena.root().join("home/go"), "").unwrap();
    let wait = ["wait", &ids[0], &ids[1], &ids[2], "--timeout", "60"];
    arena.run(&wait).ok();
    assert_eq!(arena.show(&ids[0])["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(arena.show(&ids[1])["sessions"].as_array().unwrap().len(), 1);
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// A `git` that hangs as long as a file is there.
fn with_slow_git(arena: &mut Arena) {
    use std::os::unix::fs::PermissionsExt as _;
    let programs = arena.root().join("programs");
    std::fs::create_dir(&programs).unwrap();
    let script = "#!/bin/sh\nwhile test -e $HOME/slow; do sleep 0.1; done\n\
        PATH=${PATH#*:} exec git \"$@\"\n";
    let git = programs.join("git");
    std::fs::write(&git, script).unwrap();
    std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap();
    arena.set("PATH", &format!("{}:{path}", programs.display()));
}

#[test]
fn what_hangs_at_its_end_is_left_behind_and_a_second_signal_waits_for_nothing() {
    for signals in [1, 2] {
        let mut arena = Arena::repository();
        with_slow_git(&mut arena);
        let said = File::create(arena.root().join("said")).unwrap();
        let daemon = begin_saying(&arena, said.into());
        let id = arena.start(&patient(0), &[]);
        arena.until("at work", || count(&arena, "begun") == 1);
        arena.runner_at_work(&id);
        std::fs::write(arena.root().join("home/slow"), "").unwrap();
        let began = Instant::now();
        census::signal(daemon.id(), Signal::TERM);
        if signals == 2 {
            arena.until("the first signal heard", || {
                let said = arena.lines("said");
                said.iter().any(|line| line.starts_with("Received signal"))
            });
            census::signal(daemon.id(), Signal::TERM);
        }
        let daemon = ended(daemon);
        let took = began.elapsed();
        assert_eq!(daemon.code, Some(0), "{daemon:#?}");
        assert!(
            daemon.err.contains("not done before the end: checkpoints"),
            "{daemon:#?}"
        );
        assert_eq!(took >= Duration::from_secs(5), signals == 1, "{took:?}");
        assert!(took < Duration::from_secs(8), "{took:?}");
        std::fs::remove_file(arena.root().join("home/slow")).unwrap();
        std::fs::write(arena.root().join("home/go"), "").unwrap();
        arena.run(&["wait", &id, "--timeout", "60"]).ok();
        // What was half made is finished or cleared up by the next.
        let daemon = begin(&arena);
        arena.until("cleared up", || {
            let listed = arena.run(&["checkpoint", "list", &id]).ok();
            !listed.err.contains("was not finished")
        });
        census::signal(daemon.id(), Signal::TERM);
        assert_eq!(ended(daemon).code, Some(0));
    }
}

#[test]
fn what_it_finds_when_it_starts_is_said_and_logged() {
    let arena = Arena::repository();
    let ids: Vec<String> = (0..3).map(|_| arena.start(&patient(0), &[])).collect();
    arena.run(&["run", "--parallel", "3"]).ok();
    arena.until("at work", || count(&arena, "begun") == 3);
    let runner = arena.runner_at_work(&ids[0]);
    let died = arena
        .command(["checkpoint", "create", &ids[1]])
        .env("CREWBOSS_CRASH_AT", "checkpoint-kept")
        .output()
        .unwrap();
    assert_eq!(died.status.code(), None);
    census::kill(runner);
    let daemon = begin(&arena);
    arena.until("started again", || count(&arena, "begun") == 4);
    assert_eq!(checkpoints(&arena, &ids[1]).len(), 1);
    std::fs::write(arena.root().join("home/go"), "").unwrap();
    let wait = ["wait", &ids[0], &ids[1], &ids[2], "--timeout", "60"];
    arena.run(&wait).ok();
    census::signal(daemon.id(), Signal::TERM);
    let daemon = ended(daemon);
    let said = "Found: 2 at work, 0 ended meanwhile, 1 lost and requeued, 0 not to be recovered yet, \
        1 checkpoints cut off";
    assert!(daemon.out.contains(said), "{daemon:#?}");
    let log = arena.run(&["audit", "export"]).ok().out;
    assert_eq!(log.matches("daemon.started").count(), 1, "{log}");
    arena.run(&["audit", "verify"]).ok();
}
