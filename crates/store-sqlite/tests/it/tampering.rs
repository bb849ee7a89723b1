//! A log of real work, changed by hand in the file in every way, and what is said about it.

use std::{fs, path::Path, sync::Arc};

use app::audit::{self, Beginning, Head, Report, Source as _, Tampering};
use domain::session::SessionResult;
use rusqlite::{Connection, params};
use store_sqlite::SqliteLog;
use testkit::contract::{
    clock::ManualClock,
    world::{World, failed, work},
};

use crate::subject::Sqlite;

const ROUNDS: u64 = 1_000;
/// Heads are signed for every position that is a multiple.
const HEAD_EVERY: u64 = 10;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// From `low` to `high`.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + i64::try_from(self.roll((high - low + 1).unsigned_abs())).expect("small")
    }
}

/// A store with a log; how long the log is.
fn worked_in(path: &Path) -> i64 {
    let clock = Arc::new(ManualClock::default());
    let world = World::of(Arc::new(Sqlite::at(path, Arc::clone(&clock) as _)), clock);
    for number in 0..8 {
        let _task = world.create(work(&format!("task {number}")));
    }
    for _ in 0..6 {
        world.work_off(SessionResult::Completed);
        let lost = world.work_off(failed());
        let _retry = world.retry(lost, None).expect("a retry");
    }
    drop(world);
    let raw = Connection::open(path).expect("a file");
    let _mode: String = raw
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .expect("one file");
    raw.query_row("SELECT max(position) FROM events", [], |row| row.get(0))
        .expect("a log")
}

fn verified(path: &Path, heads: &[Head]) -> Report {
    let log = SqliteLog::open(path).expect("a log");
    audit::verify(&log, Beginning::default(), heads, &mut |_| ()).expect("readable")
}

fn shift(raw: &Connection, from: i64, by: i64) {
    raw.execute(
        "UPDATE events SET position = -(position + ?2) WHERE position >= ?1",
        [from, by],
    )
    .expect("moved away");
    raw.execute(
        "UPDATE events SET position = -position WHERE position < 0",
        [],
    )
    .expect("moved back");
}

/// One that nobody wrote: another's, with another number and hashes that lead nowhere.
fn forge(raw: &Connection, like: i64, at: i64, later: i64) {
    raw.execute(
        "INSERT INTO events SELECT ?2, stream_kind, stream_id, seq + ?3, header, payload,
                randomblob(32), randomblob(32), dropped FROM events WHERE position = ?1",
        [like, at, later],
    )
    .expect("inserted");
}

fn flip(raw: &Connection, column: &str, position: i64, dice: &mut Dice) {
    let select = format!("SELECT {column} FROM events WHERE position = ?1");
    let mut bytes: Vec<u8> = raw
        .query_row(&select, [position], |row| row.get(0))
        .expect("a column");
    let at = usize::try_from(dice.roll(bytes.len() as u64)).expect("small");
    bytes[at] ^= 1 << dice.roll(8);
    let update = format!("UPDATE events SET {column} = ?2 WHERE position = ?1");
    raw.execute(&update, params![position, bytes])
        .expect("changed");
}

fn edit(raw: &Connection, position: i64, dice: &mut Dice) {
    let set = match dice.roll(9) {
        0 | 1 => return flip(raw, "payload", position, dice),
        2 => return flip(raw, "header", position, dice),
        3 => return flip(raw, "stream_hash", position, dice),
        4 => return flip(raw, "global_hash", position, dice),
        5 => "seq = seq + 500",
        6 => "stream_id = stream_id + 1000",
        7 => "stream_kind = (stream_kind + 1) % 4, seq = seq + 500",
        _ => "stream_hash = x'00', payload = x''",
    };
    let update = format!("UPDATE events SET {set} WHERE position = ?1");
    raw.execute(&update, [position]).expect("changed");
}

