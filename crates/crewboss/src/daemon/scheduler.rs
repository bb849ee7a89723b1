//! Starts what is ready, as soon as it is, and recovers what is lost.

use std::{collections::HashSet, fmt, sync::Arc, thread, time::Duration};

use app::{
    command::{Command, Meta, Output, Request},
    crash_points::CrashPoint,
    error::Error,
    nodes::projects_here,
    ports::{clock::Clock, processes::Processes, store::Store},
    query::{Query, View},
    reconcile::{Finding, Reconciler},
};
use domain::{
    id::{NodeId, ProjectId, SessionId, TaskId},
    plan::Policy,
    process::ProcessIdentity,
    project::Project,
    session::Session,
    task::Task,
};

use super::{
    bell::{Bell, Heard},
    pauses::Pauses,
};

/// The terms under which a project's tasks are started.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Its limits.
    pub(crate) policy: Policy,
    /// How long a session may stay silent.
    pub(crate) lease_millis: u64,
}

/// What the scheduler asks of the rest of the program.
pub(crate) trait Hands: Send + Sync + fmt::Debug {
    /// The terms of a project, from its configuration as it is now.
    fn terms(&self, project: &Project) -> Result<Terms, String>;
    /// Starts a runner.
    fn launch(
        &self,
        project: &Project,
        session: &Session,
        task: &Task,
    ) -> Result<ProcessIdentity, String>;
    /// Brings the images of tasks up to date and does what else is due now and then.
    fn keep_house(&self);
    /// Finishes the checkpoints of a project that were cut off; answers how many there were.
    fn finish_checkpoints(&self, project: &Project) -> u32;
    /// Writes into the folder of a project what happened to the project itself.
    fn tell_project(&self, project: &Project);
    /// Says something to whoever watches the daemon.
    fn say(&self, line: &str);
    /// Says that something is wrong.
    fn warn(&self, line: &str);
}

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Sessions of which it was said that they cannot be recovered yet.
    told: HashSet<SessionId>,
    /// Projects in which no runner could be started.
    pauses: Pauses,
}

/// What came of starting runners.
#[derive(Debug, Default)]
struct Launching {
    any_started: bool,
    /// The first task without a runner, and why.
    refused: Option<(TaskId, String)>,
}

/// The daemon's one loop.
#[derive(Debug)]
pub(crate) struct Scheduler {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) processes: Arc<dyn Processes>,
    pub(crate) reconciler: Reconciler,
    pub(crate) hands: Arc<dyn Hands>,
    pub(crate) meta: Meta,
    pub(crate) bell: Arc<Bell>,
    /// The longest silence: a safety net for commits of processes that do not ask the daemon.
    pub(crate) interval: Duration,
}

impl Scheduler {
    /// Works until the bell is closed.
    pub(crate) fn run(&self) {
        let mut heard = 0;
        let mut memory = Memory::default();
        if let Err(error) = self.take_over(&mut memory) {
            self.hands.warn(&error.to_string());
        }
        self.watch_runners();
        loop {
            let pause = self.turn(&mut memory).unwrap_or_else(|error| {
                self.hands.warn(&error.to_string());
                self.interval
            });
            match self.bell.wait(heard, pause) {
                Heard::Ring(rings) => heard = rings,
                Heard::Silence => {}
                Heard::Closed => return,
            }
        }
    }

    /// One look at everything; answers how long nothing is due.
    fn turn(&self, memory: &mut Memory) -> Result<Duration, Error> {
        for finding in self.reconciler.run(None)? {
            self.report(&finding, memory);
        }
        let mut pause = self.interval;
        for project in self.projects()? {
            if let Some(due) = self.start_ready(&project, &mut memory.pauses)? {
                pause = pause.min(due);
            }
        }
        self.hands.keep_house();
        Ok(pause)
    }

    pub(super) fn report(&self, finding: &Finding, memory: &mut Memory) {
        match finding {
            Finding::Settled(session) => {
                self.hands
                    .say(&format!("Recovered {session}: its outcome was applied"));
            }
            Finding::Orphaned {
                session,
                why,
                leftovers,
            } => self.hands.say(&format!(
                "Recovered {session}: {why}; {leftovers} processes ended, task requeued"
            )),
            Finding::Stuck { session, why } => {
                if memory.told.insert(*session) {
                    self.hands
                        .warn(&format!("Cannot recover {session} yet: {why}"));
                }
            }
        }
    }

    /// Those that can be worked on here.
    pub(super) fn projects(&self) -> Result<Vec<Project>, Error> {
        projects_here(&*self.store, self.reconciler.node)
    }

