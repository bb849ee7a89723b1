//! Several nodes on one PostgreSQL, each with a home, a clone and a network of its own, while they,
//! their runners and the server are killed, stopped and woken up at random. Then the log is read:
//! nothing was lost, nothing ran twice at once, nothing late was taken, no cap was exceeded at any
//! instant, and what is on the shared repository is what was accepted.

mod fleet;
mod history;
mod server;
mod thousand;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

pub(crate) use self::thousand::thousand;
use self::{
    fleet::{Fleet, Node, Scale},
    server::Server,
};
use super::dice::Dice;
use crate::shell;

/// The faults of a full campaign.
pub(crate) const FAULTS: u32 = 2_000;

/// Nodes that take part.
const NODES: usize = 3;

/// Little at once, so that caps are met all the time, and short leases, so that they end.
const SCALE: Scale = Scale {
    store_max: 7,
    capacity: 3,
    agent_max: 4,
    project_max: 6,
    lease_seconds: 3,
};

/// Tasks that wait at any time while faults go on.
const WAITING: usize = 12;

/// What happens to a node, or to the server behind all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    NodeKilled,
    DaemonKilled,
    RunnerKilled,
    NodeStopped,
    DaemonStopped,
    RunnerStopped,
    NodeDrained,
    ServerKilled,
    ServerRestarted,
}

/// What all threads of a campaign share.
struct Campaign<'a> {
    fleet: &'a Fleet,
    left: AtomicU32,
    over: AtomicBool,
    done: Mutex<BTreeMap<Fault, u32>>,
    wrong: Mutex<Option<anyhow::Error>>,
}

pub(crate) fn campaign(faults: u32, seed: u64) -> Result<()> {
    println!("chaos nodes: {faults} faults on {NODES} nodes and their server, --seed {seed}");
    let Some(server) = Server::start()? else {
        println!("SKIPPED chaos nodes: PostgreSQL is not installed (Debian's package postgresql)");
        return Ok(());
    };
    let watch = shell::start_watch();
    let fleet = Fleet::new(server, NODES, SCALE)?;
    let result = rage(&fleet, faults, seed).and_then(|done| {
        let tasks = settle(&fleet)?;
        let seen = history::check(&fleet, &tasks)?;
        Ok((done, tasks.len(), seen))
    });
    fleet.end();
    let (done, tasks, seen) =
        result.with_context(|| format!("repeat with: cargo xtask chaos nodes --seed {seed}"))?;
    println!(
        "chaos nodes: {tasks} tasks done once each, in {} sessions of which {} were lost; {} events; at \
         most {} sessions at once of {} allowed; {done:?}; {} s",
        seen.sessions,
        seen.orphaned,
        seen.events,
        seen.most,
        SCALE.store_max,
        watch.elapsed().as_secs()
    );
    Ok(())
}

/// All threads at once, until so many faults were made.
fn rage(fleet: &Fleet, faults: u32, seed: u64) -> Result<BTreeMap<Fault, u32>> {
    let campaign = Campaign {
        fleet,
        left: AtomicU32::new(faults),
        over: AtomicBool::new(false),
        done: Mutex::default(),
        wrong: Mutex::default(),
    };
    thread::scope(|scope| {
        for (number, node) in fleet.nodes.iter().enumerate() {
            let dice = Dice::new(seed ^ (0x9E37_79B9 * (number as u64 + 1)));
            let campaign = &campaign;
            scope.spawn(move || campaign.watched(|| campaign.haunt(node, dice)));
        }
        let dice = Dice::new(seed ^ 0x5E_4E_4B);
        scope.spawn(|| campaign.watched(|| campaign.shake(dice)));
        scope.spawn(|| campaign.feed());
    });
    let wrong = campaign.wrong.into_inner();
    match wrong.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(campaign
            .done
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)),
    }
}

