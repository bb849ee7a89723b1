//! Wall clocks that jump, and time zones that change.

use std::{
    fs,
    time::{Duration, Instant},
};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue};
use crate::layouts::in_both;

in_both![
    a_jump_moves_no_deadline_and_no_elapsed_time,
    a_jump_moves_no_backoff,
    a_time_zone_moves_nothing,
    order_is_kept,
];

const HOUR: i64 = 3_600_000;

/// Points the program at a wall clock that can be set; the boot clock stays as it is.
fn with_clock(queue: &Queue) -> Queue {
    let layout = if queue.base == ".orchestra" {
        "orchestra"
    } else {
        "gemini"
    };
    let mut queue = Queue::new(layout);
    let file = queue.file("clock").display().to_string();
    queue.place.set("CREWBOSS_TEST_CLOCK_FILE", &file);
    jump(&queue, 0);
    queue
}

fn jump(queue: &Queue, millis: i64) {
    fs::write(queue.file("clock.new"), format!("{millis} 0\n")).unwrap();
    fs::rename(queue.file("clock.new"), queue.file("clock")).unwrap();
}

fn a_jump_moves_no_deadline_and_no_elapsed_time(queue: &Queue) {
    for hours in [1, -1] {
        let queue = with_clock(queue);
        let limited = queue.launch(&["sleeper", "x", "--timeout", "4"]);
        let free = queue.launch(&["sleeper", "x"]);
        let began = Instant::now();
        jump(&queue, hours * HOUR);
        let row = queue.row(&free);
        let column = row.split('|').nth(5).unwrap().trim().to_owned();
        let seconds = column.strip_suffix('s').and_then(|n| n.parse::<u64>().ok());
        assert!(seconds.is_some_and(|seconds| seconds < 60), "{row}");
        assert!(queue.row(&limited).contains("/ 4s"));
        queue.until(&limited, "failed");
        let took = began.elapsed();
        assert!(took > Duration::from_secs(2), "{hours}: {took:?}");
        assert_eq!(queue.message(&limited), "Task timed out after 4 seconds");
        assert_eq!(queue.word(&free), "running");
    }
}

fn a_jump_moves_no_backoff(queue: &Queue) {
    for hours in [1, -1] {
        let queue = with_clock(queue);
        let id = queue.launch(&["err", "x", "--auto-retry"]);
        queue.until(&id, "failed");
        let began = Instant::now();
        jump(&queue, hours * HOUR);
        let early = queue.run(&["run"]).ok().out;
        let in_time = began.elapsed() < Duration::from_secs(1);
        assert!(!in_time || early.starts_with("No pending tasks"), "{early}");
        let due = poll_until(PATIENCE, || {
            queue.run(&["run"]).ok().out.contains("Started task")
        });
        assert!(due, "{hours}");
        let took = began.elapsed();
        assert!(took > Duration::from_secs(1), "{hours}: {took:?}");
    }
}

fn a_time_zone_moves_nothing(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x"]);
    let before = fs::read(queue.sentinel(&id, "json")).unwrap();
    let elsewhere = |zone: &str| {
        let output = queue.place.command(["status"]).env("TZ", zone).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    for zone in ["Pacific/Auckland", "America/Los_Angeles"] {
        let shown = elsewhere(zone);
        let row = shown.lines().find(|line| line.contains(&id)).unwrap();
        assert!(!row.contains('h') || !row.contains("1h"), "{row}");
    }
    assert_eq!(fs::read(queue.sentinel(&id, "json")).unwrap(), before);
}

fn order_is_kept(queue: &Queue) {
    let queue = with_clock(queue);
    let first = queue.start(&["sleeper", "1"]);
    jump(&queue, -HOUR);
    let second = queue.start(&["sleeper", "2"]);
    jump(&queue, HOUR);
    let third = queue.start(&["sleeper", "3"]);
    assert_eq!(queue.ids(), [first.clone(), second.clone(), third.clone()]);
    for id in [&first, &second, &third] {
        let ran = queue.run(&["run"]).ok().out;
        assert!(ran.starts_with(&format!("Started task {id} ")), "{ran}");
    }
}
