//! Disks that are full and folders that cannot be written to. As root only: others cannot mount.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Queue, in_both, read_json};

in_both![a_full_disk, a_read_only_folder];

/// Something mounted for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(args: &[&str], at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        run(Command::new("mount").args(args).arg(at));
        Self(at.to_owned())
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

#[track_caller]
fn assert_whole(queue: &Queue) {
    for id in queue.ids() {
        assert_eq!(queue.json(&id)["taskId"], id.as_str());
    }
    read_json(&queue.path("tasks/index.json"));
}

fn a_full_disk(queue: &Queue) {
    if !testkit::requirements::root() {
        return;
    }
    let _disk = Mounted::new(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], &queue.path(""));
    let ids: Vec<String> = (0..3).map(|_| queue.start(&["coder", "x"])).collect();
    let filler = queue.path("filler");
    let dd = format!("of={}", filler.display());
    drop(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=4096", &dd])
            .output(),
    );
    let long = "x".repeat(100_000);
    for args in [
        &["start", "coder", &long][..],
        &["start", "coder", &long],
        &["run", &ids[0]],
    ] {
        let ran = queue.run(args);
        assert_ne!(ran.code, 0, "{ran:#?}");
        assert!(
            ran.err.contains("full") || ran.err.contains("No space"),
            "{ran:#?}"
        );
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
        assert_whole(queue);
    }
    fs::remove_file(filler).unwrap();
    let shown = queue.run(&["status"]).ok().out;
    assert!(ids.iter().all(|id| shown.contains(id)), "{shown}");
    assert_whole(queue);
    queue.run(&["run", "--parallel", "3"]).ok();
    for id in &ids {
        queue.until(id, "complete");
    }
    let more = queue.launch(&["coder", "x"]);
    queue.until(&more, "complete");
}

fn a_read_only_folder(queue: &Queue) {
    if !testkit::requirements::root() {
        return;
    }
    let id = queue.start(&["coder", "x"]);
    let base = queue.path("");
    let mounted = Mounted::new(&["--bind", base.to_str().unwrap()], &base);
    run(Command::new("mount")
        .args(["-o", "remount,bind,ro"])
        .arg(&base));
    for args in [
        &["start", "coder", "y"][..],
        &["run"],
        &["cancel", &id],
        &["clean", "all"],
    ] {
        let ran = queue.run(args);
        assert_ne!(ran.code, 0, "{args:?}: {ran:#?}");
        assert!(ran.err.to_lowercase().contains("read-only"), "{ran:#?}");
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
    }
    assert_whole(queue);
    drop(mounted);
    assert_eq!(queue.ids(), std::slice::from_ref(&id));
    queue.run(&["run"]).ok();
    queue.until(&id, "complete");
}
