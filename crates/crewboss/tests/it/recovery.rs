//! Nothing is lost while either the store or the folders are left, or an archive of both.

mod archive;
mod damaged;
mod folders;
mod restored;
mod store;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use api_types::{Body, Document, ExportDocument, RepairDocument};
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

/// The store's file with all that belongs to it.
const STORE: [&str; 3] = ["crewboss.db", "crewboss.db-wal", "crewboss.db-shm"];

fn lose_store(world: &World) {
    for name in STORE {
        drop(fs::remove_file(world.home().join(name)));
    }
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
    archive::export(place, &file);
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
