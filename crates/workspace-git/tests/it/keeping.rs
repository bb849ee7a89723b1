//! Nothing that a session did is lost, whatever its agent did to the worktree.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use app::ports::workspaces::{Removed, Salvage, WorkspaceError, Workspaces};
use domain::workspace::{ChangeStatus, WorkspaceRecord};
use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, authorship, session, write, write_program};

fn salvage(fixture: &Fixture, record: &WorkspaceRecord) -> Option<Salvage> {
    fixture
        .workspaces
        .salvage(record, session(1))
        .expect("salvaged")
}

fn kept(fixture: &Fixture, record: &WorkspaceRecord, name: &str) -> String {
    let salvage = salvage(fixture, record).expect("something to keep");
    assert_eq!(salvage.reference, "refs/crewboss/salvage/ses_1");
    fixture.git(["show", &format!("{}:{name}", salvage.reference)])
}

/// Git compares a file again only where its time is not before the index's: a copy of the index that
/// was newer would hide what an agent wrote at once, to the same size.
#[test]
fn a_change_to_the_same_size_in_the_second_of_the_checkout_is_seen() {
    let fixture = Fixture::new();
    fixture.write("result.txt", "one");
    fixture.commit_all("one");
    fixture.git(["config", "core.trustctime", "false"]);
    let record = fixture.prepare(1);
    let file = record.path.join("result.txt");
    let in_that_second = |path: &Path| {
        let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let file = File::options().write(true).open(path).expect("a file");
        file.set_modified(then).expect("its time");
    };
    in_that_second(&file);
    fixture.git_in(&record.path, ["update-index", "--refresh"]);
    in_that_second(&fixture.project.join(".git/worktrees/ses_1/index"));
    fs::write(&file, "two").expect("changed");
    in_that_second(&file);
    let committed = fixture.commit(&record, 1);
    assert!(!committed.no_change, "{committed:?}");
    let name = format!("{}:result.txt", committed.commit);
    assert_eq!(fixture.git(["show", &name]), "two");
}

#[test]
fn everything_not_ignored_is_committed_whoever_committed_before() {
    let fixture = Fixture::new();
    fixture.write("gone.txt", "x\n");
    fixture.write("moved.txt", &"line\n".repeat(20));
    fixture.write(".gitignore", "*.log\n");
    fixture.commit_all("more");
    let before = fixture.users_state();
    let record = fixture.prepare(1);
    write(&record.path, "first.txt", "1\n");
    let own = fixture.commit_all_in(&record.path, "the agent's own");
    fixture.git_in(&record.path, ["checkout", "--quiet", "-b", "agents-branch"]);
    write(&record.path, "dir/second.txt", "2\n2\n");
    write(&record.path, "noise.log", "ignored");
    fs::remove_file(record.path.join("gone.txt")).expect("removed");
    fs::rename(
        record.path.join("moved.txt"),
        record.path.join("renamed.txt"),
    )
    .expect("renamed");
    fs::write(record.path.join("blob"), [0, 1, 2, 255]).expect("binary");
    fs::write(fixture.project.join(".git/worktrees/ses_1/index.lock"), "").expect("lock");
    let committed = fixture.commit(&record, 1);
    assert!(
        !committed.no_change && committed.warnings.is_empty(),
        "{committed:?}"
    );
    let find = |name: &str| {
        committed
            .files
            .iter()
            .find(|file| file.path == name)
            .expect("file")
    };
    assert_eq!(committed.files.len(), 5);
    assert_eq!(committed.ignored, ["noise.log"]);
    assert_eq!(find("gone.txt").status, ChangeStatus::Deleted);
    assert_eq!(find("renamed.txt").from.as_deref(), Some("moved.txt"));
    assert_eq!(
        (find("dir/second.txt").insertions, find("blob").insertions),
        (Some(2), None)
    );
    let parent = format!("{}^", committed.commit);
    assert_eq!(
        fixture.tip(&fixture.project, &parent),
        own,
        "its commits are kept"
    );
    assert_eq!(
        fixture.tip(&fixture.project, "agents-branch"),
        own,
        "its branch is not moved"
    );
    assert_eq!(fixture.git_in(&record.path, ["status", "--porcelain"]), "");
    assert_eq!(
        fixture.commit(&record, 1).commit,
        committed.commit,
        "committing again"
    );
    assert_eq!(fixture.users_state(), before);
}

