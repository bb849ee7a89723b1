//! A project, a store and everything a runner needs.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use app::{
    command::{Command, Meta, NewTask, Output, QueueLimits, Reply, Request},
    error::Error,
    event::{Actor, ActorKind, Door},
    ports::{
        clock::Clock,
        folders::{Folders, SessionPlace},
        processes::Processes,
        runners::Runners,
        store::{Answer, Store},
    },
    query::{Query, View},
};
use domain::{
    agent::{AgentConfig, AgentName, CompletionRule},
    id::{ProjectId, SessionId},
    plan::Policy,
    session::{Outcome, Session},
    task::{Limits, Priority, Task, TaskKind, TaskMode},
};
use runner::{Deps, Interrupt, RunnerConfig, RunnerExit, RunnerSockets};
use sandbox_host::{HostOptions, HostProcesses, SystemClock};
use store_sqlite::SqliteStore;
use task_folder::ProjectFolders;
use testkit::{fake_agents, poll::poll_until, temp_repo::TempRepo};

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct Bench {
    pub(crate) repo: TempRepo,
    pub(crate) store: Arc<Switchable>,
    pub(crate) processes: Arc<HostProcesses>,
    pub(crate) config: RunnerConfig,
    pub(crate) interrupt: Interrupt,
    clock: Arc<SystemClock>,
    agents: BTreeMap<AgentName, AgentConfig>,
    project: ProjectId,
}

/// A store that can be made to refuse.
#[derive(Debug)]
pub(crate) struct Switchable {
    store: SqliteStore,
    pub(crate) refuses_ends: AtomicBool,
    pub(crate) refuses_renewals: AtomicBool,
}

impl Store for Switchable {
    fn submit(&self, request: Request, answer: Answer) {
        let refuses = match &request.command {
            Command::RenewLease { .. } => &self.refuses_renewals,
            Command::Session {
                command: domain::session::SessionCommand::Finish { .. },
                ..
            } => &self.refuses_ends,
            _ => return self.store.submit(request, answer),
        };
        if refuses.load(Ordering::SeqCst) {
            answer(Err(Error::unavailable("the store is away")));
        } else {
            self.store.submit(request, answer);
        }
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        self.store.read(query)
    }

    fn generation(&self) -> Result<u64, Error> {
        self.store.generation()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let repo = TempRepo::new();
        let clock = Arc::new(SystemClock::new().unwrap());
        let file = repo.beside("home").join("crewboss.db");
        let store = Arc::new(Switchable {
            store: SqliteStore::open(&file, clock.clone()).unwrap(),
            refuses_ends: AtomicBool::new(false),
            refuses_renewals: AtomicBool::new(false),
        });
        let root = repo.path().canonicalize().unwrap();
        let command = Command::RegisterProject {
            root: root.to_str().unwrap().to_owned(),
            name: "test".to_owned(),
        };
        let project = match store.execute(request(command)).unwrap().output {
            Output::Project { project } => project.id,
            other => panic!("{other:?}"),
        };
        let mut config = RunnerConfig::new(root, repo.beside("home").join("run"));
        config.environment = environment();
        config.gate_environment = environment();
        Self {
            store,
            processes: Arc::new(HostProcesses::new(HostOptions::default()).unwrap()),
            config,
            interrupt: Interrupt::default(),
            clock,
            agents: BTreeMap::new(),
            project,
            repo,
        }
    }

    /// A project with one agent, `a`, that is a shell script with a completion rule.
    pub(crate) fn with_script(body: &str, rule: CompletionRule) -> Self {
        let mut bench = Self::new();
        let program = fake_agents::script(&bench.repo.beside("agents"), "a", body);
        bench.add_agent(&program, rule);
        bench
    }

    pub(crate) fn add_agent(&mut self, program: &Path, rule: CompletionRule) {
        let mut config = AgentConfig::command(program.to_str().unwrap(), vec![]);
        config.completion = Some(rule);
        config.env = vec!["TOKEN".to_owned()];
        self.agents.insert("a".parse().unwrap(), config);
    }

