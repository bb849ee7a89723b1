//! A store with one project in it, and the shortest words for what is done to it.

use std::{collections::BTreeMap, sync::Arc};

use app::{
    command::{Command, Meta, NewTask, Output, QueueLimits, RecoveryPolicy, Request},
    error::Error,
    event::{Actor, ActorKind, Door, Entry},
    ports::{
        clock::Clock as _,
        store::{Effect, Reader},
    },
    query::{Counts, Deleted, Query, TaskDetails, TaskFilter, View},
};
use domain::{
    agent::AgentName,
    failure::{Failure, FailureReason},
    id::{ProjectId, SessionId, TaskId},
    node::{Checkout, Leader, Node},
    plan::Policy,
    process::ProcessIdentity,
    project::Project,
    quota::{Quota, month_of},
    session::{Outcome, Session, SessionCommand, SessionResult, StopReason},
    task::{Limits, Priority, Task, TaskKind, TaskMode},
    time::{BootId, Moment},
};

use super::{Make, Subject, clock::ManualClock};

/// How long sessions may stay silent here.
pub const LEASE_MILLIS: u64 = 30_000;

/// A store with one project.
#[derive(Debug)]
pub struct World {
    /// The store.
    pub store: Arc<dyn Subject>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    /// The project.
    pub project: ProjectId,
}

/// Everything that a store holds, as far as it can be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Contents {
    projects: Vec<Project>,
    tasks: Vec<Task>,
    archived: Vec<Task>,
    deleted: Vec<Task>,
    counts: Vec<Counts>,
    sessions: Vec<Vec<Session>>,
    live: Vec<SessionId>,
    dependants: Vec<Vec<TaskId>>,
    ready: Vec<TaskId>,
    running: usize,
    next_due: Option<u64>,
    effects: Vec<Effect>,
    quotas: Vec<(Quota, [u64; 3])>,
    nodes: Vec<Node>,
    leader: Option<Leader>,
    checkouts: Vec<Checkout>,
    occupied: Vec<u32>,
    /// The whole log.
    pub log: Vec<Entry>,
}

impl Contents {
    /// The same as far as events tell of it: nobody holds a lease, and folders are owed nothing.
    #[must_use]
    pub fn as_events_tell(mut self) -> Self {
        self.effects.clear();
        self.nodes.clear();
        self.occupied.truncate(1);
        self.leader = None;
        self.checkouts.clear();
        for project in &mut self.projects {
            project.remote = None;
        }
        for session in self.sessions.iter_mut().flatten() {
            session.lease_until = Moment {
                boot: BootId(String::new()),
                millis: 0,
            };
            session.version = 0;
        }
        self
    }
}

