//! What was lost or is thrown away, and what is done about it. Whoever is interrupted there is made
//! good by saying the same again.

use std::fs;

use anyhow::Result;

use super::{
    claims::Claim,
    round::{Fate, Round},
    settle,
    work::{decide, note},
};

/// A task that no agent of ours works on, with a decision, cancelled; its id where that was told.
fn ended(round: &mut Round<'_>) -> Result<Option<String>> {
    let Some(id) = round.start(&["good", "work", "--external"], Fate::Any)? else {
        return Ok(None);
    };
    decide(round, &id, "before it was lost")?;
    round.claim(&["cancel", &id], || Claim::Ended {
        id: id.clone(),
        status: "cancelled",
    })?;
    Ok(Some(id))
}

/// A task whose work is on a branch and in a checkpoint goes for good: the work stays.
pub(super) fn purging(round: &mut Round<'_>) -> Result<()> {
    let flags = ["--workspace", "worktree", "good", "work"];
    let Some(id) = round.start(&flags, Fate::Goes)? else {
        return Ok(());
    };
    round.run(&["run", &id])?;
    settle::until_quiet(round.stage)?;
    round.run(&["checkpoint", "create", &id])?;
    let shown = round.stage.show(&id)?;
    // Whoever deletes it may be killed before it says so.
    let its_own = |claim: &Claim| matches!(claim, Claim::Task { id: known } if *known == id);
    round.claims.retain(|claim| !its_own(claim));
    if !round.run(&["task", "delete", &id])?.ok() {
        return Ok(());
    }
    let commit = shown["session"]["commit"].as_str().map(str::to_owned);
    let is_purged = round.run(&["task", "purge", &id, "--yes"])?.ok();
    if !is_purged {
        // Before its rows are gone it has to be named again, after that nobody can.
        round.stage.run(&["task", "purge", &id, "--yes"])?;
        round.stage.must(&["task", "purge", "--yes"])?;
    }
    let commit = commit.map(|commit| Claim::Salvaged { commit });
    round.claims.extend(commit);
    round.claims.push(Claim::Purged { id });
    Ok(())
}

/// What is in the folder alone is lost with it; what the store has comes back.
pub(super) fn of_a_folder(round: &mut Round<'_>) -> Result<()> {
    let Some(id) = ended(round)? else {
        return Ok(());
    };
    settle::settle(round)?;
    fs::remove_dir_all(round.stage.project().join(".crewboss/tasks").join(&id))?;
    repeated(round, &["repair"])
}

pub(super) fn of_the_store(round: &mut Round<'_>) -> Result<()> {
    let Some(id) = ended(round)? else {
        return Ok(());
    };
    note(round, &id, "before it was lost")?;
    settle::settle(round)?;
    let home = round.stage.home().join("crewboss");
    for name in ["crewboss.db", "crewboss.db-wal", "crewboss.db-shm"] {
        let file = home.join(name);
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    repeated(round, &["repair", "--from-folders"])
}

pub(super) fn restoring(round: &mut Round<'_>) -> Result<()> {
    if ended(round)?.is_none() {
        return Ok(());
    }
    settle::settle(round)?;
    let copy = round.stage.new_file("copy").display().to_string();
    round.stage.must(&["store", "backup", &copy])?;
    repeated(round, &["store", "restore", &copy, "--yes"])
}

/// Under the fault, and again where it did not end well.
fn repeated(round: &Round<'_>, arguments: &[&str]) -> Result<()> {
    if !round.run(arguments)?.ok() {
        round.stage.must(arguments)?;
    }
    Ok(())
}
