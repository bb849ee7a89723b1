//! Everything that changes something. A command is data: the daemon's socket carries it as it is.

use std::collections::BTreeMap;

use domain::{
    agent::AgentName,
    failure::Failure,
    gate::{GateResult, GateSpec},
    id::{CheckpointId, NodeId, ProjectId, SessionId, TaskId},
    node::{Leader, Node, NodeCommand},
    plan::Policy,
    process::ProcessIdentity,
    project::Project,
    quota::{Quota, QuotaKey},
    retry::Backoff,
    session::{Session, SessionCommand, StopReason},
    task::{Continuation, Limits, Paper, Priority, Task, TaskKind, TaskMode, TaskState},
    time::{Due, Timestamp},
    workspace::WorkspaceMode,
};
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    event::{Actor, DaemonStarted, Door, KeyRotated},
    expected::{self, Expected},
    locks::{LockCommand, LockReply},
    ports::store::{Effect, Tx},
    use_cases as verbs,
};

pub use crate::use_cases::IMPORT_BATCH_MAX;

/// Who asks, through which door, and under which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Who asks.
    pub actor: Actor,
    /// Through which door.
    pub door: Door,
    /// Asking again under the same key gets the first answer, for 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Joins the events of one undertaking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
}

/// A command with everything that its transaction needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub meta: Meta,
    /// Effects that have been carried out since; they are forgotten in the same transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<Effect>,
    /// What is asked.
    pub command: Command,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What came of it.
    pub output: Output,
    /// The effects that the commit owes.
    pub effects: Vec<Effect>,
}

/// What a new task is to be. Defaults are the caller's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// The agent that is to do it.
    pub agent: AgentName,
    /// The user's words.
    pub prompt: String,
    /// A title; the prompt's first line where empty.
    pub name: Option<String>,
    /// The caller's own name for it.
    pub key: Option<String>,
    /// On whose behalf.
    pub owner: String,
    /// For filtering.
    pub labels: Vec<String>,
    /// The caller's own data.
    pub metadata: BTreeMap<String, String>,
    /// Importance.
    pub priority: Priority,
    /// Names of tasks whose chains must have completed first.
    pub depends_on: Vec<String>,
    /// Where it edits.
    pub workspace: Option<WorkspaceMode>,
    /// Gates besides the project's.
    pub gates: Vec<GateSpec>,
    /// Whether ending without a diff is a failure.
    pub require_diff: bool,
    /// The task whose newest session it goes on from, as a person means it: an id, the end of one
    /// or a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
    /// Who does the work.
    pub kind: TaskKind,
    /// How many agents an external task may hold.
    pub mode: TaskMode,
    /// What may still change later.
    pub limits: Limits,
    /// Not to be started before.
    pub not_before: Option<Due>,
}

/// A task that another system has kept. Ids are those over there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedTask {
    /// Its id; kept where it is free.
    pub source: TaskId,
    /// The agent that is to do it, or did.
    pub agent: AgentName,
    /// The user's words.
    pub prompt: String,
    /// On whose behalf.
    pub owner: String,
    /// What has no other place.
    pub metadata: BTreeMap<String, String>,
    /// Importance.
    pub priority: Priority,
    /// What may still change.
    pub limits: Limits,
    /// Tasks that must have completed first.
    pub depends_on: Vec<TaskId>,
    /// The task that it tries again.
    pub retry_of: Option<TaskId>,
    /// How many retries came before and with it.
    pub retry_count: u32,
    /// Waiting, or ended in some way; never running.
    pub state: TaskState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it is out of the ordinary lists.
    pub is_archived: bool,
}

/// A task that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedImport {
    /// Its id over there.
    pub source: TaskId,
    /// Why not.
    pub why: String,
}

/// The limits that the store keeps for the caller's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimits {
    /// Tasks that have not ended, at most, in one project.
    pub queue_max: u64,
    /// Whether a full queue refuses a task or only warns.
    pub refuse_when_full: bool,
}

