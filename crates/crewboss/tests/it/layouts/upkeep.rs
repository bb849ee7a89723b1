//! The daemon, the archive, the configuration and the index.

use std::fs;

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, daemon::Daemon, in_both, is_alive, read_json};

in_both![
    a_daemon_runs_what_comes,
    a_daemon_hears_files_and_announces_retries,
    configuration,
    archiving,
    archiving_by_itself_where_it_is_enabled,
    archiving_breaks_nothing,
    the_index,
    an_index_of_forty_two,
];

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
    for line in [
        "  task_1 (complete, 10 days old)",
        "  task_2 (complete, 8 days old)",
        "  task_4 (failed, 15 days old)",
    ] {
        assert!(dry.lines().any(|shown| shown == line), "{line}: {dry}");
    }
    assert_eq!(dry.matches("days old").count(), 3, "{dry}");
    assert!(dry.contains("[Dry run - no changes made]"), "{dry}");
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

fn archiving_by_itself_where_it_is_enabled(queue: &Queue) {
    queue.run(&["config", "init"]).ok();
    queue
        .run(&["config", "set", "archive.enabled", "true"])
        .ok();
    for number in 1..=12 {
        let at = days_ago(9);
        queue.plant(
            &format!("task_{number}"),
            &format!("\"status\":\"complete\",\"completedAt\":\"{at}\""),
        );
    }
    let no = queue.place.feed(&["archive"], Some("n\n")).ok();
    assert!(no.err.contains("Archive 12 tasks? (y/N): "), "{no:?}");
    assert_eq!(queue.ids().len(), 12);
    let closed = queue.run(&["archive"]);
    assert!(closed.code != 0 && !closed.err.contains("panicked"));
    assert_eq!(queue.ids().len(), 12);
    let yes = queue.place.feed(&["archive"], Some("y\n")).ok();
    assert!(yes.out.contains("Archived: 12, Errors: 0"), "{yes:?}");
    assert!(queue.ids().is_empty());
    assert!(queue.path("archive/task_12.json").exists());
    let none = queue.run(&["archive"]).ok().out;
    assert!(none.contains("No tasks eligible for archival."), "{none}");
}

fn archiving_breaks_nothing(queue: &Queue) {
    let old = days_ago(20);
    queue.plant(
        "task_1",
        &format!("\"status\":\"failed\",\"completedAt\":\"{old}\",\"retriedBy\":\"task_2\""),
    );
    queue.plant(
        "task_2",
        "\"status\":\"pending\",\"retryCount\":1,\"parentTaskId\":\"task_1\",\"retryHistory\":[\
         {\"attempt\":1,\"error\":\"e\",\"retriedFrom\":\"task_1\"}]",
    );
    queue.plant(
        "task_3",
        &format!("\"status\":\"complete\",\"completedAt\":\"{old}\""),
    );
    queue.plant(
        "task_4",
        "\"status\":\"pending\",\"dependsOn\":[\"task_3\"]",
    );
    queue.run(&["status"]).ok();
    queue.run(&["archive", "--force"]).ok();
    queue.run(&["run", "--parallel", "4"]).ok();
    for id in ["task_2", "task_4"] {
        queue.until(id, "complete");
    }
    assert_eq!(queue.json("task_2")["parentTaskId"], "task_1");
    queue.run(&["deps", "validate"]).ok();
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

fn an_index_of_forty_two(queue: &Queue) {
    for number in 1..=42 {
        let word = ["pending", "complete", "failed"][number % 3];
        let (id, priority) = (format!("task_{number}"), 1 + number % 2);
        queue.plant(
            &id,
            &format!("\"status\":\"{word}\",\"priority\":{priority}"),
        );
    }
    queue.run(&["status"]).ok();
    fs::write(queue.path("tasks/index.json"), "{}").unwrap();
    let drift = queue.run(&["index", "verify"]);
    assert_eq!(drift.code, 1, "{drift:?}");
    assert!(
        drift.out.contains("⚠ 42 tasks missing from index:"),
        "{drift:?}"
    );
    assert!(drift.out.contains("... and 37 more"), "{drift:?}");
    let said = queue.run(&["index", "rebuild"]).ok().out;
    assert!(said.contains("✓ Index rebuilt with 42 tasks"), "{said}");
    let stats = queue.run(&["index", "stats"]).ok().out;
    for line in [
        "pending: 14",
        "complete: 14",
        "failed: 14",
        "coder: 42",
        "Priority 2: 21",
        "Priority 1: 21",
    ] {
        let shown = stats.lines().any(|shown| shown.trim() == line);
        assert!(shown, "{line}: {stats}");
    }
    let places = ["Priority 2", "Priority 1"].map(|line| stats.find(line));
    assert!(places[0] < places[1], "the highest comes first: {stats}");
    queue.run(&["index", "verify"]).ok();
}
