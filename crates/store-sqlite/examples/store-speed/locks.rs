//! A lock that many wait for, handed from one to the next, beside commits of the same rows.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Barrier, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use app::{
    locks::StoreLocks,
    ports::{
        locks::{Attempt, Locks},
        store::Store,
    },
};
use domain::lock::{Ask, Holder, Mode, Release, Resource};
use rusqlite::{Connection, params};
use sandbox_host::{HostBells, SystemClock};
use store_memory::MemoryLocks;
use store_sqlite::SqliteStore;
use testkit::contract::{
    locks::history::{Hold, check, jain_index},
    world::{meta, register_command, request},
};

use crate::{
    Done, Place,
    measure::{median, middle, per_second, timed},
};

/// How many wait.
const WAITERS: usize = 50;

/// How often all of them do.
const ROUNDS: usize = 9;

/// Names that are locked one after the other in memory.
const NAMES: usize = 100_000;

/// Commits beside each round.
const CYCLES: u32 = 200;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let place = Place::new(folder)?;
    let locks = locks_in(&place.path("locks.db"))?;
    let raw = Raw::open(&place.path("raw.db"))?;
    let (mut handovers, mut cycles) = (Vec::new(), Vec::new());
    let (mut holds, clock) = (Vec::new(), AtomicU64::new(0));
    for _ in 0..ROUNDS {
        cycles.push(raw.commits_per_second()?);
        let (per_second, round) = drain(&locks, &clock)?;
        handovers.push(per_second);
        holds.extend(round);
    }
    check(&holds, true)?;
    let cycles = middle(cycles)?;
    let pair = median(|| pair(&*locks, "alone"))?;
    let conflict = conflicts(&*locks)?;
    Ok(serde_json::json!({
        "handovers_per_second": middle(handovers)?,
        "cycles_per_second": cycles,
        "two_cycles_us": 2e6 / cycles,
        "memory_pairs_per_second": memory_pairs_per_second()?,
        "map_pairs_per_second": map_pairs_per_second()?,
        "jain_index": fairness(&holds),
        "pair_us": pair.as_secs_f64() * 1e6,
        "conflict_p99_us": conflict.as_secs_f64() * 1e6,
    }))
}

fn locks_in(file: &Path) -> Done<Arc<dyn Locks>> {
    let clock = Arc::new(SystemClock::new()?);
    let store = Arc::new(SqliteStore::own(file, Arc::clone(&clock) as _)?);
    let app::command::Output::Project { project } =
        store.execute(request(register_command()))?.output
    else {
        return Err("no project".into());
    };
    Ok(Arc::new(StoreLocks::new(
        store,
        project.id,
        clock,
        Arc::new(HostBells),
        meta(),
    )))
}

fn ask(name: &str, what: &str) -> Done<Ask> {
    let (resource, holder): (Resource, Holder) = (what.parse()?, name.parse()?);
    Ok(Ask {
        wait_millis: 120_000,
        ..Ask::exclusive(resource, holder)
    })
}

fn pair(locks: &dyn Locks, what: &str) -> Done<()> {
    let grant = locks.acquire(&ask("alone", what)?, &|| false)?;
    locks.release(&Release::of(grant.token))?;
    Ok(())
}

/// How long who does not wait is kept until it is told, in 99 of 100 cases.
fn conflicts(locks: &dyn Locks) -> Done<Duration> {
    let held = locks.acquire(&ask("holder", "taken")?, &|| false)?;
    let other = Ask {
        wait_millis: 0,
        ..ask("other", "taken")?
    };
    let told = crate::measure::p99(500, |_| match locks.begin(&other) {
        Err(_) => Ok(()),
        Ok(_) => Err("it is taken".into()),
    })?;
    locks.release(&Release::of(held.token))?;
    Ok(told)
}

