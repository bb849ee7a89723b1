//! The documented sessions, command by command.

use std::fs;

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    a_simple_task,
    options_are_said_and_stored,
    wrong_input_makes_no_file,
    unquoted_words_and_their_order,
    cancelling,
    a_stubborn_tree_is_killed,
    cleaning,
    in_parallel,
    retrying_by_hand,
    retrying_by_itself,
    retries_beside_other_work,
    time_limits,
    a_time_limit_needs_no_command,
    a_directed_graph,
    a_circle_in_files,
    self_test,
];

fn a_simple_task(queue: &Queue) {
    let started = queue
        .run(&["start", "coder", "Write a Hello World function in Python"])
        .ok();
    let id = started.id();
    assert_eq!(
        started.out.trim_end(),
        format!("Task {id} created for coder.")
    );
    assert_eq!(queue.ids(), std::slice::from_ref(&id));
    let json = queue.json(&id);
    assert_eq!(json["status"], "pending");
    assert_eq!(json["prompt"], "Write a Hello World function in Python");
    assert_eq!(
        json["planFile"],
        format!("{}/plans/{id}_plan.md", queue.base)
    );
    assert_eq!(json["logFile"], format!("{}/logs/{id}.log", queue.base));
    assert_eq!(
        (&json["retryCount"], &json["maxRetries"]),
        (&0.into(), &3.into())
    );
    assert_eq!(
        (&json["autoRetry"], &json["priority"]),
        (&false.into(), &5.into())
    );
    for key in [
        "timeout",
        "timeoutWarning",
        "parentTaskId",
        "pid",
        "startedAt",
    ] {
        assert!(json[key].is_null(), "{key}");
    }
    assert!(json["createdAt"].as_str().unwrap().ends_with('Z'));
    let age = jiff::Timestamp::now().as_millisecond() - queue.millis(&id, "createdAt");
    assert!((0..60_000).contains(&age), "{age}");
    let plan = fs::read_to_string(queue.path(&format!("plans/{id}_plan.md"))).unwrap();
    assert!(plan.contains("Write a Hello World function"));
    let ran = queue.run(&["run"]).ok();
    let pid = queue.pid(&id);
    assert_eq!(
        ran.out.lines().next(),
        Some(&*format!("Started task {id} (PID: {pid})."))
    );
    queue.until(&id, "complete");
    let done = poll_until(PATIENCE, || !queue.sentinel(&id, "done").exists());
    assert!(done, "the sentinel file is gone");
    let json = queue.json(&id);
    assert!(json["completedAt"].as_str().unwrap() >= json["startedAt"].as_str().unwrap());
    let status = queue.run(&["status"]).ok().out;
    assert!(queue.row(&id).contains('✓'), "{status}");
    assert!(
        status.contains("1 total") && status.contains("1 completed"),
        "{status}"
    );
    assert!(queue.run(&["run"]).ok().out.starts_with("No pending tasks"));
}

fn options_are_said_and_stored(queue: &Queue) {
    let args = "start coder X --timeout 300 --priority 8 --auto-retry --max-retries 5";
    let args: Vec<&str> = args.split(' ').collect();
    let started = queue.run(&args).ok();
    for line in [
        "Max retries: 5",
        "Auto-retry: enabled",
        "Priority: 8",
        "Timeout: 300s (5m)",
    ] {
        assert!(started.out.contains(line), "{line}: {}", started.out);
    }
    let json = queue.json(&started.id());
    assert_eq!(
        (&json["timeout"], &json["timeoutWarning"]),
        (&300.into(), &60.into())
    );
    let same = queue.run(&["start", "coder", "X", "--timeout=300"]).ok();
    assert_eq!(queue.json(&same.id())["timeout"], 300);
}

fn wrong_input_makes_no_file(queue: &Queue) {
    for args in [
        &["start", "coder", "X", "--priority", "0"][..],
        &["start", "coder", "X", "--priority", "11"],
        &["start", "coder", "X", "--timeout", "0"],
        &["start", "coder", "X", "--timeout", "-5"],
        &["start", "coder", ""],
        &["start", "../x y", "X"],
        &["start", "coder", "X", "--depends-on", "task_1"],
        &["cancel", "task_1"],
        &["cancel", "../x"],
        &["cancel", "task_/../x"],
        &["clean", "task_1\n"],
        &["retry", ""],
    ] {
        let ran = queue.run(args);
        assert_ne!(ran.code, 0, "{args:?}");
        assert!(
            !ran.err.is_empty() && !ran.err.contains("panicked"),
            "{args:?}: {}",
            ran.err
        );
    }
    let tasks = queue.path("tasks");
    assert!(!tasks.exists() || queue.ids().is_empty());
}

