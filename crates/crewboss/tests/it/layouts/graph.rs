//! Dependencies: their order, and what a failure holds up until its retry succeeds.

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both};

in_both![
    a_diamond_runs_in_its_order,
    a_retry_that_succeeds_frees_the_rest
];

fn a_diamond_runs_in_its_order(queue: &Queue) {
    let a = queue.start(&["coder", "a", "--priority", "10"]);
    let b = queue.start(&["coder", "b", "--priority", "9", "--depends-on", &a]);
    let c = queue.start(&["coder", "c", "--priority", "9", "--depends-on", &a]);
    let d = queue.start(&["coder", "d", "--priority", "8", "--depends-on", &b, &c]);
    let graph = queue.run(&["deps", "graph"]).ok().out;
    assert!(graph.starts_with("Dependency Graph:\n"), "{graph}");
    let of_d = format!("{d} (pending)\n  └─> {b} (pending)\n  └─> {c} (pending)");
    assert!(graph.contains(&of_d), "{graph}");
    let shown = queue.run(&["deps", "show", &d]).ok().out;
    for line in [
        format!("Task: {d}"),
        "Status: pending".to_owned(),
        "Dependencies (2):".to_owned(),
        format!("  ⏸ {c} (pending)"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    let run = || queue.run(&["run", "--parallel", "3"]).ok().out;
    assert!(run().starts_with(&format!("Started 1 task(s): {a} ")));
    queue.until(&a, "complete");
    assert!(run().starts_with(&format!("Started 2 task(s): {b}, {c} ")));
    queue.until(&b, "complete");
    queue.until(&c, "complete");
    assert!(run().starts_with(&format!("Started 1 task(s): {d} ")));
    queue.until(&d, "complete");
    let began = |id: &str| queue.millis(id, "startedAt");
    assert!(began(&a) <= began(&b) && began(&c) <= began(&d));
}

fn a_retry_that_succeeds_frees_the_rest(queue: &Queue) {
    queue.agent(
        "once",
        "if [ -e went ]; then : > B/tasks/{taskId}.done; else : > went; echo no > B/tasks/{taskId}.error; fi",
    );
    let a = queue.start(&["once", "a"]);
    let b = queue.start(&["coder", "b", "--depends-on", &a]);
    let c = queue.start(&["coder", "c", "--depends-on", &a]);
    let d = queue.start(&["coder", "d", "--depends-on", &b, &c]);
    queue.run(&["run", &a]).ok();
    queue.until(&a, "failed");
    for id in [&b, &c] {
        let row = queue.row(id);
        let blocked = row.contains('🚫') && row.contains(&format!("Dependency {a} failed"));
        assert!(blocked, "{row}");
        assert_eq!(queue.word(id), "pending");
    }
    assert!(queue.row(&d).contains('🚫'), "{}", queue.row(&d));
    let none = queue.run(&["run", "--parallel", "4"]).ok().out;
    assert!(none.starts_with("No pending tasks"), "{none}");
    let retry = queue.run(&["retry", &a]).ok().out;
    let retry = retry.split_whitespace().nth(1).unwrap().to_owned();
    queue.run(&["run", &retry]).ok();
    queue.until(&retry, "complete");
    let said = queue.run(&["run", "--parallel", "4"]).ok().out;
    assert!(
        said.starts_with(&format!("Started 2 task(s): {b}, {c} ")),
        "{said}"
    );
    queue.until(&b, "complete");
    queue.until(&c, "complete");
    queue.run(&["run"]).ok();
    queue.until(&d, "complete");
    let freed = poll_until(PATIENCE, || queue.json(&d)["blockedBy"].is_null());
    assert!(freed, "{:#}", queue.json(&d));
}
