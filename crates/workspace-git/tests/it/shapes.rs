//! Repositories of unusual shape, and worktrees with unusual content.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use app::ports::workspaces::Removed;

use crate::fixture::{Fixture, session, write};

/// Prepared, committed, published, merged into `main` and removed.
fn whole_life(fixture: &Fixture) {
    let record = fixture.prepare(1);
    write(&record.path, "a.txt", "a\n");
    let committed = fixture.commit(&record, 1);
    assert_eq!(committed.files.len(), 1, "{committed:?}");
    let published = fixture
        .workspaces
        .publish(&record, &committed.commit, None)
        .expect("ok");
    let merged = fixture
        .workspaces
        .merge(&fixture.project, &published.branch, Some("main"));
    assert!(!merged.expect("merged").already);
    assert_eq!(fixture.git(["show", "main:a.txt"]), "a\n");
    let removed = fixture
        .workspaces
        .remove(&record, session(1))
        .expect("removed");
    assert_eq!(removed, Removed::Gone(None));
}

#[test]
fn a_repository_with_long_ids() {
    let fixture = Fixture::plain("project");
    fixture.git([
        "init",
        "--quiet",
        "--initial-branch=main",
        "--object-format=sha256",
    ]);
    fixture.commit_all("start");
    whole_life(&fixture);
}

#[test]
fn a_bare_repository() {
    let fixture = Fixture::new();
    let bare = fixture.real_root().join("bare.git");
    fixture.git([
        "clone",
        "--quiet",
        "--bare",
        ".",
        bare.to_str().expect("text"),
    ]);
    whole_life(&fixture.in_project(bare));
}

#[test]
fn a_project_that_is_a_linked_worktree() {
    let fixture = Fixture::new();
    let linked = fixture.real_root().join("linked");
    fixture.git([
        "worktree",
        "add",
        "--quiet",
        linked.to_str().expect("text"),
        "-b",
        "side",
    ]);
    let fixture = fixture.in_project(linked);
    let record = fixture.prepare(2);
    assert_eq!(record.target.as_deref(), Some("side"));
    whole_life(&fixture);
}

#[test]
fn a_sparse_checkout() {
    let fixture = Fixture::new();
    fixture.write("in/one.txt", "1\n");
    fixture.write("out/two.txt", "2\n");
    fixture.commit_all("two folders");
    fixture.git(["sparse-checkout", "set", "--cone", "in"]);
    let record = fixture.prepare(2);
    write(&record.path, "out/three.txt", "3\n");
    let names: Vec<_> = fixture
        .commit(&record, 2)
        .files
        .into_iter()
        .map(|f| f.path)
        .collect();
    assert_eq!(
        names,
        ["out/three.txt"],
        "what is not checked out is not deleted"
    );
    whole_life(&fixture);
    assert!(!fixture.project.join("out/two.txt").exists());
}

#[test]
fn a_shallow_clone_and_packed_references() {
    let fixture = Fixture::new();
    fixture.write("more", "x");
    fixture.commit_all("more");
    let shallow = fixture.real_root().join("shallow");
    let origin = format!("file://{}", fixture.project.display());
    fixture.git([
        "clone",
        "--quiet",
        "--depth=1",
        &origin,
        shallow.to_str().expect("text"),
    ]);
    let fixture = fixture.in_project(shallow);
    fixture.git(["pack-refs", "--all"]);
    whole_life(&fixture);
}

#[test]
fn sockets_links_and_locked_directories() {
    let fixture = Fixture::new();
    let record = fixture.prepare(1);
    let _socket = UnixListener::bind(record.path.join("socket")).expect("socket");
    std::os::unix::fs::symlink("/etc", record.path.join("link")).expect("link");
    write(&record.path, "cache/module/file.go", "x\n");
    for directory in ["cache/module", "cache"] {
        let locked = fs::Permissions::from_mode(0o500);
        fs::set_permissions(record.path.join(directory), locked).expect("locked");
    }
    let names: Vec<_> = fixture
        .commit(&record, 1)
        .files
        .into_iter()
        .map(|f| f.path)
        .collect();
    assert_eq!(names, ["cache/module/file.go", "link"]);
    fixture
        .workspaces
        .remove(&record, session(1))
        .expect("removed");
    assert!(!record.path.exists());
    assert!(fs::metadata("/etc/passwd").is_ok());
}
