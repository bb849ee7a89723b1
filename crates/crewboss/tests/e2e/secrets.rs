//! What an agent is trusted with stays with it.

use std::{fs, path::Path, process::Command};

use crate::arena::Arena;

const VALUE: &str = "correct-horse-battery-staple";
const PASSED: &str = "open-sesame-and-close-again";
const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB";

/// The files below a folder that hold this text.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let Ok(kind) = fs::symlink_metadata(&path) else {
                continue;
            };
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).unwrap();
                if bytes
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
                {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

#[test]
fn secrets_are_in_no_file_of_ours_and_on_no_command_line() {
    let mut arena = Arena::repository();
    arena.set("VAULT_TOKEN", PASSED);
    // The script, which is the prompt and kept as given, does not hold them.
    arena.configure(&format!(
        "[agents.keeper]\ndriver = \"command\"\ncommand = \"sh\"\nargs = [\"-c\", \"{{prompt}}\"]\n\
         env = [\"VAULT_TOKEN\"]\n[agents.keeper.env_set]\nVAULT_PASSWORD = \"{VALUE}\"\n"
    ));
    let script = format!(
        "echo out $VAULT_PASSWORD $VAULT_TOKEN; echo err $VAULT_PASSWORD >&2; \
         printf 'token %s%s\\n' ghp_ {rest}; printf half; sleep 0.2; printf ' %s' \"$VAULT_PASSWORD\"; \
         echo; echo said >$HOME/said; until test -e $HOME/go; do sleep 0.05; done; \
         echo \"fatal: $VAULT_PASSWORD\" >&2; exit 3",
        rest = &TOKEN[4..]
    );
    let args = [
        "start",
        "keeper",
        &script,
        "--json",
        "--gate",
        "echo gate; false",
    ];
    let ran = arena.run(&args).ok();
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let id = document["id"].as_str().unwrap();
    let run = arena.command(["--debug", "run", id]).output().unwrap();
    arena.until("said", || arena.root().join("home/said").exists());
    let ps = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    for text in [&run.stdout, &run.stderr, &ps.stdout] {
        let text = String::from_utf8_lossy(text);
        assert!(!text.contains(VALUE) && !text.contains(PASSED), "{text}");
    }
    fs::write(arena.root().join("home/go"), "").unwrap();
    arena.run(&["wait", id]).with(1);
    let shown = arena.run(&["show", id, "--json"]).ok().out;
    let logs = arena.run(&["logs", id]).ok().out;
    assert!(
        logs.contains("out ") && logs.contains("err ") && logs.contains("token "),
        "{logs}"
    );
    for (folder, text) in [
        (arena.project().join(".crewboss"), VALUE),
        (arena.project().join(".crewboss"), TOKEN),
        (arena.project().join(".crewboss"), PASSED),
        (arena.store(), VALUE),
        (arena.store(), PASSED),
        (arena.store(), TOKEN),
        (arena.root().join("tmp"), VALUE),
    ] {
        assert_eq!(holding(&folder, text), [""; 0], "{}", folder.display());
    }
    for said in [&shown, &logs] {
        assert!(
            !said.contains(VALUE) && !said.contains(PASSED) && !said.contains(TOKEN),
            "{said}"
        );
    }
}
