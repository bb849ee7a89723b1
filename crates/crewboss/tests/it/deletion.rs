//! Deleting tasks, bringing them back, and purging them.

use std::fs;

use crate::place::Place;

/// A task that has ended, with a note, a decision and a log.
fn ended(place: &Place, key: &str) -> String {
    let id = place.start(&["writer", "hello there", "--key", key, "--meta", "team=blue"]);
    place.run(&["run", &id, "--wait"]).ok();
    place.run(&["note", &id, "look here"]).ok();
    let decide = [
        "decision",
        "add",
        &id,
        "--decision",
        "use tabs",
        "--reasoning",
        "a\n\nb: c",
    ];
    place.run(&decide).ok();
    id
}

fn listed(place: &Place, flags: &[&str]) -> Vec<String> {
    let args: Vec<&str> = ["task", "list", "--json"]
        .iter()
        .chain(flags)
        .copied()
        .collect();
    let list = place.run(&args).ok().json();
    let ids = list["tasks"].as_array().unwrap().iter();
    let ids: Vec<String> = ids
        .map(|task| task["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(list["total"], ids.len());
    ids
}

#[test]
fn a_deleted_task_is_nowhere_unless_asked_for_and_comes_back_whole() {
    let place = Place::folder();
    let id = ended(&place, "nightly");
    let other = place.start(&["writer", "other"]);
    let history = place.run(&["history", &id]).ok().out;
    let decisions = place.run(&["decision", "list", &id]).ok().out;
    let before = place.run(&["show", &id, "--json"]).ok().json();
    let told = place.run(&["task", "delete", "nightly"]).ok();
    assert_eq!(told.out, format!("Task {id} deleted.\n"));
    let again = place.run(&["task", "delete", &id]);
    assert_eq!(again.code, 3, "{again:#?}");
    assert!(again.err.contains("task undelete"), "{again:#?}");

    let status = place.run(&["status"]).ok().out;
    assert!(
        status.contains("1 total") && !status.contains(&id),
        "{status}"
    );
    assert_eq!(listed(&place, &[]), std::slice::from_ref(&other));
    assert_eq!(
        place.run(&["task", "stats", "--json"]).ok().json()["total"],
        1
    );
    assert_eq!(place.run(&["index", "verify"]).code, 0);
    for verb in [
        &["show"][..],
        &["history"],
        &["logs"],
        &["decision", "list"],
        &["task", "executions"],
        &["status"],
    ] {
        for name in [id.as_str(), "nightly"] {
            let args: Vec<&str> = verb.iter().copied().chain([name]).collect();
            let refused = place.run(&args);
            assert_eq!(refused.code, 3, "{refused:#?}");
            let args: Vec<&str> = args.into_iter().chain(["--include-deleted"]).collect();
            place.run(&args).ok();
        }
    }
    for verb in [
        &["cancel"][..],
        &["retry"],
        &["note"],
        &["task", "attach"],
        &["run"],
    ] {
        let more: &[&str] = match verb {
            ["note"] => &["x"],
            ["task", "attach"] => &["--agent", "a"],
            _ => &[],
        };
        let args: Vec<&str> = verb.iter().copied().chain([id.as_str()]).collect();
        let args: Vec<&str> = args.iter().chain(more).copied().collect();
        assert_eq!(place.run(&args).code, 3, "{args:?}");
    }
    let all = listed(&place, &["--include-deleted"]);
    assert_eq!(all, [other.clone(), id.clone()]);
    let table = place.run(&["status", "--include-deleted"]).ok().out;
    assert!(table.contains("completed, deleted"), "{table}");
    let shown = place
        .run(&["show", &id, "--include-deleted", "--json"])
        .ok()
        .json();
    assert!(shown["deleted_at"].is_string(), "{shown:#}");

    place.run(&["task", "undelete", "nightly"]).ok();
    let after = place.run(&["show", "nightly", "--json"]).ok().json();
    for field in ["status", "key", "prompt", "metadata", "session", "ended_at"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert!(after["deleted_at"].is_null());
    assert_eq!(place.run(&["decision", "list", &id]).ok().out, decisions);
    let all = place.run(&["history", &id]).ok().out;
    assert!(all.starts_with(&history), "{all}");
    assert!(
        all.contains("deleted") && all.contains("brought back"),
        "{all}"
    );
    place.run(&["history", &id, "--verify"]).ok();
    place.run(&["audit", "verify"]).ok();
}

#[test]
fn a_key_that_was_taken_meanwhile_is_said() {
    let place = Place::folder();
    let first = place.start(&["writer", "x", "--key", "k"]);
    place.run(&["task", "delete", "k"]).ok();
    let second = place.start(&["writer", "y", "--key", "k"]);
    let refused = place.run(&["task", "undelete", "k"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.err.contains("--no-key"), "{refused:#?}");
    assert_eq!(
        place.run(&["task", "undelete", "k", "--key", "../x"]).code,
        2
    );
    place.run(&["task", "undelete", "k", "--key", "k2"]).ok();
    let shown = place.run(&["show", "k2", "--json"]).ok().json();
    assert_eq!(
        (shown["id"].as_str(), shown["status"].as_str()),
        (Some(first.as_str()), Some("pending"))
    );
    let shown = place.run(&["show", "k", "--json"]).ok().json();
    assert_eq!(shown["id"], second.as_str());
    place.run(&["task", "delete", &first, &second]).ok();
    place
        .run(&["task", "undelete", &second, &first, "--no-key"])
        .ok();
    assert_eq!(place.run(&["show", "k"]).code, 3);
}

#[test]
fn a_running_task_is_cancelled_before_it_is_deleted() {
    let place = Place::folder();
    let id = place.start(&["sleeper", "x"]);
    place.run(&["run"]).ok();
    place.until_at_work(&id);
    let pid = place.run(&["show", &id, "--json"]).ok().json()["pid"]
        .as_u64()
        .unwrap();
    let deleted = place.run(&["task", "delete", &id, "--json"]).ok().json();
    assert_eq!(deleted["tasks"][0]["status"], "cancelled");
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "{state}");
}

#[test]
fn what_others_wait_for_is_not_deleted() {
    let place = Place::folder();
    let first = place.start(&["late7", "x"]);
    let second = place.start(&["writer", "y", "--depends-on", &first]);
    let refused = place.run(&["task", "delete", &first]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.err.contains(&second), "{refused:#?}");
    place.run(&["run", &first, "--wait"]);
    assert_eq!(place.run(&["task", "delete", &first]).code, 4);
    let both = place.run(&["task", "delete", &first, &second]);
    assert_eq!(both.code, 4, "the one that can be is deleted: {both:#?}");
    place.run(&["task", "delete", &first]).ok();
}

#[test]
fn a_retry_chain_stays_whole() {
    let place = Place::folder();
    let first = place.start(&["late7", "x"]);
    place.run(&["run", &first, "--wait"]);
    let second = place.run(&["retry", &first]).ok().id();
    place.run(&["task", "delete", &first]).ok();
    let shown = place.run(&["show", &second, "--json"]).ok().json();
    assert_eq!(shown["chain"].as_array().unwrap().len(), 2);
    place.run(&["task", "purge", &first, "--yes"]).ok();
    place.run(&["run", &second, "--wait"]);
    let third = place.run(&["retry", &second]).ok().id();
    let shown = place.run(&["show", &third, "--json"]).ok().json();
    assert_eq!(shown["retry_count"], 2);
    assert_eq!(shown["chain_root"], first.as_str());
}

#[test]
fn purging_leaves_nothing_but_hashes() {
    let place = Place::folder();
    let id = ended(&place, "secret");
    let folder = place.project().join(".crewboss/tasks").join(&id);
    assert!(folder.exists());
    let refused = place.run(&["task", "purge", &id, "--yes"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    place.run(&["task", "delete", &id]).ok();
    assert!(folder.join("logs.jsonl").exists(), "it may come back");
    let before = place.run(&["audit", "export"]).ok().out;
    let closed = place.run(&["task", "purge", &id]);
    assert_eq!(closed.code, 2, "nobody is there to answer: {closed:#?}");
    let no = place.feed(&["task", "purge", &id], Some("n\n")).ok();
    assert!(no.out.contains("Cancelled."), "{no:#?}");
    let dry = place
        .run(&[
            "task",
            "purge",
            "--dry-run",
            "--config",
            "deletion.keep_days=0",
        ])
        .ok();
    assert!(dry.out.contains(&id), "{dry:#?}");
    let none = place.run(&["task", "purge", "--yes"]).ok();
    assert_eq!(none.out, "0 tasks to purge.\n");
    let purged = place
        .run(&["task", "purge", "--yes", "--config", "deletion.keep_days=0"])
        .ok();
    assert_eq!(purged.out, format!("Task {id} purged.\n"));
    assert!(!folder.exists());
    place.run(&["task", "purge", &id, "--yes"]).ok();

    let verified = place.run(&["audit", "verify"]).ok().out;
    assert!(verified.contains("dropped"), "{verified}");
    place.run(&["audit", "verify", "--stream", &id]).ok();
    let after = place.run(&["audit", "export"]).ok().out;
    assert!(before.contains("hello there"), "{before}");
    assert!(
        !after.contains("hello there") && after.contains("task.purged"),
        "{after}"
    );
    let shown = place
        .run(&["show", &id, "--include-deleted", "--json"])
        .ok()
        .json();
    assert!(
        shown["purged_at"].is_string() && shown["prompt"] == "",
        "{shown:#}"
    );
    let history = place.run(&["history", &id, "--include-deleted"]);
    assert_eq!(history.code, 4, "{history:#?}");
    assert!(!folder.exists(), "looking makes nothing");
    assert_eq!(place.run(&["task", "undelete", &id]).code, 4);
    assert_eq!(listed(&place, &["--include-deleted"]), [""; 0]);
    place.start(&["writer", "y", "--key", "secret"]);
}

#[test]
fn work_of_its_own_is_salvaged_and_merged_work_goes() {
    let place = Place::repository();
    let merged = place.start(&["writer", "one"]);
    let alone = place.start(&["writer", "two"]);
    place.run(&["run", &merged, "--wait"]).ok();
    place.run(&["merge", &merged]).ok();
    place.run(&["run", &alone, "--wait"]).ok();
    place.run(&["checkpoint", "create", &alone]).ok();
    let tip = place.run(&["show", &alone, "--json"]).ok().json()["session"]["commit"].clone();
    let done = place.run(&["clean", "--purge", "--json"]).ok().json();
    let purged = done["purged"].as_array().unwrap();
    assert_eq!(purged.len(), 2, "{done:#}");
    let kept: Vec<&str> = purged
        .iter()
        .flat_map(|one| one["kept_references"].as_array().unwrap())
        .map(|name| name.as_str().unwrap())
        .collect();
    assert_eq!(kept.len(), 1, "{done:#}");
    let references = place.repo().git(&[
        "for-each-ref",
        "--format=%(refname)",
        "refs/crewboss",
        "refs/heads/crewboss",
    ]);
    assert_eq!(references, kept[0], "{done:#}");
    assert_eq!(
        place.repo().git(&["rev-parse", kept[0]]),
        tip.as_str().unwrap()
    );
    assert_eq!(
        place
            .repo()
            .git(&["show", &format!("{}:result.txt", kept[0])]),
        "two"
    );
}

#[test]
fn a_branch_that_somebody_has_checked_out_stays() {
    let place = Place::repository();
    let id = place.start(&["writer", "one"]);
    place.run(&["run", &id, "--wait"]).ok();
    let branch = place.run(&["show", &id, "--json"]).ok().json()["branch"].clone();
    place
        .repo()
        .git(&["switch", "--quiet", branch.as_str().unwrap()]);
    place.run(&["task", "delete", &id, "--purge", "--yes"]).ok();
    let head = place.repo().git(&["symbolic-ref", "--short", "HEAD"]);
    assert_eq!(head, branch.as_str().unwrap());
    place.repo().git(&["rev-parse", "HEAD"]);
}

#[test]
fn what_is_gone_on_from_is_not_purged() {
    let place = Place::folder();
    let id = place.start(&["late7", "x"]);
    place.run(&["run", &id, "--wait"]);
    let next = place.start(&["writer", "more", "--continue", &id]);
    place.run(&["task", "delete", &id]).ok();
    let refused = place.run(&["task", "purge", &id, "--yes"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.err.contains(&next), "{refused:#?}");
    place.run(&["cancel", &next]).ok();
    place.run(&["task", "purge", &id, "--yes"]).ok();
}

#[test]
fn wrong_input_is_refused() {
    let place = Place::folder();
    place.start(&["writer", "x"]);
    for (args, code) in [
        (&["task", "delete"][..], 2),
        (&["task", "delete", "task_1"], 3),
        (&["task", "delete", "../x"], 2),
        (&["task", "undelete", "task_1"], 3),
        (&["task", "undelete", "a", "b", "--key", "k"], 2),
        (&["task", "purge", "task_1", "--yes"], 3),
        (&["task", "find", "--meta", "x"], 2),
        (&["task", "list", "--status", "gone"], 2),
        (&["task", "list", "--limit", "-1"], 2),
    ] {
        let ran = place.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:#?}");
    }
}
