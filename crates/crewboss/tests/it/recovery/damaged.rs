//! Folders that somebody or something has spoiled: each a clear finding, and made again.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use api_types::{AuditVerifyDocument, RepairRow};

use super::{World, document, files, lose_store, repair};

fn flip(file: &Path, at: impl Fn(&[u8]) -> usize) {
    let mut content = fs::read(file).unwrap();
    let at = at(&content);
    content[at] ^= 1;
    fs::write(file, content).unwrap();
}

fn find(content: &[u8], needle: &str) -> usize {
    let needle = needle.as_bytes();
    let found = content
        .windows(needle.len())
        .position(|part| part == needle);
    found.unwrap()
}

fn lines(file: &Path, change: impl Fn(&mut Vec<String>)) {
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    let text = lines.join("\n") + "\n";
    fs::write(file, text).unwrap();
}

fn replace_by_link(file: &Path, outside: &Path) {
    if file.is_dir() {
        fs::remove_dir_all(file).unwrap();
    } else {
        fs::remove_file(file).unwrap();
    }
    symlink(outside, file).unwrap();
}

type Damage = (&'static str, &'static str, Box<dyn Fn(&Path, &Path)>);

/// What is done to a folder, the file that it shows in, and how.
fn damages() -> Vec<Damage> {
    let damage = |name, file, act: fn(&Path, &Path)| -> Damage { (name, file, Box::new(act)) };
    vec![
        damage("a flipped byte at the top", "state.json", |file, _| {
            flip(file, |content| find(content, "\"fence\"") + 10);
        }),
        damage("a flipped byte deep inside", "state.json", |file, _| {
            flip(file, |content| find(content, "\"labels\": [") + 30);
        }),
        damage("another task's image", "state.json", |file, _| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, text.replace("first", "other")).unwrap();
        }),
        damage("a link out of the tree", "state.json", replace_by_link),
        damage("not UTF-8", "state.json", |file, _| {
            fs::write(file, b"\xff\xfe").unwrap();
        }),
        damage("a folder", "state.json", |file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        damage("an edited line", "logs.jsonl", |file, _| {
            lines(file, |lines| {
                lines[2] = lines[2].replace("running", "runninh");
            });
            flip(file, |content| content.len() / 2);
        }),
        damage("a missing line", "logs.jsonl", |file, _| {
            lines(file, |lines| drop(lines.remove(3)));
        }),
        damage("two lines swapped", "logs.jsonl", |file, _| {
            lines(file, |lines| lines.swap(2, 3));
        }),
        damage("a cut tail", "logs.jsonl", |file, _| {
            lines(file, |lines| lines.truncate(lines.len() - 3));
        }),
        damage("a line twice", "logs.jsonl", |file, _| {
            lines(file, |lines| lines.insert(2, lines[2].clone()));
        }),
        damage("a line that is not UTF-8", "logs.jsonl", |file, _| {
            let mut content = fs::read(file).unwrap();
            content.extend_from_slice(b"\xff\xfe\n");
            fs::write(file, content).unwrap();
        }),
        damage("nothing left", "logs.jsonl", |file, _| {
            fs::write(file, "").unwrap();
        }),
        damage("a link out of the tree", "logs.jsonl", replace_by_link),
        damage("not UTF-8", "decisions.md", |file, _| {
            fs::write(file, b"# \xff").unwrap();
        }),
        damage("a link out of the tree", "decisions.md", replace_by_link),
        damage("gone", "plan.md", |file, _| fs::remove_file(file).unwrap()),
    ]
}

fn row_of(world: &World, more: &[&str]) -> (i32, RepairRow) {
    let (code, mut repaired) = repair(world, more);
    assert_eq!(repaired.rows.len(), 1, "{repaired:#?}");
    let row = repaired.rows.remove(0);
    assert_eq!(row.task.unwrap().to_string(), world.done);
    (code, row)
}

fn forget_aside(folder: &Path) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(".aside-") {
            found += 1;
            let is_folder = entry.file_type().unwrap().is_dir();
            let path: PathBuf = entry.path();
            if is_folder {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }
    found
}