#[test]
fn changes_hidden_from_git_are_found() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    fixture.git_in(
        &record.path,
        ["update-index", "--assume-unchanged", "README.md"],
    );
    write(&record.path, "README.md", "changed\n");
    assert_eq!(fixture.commit(&record, 1).files.len(), 1);
    fixture.git_in(
        &record.path,
        ["update-index", "--skip-worktree", "README.md"],
    );
    write(&record.path, "README.md", "hello\n");
    assert!(fixture.commit(&record, 1).no_change, "back to what it was");
}

#[test]
fn repositories_inside_the_worktree_are_taken_as_files() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "node_modules\n");
    fixture.commit_all("ignore");
    let record = fixture.prepare(1);
    for name in ["unborn", "made", "made/deeper"] {
        let path = record.path.join(name);
        fs::create_dir_all(&path).expect("directory");
        fixture.git_in(&path, ["init", "--quiet"]);
        write(&path, "file.txt", name);
        write(&path, "node_modules/x", "ignored above");
    }
    fixture.commit_all_in(&record.path.join("made/deeper"), "inner");
    fixture.commit_all_in(&record.path.join("made"), "outer, with a link to the inner");
    let committed = fixture.commit(&record, 1);
    let mut names: Vec<_> = committed
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["made/deeper/file.txt", "made/file.txt", "unborn/file.txt"]
    );
    assert_eq!(committed.warnings.len(), 3, "{:?}", committed.warnings);
    assert_eq!(
        fixture.commit(&record, 1).commit,
        committed.commit,
        "committing again"
    );
}

#[test]
fn a_link_that_the_agent_committed_becomes_files() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    let path = record.path.join("app");
    fs::create_dir_all(&path).expect("directory");
    fixture.git_in(&path, ["init", "--quiet"]);
    write(&path, "main.rs", "x\n");
    fixture.commit_all_in(&path, "inner");
    fixture.commit_all_in(&record.path, "outer, with a link");
    let names: Vec<_> = fixture
        .commit(&record, 1)
        .files
        .into_iter()
        .map(|f| f.path)
        .collect();
    assert_eq!(names, ["app/main.rs"]);
}

#[test]
fn a_lost_git_file_and_a_broken_index_are_repaired() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    fs::remove_file(record.path.join(".git")).expect("link");
    fs::write(
        fixture.project.join(".git/worktrees/ses_1/index"),
        "rubbish",
    )
    .expect("index");
    let committed = fixture.commit(&record, 1);
    assert_eq!(committed.files.len(), 1);
    assert_eq!(committed.warnings.len(), 1, "{:?}", committed.warnings);
    assert_eq!(fixture.git_in(&record.path, ["status", "--porcelain"]), "");
    fs::remove_file(record.path.join(".git")).expect("link");
    fixture.git_in(&record.path, ["init", "--quiet"]);
    write(&record.path, "b.txt", "b\n");
    assert_eq!(fixture.commit(&record, 1).files.len(), 2);
}

#[test]
fn a_head_that_left_its_history_is_salvaged_and_refused() {
    let fixture = Fixture::new();
    fixture.write("second", "x");
    fixture.commit_all("second");
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    fixture.git_in(&record.path, ["checkout", "--quiet", "--detach", "HEAD~1"]);
    match fixture.workspaces.commit(&record, &authorship(1)) {
        Err(WorkspaceError::Diverged {
            salvage: Some(salvage),
            ..
        }) => {
            assert_eq!(
                fixture.git(["show", &format!("{}:a.txt", salvage.commit)]),
                "a\n"
            );
        }
        other => panic!("{other:?}"),
    }
    fixture.git_in(&record.path, ["checkout", "--quiet", "--orphan", "unborn"]);
    let error = fixture
        .workspaces
        .commit(&record, &authorship(1))
        .expect_err("refused");
    assert!(matches!(error, WorkspaceError::Diverged { .. }), "{error}");
}

