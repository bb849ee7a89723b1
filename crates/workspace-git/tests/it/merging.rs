//! Merging into the target, and all that refuses.

use std::{fs, path::Path, time::Duration};

use app::ports::workspaces::{WorkspaceError, Workspaces};
use domain::workspace::ChangeStatus;
use workspace_git::{GitWorkspaces, Settings};

use crate::fixture::{Fixture, write};

fn refused(fixture: &Fixture, branch: &str) -> WorkspaceError {
    let (tip, files) = (
        fixture.tip(&fixture.project, "main"),
        listing(&fixture.project),
    );
    let status = fixture.git(["status", "--porcelain"]);
    let error = fixture
        .workspaces
        .merge(&fixture.project, branch, Some("main"));
    let error = error.expect_err("refused");
    assert_eq!(fixture.tip(&fixture.project, "main"), tip, "{error}");
    assert_eq!(listing(&fixture.project), files, "{error}");
    assert_eq!(fixture.git(["status", "--porcelain"]), status, "{error}");
    error
}

fn listing(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("directory").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == ".git" {
            continue;
        }
        if entry.path().is_dir() {
            let below = listing(&entry.path());
            found.extend(
                below
                    .into_iter()
                    .map(|(below, text)| (format!("{name}/{below}"), text)),
            );
        } else {
            found.push((name, fs::read(entry.path()).expect("file")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_merge_is_a_merge_commit_and_updates_a_clean_checkout() {
    let fixture = Fixture::new();
    let published = fixture.finished(1, "dir/a.txt", "a\n");
    fixture.write("untracked.txt", "mine");
    let old = fixture.tip(&fixture.project, "main");
    let merged = fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("ok");
    assert_eq!((merged.target.as_str(), merged.already), ("main", false));
    assert_eq!(merged.updated.as_ref(), Some(&fixture.project));
    assert_eq!(merged.files[0].status, ChangeStatus::Added);
    assert_eq!(fixture.read("dir/a.txt"), "a\n");
    assert_eq!(fixture.git(["status", "--porcelain"]), "?? untracked.txt\n");
    let parents = fixture.git(["log", "-1", "--format=%P", "main"]);
    assert_eq!(parents.trim(), format!("{old} {}", published.commit));
    let again = fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("ok");
    assert!(again.already && again.commit == merged.commit);
}

#[test]
fn a_target_that_is_not_checked_out_moves_alone() {
    let fixture = Fixture::new();
    let published = fixture.finished(1, "a.txt", "a\n");
    fixture.git(["checkout", "--quiet", "-b", "elsewhere"]);
    fixture.write("README.md", "dirty\n");
    let before = fixture.users_state();
    let merge = |target| {
        fixture
            .workspaces
            .merge(&fixture.project, &published.branch, target)
    };
    let merged = merge(Some("main")).expect("merged");
    assert_eq!(merged.updated, None);
    assert_eq!(fixture.git(["show", "main:a.txt"]), "a\n");
    assert_eq!(fixture.users_state(), before);
    fixture.git(["checkout", "--quiet", "--detach"]);
    assert!(matches!(merge(None), Err(WorkspaceError::NoTargetBranch)));
    assert!(matches!(
        merge(Some("nope")),
        Err(WorkspaceError::TargetMissing { .. })
    ));
}

#[test]
fn a_target_checked_out_in_a_linked_worktree_is_updated_there() {
    let fixture = Fixture::new();
    let published = fixture.finished(1, "a.txt", "a\n");
    fixture.git(["checkout", "--quiet", "-b", "elsewhere"]);
    let linked = fixture.real_root().join("linked\nmain");
    fixture.git([
        std::ffi::OsStr::new("worktree"),
        "add".as_ref(),
        "-q".as_ref(),
        linked.as_os_str(),
        "main".as_ref(),
    ]);
    let merge = || {
        fixture
            .workspaces
            .merge(&fixture.project, &published.branch, Some("main"))
    };
    write(&linked, "README.md", "dirty\n");
    assert!(matches!(merge(), Err(WorkspaceError::DirtyTarget { .. })));
    write(&linked, "README.md", "hello\n");
    assert_eq!(merge().expect("merged").updated.as_ref(), Some(&linked));
    assert!(linked.join("a.txt").exists());
    assert_eq!(fixture.git_in(&linked, ["status", "--porcelain"]), "");
}

#[test]
fn dirty_tracked_files_refuse_by_name() {
    let fixture = Fixture::new();
    fixture.write("name with\nline", "x\n");
    fixture.commit_all("odd");
    let branch = fixture.finished(1, "a.txt", "a\n").branch;
    fixture.write("name with\nline", "changed\n");
    fixture.write("staged", "x\n");
    fixture.git(["add", "staged"]);
    match refused(&fixture, &branch) {
        WorkspaceError::DirtyTarget { files, .. } => {
            assert_eq!(files, ["name with\nline", "staged"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_conflict_refuses_by_name() {
    let fixture = Fixture::new();
    let branch = fixture.finished(1, "README.md", "theirs\n").branch;
    fixture.write("README.md", "ours\n");
    fixture.commit_all("ours");
    match refused(&fixture, &branch) {
        WorkspaceError::MergeConflict { files, .. } => assert_eq!(files, ["README.md"]),
        other => panic!("{other}"),
    }
}

#[test]
fn untracked_files_in_the_way_refuse_by_name() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "*.secret\n");
    fixture.commit_all("ignore");
    let record = fixture.prepare(1);
    for name in ["plain.txt", "dir/below.txt", "file/in/it.txt", "asdir"] {
        write(&record.path, name, "theirs\n");
    }
    write(&record.path, "key.secret", "theirs\n");
    fixture.git_in(&record.path, ["add", "-f", "key.secret"]);
    let committed = fixture.commit(&record, 1);
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok");
    fixture.write("plain.txt", "mine\n");
    fixture.write("key.secret", "mine\n");
    fixture.write("file", "mine\n");
    fixture.write("asdir/mine.txt", "mine\n");
    fixture.write("unrelated.txt", "mine\n");
    match refused(&fixture, &published.branch) {
        WorkspaceError::WouldOverwrite { mut files, .. } => {
            files.sort();
            assert_eq!(files, ["asdir/mine.txt", "file", "key.secret", "plain.txt"]);
        }
        other => panic!("{other}"),
    }
    for name in ["plain.txt", "key.secret", "file"] {
        fs::remove_file(fixture.project.join(name)).expect("removed");
    }
    fs::remove_dir_all(fixture.project.join("asdir")).expect("removed");
    fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert_eq!(fixture.read("unrelated.txt"), "mine\n");
}

#[test]
fn directories_and_files_may_change_places() {
    let fixture = Fixture::new();
    fixture.write("a/one.txt", "1\n");
    fixture.write("b", "2\n");
    fixture.commit_all("shapes");
    let record = fixture.prepare(1);
    fs::remove_dir_all(record.path.join("a")).expect("removed");
    fs::remove_file(record.path.join("b")).expect("removed");
    write(&record.path, "a", "now a file\n");
    write(&record.path, "b/two.txt", "now below\n");
    let committed = fixture.commit(&record, 1);
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok");
    fixture
        .workspaces
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert_eq!(
        (fixture.read("a"), fixture.read("b/two.txt")),
        ("now a file\n".into(), "now below\n".into())
    );
}

#[test]
fn an_operation_in_progress_refuses() {
    let fixture = Fixture::new();
    let branch = fixture.finished(1, "a.txt", "a\n").branch;
    fixture.git(["checkout", "--quiet", "-b", "other"]);
    fixture.write("README.md", "other\n");
    fixture.commit_all("other");
    fixture.git(["checkout", "--quiet", "main"]);
    fixture.write("README.md", "main\n");
    fixture.commit_all("main");
    for start in [
        ["merge", "other"],
        ["rebase", "other"],
        ["cherry-pick", "other"],
    ] {
        assert!(
            !fixture.try_git(&fixture.project, start).0,
            "stops at a conflict"
        );
        let error = refused(&fixture, &branch);
        assert!(
            matches!(error, WorkspaceError::OperationInProgress { .. }),
            "{error}"
        );
        fixture.git([start[0], "--abort"]);
    }
    fs::write(fixture.project.join(".git/index.lock"), "").expect("lock");
    let error = refused(&fixture, &branch);
    assert!(error.to_string().contains("index.lock"), "{error}");
    fs::remove_file(fixture.project.join(".git/index.lock")).expect("unlocked");
    fixture
        .workspaces
        .merge(&fixture.project, &branch, None)
        .expect("merged");
}

#[test]
fn the_stash_survives_everything() {
    let fixture = Fixture::new();
    fixture.write("README.md", "stashed\n");
    fixture.git(["stash", "--quiet"]);
    let stash = fixture.git(["stash", "list"]);
    fixture.git(["config", "merge.autoStash", "true"]);
    let branch = fixture.finished(1, "a.txt", "a\n").branch;
    fixture
        .workspaces
        .merge(&fixture.project, &branch, None)
        .expect("merged");
    assert_eq!(fixture.git(["stash", "list"]), stash);
}

#[test]
fn a_diff_has_files_and_a_patch_that_is_cut() {
    let fixture = Fixture::new();
    fixture.git(["config", "diff.mnemonicPrefix", "true"]);
    let base = fixture.tip(&fixture.project, "main");
    let tip = fixture.finished(1, "a.txt", &"line\n".repeat(100)).commit;
    let diff = |max| {
        fixture
            .workspaces
            .diff(&fixture.project, &base, &tip, max)
            .expect("diff")
    };
    let whole = diff(1 << 20);
    assert_eq!(
        (whole.files.len(), whole.files[0].insertions),
        (1, Some(100))
    );
    assert!(whole.patch.starts_with(b"diff --git a/a.txt b/a.txt\n") && !whole.truncated);
    let cut = diff(50);
    assert!(cut.truncated && cut.patch.len() == 50 && cut.files.len() == 1);
    let unknown = "1".repeat(40).parse().expect("an id");
    let error = fixture
        .workspaces
        .diff(&fixture.project, &base, &unknown, 1)
        .expect_err("unknown");
    assert!(matches!(error, WorkspaceError::Unknown { .. }), "{error}");
}

#[test]
fn a_checkout_that_takes_long_is_not_cut_off() {
    let fixture = Fixture::new();
    fixture.git(["config", "filter.slow.smudge", "sleep 7; cat"]);
    let record = fixture.prepare(1);
    write(&record.path, ".gitattributes", "*.txt filter=slow\n");
    write(&record.path, "a.txt", "a\n");
    let committed = fixture.commit(&record, 1);
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("published");
    let mut settings = Settings::new(fixture.state.clone(), fixture.environment());
    settings.timeout = Duration::from_secs(5);
    GitWorkspaces::new(settings)
        .merge(&fixture.project, &published.branch, None)
        .expect("merged");
    assert_eq!(fixture.read("a.txt"), "a\n");
    assert_eq!(fixture.git(["status", "--porcelain"]), "");
}
