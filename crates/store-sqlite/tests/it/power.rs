//! What a power cut leaves of the files: everything that was synced, and of what was on its way any
//! sectors, old ones, new ones or none of either. Whatever was answered before is there after.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use domain::{id::TaskId, session::SessionResult};
use rusqlite::Connection;
use testkit::contract::{
    clock::ManualClock,
    log,
    world::{World, failed, work},
};

use crate::{processes::check_integrity, subject::Sqlite};

const ROUNDS: u64 = 240;

/// A disk writes so much at once, or not.
const SECTOR: usize = 512;

/// What a log begins with, and what says which of its frames count.
const HEADER: usize = 32;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("small")
    }
}

/// The store's file and its log at one moment.
#[derive(Clone)]
struct Files {
    store: Vec<u8>,
    log: Vec<u8>,
}

fn log_of(path: &Path) -> PathBuf {
    path.with_extension("sqlite-wal")
}

impl Files {
    fn of(path: &Path) -> Self {
        Self {
            store: fs::read(path).expect("a file"),
            log: fs::read(log_of(path)).unwrap_or_default(),
        }
    }

    /// In a folder of their own, without what only lives in memory.
    fn put(&self, path: &Path) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, &self.store).expect("written");
        fs::write(log_of(path), &self.log).expect("written");
    }
}

fn world_at(path: &Path) -> World {
    let clock = Arc::new(ManualClock::default());
    World::of(Arc::new(Sqlite::at(path, Arc::clone(&clock) as _)), clock)
}

/// One more change.
fn change(world: &World, dice: &mut Dice) -> TaskId {
    if dice.roll(3) == 0
        && let Some((session, _)) = world.claim()
    {
        let result = if dice.roll(2) == 0 {
            SessionResult::Completed
        } else {
            failed()
        };
        world.finish(&session, result).expect("it ends");
    }
    world.create(work(&"x".repeat(1 + dice.roll(6_000)))).id
}

/// What is there when the power goes while one content becomes the other. What was never written
/// reads as zeros, or as whatever was there on the disk before.
fn torn(before: &[u8], after: &[u8], dice: &mut Dice) -> Vec<u8> {
    let end = match dice.roll(3) {
        0 => before.len().max(after.len()),
        1 => before.len(),
        _ => before.len() + dice.roll(after.len().saturating_sub(before.len()) + 1),
    };
    let likely = 1 + dice.roll(8);
    let mut torn = Vec::with_capacity(end);
    while torn.len() < end {
        let place = torn.len()..(torn.len() + SECTOR).min(end);
        let old = before.get(place.clone());
        let new = after.get(place.clone());
        match (old, new) {
            (Some(old), Some(new)) if old == new => torn.extend_from_slice(old),
            (_, Some(new)) if dice.roll(9) < likely => torn.extend_from_slice(new),
            (Some(old), _) => torn.extend_from_slice(old),
            _ if dice.roll(2) == 0 => torn.resize(place.end, 0),
            _ => torn.extend(place.map(|at| u8::try_from(at % 251).expect("less than 251"))),
        }
    }
    // A byte that nobody writes stays what it is, also within a sector that is written.
    for (at, (old, new)) in before.iter().zip(after).enumerate() {
        if old == new && at < torn.len() {
            torn[at] = *old;
        }
    }
    torn
}

/// Opens what is left; everything that was answered is there, and it goes on.
fn judge(files: &Files, path: &Path, acknowledged: &[TaskId]) {
    files.put(path);
    let world = world_at(path);
    for id in acknowledged {
        assert_eq!(world.task(*id).id, *id);
    }
    log::verify(&world.contents().log);
    let more = world.create(work("goes on"));
    assert_eq!(world.task(more.id).id, more.id);
    log::verify(&world.contents().log);
    drop(world);
    check_integrity(path);
}

/// The log is copied into the store's file, by somebody who is not interrupted.
fn checkpointed(files: &Files, path: &Path) -> Files {
    files.put(path);
    let raw = Connection::open(path).expect("a file");
    raw.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        row.get::<_, i64>(0)
    })
    .expect("copied");
    let store = fs::read(path).expect("a file");
    Files {
        store,
        log: files.log.clone(),
    }
}

fn round(seed: u64, folder: &Path) {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (seed + 1));
    let path = folder.join("origin/store.sqlite");
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let mut acknowledged = Vec::new();
    let world = world_at(&path);
    for _ in 0..=dice.roll(8) {
        acknowledged.push(change(&world, &mut dice));
    }
    let before = Files::of(&path);
    let left = folder.join("left/store.sqlite");
    match seed % 3 {
        // While a change is on its way into the log.
        0 => {
            let _unanswered = change(&world, &mut dice);
            let after = Files::of(&path);
            let log = if after.log.len() < before.log.len() {
                // The log was copied and emptied meanwhile: that came after the answer.
                before.log.clone()
            } else {
                torn(&before.log, &after.log, &mut dice)
            };
            let store = before.store.clone();
            judge(&Files { store, log }, &left, &acknowledged);
        }
        // While the log is copied into the store's file.
        1 => {
            let after = checkpointed(&before, &folder.join("copy/store.sqlite"));
            let store = torn(&before.store, &after.store, &mut dice);
            let log = before.log.clone();
            judge(&Files { store, log }, &left, &acknowledged);
        }
        // While a log that was copied is begun anew.
        _ => {
            let copy = folder.join("copy/store.sqlite");
            let copied = checkpointed(&before, &copy);
            let other = world_at(&copy);
            let _unanswered = other.create(work("x"));
            let after = Files::of(&copy);
            // The new beginning is synced before anything behind it is written over.
            let mut begun = copied.log.clone();
            begun.resize(begun.len().max(HEADER), 0);
            begun[..HEADER].copy_from_slice(&after.log[..HEADER]);
            let log = match dice.roll(3) {
                0 => copied.log,
                1 => begun,
                _ => torn(&begun, &after.log, &mut dice),
            };
            let store = copied.store;
            judge(&Files { store, log }, &left, &acknowledged);
        }
    }
}

#[test]
fn what_was_answered_is_there_after_a_power_cut() {
    for seed in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder");
        println!("seed {seed}");
        round(seed, folder.path());
    }
}
