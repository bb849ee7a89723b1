//! Checkpoints: exact, whole or not at all, and of use after everything that can happen to them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use app::crash_points::CrashPoint;
use serde_json::Value;

use crate::arena::Arena;

/// Makes files of every kind the first time and waits; looks at what there is the second time.
const WORK: &str = r#"
if test -e "$HOME/first"; then cp -a . "$HOME/seen"; exit 0; fi
touch "$HOME/first"
mkdir -p deep/er ignored
printf 'a\0b\377' > deep/er/bytes
echo '#!/bin/sh' > run.sh; chmod 755 run.sh
ln -s deep/er/bytes link; ln -s /nowhere broken
echo 'with space' > 'a name with ü and space'
: > empty
echo secret > ignored/file
cp -a . "$HOME/made"
touch "$HOME/ready"
while ! test -e "$HOME/go"; do sleep 0.05; done
rm run.sh; echo later > later; echo changed > deep/er/bytes
"#;

#[track_caller]
fn json(arena: &Arena, args: &[&str]) -> Value {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    serde_json::from_str(&arena.run(&args).ok().out).unwrap()
}

#[track_caller]
fn create(arena: &Arena, task: &str) -> String {
    let made = json(arena, &["checkpoint", "create", task]);
    made["id"].as_str().unwrap().to_owned()
}

/// As `checkpoint list` has them, but the oldest first.
#[track_caller]
fn listed(arena: &Arena, task: &str) -> Vec<Value> {
    let listed = json(arena, &["checkpoint", "list", task]);
    let newest_first = listed["checkpoints"].as_array().unwrap();
    newest_first.iter().rev().cloned().collect()
}