#[test]
fn uncommitted_work_is_salvaged_once() {
    let fixture = Fixture::new();
    let before = fixture.users_state();
    let record = fixture.prepare(1);
    assert_eq!(salvage(&fixture, &record), None, "nothing was done");
    write(&record.path, "a.txt", "a\n");
    write(&record.path, "README.md", "changed\n");
    assert_eq!(kept(&fixture, &record, "a.txt"), "a\n");
    let first = salvage(&fixture, &record);
    assert_eq!(first, salvage(&fixture, &record), "asked again");
    write(&record.path, "b.txt", "b\n");
    fs::remove_file(record.path.join("a.txt")).expect("removed");
    assert_eq!(kept(&fixture, &record, "b.txt"), "b\n");
    let earlier = first.expect("salvage").commit;
    let contains = [
        "merge-base",
        "--is-ancestor",
        earlier.as_str(),
        "refs/crewboss/salvage/ses_1",
    ];
    assert!(
        fixture.try_git(&fixture.project, contains).0,
        "the earlier salvage is still reachable"
    );
    assert_eq!(fixture.users_state(), before);
}

#[test]
fn only_work_that_is_nowhere_else_is_salvaged() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    let committed = fixture.commit(&record, 1);
    let salvaged = salvage(&fixture, &record).expect("committed, not published");
    assert_eq!(salvaged.commit, committed.commit);
    let fixture = Fixture::new();
    fixture.finished(1, "a.txt", "a\n");
    let record = fixture.prepare(1);
    assert_eq!(salvage(&fixture, &record), None, "published");
}

#[test]
fn salvage_works_on_ruins() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    let admin = fixture.project.join(".git/worktrees/ses_1");
    write(&record.path, "a.txt", "a\n");
    fs::write(admin.join("index"), "rubbish").expect("index");
    fs::write(admin.join("index.lock"), "").expect("lock");
    assert_eq!(kept(&fixture, &record, "a.txt"), "a\n");
    write(&record.path, "b.txt", "b\n");
    fs::remove_dir_all(&admin).expect("entry");
    fs::remove_file(record.path.join(".git")).expect("link");
    assert_eq!(kept(&fixture, &record, "b.txt"), "b\n");
    let error = fixture
        .workspaces
        .commit(&record, &authorship(1))
        .expect_err("refused");
    assert!(matches!(error, WorkspaceError::Damaged { .. }), "{error}");
}

#[test]
fn removing_keeps_the_work_and_leaves_nothing_else() {
    let fixture = Fixture::new();
    let before = fixture.users_state();
    fixture.git(["worktree", "add", "--quiet", "../theirs"]);
    fs::remove_dir_all(fixture.real_root().join("theirs")).expect("on another disk, say");
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    fixture.git(["worktree", "lock", record.path.to_str().expect("text")]);
    let removed = fixture
        .workspaces
        .remove(&record, session(1))
        .expect("removed");
    let Removed::Gone(Some(salvage)) = removed else {
        panic!("{removed:?}")
    };
    assert_eq!(
        fixture.git(["show", &format!("{}:a.txt", salvage.commit)]),
        "a\n"
    );
    assert!(!record.path.exists());
    assert_eq!(
        fixture
            .workspaces
            .remove(&record, session(1))
            .expect("again"),
        Removed::Gone(None)
    );
    let found = fixture
        .workspaces
        .inventory(&fixture.project)
        .expect("found");
    assert_eq!(found.worktrees, []);
    assert_eq!(found.salvages, [(session(1), salvage.commit)]);
    assert!(
        fixture.git(["worktree", "list"]).contains("theirs"),
        "the user's own is remembered"
    );
    fixture.git(["worktree", "prune"]);
    fixture.git(["branch", "-D", "theirs"]);
    assert_eq!(fixture.users_state(), before);
}

#[test]
fn removing_what_is_half_gone_ends_the_same() {
    let fixture = Fixture::new();
    for (number, state) in ["no directory", "no entry", "no link", "half made"]
        .iter()
        .enumerate()
    {
        let record = fixture.prepare(1);
        let admin = fixture.project.join(".git/worktrees/ses_1");
        let remove = |path: std::path::PathBuf| {
            if path.is_dir() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
        };
        match *state {
            "no directory" => remove(record.path.clone()),
            "no entry" => remove(admin.clone()),
            "no link" => remove(record.path.join(".git")),
            _ => remove(admin.join("crewboss.json")),
        }
        .expect("spoiled");
        let removed = fixture
            .workspaces
            .remove(&record, session(1))
            .expect("removed");
        assert_eq!(removed, Removed::Gone(None), "{number} {state}");
        assert!(!record.path.exists() && !admin.exists(), "{number} {state}");
    }
}

