//! Nothing is lost while either the store or the folders are left, or an archive of both.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use api_types::{Body, Document, ExportDocument, ImportArchiveDocument, RepairDocument};
use serde::de::DeserializeOwned;

use crate::place::{Place, Ran};

fn document<T: Body + DeserializeOwned>(ran: &Ran) -> T {
    let document: Document<T> = serde_json::from_str(&ran.out).expect("a document");
    assert_eq!(document.schema, T::SCHEMA);
    document.body
}

/// A project in which everything has happened that a store can tell of.
struct World {
    place: Place,
    done: String,
}

impl World {
    fn new() -> Self {
        let place = Place::repository();
        place.configure("[gates.there]\nrun = \"test -f result.txt\"\n");
        let done = place.start(&["writer", "first", "--key", "done", "--label", "a"]);
        place.run(&["run", &done, "--wait"]).ok();
        place
            .run(&["checkpoint", "create", &done, "--note", "kept"])
            .ok();
        let behind = place.start(&["writer", "second", "--depends-on", &done]);
        place.run(&["run", &behind, "--wait"]).ok();
        let failed = place.start(&["late7", "third"]);
        assert_eq!(place.run(&["run", &failed, "--wait"]).code, 1);
        place.run(&["retry", &failed]).ok();
        place.start(&["writer", "later", "--depends-on", &failed]);
        let external = place
            .run(&["task", "create", "human", "look at it"])
            .ok()
            .id();
        place
            .run(&["task", "attach", &external, "--agent", "me"])
            .ok();
        fs::write(place.project().join("result.txt"), "x").unwrap();
        place.run(&["task", "complete", &external]).ok();
        fs::remove_file(place.project().join("result.txt")).unwrap();
        let waiting = place.start(&["writer", "never"]);
        place.run(&["cancel", &waiting]).ok();
        let world = Self { place, done };
        world.decide("use files", "they are there\n\nand simple");
        world.decide("no more", "");
        fs::write(world.folder().join("plan.md"), "# My own plan\n\n- ä\n").unwrap();
        world
    }

    fn decide(&self, decision: &str, reasoning: &str) {
        let args = ["decision", "add", "done", "--decision", decision];
        let more = ["--reasoning", reasoning, "--alternative", "do nothing"];
        self.place.run(&[&args[..], &more].concat()).ok();
    }

    fn folder(&self) -> PathBuf {
        self.tasks().join(&self.done)
    }

    fn tasks(&self) -> PathBuf {
        self.place.project().join(".crewboss/tasks")
    }

    fn home(&self) -> PathBuf {
        self.place.home().join("crewboss")
    }

    #[track_caller]
    fn digest(&self) -> String {
        let ran = self.place.run(&["export", "--digest", "--json"]).ok();
        document::<ExportDocument>(&ran).sha256
    }

    /// Another store for the same project.
    fn move_store(&self) -> PathBuf {
        let aside = self.place.home().join("first-store");
        fs::rename(self.home(), &aside).unwrap();
        aside
    }
}

fn export(place: &Place, file: &Path) -> ExportDocument {
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

/// Every file that can be made again, by its path.
fn files(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for task in fs::read_dir(world.tasks()).unwrap().flatten() {
        for name in ["state.json", "logs.jsonl", "plan.md", "decisions.md"] {
            if let Ok(content) = fs::read(task.path().join(name)) {
                files.insert(Path::new(&task.file_name()).join(name), content);
            }
        }
    }
    files
}

fn repair(world: &World, more: &[&str]) -> (i32, RepairDocument) {
    let args = [&["repair", "--json"], more].concat();
    let ran = world.place.run(&args);
    assert!(ran.code <= 1, "{ran:#?}");
    (ran.code, document(&ran))
}

#[test]
fn folders_are_made_again_from_the_store_as_they_were() {
    let world = World::new();
    let before = world.digest();
    let (code, quiet) = repair(&world, &[]);
    assert_eq!(
        (code, quiet.checked, quiet.rows.len()),
        (0, 7, 0),
        "{quiet:#?}"
    );
    let there = files(&world);
    assert_eq!(there.len(), 7 * 2 + 3 + 1, "{:?}", there.keys());
    fs::remove_dir_all(world.place.project().join(".crewboss/tasks")).unwrap();
    fs::remove_file(world.place.project().join(".crewboss/project.jsonl")).unwrap();
    let (code, repaired) = repair(&world, &[]);
    assert_eq!((code, repaired.rows.len()), (0, 7), "{repaired:#?}");
    let done = repaired
        .rows
        .iter()
        .find(|row| row.task.unwrap().to_string() == world.done);
    let missing = &done.unwrap().missing;
    assert_eq!(missing.len(), 2, "{missing:?}");
    let again = files(&world);
    for (name, content) in &there {
        assert!(
            again.get(name) == Some(content),
            "{} differs",
            name.display()
        );
    }
    assert_eq!(again.len(), there.len());
    assert_eq!(world.digest(), before);
    assert!(
        world
            .place
            .project()
            .join(".crewboss/project.jsonl")
            .is_file()
    );
    let listed = world.place.run(&["decision", "list", "done"]).ok().out;
    assert!(
        listed.contains("use files") && listed.contains("no more"),
        "{listed}"
    );
}

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
