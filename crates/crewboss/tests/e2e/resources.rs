//! What sessions leave on the machine: whose it is, and that what is nobody's goes.

use std::{fs, process::Command};

use serde_json::Value;
use testkit::poll::poll_until;

use crate::{
    arena::{Arena, LONG},
    census,
};

fn listed(arena: &Arena) -> (Option<i32>, Vec<(String, String)>) {
    let ran = arena.run(&["doctor", "--resources", "--json"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
    let resources = document["resources"].as_array().unwrap();
    let mut found: Vec<_> = resources
        .iter()
        .map(|one| (text(one, "kind"), text(one, "owner")))
        .collect();
    found.sort();
    assert_eq!(document["ok"], ran.code == Some(0), "{document:#}");
    (ran.code, found)
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(kind, owner): &(&str, &str)| ((*kind).to_owned(), (*owner).to_owned());
    expected.iter().map(owned).collect()
}

#[test]
fn a_session_at_work_owns_what_it_has_and_leaves_a_branch() {
    let arena = Arena::repository();
    let id = arena.start(
        "echo x >x.txt; until test -e $HOME/go; do sleep 0.05; done",
        &[],
    );
    assert_eq!(listed(&arena), (Some(0), vec![]));
    arena.run(&["run", &id]).ok();
    arena.until("at work", || {
        arena.show(&id)["session"]["status"] == "running"
    });
    let (code, found) = listed(&arena);
    let own = [
        ("processes", "session"),
        ("socket", "session"),
        ("worktree", "session"),
    ];
    assert_eq!((code, found), (Some(0), pairs(&own)));
    fs::write(arena.root().join("home/go"), "").unwrap();
    arena.run(&["wait", &id, "--timeout", "60"]).ok();
    arena.until_deserted();
    assert_eq!(listed(&arena), (Some(0), pairs(&[("branch", "person")])));
}

#[test]
fn what_an_ended_session_left_is_named_and_removed_with_its_work_kept() {
    let arena = Arena::repository();
    arena.configure("\n[workspace]\nkeep = true\n");
    let id = arena.start("echo $CREWBOSS_MARK >$HOME/mark; echo x >x.txt", &[]);
    arena.run(&["run", &id, "--wait"]).ok();
    arena.until_deserted();
    let kept = [("branch", "person"), ("worktree", "person")];
    assert_eq!(listed(&arena), (Some(0), pairs(&kept)));

    // Nobody wants it any more, but somebody went on in it; and a process of it came back.
    arena.configure("");
    let shown = arena.show(&id);
    let session = shown["session"]["id"].as_str().unwrap();
    let workspace = shown["session"]["workspace"]["path"].as_str().unwrap();
    fs::write(format!("{workspace}/late.txt"), "late\n").unwrap();
    let mark = arena.lines("home/mark").remove(0);
    let mut child = Command::new("sleep")
        .arg("600")
        .env("CREWBOSS_MARK", mark)
        .spawn()
        .unwrap();
    let left = [
        ("branch", "person"),
        ("processes", "nobody"),
        ("worktree", "nobody"),
    ];
    assert_eq!(listed(&arena), (Some(1), pairs(&left)));

    let ending = std::thread::spawn(move || child.wait().unwrap());
    let swept = arena.run(&["doctor", "--resources", "--sweep"]).ok();
    assert!(!ending.join().unwrap().success());
    let reference = format!("refs/crewboss/salvage/{session}");
    assert!(
        swept.out.contains(&format!("kept in {reference}")),
        "{swept:#?}"
    );
    assert_eq!(
        arena
            .repo()
            .git(&["show", &format!("{reference}:late.txt")]),
        "late"
    );
    assert!(!fs::exists(workspace).unwrap());
    let kept = [("branch", "person"), ("salvage", "person")];
    assert_eq!(listed(&arena), (Some(0), pairs(&kept)));
}

#[test]
fn what_another_store_made_is_named_and_never_touched() {
    let arena = Arena::folder();
    let id = arena.start("true", &[]);
    arena.run(&["run", &id, "--wait"]).ok();
    let foreign = arena.store().join("state/folders/ses_7");
    fs::create_dir_all(&foreign).unwrap();
    assert_eq!(listed(&arena), (Some(1), pairs(&[("folder", "unknown")])));
    arena.run(&["doctor", "--resources", "--sweep"]).with(1);
    assert!(foreign.is_dir());
}

#[test]
fn the_daemon_sweeps_when_it_starts() {
    let arena = Arena::repository();
    arena.configure("\n[workspace]\nkeep = true\n");
    let id = arena.start("echo x >x.txt", &[]);
    arena.run(&["run", &id, "--wait"]).ok();
    arena.until_deserted();
    let shown = arena.show(&id);
    let workspace = shown["session"]["workspace"]["path"].as_str().unwrap();
    assert!(fs::exists(workspace).unwrap());
    arena.configure("");
    let mut daemon = arena.command(["daemon"]).spawn().unwrap();
    let gone = poll_until(LONG, || !fs::exists(workspace).unwrap());
    census::signal(daemon.id(), rustix::process::Signal::TERM);
    daemon.wait().unwrap();
    assert!(gone);
}
