//! The daemon: how much it runs at once, and that agents outlive it.

use std::{fs, process::Child};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    never_more_than_so_many,
    a_restarted_daemon_takes_its_agents_back,
    a_killed_daemon_loses_nothing,
    one_daemon_only,
    sentinel_files_are_noticed_by_themselves,
];

pub(crate) struct Daemon(Option<Child>);

impl Daemon {
    pub(crate) fn start(queue: &Queue, args: &[&str]) -> Self {
        let args: Vec<&str> = ["daemon"].iter().chain(args).copied().collect();
        Self(Some(queue.place.command(args).spawn().unwrap()))
    }

    /// Asks it to end; answers its exit code and what it had printed.
    pub(crate) fn stop(mut self) -> (i32, String) {
        let child = self.0.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), text)
    }

    fn kill(mut self) {
        let mut child = self.0.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
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

fn never_more_than_so_many(queue: &Queue) {
    queue.agent(
        "counted",
        "echo + >>count; sleep 0.3; echo - >>count; : > B/tasks/{taskId}.done; sleep 0.1",
    );
    let ids: Vec<String> = (0..6)
        .map(|_| queue.start(&["counted", "x", "--auto-retry"]))
        .collect();
    let daemon = Daemon::start(queue, &["--max-concurrent", "2", "--interval", "1"]);
    let mut most = 0;
    let done = poll_until(PATIENCE, || {
        let words: Vec<String> = ids.iter().map(|id| queue.word(id)).collect();
        let running = words.iter().filter(|word| *word == "running").count();
        most = most.max(running);
        words.iter().all(|word| word == "complete")
    });
    assert!(done && most <= 2, "{most} at once, done: {done}");
    let mut now = 0_i32;
    let count = queue.lines("count");
    assert_eq!(count.len(), 12);
    let most = count.iter().map(|line| {
        now += if line == "+" { 1 } else { -1 };
        now
    });
    assert!(most.max().unwrap() <= 2, "{count:?}");
    let (code, said) = daemon.stop();
    assert_eq!(code, 0, "{said}");
    let rule = "=".repeat(60);
    let banner = format!(
        "{rule}\nAgent Orchestrator Daemon Started\nMax concurrent tasks: 2\nCheck interval: 1s\n\
         Press Ctrl+C to stop\n{rule}\n"
    );
    assert!(said.starts_with(&banner), "{said}");
    assert!(said.contains("Received signal 15, shutting down gracefully...\n"));
    assert!(said.ends_with("Daemon stopped\n"), "{said}");
    assert!(said.contains("Launched task "), "{said}");
    assert!(said.contains("Status: 0 running, 0 pending, 6 completed, 0 failed"));
}

/// One agent that returns 7 as soon as it may, and one that has only so much time.
fn two_agents(queue: &Queue, seconds: &str) -> (String, String) {
    queue.agent("seven", "while [ ! -e go ]; do sleep 0.05; done; exit 7");
    let seven = queue.start(&["seven", "x"]);
    let limited = queue.start(&["sleeper", "x", "--timeout", seconds]);
    (seven, limited)
}

fn until_at_work(queue: &Queue, id: &str) -> u64 {
    assert!(poll_until(PATIENCE, || queue.json(id)["pid"].is_u64()));
    queue.pid(id)
}

fn a_restarted_daemon_takes_its_agents_back(queue: &Queue) {
    let (seven, limited) = two_agents(queue, "5");
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    let pids = [&seven, &limited].map(|id| until_at_work(queue, id));
    let (code, _) = daemon.stop();
    assert_eq!(code, 0);
    assert!(pids.iter().all(|pid| is_alive(*pid)), "agents go on");
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    let last = queue.start(&["coder", "x"]);
    queue.until(&last, "complete");
    assert_eq!(queue.pid(&seven), pids[0], "it was not started again");
    fs::write(queue.file("go"), "").unwrap();
    queue.until(&seven, "failed");
    assert_eq!(queue.message(&seven), "Process exited with code 7");
    queue.until(&limited, "failed");
    assert_eq!(queue.message(&limited), "Task timed out after 5 seconds");
    let took = queue.millis(&limited, "completedAt") - queue.millis(&limited, "startedAt");
    assert!(took >= 4_900, "{took}");
    assert!(!is_alive(pids[1]));
    drop(daemon);
}

fn a_killed_daemon_loses_nothing(queue: &Queue) {
    let (seven, limited) = two_agents(queue, "4");
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    let pids = [&seven, &limited].map(|id| until_at_work(queue, id));
    daemon.kill();
    assert!(pids.iter().all(|pid| is_alive(*pid)), "agents go on");
    fs::write(queue.file("go"), "").unwrap();
    queue.until(&limited, "failed");
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    queue.until(&seven, "failed");
    assert_eq!(queue.message(&seven), "Process exited with code 7");
    assert_eq!(queue.message(&limited), "Task timed out after 4 seconds");
    assert_eq!(queue.ids().len(), 2);
    drop(daemon);
}

fn one_daemon_only(queue: &Queue) {
    let daemon = Daemon::start(queue, &[]);
    let id = queue.start(&["coder", "x"]);
    queue.until(&id, "complete");
    let second = queue.run(&["daemon"]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.err.contains("daemon"), "{second:?}");
    let next = queue.start(&["coder", "x"]);
    queue.until(&next, "complete");
    drop(daemon);
    for args in [["daemon", "-c", "0"], ["daemon", "-i", "0"]] {
        let ran = queue.run(&args);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
}

fn sentinel_files_are_noticed_by_themselves(queue: &Queue) {
    let daemon = Daemon::start(queue, &["--interval", "1"]);
    let own = queue.start(&["sleeper", "x"]);
    until_at_work(queue, &own);
    fs::write(queue.sentinel(&own, "done"), "").unwrap();
    queue.until(&own, "complete");
    let mut child = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let (pid, now) = (child.id(), jiff::Timestamp::now());
    let running = format!("\"status\":\"running\",\"pid\":{pid},\"startedAt\":\"{now}\"");
    queue.plant("task_7", &running);
    let taken_over = poll_until(PATIENCE, || queue.json("task_7")["retryCount"].is_u64());
    assert!(taken_over, "{:#}", queue.json("task_7"));
    fs::write(queue.sentinel("task_7", "done"), "").unwrap();
    queue.until("task_7", "complete");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(daemon);
}
