//! Wrong input: one clear error, the right code, nothing written.

use std::fs;

use testkit::temp_repo::TempRepo;

use crate::place::Place;

/// The first line of stderr for each.
#[test]
fn each_wrong_input_is_one_clear_error_and_writes_nothing() {
    let place = Place::folder();
    let long = "9".repeat(300);
    let huge = "x".repeat(1_048_577);
    let prompt = place.home().join("huge.txt");
    fs::write(&prompt, huge).unwrap();
    let prompt = prompt.display().to_string();
    let table: &[(&[&str], i32, &str)] = &[
        (&["start", "writer", ""], 2, "error: prompt: is empty"),
        (&["start", "writer", "  \n "], 2, "error: prompt: is empty"),
        (&["start", "writer"], 2, "error: prompt: is empty"),
        (&["start", "writer", "-"], 2, "error: prompt: is empty"),
        (
            &["start", "writer", "--file", &prompt],
            2,
            "error: prompt: is longer",
        ),
        (
            &["start", "writer", "--file", "/nowhere"],
            3,
            "error: cannot read the prompt",
        ),
        (
            &["start", "writer", "x", "--priority", "0"],
            2,
            "error: --priority: ",
        ),
        (
            &["start", "writer", "x", "--priority", "11"],
            2,
            "error: --priority: ",
        ),
        (
            &["start", "writer", "x", "--priority", "high"],
            2,
            "error: --priority: ",
        ),
        (
            &["start", "writer", "x", "--priority", "-1"],
            2,
            "error: --priority: ",
        ),
        (
            &["start", "writer", "x", "--timeout", "0"],
            2,
            "error: --timeout: it is at least 1",
        ),
        (
            &["start", "writer", "x", "--timeout", "-5"],
            2,
            "error: --timeout: ",
        ),
        (
            &["start", "writer", "x", "--timeout", "soon"],
            2,
            "error: --timeout: ",
        ),
        (&["start", "../x y", "x"], 2, "error: agent: "),
        (
            &["start", "writer", "x", "--key", "a/b"],
            2,
            "error: --key: ",
        ),
        (
            &["start", "writer", "x", "--meta", "novalue"],
            2,
            "error: --meta ",
        ),
        (
            &["start", "writer", "x", "--gate", " "],
            2,
            "error: --gate: ",
        ),
        (
            &["start", "writer", "x", "--workspace", "moon"],
            2,
            "error: --workspace: ",
        ),
        (
            &["start", "writer", "x", "--not-before", "soon"],
            2,
            "error: --not-before: ",
        ),
        (
            &["start", "writer", "x", "--depends-on", "task_1"],
            3,
            "error: Dependency task task_1 not found",
        ),
        (
            &["start", "writer", "x", "--depends-on", "../x"],
            2,
            "error: --depends-on: ",
        ),
        (&["show", "../x"], 2, "error: `../x` is neither"),
        (&["show", "task_/../x"], 2, "error: `task_/../x` is neither"),
        (&["show", "task_1\n"], 2, "error: `task_1\\n` is neither"),
        (&["show", ""], 2, "error: `` is neither"),
        (&["show", &long], 2, "error: `999"),
        (&["cancel", "task_01"], 2, "error: `task_01` is neither"),
        (&["clean", "../x"], 2, "error: Invalid filter type '../x'."),
        (&["run", "--parallel", "0"], 2, "error: invalid value '0'"),
        (&["daemon", "-c", "0"], 2, "error: invalid value '0'"),
        (&["daemon", "-i", "0"], 2, "error: invalid value '0'"),
        (
            &["config", "set", "run.parallel", "0"],
            2,
            "error: run.parallel: 0 is too small",
        ),
        (
            &["config", "set", "run.parallell", "4"],
            2,
            "error: unknown configuration key",
        ),
        (
            &["config", "set", "archive.enabled", "maybe"],
            2,
            "error: archive.enabled: ",
        ),
        (
            &["--config", "run.parallel=x", "config", "show"],
            2,
            "error: --config run.parallel: ",
        ),
    ];
    for (args, code, error) in table {
        let ran = place.run(args);
        assert_eq!(ran.code, *code, "{args:?}: {ran:#?}");
        assert!(ran.err.starts_with(error), "{args:?}: {ran:#?}");
        assert_eq!(ran.out, "", "{args:?}");
    }
    assert!(
        !place.project().join(".crewboss").exists(),
        "nothing was written to the project"
    );
    assert!(
        !place.home().join("crewboss").exists(),
        "and no store was made"
    );
}

#[test]
fn a_wrong_configuration_is_named_by_file_and_line() {
    let place = Place::folder();
    for (text, error) in [
        (
            "[run]\nparalel = 3\n",
            "config.toml:2: unknown key `run.paralel`",
        ),
        ("[run\n", "config.toml:1: "),
        (
            "[agents.a]\ndriver = \"carrier-pigeon\"\n",
            "config.toml:2: agents.a: unknown variant",
        ),
    ] {
        fs::create_dir_all(place.project().join(".crewboss")).unwrap();
        fs::write(place.project().join(".crewboss/config.toml"), text).unwrap();
        let ran = place.run(&["start", "writer", "x"]);
        assert_eq!(ran.code, 2, "{ran:#?}");
        assert!(ran.err.contains(error), "{ran:#?}");
    }
    assert!(!place.home().join("crewboss").exists());
}

#[test]
fn a_repository_without_commits_is_refused_before_anything_is_stored() {
    let place = Place::of(TempRepo::without_commits());
    let ran = place.run(&["start", "writer", "x"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.err.contains("has no commits"), "{ran:#?}");
    assert!(!place.project().join(".crewboss").exists());
    place
        .run(&[
            "--config",
            "workspace.mode=in-place",
            "start",
            "writer",
            "x",
        ])
        .ok();
}

#[test]
fn a_closed_standard_input_answers_no_question() {
    let place = Place::folder();
    for _ in 0..11 {
        let id = place.start(&["writer", "x"]);
        place.run(&["cancel", &id]).ok();
    }
    let ran = place.run(&["clean", "cancelled"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.err.contains("standard input is closed"), "{ran:#?}");
    let no = place.feed(&["clean", "cancelled"], Some("n\n")).ok();
    assert_eq!(no.out, "Cancelled.\n");
    let yes = place.feed(&["clean", "cancelled"], Some("y\n")).ok();
    assert!(
        yes.out.starts_with("Cleaned up 11 cancelled tasks: "),
        "{yes:#?}"
    );
    assert!(yes.out.contains("... and 6 more"), "{yes:#?}");
    assert!(
        place
            .run(&["status"])
            .ok()
            .out
            .starts_with("No tasks found")
    );
}
