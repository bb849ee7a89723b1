//! What an agent put into the repository to reach us.

use std::{
    fs,
    time::{Duration, Instant},
};

use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, session, write};

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "measures, and ends what it started"
)]
fn a_filter_that_leaves_a_process_behind_does_not_hold_us() {
    let fixture = Fixture::new();
    let stays = "setsid sh -c 'echo $$ >> \"$HOME/pids\"; exec sleep 600' >/dev/null & cat";
    fixture.git(["config", "filter.x.clean", stays]);
    let record = fixture.prepare(1);
    write(&record.path, ".gitattributes", "* filter=x\n");
    write(&record.path, "w", "work\n");
    let begun = Instant::now();
    let committed = fixture.commit(&record, 1);
    let took = begun.elapsed();
    let pids = fs::read_to_string(fixture.real_root().join("home/pids")).expect("it ran");
    let mut kill = std::process::Command::new("kill");
    kill.args(pids.lines()).status().expect("ended");
    assert_eq!(committed.files.len(), 2);
    assert!(took < Duration::from_mins(1), "{took:?}");
}

const SECRET: &str = "tok-3f9a17c2d8";

/// A filter that tells what it sees, and does to the content what it should not.
const SPY: &str = "env >> \"$HOME/leak\"; sed s/work/spied/";

#[test]
fn a_filter_sees_no_secret() {
    let mut fixture = Fixture::new();
    let mut environment = fixture.environment();
    environment.push(("OPENAI_API_KEY".into(), SECRET.into()));
    let settings = Settings::new(fixture.state.clone(), environment);
    fixture.workspaces = Box::new(GitWorkspaces::new(settings));
    fixture.git(["config", "filter.x.clean", SPY]);
    let record = fixture.prepare(1);
    write(&record.path, ".gitattributes", "w filter=x\n");
    write(&record.path, "w", "work\n");
    let committed = fixture.commit(&record, 1);
    assert_eq!(committed.warnings, [""; 0], "the filter is the user's own");
    let file = format!("{}:w", committed.commit);
    assert_eq!(fixture.git(["show", &file]), "spied\n", "and it ran");
    let leak = fs::read_to_string(fixture.real_root().join("home/leak")).expect("it ran");
    assert!(leak.contains("PATH=") && !leak.contains(SECRET), "{leak}");
}

#[test]
fn filters_and_drivers_of_an_agent_are_not_run() {
    let fixture = Fixture::new();
    fixture.write("text", "1\n2\n3\n4\n5\n");
    fixture.commit_all("text");
    let record = fixture.prepare(1);
    write(
        &record.path,
        ".gitattributes",
        "w filter=a=b\ntext merge=m\n",
    );
    write(&record.path, "w", "work\n");
    write(&record.path, "text", "1\n2\n3\n4\nfive\n");
    for (key, value) in [
        ("filter.a=b.clean", SPY),
        ("filter.a=b.smudge", SPY),
        ("filter.a=b.required", "true"),
        ("merge.m.driver", "env > \"$HOME/leak\""),
        ("core.hooksPath", "/nowhere"),
    ] {
        fixture.git_in(&record.path, ["config", key, value]);
    }
    let salvaged = fixture.workspaces.salvage(&record, session(1));
    let salvaged = salvaged.expect("salvaged").expect("something");
    assert_eq!(salvaged.warnings.len(), 5, "{:?}", salvaged.warnings);
    let committed = fixture.commit(&record, 1);
    assert_eq!(committed.warnings, salvaged.warnings);
    let file = format!("{}:w", committed.commit);
    assert_eq!(fixture.git(["show", &file]), "work\n");
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("published");
    fixture.write("text", "one\n2\n3\n4\n5\n");
    fixture.write(".gitattributes", "w filter=a=b\ntext merge=m\n");
    fixture.commit_all("meanwhile");
    fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert_eq!(fixture.read("text"), "one\n2\n3\n4\nfive\n");
    assert_eq!(fixture.read("w"), "work\n");
    let next = fixture.prepare(2);
    write(&next.path, "w", "more work\n");
    let warned = fixture.commit(&next, 2).warnings.len();
    assert_eq!(warned, 4, "of all but the hooks, which are never run");
    assert!(!fixture.real_root().join("home/leak").exists());
}

#[test]
fn a_removed_worktree_makes_nobody_distrusted() {
    let fixture = Fixture::new();
    fixture.git(["config", "filter.x.clean", SPY]);
    let record = fixture.prepare(1);
    for _ in 0..2 {
        let removed = fixture.workspaces.remove(&record, session(1));
        removed.expect("removed");
    }
    let record = fixture.prepare(2);
    write(&record.path, ".gitattributes", "w filter=x\n");
    write(&record.path, "w", "work\n");
    let committed = fixture.commit(&record, 2);
    let file = format!("{}:w", committed.commit);
    assert_eq!(fixture.git(["show", &file]), "spied\n");
    assert_eq!(committed.warnings, [""; 0]);
}