#[test]
fn a_worktree_that_became_a_link_is_not_followed() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    fs::remove_dir_all(&record.path).expect("removed");
    std::os::unix::fs::symlink(&fixture.project, &record.path).expect("link");
    let before = fixture.users_state();
    let error = fixture
        .workspaces
        .commit(&record, &authorship(1))
        .expect_err("refused");
    assert!(matches!(error, WorkspaceError::Damaged { .. }), "{error}");
    fixture
        .workspaces
        .remove(&record, session(1))
        .expect("removed");
    assert!(fixture.project.join("README.md").exists());
    assert_eq!(fixture.users_state(), before);
    let mut other = record.clone();
    other.path = fixture.project.clone();
    assert!(fixture.workspaces.remove(&other, session(1)).is_err());
}

#[test]
fn objects_and_references_are_synced() {
    let fixture = Fixture::new();
    let root = fixture.real_root();
    let traced = format!(
        "#!/bin/sh\nexec env GIT_TRACE2_EVENT={} git \"$@\"\n",
        root.join("trace").display()
    );
    write_program(&root.join("git"), &traced);
    let mut settings = Settings::new(fixture.state.clone(), fixture.environment());
    settings.program = root.join("git").into();
    let workspaces = GitWorkspaces::new(settings);
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    let committed = workspaces.commit(&record, &authorship(1));
    let commit = committed.expect("committed").expect("a worktree").commit;
    workspaces
        .publish(&record, &commit, None)
        .expect("published");
    let trace = fs::read_to_string(root.join("trace")).expect("trace");
    let flushes = trace.lines().filter(|l| l.contains("hardware-flush"));
    // The blob, the tree, the commit, the worktree's HEAD and the branch.
    assert!(flushes.count() >= 5, "{trace}");
}

#[test]
fn work_is_kept_where_the_record_in_the_repository_is_gone() {
    let spoilers: [fn(&Path); 2] = [
        |file| fs::remove_file(file).expect("removed"),
        |file| fs::write(file, "").expect("emptied"),
    ];
    for spoil in spoilers {
        let fixture = Fixture::new();
        let record = fixture.prepare(1);
        write(&record.path, "a.txt", "a\n");
        let file = fixture.project.join(".git/worktrees/ses_1/crewboss.json");
        spoil(&file);
        assert_eq!(kept(&fixture, &record, "a.txt"), "a\n");
        write(&record.path, "b.txt", "b\n");
        let removed = fixture
            .workspaces
            .remove(&record, session(1))
            .expect("removed");
        let Removed::Gone(Some(salvage)) = removed else {
            panic!("{removed:?}")
        };
        let kept = format!("{}:b.txt", salvage.commit);
        assert_eq!(fixture.git(["show", &kept]), "b\n");
    }
}

#[test]
fn other_work_on_the_branch_is_kept_before_the_branch_moves() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    let commit = fixture.commit(&record, 1).commit;
    let branch = record.branch.as_ref().expect("a branch");
    let tree = ["commit-tree", "-m", "another's", "HEAD^{tree}"];
    let other = fixture.git(tree).trim().to_owned();
    fixture.git(["branch", branch, &other]);
    let at = other.parse().expect("an id");
    let published = fixture
        .workspaces
        .publish(&record, &commit, Some(&at))
        .expect("published");
    let reference = "refs/crewboss/salvage/ses_1-branch";
    assert_eq!(published.kept.as_deref(), Some(reference));
    assert_eq!(fixture.tip(&fixture.project, reference), at);
    assert_eq!(fixture.tip(&fixture.project, branch), commit);
    write(&record.path, "b.txt", "b\n");
    let next = fixture.commit(&record, 1).commit;
    let published = fixture
        .workspaces
        .publish(&record, &next, Some(&commit))
        .expect("published");
    assert_eq!(published.kept, None, "it builds on what was there");
}
