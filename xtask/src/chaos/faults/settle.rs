//! Bringing everything up again by ordinary commands, and judging what there is then.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    round::{Fate, Round, Task},
    stage::Stage,
};
use crate::chaos::census;

/// So often a task is started again until it has ended.
const STARTS: u32 = 6;

/// Nothing happens to anybody from now on.
pub(super) fn settle(round: &Round<'_>) -> Result<()> {
    let stage = round.stage;
    stage.must(&["status"])?;
    for task in &round.tasks {
        if matches!(task.fate, Fate::Completes | Fate::Fails) {
            stage.let_go(&task.id)?;
            until_ended(stage, &task.id)?;
        }
    }
    cancel_the_rest(stage)?;
    until_deserted(stage)?;
    // The next change carries out what earlier ones owe.
    stage.must(&["run"])?;
    stage.must(&["index", "rebuild"])?;
    stage.must(&["doctor", "--resources", "--sweep"])?;
    Ok(())
}

/// Tasks that were queued and whose ids nobody was told, and those of agents outside.
fn cancel_the_rest(stage: &Stage) -> Result<()> {
    let open = [
        "status", "--state", "pending", "--state", "running", "--limit", "1000", "--json",
    ];
    let listed = stage.must(&open)?.json()?;
    let tasks = listed["tasks"].as_array().into_iter().flatten();
    for id in tasks.filter_map(|task| task["id"].as_str()) {
        stage.let_go(id)?;
        stage.must(&["cancel", id])?;
    }
    Ok(())
}

fn until_ended(stage: &Stage, id: &str) -> Result<()> {
    for _ in 0..STARTS {
        if is_terminal(&stage.show(id)?["status"]) {
            return Ok(());
        }
        // It may run, or wait to be found.
        stage.run(&["run", id])?;
        until_quiet(stage)?;
    }
    bail!("{id} does not come to an end: {:#}", stage.show(id)?)
}

fn is_terminal(status: &Value) -> bool {
    ["completed", "failed", "cancelled"]
        .iter()
        .any(|one| status == one)
}

/// Waits until no runner is left. A task may wait then for somebody to start it again.
pub(super) fn until_quiet(stage: &Stage) -> Result<()> {
    for _ in 0..6_000 {
        if census::runners(&stage.home()).is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("runners are left: {:?}", census::runners(&stage.home()))
}

fn until_deserted(stage: &Stage) -> Result<()> {
    for _ in 0..2_000 {
        if census::residents(&stage.home()).is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("processes are left: {:?}", census::residents(&stage.home()))
}

/// What must hold whatever happened.
pub(super) fn judge(round: &Round<'_>) -> Result<()> {
    let stage = round.stage;
    for task in round.tasks.iter().filter(|task| task.fate != Fate::Goes) {
        self::task(round, task).with_context(|| task.id.clone())?;
    }
    everything(stage)
}

/// What must hold of the whole store.
pub(super) fn everything(stage: &Stage) -> Result<()> {
    let log = stage.log()?;
    let mut started = BTreeSet::new();
    for (word, task, session) in &log {
        if word == "DOUBLE" {
            bail!("two agents of {task} were alive at once");
        }
        if word == "start" && !started.insert(session) {
            bail!("two agents were started under {session}");
        }
    }
    stage.must(&["audit", "verify"])?;
    stage.must(&["index", "verify"])?;
    stage.must(&["store", "check"])?;
    stage.must(&["doctor", "--resources"])?;
    Ok(())
}

fn task(round: &Round<'_>, task: &Task) -> Result<()> {
    let stage = round.stage;
    let shown = stage.show(&task.id)?;
    let is_expected = match task.fate {
        // What the system refuses may make a task fail.
        Fate::Completes if round.fails() => is_terminal(&shown["status"]),
        Fate::Completes => shown["status"] == "completed",
        Fate::Fails => shown["status"] == "failed",
        Fate::Any | Fate::Goes => true,
    };
    if !is_expected {
        bail!("it should have ended otherwise: {shown:#}");
    }
    stage.must(&["history", &task.id, "--verify"])?;
    image(stage, &shown)?;
    if shown["status"] == "completed" && task.fate == Fate::Completes {
        completed(stage, &shown)?;
    }
    Ok(())
}

/// The folder shows what the store has.
fn image(stage: &Stage, shown: &Value) -> Result<()> {
    let id = shown["id"].as_str().unwrap_or_default();
    let file = stage
        .project()
        .join(format!(".crewboss/tasks/{id}/state.json"));
    let image: Value = serde_json::from_slice(&fs::read(&file)?)?;
    if image["version"] != shown["version"] || image["status"] != shown["status"] {
        bail!("its folder shows {image:#}, the store has {shown:#}");
    }
    Ok(())
}

/// The last agent did the work, under the session that has it, and its branch moved once.
fn completed(stage: &Stage, shown: &Value) -> Result<()> {
    let (id, session) = (&shown["id"], &shown["session"]["id"]);
    let log = stage.log()?;
    let of_task = || log.iter().filter(|(_, task, _)| id == task.as_str());
    let last = of_task().rfind(|(word, ..)| word == "start");
    if last.is_none_or(|(_, _, last)| session != last.as_str()) {
        bail!("completed by {session}, but the last agent started was {last:?}");
    }
    if !of_task().any(|(word, _, ended)| word == "end" && session == ended.as_str()) {
        bail!("completed by {session}, whose agent did not get to its end");
    }
    let Some(branch) = shown["branch"].as_str() else {
        return Ok(());
    };
    let commits = stage.git(&["rev-list", "--count", &format!("main..{branch}")])?;
    // One that went back stands on its checkpoint.
    let is_expected = match commits.trim() {
        "1" => true,
        "2" => !shown["continues"].is_null(),
        _ => false,
    };
    if !is_expected {
        bail!("{branch} has {} commits", commits.trim());
    }
    let work = stage.git(&["show", &format!("{branch}:result.txt")])?;
    if session != work.trim() {
        bail!("{branch} holds the work of {}", work.trim());
    }
    Ok(())
}
