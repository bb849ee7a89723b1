//! Output for pipes, programs and plain terminals.

use std::process::Command;

use super::{Queue, in_both};

in_both![
    every_command_has_a_document,
    pipes_get_no_escape_sequences,
    a_terminal_may_ask_for_no_colours,
    a_plain_locale_gets_plain_signs,
];

fn every_command_has_a_document(queue: &Queue) {
    let id = queue.start(&["coder", "x"]);
    let busy = queue.launch(&["sleeper", "x", "--timeout", "300"]);
    let failed = queue.launch(&["err", "x"]);
    queue.until(&failed, "failed");
    let other = queue.launch(&["sleeper", "x"]);
    let waiting = queue.start(&["coder", "x", "--depends-on", &busy]);
    for args in [
        &["start", "coder", "x"][..],
        &["run", &id],
        &["run", "--parallel", "2"],
        &["status"],
        &["show", &id],
        &["logs", &failed],
        &["retry", &failed],
        &["cancel", &other],
        &["timeout", "list"],
        &["timeout", "extend", &busy, "5"],
        &["timeout", &busy],
        &["deps", "show", &waiting],
        &["deps", "graph"],
        &["deps", "validate"],
        &["index", "rebuild"],
        &["index", "stats"],
        &["index", "verify"],
        &["config", "init"],
        &["config", "set", "archive.enabled", "true"],
        &["config", "show"],
        &["archive"],
        &["archive", "--dry-run"],
        &["archive", "list"],
        &["archive", "stats"],
        &["clean", "cancelled"],
        &["clean", "cancelled"],
        &["wait", &id],
        &["import", queue.path("").to_str().unwrap()],
        &["doctor"],
        &["self-test"],
        &["cancel", "task_1"],
    ] {
        let ran = queue.run(&[args, &["--json"]].concat());
        let json: Result<serde_json::Value, _> = serde_json::from_str(&ran.out);
        let schema = json.as_ref().ok().and_then(|json| json["schema"].as_str());
        let is_ours = schema.is_some_and(|schema| schema.starts_with("crewboss."));
        assert!(is_ours, "{args:?}: {json:?} {ran:#?}");
    }
}

fn pipes_get_no_escape_sequences(queue: &Queue) {
    let id = queue.launch(&["err", "x"]);
    queue.until(&id, "failed");
    for args in [
        &["status"][..],
        &["show", &id],
        &["logs", &id],
        &["timeout", "list"],
        &["deps", "graph"],
        &["index", "stats"],
        &["--help"],
        &["cancel", &id],
        &["--debug", "status"],
    ] {
        let ran = queue.run(args);
        assert!(!ran.out.contains('\u{1b}'), "{args:?}: {}", ran.out);
        assert!(!ran.err.contains('\u{1b}'), "{args:?}: {}", ran.err);
    }
}

/// What a command prints on a terminal.
fn on_a_terminal(queue: &Queue, set: &[(&str, &str)]) -> String {
    let own = queue.place.command(["status"]);
    let line = format!("{} status", own.get_program().display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    command.env_clear().current_dir(queue.place.project());
    for (name, value) in own.get_envs() {
        command.env(name, value.unwrap());
    }
    command.env("TERM", "xterm").envs(set.iter().copied());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn a_terminal_may_ask_for_no_colours(queue: &Queue) {
    if testkit::requirements::program("script").is_none() {
        return;
    }
    let id = queue.launch(&["err", "x"]);
    queue.until(&id, "failed");
    let shown = on_a_terminal(queue, &[]);
    assert!(shown.contains("\u{1b}["), "{shown}");
    let shown = on_a_terminal(queue, &[("NO_COLOR", "1")]);
    assert!(
        shown.contains("failed") && !shown.contains('\u{1b}'),
        "{shown}"
    );
}

fn a_plain_locale_gets_plain_signs(queue: &Queue) {
    let done = queue.launch(&["coder", "x"]);
    queue.until(&done, "complete");
    let failed = queue.launch(&["err", "x"]);
    queue.until(&failed, "failed");
    queue.run(&["retry", &failed]).ok();
    queue.launch(&["sleeper", "x"]);
    queue.start(&["coder", "x", "--depends-on", &failed]);
    let output = queue
        .place
        .command(["status"])
        .env("LANG", "C")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.is_ascii(), "{shown}");
    for sign in ["[ ]", "[>]", "[+]", "[X]", "[B]", "> task_"] {
        assert!(shown.contains(sign), "{sign}: {shown}");
    }
}