fn unquoted_words_and_their_order(queue: &Queue) {
    let words: Vec<&str> = "start sleeper Create a REST API server"
        .split(' ')
        .collect();
    let first = queue.run(&words).ok().id();
    let second = queue.start(&["sleeper", "Write", "unit", "tests"]);
    assert_eq!(queue.json(&first)["prompt"], "Create a REST API server");
    assert!(queue.row(&first).contains('⏸') && queue.row(&second).contains('⏸'));
    assert!(queue.run(&["run"]).ok().out.contains(&first));
    assert!(queue.run(&["run"]).ok().out.contains(&second));
    let (one, two) = (queue.pid(&first), queue.pid(&second));
    assert!(one != two && is_alive(one) && is_alive(two));
    assert!(queue.row(&first).contains('⏱') && queue.row(&second).contains('⏱'));
}

fn cancelling(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x"]);
    let pid = queue.pid(&id);
    let ran = queue.run(&["cancel", &id]).ok();
    assert_eq!(
        ran.out.trim_end(),
        format!("Task {id} cancelled (PID: {pid} terminated).")
    );
    assert!(!is_alive(pid));
    assert_eq!(queue.word(&id), "cancelled");
    assert!(queue.sentinel(&id, "cancelled").exists());
    let before = queue.json(&id);
    let again = queue.run(&["cancel", &id]);
    assert!(
        again.err.contains("cancelled") && again.code != 0,
        "{again:?}"
    );
    assert_eq!(queue.json(&id), before);
    let waiting = queue.start(&["coder", "y"]);
    let ran = queue.run(&["cancel", &waiting]).ok();
    assert_eq!(
        ran.out.trim_end(),
        format!("Task {waiting} cancelled (was pending).")
    );
    assert!(!queue.sentinel(&waiting, "cancelled").exists());
    let unknown = queue.run(&["cancel", "task_77"]);
    assert!(
        unknown.code != 0 && unknown.err.contains("Task task_77 not found"),
        "{unknown:?}"
    );
}

fn a_stubborn_tree_is_killed(queue: &Queue) {
    let id = queue.launch(&["stubborn", "x"]);
    let pid = queue.pid(&id);
    let child = || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children
            .unwrap_or_default()
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    assert!(poll_until(PATIENCE, || child().is_some()));
    let child = child().unwrap();
    queue.run(&["cancel", &id]).ok();
    assert!(!is_alive(pid) && !is_alive(child));
    assert_eq!(queue.word(&id), "cancelled");
}