    pub(crate) fn create(&self, change: impl FnOnce(&mut NewTask)) -> Task {
        let mut task = new_task();
        change(&mut task);
        let command = Command::CreateTask {
            project: self.project,
            task: Box::new(task),
            queue: QueueLimits {
                queue_max: 100,
                refuse_when_full: true,
            },
        };
        match self.execute(command).output {
            Output::Task { task, .. } => *task,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn claim(&self, task: &Task) -> Session {
        let command = Command::Claim {
            project: None,
            task: Some(task.id),
            policy: Policy {
                running_max: None,
                per_agent_max: BTreeMap::new(),
                starts_max: 1,
                store_max: None,
                ageing_millis: 0,
            },
            launcher: self.processes.own_identity(),
            node: None,
            lease_millis: u64::try_from(self.config.timings.lease.as_millis()).unwrap(),
        };
        match self.execute(command).output {
            Output::Claimed { mut claims, .. } => claims.remove(0).0,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn execute(&self, command: Command) -> Reply {
        self.store.execute(request(command)).unwrap()
    }

    pub(crate) fn deps(&self) -> Deps {
        let environment = std::env::vars_os().collect();
        let settings = workspace_git::Settings::new(self.repo.beside("state"), environment);
        Deps {
            store: self.store.clone(),
            clock: self.clock.clone(),
            processes: self.processes.clone(),
            workspaces: Arc::new(workspace_git::GitWorkspaces::new(settings)),
            gates: Arc::new(verify::CommandGates::new(
                self.processes.clone(),
                self.clock.clone(),
            )),
            folders: Arc::new(ProjectFolders::new()),
            checkpoints: Arc::new(task_folder::CheckpointFolders::new()),
            agents: Arc::new(agents::Registry::new(
                self.agents.clone(),
                &[],
                agents::Unlisted::Opencode,
            )),
            config: self.config.clone(),
            interrupt: self.interrupt.clone(),
            on_launched: None,
        }
    }

    /// Runs a new task to its end.
    pub(crate) fn run(&self, change: impl FnOnce(&mut NewTask)) -> Ran {
        let task = self.create(change);
        let session = self.claim(&task);
        let exit = runner::run(self.deps(), session.id, session.fence);
        self.ran(session.id, exit)
    }

    /// Starts a runner for a new task and waits until its agent has said `started`.
    pub(crate) fn start(&self, change: impl FnOnce(&mut NewTask)) -> Running {
        let task = self.create(change);
        let session = self.claim(&task);
        let (deps, id, fence) = (self.deps(), session.id, session.fence);
        let runner = thread::spawn(move || runner::run(deps, id, fence));
        let running = Running { session, runner };
        let log = self.log(&running.session);
        assert!(poll_until(LONG, || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("started"))
        }));
        running
    }

    pub(crate) fn finish(&self, running: Running) -> Ran {
        let exit = running.runner.join().unwrap();
        self.ran(running.session.id, exit)
    }

    fn ran(&self, session: SessionId, exit: RunnerExit) -> Ran {
        let session = self.session(session);
        let members = self.processes.members(session.id);
        assert_eq!(members, [], "nothing of the session runs any more");
        let task = self.task(&session);
        Ran {
            exit,
            session,
            task,
        }
    }

    pub(crate) fn session(&self, id: SessionId) -> Session {
        match self.store.read(&Query::Session { id }).unwrap() {
            View::Session { session } => *session,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn task(&self, session: &Session) -> Task {
        match self.store.read(&Query::Task { id: session.task }).unwrap() {
            View::Task { details } => details.view.task,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn place(&self, session: &Session) -> SessionPlace {
        SessionPlace {
            root: self.config.project_root.clone(),
            task: session.task,
            session: session.id,
        }
    }

    pub(crate) fn folder(&self, session: &Session) -> PathBuf {
        ProjectFolders::new()
            .session_folder(&self.place(session))
            .unwrap()
    }

    pub(crate) fn log(&self, session: &Session) -> PathBuf {
        self.folder(session).join("agent.log")
    }

    pub(crate) fn log_text(&self, session: &Session) -> String {
        fs::read_to_string(self.log(session)).unwrap()
    }

    pub(crate) fn outcome_file(&self, session: &Session) -> Option<Outcome> {
        ProjectFolders::new()
            .read_outcome(&self.place(session))
            .unwrap()
    }

    pub(crate) fn poke(&self, session: &Session) -> std::io::Result<()> {
        RunnerSockets::new(self.config.run_directory.clone()).poke(session.id)
    }

    /// Real time, in milliseconds.
    pub(crate) fn millis(&self) -> u64 {
        self.clock.now().moment.millis
    }
}

/// A runner at work in a thread.
pub(crate) struct Running {
    pub(crate) session: Session,
    runner: JoinHandle<RunnerExit>,
}

/// What became of a session.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: RunnerExit,
    pub(crate) session: Session,
    pub(crate) task: Task,
}

impl Ran {
    pub(crate) fn outcome(&self) -> &Outcome {
        self.session.outcome.as_ref().unwrap()
    }

    /// The reason and message of the failure.
    pub(crate) fn failure(&self) -> (String, String) {
        let failure = self.task.failure().unwrap();
        (failure.reason.to_string(), failure.message.clone())
    }
}

fn new_task() -> NewTask {
    NewTask {
        agent: "a".parse().unwrap(),
        prompt: "Do the work".to_owned(),
        name: None,
        key: None,
        owner: "me".to_owned(),
        labels: vec![],
        metadata: BTreeMap::new(),
        priority: Priority::DEFAULT,
        depends_on: vec![],
        workspace: None,
        gates: vec![],
        require_diff: false,
        continues: None,
        kind: TaskKind::Managed,
        mode: TaskMode::Exclusive,
        limits: Limits::default(),
        not_before: None,
    }
}

fn request(command: Command) -> Request {
    Request {
        meta: Meta {
            actor: Actor {
                kind: ActorKind::User,
                id: "me".to_owned(),
            },
            door: Door::Cli,
            idempotency_key: None,
            correlation: None,
        },
        done: vec![],
        command,
    }
}

fn environment() -> Vec<(String, String)> {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    vec![
        ("PATH".to_owned(), path),
        ("HOME".to_owned(), "/nonexistent".to_owned()),
        ("TOKEN".to_owned(), "tok-3f9a17c2d8".to_owned()),
    ]
}
