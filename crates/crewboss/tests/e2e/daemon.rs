//! The daemon comes and goes; agents stay.

use std::{
    process::Child,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    arena::{Arena, ended},
    census,
};

const AGENTS: usize = 10;

fn begin(arena: &Arena) -> Child {
    let daemon = arena
        .command(["daemon", "--max-concurrent", "20"])
        .spawn()
        .unwrap();
    arena.until("a daemon", || {
        std::os::unix::net::UnixStream::connect(arena.store().join("daemon.sock")).is_ok()
    });
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
    arena.until("all at work", || count(&arena, "begun") == 3);
    let began = Instant::now();
    census::signal(daemon.id(), Signal::TERM);
    let daemon = ended(daemon);
    let took = began.elapsed();
    assert_eq!(daemon.code, Some(0), "{daemon:#?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(daemon.out.contains("Daemon stopped"), "{daemon:#?}");
    assert_eq!(arena.runners().len(), 3);

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
