//! The pieces of work that rounds are made of.

use std::{thread, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    claims::Claim,
    loss,
    moments::{Work, pick},
    round::{Fate, Round},
    settle,
};
use crate::chaos::dice::Dice;

/// So often something that is on its way is looked for, every 5 ms.
const LOOKS: u32 = 400;

pub(super) fn may_have_a_daemon(work: Work) -> bool {
    matches!(work, Work::Folder | Work::External | Work::Worktree)
}

pub(super) fn carry_out(round: &mut Round<'_>, dice: &mut Dice) -> Result<()> {
    match round.fault.work {
        Work::Folder => agent(round, dice, "folder"),
        Work::Worktree => agent(round, dice, "worktree"),
        Work::Recovery => recovery(round, dice),
        Work::External => external(round, dice),
        Work::Checkpoints => checkpoints(round, dice),
        Work::Upkeep => upkeep(round, dice),
        Work::Purging => loss::purging(round),
        Work::LostFolder => loss::of_a_folder(round),
        Work::LostStore => loss::of_the_store(round),
        Work::Restoring => loss::restoring(round),
    }
}

fn agent(round: &mut Round<'_>, dice: &mut Dice, mode: &str) -> Result<()> {
    let (name, fate) = match dice.below(4) {
        0 => ("bad", Fate::Fails),
        // An empty folder is removed, one with work in it stays.
        _ if round.fault.needs("folder-remove") => ("idle", Fate::Completes),
        _ => ("good", Fate::Completes),
    };
    let flags = ["--workspace", mode];
    let Some(id) = round.start(&[flags[0], flags[1], name, "work"], fate)? else {
        return Ok(());
    };
    if dice.below(3) == 0 {
        note(round, &id, "before it ran")?;
    }
    let ran = round.run(&["run", &id])?;
    if dice.below(3) == 0 {
        note(round, &id, "while it ran")?;
    }
    if ran.ok() {
        settle::until_quiet(round.stage)?;
        round.run(&["status"])?;
    }
    Ok(())
}

pub(super) fn note(round: &mut Round<'_>, id: &str, text: &str) -> Result<bool> {
    round.claim(&["note", id, text], || Claim::Noted {
        id: id.to_owned(),
        text: text.to_owned(),
    })
}

pub(super) fn decide(round: &mut Round<'_>, id: &str, text: &str) -> Result<bool> {
    let arguments = [
        "decision",
        "add",
        id,
        "--decision",
        text,
        "--reasoning",
        "it is\n\nso",
    ];
    round.claim(&arguments, || Claim::Decided {
        id: id.to_owned(),
        text: text.to_owned(),
    })
}

/// A runner is killed while its agent works; whoever comes next is under the fault.
fn recovery(round: &mut Round<'_>, dice: &mut Dice) -> Result<()> {
    let mode = *pick(dice, &["folder", "worktree"]);
    let flags = ["--workspace", mode, "slow", "work"];
    let Some(id) = round.start(&flags, Fate::Completes)? else {
        return Ok(());
    };
    if round.run(&["run", &id])?.ok() {
        until_started(round, &id, 1)?;
        let shown = round.stage.show(&id)?;
        if let Some(runner) = shown["session"]["runner_pid"].as_i64() {
            let runner = nix::unistd::Pid::from_raw(i32::try_from(runner)?);
            // It may have been the one to which the fault happened.
            let _ = nix::sys::signal::kill(runner, nix::sys::signal::Signal::SIGKILL);
        }
    }
    if dice.below(2) == 0 {
        round.stage.let_go(&id)?;
    }
    round.run(&["status"])?;
    round.stage.let_go(&id)?;
    round.run(&["run", &id])?;
    Ok(())
}

