//! Disks that are full and folders that cannot be written to. As root only: others cannot mount.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::arena::Arena;

/// Something mounted for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(args: &[&str], at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(args).arg(at));
        Self(at.to_owned())
    }

    /// A file system of its own with so much room.
    fn small(size: &str, at: &Path) -> Self {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], at)
    }

    /// The folder itself, not to be written to.
    fn read_only(at: &Path) -> Self {
        let place = at.to_str().unwrap();
        let mounted = Self::new(&["--bind", place], at);
        run(Command::new("mount")
            .args(["-o", "remount,bind,ro"])
            .arg(at));
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn may_mount() -> bool {
    rustix::process::geteuid().is_root()
}

/// Fills a file system to its last byte.
fn fill(folder: &Path) -> PathBuf {
    let file = folder.join("filler");
    let output = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", &format!("of={}", file.display())])
        .output()
        .unwrap();
    assert!(!output.status.success(), "the disk has room left");
    file
}

/// Every file below a folder and its size.
fn files(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(dir) = folders.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.insert(path, metadata.len());
            }
        }
    }
    found
}

#[test]
fn a_store_on_a_full_disk_takes_nothing_and_loses_nothing() {
    if !may_mount() {
        return;
    }
    let arena = Arena::folder();
    let _disk = Mounted::small("3m", &arena.store());
    let first = arena.start("echo first >>$HOME/log", &[]);
    let filler = fill(&arena.store());
    let before = files(arena.project());
    let long = "x".repeat(20_000);
    let mut refused = 0;
    for _ in 0..3 {
        let ran = arena.run(&["start", "sh", &format!("echo refused >>$HOME/log # {long}")]);
        if ran.code == Some(0) {
            continue;
        }
        assert_eq!(ran.code, Some(5), "{ran:#?}");
        assert!(
            ran.error().contains("full") || ran.err.contains("No space"),
            "{ran:#?}"
        );
        assert_eq!(ran.out, "");
        refused += 1;
    }
    assert!(refused > 0);
    if refused == 3 {
        assert_eq!(files(arena.project()), before, "nothing was written");
    }
    assert_eq!(arena.status_of(&first), "pending");
    fs::remove_file(filler).unwrap();
    let second = arena.start("echo second >>$HOME/log", &[]);
    arena.run(&["run", &first]).ok();
    arena.run(&["run", &second]).ok();
    arena
        .run(&["wait", &first, &second, "--timeout", "60"])
        .ok();
    let mut log = arena.lines("home/log");
    log.sort();
    assert_eq!(log, ["first", "second"]);
}

#[test]
fn an_agent_that_fills_the_stores_disk_ends_and_the_next_one_works() {
    if !may_mount() {
        return;
    }
    let arena = Arena::repository();
    let _disk = Mounted::small("6m", &arena.store());
    // Its worktree is in the store's folder, on the same disk; the repository is on another.
    let script = "echo begun; cat /dev/zero >big 2>/dev/null; exit 0";
    let id = arena.start(script, &[]);
    arena.run(&["run"]).ok();
    arena.until_deserted();
    arena.until("ended", || arena.status_of(&id) == "completed");
    let next = arena.start("echo fine >fine.txt", &[]);
    arena.run(&["run", &next, "--wait"]).ok();
    let branches = branches(&arena);
    assert_eq!(branches.lines().count(), 2, "{branches}");
    arena.until_deserted();
}

#[test]
fn work_for_which_a_repository_has_no_room_stays_where_it_is_until_there_is() {
    if !may_mount() {
        return;
    }
    let arena = Arena::repository();
    let objects = arena.project().join(".git/objects");
    let aside = arena.root().join("objects");
    run(Command::new("cp").arg("-a").arg(&objects).arg(&aside));
    let _disk = Mounted::small("2m", &objects);
    run(Command::new("cp")
        .arg("-a")
        .arg(aside.join("."))
        .arg(&objects));

    let id = arena.start("head -c 8000000 /dev/urandom >big; sha256sum big >sum", &[]);
    arena.run(&["run", "--wait", &id]).with(1);
    let shown = arena.show(&id);
    assert_eq!(shown["failure"]["reason"], "disk_full", "{shown:#}");
    let path = Path::new(shown["session"]["workspace"]["path"].as_str().unwrap());
    run(Command::new("sha256sum")
        .args(["--check", "--quiet", "sum"])
        .current_dir(path));
    let said = shown["session"]["warnings"].to_string();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    assert_eq!(branches(&arena), "");

    run(Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(&objects));
    let next = arena.start("echo fine >fine.txt", &[]);
    arena.run(&["run", "--wait", &next]).ok();
    arena.run(&["clean", &id]).ok();
    let session = shown["session"]["id"].as_str().unwrap();
    let sizes = arena
        .repo()
        .git(&["ls-tree", "-l", &format!("refs/crewboss/salvage/{session}")]);
    assert!(sizes.contains("8000000\tbig"), "{sizes}");
    assert!(!path.exists());
}

fn branches(arena: &Arena) -> String {
    arena
        .repo()
        .git(&["for-each-ref", "--format=%(refname)", "refs/heads/crewboss"])
}

#[test]
fn a_full_project_fails_a_task_and_says_so() {
    if !may_mount() {
        return;
    }
    let arena = Arena::folder();
    let _disk = Mounted::small("2m", arena.project());
    let id = arena.start("sleep 0.1; echo fine", &[]);
    let filler = fill(arena.project());
    let ran = arena.run(&["run", "--wait", &id]);
    assert!(matches!(ran.code, Some(0 | 1 | 5)), "{ran:#?}");
    arena.until("everybody gone", || arena.runners().is_empty());
    let shown = arena.show(&id);
    assert_ne!(shown["status"], "running", "{shown:#}");
    if shown["status"] == "failed" {
        assert_eq!(shown["failure"]["reason"], "disk_full", "{shown:#}");
    }
    fs::remove_file(filler).unwrap();
    let next = arena.start("echo fine", &[]);
    arena.run(&["run", "--wait", &next]).ok();
    assert_eq!(arena.status_of(&next), "completed");
}

#[test]
fn folders_that_cannot_be_written_to_are_refused_and_stay_as_they_are() {
    if !may_mount() {
        return;
    }
    let arena = Arena::folder();
    let project = Mounted::read_only(arena.project());
    let ran = arena.run(&["start", "sh", "true"]);
    assert_eq!(ran.code, Some(5), "{ran:#?}");
    assert!(ran.error().contains("cannot be written"), "{ran:#?}");
    assert!(
        ran.err.contains("Read-only") || ran.err.contains("read-only"),
        "{ran:#?}"
    );
    drop(project);
    assert!(files(arena.project()).is_empty());

    let id = arena.start("echo fine", &[]);
    let store = Mounted::read_only(&arena.store());
    let ran = arena.run(&["start", "sh", "true"]);
    assert_eq!(ran.code, Some(5), "{ran:#?}");
    ran.error();
    assert!(arena.run(&["status"]).ok().out.contains("pending"));
    drop(store);
    arena.run(&["run", "--wait", &id]).ok();
}
