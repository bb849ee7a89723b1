//! What real `OpenCode` worked on comes back as it was at each of ten checkpoints.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use testkit::scripted_model::{RecordedRequest, Scenario, ScriptedModel, isolated_env};

use crate::{arena::Arena, checkpoints::tree};

/// Turns that change something. One more looks at what there is, and the last says goodbye.
const TURNS: usize = 10;

/// What each turn does, in the workspace.
const WORK: [&str; TURNS] = [
    "mkdir -p ignored/deep; echo secret > ignored/deep/1",
    "rm doomed.txt; echo '#!/bin/sh' > run.sh; chmod 755 run.sh",
    "ln -s run.sh link; ln -s /nowhere broken",
    "printf 'a\\000b\\377' > bytes; : > empty",
    "mkdir -p 'a folder/ü'; echo space > 'a folder/ü/with space'",
    "git add -A; echo after >> new-1.txt",
    "git -c user.name=a -c user.email=a@b.c commit -qam own; echo after >> tracked.txt",
    "rm new-2.txt link; mv bytes 'a folder/bytes'; chmod 644 run.sh",
    "echo secret > ignored/9; printf x > tracked.txt; rm -r 'a folder/ü'",
    "git rm -q --cached run.sh; git mv new-1.txt moved.txt",
];

/// The `OpenCode` of this machine, pointed at a scripted model from now on; `None` where there is
/// no `OpenCode`.
pub(crate) fn with_opencode(arena: &mut Arena, scenario: Scenario) -> Option<ScriptedModel> {
    let opencode = testkit::requirements::opencode()?;
    let model = ScriptedModel::start(scenario).unwrap();
    let home = arena.root().join("oc");
    for (name, value) in isolated_env(&home, &model.base_url()).unwrap() {
        if name != "PATH" {
            arena.set(&name, &value);
        }
    }
    let programs = arena.root().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink(opencode.canonicalize().unwrap(), programs.join("opencode")).unwrap();
    let path = std::env::var("PATH").unwrap();
    arena.set("PATH", &format!("{}:{path}", programs.display()));
    Some(model)
}

/// Each turn packs up what it finds before it changes anything, says that it has, and waits.
fn scenario() -> Scenario {
    let turn = |number: usize, work: &str| {
        let command = format!(
            "tar cf \"$OPENCODE_GATE/seen-$CREWBOSS_TASK-{number}.tar\" --exclude=./.git .; \
             echo {number} > new-{number}.txt; echo {number} >> tracked.txt; {work}; \
             : > \"$OPENCODE_GATE/ready-$CREWBOSS_TASK-{number}\"; \
             until test -e \"$OPENCODE_GATE/go-{number}\"; do sleep 0.05; done"
        );
        let arguments = json!({"command": command, "description": "Works"});
        let tools = json!([{"name": "bash", "arguments": arguments}]);
        json!({"text": said(number), "tools": tools})
    };
    let mut turns: Vec<Value> = (1..=TURNS).map(|n| turn(n, WORK[n - 1])).collect();
    let seen = format!(
        "tar cf \"$OPENCODE_GATE/seen-$CREWBOSS_TASK-{}.tar\" --exclude=./.git .",
        TURNS + 1
    );
    let tools = json!([{"name": "bash", "arguments": {"command": seen, "description": "Looks"}}]);
    turns.push(json!({"text": said(TURNS + 1), "tools": tools}));
    turns.push(json!({"text": "All of it is done."}));
    let script = json!({"name": "ten", "match": "Ten steps", "against": "first", "turns": turns});
    let scenario = json!({"title": "Ten", "record_bodies": true, "scripts": [script]});
    Scenario::from_json(&scenario.to_string()).unwrap()
}

/// What the agent says in a turn, and nowhere else.
fn said(turn: usize) -> String {
    format!("Here begins turn number {turn}.")
}

/// Everything that a checkpoint is to bring back.
#[derive(Debug)]
struct Kept {
    id: String,
    /// What git makes of it.
    tree: String,
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
    plan: Vec<u8>,
    decisions: Vec<u8>,
    told: Value,
}

#[track_caller]
fn json_of(arena: &Arena, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    serde_json::from_str(&arena.run(&args).ok().out).unwrap()
}

fn folder(arena: &Arena, task: &str) -> PathBuf {
    arena.project().join(format!(".crewboss/tasks/{task}"))
}

/// The files of a worktree at rest, apart from it.
fn copied(from: &Path, to: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
    tree(to)
}

fn unpacked(gate: &Path, task: &str, turn: usize) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let to = gate.join(format!("unpacked-{task}-{turn}"));
    fs::create_dir(&to).unwrap();
    let archive = gate.join(format!("seen-{task}-{turn}.tar"));
    let done = Command::new("tar")
        .arg("xf")
        .arg(archive)
        .arg("-C")
        .arg(&to)
        .status();
    assert!(done.unwrap().success());
    tree(&to)
}

