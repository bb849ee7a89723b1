//! Sentinel files, exits, prompts and templates.

use std::{fs, os::unix::fs::PermissionsExt as _};

use testkit::poll::poll_until;

use super::{PATIENCE, Queue, in_both};

in_both![
    done_beats_everything,
    errors_are_kept_with_their_details,
    an_agent_gives_up_or_runs_out_of_time,
    exits_without_a_word,
    prompts_arrive_as_they_are,
    unlisted_agents_are_open_code,
    templates,
    standard_input_ends,
];

fn done_beats_everything(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x"]);
    fs::write(queue.sentinel(&id, "error"), "boom").unwrap();
    fs::write(queue.sentinel(&id, "done"), "").unwrap();
    // Which of the two was there first when the runner looked is open here, and not below.
    let ended = poll_until(PATIENCE, || queue.word(&id) != "running");
    assert!(ended);
    assert!(poll_until(PATIENCE, || !queue
        .sentinel(&id, "error")
        .exists()));
    assert!(!queue.sentinel(&id, "done").exists());
    queue.agent(
        "both",
        "echo boom >B/tasks/{taskId}.error.new; : >B/tasks/{taskId}.done; \
        mv B/tasks/{taskId}.error.new B/tasks/{taskId}.error; exit 3",
    );
    let id = queue.launch(&["both", "x"]);
    queue.until(&id, "complete");
    assert!(poll_until(PATIENCE, || !queue
        .sentinel(&id, "error")
        .exists()));
    assert!(queue.json(&id)["errorMessage"].is_null());
    let dead = "\"status\":\"running\",\"pid\":4194303,\"startedAt\":\"2025-12-01T00:00:01Z\"";
    queue.plant("task_1", dead);
    fs::write(queue.sentinel("task_1", "error"), "boom").unwrap();
    fs::write(queue.sentinel("task_1", "done"), "").unwrap();
    queue.run(&["status"]).ok();
    assert_eq!(queue.word("task_1"), "complete");
    assert!(!queue.sentinel("task_1", "error").exists());
}

fn errors_are_kept_with_their_details(queue: &Queue) {
    for (content, message) in [("boom\n", "boom"), ("", "Unknown error")] {
        let id = queue.launch(&["sleeper", "x"]);
        let file = queue.sentinel(&id, "error");
        fs::write(file.with_extension("new"), content).unwrap();
        fs::rename(file.with_extension("new"), file).unwrap();
        queue.until(&id, "failed");
        assert_eq!(queue.json(&id)["errorMessage"], message);
    }
    let id = queue.launch(&["err", "x"]);
    queue.until(&id, "failed");
    assert_eq!(queue.json(&id)["errorMessage"], "Network timeout");
    let shown = queue.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["failure"]["details"], "stack");
}

fn an_agent_gives_up_or_runs_out_of_time(queue: &Queue) {
    let id = queue.launch(&["sleeper", "x"]);
    fs::write(queue.sentinel(&id, "cancelled"), "").unwrap();
    queue.until(&id, "cancelled");
    let id = queue.launch(&["sleeper", "x"]);
    let file = queue.sentinel(&id, "timeout");
    let content = r#"{"timeout": 9, "timestamp": "2025-12-01T10:30:00Z"}"#;
    fs::write(file.with_extension("new"), content).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
    queue.until(&id, "failed");
    let json = queue.json(&id);
    assert_eq!(json["errorMessage"], "Task timed out after 9 seconds");
    assert_eq!(json["timedOutAt"], "2025-12-01T10:30:00.000Z");
}

fn exits_without_a_word(queue: &Queue) {
    let late = queue.launch(&["late7", "x"]);
    let none = queue.launch(&["ok0", "x"]);
    let fine = queue.launch(&["ok0-exit", "x"]);
    let killed = queue.launch(&["sleeper", "x"]);
    let pid = i32::try_from(queue.pid(&killed)).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    queue.until(&none, "failed");
    assert_eq!(
        queue.json(&none)["errorMessage"],
        "Process terminated unexpectedly"
    );
    queue.until(&fine, "complete");
    queue.until(&killed, "failed");
    let message = queue.json(&killed)["errorMessage"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("SIGKILL"), "{message}");
    queue.until(&late, "failed");
    assert_eq!(
        queue.json(&late)["errorMessage"],
        "Process exited with code 7"
    );
}

fn prompts_arrive_as_they_are(queue: &Queue) {
    let prompt = "literal {agent} $(id) \"q\" \\n";
    for prompt in [prompt, "- a dash", "--two of them"] {
        let id = queue.launch(&["echo", prompt]);
        let log = queue.path(&format!("logs/{id}.log"));
        let base = queue.base;
        let whole = format!(
            "[Your Task ID is {id}. Task: {prompt}. Signal completion by creating \
             {base}/tasks/{id}.done]\n"
        );
        let text = || fs::read_to_string(&log).unwrap_or_default();
        assert!(
            poll_until(PATIENCE, || text().contains(&whole)),
            "{} / {whole}",
            text()
        );
    }
}

fn unlisted_agents_are_open_code(queue: &Queue) {
    let bin = queue.place.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let program = bin.join("opencode");
    fs::write(
        &program,
        "#!/bin/sh\nprintf '%s\\0' \"$@\" >argv\nmv argv argv.whole\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let id = queue.start(&["foo", "do it"]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let started = queue
        .place
        .command(["run"])
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(started.status.success(), "{started:?}");
    let argv = queue.place.project().join("argv.whole");
    assert!(
        poll_until(PATIENCE, || argv.exists()),
        "{:#}",
        queue.json(&id)
    );
    let text = fs::read_to_string(argv).unwrap();
    let argv: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    let base = queue.base;
    let prompt = format!(
        "Your Task ID is {id}. Task: do it. Signal completion by creating {base}/tasks/{id}.done"
    );
    assert_eq!(argv, ["run", prompt.as_str(), "--agent", "foo"]);
}

fn templates(queue: &Queue) {
    let log_of = |id: &str| {
        let log = queue.path(&format!("logs/{id}.log"));
        let text = || fs::read_to_string(&log).unwrap_or_default();
        assert!(
            poll_until(PATIENCE, || text().contains("]\n")),
            "{}",
            text()
        );
        text()
    };
    let told = queue.launch(&["told", "say {agent}"]);
    let text = log_of(&told);
    assert!(
        text.contains(&format!("[{told}|told|{{x}}|say {{agent}}]")),
        "{text}"
    );
    let stray = queue.launch(&["stray", "go"]);
    let text = log_of(&stray);
    assert!(
        text.contains(&format!("[Your Task ID is {stray}. Task: go.")),
        "{text}"
    );
}

fn standard_input_ends(queue: &Queue) {
    let id = queue.launch(&["reader", "x"]);
    queue.until(&id, "complete");
}