/// A task of an ordinary kind.
#[must_use]
pub fn work(prompt: &str) -> NewTask {
    NewTask {
        agent: agent("coder"),
        prompt: prompt.to_owned(),
        name: None,
        key: None,
        owner: "ada".to_owned(),
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

/// An agent's name.
#[must_use]
pub fn agent(name: &str) -> AgentName {
    name.parse().expect("a name of an agent")
}

/// A priority.
#[must_use]
pub fn priority(value: u8) -> Priority {
    Priority::try_from(value).expect("a priority")
}

/// Starts this many, with no other limit.
#[must_use]
pub fn starts(starts_max: u32) -> Policy {
    Policy {
        running_max: None,
        starts_max,
        per_agent_max: BTreeMap::new(),
        store_max: None,
        ageing_millis: 0,
    }
}

/// A process that nothing is known of.
#[must_use]
pub fn process(pid: u32) -> ProcessIdentity {
    ProcessIdentity {
        pid,
        start_ticks: 7,
        boot: BootId("boot-b".to_owned()),
        namespace: None,
    }
}

/// A failure that is worth a retry.
#[must_use]
pub fn failed() -> SessionResult {
    SessionResult::Failed {
        failure: Failure::new(FailureReason::AgentError, "it said so"),
    }
}

/// Who asks in these tests.
#[must_use]
pub fn meta() -> Meta {
    Meta {
        actor: Actor {
            kind: ActorKind::User,
            id: "ada".to_owned(),
        },
        door: Door::Cli,
        idempotency_key: None,
        correlation: None,
    }
}

/// A request without a key.
#[must_use]
pub fn request(command: Command) -> Request {
    Request {
        meta: meta(),
        done: vec![],
        command,
    }
}

/// A claim by the policy.
#[must_use]
pub fn claim_command(project: ProjectId, policy: Policy) -> Command {
    Command::Claim {
        project: Some(project),
        task: None,
        policy,
        launcher: process(1),
        node: None,
        lease_millis: LEASE_MILLIS,
    }
}

/// Queues a task in a queue without a limit.
#[must_use]
pub fn create_command(project: ProjectId, task: NewTask) -> Command {
    Command::CreateTask {
        project,
        task: Box::new(task),
        queue: QueueLimits {
            queue_max: u64::MAX,
            refuse_when_full: false,
        },
    }
}

/// Makes `/project` a project, or finds it.
#[must_use]
pub fn register_command() -> Command {
    Command::RegisterProject {
        root: "/project".to_owned(),
        name: "project".to_owned(),
    }
}

impl World {
    /// An empty store with one project.
    #[must_use]
    pub fn new(make: Make) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self::of(make(Arc::clone(&clock)), clock)
    }

    /// A store that exists, with its project.
    #[must_use]
    pub fn of(store: Arc<dyn Subject>, clock: Arc<ManualClock>) -> Self {
        let reply = store
            .execute(request(register_command()))
            .expect("a project is registered");
        let Output::Project { project } = reply.output else {
            panic!("registering answers {:?}", reply.output);
        };
        Self {
            store,
            clock,
            project: project.id,
        }
    }

    /// Asks for a change.
    pub fn run(&self, command: Command) -> Result<Output, Error> {
        Ok(self.store.execute(request(command))?.output)
    }

    /// Queues a task.
    pub fn try_create(&self, new: NewTask) -> Result<Task, Error> {
        self.run(create_command(self.project, new)).map(task_of)
    }

    /// Queues a task that nothing is wrong with.
    #[must_use]
    pub fn create(&self, new: NewTask) -> Task {
        self.try_create(new).expect("a task is queued")
    }

    /// Queues a task that waits for others.
    #[must_use]
    pub fn create_behind(&self, prompt: &str, others: &[TaskId]) -> Task {
        self.create(NewTask {
            depends_on: others.iter().map(ToString::to_string).collect(),
            ..work(prompt)
        })
    }

    /// A task as it is now.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Task {
        self.details(id).view.task
    }

    /// A task with everything.
    #[must_use]
    pub fn details(&self, id: TaskId) -> TaskDetails {
        match self.store.read(&Query::Task { id }) {
            Ok(View::Task { details }) => *details,
            other => panic!("{id}: {other:?}"),
        }
    }

    /// Claims by a policy.
    pub fn claim_by(&self, policy: Policy) -> Vec<(Session, Task)> {
        let claimed = self.run(claim_command(self.project, policy));
        match claimed {
            Ok(Output::Claimed { claims, .. }) => claims,
            other => panic!("claiming answers {other:?}"),
        }
    }

    /// Claims one task if one may start.
    #[must_use]
    pub fn claim(&self) -> Option<(Session, Task)> {
        self.claim_by(starts(1)).pop()
    }

    /// Claims this task.
    pub fn claim_named(&self, id: TaskId) -> Result<(Session, Task), Error> {
        let claimed = self.run(Command::Claim {
            project: None,
            task: Some(id),
            policy: starts(1),
            launcher: process(1),
            node: None,
            lease_millis: LEASE_MILLIS,
        })?;
        match claimed {
            Output::Claimed { mut claims, .. } => Ok(claims.remove(0)),
            other => panic!("claiming answers {other:?}"),
        }
    }

    /// Speaks for a session under its own fence.
    pub fn say(&self, session: &Session, command: SessionCommand) -> Result<Session, Error> {
        self.say_under(session, session.fence, command)
    }

    /// Speaks for a session under any fence.
    pub fn say_under(
        &self,
        session: &Session,
        fence: u64,
        command: SessionCommand,
    ) -> Result<Session, Error> {
        let said = self.run(Command::Session {
            session: session.id,
            fence,
            command,
            recovery: RecoveryPolicy::default(),
        })?;
        match said {
            Output::Session { session } => Ok(*session),
            other => panic!("a session answers {other:?}"),
        }
    }

    /// Declares a session lost, as it was seen.
    pub fn lose(&self, session: &Session) -> Result<Session, Error> {
        let lost = SessionCommand::Orphan {
            why: "its runner died".to_owned(),
            runner: session.runner.clone(),
            lease_until: session.lease_until.clone(),
            counts: true,
        };
        self.say(session, lost)
    }

    /// Ends a session.
    pub fn finish(&self, session: &Session, result: SessionResult) -> Result<Session, Error> {
        let outcome = Box::new(Outcome::bare(result, self.clock.now().wall));
        self.say(session, SessionCommand::Finish { outcome })
    }

    /// Lets the next task run and end; returns its id.
    pub fn work_off(&self, result: SessionResult) -> TaskId {
        let (session, task) = self.claim().expect("a task may start");
        self.finish(&session, result).expect("its session ends");
        task.id
    }

    /// Stops a task.
    pub fn stop(&self, id: TaskId, reason: StopReason) -> Result<(Task, Option<Session>), Error> {
        match self.run(Command::StopTask { task: id, reason })? {
            Output::Stopping { task, session } => Ok((*task, session.map(|session| *session))),
            other => panic!("stopping answers {other:?}"),
        }
    }

    /// Tries a task again.
    pub fn retry(&self, id: TaskId, retries_max: Option<u32>) -> Result<Task, Error> {
        self.run(Command::RetryTask {
            task: id,
            retries_max,
            auto_retry: None,
            continues: false,
        })
        .map(task_of)
    }

    /// The kept counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        self.store.look(&mut |reader| {
            counts = reader.counts(self.project).expect("counters");
        });
        counts
    }

    /// A page of tasks.
    #[must_use]
    pub fn page(&self, filter: &TaskFilter, limit: usize) -> Vec<TaskId> {
        let query = Query::Tasks {
            filter: filter.clone(),
            limit,
        };
        match self.store.read(&query) {
            Ok(View::Tasks { tasks }) => tasks.into_iter().map(|task| task.id).collect(),
            other => panic!("a page answers {other:?}"),
        }
    }

    /// Everything in the store.
    #[must_use]
    pub fn contents(&self) -> Contents {
        let mut contents = None;
        let now = self.clock.now();
        self.store.look(&mut |reader| {
            contents = Some(read_all(reader, &now).expect("the store is readable"));
        });
        contents.expect("the store shows itself")
    }
}

