//! The daemon, the archive, the configuration and the index.

use std::{fs, process::Child};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive, read_json};

in_both![
    a_daemon_runs_what_comes,
    a_daemon_hears_files_and_announces_retries,
    configuration,
    archiving,
    the_index,
];

struct Daemon(Option<Child>);

impl Daemon {
    fn start(queue: &Queue, args: &[&str]) -> Self {
        let args: Vec<&str> = ["daemon"].iter().chain(args).copied().collect();
        Self(Some(queue.place.command(args).spawn().unwrap()))
    }

    fn stop(mut self) -> (i32, String) {
        let child = self.0.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn a_daemon_runs_what_comes(queue: &Queue) {
    let ids: Vec<String> = (0..3)
        .map(|_| queue.start(&["coder", "x", "--auto-retry"]))
        .collect();
    let daemon = Daemon::start(queue, &["--max-concurrent", "2", "--interval", "1"]);
    for id in &ids {
        queue.until(id, "complete");
    }
    let second = queue.run(&["daemon"]);
    assert_ne!(second.code, 0, "{second:?}");
    let busy = queue.start(&["sleeper", "x"]);
    queue.until(&busy, "running");
    assert!(poll_until(PATIENCE, || queue.json(&busy)["pid"].is_u64()));
    let pid = queue.pid(&busy);
    let (code, said) = daemon.stop();
    assert_eq!(code, 0, "{said}");
    for line in [
        "Agent Orchestrator Daemon Started",
        "Max concurrent tasks: 2",
        "Daemon stopped",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert!(is_alive(pid));
    queue.run(&["cancel", &busy]).ok();
    assert!(!is_alive(pid));
    assert_ne!(queue.run(&["daemon", "-c", "0"]).code, 0);
    assert_ne!(queue.run(&["daemon", "-i", "0"]).code, 0);
}

fn a_daemon_hears_files_and_announces_retries(queue: &Queue) {
    queue.run(&["status"]).ok();
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    let failing = queue.start(&["flaky", "x", "--auto-retry", "--max-retries", "5"]);
    queue.plant("task_7", "\"status\":\"pending\"");
    queue.until("task_7", "complete");
    let done = poll_until(PATIENCE, || {
        let ids = queue.ids();
        ids.len() == 4 && ids.iter().filter(|id| queue.word(id) == "complete").count() == 2
    });
    assert!(done, "{:?}", queue.ids());
    let (_, said) = daemon.stop();
    let line = format!("Auto-retrying {failing} (attempt 1/5)");
    assert_eq!(said.matches(&line).count(), 1, "{said}");
}

fn configuration(queue: &Queue) {
    let ran = queue.run(&["config", "init"]).ok();
    let file = format!("{}/config.json", queue.base);
    assert!(
        ran.out
            .contains(&format!("Created default configuration at {file}")),
        "{}",
        ran.out
    );
    let json = read_json(&queue.path("config.json"));
    let expected = serde_json::json!({"archive": {
        "enabled": false, "max_completed_age_days": 7, "max_failed_age_days": 14,
        "max_queue_size": 100, "archive_dir": format!("{}/archive", queue.base),
    }});
    assert_eq!(json, expected);
    let shown = queue.run(&["config", "show"]).ok().out;
    assert!(
        shown.contains("Current Configuration:\n  archive.enabled: False\n"),
        "{shown}"
    );
    let ran = queue
        .run(&["config", "set", "archive.enabled", "true"])
        .ok();
    assert!(ran.out.contains("Set archive.enabled = true"));
    assert_eq!(
        read_json(&queue.path("config.json"))["archive"]["enabled"],
        true
    );
    let before = fs::read(queue.path("config.json")).unwrap();
    for (key, value) in [
        ("bogus", "1"),
        ("archive.x", "1"),
        ("archive.enabled", "maybe"),
        ("archive.max_queue_size", "many"),
    ] {
        assert_ne!(queue.run(&["config", "set", key, value]).code, 0, "{key}");
    }
    assert_eq!(fs::read(queue.path("config.json")).unwrap(), before);
    assert_ne!(
        queue.run(&["config", "init"]).code,
        0,
        "nobody answers the question"
    );
}

fn archiving(queue: &Queue) {
    // The 20th of November 2026 is no part of this: ages are counted from now.
    for (id, word, days) in [
        ("task_1", "complete", 10),
        ("task_2", "complete", 8),
        ("task_3", "complete", 3),
        ("task_4", "failed", 15),
        ("task_5", "failed", 10),
    ] {
        let at = days_ago(days);
        queue.plant(
            id,
            &format!("\"status\":\"{word}\",\"completedAt\":\"{at}\",\"x\":1"),
        );
    }
    let refused = queue.run(&["archive"]);
    assert!(
        refused.code != 0 && refused.err.contains("--force"),
        "{refused:?}"
    );
    let dry = queue.run(&["archive", "--dry-run"]).ok().out;
    assert!(
        dry.contains("Found 3 task(s) eligible for archival:"),
        "{dry}"
    );
    assert!(dry.contains("task_1 (complete, 10 days old)"), "{dry}");
    assert_eq!(queue.ids().len(), 5);
    let before = fs::read(queue.sentinel("task_1", "json")).unwrap();
    let ran = queue.run(&["archive", "--force"]).ok().out;
    assert!(ran.contains("Archived: 3, Errors: 0"), "{ran}");
    assert_eq!(queue.ids(), ["task_3", "task_5"]);
    assert!(queue.path("archive/task_1.json").exists());
    assert!(
        queue
            .run(&["archive", "stats"])
            .ok()
            .out
            .contains("Total archived tasks: 3")
    );
    queue.run(&["archive", "restore", "task_1"]).ok();
    assert_eq!(fs::read(queue.sentinel("task_1", "json")).unwrap(), before);
    queue.run(&["index", "verify"]).ok();
}

fn days_ago(days: i64) -> jiff::Timestamp {
    jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days + 1)
}

fn the_index(queue: &Queue) {
    for _ in 0..6 {
        queue.start(&["coder", "x", "--priority", "10"]);
    }
    let ran = queue.run(&["index", "rebuild"]).ok().out;
    assert!(ran.contains("✓ Index rebuilt with 6 tasks"), "{ran}");
    let stats = queue.run(&["index", "stats"]).ok().out;
    for line in ["pending: 6", "coder: 6", "Priority 10: 6"] {
        assert!(stats.contains(line), "{line}: {stats}");
    }
    let ids = queue.ids();
    queue.run(&["cancel", &ids[0]]).ok();
    queue.run(&["clean", "cancelled"]).ok();
    queue.start(&["err", "x"]);
    assert!(
        queue
            .run(&["index", "verify"])
            .ok()
            .out
            .contains("✓ Index is consistent")
    );
    fs::remove_file(queue.sentinel(&ids[1], "json")).unwrap();
    let drift = queue.run(&["index", "verify"]);
    assert!(drift.code == 1 && drift.out.contains(&ids[1]), "{drift:?}");
    assert!(queue.run(&["status"]).ok().err.is_empty());
}
