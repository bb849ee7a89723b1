//! The application on a machine that is not there: commands, runners, agents and recovery, with
//! deaths and failures before and after everything that is asked of the world, clocks that jump and
//! machines that start anew. One seed, one course of events.

mod disk;
mod fate;
mod machine;
mod repository;
mod runner;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use app::{
    command::{Command, NewTask, Output, RecoveryPolicy, Reply, Request},
    ports::{
        clock::Clock as _,
        folders::Folders as _,
        processes::Processes as _,
        store::{Effect, Store},
    },
    query::{Query, View},
    reconcile::Reconciler,
    resources::Ledger,
};
use domain::{
    id::{SessionId, TaskId},
    resource::Owner,
    session::StopReason,
    task::{Limits, Task, TaskStatus},
    time::Now,
};

use self::{
    disk::Disk,
    fate::{Fate, alive},
    machine::{Machine, Role},
    repository::{Repository, commit_of},
    runner::{Goes, Runner},
    store::FatefulStore,
};
use crate::contract::{
    Make, log,
    world::{LEASE_MILLIS, World, create_command, meta, priority, starts, work},
};

/// What a course of events came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lived {
    /// Processes that died.
    pub deaths: u64,
    /// Acts that were refused, or said to be.
    pub refusals: u64,
    /// Tasks that completed.
    pub completed: u64,
    /// Entries of the log.
    pub entries: u64,
}

/// Everything that is there, and what was promised.
#[derive(Debug)]
struct Simulation {
    world: World,
    fate: Arc<Fate>,
    store: Arc<dyn Store>,
    machine: Arc<Machine>,
    disk: Arc<Disk>,
    repository: Arc<Repository>,
    runners: Vec<Runner>,
    /// Tasks whose ids were told.
    promised: BTreeSet<TaskId>,
    /// Tasks that were said to have ended, and how.
    ended: BTreeMap<TaskId, TaskStatus>,
    deleted: BTreeSet<TaskId>,
    /// Sessions under which an agent was started.
    agents: Mutex<BTreeMap<SessionId, TaskId>>,
    boots: u32,
}

/// Lives through a course of events and panics where something is lost, done twice or left behind.
#[must_use]
pub fn run(make: Make, seed: u64, steps: u32) -> Lived {
    let mut simulation = Simulation::new(make, seed);
    for number in 0..steps {
        simulation.step();
        if number % 16 == 0 {
            simulation.look();
        }
    }
    simulation.come_to_rest();
    simulation.judge()
}

impl Simulation {
    fn new(make: Make, seed: u64) -> Self {
        let world = World::new(make);
        let fate = Arc::new(Fate::new(seed));
        Self {
            store: Arc::new(FatefulStore {
                store: Arc::clone(&world.store),
                fate: Arc::clone(&fate),
            }),
            machine: Arc::new(Machine::new(Arc::clone(&world.clock))),
            disk: Arc::new(Disk::new(Arc::clone(&fate))),
            repository: Arc::new(Repository::new(Arc::clone(&fate))),
            world,
            fate,
            runners: vec![],
            promised: BTreeSet::new(),
            ended: BTreeMap::new(),
            deleted: BTreeSet::new(),
            agents: Mutex::default(),
            boots: 0,
        }
    }

    fn now(&self) -> Now {
        self.world.clock.now()
    }

    fn step(&mut self) {
        match self.fate.below(40) {
            0..5 => self.create(),
            5..10 => self.claim(None),
            10..26 => self.let_a_runner_step(),
            26..30 => self.recover(),
            30 => self.stop(),
            31 => self.retry(),
            32 => self.delete(),
            33 => self.kill_a_runner(),
            34 => self.deafen_a_runner(),
            35 => self.machine.heal(),
            36 | 37 => self.world.clock.advance(self.fate.below(LEASE_MILLIS)),
            38 => self.jump(),
            _ => self.reboot(),
        }
    }