/// What to do with a task whose session ended badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPolicy {
    /// Losses of a session before the task fails.
    pub requeues_max: u32,
    /// The wait before an automatic retry.
    pub backoff: Backoff,
}

impl Default for RecoveryPolicy {
    fn default() -> Self {
        Self {
            requeues_max: 3,
            backoff: Backoff::default(),
        }
    }
}

/// The key of a task that comes back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "rekey", rename_all = "snake_case")]
pub enum Rekey {
    /// The one that it had.
    #[default]
    Same,
    /// None.
    Without,
    /// Another one.
    To {
        /// It.
        key: String,
    },
}

/// Something to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Command {
    /// Make a directory a project, or find the one that it is.
    RegisterProject {
        /// The directory: absolute, without symbolic links.
        root: String,
        /// What people call it.
        name: String,
    },
    /// Make a directory of a node a project there, or find the one that it is.
    RegisterCheckout {
        /// The node.
        node: NodeId,
        /// The directory: absolute, without symbolic links.
        root: String,
        /// What people call it.
        name: String,
        /// The repository that joins it with checkouts on other nodes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote: Option<String>,
    },
    /// A node speaks, or is spoken to.
    Node {
        /// Which.
        node: NodeId,
        /// What it says, or is told.
        command: NodeCommand,
    },
    /// A node asks to do what one alone is to do.
    Lead {
        /// Which.
        node: NodeId,
        /// How long it may stay silent.
        lease_millis: u64,
    },
    /// The leader declares silent nodes lost, and sends back to the queue what others than it have
    /// let go: judged by the time of the transaction.
    RecoverLost {
        /// The leader.
        node: NodeId,
        /// The fence under which it leads.
        fence: u64,
        /// How long after the end of a session's lease its own node, where that is heard of, has to
        /// see to it.
        patience_millis: u64,
        /// What follows for their tasks.
        recovery: RecoveryPolicy,
    },
    /// Queue a task.
    CreateTask {
        /// Where.
        project: ProjectId,
        /// What.
        task: Box<NewTask>,
        /// The queue's limits.
        queue: QueueLimits,
    },
    /// Take over tasks of another system, with their ends and retry chains. What is here already
    /// stays as it is.
    ImportTasks {
        /// Where.
        project: ProjectId,
        /// At most [`IMPORT_BATCH_MAX`].
        tasks: Vec<ImportedTask>,
        /// Refuse a task whose id is taken; else it gets another id, and its own is an alias.
        keep_ids: bool,
    },
    /// Take ready tasks out of the queue, each with a session of its own.
    Claim {
        /// Of one project, or of all.
        project: Option<ProjectId>,
        /// This task and no other, whatever the policy says.
        task: Option<TaskId>,
        /// The limits to keep.
        policy: Policy,
        /// Who starts the runners.
        launcher: ProcessIdentity,
        /// On which node; this machine where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// How long each session may stay silent.
        lease_millis: u64,
    },
    /// A runner speaks of its session.
    Session {
        /// Which.
        session: SessionId,
        /// The fence under which it speaks.
        fence: u64,
        /// What it says.
        command: SessionCommand,
        /// What follows if it ended badly.
        recovery: RecoveryPolicy,
    },
    /// A runner lives and hears what is wanted of its session.
    RenewLease {
        /// Which.
        session: SessionId,
        /// The fence under which it speaks.
        fence: u64,
        /// How long it may stay silent from now on.
        lease_millis: u64,
    },
    /// A task is to end: at once where nobody works on it, else through its session.
    StopTask {
        /// Which.
        task: TaskId,
        /// Why.
        reason: StopReason,
    },
    /// Try a failed task again, as a new one.
    RetryTask {
        /// Which.
        task: TaskId,
        /// The chain's new limit on retries.
        retries_max: Option<u32>,
        /// Whether the new task is tried again by itself; as before where `None`.
        auto_retry: Option<bool>,
        /// Whether the new task goes on from what the failed one left, rather than from the
        /// beginning.
        #[serde(default)]
        continues: bool,
    },
    /// Change how long a task may take; a running one at once.
    SetTimeout {
        /// Which.
        task: TaskId,
        /// Seconds to add to the present limit (`None`: to no limit, which is refused).
        extend_seconds: u32,
    },
    /// Delete tasks that have ended. Those that cannot be deleted are left out of the answer.
    DeleteTasks {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// Delete one task, which may be waiting; or say why not.
    DeleteTask {
        /// Which.
        task: TaskId,
    },
    /// Bring back a deleted task.
    UndeleteTask {
        /// Which.
        task: TaskId,
        /// The key that it is to have.
        key: Rekey,
    },
    /// Remove for good what deleted tasks hold.
    PurgeTasks {
        /// Which.
        tasks: Vec<TaskId>,
    },
    /// Take tasks that have ended out of the ordinary lists, or put them back.
    ArchiveTasks {
        /// Which.
        tasks: Vec<TaskId>,
        /// Out (`true`) or back (`false`).
        archived: bool,
    },
    /// Note that what a task has reached was kept.
    RecordCheckpoint {
        /// Which task.
        task: TaskId,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The SHA-256 of its manifest.
        manifest: String,
        /// The manifest itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// Keep what a paper in a task's folder says now; nothing where that is kept already.
    KeepPaper {
        /// Which task.
        task: TaskId,
        /// Which paper.
        paper: Paper,
        /// All of it.
        content: String,
    },
    /// Queue a task like another one, that goes on from a checkpoint of it.
    ForkTask {
        /// The task that the checkpoint is of.
        task: TaskId,
        /// What the new one goes on from.
        continues: Continuation,
        /// Where it edits.
        workspace: WorkspaceMode,
        /// What it is told besides.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// The agent that does it; the same as before where `None`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentName>,
        /// Refuse where the task has not ended.
        only_ended: bool,
        /// The queue's limits.
        queue: QueueLimits,
    },
    /// Send a task that has not ended back to a checkpoint: whoever works on it is ended, and
    /// another session goes on from there.
    RewindTask {
        /// Which.
        task: TaskId,
        /// What it goes on from.
        continues: Continuation,
        /// Where it edits then.
        workspace: WorkspaceMode,
    },
    /// An outside agent joins an external task.
    Attach {
        /// Which.
        task: TaskId,
        /// The agent.
        agent: AgentName,
        /// The process that speaks for it.
        launcher: ProcessIdentity,
        /// How long it may stay silent.
        lease_millis: u64,
    },
    /// An outside agent leaves; without an agent's name the only one.
    Detach {
        /// Which.
        task: TaskId,
        /// The agent that leaves.
        agent: Option<AgentName>,
    },
    /// The holder of an external task ends it.
    EndExternal {
        /// Which.
        task: TaskId,
        /// The agent that speaks, where several hold it.
        agent: Option<AgentName>,
        /// Why it failed; completed where `None`.
        failure: Option<Failure>,
        /// What came of it, in its holder's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        /// What the checks said that were run before this.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gates: Vec<GateResult>,
        /// What follows if it failed.
        recovery: RecoveryPolicy,
    },
    /// Heads of the log are signed by another key from now on; it stands in the log of a project.
    RecordKeyRotation {
        /// The project from which it was asked for.
        project: ProjectId,
        /// Which keys.
        rotated: KeyRotated,
    },
    /// Change locks of a project.
    Lock {
        /// Which project.
        project: ProjectId,
        /// What is asked.
        command: Box<LockCommand>,
    },
    /// A daemon has started; it stands in the log of each project in which it found anything.
    RecordDaemonStart {
        /// The project.
        project: ProjectId,
        /// What it found.
        found: DaemonStarted,
    },
    /// Change something only where everything is still as the caller has seen it.
    Expecting {
        /// What was seen.
        expected: Vec<Expected>,
        /// What to change.
        command: Box<Command>,
    },
    /// Allow so much and no more. What is there already stays.
    SetQuota {
        /// The project from which it is asked for.
        project: ProjectId,
        /// Which.
        key: QuotaKey,
        /// So much.
        max: u64,
    },
    /// Remove a quota.
    RemoveQuota {
        /// The project from which it is asked for.
        project: ProjectId,
        /// Which.
        key: QuotaKey,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "output", rename_all = "snake_case")]
pub enum Output {
    /// A project, registered now or before.
    Project {
        /// It.
        project: Project,
    },
    /// One task, as it is now.
    Task {
        /// It.
        task: Box<Task>,
        /// How many tasks have not ended, where the queue is over its limit.
        queue_over: Option<u64>,
    },
    /// Sessions to start runners for, in the order of their tasks' turns.
    Claimed {
        /// Each with its task.
        claims: Vec<(Session, Task)>,
        /// How many run now, with these.
        running: u32,
    },
    /// One session, as it is now.
    Session {
        /// It.
        session: Box<Session>,
    },
    /// A task that ends, or the session that has to end first.
    Stopping {
        /// The task, as it is now.
        task: Box<Task>,
        /// The session that was told to stop.
        session: Option<Box<Session>>,
    },
    /// To [`Command::ImportTasks`].
    Imported {
        /// Those that are new: their ids over there and here.
        imported: Vec<(TaskId, TaskId)>,
        /// Those that were here already, by their ids over there.
        known: Vec<TaskId>,
        /// Those that could not be taken.
        refused: Vec<RefusedImport>,
    },
    /// A node, as it is now.
    Node {
        /// It.
        node: Box<Node>,
    },
    /// Who leads now.
    Leader {
        /// The leader.
        leader: Leader,
    },
    /// What was lost.
    Lost {
        /// Nodes that were not heard of in time.
        nodes: Vec<Node>,
        /// Sessions whose tasks went back to the queue, or failed by it.
        sessions: Vec<Session>,
    },
    /// To [`Command::Lock`].
    Lock {
        /// What came of it.
        reply: LockReply,
    },
    /// Tasks that were changed.
    Tasks {
        /// Their ids.
        tasks: Vec<TaskId>,
    },
    /// A quota as it is now, or as it was when it was removed.
    Quota {
        /// It.
        quota: Quota,
        /// How much there is of what it counts.
        used: u64,
    },
}

/// Applies a command inside a transaction: the same function for every store.
///
/// # Errors
/// Whatever the verb refuses. The transaction must then be rolled back.
pub fn apply(tx: &mut dyn Tx, request: &Request) -> Result<Reply, Error> {
    for effect in &request.done {
        tx.remove_effect(effect)?;
    }
    let mut change = verbs::Change::new(tx, &request.meta);
    let output = dispatch(&mut change, &request.command)?;
    Ok(Reply {
        output,
        effects: change.into_effects(),
    })
}

fn dispatch(change: &mut verbs::Change<'_>, command: &Command) -> Result<Output, Error> {
    match command {
        Command::RegisterProject { root, name } => verbs::register_project(change, root, name),
        Command::RegisterCheckout {
            node,
            root,
            name,
            remote,
        } => verbs::register_checkout(change, *node, root, name, remote.as_deref()),
        Command::Node { node, command } => verbs::tell_node(change, *node, command),
        Command::Lead { node, lease_millis } => verbs::lead(change, *node, *lease_millis),
        Command::RecoverLost {
            node,
            fence,
            patience_millis,
            recovery,
        } => verbs::recover_lost(change, *node, *fence, *patience_millis, recovery),
        Command::CreateTask {
            project,
            task,
            queue,
        } => verbs::create_task(change, *project, task, queue),
        Command::ImportTasks {
            project,
            tasks,
            keep_ids,
        } => verbs::import_tasks(change, *project, tasks, *keep_ids),
        Command::Claim {
            project,
            task,
            policy,
            launcher,
            node,
            lease_millis,
        } => {
            let terms = verbs::ClaimTerms {
                policy,
                launcher,
                node: *node,
                lease_millis: *lease_millis,
            };
            match task {
                Some(task) => verbs::claim_task(change, *task, &terms),
                None => verbs::claim_next(change, *project, &terms),
            }
        }
        Command::Session {
            session,
            fence,
            command,
            recovery,
        } => verbs::advance_session(change, *session, *fence, command, recovery),
        Command::RenewLease {
            session,
            fence,
            lease_millis,
        } => verbs::renew_lease(change, *session, *fence, *lease_millis),
        Command::StopTask { task, reason } => verbs::stop_task(change, *task, *reason),
        Command::RetryTask {
            task,
            retries_max,
            auto_retry,
            continues,
        } => verbs::retry_task(change, *task, *retries_max, *auto_retry, *continues),
        Command::SetTimeout {
            task,
            extend_seconds,
        } => verbs::extend_timeout(change, *task, *extend_seconds),
        Command::DeleteTasks { tasks } => verbs::delete_tasks(change, tasks),
        Command::DeleteTask { task } => verbs::delete_task(change, *task),
        Command::UndeleteTask { task, key } => verbs::undelete_task(change, *task, key),
        Command::PurgeTasks { tasks } => verbs::purge_tasks(change, tasks),
        Command::ArchiveTasks { tasks, archived } => verbs::archive_tasks(change, tasks, *archived),
        Command::RecordCheckpoint {
            task,
            checkpoint,
            manifest,
            content,
        } => verbs::record_checkpoint(change, *task, *checkpoint, manifest, content.clone()),
        Command::KeepPaper {
            task,
            paper,
            content,
        } => verbs::keep_paper(change, *task, *paper, content),
        Command::RewindTask {
            task,
            continues,
            workspace,
        } => verbs::rewind_task(change, *task, continues, *workspace),
        Command::ForkTask {
            task,
            continues,
            workspace,
            hint,
            agent,
            only_ended,
            queue,
        } => {
            let fork = verbs::Fork {
                continues,
                workspace: *workspace,
                hint: hint.as_deref(),
                agent: agent.as_ref(),
                only_ended: *only_ended,
            };
            verbs::fork_task(change, *task, &fork, queue)
        }
        Command::Attach {
            task,
            agent,
            launcher,
            lease_millis,
        } => verbs::attach(change, *task, agent, launcher, *lease_millis),
        Command::RecordKeyRotation { project, rotated } => {
            verbs::record_key_rotation(change, *project, rotated)
        }
        Command::RecordDaemonStart { project, found } => {
            verbs::record_daemon_start(change, *project, found)
        }
        Command::Expecting { expected, command } => {
            match expected::conflict(&*change.tx(), expected)? {
                None => dispatch(change, command),
                Some(conflict) => {
                    // Rolled back with everything else, as the answer is an error.
                    let verdict = dispatch(change, command);
                    Err(Error::Version(Box::new(conflict.judged(verdict)?)))
                }
            }
        }
        Command::SetQuota { project, key, max } => verbs::set_quota(change, *project, key, *max),
        Command::RemoveQuota { project, key } => verbs::remove_quota(change, *project, key),
        Command::Lock { project, command } => verbs::change_locks(change, *project, command),
        Command::Detach { task, agent } => verbs::detach(change, *task, agent.as_ref()),
        Command::EndExternal {
            task,
            agent,
            failure,
            summary,
            gates,
            recovery,
        } => {
            let end = verbs::ExternalEnd {
                failure: failure.as_ref(),
                summary: summary.as_deref(),
                gates,
            };
            verbs::end_external(change, *task, agent.as_ref(), &end, recovery)
        }
    }
}

impl Command {
    /// The same, only where a task has this version still; without a version as it is.
    #[must_use]
    pub fn if_task(self, id: TaskId, version: Option<u64>) -> Self {
        match version {
            None => self,
            Some(version) => Self::Expecting {
                expected: vec![Expected::Task { id, version }],
                command: Box::new(self),
            },
        }
    }
}