    /// Starts what a project's limits allow; answers when there is something to do in it again.
    fn start_ready(
        &self,
        project: &Project,
        pauses: &mut Pauses,
    ) -> Result<Option<Duration>, Error> {
        let (ready, next_due) = self.agenda(project.id)?;
        let next_due = next_due.map(Duration::from_millis);
        if ready == 0 {
            return Ok(next_due);
        }
        if pauses.left(project.id, &self.clock.now().moment).is_none() {
            match self.hands.terms(project) {
                Ok(terms) => {
                    let launching = self.claim(project, &terms)?;
                    self.pause(project, &launching, pauses);
                }
                Err(why) => self
                    .hands
                    .warn(&format!("Nothing started in {}: {why}", project.root)),
            }
        }
        let paused = pauses.left(project.id, &self.clock.now().moment);
        Ok(next_due.into_iter().chain(paused).min())
    }

    /// Claims nothing for a while where no runner could be started.
    fn pause(&self, project: &Project, launching: &Launching, pauses: &mut Pauses) {
        let Some((task, why)) = &launching.refused else {
            if launching.any_started {
                pauses.end(project.id);
            }
            return;
        };
        if pauses.begin(project.id, &self.clock.now().moment) {
            self.hands.warn(&format!(
                "Cannot start a runner for {task}, which stays pending and is tried again: {why}"
            ));
        }
    }

    fn agenda(&self, project: ProjectId) -> Result<(usize, Option<u64>), Error> {
        let query = Query::Agenda {
            project: Some(project),
            now: self.clock.now(),
        };
        match self.store.read(&query)? {
            View::Agenda {
                ready,
                next_due_millis,
            } => Ok((ready, next_due_millis)),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    fn claim(&self, project: &Project, terms: &Terms) -> Result<Launching, Error> {
        let reply = self.store.execute(Request {
            meta: self.meta.clone(),
            done: vec![],
            command: Command::Claim {
                project: Some(project.id),
                task: None,
                policy: terms.policy.clone(),
                launcher: self.processes.own_identity(),
                node: None,
                lease_millis: terms.lease_millis,
            },
        })?;
        let Output::Claimed { claims, .. } = reply.output else {
            return Err(Error::corrupt(format!(
                "unexpected answer {:?}",
                reply.output
            )));
        };
        CrashPoint::Claimed.reached();
        let mut launching = Launching::default();
        for (session, task) in &claims {
            match self.hands.launch(project, session, task) {
                Ok(runner) => {
                    launching.any_started = true;
                    self.hands.say(&format!(
                        "Launched task {} (PID: {}, agent: {})",
                        task.id, runner.pid, session.agent
                    ));
                }
                Err(why) => {
                    let what = format!("its runner did not start: {why}");
                    self.reconciler.give_up(session, &what, false)?;
                    launching.refused.get_or_insert((task.id, why));
                }
            }
        }
        Ok(launching)
    }

    /// Rings as soon as a runner's process ends, whatever ended it.
    fn watch_runners(&self) {
        let (store, processes, bell) = (
            Arc::clone(&self.store),
            Arc::clone(&self.processes),
            Arc::clone(&self.bell),
        );
        let (interval, node) = (self.interval, self.reconciler.node);
        let watch = move || {
            let mut heard = 0;
            while !bell.is_closed() {
                let runners = living_runners(&*store, &*processes, node);
                if runners.is_empty() {
                    if let Heard::Ring(rings) = bell.wait(heard, interval) {
                        heard = rings;
                    }
                } else if !processes
                    .wait_any(&runners, Duration::from_secs(1))
                    .is_empty()
                {
                    bell.ring();
                    thread::park_timeout(Duration::from_millis(50));
                }
            }
        };
        if thread::Builder::new()
            .name("watch".to_owned())
            .spawn(watch)
            .is_err()
        {
            self.hands
                .warn("runners are not watched: no thread; lost ones are found every 5 s");
        }
    }
}

/// The dead ones are the reconciler's business, and would end every wait at once.
fn living_runners(
    store: &dyn Store,
    processes: &dyn Processes,
    node: Option<NodeId>,
) -> Vec<ProcessIdentity> {
    match store.read(&Query::LiveSessions { project: None }) {
        Ok(View::Sessions { sessions }) => sessions
            .into_iter()
            .filter(|session| !session.is_elsewhere(node))
            .filter_map(|session| session.runner)
            .filter(|runner| processes.is_alive(runner))
            .collect(),
        Ok(_) | Err(_) => vec![],
    }
}
