//! An older copy of the store in the place of the store.

use std::fs;

use api_types::StoreRestoreDocument;
use app::crash_points::CrashPoint;

use super::{World, document, files, repair};

fn restore(world: &World) -> StoreRestoreDocument {
    let args = ["store", "restore", "copy.db", "--yes", "--json"];
    document(&world.place.run(&args).ok())
}

/// A copy, and more work behind it.
fn worked_on(world: &World) -> (String, String) {
    let place = &world.place;
    let then = world.digest();
    place.run(&["store", "backup", "copy.db"]).ok();
    let id = place.start(&["writer", "behind the copy"]);
    place.run(&["run", &id, "--wait"]).ok();
    place.run(&["archive", "done", "--yes"]);
    (then, world.digest())
}

#[test]
fn what_folders_tell_more_is_named_and_taken_in() {
    let world = World::new();
    let (then, now) = worked_on(&world);
    let restored = restore(&world);
    assert!(!restored.ahead.is_empty(), "{restored:#?}");
    assert!(restored.old.unwrap().is_file());
    let (code, named) = repair(&world, &[]);
    assert_eq!(code, 1);
    assert!(named.rows.iter().any(|row| row.ahead), "{named:#?}");
    let (code, taken) = repair(&world, &["--from-folders"]);
    assert_eq!((code, world.digest()), (0, now), "{taken:#?}");
    assert_ne!(world.digest(), then);
    world.place.run(&["audit", "verify"]).ok();
}

#[test]
fn or_set_aside() {
    let world = World::new();
    let (then, _) = worked_on(&world);
    restore(&world);
    let new = files(&world).len();
    let (_, repaired) = repair(&world, &["--store-wins"]);
    assert_eq!(world.digest(), then, "{repaired:#?}");
    assert_eq!(files(&world).len(), new);
    let (_, again) = repair(&world, &[]);
    // The task that the copy does not know is left as it is, and said.
    assert!(
        again.rows.iter().all(|row| row.done.is_empty()),
        "{again:#?}"
    );
}

#[test]
fn whoever_is_at_work_keeps_it_from_being_replaced() {
    let world = World::new();
    let place = &world.place;
    place.run(&["store", "backup", "copy.db"]).ok();
    let id = place.start(&["sleeper", "x"]);
    place.run(&["run", &id]).ok();
    place.until_at_work(&id);
    let refused = place.run(&["store", "restore", "copy.db", "--yes"]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(refused.err.contains("is at work"), "{refused:#?}");
    place.run(&["cancel", &id]).ok();
    place.run(&["wait", &id]);
    for wrong in ["missing.db", "plain.txt"] {
        fs::write(place.project().join("plain.txt"), "no store").unwrap();
        let before = world.digest();
        let refused = place.run(&["store", "restore", wrong, "--yes"]);
        assert!([1, 3].contains(&refused.code), "{refused:#?}");
        assert_eq!(world.digest(), before);
    }
}

#[test]
fn killed_at_any_moment_it_is_the_old_one_or_the_new_one() {
    let mut world = World::new();
    let (then, now) = worked_on(&world);
    for point in [CrashPoint::RestoreLinked, CrashPoint::RestoreReplaced] {
        world.place.set("CREWBOSS_CRASH_AT", point.as_str());
        let killed = world.place.run(&["store", "restore", "copy.db", "--yes"]);
        assert_eq!(killed.code, -1, "{point:?}: {killed:#?}");
        world.place.set("CREWBOSS_CRASH_AT", "");
        let found = world.digest();
        assert!(found == then || found == now, "{point:?}");
        assert_eq!(found == then, point == CrashPoint::RestoreReplaced);
        world.place.run(&["store", "check"]).ok();
        restore(&world);
        assert_eq!(world.digest(), then);
    }
}