    /// A command from its beginning to its end, or to its death.
    fn command<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let process = self.machine.start(Role::Command, None);
        self.machine.speak_as(&process);
        let done = alive(|| work(self));
        self.machine.end(&process);
        done
    }

    /// As every command does it: what is owed is carried out and acknowledged by the next change.
    fn change(&mut self, command: Command) -> Option<Output> {
        self.command(|own| {
            let done = own.carried_out();
            let request = Request {
                meta: meta(),
                done,
                command,
            };
            let Ok(Reply { output, effects }) = own.store.execute(request) else {
                return None;
            };
            own.learn(&output);
            for effect in &effects {
                own.show(effect);
            }
            Some(output)
        })
        .flatten()
    }

    fn carried_out(&self) -> Vec<Effect> {
        let query = Query::Effects {
            after: None,
            limit: 50,
        };
        let Ok(View::Effects { effects }) = self.store.read(&query) else {
            return vec![];
        };
        let is_done = |effect: &Effect| self.show(effect);
        effects.into_iter().filter(is_done).collect()
    }

    fn show(&self, effect: &Effect) -> bool {
        let task = self.world.task(effect.task);
        let root = Path::new("/project");
        if task.deleted_at.is_some() {
            return self.disk.remove_task(root, task.id).is_ok();
        }
        self.disk.show_task(root, &task).is_ok()
    }

    /// The answer was given: from now on it must be so.
    fn learn(&mut self, output: &Output) {
        let (Output::Task { task, .. } | Output::Stopping { task, .. }) = output else {
            return;
        };
        self.promised.insert(task.id);
        if task.status().is_terminal() {
            self.ended.insert(task.id, task.status());
        }
    }

    fn a_task(&self) -> Option<TaskId> {
        let known: Vec<TaskId> = self.promised.iter().copied().collect();
        self.fate.pick(&known).copied()
    }

    fn create(&mut self) {
        let behind = (self.fate.below(4) == 0).then(|| self.a_task()).flatten();
        let behind = behind.filter(|task| !self.deleted.contains(task));
        let new = NewTask {
            priority: priority(1 + u8::try_from(self.fate.below(10)).unwrap_or(0)),
            depends_on: behind.iter().map(ToString::to_string).collect(),
            limits: Limits {
                auto_retry: self.fate.below(3) == 0,
                ..Limits::default()
            },
            ..work("x")
        };
        self.change(create_command(self.world.project, new));
    }

    /// Claims, and starts a runner for each claim unless it dies in between.
    fn claim(&mut self, task: Option<TaskId>) {
        let starts_max = 1 + u32::try_from(self.fate.below(3)).unwrap_or(0);
        self.command(|own| {
            let done = own.carried_out();
            let command = Command::Claim {
                project: Some(own.world.project),
                task,
                policy: starts(starts_max),
                launcher: own.machine.own_identity(),
                node: None,
                lease_millis: LEASE_MILLIS,
            };
            let request = Request {
                meta: meta(),
                done,
                command,
            };
            let Ok(Reply { output, .. }) = own.store.execute(request) else {
                return;
            };
            let Output::Claimed { claims, .. } = output else {
                return;
            };
            for (session, _) in claims {
                let never = |error: std::io::Error| error;
                let started = own.fate.act(never, || {
                    let process = own.machine.start(Role::Runner, Some(session.id));
                    Ok(Runner::new(process, &session, own.fate.below(4) != 0))
                });
                if let Ok(runner) = started {
                    own.runners.push(runner);
                }
            }
        });
    }

    fn let_a_runner_step(&mut self) {
        self.runners
            .retain(|one| self.machine.is_alive(&one.process));
        let all: Vec<usize> = (0..self.runners.len()).collect();
        if let Some(number) = self.fate.pick(&all).copied() {
            self.step_runner(number);
        }
    }

    fn step_runner(&mut self, number: usize) {
        let mut runner = self.runners[number].clone();
        if !self.machine.hears(runner.session) {
            return;
        }
        self.machine.speak_as(&runner.process);
        let goes = alive(|| runner.step(self));
        if goes == Some(Goes::On) {
            self.runners[number] = runner;
            return;
        }
        // It has gone home, or died where it stood; its agent may not have noticed.
        self.machine.end(&runner.process);
        self.runners.remove(number);
    }

    /// An agent begins: no other of its task may be alive, and none was ever started under its
    /// session.
    fn start_agent(&self, task: TaskId, session: SessionId) {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        for living in self.machine.agents() {
            let of = agents.get(&living);
            assert_ne!(of, Some(&task), "{living} is alive, and {session} begins");
        }
        let earlier = agents.insert(session, task);
        assert_eq!(earlier, None, "two agents under {session}");
    }

    fn reconciler(&self) -> Reconciler {
        Reconciler {
            node: None,
            patience: Duration::ZERO,
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.world.clock) as _,
            processes: Arc::clone(&self.machine) as _,
            runners: Arc::clone(&self.machine) as _,
            folders: Arc::clone(&self.disk) as _,
            workspaces: Arc::clone(&self.repository) as _,
            meta: meta(),
            recovery: RecoveryPolicy::default(),
            grace: Duration::ZERO,
        }
    }

    fn recover(&mut self) {
        let project = self.world.project;
        self.command(|own| own.reconciler().run(Some(project)).map(drop));
    }

    fn ledger(&self) -> Ledger {
        Ledger {
            store: Arc::clone(&self.store),
            workspaces: Arc::clone(&self.repository) as _,
            processes: Arc::clone(&self.machine) as _,
            runners: Arc::clone(&self.machine) as _,
            keeps_worktrees: false,
            grace: Duration::ZERO,
        }
    }

    fn stop(&mut self) {
        if let Some(task) = self.a_task() {
            let reason = StopReason::Cancel;
            self.change(Command::StopTask { task, reason });
        }
    }

    fn retry(&mut self) {
        if let Some(task) = self.a_task() {
            self.change(Command::RetryTask {
                task,
                retries_max: None,
                auto_retry: None,
                continues: false,
            });
        }
    }

    fn delete(&mut self) {
        let Some(task) = self.a_task() else { return };
        let tasks = vec![task];
        // It may be deleted although nobody was told.
        self.deleted.insert(task);
        self.change(Command::DeleteTasks { tasks });
    }

    fn kill_a_runner(&mut self) {
        if let Some(runner) = self.fate.pick(&self.runners) {
            self.machine.end(&runner.process.clone());
        }
    }

    fn deafen_a_runner(&mut self) {
        if let Some(runner) = self.fate.pick(&self.runners) {
            self.machine.deafen(runner.session);
        }
    }

    /// The wall clock is set, forward or back.
    fn jump(&mut self) {
        let by = i64::try_from(self.fate.below(7_200_000)).unwrap_or(0) - 3_600_000;
        let wall = self.now().wall.as_millis() + by;
        self.world.clock.set_wall(wall);
    }

    fn reboot(&mut self) {
        self.boots += 1;
        self.machine.power_off();
        self.runners.clear();
        self.world.clock.reboot(&format!("boot-{}", self.boots));
    }

    /// What must hold at any moment.
    fn look(&self) {
        for (id, status) in &self.ended {
            assert_eq!(self.world.task(*id).status(), *status, "{id} had ended");
        }
        for id in &self.promised {
            let _there: Task = self.world.task(*id);
        }
        let mut moves: BTreeMap<String, SessionId> = BTreeMap::new();
        for (branch, session) in self.repository.moves() {
            // Whoever moved a branch had left word of that, unless the disk refused it.
            if let Some(before) = moves.insert(branch.clone(), session) {
                let is_known = self.disk.has_outcome(before);
                assert!(
                    !is_known,
                    "{branch} moved again, for {session} after {before}"
                );
            }
        }
    }

    /// Nothing happens to anybody any more, and everybody does what is to be done.
    fn come_to_rest(&mut self) {
        self.fate.be_kind();
        self.machine.heal();
        for _ in 0..1_000 {
            self.world.clock.advance(60_000);
            self.recover();
            self.claim(None);
            while !self.runners.is_empty() {
                self.let_a_runner_step();
            }
            if self.open().is_empty() {
                break;
            }
        }
        let open = self.open();
        assert!(open.is_empty(), "tasks do not come to an end: {open:#?}");
        let project = self.world.project;
        self.command(|own| {
            let project = match own.store.read(&Query::Projects) {
                Ok(View::Projects { projects }) => {
                    projects.into_iter().find(|one| one.id == project)
                }
                other => panic!("{other:?}"),
            };
            let project = project.expect("it is registered");
            let ledger = own.ledger();
            let swept = ledger.sweep(&project);
            let left = ledger.list(&project).expect("a list");
            let unowned: Vec<_> = left
                .iter()
                .filter(|one| one.owner == Owner::Nobody)
                .collect();
            assert!(unowned.is_empty(), "{unowned:#?} after {swept:#?}");
        });
        // The change after the last acknowledges what that one owed.
        self.create();
        if let Some(last) = self.promised.last().copied() {
            let reason = StopReason::Cancel;
            self.change(Command::StopTask { task: last, reason });
        }
    }

    /// Tasks that somebody has to work on. What waits for one that failed waits for ever.
    fn open(&self) -> Vec<Task> {
        let mut open = self.tasks();
        open.retain(|task| match task.status() {
            TaskStatus::Running => true,
            TaskStatus::Pending => self.world.details(task.id).view.blocked_by.is_empty(),
            _ => false,
        });
        open
    }

    fn tasks(&self) -> Vec<Task> {
        let query = Query::Tasks {
            filter: app::query::TaskFilter::default(),
            limit: usize::MAX,
        };
        match self.store.read(&query) {
            Ok(View::Tasks { tasks }) => tasks,
            other => panic!("tasks: {other:?}"),
        }
    }

    /// What must hold in the end.
    fn judge(&self) -> Lived {
        self.look();
        let tasks = self.tasks();
        let mut completed = 0;
        for task in &tasks {
            let shown = self.disk.shown_version(Path::new("/project"), task.id);
            assert!(shown.is_some(), "{} has no image", task.id);
            if task.status() != TaskStatus::Completed {
                continue;
            }
            completed += 1;
            let sessions = self.world.details(task.id).sessions;
            let done: Vec<_> = sessions
                .iter()
                .filter(|one| {
                    one.outcome.as_ref().is_some_and(|outcome| {
                        outcome.result == domain::session::SessionResult::Completed
                    })
                })
                .collect();
            assert_eq!(done.len(), 1, "{task:#?}: {sessions:#?}");
            let branch = self.repository.branch(&format!("crewboss/{}", task.id));
            assert_eq!(branch, Some(commit_of(done[0].id)), "{}", task.id);
        }
        assert_eq!(self.repository.worktrees(), [], "worktrees are left");
        for session in self.repository.worked() {
            let is_kept = self.repository.keeps_work_of(session);
            assert!(is_kept, "the work of {session} is nowhere");
        }
        let counts = self.world.counts();
        for status in [
            TaskStatus::Pending,
            TaskStatus::Completed,
            TaskStatus::Failed,
            TaskStatus::Cancelled,
        ] {
            let counted = tasks.iter().filter(|task| task.status() == status).count() as u64;
            assert_eq!(
                counts.get(&status).copied().unwrap_or(0),
                counted,
                "{status:?}"
            );
        }
        let contents = self.world.contents();
        log::verify(&contents.log);
        let (deaths, refusals) = self.fate.counts();
        Lived {
            deaths,
            refusals,
            completed,
            entries: contents.log.len() as u64,
        }
    }
}