/// All of them in the queue, and then through it: how many handovers a second.
fn drain(locks: &Arc<dyn Locks>, clock: &AtomicU64) -> Done<(f64, Vec<Hold>)> {
    let first = locks.acquire(&ask("first", "x")?, &|| false)?;
    let queued = Barrier::new(WAITERS + 1);
    let holds = Mutex::new(Vec::new());
    let took = thread::scope(|scope| -> Done<Duration> {
        let mut waiters = Vec::new();
        for number in 0..WAITERS {
            let (queued, holds) = (&queued, &holds);
            waiters.push(scope.spawn(move || -> Result<(), String> {
                let told = |error: Box<dyn std::error::Error>| error.to_string();
                let wait = || -> Done<()> {
                    let ask = ask(&format!("w{number}"), "x")?;
                    let begun = locks.begin(&ask);
                    queued.wait();
                    let Attempt::Queued { ticket } = begun? else {
                        return Err("it is free".into());
                    };
                    let grant = loop {
                        match locks.wait(ticket.id, Duration::from_secs(1))? {
                            Attempt::Granted { grant } => break grant,
                            Attempt::Queued { .. } => {}
                        }
                    };
                    let from = clock.fetch_add(1, Ordering::SeqCst);
                    let to = clock.fetch_add(1, Ordering::SeqCst);
                    locks.release(&Release::of(grant.token))?;
                    let hold = Hold {
                        id: grant.id,
                        token: grant.token,
                        holder: grant.holder.to_string(),
                        resources: grant.resources,
                        mode: Mode::Exclusive,
                        priority: ask.priority,
                        from,
                        to,
                    };
                    holds.lock().map_err(|_| "a list")?.push(hold);
                    Ok(())
                };
                wait().map_err(told)
            }));
        }
        queued.wait();
        timed(|| {
            locks.release(&Release::of(first.token))?;
            for waiter in waiters {
                waiter.join().map_err(|_| "a waiter panicked")??;
            }
            Ok(())
        })
    })?;
    let holds = holds.into_inner().map_err(|_| "a list")?;
    Ok((per_second(WAITERS, took.as_secs_f64()), holds))
}

/// Pairs of acquire and release through the port, on locks of one process.
fn memory_pairs_per_second() -> Done<f64> {
    let locks = MemoryLocks::new(Arc::new(SystemClock::new()?));
    let asks: Vec<Ask> = (0..NAMES)
        .map(|name| ask("alone", &format!("record-{name}")))
        .collect::<Done<_>>()?;
    let took = timed(|| {
        for ask in &asks {
            let Attempt::Granted { grant } = locks.begin(ask)? else {
                return Err("it is taken".into());
            };
            locks.release(&Release::of(grant.token))?;
        }
        Ok(())
    })?;
    Ok(per_second(NAMES, took.as_secs_f64()))
}

/// What a program without any of this would do: a record of each name, with its owner and a version.
fn map_pairs_per_second() -> Done<f64> {
    let names: Vec<String> = (0..NAMES).map(|name| format!("record-{name}")).collect();
    let records = names.iter().map(|name| (name.clone(), (None, 0_u64)));
    let map: Mutex<HashMap<String, (Option<String>, u64)>> = Mutex::new(records.collect());
    let set = |name: &str, owner: Option<&str>| -> Done<()> {
        let mut map = map.lock().map_err(|_| "a map")?;
        let record = map.get_mut(name).ok_or("a record")?;
        if record.0.is_some() == owner.is_some() {
            return Err("it is taken".into());
        }
        *record = (owner.map(str::to_owned), record.1 + 1);
        Ok(())
    };
    let took = timed(|| {
        for name in &names {
            set(name, Some("alone"))?;
            set(name, None)?;
        }
        Ok(())
    })?;
    Ok(per_second(NAMES, took.as_secs_f64()))
}

fn fairness(holds: &[Hold]) -> f64 {
    let mut shares = std::collections::BTreeMap::<&str, f64>::new();
    for hold in holds {
        *shares.entry(hold.holder.as_str()).or_default() += 1.0;
    }
    jain_index(&shares.into_values().collect::<Vec<_>>())
}

/// The rows of a handover, committed by one caller without a decision.
struct Raw(Connection);

impl Raw {
    fn open(file: &Path) -> Done<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE locks (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
             CREATE TABLE paths (path TEXT, lock INTEGER, PRIMARY KEY (path, lock))
                 STRICT, WITHOUT ROWID;
             CREATE TABLE single (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
             INSERT INTO single VALUES (1, ''), (2, '');",
        )?;
        Ok(Self(connection))
    }

    fn commits_per_second(&self) -> Done<f64> {
        let body = "x".repeat(420);
        let begun = Instant::now();
        for number in 0..CYCLES {
            self.0.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut put = self
                .0
                .prepare_cached("INSERT OR REPLACE INTO locks VALUES (?1, ?2)")?;
            put.execute(params![number, body])?;
            self.0
                .prepare_cached("INSERT OR REPLACE INTO paths VALUES ('x', ?1)")?
                .execute([number])?;
            let before = number.saturating_sub(1);
            self.0
                .prepare_cached("DELETE FROM locks WHERE id = ?1")?
                .execute([before])?;
            self.0
                .prepare_cached("DELETE FROM paths WHERE path = 'x' AND lock = ?1")?
                .execute([before])?;
            let mut single = self
                .0
                .prepare_cached("UPDATE single SET body = ?2 WHERE id = ?1")?;
            single.execute(params![1, body])?;
            single.execute(params![2, body])?;
            self.0.prepare_cached("COMMIT")?.execute([])?;
        }
        Ok(per_second(CYCLES as usize, begun.elapsed().as_secs_f64()))
    }
}
