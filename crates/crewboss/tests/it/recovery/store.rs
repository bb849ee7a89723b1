//! A lost store from the folders.

use std::{fs, time::Duration};

use app::crash_points::CrashPoint;
use rustix::process::{Pid, test_kill_process};
use testkit::poll::poll_until;

use super::{World, archive::export, lose_store, repair};

#[test]
fn a_lost_store_is_built_again_from_the_folders() {
    let world = World::new();
    world.place.run(&["audit", "rotate-key"]).ok();
    let before = world.digest();
    world.place.run(&["audit", "head"]).ok();
    for name in ["crewboss.db", "crewboss.db-wal", "crewboss.db-shm"] {
        drop(fs::remove_file(world.home().join(name)));
    }
    let refused = world.place.run(&["repair"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    let (code, repaired) = repair(&world, &["--from-folders"]);
    let rebuilt = repaired.rebuilt.unwrap();
    assert_eq!((code, repaired.rows.len()), (0, 0), "{:#?}", repaired.rows);
    assert_eq!(
        (rebuilt.tasks.len(), rebuilt.left.len()),
        (7, 0),
        "{rebuilt:#?}"
    );
    assert_eq!((rebuilt.unverified_from, rebuilt.epoch), (None, Some(1)));
    assert_eq!(world.digest(), before);
    world.place.run(&["audit", "verify"]).ok();
    world.place.run(&["index", "verify"]).ok();
    let (code, again) = repair(&world, &["--from-folders"]);
    let rebuilt = again.rebuilt.unwrap();
    assert_eq!((code, rebuilt.events, rebuilt.epoch), (0, 0, None));
    assert!(rebuilt.known > 20, "{rebuilt:#?}");
}

#[test]
fn a_store_that_cannot_be_read_is_kept_and_built_again() {
    let world = World::new();
    let before = world.digest();
    let file = world.home().join("crewboss.db");
    drop(fs::remove_file(world.home().join("crewboss.db-wal")));
    let mut spoiled = vec![b'x'; 4_096];
    spoiled.extend(fs::read(&file).unwrap().split_off(4_096));
    fs::write(&file, &spoiled).unwrap();
    let (code, repaired) = repair(&world, &["--from-folders"]);
    let rebuilt = repaired.rebuilt.unwrap();
    assert_eq!((code, rebuilt.tasks.len()), (0, 7), "{rebuilt:#?}");
    assert_eq!(fs::read(rebuilt.aside.unwrap()).unwrap(), spoiled);
    assert_eq!(world.digest(), before);
}

#[test]
fn projects_of_one_store_come_back_together_or_one_by_one() {
    let world = World::new();
    let place = &world.place;
    let other = place.home().join("other");
    fs::create_dir(&other).unwrap();
    let other = other.canonicalize().unwrap();
    let other = other.to_str().unwrap();
    let there = |args: &[&str]| place.run(&[args, &["--project", other]].concat()).ok();
    there(&["start", "writer", "there"]);
    there(&["run", "--wait"]);
    place.start(&["writer", "here again"]);
    let own = |project: &str| {
        let args = ["export", "--digest", "--only-project", "--project", project];
        place.run(&args).ok().out
    };
    let here = place.project().to_str().unwrap();
    let (all, first, second) = (world.digest(), own(here), own(other));

    lose_store(&world);
    let (code, _) = repair(&world, &["--from-folders", "--also", other]);
    assert_eq!((code, world.digest()), (0, all.clone()));
    place.run(&["audit", "verify"]).ok();

    lose_store(&world);
    let (code, alone) = repair(&world, &["--from-folders"]);
    assert_eq!((code, own(here)), (0, first.clone()), "{alone:#?}");
    place.run(&["audit", "verify"]).ok();
    let args = ["repair", "--from-folders", "--json", "--project", other];
    place.run(&args).ok();
    assert_eq!((own(here), own(other)), (first, second));
    place.run(&["audit", "verify"]).ok();
    let (code, quiet) = repair(&world, &[]);
    assert_eq!((code, quiet.rows.len()), (0, 0), "{quiet:#?}");
}

#[test]
fn what_was_deleted_or_purged_survives_each_way() {
    let world = World::new();
    let place = &world.place;
    let away = place.start(&["writer", "gone for now", "--key", "away"]);
    place.run(&["run", &away, "--wait"]).ok();
    let decide = ["decision", "add", "away", "--decision", "come back"];
    place.run(&decide).ok();
    place.run(&["task", "delete", "away"]).ok();
    let purged = place.start(&["writer", "gone for good"]);
    place.run(&["run", &purged, "--wait"]).ok();
    let purge = ["task", "delete", &purged, "--purge", "--yes"];
    place.run(&purge).ok();
    let before = world.digest();
    let file = place.home().join("all.tar");
    export(place, &file);
    let holds = |way: &str| {
        assert_eq!(world.digest(), before, "{way}");
        place.run(&["audit", "verify"]).ok();
        place.run(&["index", "verify"]).ok();
        let shown = place.run(&["show", &purged, "--include-deleted", "--json"]);
        let shown = shown.ok().json();
        assert!(shown["purged_at"].is_string(), "{way}: {shown:#}");
        assert!(!world.tasks().join(&purged).exists(), "{way}");
        let decisions = ["decision", "list", "away", "--include-deleted"];
        let said = place.run(&decisions).ok().out;
        assert!(said.contains("come back"), "{way}: {said}");
    };
    holds("as it is");

    world.move_store();
    place.run(&["import", file.to_str().unwrap()]).ok();
    holds("from an archive");

    fs::remove_dir_all(world.home()).unwrap();
    place.run(&["repair", "--from-folders"]).ok();
    holds("from the folders");

    fs::remove_dir_all(world.tasks()).unwrap();
    place.run(&["repair"]);
    holds("the folders from the store");
    let project = fs::read_to_string(place.project().join(".crewboss/project.jsonl")).unwrap();
    assert!(!project.contains("gone for good"), "{project}");
    place.run(&["task", "undelete", "away"]).ok();
    place.run(&["history", "away", "--verify"]).ok();
}

#[test]
fn killed_at_any_moment_and_done_again() {
    let mut world = World::new();
    let before = world.digest();
    for point in CrashPoint::OF_REPAIR {
        if matches!(
            point,
            CrashPoint::RestoreLinked | CrashPoint::RestoreReplaced
        ) {
            continue;
        }
        let is_of_folders = matches!(point, CrashPoint::LogRepaired | CrashPoint::ImageRepaired);
        let args: &[&str] = if is_of_folders {
            fs::remove_dir_all(world.tasks()).unwrap();
            &["repair"]
        } else {
            lose_store(&world);
            &["repair", "--from-folders"]
        };
        world.place.set("CREWBOSS_CRASH_AT", point.as_str());
        let killed = world.place.run(args);
        assert_eq!(killed.code, -1, "{point:?}: {killed:#?}");
        world.place.set("CREWBOSS_CRASH_AT", "");
        world.place.run(args).ok();
        assert_eq!(world.digest(), before, "{point:?}");
        let (code, quiet) = repair(&world, &[]);
        assert_eq!((code, quiet.rows.len()), (0, 0), "{point:?}: {quiet:#?}");
        world.place.run(&["audit", "verify"]).ok();
    }
}

#[test]
fn killed_by_surprise_again_and_again() {
    let world = World::new();
    let before = world.digest();
    for millis in [1, 3, 5, 8, 13, 21, 34, 55, 89] {
        lose_store(&world);
        world
            .place
            .kill_after(millis, &["repair", "--from-folders"]);
        let (code, _) = repair(&world, &["--from-folders"]);
        assert_eq!(
            (code, world.digest()),
            (0, before.clone()),
            "after {millis} ms"
        );
    }
}

#[test]
fn two_at_once_are_as_good_as_one() {
    let world = World::new();
    let before = world.digest();
    for _ in 0..3 {
        fs::remove_dir_all(world.tasks()).unwrap();
        let children: Vec<_> = (0..3)
            .map(|_| world.place.command(["repair"]).spawn().unwrap())
            .collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        let (code, quiet) = repair(&world, &[]);
        assert_eq!((code, quiet.rows.len()), (0, 0), "{quiet:#?}");
        assert_eq!(world.digest(), before);
    }
    lose_store(&world);
    let children: Vec<_> = (0..3)
        .map(|_| {
            world
                .place
                .command(["repair", "--from-folders"])
                .spawn()
                .unwrap()
        })
        .collect();
    let codes: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap().status.code().unwrap())
        .collect();
    assert!(
        codes.contains(&0) && codes.iter().all(|code| [0, 4].contains(code)),
        "{codes:?}"
    );
    assert_eq!(world.digest(), before);
}

#[test]
fn who_was_at_work_is_ended_and_the_task_goes_back_to_the_queue() {
    let world = World::new();
    let place = &world.place;
    let id = place.start(&["sleeper", "y"]);
    place.run(&["run", &id]).ok();
    place.until_at_work(&id);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let runner = shown["session"]["runner_pid"].as_i64().unwrap();
    let runner = Pid::from_raw(i32::try_from(runner).unwrap()).unwrap();
    lose_store(&world);
    repair(&world, &["--from-folders"]);
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    assert_eq!(shown["status"], "pending", "{shown:#}");
    let is_gone = || test_kill_process(runner).is_err();
    assert!(poll_until(Duration::from_secs(30), is_gone), "{runner:?}");
    place.run(&["run", &id]).ok();
    let shown = place.run(&["show", &id, "--json"]).ok().json();
    let fence: u64 = shown["session"]["fence"].as_str().unwrap().parse().unwrap();
    assert!(fence > 1 << 32, "{shown:#}");
}
