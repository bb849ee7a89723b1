//! Other tools on the same files, and the files of other tools.

use std::fs;

use testkit::{orchestrator_tool::OrchestratorTool, poll::poll_until};

use super::{PATIENCE, Queue, in_both, is_alive};

in_both![
    importing_elsewhere,
    files_of_all_forms_are_read,
    keys_of_others_stay,
    a_stale_pid_is_never_signalled,
    a_dead_task_is_judged_by_its_files,
    another_tool_reads_what_we_wrote,
    another_tool_queues_and_we_run,
    we_queue_and_another_tool_runs,
    paths_in_files_lead_nowhere,
    one_id_for_scripts,
    edits_are_commands_or_put_right,
    a_subfolder_is_the_same_queue,
    many_at_once,
    output_for_machines,
];

fn importing_elsewhere(queue: &Queue) {
    let failed = queue.launch(&["err", "first"]);
    queue.until(&failed, "failed");
    let retry = queue.run(&["retry", &failed]).ok().id();
    queue.plant(
        "task_9",
        "\"status\":\"complete\",\"completedAt\":\"2025-12-01T00:00:05Z\"",
    );
    queue.run(&["status"]).ok();
    let before = fs::read(queue.sentinel(&failed, "json")).unwrap();
    let elsewhere = queue.place.home().join("elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    let folder = queue.path("");
    let run = |args: &[&str]| {
        let mut command = queue.place.command(args);
        command
            .env_remove("CREWBOSS_LAYOUT")
            .current_dir(&elsewhere);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = run(&["import", folder.to_str().unwrap()]);
    assert!(said.starts_with("Imported 3 new task(s)"), "{said}");
    let said = run(&["import", folder.to_str().unwrap()]);
    assert!(
        said.starts_with("Imported 0 new task(s)") && said.contains("3 known"),
        "{said}"
    );
    let shown: serde_json::Value = serde_json::from_str(&run(&["show", &retry, "--json"])).unwrap();
    assert_eq!(shown["status"], "pending");
    let shown = run(&["show", &retry]);
    assert!(shown.contains(&failed), "{shown}");
    let status = run(&["status"]);
    assert!(
        status.contains("task_9") && status.contains("Network timeout"),
        "{status}"
    );
    assert_eq!(fs::read(queue.sentinel(&failed, "json")).unwrap(), before);
}

fn files_of_all_forms_are_read(queue: &Queue) {
    queue.plant(
        "task_1",
        "\"status\":\"pending\",\"pid\":\"12345\",\"priority\":99",
    );
    let text = fs::read_to_string(queue.sentinel("task_1", "json")).unwrap();
    let naive = text.replace("2025-12-01T00:00:00Z", "2025-12-01T01:00:00.123456");
    let write = |id: &str, text: &str| fs::write(queue.sentinel(id, "json"), text).unwrap();
    write("task_2", &naive.replace("task_1", "task_2"));
    write(
        "task_3",
        &format!(
            "\u{feff}{}",
            text.replace("task_1", "task_3").replace(',', ",\r\n")
        ),
    );
    write("task_4", &text[..40]);
    write("task_5", "");
    fs::write(queue.path("tasks/index.json"), "{\"by_status\": 7}").unwrap();
    fs::write(queue.path("tasks/task_6.tmp"), "{").unwrap();
    let ran = queue.run(&["status"]).ok();
    for id in ["task_1", "task_2", "task_3"] {
        assert!(ran.out.contains(id), "{id}: {}", ran.out);
    }
    assert_eq!(ran.err.matches("is skipped").count(), 2, "{}", ran.err);
    assert!(!ran.err.contains("index.json"), "{}", ran.err);
    assert_eq!(
        queue.json("task_2")["createdAt"],
        "2025-12-01T01:00:00.123Z"
    );
}

fn keys_of_others_stay(queue: &Queue) {
    queue.plant(
        "task_1",
        "\"status\":\"pending\",\"mine\":{\"deep\":[1,2.5]}",
    );
    queue.run(&["status"]).ok();
    queue.run(&["run", "task_1"]).ok();
    queue.until("task_1", "complete");
    assert_eq!(
        queue.json("task_1")["mine"],
        serde_json::json!({"deep": [1, 2.5]})
    );
}

fn a_stale_pid_is_never_signalled(queue: &Queue) {
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    let pid = other.id();
    let more =
        format!("\"status\":\"running\",\"pid\":{pid},\"startedAt\":\"2025-12-01T00:00:01Z\"");
    queue.plant("task_1", &more);
    queue.run(&["status"]).ok();
    let json = queue.json("task_1");
    assert_eq!(json["status"], "failed");
    assert!(
        json["errorMessage"].as_str().unwrap().contains("stale pid"),
        "{json:#}"
    );
    assert_ne!(queue.run(&["cancel", "task_1"]).code, 0);
    assert_ne!(queue.run(&["timeout", "task_1"]).code, 0);
    assert!(is_alive(u64::from(pid)));
    other.kill().unwrap();
    other.wait().unwrap();
}

fn a_dead_task_is_judged_by_its_files(queue: &Queue) {
    let running = "\"status\":\"running\",\"pid\":4194303,\"startedAt\":\"2025-12-01T00:00:01Z\"";
    for (id, ending, content) in [
        ("task_1", "done", ""),
        ("task_2", "error", "boom"),
        ("task_3", "exitcode", "7"),
        ("task_4", "none", ""),
    ] {
        queue.plant(id, running);
        fs::write(queue.sentinel(id, ending), content).unwrap();
    }
    queue.run(&["status"]).ok();
    assert_eq!(queue.word("task_1"), "complete");
    for (id, message) in [
        ("task_2", "boom"),
        ("task_3", "Process exited with code 7"),
        ("task_4", "Process terminated unexpectedly"),
    ] {
        assert_eq!(queue.json(id)["errorMessage"], message);
    }
    assert!(!queue.sentinel("task_1", "done").exists());
}

fn another_tool_reads_what_we_wrote(queue: &Queue) {
    let tool = OrchestratorTool::new(queue.place.project(), queue.base);
    let done = queue.launch(&["coder", "x"]);
    queue.until(&done, "complete");
    let failed = queue.launch(&["err", "x"]);
    queue.until(&failed, "failed");
    let busy = queue.launch(&["sleeper", "x"]);
    let mut expected: Vec<(String, String)> =
        [(done, "complete"), (failed, "failed"), (busy, "running")]
            .map(|(id, word)| (id, word.to_owned()))
            .into();
    expected.sort_unstable();
    assert_eq!(tool.status().unwrap(), expected);
}

fn another_tool_queues_and_we_run(queue: &Queue) {
    let tool = OrchestratorTool::new(queue.place.project(), queue.base);
    let id = tool.start("coder", "theirs");
    let ran = queue.run(&["run"]).ok();
    assert!(ran.out.contains(&id), "{ran:?}");
    queue.until(&id, "complete");
    assert_eq!(
        tool.status().unwrap(),
        [(id.clone(), "complete".to_owned())]
    );
    assert!(queue.row(&id).contains('✓'));
}

fn we_queue_and_another_tool_runs(queue: &Queue) {
    let tool = OrchestratorTool::new(queue.place.project(), queue.base);
    let id = queue.start(&["coder", "ours"]);
    let done = queue.sentinel(&id, "done");
    let shell = format!(
        "while [ ! -e go ]; do sleep 0.05; done; : > {}",
        done.display()
    );
    let mut child = tool.run(&id, &shell);
    assert!(queue.row(&id).contains('⏱'), "{}", queue.row(&id));
    assert!(queue.run(&["run"]).ok().out.contains("No pending tasks"));
    fs::write(queue.place.project().join("go"), "").unwrap();
    child.wait().unwrap();
    assert!(poll_until(PATIENCE, || done.exists() || queue.word(&id) == "complete"));
    assert!(queue.row(&id).contains('✓'), "{}", queue.row(&id));
    assert_eq!(tool.status().unwrap(), [(id, "complete".to_owned())]);
}

fn paths_in_files_lead_nowhere(queue: &Queue) {
    let victim = queue.place.project().join("victim");
    fs::write(&victim, "safe").unwrap();
    let more = "\"planFile\":\"victim\",\"logFile\":\"../victim\",\"status\":";
    queue.plant("task_1", &format!("{more}\"complete\""));
    queue.plant("task_2", &format!("{more}\"pending\""));
    let ran = queue.run(&["status"]).ok();
    assert_eq!(ran.err.matches("is refused").count(), 4, "{}", ran.err);
    queue.run(&["run"]).ok();
    queue.until("task_2", "complete");
    queue.run(&["clean", "all"]).ok();
    assert!(queue.ids().is_empty());
    assert_eq!(fs::read_to_string(victim).unwrap(), "safe");
}

fn one_id_for_scripts(queue: &Queue) {
    let ran = queue.run(&["start", "coder", "x"]).ok();
    assert_eq!(ran.out.matches("task_").count(), 1);
    let digits = ran.id().trim_start_matches("task_").len();
    assert_eq!(digits, 13);
}

fn edits_are_commands_or_put_right(queue: &Queue) {
    let (first, second) = (queue.start(&["coder", "x"]), queue.start(&["coder", "y"]));
    let third = queue.start(&["coder", "z"]);
    let edit = |id: &str, from: &str, to: &str| {
        let file = queue.sentinel(id, "json");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(file, text.replace(from, to)).unwrap();
    };
    edit(&first, "\"pending\"", "\"cancelled\"");
    edit(&second, "\"prompt\": \"y\"", "\"prompt\": \"rm\"");
    fs::remove_file(queue.sentinel(&third, "json")).unwrap();
    let ran = queue.run(&["status"]).ok();
    assert!(queue.row(&first).contains('⊗'), "{}", ran.out);
    assert!(
        ran.err.contains(&second) && ran.err.contains("put right"),
        "{}",
        ran.err
    );
    assert_eq!(queue.json(&second)["prompt"], "y");
    assert!(!ran.out.contains(&third), "{}", ran.out);
    assert!(
        queue.run(&["status"]).ok().err.is_empty(),
        "once heard, nothing more is said"
    );
    fs::write(queue.sentinel(&second, "json"), "{").unwrap();
    queue.run(&["status"]).ok();
    assert_eq!(queue.word(&second), "pending");
}

fn a_subfolder_is_the_same_queue(queue: &Queue) {
    let id = queue.start(&["coder", "x"]);
    let deep = queue.place.project().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let output = queue
        .place
        .command(["status"])
        .current_dir(&deep)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&id));
    assert!(!deep.join(queue.base).exists());
}

fn many_at_once(queue: &Queue) {
    let children: Vec<_> = (0..20)
        .map(|_| queue.place.command(["start", "err", "x"]).spawn().unwrap())
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(queue.ids().len(), 20);
    queue.run(&["index", "verify"]).ok();
}

fn output_for_machines(queue: &Queue) {
    let id = queue.start(&["coder", "x"]);
    for args in [
        &["status", "--json"][..],
        &["show", &id, "--json"],
        &["deps", "graph", "--json"],
        &["index", "stats", "--json"],
        &["config", "show", "--json"],
        &["timeout", "list", "--json"],
    ] {
        let ran = queue.run(args).ok();
        assert!(ran.json().is_object(), "{args:?}");
        assert!(!ran.out.contains('\u{1b}'));
    }
}
