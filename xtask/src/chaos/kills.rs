//! Launches with somebody killed: no task may run twice, be lost, or stay running with nobody at
//! work, and no process may be left.

use std::{collections::BTreeMap, process::Child, thread, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{arena::Arena, census, dice::Dice};
use crate::shell;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Command,
    Runner,
    Daemon,
}

/// How many launches share an arena.
const BATCH: u32 = 25;

pub(crate) fn campaign(launches: u32, seed: u64) -> Result<()> {
    println!("chaos kills: {launches} launches, --seed {seed}");
    let mut dice = Dice::new(seed);
    let mut killed: BTreeMap<Victim, u32> = BTreeMap::new();
    let mut left = launches;
    while left > 0 {
        let batch = left.min(BATCH);
        self::batch(batch, &mut dice, &mut killed)
            .with_context(|| format!("repeat with: cargo xtask chaos kills --seed {seed}"))?;
        left -= batch;
    }
    println!("chaos kills: every task was done once; killed {killed:?}");
    Ok(())
}

fn batch(launches: u32, dice: &mut Dice, killed: &mut BTreeMap<Victim, u32>) -> Result<()> {
    let arena = Arena::new("kills", "0.05")?;
    let mut tasks = Vec::new();
    let mut daemon = None;
    for _ in 0..launches {
        tasks.push(arena.start()?);
        let victim = match dice.below(3) {
            0 => Victim::Command,
            1 => Victim::Runner,
            _ => Victim::Daemon,
        };
        let hit = match victim {
            Victim::Command => kill_command(&arena, dice)?,
            Victim::Runner => kill_runner(&arena, dice)?,
            Victim::Daemon => kill_daemon(&arena, dice, &mut daemon)?,
        };
        *killed.entry(victim).or_default() += u32::from(hit);
    }
    if let Some(mut daemon) = daemon {
        end(&mut daemon)?;
    }
    finish(&arena, &tasks)?;
    verify(&arena, &tasks)
}

fn end(child: &mut Child) -> Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn kill_command(arena: &Arena, dice: &mut Dice) -> Result<bool> {
    let mut run = arena.crewboss(&["run"]).spawn()?;
    thread::sleep(dice.pause(40));
    let alive = run.try_wait()?.is_none();
    end(&mut run)?;
    Ok(alive)
}

fn kill_runner(arena: &Arena, dice: &mut Dice) -> Result<bool> {
    let mut run = arena.crewboss(&["run"]).spawn()?;
    run.wait()?;
    thread::sleep(dice.pause(150));
    let runners = census::runners(&arena.home());
    let chosen = dice.below(runners.len() as u64);
    let Some(runner) = runners.get(usize::try_from(chosen)?) else {
        return Ok(false);
    };
    let kill = shell::program("kill")
        .args(["-KILL", &runner.pid.to_string()])
        .status()?;
    Ok(kill.success())
}

fn kill_daemon(arena: &Arena, dice: &mut Dice, daemon: &mut Option<Child>) -> Result<bool> {
    let mut running = match daemon.take() {
        Some(running) => running,
        None => arena
            .crewboss(&["daemon", "--max-concurrent", "2"])
            .spawn()?,
    };
    thread::sleep(dice.pause(120));
    if dice.below(3) == 0 {
        *daemon = Some(running);
        return Ok(false);
    }
    let alive = running.try_wait()?.is_none();
    end(&mut running)?;
    Ok(alive)
}

/// Lets a daemon bring everything to an end.
fn finish(arena: &Arena, tasks: &[String]) -> Result<()> {
    let mut daemon = arena
        .crewboss(&["daemon", "--max-concurrent", "4"])
        .spawn()?;
    let mut wait = vec!["wait", "--timeout", "180"];
    wait.extend(tasks.iter().map(String::as_str));
    let waited = arena.crewboss(&wait).status();
    shell::run(shell::program("kill").args(["-TERM", &daemon.id().to_string()]))?;
    daemon.wait()?;
    match waited?.code() {
        Some(124) => bail!("tasks are stuck: {}", arena.print(&["status"])?),
        _ => Ok(()),
    }
}

fn verify(arena: &Arena, tasks: &[String]) -> Result<()> {
    let log = arena.log()?;
    if let Some(double) = log.iter().find(|(word, ..)| word == "DOUBLE") {
        bail!("two agents of one task were alive at once: {double:?}");
    }
    for id in tasks {
        let task = arena.show(id)?;
        if task["status"] != "completed" {
            bail!("{id} is not completed: {task}");
        }
        let session = task["session"]["id"].as_str().unwrap_or_default();
        let of_task = || log.iter().filter(|(_, task, _)| task == id);
        let last_start = of_task().rfind(|(word, ..)| word == "start");
        if last_start.is_none_or(|(_, _, last)| last != session) {
            bail!("{id} was completed by {session}, but the last agent started was {last_start:?}");
        }
        if !of_task().any(|(word, _, ended)| word == "end" && ended == session) {
            bail!("{id} is completed, but its agent in {session} did not get to its end");
        }
    }
    // Runners of sessions that have ended say their last words: give them a moment.
    for _ in 0..100 {
        if census::residents(&arena.home()).is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!("processes are left: {:?}", census::residents(&arena.home()))
}
