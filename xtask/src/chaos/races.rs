//! Two at once: `run` against `run`, and many `start`.

use std::{collections::BTreeSet, process::Stdio};

use anyhow::{Result, bail};

use super::arena::{Arena, id_in};

/// How many pairs share an arena.
const BATCH: u32 = 100;

/// Two `run` on one pending task: one of them launches it.
pub(crate) fn pairs(count: u32) -> Result<()> {
    println!("chaos pairs: {count} pairs of `run` on one pending task");
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        let arena = Arena::new("pairs", "0")?;
        for _ in 0..batch {
            pair(&arena)?;
        }
        left -= batch;
    }
    println!("chaos pairs: one launch each");
    Ok(())
}

fn pair(arena: &Arena) -> Result<()> {
    let id = arena.start()?;
    let runs = [
        arena.crewboss(&["run"]).stdout(Stdio::piped()).spawn()?,
        arena.crewboss(&["run"]).stdout(Stdio::piped()).spawn()?,
    ];
    let mut launches = 0;
    for run in runs {
        let output = run.wait_with_output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        if printed.contains("Started task") {
            if id_in(&printed)? != id {
                bail!("`run` started another task than {id}: {printed}");
            }
            launches += 1;
        } else if !printed.contains("No pending tasks") {
            bail!("`run` said something else: {printed:?} ({})", output.status);
        }
    }
    if launches != 1 {
        bail!("{id} was launched {launches} times");
    }
    arena.print(&["wait", "--timeout", "60", &id])?;
    let starts = arena
        .log()?
        .into_iter()
        .filter(|(word, task, _)| word == "start" && *task == id);
    let starts = starts.count();
    if starts != 1 {
        bail!("the agent of {id} started {starts} times");
    }
    Ok(())
}

/// Many `start` at once: as many tasks, all different.
pub(crate) fn starts(count: u32) -> Result<()> {
    println!("chaos starts: {count} `start` at once");
    let arena = Arena::new("starts", "0")?;
    let mut running = Vec::new();
    for _ in 0..count {
        let mut command = arena.crewboss(&["start", "witness", "work"]);
        running.push(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?,
        );
    }
    let mut ids = BTreeSet::new();
    for start in running {
        let output = start.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "`start` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        ids.insert(id_in(&String::from_utf8_lossy(&output.stdout))?);
    }
    if ids.len() != usize::try_from(count)? {
        bail!("{count} `start` gave {} ids", ids.len());
    }
    for id in &ids {
        if arena.show(id)?["status"] != "pending" {
            bail!("{id} is not pending");
        }
    }
    println!("chaos starts: {} tasks, all different", ids.len());
    Ok(())
}

/// Three ways to end a task, each taken twice at the same moment: one of the six is accepted.
pub(crate) fn ends(count: u32) -> Result<()> {
    println!("chaos ends: {count} times six processes that end one task in three ways");
    let mut left = count;
    while left > 0 {
        let batch = left.min(BATCH);
        let arena = Arena::new("ends", "0")?;
        for round in 0..batch {
            one_end(&arena, round)?;
        }
        arena.print(&["audit", "verify"])?;
        left -= batch;
    }
    println!("chaos ends: one accepted each, and the log is whole");
    Ok(())
}

fn one_end(arena: &Arena, round: u32) -> Result<()> {
    let id = id_in(&arena.print(&["start", "witness", "work", "--external"])?)?;
    arena.print(&["task", "attach", &id, "--agent", "witness"])?;
    let mut ways: [(&str, &[&str]); 3] = [
        ("completed", &["task", "complete"]),
        ("failed", &["task", "fail"]),
        ("cancelled", &["cancel"]),
    ];
    ways.rotate_left(usize::try_from(round % 3)?);
    let mut running = Vec::new();
    for (status, verb) in ways.iter().chain(&ways) {
        let mut command = arena.crewboss(verb);
        command.arg(&id).stdout(Stdio::null()).stderr(Stdio::null());
        running.push((*status, command.spawn()?));
    }
    let mut accepted = Vec::new();
    for (status, mut process) in running {
        match process.wait()?.code() {
            Some(0) => accepted.push(status),
            Some(4) => {}
            other => bail!("whoever says that {id} is {status} ended with {other:?}"),
        }
    }
    let shown = arena.show(&id)?;
    match accepted.as_slice() {
        [status] if shown["status"] == *status => Ok(()),
        _ => bail!("{id} is {}, accepted were {accepted:?}", shown["status"]),
    }
}