fn read_all(reader: &dyn Reader, now: &domain::time::Now) -> Result<Contents, Error> {
    let projects = reader.projects()?;
    let all = |archived| TaskFilter {
        archived,
        ..TaskFilter::default()
    };
    let tasks = reader.tasks(&all(false), usize::MAX)?;
    let archived = reader.tasks(&all(true), usize::MAX)?;
    let mut ready: Vec<TaskId> = reader
        .ready(None, usize::MAX, now)?
        .into_iter()
        .map(|candidate| candidate.task)
        .collect();
    ready.sort_unstable();
    let only = TaskFilter {
        deleted: Deleted::Only,
        ..TaskFilter::default()
    };
    let deleted = reader.tasks(&only, usize::MAX)?;
    let nodes = reader.nodes()?;
    let each = || tasks.iter().chain(&archived).chain(&deleted);
    Ok(Contents {
        counts: projects
            .iter()
            .map(|project| reader.counts(project.id))
            .collect::<Result<_, _>>()?,
        sessions: each()
            .map(|task| reader.sessions_of(task.id))
            .collect::<Result<_, _>>()?,
        dependants: each()
            .map(|task| reader.dependants(task.id))
            .collect::<Result<_, _>>()?,
        live: reader
            .live_sessions(None)?
            .into_iter()
            .map(|session| session.id)
            .collect(),
        ready,
        running: reader.running(None)?.len(),
        next_due: reader.next_due_millis(None, now)?,
        effects: reader.effects(None, usize::MAX)?,
        quotas: reader
            .quotas()?
            .into_iter()
            .map(|quota| {
                let (project, owner) = (quota.key.project, quota.key.owner.clone());
                let owner = owner.as_deref();
                let month = month_of(now.wall);
                let counted = [
                    reader.active(project, owner)?,
                    reader.queued(project, owner)?,
                    reader.tokens(month, project, owner)?,
                ];
                Ok((quota, counted))
            })
            .collect::<Result<_, Error>>()?,
        occupied: std::iter::once(reader.occupied(None))
            .chain(nodes.iter().map(|node| reader.occupied(Some(node.id))))
            .collect::<Result<_, _>>()?,
        nodes,
        leader: reader.leader()?,
        checkouts: reader.checkouts(None)?,
        log: reader.events(None, 0, usize::MAX)?,
        projects,
        tasks,
        archived,
        deleted,
    })
}

/// The task of an answer.
#[must_use]
pub fn task_of(output: Output) -> Task {
    match output {
        Output::Task { task, .. } => *task,
        other => panic!("expected a task, got {other:?}"),
    }
}
