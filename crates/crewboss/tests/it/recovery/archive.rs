//! An archive goes into another store, whole or not at all.

use std::{fs, path::Path};

use api_types::{ExportDocument, ImportArchiveDocument};

use super::{World, document};
use crate::place::Place;

pub(super) fn export(place: &Place, file: &Path) -> ExportDocument {
    let file = file.to_str().unwrap();
    document(&place.run(&["export", file, "--json"]).ok())
}

#[test]
fn an_archive_goes_into_an_empty_store_and_out_again_as_it_was() {
    let world = World::new();
    let place = &world.place;
    let file = place.home().join("all.tar");
    let exported = export(place, &file);
    assert_eq!(exported.projects, 1);
    assert_eq!(exported.tasks, 7);
    assert_eq!((exported.decisions, exported.plans), (1, 1));
    assert!(
        exported.checkpoints == 1 && exported.sessions >= 4,
        "{exported:?}"
    );
    assert_eq!(exported.sha256, world.digest());
    let again = place.run(&["export", file.to_str().unwrap()]);
    assert_eq!(again.code, 4, "{again:#?}");

    world.move_store();
    let import = || place.run(&["import", file.to_str().unwrap(), "--json"]);
    let imported: ImportArchiveDocument = document(&import().ok());
    assert_eq!(imported.tasks.len(), 7);
    assert_eq!((imported.events, imported.known), (exported.events, 0));
    assert_eq!(world.digest(), exported.sha256);
    let second: ImportArchiveDocument = document(&import().ok());
    assert_eq!((second.events, second.known), (0, exported.events));
    place.run(&["audit", "verify"]).ok();
    place.run(&["index", "verify"]).ok();
    let shown = place.run(&["show", "done", "--json"]).ok().json();
    assert_eq!(shown["id"], world.done.as_str());
    // The retry goes on: what waits for its chain becomes ready, under a fence of a new epoch.
    let listed = place.run(&["status", "--state", "pending", "--json"]).ok();
    let tasks = listed.json()["tasks"].as_array().unwrap().clone();
    let retry = tasks.iter().find(|task| task["retry_of"].is_string());
    let retry = retry.unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(place.run(&["run", &retry, "--wait"]).code, 1);
    let shown = place.run(&["show", &retry, "--json"]).ok().json();
    let fence: u64 = shown["session"]["fence"].as_str().unwrap().parse().unwrap();
    assert_eq!(fence, (1 << 32) + 1);
}

#[test]
fn an_archive_that_is_not_whole_or_contradicts_changes_nothing() {
    let world = World::new();
    let place = &world.place;
    let file = place.home().join("all.tar");
    export(place, &file);
    let whole = fs::read(&file).unwrap();
    world.move_store();
    let needle = b"\"task.created\"";
    let at = whole.windows(needle.len()).position(|part| part == needle);
    let mut flipped = whole.clone();
    flipped[at.unwrap_or(2_000) + 2] ^= 1;
    for broken in [
        &flipped[..],
        &whole[..whole.len() / 2],
        b"",
        b"not an archive",
    ] {
        fs::write(&file, broken).unwrap();
        let refused = place.run(&["import", file.to_str().unwrap()]);
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.err.contains("no whole archive"), "{refused:#?}");
    }
    // Another project came to be at the same place meanwhile.
    place.start(&["writer", "new"]);
    fs::write(&file, &whole).unwrap();
    let before = world.digest();
    let refused = place.run(&["import", file.to_str().unwrap()]);
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert_eq!(world.digest(), before);
}

#[test]
fn an_import_that_is_killed_is_done_or_was_not_begun() {
    let world = World::new();
    let place = &world.place;
    let file = place.home().join("all.tar");
    let exported = export(place, &file);
    for millis in [2, 6, 12, 20, 35] {
        fs::remove_dir_all(world.home()).unwrap();
        place.kill_after(millis, &["import", file.to_str().unwrap()]);
        let imported = place
            .run(&["import", file.to_str().unwrap(), "--json"])
            .ok();
        let imported: ImportArchiveDocument = document(&imported);
        assert!(
            [0, exported.events].contains(&imported.events),
            "{imported:?}"
        );
        assert_eq!(world.digest(), exported.sha256, "after {millis} ms");
    }
}