fn keep(arena: &Arena, task: &str, turn: usize, place: &Path) -> Kept {
    let why = format!("step {turn}\n\nfor two reasons: it is\n- right\n- **done**");
    let decision = format!("go on to {turn}");
    let add = [
        "decision",
        "add",
        task,
        "--decision",
        &decision,
        "--reasoning",
        &why,
    ];
    arena.run(&add).ok();
    let plan = format!("# Plan after {turn}\n\n- [x] this\n").into_bytes();
    fs::write(folder(arena, task).join("plan.md"), &plan).unwrap();
    let files = copied(place, &arena.root().join(format!("gate/kept-{turn}")));
    let before = arena.show(task);
    let with_ignored = turn.is_multiple_of(2);
    let mut args = vec!["checkpoint", "create", task];
    args.extend(with_ignored.then_some("--include-ignored"));
    let made = json_of(arena, &args);
    assert_eq!(made["log_position"], before["version"], "{made:#}");
    assert!(made["last_message"].is_string(), "{made:#}");
    assert_eq!(made["findings"], json!([]));
    assert_eq!(made["warnings"], json!([]), "{made:#}");
    let commit = made["commit"].as_str().unwrap();
    Kept {
        id: made["id"].as_str().unwrap().to_owned(),
        tree: arena
            .repo()
            .git(&["rev-parse", &format!("{commit}^{{tree}}")]),
        files: files
            .into_iter()
            .filter(|(path, _)| with_ignored || !path.starts_with("ignored"))
            .collect(),
        plan,
        decisions: fs::read(folder(arena, task).join("decisions.md")).unwrap(),
        told: json_of(arena, &["decision", "list", task])["decisions"].clone(),
    }
}

/// The numbers of the turns whose words a request has.
fn remembered(request: &RecordedRequest) -> Vec<usize> {
    let body = request.body.as_ref().unwrap()["messages"].to_string();
    let all = 1..=TURNS + 1;
    all.filter(|turn| body.contains(&said(*turn))).collect()
}

#[test]
fn each_of_ten_checkpoints_brings_everything_back() {
    let mut arena = Arena::repository();
    let Some(model) = with_opencode(&mut arena, scenario()) else {
        return;
    };
    let gate = arena.root().join("gate");
    fs::create_dir(&gate).unwrap();
    arena.set("OPENCODE_GATE", gate.to_str().unwrap());
    let repo = arena.repo();
    repo.commit_file(".gitignore", "ignored/\n", "ignore");
    repo.commit_file("tracked.txt", "tracked\n", "tracked");
    repo.commit_file("doomed.txt", "doomed\n", "doomed");

    let begin = [
        "start",
        "opencode",
        "Ten steps",
        "--meta",
        "ticket=7",
        "--label",
        "slow",
    ];
    let id = json_of(&arena, &begin)["id"].as_str().unwrap().to_owned();
    arena.run(&["run", &id]).ok();
    let mut kept = Vec::new();
    for turn in 1..=TURNS {
        let ready = gate.join(format!("ready-{id}-{turn}"));
        arena.until("at rest", || ready.exists());
        let place = arena.show(&id)["session"]["workspace"]["path"].clone();
        kept.push(keep(&arena, &id, turn, Path::new(place.as_str().unwrap())));
        fs::write(gate.join(format!("go-{turn}")), "").unwrap();
    }
    arena.run(&["wait", &id, "--timeout", "120"]).ok();
    let whole = arena.show(&id);
    assert_eq!(whole["status"], "completed", "{whole:#}");
    let branch = whole["branch"].as_str().unwrap();
    let end = repo.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
    let log = arena.run(&["history", &id]).ok().out;

    let mut restored = Vec::new();
    for one in &kept {
        let new = json_of(&arena, &["checkpoint", "restore", &one.id]);
        let new = new["id"].as_str().unwrap().to_owned();
        let own = folder(&arena, &new);
        assert_eq!(fs::read(own.join("plan.md")).unwrap(), one.plan);
        assert_eq!(fs::read(own.join("decisions.md")).unwrap(), one.decisions);
        let told = &json_of(&arena, &["decision", "list", &new])["decisions"];
        assert_eq!(*told, one.told);
        restored.push(new);
    }
    for pair in restored.chunks(2) {
        let with = |verb: &'static str| -> Vec<&str> {
            std::iter::once(verb)
                .chain(pair.iter().map(String::as_str))
                .collect()
        };
        arena.run(&with("run")).ok();
        arena.run(&with("wait")).ok();
    }
    for (turn, (one, new)) in (1..).zip(kept.iter().zip(&restored)) {
        let shown = arena.show(new);
        assert_eq!(shown["status"], "completed", "{shown:#}");
        assert_eq!(shown["session"]["warnings"], json!([]), "{shown:#}");
        assert_eq!(shown["forked_from"], id.as_str());
        for same in ["metadata", "labels", "prompt", "name", "owner", "priority"] {
            assert_eq!(shown[same], whole[same], "{same} of {new}");
        }
        // The files, exactly, as the agent found them at the beginning of its next turn.
        let start = shown["session"]["workspace"]["start"].as_str().unwrap();
        let start = repo.git(&["rev-parse", &format!("{start}^{{tree}}")]);
        assert_eq!(start, one.tree, "turn {turn}");
        let seen = unpacked(&gate, new, turn + 1);
        assert_eq!(seen, one.files, "turn {turn}");
        // What it remembers: every turn up to then and none after it.
        let place = shown["session"]["workspace"]["path"].as_str().unwrap();
        let requests = model.requests();
        let of_new = |request: &&RecordedRequest| {
            request.script.is_some() && request.directory.as_deref() == Some(place)
        };
        let mut of_new = requests.iter().filter(of_new);
        let first = remembered(of_new.next().unwrap());
        assert_eq!(first, (1..=turn).collect::<Vec<_>>());
        let last = remembered(of_new.next_back().unwrap());
        assert_eq!(last, (1..=TURNS + 1).collect::<Vec<_>>());
        // And it comes to the same end.
        let branch = shown["branch"].as_str().map_or(start, |branch| {
            repo.git(&["rev-parse", &format!("{branch}^{{tree}}")])
        });
        assert_eq!(branch, end, "turn {turn}");
    }
    assert_eq!(
        arena.run(&["history", &id]).ok().out,
        log,
        "the log is as it was"
    );
    assert_eq!(arena.show(&id), whole);
    arena.until_deserted();
}