fn cleaning(queue: &Queue) {
    let end = |agent: &str, word: &str| {
        let id = queue.launch(&[agent, "x"]);
        queue.until(&id, word);
        id
    };
    let (complete, failed) = (end("coder", "complete"), end("err", "failed"));
    let cancelled = queue.start(&["coder", "x"]);
    queue.run(&["cancel", &cancelled]).ok();
    let (running, pending) = (
        queue.launch(&["sleeper", "x"]),
        queue.start(&["coder", "x"]),
    );
    fs::write(queue.sentinel(&complete, "exitcode"), "0").unwrap();
    let ran = queue.run(&["clean"]).ok();
    let line = format!("Cleaned up 1 completed task: {complete}");
    let short = format!("Cleaned up 1 task: {complete}");
    assert!(
        [line, short].contains(&ran.out.trim_end().to_owned()),
        "{ran:?}"
    );
    for left in ["tasks", "plans", "logs"] {
        let names = fs::read_dir(queue.path(left)).unwrap().flatten();
        let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
        assert!(!names.any(|name| name.starts_with(&complete)), "{left}");
    }
    queue.run(&["clean", "failed"]).ok();
    assert!(!queue.ids().contains(&failed));
    let ran = queue.run(&["clean", &running]);
    assert!(
        ran.out.contains("No tasks found") && queue.ids().contains(&running),
        "{ran:?}"
    );
    queue.run(&["clean", "cancelled"]).ok();
    assert!(!queue.ids().contains(&cancelled));
    queue.run(&["clean", "all"]).ok();
    let mut left = vec![running, pending];
    left.sort_unstable();
    assert_eq!(queue.ids(), left);
    let bogus = queue.run(&["clean", "bogus"]);
    assert!(bogus.code != 0 && bogus.err.contains("completed, failed, cancelled, all"));
    for number in 1..=11 {
        queue.plant(&format!("task_{number}"), "\"status\":\"complete\"");
    }
    let ids = queue.ids().len();
    assert!(queue.run(&["status"]).ok().out.contains("11 completed"));
    let asked = queue.place.feed(&["clean", "completed"], Some("n\n")).ok();
    assert!(asked.err.contains("Found 11 tasks to delete:"), "{asked:?}");
    let listed = (1..=11).filter(|n| asked.err.contains(&format!("  - task_{n} (complete")));
    assert!(listed.count() >= 10, "{asked:?}");
    assert!(asked.err.contains("Proceed with deletion? (y/N): "));
    assert_eq!(queue.ids().len(), ids);
    let closed = queue.run(&["clean", "completed"]);
    assert!(
        closed.code != 0 && !closed.err.contains("panicked"),
        "{closed:?}"
    );
    assert_eq!(queue.ids().len(), ids);
    queue.place.feed(&["clean", "completed"], Some("y\n")).ok();
    assert_eq!(queue.ids().len(), ids - 11);
    for number in 21..=32 {
        queue.plant(&format!("task_{number}"), "\"status\":\"complete\"");
    }
    let ran = queue.run(&["clean", "-y"]).ok();
    let many = "Cleaned up 12 completed tasks: task_21, task_22, task_23, task_24, task_25, \
        ... and 7 more";
    assert_eq!(ran.out.trim_end(), many, "{ran:?}");
    assert_eq!(queue.ids().len(), ids - 11);
    assert_eq!(bogus.code, 1);
}

fn in_parallel(queue: &Queue) {
    let ids: Vec<String> = (0..5).map(|_| queue.start(&["sleeper", "x"])).collect();
    let ran = queue.run(&["run", "--parallel"]).ok();
    let first = ran.out.lines().next().unwrap();
    let named = format!("Started 3 task(s): {} (PIDs: ", ids[..3].join(", "));
    assert!(first.starts_with(&named), "{first}");
    for id in &ids[..3] {
        assert!(first.contains(&queue.pid(id).to_string()), "{first}");
    }
    assert!(ran.out.contains("Running: 3/3 tasks"), "{}", ran.out);
    let full = queue.run(&["run", "--parallel"]).ok().out;
    assert!(
        full.contains("Already running 3 tasks (max: 3). No slots available."),
        "{full}"
    );
    fs::write(queue.sentinel(&ids[0], "done"), "").unwrap();
    queue.until(&ids[0], "complete");
    let one = queue.run(&["run", "--parallel"]).ok().out;
    assert!(
        one.starts_with(&format!("Started 1 task(s): {}", ids[3])),
        "{one}"
    );
    queue.run(&["run", "--parallel", "5"]).ok();
    assert_eq!(queue.word(&ids[4]), "running");
}

