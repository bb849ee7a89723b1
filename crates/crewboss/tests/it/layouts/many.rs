//! A large queue.

use std::fs;

use super::{Queue, in_both, read_json};

in_both![a_large_queue_is_paged_and_stays_whole];

const TASKS: usize = 6_000;

fn a_large_queue_is_paged_and_stays_whole(queue: &Queue) {
    for number in 1..=TASKS {
        let word = ["complete", "failed", "complete", "complete", "pending"][number % 5];
        queue.plant(
            &format!("task_{}", 1_700_000_000_000 + number),
            &format!("\"status\":\"{word}\""),
        );
    }
    let first = queue.run(&["status"]).ok().out;
    assert!(first.contains(&format!("{TASKS} total")), "{first}");
    assert!(first.lines().count() < 100, "a page, not all");
    assert_eq!(read_json(&queue.path("tasks/index.json"))["count"], TASKS);
    let again = queue.run(&["status"]).ok();
    assert!(again.err.is_empty(), "{}", again.err);
    assert_eq!(again.out, first);

    // Whatever is remembered of so many, what others do is heard.
    queue.plant("task_7", "\"status\":\"complete\"");
    let gone = format!("task_{}", 1_700_000_000_001_u64);
    fs::remove_file(queue.sentinel(&gone, "json")).unwrap();
    let third = queue.run(&["status"]).ok().out;
    assert!(third.contains(&format!("{TASKS} total")), "{third}");
    let edited = format!("task_{}", 1_700_000_000_004_u64);
    assert_eq!(queue.word(&edited), "pending");
    let text = fs::read_to_string(queue.sentinel(&edited, "json")).unwrap();
    fs::write(
        queue.sentinel(&edited, "json"),
        text.replace("\"pending\"", "\"cancelled\""),
    )
    .unwrap();
    // Not replaced but changed in place: heard with whatever changes next.
    queue.plant("task_8", "\"status\":\"complete\"");
    let shown = queue.run(&["show", &edited, "--json"]).ok().json();
    assert_eq!(shown["status"], "cancelled");
}
