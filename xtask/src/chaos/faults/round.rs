//! One round: work under a fault, recovery, judgement.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    claims::Claim,
    moments::{Fault, STORE_BYTE, What},
    report::Fired,
    settle,
    stage::{Ran, Stage},
    work,
};
use crate::{chaos::dice::Dice, shell};

/// What a round has come to so far.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) stage: &'a Stage,
    pub(super) fault: Fault,
    pub(super) counter: PathBuf,
    pub(super) claims: Vec<Claim>,
    pub(super) tasks: Vec<Task>,
    /// Whether a command to which the fault might happen did not succeed.
    was_refused: AtomicBool,
}

/// A task whose id was told, and what has to become of it.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) id: String,
    pub(super) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its agent does its work.
    Completes,
    /// Its agent fails.
    Fails,
    /// It has no agent of ours.
    Any,
    /// It may be deleted.
    Goes,
}

impl Round<'_> {
    /// A command that the fault may happen to.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Ran> {
        let ran = self.stage.armed(&self.fault, &self.counter, arguments)?;
        if !ran.ok() {
            self.was_refused.store(true, Ordering::Relaxed);
        }
        Ok(ran)
    }

    /// The same, whose success is a claim.
    pub(super) fn claim(
        &mut self,
        arguments: &[&str],
        claim: impl FnOnce() -> Claim,
    ) -> Result<bool> {
        let ran = self.run(arguments)?;
        if ran.ok() {
            self.claims.push(claim());
        }
        Ok(ran.ok())
    }

    /// Queues a task; its id, where that was told.
    pub(super) fn start(&mut self, arguments: &[&str], fate: Fate) -> Result<Option<String>> {
        let arguments: Vec<&str> = ["start"].iter().chain(arguments).copied().collect();
        let Some(id) = self.run(&arguments)?.id()? else {
            return Ok(None);
        };
        self.tasks.push(Task {
            id: id.clone(),
            fate,
        });
        self.claims.push(Claim::Task { id: id.clone() });
        Ok(Some(id))
    }

    /// Whether the system was made to say that something failed.
    pub(super) fn fails(&self) -> bool {
        matches!(self.fault.what, What::InputOutput | What::NoSpace)
    }

    fn fired(&self) -> bool {
        if self.fault.moment.point == STORE_BYTE {
            return self.was_refused.load(Ordering::Relaxed);
        }
        fs::metadata(&self.counter).is_ok_and(|counter| counter.len() >= self.fault.hit)
    }
}

/// Works, recovers, checks. Answers whether the fault came, and what is to hold from now on.
pub(super) fn run(stage: &Stage, fault: Fault, dice: &mut Dice) -> Result<(Fired, Vec<Claim>)> {
    let mut round = Round {
        stage,
        counter: stage.new_file("counter"),
        fault,
        claims: vec![],
        tasks: vec![],
        was_refused: AtomicBool::new(false),
    };
    let watch = shell::start_watch();
    let has_daemon = work::may_have_a_daemon(round.fault.work) && dice.below(5) == 0;
    let mut daemon = has_daemon.then(|| Daemon::start(&round)).transpose()?;
    let is_over = AtomicBool::new(false);
    let worked = thread::scope(|scope| {
        if matches!(round.fault.what, What::Stall(_)) {
            scope.spawn(|| others(stage, &is_over));
        }
        let worked = work::carry_out(&mut round, dice);
        is_over.store(true, Ordering::Relaxed);
        worked
    });
    if let Some(daemon) = &mut daemon {
        daemon.end()?;
    }
    worked.context("at work")?;
    settle::settle(&round).context("recovering")?;
    for claim in &round.claims {
        claim.check(stage)?;
    }
    settle::judge(&round)?;
    let fired = Fired {
        moment: round.fault.moment.clone(),
        what: round.fault.what,
        work: round.fault.work,
        came: round.fired(),
        has_daemon,
        claims: round.claims.len(),
        took: watch.elapsed(),
    };
    drop(fs::remove_file(&round.counter));
    Ok((fired, round.claims))
}

/// Somebody else who uses the store while one process stands still.
fn others(stage: &Stage, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        drop(stage.run(&["status"]));
        drop(stage.run(&["index", "rebuild"]));
    }
}

/// A daemon to which the fault may happen too.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    fn start(round: &Round<'_>) -> Result<Self> {
        let arguments = ["daemon", "--max-concurrent", "1"];
        let mut command: Command = round.stage.aimed(&round.fault, &round.counter, &arguments);
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        let daemon = Self(command.spawn()?);
        thread::sleep(Duration::from_millis(60));
        Ok(daemon)
    }

    fn end(&mut self) -> Result<()> {
        if self.0.try_wait()?.is_none() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id())?);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Where a round fails in between.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