/// Changes the log; answers what was done, and the first position that it was done to.
fn tamper(raw: &Connection, length: i64, dice: &mut Dice) -> (&'static [Tampering], i64) {
    let position = dice.between(1, length);
    match dice.roll(8) {
        0 | 1 => {
            edit(raw, position, dice);
            (&[Tampering::Edited], position)
        }
        2 => {
            let at = dice.between(1, length + 1);
            let like = dice.between(1, length);
            let count = dice.between(1, 3);
            shift(raw, at, count);
            let like = if like >= at { like + count } else { like };
            for number in 0..count {
                forge(raw, like, at + number, 1_000 + number);
            }
            if at > length && count == 2 {
                // Of two at the end either may be what the other was made to look like.
                return (&[Tampering::Inserted, Tampering::Edited], at);
            }
            (&[Tampering::Inserted], at)
        }
        3 => {
            // One that stands before all others, or far behind them.
            let at = dice.between(-5, 0);
            forge(raw, position, at, 1_000);
            (&[Tampering::Inserted], at)
        }
        4 => {
            let first = dice.between(1, length - 1);
            let last = dice.between(first, (length - 1).min(first + 5));
            raw.execute(
                "DELETE FROM events WHERE position BETWEEN ?1 AND ?2",
                [first, last],
            )
            .expect("deleted");
            if dice.roll(2) == 0 {
                return (&[Tampering::Deleted], first);
            }
            shift(raw, last + 1, first - last - 1);
            if last + 1 == length {
                // One entry is left behind them, and nothing that remembers what it followed.
                return (
                    &[Tampering::Deleted, Tampering::Edited, Tampering::Inserted],
                    first,
                );
            }
            (&[Tampering::Deleted], first)
        }
        5 => {
            let other = 1 + (position - 1 + dice.between(1, length - 1)) % length;
            for (from, to) in [(position, -1), (other, position), (-1, other)] {
                raw.execute(
                    "UPDATE events SET position = ?2 WHERE position = ?1",
                    [from, to],
                )
                .expect("moved");
            }
            (&[Tampering::Reordered], position.min(other))
        }
        6 => {
            // The contents alone change places.
            let other = 1 + (position - 1 + dice.between(1, length - 1)) % length;
            let payloads = [position, other].map(|at| -> Vec<u8> {
                raw.query_row(
                    "SELECT payload FROM events WHERE position = ?1",
                    [at],
                    |row| row.get(0),
                )
                .expect("a content")
            });
            if payloads[0] == payloads[1] {
                return tamper(raw, length, dice);
            }
            for (at, payload) in [(other, &payloads[0]), (position, &payloads[1])] {
                raw.execute(
                    "UPDATE events SET payload = ?2 WHERE position = ?1",
                    params![at, payload],
                )
                .expect("changed");
            }
            (&[Tampering::Edited], position.min(other))
        }
        _ => {
            raw.execute("DELETE FROM events WHERE position >= ?1", [position])
                .expect("cut");
            (&[Tampering::Truncated], position)
        }
    }
}

#[test]
fn whatever_is_done_to_the_log_is_found_where_it_was_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let honest = folder.path().join("honest.sqlite");
    let length = worked_in(&honest);
    assert!(length > 40, "{length}");
    let log = SqliteLog::open(&honest).expect("a log");
    let end = log.end().expect("readable").expect("an end");
    let heads: Vec<Head> = (1..=end.position)
        .filter(|position| position % HEAD_EVERY == 0)
        .filter_map(|position| log.at(position).expect("readable"))
        .chain([end])
        .collect();
    let report = verified(&honest, &heads);
    assert_eq!((report.fault, report.last), (None, end.position));
    assert_eq!(report.unknown, 0);
    let mut dice = Dice(0x5EED_1060);
    let mut found = std::collections::BTreeMap::new();
    for round in 0..ROUNDS {
        let path = folder.path().join("changed.sqlite");
        fs::copy(&honest, &path).expect("a copy");
        let raw = Connection::open(&path).expect("a file");
        raw.execute_batch("PRAGMA synchronous = OFF; BEGIN")
            .expect("begun");
        let (done, position) = tamper(&raw, length, &mut dice);
        raw.execute_batch("COMMIT").expect("done");
        drop(raw);
        let report = verified(&path, &heads);
        let fault = report.fault;
        let fault = fault.unwrap_or_else(|| panic!("round {round}: {done:?} at {position} unseen"));
        assert!(
            fault.position == position && done.contains(&fault.tampering),
            "round {round}: {done:?} at {position} was taken for {fault:?}"
        );
        *found.entry(fault.tampering.as_str()).or_insert(0) += 1;
    }
    assert_eq!(found.values().sum::<u64>(), ROUNDS, "{found:?}");
    assert_eq!(found.len(), 5, "{found:?}");
}

#[test]
fn each_stream_is_verified_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let length = worked_in(&path);
    let log = SqliteLog::open(&path).expect("a log");
    let mut streams = std::collections::BTreeMap::new();
    log.walk(None, &mut |row| {
        *streams.entry(row.entry.expect("whole").stream).or_insert(0) += 1;
        std::ops::ControlFlow::Continue(())
    })
    .expect("readable");
    assert_eq!(streams.values().sum::<u64>(), length.unsigned_abs());
    for (stream, count) in &streams {
        let report = audit::verify_stream(&log, *stream).expect("readable");
        assert_eq!((report.entries, report.fault), (*count, None));
    }
    let raw = Connection::open(&path).expect("a file");
    raw.execute("UPDATE events SET payload = x'7b7d' WHERE position = 7", [])
        .expect("changed");
    let (kind, number): (u8, i64) = raw
        .query_row(
            "SELECT stream_kind, stream_id FROM events WHERE position = 7",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a row");
    for stream in streams.keys() {
        let is_it = stream.kind as u8 == kind && stream.id == number.unsigned_abs();
        let fault = audit::verify_stream(&log, *stream).expect("readable").fault;
        assert_eq!(fault.map(|fault| fault.position), is_it.then_some(7));
    }
}