fn ids(listed: &[Value]) -> Vec<String> {
    let ids = listed.iter().map(|one| one["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

fn references(repository: &Path) -> Vec<String> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(repository)
        .args([
            "for-each-ref",
            "--format=%(refname:lstrip=3)",
            "refs/crewboss/checkpoints",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn folder(arena: &Arena, task: &str) -> PathBuf {
    arena
        .project()
        .join(format!(".crewboss/tasks/{task}/checkpoints"))
}

/// Whatever is in the folder of checkpoints that is no known index.
fn folders(arena: &Arena, task: &str) -> Vec<String> {
    let entries = fs::read_dir(folder(arena, task)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with(".index")).collect();
    names.sort();
    names
}

/// Everything below a folder but git's: mode and content of files, targets of links.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if name.starts_with(".git") && !name.ends_with(".gitignore") {
                continue;
            }
            if metadata.is_dir() {
                left.push(path);
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(name, (0, target.into_os_string().into_encoded_bytes()));
            } else {
                let mode = metadata.permissions().mode() & 0o111;
                found.insert(name, (mode, fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// A task whose agent has made its files and waits.
fn at_work(arena: &Arena, flags: &[&str]) -> String {
    let id = arena.start(WORK, flags);
    arena.run(&["run", &id]).ok();
    let ready = arena.root().join("home/ready");
    arena.until("ready", || ready.exists());
    id
}

fn let_go(arena: &Arena, id: &str) {
    fs::write(arena.root().join("home/go"), "").unwrap();
    arena.run(&["wait", id, "--timeout", "60"]).ok();
}

/// What the first agent made and what the second one found.
#[track_caller]
fn compare(arena: &Arena, with_ignored: bool) {
    let home = arena.root().join("home");
    let mut made = tree(&home.join("made"));
    let seen = tree(&home.join("seen"));
    if !with_ignored {
        made.retain(|path, _| !path.starts_with("ignored"));
    }
    assert_eq!(made, seen);
    assert_eq!(made.contains_key(Path::new("ignored/file")), with_ignored);
}

#[track_caller]
fn restored(arena: &Arena, checkpoint: &str) -> Value {
    let made = json(arena, &["checkpoint", "restore", checkpoint]);
    let id = made["id"].as_str().unwrap().to_owned();
    arena.run(&["run", &id]).ok();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    arena.show(&id)
}

fn ignoring(arena: &Arena) {
    let repo = arena.repo();
    repo.commit_file(".gitignore", "ignored/\n", "ignore");
}

#[test]
fn a_worktree_comes_back_as_it_was_at_work() {
    for with_ignored in [false, true] {
        let arena = Arena::repository();
        ignoring(&arena);
        let id = at_work(&arena, &["--meta", "ticket=7"]);
        let mut args = vec!["checkpoint", "create", &id, "--note", "half way"];
        args.extend(with_ignored.then_some("--include-ignored"));
        let made = json(&arena, &args);
        let checkpoint = made["id"].as_str().unwrap();
        assert_eq!(
            (&made["note"], &made["findings"]),
            (&"half way".into(), &Value::Array(vec![]))
        );
        let plan = arena
            .project()
            .join(format!(".crewboss/tasks/{id}/plan.md"));
        fs::write(&plan, "as it was later").unwrap();
        let_go(&arena, &id);
        let before = arena.show(&id);
        let new = restored(&arena, checkpoint);
        compare(&arena, with_ignored);
        assert_eq!(new["forked_from"], id.as_str());
        assert_eq!(new["metadata"]["ticket"], "7");
        assert_eq!(new["continues"]["checkpoint"], checkpoint);
        let own = new["id"].as_str().unwrap();
        let plan = arena
            .project()
            .join(format!(".crewboss/tasks/{own}/plan.md"));
        let kept = folder(&arena, &id).join(checkpoint).join("plan.md");
        assert_eq!(fs::read(plan).unwrap(), fs::read(kept).unwrap());
        assert_eq!(arena.show(&id), before, "the old task is as it was");
        let branch = new["branch"].as_str();
        assert_eq!(branch, None, "what it found was no change of its own");
        arena.until_deserted();
    }
}

#[test]
fn a_plain_folder_comes_back_as_it_was() {
    let arena = Arena::folder();
    let id = at_work(&arena, &[]);
    let checkpoint = create(&arena, &id);
    let_go(&arena, &id);
    let again = create(&arena, &id);
    restored(&arena, &checkpoint);
    compare(&arena, true);
    let stat = arena
        .run(&["checkpoint", "diff", &checkpoint, &again, "--stat"])
        .ok();
    assert!(
        stat.out.contains("D run.sh") && stat.out.contains("A later"),
        "{}",
        stat.out
    );
    let now = arena
        .run(&["checkpoint", "diff", &again, "--now", "--stat"])
        .ok();
    assert!(now.out.contains("0 files changed"), "{}", now.out);
    assert_eq!(ids(&listed(&arena, &id)), [checkpoint, again]);
    assert!(!arena.project().join(".git").exists());
}

#[test]
fn where_the_user_works_nothing_is_touched() {
    let arena = Arena::repository();
    ignoring(&arena);
    let repo = arena.repo();
    repo.write("staged", "staged");
    repo.git(&["add", "staged"]);
    let id = at_work(&arena, &["--workspace", "in-place"]);
    let index = fs::read(arena.project().join(".git/index")).unwrap();
    let head = repo.git(&["rev-parse", "HEAD"]);
    let checkpoint = create(&arena, &id);
    assert_eq!(fs::read(arena.project().join(".git/index")).unwrap(), index);
    assert_eq!(repo.git(&["rev-parse", "HEAD"]), head);
    assert_eq!(repo.git(&["stash", "list"]), "");
    let_go(&arena, &id);
    let before = tree(arena.project());
    let new = restored(&arena, &checkpoint);
    assert_eq!(new["workspace_mode"], "worktree");
    let seen = tree(&arena.root().join("home/seen"));
    assert!(seen.contains_key(Path::new("run.sh")) && seen.contains_key(Path::new("staged")));
    let mut after = tree(arena.project());
    after.retain(|path, _| !path.starts_with(".crewboss"));
    assert!(
        after
            .iter()
            .all(|(path, file)| before.get(path) == Some(file))
    );
}

type Change = (&'static str, fn(&Path));

#[test]
fn what_is_as_it_was_is_the_same_tree_and_whatever_is_not_is_seen() {
    let arena = Arena::repository();
    ignoring(&arena);
    let id = at_work(&arena, &[]);
    let place = arena.show(&id)["session"]["workspace"]["path"].clone();
    let place = PathBuf::from(place.as_str().unwrap());
    let tree = |arena: &Arena| {
        let made = json(arena, &["checkpoint", "create", &id]);
        assert_eq!(made["warnings"], Value::Array(vec![]), "{made:#}");
        (made["tree"].clone(), made["bytes"].clone())
    };
    let first = tree(&arena);
    assert_eq!(tree(&arena), first);
    let changes: [Change; 8] = [
        ("a file more", |place| {
            fs::write(place.join("more"), "").unwrap();
        }),
        ("other content, as long", |place| {
            fs::write(place.join("more2"), "a").unwrap();
        }),
        ("a mode", |place| {
            fs::set_permissions(place.join("empty"), fs::Permissions::from_mode(0o755)).unwrap();
        }),
        ("a file less", |place| {
            fs::remove_file(place.join("run.sh")).unwrap();
        }),
        ("a link elsewhere", |place| {
            fs::remove_file(place.join("broken")).unwrap();
            symlink("/elsewhere", place.join("broken")).unwrap();
        }),
        ("a folder in place of a file", |place| {
            fs::remove_file(place.join("more")).unwrap();
            fs::create_dir(place.join("more")).unwrap();
            fs::write(place.join("more/inner"), "x").unwrap();
        }),
        ("ignored no more", |place| {
            fs::write(place.join(".gitignore"), "").unwrap();
        }),
        ("the same length, at once", |place| {
            fs::write(place.join("more2"), "b").unwrap();
        }),
    ];
    let mut known = vec![first.0];
    for (what, change) in changes {
        change(&place);
        // A look that makes nothing is no checkpoint that the next could go by.
        arena
            .run(&["checkpoint", "diff", &id, "--now", "--stat"])
            .ok();
        let now = tree(&arena).0;
        assert!(!known.contains(&now), "{what}");
        assert_eq!(tree(&arena).0, now, "{what}");
        known.push(now);
    }
    // A note about another index is not believed.
    let entries = fs::read_dir(folder(&arena, &id)).unwrap();
    let note = entries.map(|entry| entry.unwrap().path());
    let note = note
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "tree"));
    let note = note.unwrap();
    let text = fs::read_to_string(&note).unwrap();
    let (_, seal) = text.split_once(' ').unwrap();
    fs::write(
        &note,
        format!(
            "{} {}",
            known[0].as_str().unwrap(),
            seal.replace(|_: char| true, "0")
        ),
    )
    .unwrap();
    assert_eq!(tree(&arena).0, known[8]);
    let_go(&arena, &id);
}

#[test]
fn two_at_once_are_two() {
    let arena = Arena::repository();
    let id = at_work(&arena, &[]);
    let args: &[&str] = &["checkpoint", "create", &id];
    for ran in arena.at_once(&[args; 6]) {
        ran.ok();
    }
    let listed = listed(&arena, &id);
    assert_eq!(listed.len(), 6);
    assert!(
        listed
            .iter()
            .all(|one| one["findings"] == Value::Array(vec![])),
        "{listed:#?}"
    );
    let trees: Vec<_> = listed.iter().map(|one| &one["tree"]).collect();
    assert!(trees.iter().all(|tree| *tree == trees[0]));
    let mut kept = references(arena.project());
    kept.sort();
    assert_eq!(kept, ids(&listed));
    let_go(&arena, &id);
    assert_eq!(
        arena.show(&id)["version"],
        9,
        "made, begun, six checkpoints, completed"
    );
}

#[test]
fn damage_is_said_and_the_rest_is_of_use() {
    let arena = Arena::repository();
    let id = at_work(&arena, &[]);
    let made: Vec<String> = (0..6).map(|_| create(&arena, &id)).collect();
    let_go(&arena, &id);
    let at = |number: usize| folder(&arena, &id).join(&made[number]);
    let edit = |number: usize, change: &dyn Fn(String) -> String| {
        let file = at(number).join("manifest.json");
        fs::write(&file, change(fs::read_to_string(&file).unwrap())).unwrap();
    };
    edit(0, &|text| text.replace("plan.md", "../../plan.md"));
    fs::remove_file(at(1).join("plan.md")).unwrap();
    let state = fs::read_to_string(at(2).join("state.json")).unwrap();
    fs::write(
        at(2).join("state.json"),
        state.replace("\"running\"", "\"runninG\""),
    )
    .unwrap();
    fs::remove_file(at(3).join("plan.md")).unwrap();
    symlink("/etc/passwd", at(3).join("plan.md")).unwrap();
    edit(4, &|text| text[..text.len() / 2].to_owned());
    let listed = listed(&arena, &id);
    assert_eq!(ids(&listed), made);
    let finding = |number: usize| listed[number]["findings"][0].as_str().unwrap_or_default();
    assert!(finding(0).contains("checksum"), "{listed:#?}");
    assert_eq!(finding(1), "plan.md: it is missing");
    assert_eq!(finding(2), "state.json: its content was changed");
    assert!(finding(3).contains("symbolic link"), "{listed:#?}");
    assert!(
        finding(4).starts_with("manifest.json: it cannot be read"),
        "{listed:#?}"
    );
    assert_eq!(finding(5), "");
    for damaged in &made[..5] {
        let refused = arena.run(&["checkpoint", "restore", damaged]).with(1);
        assert!(refused.error().contains("is damaged"), "{refused:?}");
        arena.run(&["checkpoint", "show", damaged]).with(1);
    }
    arena.run(&["checkpoint", "show", &made[5]]).ok();
    restored(&arena, &made[5]);
    compare(&arena, true);
    // Foreign things are nobody's checkpoints.
    fs::create_dir(folder(&arena, &id).join("ckp_x")).unwrap();
    fs::write(folder(&arena, &id).join("note.txt"), "mine").unwrap();
    symlink("/etc", folder(&arena, &id).join("ckp_5")).unwrap();
    let with_link = json(&arena, &["checkpoint", "list", &id]);
    assert_eq!(with_link["checkpoints"].as_array().unwrap().len(), 7);
    let mut all = vec!["checkpoint", "delete", "ckp_5"];
    all.extend(made.iter().map(String::as_str));
    arena.run(&all).ok();
    assert!(Path::new("/etc/passwd").exists());
    assert_eq!(references(arena.project()), [""; 0]);
    assert_eq!(folders(&arena, &id), ["ckp_x", "note.txt"]);
}

#[test]
fn a_flipped_byte_of_an_object_is_found() {
    let arena = Arena::repository();
    let id = at_work(&arena, &[]);
    let checkpoint = create(&arena, &id);
    let_go(&arena, &id);
    arena.run(&["checkpoint", "show", &checkpoint]).ok();
    let name = format!("refs/crewboss/checkpoints/{checkpoint}:run.sh");
    let blob = arena.repo().git(&["rev-parse", &name]);
    let object = format!(".git/objects/{}/{}", &blob[..2], &blob[2..]);
    let object = arena.project().join(object);
    let mut bytes = fs::read(&object).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, bytes).unwrap();
    let shown = arena.run(&["checkpoint", "show", &checkpoint]).with(1);
    assert!(
        shown.out.contains("objects of the workspace are damaged"),
        "{shown:?}"
    );
    fs::remove_file(&object).unwrap();
    arena.run(&["checkpoint", "restore", &checkpoint]).with(1);
}

#[test]
fn one_that_is_needed_stays() {
    let arena = Arena::repository();
    let id = at_work(&arena, &[]);
    let checkpoint = create(&arena, &id);
    let fork = json(
        &arena,
        &[
            "checkpoint",
            "fork",
            &checkpoint,
            "--with",
            "echo more > more",
        ],
    );
    let fork = fork["id"].as_str().unwrap();
    let prompt = arena.show(fork)["prompt"].as_str().unwrap().to_owned();
    assert_eq!(prompt, format!("{WORK}\n\necho more > more"));
    let refused = arena.run(&["checkpoint", "delete", &checkpoint]).with(4);
    assert!(refused.error().contains("goes on from"), "{refused:?}");
    let more = create(&arena, &id);
    let prune: &[&str] = &[
        "checkpoint",
        "prune",
        "--config",
        "checkpoint.keep_last=1",
        "--config",
        "checkpoint.keep_daily=0",
        "--config",
        "checkpoint.keep_weekly=0",
    ];
    let none = arena.run(prune).ok();
    assert!(none.out.contains("0 checkpoints deleted"), "{none:?}");
    arena.run(&["cancel", fork]).ok();
    let dry: Vec<&str> = prune.iter().chain(&["--dry-run"]).copied().collect();
    assert!(arena.run(&dry).ok().out.contains("Would delete"));
    assert_eq!(listed(&arena, &id).len(), 2);
    arena.run(prune).ok();
    assert_eq!(ids(&listed(&arena, &id)), std::slice::from_ref(&more));
    assert_eq!(references(arena.project()), [more]);
    let_go(&arena, &id);
    arena.run(&["clean", "--purge", &id]).ok();
    assert_eq!(references(arena.project()), [""; 0]);
}

#[test]
fn wrong_input_is_refused() {
    let arena = Arena::repository();
    arena.run(&["checkpoint", "create", "task_1"]).with(3);
    let id = arena.start("true", &[]);
    let refused = arena.run(&["checkpoint", "create", &id]).with(4);
    assert!(refused.error().contains("no workspace"), "{refused:?}");
    for (args, code) in [
        (&["checkpoint", "show", "../x"][..], 2),
        (&["checkpoint", "show", "ckp_1"], 3),
        (&["checkpoint", "delete", "ckp_1"], 3),
        (&["checkpoint", "restore", "ckp_01"], 2),
        (&["checkpoint", "fork", "ckp_1", "--with", " "], 2),
        (&["checkpoint", "diff", "ckp_1", "ckp_2", "--now"], 2),
        (&["checkpoint"], 2),
    ] {
        arena.run(args).with(code);
    }
    assert!(
        arena
            .run(&["checkpoint", "list", &id])
            .ok()
            .out
            .contains("no checkpoints")
    );
}

#[test]
fn dying_while_it_is_made_leaves_one_or_none() {
    for point in [
        CrashPoint::CheckpointDrafted,
        CrashPoint::CheckpointKept,
        CrashPoint::CheckpointRecorded,
        CrashPoint::CheckpointShown,
    ] {
        let arena = Arena::repository();
        let id = at_work(&arena, &[]);
        let first = create(&arena, &id);
        let died = arena
            .command(["checkpoint", "create", &id])
            .env("CREWBOSS_CRASH_AT", point.as_str())
            .output()
            .unwrap();
        assert_eq!(died.status.code(), None, "{point:?}");
        let version = arena.show(&id)["version"].as_u64().unwrap();
        let shown = listed(&arena, &id);
        assert!(
            shown
                .iter()
                .all(|one| one["findings"] == Value::Array(vec![]))
        );
        assert_eq!(
            shown.len(),
            if point == CrashPoint::CheckpointShown {
                2
            } else {
                1
            }
        );
        let last = create(&arena, &id);
        // What was whole was finished: noted once, and in the list.
        let now = ids(&listed(&arena, &id));
        assert_eq!(now.len(), 3, "{point:?}");
        assert_eq!((&now[0], &now[2]), (&first, &last));
        assert_eq!(folders(&arena, &id), now, "{point:?}");
        let mut kept = references(arena.project());
        kept.sort();
        assert_eq!(kept, now, "{point:?}");
        let noted = matches!(
            point,
            CrashPoint::CheckpointRecorded | CrashPoint::CheckpointShown
        );
        assert_eq!(version, if noted { 4 } else { 3 }, "{point:?}");
        assert_eq!(arena.show(&id)["version"], 5, "{point:?}");
        let_go(&arena, &id);
    }
}

#[test]
fn a_half_made_one_is_cleared_up() {
    let arena = Arena::repository();
    let id = at_work(&arena, &[]);
    let first = create(&arena, &id);
    let half = folder(&arena, &id).join(".new-ckp_77");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("state.json"), "{").unwrap();
    let unowned = arena
        .repo()
        .git(&["rev-parse", &format!("refs/crewboss/checkpoints/{first}")]);
    arena
        .repo()
        .git(&["update-ref", "refs/crewboss/checkpoints/ckp_78", &unowned]);
    let listed = arena.run(&["checkpoint", "list", &id]).ok();
    assert!(listed.err.contains("ckp_77 was not finished"), "{listed:?}");
    let last = create(&arena, &id);
    assert_eq!(folders(&arena, &id), [first.clone(), last.clone()]);
    arena.run(&["checkpoint", "prune"]).ok();
    assert_eq!(references(arena.project()), [first, last]);
    let_go(&arena, &id);
}

#[test]
fn dying_while_one_is_deleted_leaves_none() {
    for point in [CrashPoint::CheckpointHidden, CrashPoint::CheckpointDropped] {
        let arena = Arena::repository();
        let id = at_work(&arena, &[]);
        let (gone, stays) = (create(&arena, &id), create(&arena, &id));
        let died = arena
            .command(["checkpoint", "delete", &gone])
            .env("CREWBOSS_CRASH_AT", point.as_str())
            .output()
            .unwrap();
        assert_eq!(died.status.code(), None, "{point:?}");
        assert_eq!(
            ids(&listed(&arena, &id)),
            std::slice::from_ref(&stays),
            "{point:?}"
        );
        let last = create(&arena, &id);
        assert_eq!(
            folders(&arena, &id),
            [stays.clone(), last.clone()],
            "{point:?}"
        );
        assert_eq!(references(arena.project()), [stays, last], "{point:?}");
        let_go(&arena, &id);
    }
}

/// Every turn past the first says what came before: only who remembers it gets there.
const CONVERSATION: &str = r#"
title = "Numbers"
[[scripts]]
name = "numbers"
match = "Write numbers"
against = "first"
[[scripts.turns]]
text = "I write the first."
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/one.txt", content = "1\n" } }]
[[scripts.turns]]
text = "I wait."
tools = [{ name = "bash", arguments = { command = "touch ready; ln -s one.txt link; chmod 755 one.txt; until test -e go; do sleep 0.1; done; rm ready go", description = "Waits" } }]
[[scripts.turns]]
text = "I remember one.txt."
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/two.txt", content = "2\n" } }]
[[scripts.turns]]
text = "Two are there."
[[scripts.turns]]
text = "I remember two.txt."
tools = [{ name = "write", arguments = { filePath = "{{cwd}}/three.txt", content = "3\n" } }]
[[scripts.turns]]
text = "Three are there."
"#;

#[test]
fn a_conversation_with_opencode_goes_on_where_it_was() {
    let scenario = testkit::scripted_model::Scenario::from_toml(CONVERSATION).unwrap();
    let mut arena = Arena::repository();
    let Some(_model) = crate::ten_turns::with_opencode(&mut arena, scenario) else {
        return;
    };

    let queued = json(&arena, &["start", "opencode", "Write numbers"]);
    let id = queued["id"].as_str().unwrap();
    arena.run(&["run", id]).ok();
    let mut place = PathBuf::new();
    arena.until("waiting", || {
        let shown = arena.show(id);
        let path = shown["session"]["workspace"]["path"].as_str();
        place = path.unwrap_or_default().into();
        place.join("ready").exists()
    });
    let middle = json(&arena, &["checkpoint", "create", id]);
    assert!(middle["agent_session"].is_string(), "{middle:#}");
    assert!(middle["last_message"].is_string(), "{middle:#}");
    fs::write(place.join("go"), "").unwrap();
    arena.run(&["wait", id, "--timeout", "120"]).ok();
    let end = json(&arena, &["checkpoint", "create", id]);
    assert_eq!(end["agent_session"], middle["agent_session"]);
    assert_ne!(end["last_message"], middle["last_message"]);

    let repo = arena.repo();
    for (checkpoint, words, files) in [
        (
            &middle,
            ["I remember one.txt.", "Two are there."],
            "two.txt",
        ),
        (
            &end,
            ["I remember two.txt.", "Three are there."],
            "three.txt",
        ),
    ] {
        let new = restored(&arena, checkpoint["id"].as_str().unwrap());
        assert_eq!(new["status"], "completed", "{new:#}");
        let start = new["session"]["workspace"]["start"].as_str().unwrap();
        let tree = repo.git(&["rev-parse", &format!("{start}^{{tree}}")]);
        assert_eq!(checkpoint["tree"], tree.as_str());
        let said = arena.run(&["logs", new["id"].as_str().unwrap()]).ok().out;
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
        assert!(!said.contains("I write the first"), "{said}");
        assert_eq!(new["session"]["warnings"], Value::Array(vec![]), "{new:#}");
        let branch = new["branch"].as_str().unwrap();
        let listed = repo.git(&["ls-tree", "--name-only", branch]);
        assert!(
            listed.contains(files) && listed.contains("link"),
            "{listed}"
        );
    }
}

#[test]
fn every_moment_of_checkpoints_has_its_test() {
    assert_eq!(CrashPoint::OF_CHECKPOINTS.len(), 8);
}