fn retrying_by_hand(queue: &Queue) {
    let a = queue.launch(&["err", "Call it", "--timeout", "90", "--priority", "7"]);
    queue.until(&a, "failed");
    assert_eq!(queue.json(&a)["errorMessage"], "Network timeout");
    let ran = queue.run(&["retry", &a]).ok();
    let new = ran.id();
    let line = format!("Task {new} created as retry for {a} (attempt 1/3)");
    assert_eq!(ran.out.lines().next(), Some(line.as_str()));
    let json = queue.json(&new);
    assert_eq!(
        (&json["retryCount"], &json["parentTaskId"]),
        (&1.into(), &a.as_str().into())
    );
    assert_eq!(
        (&json["timeout"], &json["priority"]),
        (&90.into(), &7.into())
    );
    let history = &json["retryHistory"];
    assert_eq!(history.as_array().unwrap().len(), 1);
    assert_eq!(
        (&history[0]["attempt"], &history[0]["error"]),
        (&1.into(), &"Network timeout".into())
    );
    assert_eq!(history[0]["retriedFrom"], a.as_str());
    let old = queue.json(&a);
    assert_eq!(old["retriedBy"], new.as_str());
    assert!(old["retriedAt"].is_string());
    let plan = fs::read_to_string(queue.path(&format!("plans/{new}_plan.md"))).unwrap();
    assert!(
        plan.contains("Retry Attempt 1/3") && plan.contains("Network timeout"),
        "{plan}"
    );
    let row = queue.run(&["status"]).ok().out;
    assert!(
        row.contains(&format!("↻ {new}")) && row.contains("1/3"),
        "{row}"
    );
    assert_ne!(queue.run(&["retry", &a]).code, 0, "it is retried already");
    let pending = queue.run(&["retry", &new]);
    assert!(pending.code != 0 && pending.err.contains("Only failed tasks can be retried."));
    let mut last = new;
    for attempt in 2..=3 {
        queue.run(&["run", &last]).ok();
        queue.until(&last, "failed");
        last = queue.run(&["retry", &last]).ok().id();
        let json = queue.json(&last);
        assert_eq!(json["parentTaskId"], a.as_str());
        assert_eq!(json["retryHistory"].as_array().unwrap().len(), attempt);
    }
    queue.run(&["run", &last]).ok();
    queue.until(&last, "failed");
    let over = queue.run(&["retry", &last]);
    assert!(
        over.code != 0 && over.err.contains("has reached max retries (3/3)"),
        "{over:?}"
    );
    let more = queue
        .run(&["retry", &last, "--max-retries", "5", "--auto"])
        .ok()
        .id();
    let json = queue.json(&more);
    assert_eq!(
        (&json["maxRetries"], &json["autoRetry"]),
        (&5.into(), &true.into())
    );
}

fn retrying_by_itself(queue: &Queue) {
    let args = ["flaky", "Deploy it", "--max-retries", "5", "--auto-retry"];
    let first = queue.launch(&args);
    queue.until(&first, "failed");
    let row = queue.row(&first);
    assert!(row.contains('🔄') && row.contains("retry in "), "{row}");
    let mut said = String::new();
    for _ in 0..20 {
        said.push_str(&queue.run(&["status"]).ok().out);
    }
    assert!(queue.ids().len() <= 2, "{:?}", queue.ids());
    let advanced = poll_until(PATIENCE, || {
        said.push_str(&queue.run(&["run"]).ok().out);
        queue
            .ids()
            .last()
            .is_some_and(|last| queue.word(last) == "complete")
    });
    assert!(advanced, "{said}");
    let ids = queue.ids();
    assert_eq!(ids.len(), 3, "{ids:?}");
    for (of, attempt) in [(&ids[0], 1), (&ids[1], 2)] {
        let line = format!("Auto-retrying {of} (attempt {attempt}/5)");
        assert_eq!(said.matches(&line).count(), 1, "{line}: {said}");
    }
    let row = queue.row(&ids[2]);
    assert!(row.contains('✓') && row.contains("2/5"), "{row}");
    assert_eq!(queue.json(&ids[2])["parentTaskId"], ids[0].as_str());
}

fn retries_beside_other_work(queue: &Queue) {
    let auto = "--auto-retry";
    let failing: Vec<String> = (0..2).map(|_| queue.start(&["err", "x", auto])).collect();
    let done = queue.start(&["coder", "x", auto]);
    let busy = queue.start(&["sleeper", "x", auto]);
    queue.run(&["run", "--parallel", "4"]).ok();
    for id in &failing {
        queue.until(id, "failed");
    }
    queue.until(&done, "complete");
    let shown = poll_until(PATIENCE, || {
        queue.run(&["status"]).ok();
        queue.ids().len() == 6
    });
    assert!(shown, "{:?}", queue.ids());
    for id in &failing {
        let next = queue.json(id)["retriedBy"].as_str().unwrap().to_owned();
        assert_eq!(queue.json(&next)["parentTaskId"], id.as_str());
    }
    assert_eq!(
        (queue.word(&done).as_str(), queue.word(&busy).as_str()),
        ("complete", "running")
    );
}

