//! Failures that are tried again: when, how often, and what of.

use std::collections::BTreeSet;

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both};

in_both![
    delays_double,
    a_retry_is_announced_once,
    thirty_failures_at_once,
    a_retry_keeps_what_its_task_waits_for,
    only_failed_tasks_are_tried_again,
];

/// Runs what is due until the last task of the chain is complete; answers what was printed.
fn run_to_the_end(queue: &Queue, chain: usize) -> String {
    let mut said = String::new();
    let ended = poll_until(PATIENCE, || {
        said.push_str(&queue.run(&["run"]).ok().out);
        let ids = queue.ids();
        ids.len() == chain && queue.word(&ids[chain - 1]) == "complete"
    });
    assert!(ended, "{said}");
    said
}

fn delays_double(queue: &Queue) {
    queue.launch(&["flaky", "Deploy", "--max-retries", "5", "--auto-retry"]);
    run_to_the_end(queue, 3);
    let ids = queue.ids();
    for (number, seconds) in [(0, 2), (1, 4)] {
        let failed = queue.millis(&ids[number], "completedAt");
        let next = queue.millis(&ids[number + 1], "startedAt");
        assert!(next - failed >= seconds * 1_000, "{}", next - failed);
    }
}

fn a_retry_is_announced_once(queue: &Queue) {
    let id = queue.launch(&["err", "x", "--max-retries", "1", "--auto-retry"]);
    queue.until(&id, "failed");
    let mut said = String::new();
    for _ in 0..20 {
        said.push_str(&queue.run(&["status"]).ok().out);
    }
    let due = poll_until(PATIENCE, || {
        said.push_str(&queue.run(&["status"]).ok().out);
        queue.ids().len() == 2
    });
    assert!(due, "{said}");
    for _ in 0..5 {
        said.push_str(&queue.run(&["status"]).ok().out);
    }
    assert_eq!(queue.ids().len(), 2);
    let line = format!("Auto-retrying {id} (attempt 1/1)");
    assert_eq!(said.matches(&line).count(), 1, "{said}");
}

fn thirty_failures_at_once(queue: &Queue) {
    let failing: Vec<String> = (0..30)
        .map(|_| queue.start(&["err", "x", "--auto-retry"]))
        .collect();
    queue.run(&["run", "--parallel", "30"]).ok();
    for id in &failing {
        queue.until(id, "failed");
    }
    let shown = poll_until(PATIENCE, || {
        queue.run(&["status"]).ok();
        queue.ids().len() == 60
    });
    assert!(shown, "{}", queue.ids().len());
    let retries: BTreeSet<String> = failing
        .iter()
        .map(|id| {
            let next = queue.json(id)["retriedBy"].as_str().unwrap().to_owned();
            let json = queue.json(&next);
            assert_eq!(json["parentTaskId"], id.as_str());
            assert_eq!(json["retryHistory"][0]["retriedFrom"], id.as_str());
            next
        })
        .collect();
    assert_eq!(retries.len(), 30);
    assert!(failing.iter().all(|id| !retries.contains(id)));
}

fn a_retry_keeps_what_its_task_waits_for(queue: &Queue) {
    let first = queue.launch(&["coder", "x"]);
    queue.until(&first, "complete");
    let id = queue.start(&["err", "y", "--depends-on", &first]);
    queue.run(&["run", &id]).ok();
    queue.until(&id, "failed");
    let ran = queue.run(&["retry", &id]).ok();
    assert!(ran.out.contains("(attempt 1/3)"), "{ran:?}");
    let new = queue.json(&id)["retriedBy"].as_str().unwrap().to_owned();
    let json = queue.json(&new);
    assert_eq!(json["dependsOn"], serde_json::json!([first]));
    assert_eq!(
        (&json["agent"], &json["prompt"]),
        (&"err".into(), &"y".into())
    );
}

fn only_failed_tasks_are_tried_again(queue: &Queue) {
    let done = queue.launch(&["coder", "x"]);
    queue.until(&done, "complete");
    let waiting = queue.start(&["coder", "x"]);
    for (id, word) in [(&done, "complete"), (&waiting, "pending")] {
        let ran = queue.run(&["retry", id]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.err.contains("Only failed tasks can be retried."),
            "{ran:?}"
        );
        let says = format!("Task {id} is not in failed state (current: {word}");
        assert!(ran.err.contains(&says), "{ran:?}");
    }
    let before = queue.ids();
    let failed = queue.launch(&["err", "x"]);
    queue.until(&failed, "failed");
    queue.run(&["retry", &failed]).ok();
    assert_eq!(queue.run(&["retry", &failed]).code, 1, "it is retried");
    assert_eq!(queue.ids().len(), before.len() + 2);
}