impl Campaign<'_> {
    /// What goes wrong in one thread ends all.
    fn watched(&self, work: impl FnOnce() -> Result<()>) {
        if let Err(error) = work() {
            self.over.store(true, Ordering::SeqCst);
            self.wrong
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
        }
    }

    /// Takes one of the faults that are left.
    fn next(&self, fault: Fault, whom: &str) -> bool {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if taken.is_err() || self.over.load(Ordering::SeqCst) {
            self.over.store(true, Ordering::SeqCst);
            return false;
        }
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done.entry(fault).or_default() += 1;
        let count: u32 = done.values().sum();
        drop(done);
        self.fleet.note(&format!("{fault:?} {whom}"));
        if count.is_multiple_of(250) {
            println!("chaos nodes: {count} faults");
        }
        true
    }

    fn haunt(&self, node: &Node, mut dice: Dice) -> Result<()> {
        let mut serving = Some(node.serve()?);
        loop {
            thread::sleep(dice.pause(900));
            let fault = match dice.below(20) {
                0..=2 => Fault::NodeKilled,
                3..=5 => Fault::DaemonKilled,
                6..=10 => Fault::RunnerKilled,
                11..=12 => Fault::NodeStopped,
                13..=14 => Fault::DaemonStopped,
                15..=18 => Fault::RunnerStopped,
                _ => Fault::NodeDrained,
            };
            if !self.next(fault, &node.name) {
                node.wake();
                return Ok(());
            }
            let past_lease = Duration::from_millis(1_000 * SCALE.lease_seconds);
            match fault {
                Fault::NodeKilled => {
                    node.signal_all("KILL");
                    if let Some(mut child) = serving.take() {
                        child.wait()?;
                    }
                    thread::sleep(dice.pause(2_000));
                    serving = Some(node.serve()?);
                }
                Fault::DaemonKilled => {
                    if let Some(mut child) = serving.take() {
                        child.kill()?;
                        child.wait()?;
                    }
                    thread::sleep(dice.pause(1_000));
                    serving = Some(node.serve()?);
                }
                Fault::RunnerKilled => node.signal_runner("KILL", &mut dice),
                Fault::RunnerStopped => {
                    node.signal_runner("STOP", &mut dice);
                    thread::sleep(dice.pause(1_500));
                    node.wake();
                }
                Fault::NodeStopped => {
                    node.signal_all("STOP");
                    thread::sleep(past_lease / 2 + dice.pause(1_000 * SCALE.lease_seconds));
                    node.wake();
                }
                Fault::DaemonStopped => {
                    if let Some(child) = &serving {
                        fleet::signal(child.id(), "STOP");
                    }
                    thread::sleep(dice.pause(3_000));
                    node.wake();
                }
                _ => {
                    if let Some(mut child) = serving.take() {
                        fleet::signal(child.id(), "TERM");
                        child.wait()?;
                    }
                    serving = Some(node.serve()?);
                }
            }
            // A server that was away may have ended it.
            let has_ended = match &mut serving {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            if has_ended {
                serving = Some(node.serve()?);
            }
        }
    }

    fn shake(&self, mut dice: Dice) -> Result<()> {
        loop {
            thread::sleep(Duration::from_millis(1_500) + dice.pause(5_000));
            let fault = match dice.below(2) {
                0 => Fault::ServerKilled,
                _ => Fault::ServerRestarted,
            };
            if !self.next(fault, "") {
                return Ok(());
            }
            let mut server = self.fleet.server();
            server.stop(if fault == Fault::ServerKilled {
                "KILL"
            } else {
                "INT"
            })?;
            thread::sleep(dice.pause(600));
            server.run()?;
        }
    }

    /// Keeps tasks waiting, each of one of two agents.
    fn feed(&self) {
        let mut made = 0;
        while !self.over.load(Ordering::SeqCst) {
            if self.fleet.waiting() < WAITING {
                made += 1;
                self.fleet.create(made);
            } else {
                thread::sleep(Duration::from_millis(200));
            }
        }
    }
}

/// Lets all nodes bring everything to an end; answers the tasks.
fn settle(fleet: &Fleet) -> Result<Vec<String>> {
    fleet.calm()?;
    let patience = 600;
    for _ in 0..patience * 2 {
        let open = fleet.count("status IN (0, 1)");
        if open == Some(0) {
            return Ok(fleet.tasks());
        }
        thread::sleep(Duration::from_millis(500));
    }
    bail!("tasks are stuck: {}", fleet.said())
}