fn time_limits(queue: &Queue) {
    let id = queue.launch(&["sleeper", "Run infinite loop", "--timeout", "300"]);
    let pid = queue.pid(&id);
    let row = queue.row(&id);
    let time = row.split('|').nth(5).unwrap().trim();
    let elapsed = time.strip_suffix("s / 5m").map(str::parse::<u64>);
    assert!(matches!(elapsed, Some(Ok(_))), "{row}");
    let ran = queue.run(&["timeout", "extend", &id, "300"]).ok();
    let line = format!("Extended timeout for task {id} by 300s (new limit: 600s, 10m)");
    assert_eq!(ran.out.trim_end(), line);
    assert!(is_alive(pid));
    assert_eq!(queue.json(&id)["timeout"], 600);
    let list = queue.run(&["timeout", "list"]).ok().out;
    assert!(
        list.contains("Total with timeouts: 1 | Running: 1 | Timed out: 0"),
        "{list}"
    );
    let ran = queue.run(&["timeout", &id]).ok();
    assert_eq!(
        ran.out.trim_end(),
        format!("Task {id} timed out (PID: {pid} terminated)")
    );
    let json = queue.json(&id);
    assert_eq!(
        (&json["status"], &json["errorMessage"]),
        (&"failed".into(), &"Manually timed out".into())
    );
    assert!(json["timedOutAt"].is_string());
    assert!(queue.row(&id).contains("⏱ timeout"), "{}", queue.row(&id));
}

fn a_time_limit_needs_no_command(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x", "--timeout", "1"]);
    let pid = queue.pid(&id);
    queue.until(&id, "failed");
    assert!(!is_alive(pid));
    let json = queue.json(&id);
    assert_eq!(json["errorMessage"], "Task timed out after 1 seconds");
    assert!(json["timedOutAt"].is_string());
    let log = fs::read_to_string(queue.path(&format!("logs/{id}.log"))).unwrap_or_default();
    assert!(log.to_lowercase().contains("time"), "{log}");
}

fn a_directed_graph(queue: &Queue) {
    let a = queue.start(&["coder", "a", "--priority", "10"]);
    let b = queue.start(&["coder", "b", "--priority", "9", "--depends-on", &a]);
    let c = queue.start(&["err", "c", "--priority", "9", "--depends-on", &a]);
    let ran = queue
        .run(&["start", "coder", "d", "--depends-on", &b, &c])
        .ok();
    let d = ran.id();
    assert!(
        ran.out.contains(&format!("Dependencies: {b}, {c}")),
        "{}",
        ran.out
    );
    assert_eq!(queue.json(&d)["dependsOn"], serde_json::json!([b, c]));
    let graph = queue.run(&["deps", "graph"]).ok().out;
    assert!(
        graph.contains(&format!("{b} (pending)\n  └─> {a} (pending)")),
        "{graph}"
    );
    assert!(
        queue
            .run(&["deps", "validate"])
            .ok()
            .out
            .contains("✓ No circular dependencies")
    );
    let shown = queue.run(&["deps", "show", &d]).ok().out;
    assert!(shown.contains("Dependencies (2):") && shown.contains(&format!("⏸ {b} (pending)")));
    queue.run(&["run", "--parallel", "3"]).ok();
    assert_eq!(
        (queue.word(&b), queue.word(&c)),
        ("pending".to_owned(), "pending".to_owned())
    );
    queue.until(&a, "complete");
    queue.run(&["run", "--parallel", "3"]).ok();
    queue.until(&b, "complete");
    queue.until(&c, "failed");
    let row = queue.row(&d);
    assert!(
        row.contains('🚫') && row.contains(&format!("Dependency {c} failed")),
        "{row}"
    );
    assert_eq!(queue.json(&d)["status"], "pending");
}

fn a_circle_in_files(queue: &Queue) {
    queue.plant(
        "task_11",
        "\"status\":\"pending\",\"dependsOn\":[\"task_12\"]",
    );
    queue.plant(
        "task_12",
        "\"status\":\"pending\",\"dependsOn\":[\"task_11\"]",
    );
    let ran = queue.run(&["deps", "validate"]);
    assert!(
        ran.code == 1 && ran.out.contains("✗ Circular dependency detected!"),
        "{ran:?}"
    );
    assert!(
        ran.out.contains("Cycle: task_11 -> task_12 -> task_11"),
        "{}",
        ran.out
    );
    assert!(queue.run(&["run"]).ok().out.contains("No pending tasks"));
    assert_eq!(queue.word("task_11"), "pending");
}

fn self_test(queue: &Queue) {
    queue.run(&["self-test"]).ok();
}
