//! Input that is wrong in ways that the program can only see at work.

use std::fs;

use crate::arena::Arena;

#[test]
fn a_configuration_that_breaks_while_tasks_run_is_named_and_ends_nothing() {
    let arena = Arena::folder();
    let id = arena.start("until test -e $HOME/go; do sleep 0.05; done", &[]);
    arena.run(&["run"]).ok();
    arena.runner_at_work(&id);
    let file = arena.root().join("home/config/crewboss/config.toml");
    let good = fs::read_to_string(&file).unwrap();
    for (text, said) in [
        (
            format!("{good}\nparalel = 3\n"),
            "unknown key `run.paralel`",
        ),
        (format!("{good}\n[run\n"), "config.toml:"),
        (
            format!("{good}\n[agents.x]\ndriver = \"pigeon\"\n"),
            "agents.x",
        ),
    ] {
        fs::write(&file, &text).unwrap();
        for args in [
            &["start", "sh", "x"][..],
            &["run"],
            &["run", "--parallel", "2"],
        ] {
            let ran = arena.run(args).with(2);
            assert!(ran.error().contains("config.toml:"), "{ran:#?}");
            assert!(ran.error().contains(said), "{ran:#?}");
        }
    }
    fs::write(&file, good).unwrap();
    assert_eq!(arena.status_of(&id), "running");
    fs::write(arena.root().join("home/go"), "").unwrap();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
}

#[test]
fn ids_of_every_wrong_shape_are_refused_by_every_verb() {
    let arena = Arena::folder();
    let id = arena.start("true", &[]);
    let long = "1".repeat(300);
    let wrong = [
        "a/b",
        "..",
        "../..",
        "task_1/../2",
        "task_1\n",
        "\n",
        "",
        &long,
        "task_-1",
        "task_01",
        "ses_1",
        "*",
    ];
    let verbs: [&[&str]; 10] = [
        &["show"],
        &["run"],
        &["cancel"],
        &["retry"],
        &["timeout"],
        &["wait"],
        &["logs"],
        &["diff"],
        &["merge"],
        &["deps", "show"],
    ];
    for verb in verbs {
        for name in wrong {
            let args: Vec<&str> = verb.iter().copied().chain([name]).collect();
            let ran = arena.run(&args);
            assert!(matches!(ran.code, Some(2 | 3)), "{args:?}: {ran:#?}");
            ran.error();
            assert_eq!(ran.out, "", "{args:?}");
            assert!(!ran.err.contains("\n\n"), "{args:?}: {ran:#?}");
        }
    }
    assert_eq!(arena.status_of(&id), "pending");
    arena.run(&["deps", "validate"]).ok();
    arena.run(&["cancel", &id]).ok();
}

#[test]
fn a_closed_standard_input_and_output_harm_nothing() {
    use std::process::{Command, Stdio};
    let arena = Arena::folder();
    let id = arena.start("true", &[]);
    for redirection in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full"] {
        let program = env!("CARGO_BIN_EXE_crewboss");
        let template = arena.command(["status"]);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec {program} status {redirection}")])
            .current_dir(arena.project())
            .env_clear()
            .envs(
                template
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = shell.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!err.contains("panicked"), "{redirection}: {err}");
        assert!(output.status.code().is_some(), "{redirection}: {output:?}");
    }
    arena.run(&["run", "--wait", &id]).ok();
}
