//! Going on with an agent's own conversation, by its session.

use std::fs;

use serde_json::{Value, json};
use testkit::scripted_model::Scenario;

use crate::{arena::Arena, ten_turns::with_opencode};

/// Three prompts. The third follows the first in one text.
fn scenario() -> Scenario {
    let write = |name: &str| {
        let arguments = json!({"filePath": format!("{{{{cwd}}}}/{name}"), "content": "x\n"});
        json!([{"name": "write", "arguments": arguments}])
    };
    let script = |name: &str, file: &str, said: &str| {
        let turns = json!([{"text": "I write.", "tools": write(file)}, {"text": said}]);
        json!({"name": name, "match": name, "turns": turns})
    };
    let scripts = json!([
        script("Third part", "three.txt", "The third is done."),
        script("First part", "one.txt", "The first is done."),
        script("Second part", "two.txt", "The second is done."),
    ]);
    Scenario::from_json(&json!({"record_bodies": true, "scripts": scripts}).to_string()).unwrap()
}

#[track_caller]
fn json_of(arena: &Arena, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    serde_json::from_str(&arena.run(&args).ok().out).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn a_conversation_goes_on_by_its_session_or_its_task_also_under_another_agent() {
    let mut arena = Arena::repository();
    let Some(model) = with_opencode(&mut arena, scenario()) else {
        return;
    };
    fs::create_dir(arena.project().join(".crewboss")).unwrap();
    let config = "[agents.other]\ndriver = \"opencode\"\n\
        [agents.sh]\ndriver = \"command\"\ncommand = \"sh\"\nargs = [\"-c\", \"{prompt}\"]\n";
    fs::write(arena.project().join(".crewboss/config.toml"), config).unwrap();
    let heard = |prompt: &str| {
        let requests = model.requests();
        let last = requests
            .iter()
            .rfind(|request| request.script.as_deref() == Some(prompt));
        last.unwrap().body.as_ref().unwrap()["messages"].to_string()
    };
    let wait = |id: &str, code: i32| arena.run(&["wait", id, "--timeout", "120"]).with(code);

    // Whether the work is good is said by a file.
    let good = arena.root().join("good");
    fs::write(&good, "").unwrap();
    let gate = format!("test -e {}", good.display());
    let start = ["start", "opencode", "First part", "--gate", &gate];
    let first = text(&json_of(&arena, &start)["id"]);
    let early = arena.run(&["session", "resume", &first]).with(4);
    assert!(early.error().contains("no session yet"), "{early:?}");
    arena.run(&["run", &first, "--wait"]).ok();
    let session = text(&arena.show(&first)["session"]["id"]);
    let checkpoint = text(&json_of(&arena, &["checkpoint", "create", &first])["id"]);

    // What is completed is told what to do next.
    let empty = arena.run(&["session", "resume", &session]).with(2);
    assert!(
        empty.error().contains("say what is to be done next"),
        "{empty:?}"
    );
    let resume = [
        "session",
        "resume",
        &session,
        "Second part",
        "--agent",
        "other",
    ];
    let second = json_of(&arena, &resume);
    assert_eq!(second["agent"], "other");
    assert_eq!(second["continues"]["session"], session.as_str());
    let second = text(&second["id"]);
    fs::remove_file(&good).unwrap();
    arena.run(&["run", &second]).ok();
    wait(&second, 1);
    fs::write(&good, "").unwrap();
    assert!(heard("Second part").contains("The first is done."));

    // What has failed is tried again, in the same conversation.
    let again = json_of(&arena, &["session", "resume", &second, "--run"]);
    assert_eq!(again["retry_of"], second.as_str());
    wait(&text(&again["id"]), 0);
    let told = heard("Second part");
    assert!(told.contains("The first is done."), "{told}");
    assert!(told.contains("The second is done."), "{told}");
    let shown = arena.show(&text(&again["id"]));
    assert_eq!(shown["session"]["warnings"], json!([]), "{shown:#}");
    let start = text(&shown["session"]["workspace"]["start"]);
    let files = arena.repo().git(&["ls-tree", "--name-only", &start]);
    assert!(
        files.contains("one.txt") && files.contains("two.txt"),
        "{files}"
    );

    // By a checkpoint, under another agent.
    let args = [
        "checkpoint",
        "fork",
        &checkpoint,
        "--with",
        "Third part",
        "--agent",
        "other",
    ];
    let third = text(&json_of(&arena, &args)["id"]);
    arena.run(&["run", &third, "--wait"]).ok();
    assert_eq!(arena.show(&third)["agent"], "other");
    let told = heard("Third part");
    assert!(told.contains("The first is done.") && !told.contains("The second is done."));
    let other_kind = ["checkpoint", "fork", &checkpoint, "--agent", "sh"];
    let warned = arena.run(&other_kind).ok();
    assert!(warned.err.contains("no conversation"), "{warned:?}");

    // Where it cannot, it says why.
    let refused = arena
        .run(&["session", "resume", &first, "x", "--agent", "sh"])
        .with(4);
    assert!(
        refused.error().contains("another kind of agent"),
        "{refused:?}"
    );
    let database = format!(".crewboss/tasks/{first}/sessions/{session}");
    let database = arena.project().join(database);
    remove_databases(&database);
    let refused = arena.run(&["session", "resume", &first, "x"]).with(4);
    assert!(
        refused.error().contains("its database is gone"),
        "{refused:?}"
    );
}

fn remove_databases(folder: &std::path::Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_databases(&path);
        } else if path.to_string_lossy().contains("opencode.db") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_gone_on_with_is_refused_and_nothing_is_made() {
    let arena = Arena::repository();
    let id = arena.start(
        "echo begun >>$HOME/log; while ! test -e $HOME/go; do sleep 0.05; done",
        &[],
    );
    let pending = arena.run(&["session", "resume", &id]).with(4);
    assert!(pending.error().contains("no session yet"), "{pending:?}");
    arena.run(&["run", &id]).ok();
    arena.until("at work", || !arena.lines("home/log").is_empty());
    let running = arena.run(&["session", "resume", &id]).with(4);
    assert!(running.error().contains("is running"), "{running:?}");
    fs::write(arena.root().join("home/go"), "").unwrap();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    let none = arena.run(&["session", "resume", &id, "more"]).with(4);
    assert!(none.error().contains("keeps no conversation"), "{none:?}");
    for (args, code) in [
        (&["session", "resume", "ses_1", "x"][..], 3),
        (&["session", "resume", "task_1", "x"], 3),
        (&["session", "resume", "../x", "x"], 2),
        (&["session", "resume", &id, "x", "--agent", "a b"], 2),
        (&["session", "resume"], 2),
        (&["session"], 2),
    ] {
        arena.run(args).with(code);
    }
    let all = json_of(&arena, &["status"]);
    assert_eq!(all["counts"]["completed"], 1, "{all:#}");
    assert_eq!(all["tasks"].as_array().map(Vec::len), Some(1), "{all:#}");
}