#[test]
fn every_damage_is_found_told_and_made_good_from_the_store() {
    let world = World::new();
    let place = &world.place;
    let before = world.digest();
    let there = files(&world);
    let outside = place.home().join("victim");
    fs::write(&outside, "safe").unwrap();
    for (name, file, act) in damages() {
        act(&world.folder().join(file), &outside);
        if file == "logs.jsonl" {
            let verify = place.run(&["audit", "verify", "--json"]);
            assert_eq!(verify.code, 1, "{name}: {verify:#?}");
            let verify: AuditVerifyDocument = document(&verify);
            assert!(verify.fault.is_none() && verify.logs == 7);
            let [fault] = &verify.log_faults[..] else {
                panic!("{name}: {verify:#?}");
            };
            assert_eq!(fault.task.to_string(), world.done, "{name}");
        }
        let (code, row) = row_of(&world, &[]);
        assert_eq!(code, 0, "{name} {file}: {row:#?}");
        let is_named = row.findings.iter().any(|finding| finding.file == file);
        let is_gone = ["a cut tail", "nothing left", "gone"].contains(&name);
        assert!(is_named || is_gone, "{name} {file}: {row:#?}");
        assert!(
            row.done.iter().any(|done| done.contains(file)),
            "{name}: {row:#?}"
        );
        if !is_gone {
            assert!(forget_aside(&world.folder()) > 0, "{name} {file}");
        }
        assert!(files(&world) == there, "{name} {file}");
        let (code, quiet) = repair(&world, &[]);
        assert_eq!(
            (code, quiet.rows.len()),
            (0, 0),
            "{name} {file}: {quiet:#?}"
        );
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "safe");
    assert_eq!(world.digest(), before);
    place.run(&["audit", "verify"]).ok();
}

#[test]
fn what_is_no_folder_of_a_task_is_told_and_left() {
    let world = World::new();
    world.digest();
    let there = files(&world);
    let tasks = world.tasks();
    let outside = world.place.home().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(tasks.join("notes.txt"), "mine").unwrap();
    symlink(&outside, tasks.join("task_7")).unwrap();
    fs::write(world.folder().join("mine.txt"), "mine").unwrap();
    let (code, repaired) = repair(&world, &[]);
    assert_eq!((code, repaired.rows.len()), (0, 3), "{repaired:#?}");
    assert!(
        repaired.rows.iter().all(|row| row.done.is_empty()),
        "{repaired:#?}"
    );
    assert_eq!(fs::read_to_string(tasks.join("notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    // In place of a task's folder a link leads nowhere, and is put aside.
    let kept = world.place.home().join("kept");
    fs::rename(world.folder(), &kept).unwrap();
    symlink(&kept, world.folder()).unwrap();
    let (code, repaired) = repair(&world, &[]);
    assert_eq!(code, 0, "{repaired:#?}");
    assert!(world.folder().symlink_metadata().unwrap().is_dir());
    assert_eq!(forget_aside(&tasks), 1);
    assert!(files(&world) == there);
    assert!(kept.join("mine.txt").is_file());
}

#[test]
fn a_checkpoint_that_is_not_whole_stays_a_finding() {
    let world = World::new();
    let checkpoints = world.folder().join("checkpoints");
    let mut names = fs::read_dir(&checkpoints).unwrap().flatten();
    let checkpoint = names.find(|name| name.file_name().to_string_lossy().starts_with("ckp_"));
    let manifest = checkpoint.unwrap().path().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"state.json\"", "\"../../x\"")).unwrap();
    let (code, row) = row_of(&world, &[]);
    assert!(code == 1 && row.open, "{row:#?}");
    assert!(
        row.findings[0].file.starts_with("checkpoints/ckp_"),
        "{row:#?}"
    );
}

#[test]
fn with_neither_store_nor_whole_folders_as_much_as_is_left_comes_back() {
    let world = World::new();
    let tasks = files(&world).len();
    lose_store(&world);
    // Events of it are lost; its image tells where it stood.
    lines(&world.folder().join("logs.jsonl"), |lines| {
        lines.truncate(2);
    });
    let (code, repaired) = repair(&world, &["--from-folders"]);
    let rebuilt = repaired.rebuilt.unwrap();
    assert_eq!(rebuilt.restated.len(), 1, "{rebuilt:#?}");
    assert_eq!(rebuilt.restated[0].to_string(), world.done);
    assert!(rebuilt.unverified_from.is_some(), "{rebuilt:#?}");
    assert!(code <= 1 && rebuilt.tasks.len() == 7, "{rebuilt:#?}");
    let shown = world.place.run(&["show", "done", "--json"]).ok().json();
    assert_eq!(shown["status"], "completed");
    let (code, again) = repair(&world, &[]);
    assert_eq!((code, again.rows.len()), (0, 0), "{again:#?}");
    assert_eq!(files(&world).len(), tasks);
    let verify = world.place.run(&["audit", "verify"]).ok().out;
    assert!(verify.contains("were taken in from elsewhere"), "{verify}");
}
