//! Processes as the system leaves them: dead but not reaped, and reading what nobody writes.

use std::process::{Command, Stdio};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    a_zombie_of_another_tool_has_ended,
    where_nobody_reaps_an_end_is_seen,
    standard_input_is_empty,
    standard_input_is_the_prompt_where_it_is_wanted,
];

fn a_zombie_of_another_tool_has_ended(queue: &Queue) {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    assert!(poll_until(PATIENCE, || !is_alive(u64::from(pid))));
    let now = jiff::Timestamp::now();
    let running = format!("\"status\":\"running\",\"pid\":{pid},\"startedAt\":\"{now}\"");
    queue.plant("task_1", &running);
    queue.run(&["status"]).ok();
    assert_eq!(queue.word("task_1"), "failed");
    assert_eq!(queue.message("task_1"), "Process terminated unexpectedly");
    child.wait().unwrap();
}

/// A container whose first process reaps nobody: the runner is killed, and stays a zombie.
fn where_nobody_reaps_an_end_is_seen(queue: &Queue) {
    let own = queue.place.command(["status"]);
    let mut first = Command::new("unshare");
    first.args(["--pid", "--fork", "--mount-proc", "sleep", "600"]);
    first.stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(mut first) = first.stderr(Stdio::null()).spawn() else {
        return;
    };
    let inner = || {
        let pid = first.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.ok()?.split_whitespace().next().map(str::to_owned)
    };
    if !rustix::process::geteuid().is_root() || !poll_until(PATIENCE, || inner().is_some()) {
        drop(first.kill());
        first.wait().unwrap();
        return;
    }
    let inner = inner().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--target", &inner, "--pid", "--mount"]);
        command.arg(format!("--wd={}", queue.place.project().display()));
        command.arg(own.get_program()).args(args).env_clear();
        for (name, value) in own.get_envs() {
            command.env(name, value.unwrap());
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let done = queue.start(&["coder", "x"]);
    let lost = queue.start(&["sleeper", "x"]);
    run(&["run", &done]);
    queue.until(&done, "complete");
    run(&["run", &lost]);
    let shown: serde_json::Value = serde_json::from_str(&run(&["show", &lost, "--json"])).unwrap();
    let runner = shown["session"]["runner_pid"].as_u64().expect("a runner");
    let mut kill = Command::new("nsenter");
    kill.args(["--target", &inner, "--pid", "--mount", "kill", "-9"]);
    assert!(kill.arg(runner.to_string()).status().unwrap().success());
    let seen = poll_until(PATIENCE, || {
        run(&["status"]);
        queue.word(&lost) == "pending"
    });
    assert!(seen, "{:#}", queue.json(&lost));
    first.kill().unwrap();
    first.wait().unwrap();
}

fn standard_input_is_empty(queue: &Queue) {
    queue.agent(
        "reads",
        "cat >read.new; mv read.new read; : > B/tasks/{taskId}.done",
    );
    let id = queue.launch(&["reads", "not for you"]);
    queue.until(&id, "complete");
    assert_eq!(std::fs::read(queue.file("read")).unwrap(), b"");
}

fn standard_input_is_the_prompt_where_it_is_wanted(queue: &Queue) {
    let script = format!("cat >read; : > {}/tasks/{{taskId}}.done", queue.base);
    queue.list(
        "asks",
        serde_json::json!({ "command": "sh", "args": ["-c", script], "prompt": "stdin" }),
    );
    let id = queue.launch(&["asks", "for you"]);
    queue.until(&id, "complete");
    let read = std::fs::read_to_string(queue.file("read")).unwrap();
    assert!(read.contains("Task: for you."), "{read}");
}
