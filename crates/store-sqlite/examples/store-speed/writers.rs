//! Many writers in several processes, none of which owns the store.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use app::{
    ports::store::Store as _,
    query::{Query, View},
};
use store_sqlite::SqliteStore;
use testkit::contract::{
    clock::ManualClock,
    world::{create_command, request, work},
};

use crate::{
    Done, Place,
    measure::{per_second, together},
};

const OPERATIONS: usize = 10_000;
const WRITERS: [usize; 4] = [10, 25, 50, 100];
const PROCESSES: usize = 5;

pub(crate) fn rows(folder: &Path) -> Done<serde_json::Value> {
    let mut measured = serde_json::Map::new();
    for writers in WRITERS {
        let rate = several_processes(folder, writers)?;
        measured.insert(format!("writers_{writers}_per_second"), rate.into());
    }
    Ok(measured.into())
}

fn several_processes(folder: &Path, writers: usize) -> Done<f64> {
    let place = Place::new(folder)?;
    let path = place.path("store.db");
    let (_, project) = place.store()?;
    let (threads, each) = (writers / PROCESSES, OPERATIONS / writers);
    let begun = Instant::now();
    let mut children = vec![];
    for _ in 0..PROCESSES {
        let mut writer = Command::new(std::env::current_exe()?);
        writer.arg("writer").arg(&path);
        writer.args([threads.to_string(), each.to_string()]);
        children.push(writer.stdout(Stdio::null()).spawn()?);
    }
    for mut child in children {
        if !child.wait()?.success() {
            return Err(format!("one of {writers} writers failed").into());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let store = SqliteStore::open(&path, Arc::new(ManualClock::default()))?;
    let View::Counts { counts } = store.read(&Query::Counts { project })? else {
        return Err("counting answers counts".into());
    };
    let created: u64 = counts.values().sum();
    if created != u64::try_from(OPERATIONS)? {
        return Err(format!("{created} tasks of {OPERATIONS}").into());
    }
    Ok(per_second(OPERATIONS, seconds))
}

/// A process with threads of which each opens the store for itself.
pub(crate) fn one_process(path: &Path, threads: usize, each: usize) -> Done<()> {
    together(threads, 1, || {
        let store = SqliteStore::open(path, Arc::new(ManualClock::default()))?;
        let project = crate::project_of(&store)?;
        for _ in 0..each {
            store.execute(request(create_command(project, work("work"))))?;
        }
        Ok(())
    })?;
    Ok(())
}