/// Whether so many agents of a task have begun, after a while.
fn until_started(round: &Round<'_>, id: &str, times: usize) -> Result<bool> {
    for _ in 0..LOOKS {
        let log = round.stage.log()?;
        let starts = log
            .iter()
            .filter(|(word, task, _)| word == "start" && task == id);
        if starts.count() >= times {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}

fn external(round: &mut Round<'_>, dice: &mut Dice) -> Result<()> {
    let Some(id) = round.start(&["good", "work", "--external"], Fate::Any)? else {
        return Ok(());
    };
    round.run(&["task", "attach", &id, "--agent", "good"])?;
    for number in 0..4 {
        note(round, &id, &format!("note {number}"))?;
        if number < 2 {
            decide(round, &id, &format!("decision {number}"))?;
        }
    }
    if round.fault.needs("packed") || dice.below(2) == 0 {
        // Enough for another file of the history.
        for number in 4..10 {
            note(round, &id, &format!("note {number}"))?;
        }
    }
    let (status, verb): (_, &[&str]) = *pick(
        dice,
        &[
            ("completed", &["task", "complete"][..]),
            ("failed", &["task", "fail"]),
            ("cancelled", &["cancel"]),
        ],
    );
    let arguments: Vec<&str> = verb.iter().copied().chain([id.as_str()]).collect();
    let ended = round.claim(&arguments, || Claim::Ended {
        id: id.clone(),
        status,
    })?;
    if ended && status == "failed" {
        let retry = round.run(&["retry", &id, "--json"])?;
        if retry.ok() {
            let by = text(&retry.json()?, "id");
            round.claims.push(Claim::Retried {
                id: id.clone(),
                by: by.clone(),
            });
            round.claim(&["cancel", &by], || Claim::Ended {
                id: by.clone(),
                status: "cancelled",
            })?;
        }
    }
    Ok(())
}

fn text(of: &Value, name: &str) -> String {
    of[name].as_str().unwrap_or_default().to_owned()
}

fn checkpoints(round: &mut Round<'_>, dice: &mut Dice) -> Result<()> {
    let mode = *pick(dice, &["folder", "worktree"]);
    let flags = ["--workspace", mode, "slow", "work"];
    let Some(id) = round.start(&flags, Fate::Completes)? else {
        return Ok(());
    };
    decide(round, &id, "to be kept")?;
    let is_at_work = round.run(&["run", &id])?.ok() && until_started(round, &id, 1)?;
    let mut made = Vec::new();
    for _ in 0..2 {
        if !is_at_work {
            break;
        }
        let ran = round.run(&["checkpoint", "create", &id, "--json"])?;
        if ran.ok() {
            made.push(text(&ran.json()?, "id"));
        }
    }
    if let Some(first) = made.first()
        && (round.fault.needs("rewound") || dice.below(4) == 0)
    {
        // The task itself goes back, and whoever works on it is ended.
        round.run(&["checkpoint", "restore", first])?;
    }
    round.stage.let_go(&id)?;
    settle::until_quiet(round.stage)?;
    round.run(&["status"])?;
    if let Some(first) = made.first().filter(|_| dice.below(2) == 0) {
        let verb = *pick(dice, &["restore", "fork"]);
        let ran = round.run(&["checkpoint", verb, first, "--json"])?;
        if ran.ok() {
            let copy = text(&ran.json()?, "id");
            if !copy.is_empty() {
                round.stage.let_go(&copy)?;
                round.claims.push(Claim::Task { id: copy.clone() });
                round.claims.push(Claim::Decided {
                    id: copy,
                    text: "to be kept".to_owned(),
                });
            }
        }
    }
    let deletes = [
        "checkpoint-hidden",
        "checkpoint-dropped",
        "checkpoint-remove",
        "reference-remove",
    ];
    if (deletes.iter().any(|point| round.fault.needs(point)) || dice.below(2) == 0)
        && let Some(last) = made.pop()
    {
        round.claim(&["checkpoint", "delete", &last], || Claim::Dropped {
            task: id.clone(),
            checkpoint: last.clone(),
        })?;
    }
    let kept = made
        .into_iter()
        .map(|checkpoint| Claim::Kept { checkpoint });
    round.claims.extend(kept);
    Ok(())
}

fn upkeep(round: &mut Round<'_>, dice: &mut Dice) -> Result<()> {
    let goes = round.start(&["good", "work", "--external"], Fate::Goes)?;
    if let Some(id) = &goes {
        round.run(&["cancel", id])?;
    }
    if round.fault.needs("key") || dice.below(2) == 0 {
        round.run(&["audit", "rotate-key"])?;
    }
    round.run(&["audit", "head"])?;
    let file = round.stage.new_file("copy");
    let name = file.display().to_string();
    // A copy has all of it or is not there, whatever was said.
    if round.run(&["store", "backup", &name])?.ok() || file.exists() {
        round.claims.push(Claim::Copied { file });
    }
    if dice.below(3) == 0 {
        round.run(&["archive", "--force", "--yes"])?;
    }
    if let Some(id) = goes {
        let task = round
            .claims
            .iter()
            .position(|claim| matches!(claim, Claim::Task { id: known } if *known == id));
        if let Some(task) = task {
            round.claims.remove(task);
        }
        let purges = round.fault.needs("task-folder") || dice.below(2) == 0;
        let verb: &[&str] = if purges {
            &["clean", &id, "--yes", "--purge"]
        } else {
            &["clean", &id, "--yes"]
        };
        // Where it could not be cancelled there is nothing to be deleted.
        let cleaned = round.run(verb)?;
        if !cleaned.ok() || !cleaned.out.starts_with("Cleaned up") {
            return Ok(());
        }
        if purges {
            round.claims.push(Claim::Purged { id });
        } else if dice.below(2) == 0 {
            round.claims.push(Claim::Deleted { id });
        } else if round.run(&["task", "undelete", &id])?.ok() {
            round.claims.push(Claim::Ended {
                id,
                status: "cancelled",
            });
        }
    }
    Ok(())
}
