//! The life of tasks and sessions as tables and diagrams, made by asking `decide` and `evolve`.
//!
//! The documentation renders them, and a reviewed snapshot holds them.

use std::fmt::Write as _;

use crate::{
    agent::AgentName,
    failure::{Failure, FailureReason},
    id::{ProjectId, SessionId, TaskId},
    process::ProcessIdentity,
    rejection::Rejected,
    session::{
        Outcome, Session, SessionCommand, SessionKind, SessionResult, SessionStatus, StopReason,
    },
    task::{
        Chain, Continuation, Limits, Paper, Priority, Task, TaskCommand, TaskKind, TaskMode,
        TaskSpec, TaskState, TaskStatus,
    },
    time::{BootId, Moment, Timestamp},
    workspace::{WorkspaceMode, WorkspaceRecord},
};

/// A row's name with the task that it starts from.
type TaskRow = (&'static str, Task);

/// A row's name with the session that it starts from.
type SessionRow = (String, Session);

/// What each command does to a task in each state, as a Markdown table.
///
/// A cell is the state that follows, `=` where nothing changes, or the refusal.
#[must_use]
pub fn task_table() -> String {
    let commands = task_commands();
    let mut table = heading("task", commands.iter().map(|(name, _)| *name));
    for (name, task) in task_rows() {
        let cells = commands.iter().map(|(_, command)| {
            let decided = task.decide(command);
            cell(decided, |events| {
                let after = events.iter().fold(task.clone(), |task, event| {
                    task.evolve(event, Timestamp::default())
                });
                describe(&after)
            })
        });
        push_row(&mut table, name, cells);
    }
    table
}

/// What each command does to a session in each status, as a Markdown table.
#[must_use]
pub fn session_table() -> String {
    let commands = session_commands();
    let mut table = heading("session", commands.iter().map(|(name, _)| *name));
    for (name, session) in session_rows() {
        let cells = commands.iter().map(|(_, command)| {
            let decided = session.decide(session.fence, command);
            cell(decided, |events| {
                let after = events.iter().fold(session.clone(), |session, event| {
                    session.evolve(event, Timestamp::default())
                });
                let stop = if after.stop.is_some() && session.stop.is_none() {
                    ", to stop"
                } else {
                    ""
                };
                format!("{}{stop}", after.status.as_str())
            })
        });
        push_row(&mut table, &name, cells);
    }
    table
}

/// The life of a task as a Mermaid state diagram.
#[must_use]
pub fn task_diagram() -> String {
    let rows = task_rows();
    let mut edges = Vec::new();
    for (_, task) in &rows {
        for (name, command) in task_commands() {
            let after = task
                .decide(&command)
                .unwrap_or_default()
                .iter()
                .fold(task.clone(), |task, event| {
                    task.evolve(event, Timestamp::default())
                });
            let (from, to) = (place(task), place(&after));
            if from != to {
                edges.push((from, to, name));
            }
        }
    }
    diagram(TaskStatus::Pending.as_str(), edges)
}

/// The life of a session as a Mermaid state diagram.
#[must_use]
pub fn session_diagram() -> String {
    let mut edges = Vec::new();
    for (_, session) in session_rows() {
        for (name, command) in session_commands() {
            let after = session
                .decide(session.fence, &command)
                .unwrap_or_default()
                .iter()
                .fold(session.clone(), |session, event| {
                    session.evolve(event, Timestamp::default())
                });
            if session.status != after.status {
                edges.push((session.status.as_str(), after.status.as_str(), name));
            }
        }
    }
    diagram(SessionStatus::Queued.as_str(), edges)
}

fn diagram(first: &str, edges: Vec<(&'static str, &'static str, &'static str)>) -> String {
    let mut text = format!("stateDiagram-v2\n    [*] --> {first}\n");
    let mut drawn: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    for (from, to, name) in edges {
        let known = drawn.iter_mut().find(|edge| (edge.0, edge.1) == (from, to));
        match known {
            Some((_, _, names)) if names.contains(&name) => {}
            Some((_, _, names)) => names.push(name),
            None => drawn.push((from, to, vec![name])),
        }
    }
    for (from, to, names) in drawn {
        let names = names.join(", ");
        writeln!(text, "    {from} --> {to}: {names}").expect("a string takes all");
    }
    text
}

fn heading<'a>(corner: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let rule = "---|".repeat(names.len() + 1);
    format!("| {corner} | {} |\n|{rule}\n", names.join(" | "))
}

fn push_row(table: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    writeln!(table, "| **{name}** | {} |", cells.join(" | ")).expect("a string takes all");
}

fn cell<E>(decided: Result<Vec<E>, Rejected>, after: impl FnOnce(Vec<E>) -> String) -> String {
    match decided {
        Ok(events) if events.is_empty() => "=".to_owned(),
        Ok(events) => after(events),
        Err(rejected) => format!("_{}_", rejected.why),
    }
}

fn place(task: &Task) -> &'static str {
    if task.purged_at.is_some() {
        "purged"
    } else if task.deleted_at.is_some() {
        "deleted"
    } else {
        task.status().as_str()
    }
}

fn describe(task: &Task) -> String {
    let mut text = place(task).to_owned();
    if task.archived_at.is_some() {
        text.push_str(", archived");
    }
    if let (TaskStatus::Running, sessions) = (task.status(), task.sessions().len()) {
        write!(text, ", {sessions} session(s)").expect("a string takes all");
    }
    if task.fence != FENCE {
        write!(text, ", fence {}", task.fence).expect("a string takes all");
    }
    text
}

/// The fence of every example.
const FENCE: u64 = 4;

fn task_id(number: u64) -> TaskId {
    TaskId::from_number(number).expect("a number from 1")
}

fn session_id(number: u64) -> SessionId {
    SessionId::from_number(number).expect("a number from 1")
}

fn project_id() -> ProjectId {
    ProjectId::from_number(1).expect("a number from 1")
}

fn agent() -> AgentName {
    "coder".parse().expect("a name of an agent")
}

fn failure() -> Failure {
    Failure::new(FailureReason::AgentError, "it said so")
}

fn process(pid: u32) -> ProcessIdentity {
    ProcessIdentity {
        pid,
        start_ticks: 1,
        boot: BootId("boot".to_owned()),
        namespace: None,
    }
}

fn moment() -> Moment {
    Moment {
        boot: BootId("boot".to_owned()),
        millis: 1,
    }
}

fn task_in(state: TaskState) -> Task {
    Task {
        id: task_id(1),
        project: project_id(),
        spec: TaskSpec {
            agent: agent(),
            prompt: "do it".to_owned(),
            name: "do it".to_owned(),
            key: None,
            owner: "ada".to_owned(),
            labels: vec![],
            metadata: std::collections::BTreeMap::new(),
            priority: Priority::DEFAULT,
            depends_on: vec![],
            workspace: None,
            gates: vec![],
            require_diff: false,
            continues: None,
            forked_from: None,
            kind: TaskKind::Managed,
            mode: TaskMode::Exclusive,
        },
        limits: Limits::default(),
        chain: Chain {
            root: task_id(1),
            retry_of: None,
            retry_count: 0,
            retried_by: None,
        },
        state,
        fence: FENCE,
        requeues: 0,
        not_before: None,
        archived_at: None,
        deleted_at: None,
        purged_at: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version: 1,
    }
}

fn task_rows() -> Vec<TaskRow> {
    let at = Timestamp::default();
    let pending = || task_in(TaskState::Pending);
    let running = |sessions: Vec<SessionId>| {
        task_in(TaskState::Running {
            sessions,
            since: at,
        })
    };
    let failed = || {
        let failure = failure();
        task_in(TaskState::Failed { failure, at })
    };
    let completed = || task_in(TaskState::Completed { at });
    let outside = |mut task: Task, mode| {
        task.spec.kind = TaskKind::External;
        task.spec.mode = mode;
        task
    };
    let worn_out = Task {
        requeues: 3,
        ..running(vec![session_id(1)])
    };
    let mut retried = failed();
    retried.chain.retried_by = Some(task_id(8));
    let mut exhausted = failed();
    exhausted.chain.retry_count = 3;
    let archived = Task {
        archived_at: Some(at),
        ..completed()
    };
    let deleted = Task {
        deleted_at: Some(at),
        ..completed()
    };
    let purged = Task {
        purged_at: Some(at),
        ..deleted.clone()
    };
    vec![
        ("pending", pending()),
        ("running", running(vec![session_id(1)])),
        ("running, requeued 3 times", worn_out),
        ("completed", completed()),
        ("failed", failed()),
        ("failed, retried", retried),
        ("failed, out of retries", exhausted),
        ("cancelled", task_in(TaskState::Cancelled { at })),
        ("archived", archived),
        ("deleted", deleted),
        ("purged", purged),
        ("external, pending", outside(pending(), TaskMode::Exclusive)),
        (
            "external, held",
            outside(running(vec![session_id(1)]), TaskMode::Exclusive),
        ),
        (
            "external, left",
            outside(running(vec![]), TaskMode::Exclusive),
        ),
        (
            "collaborative, held",
            outside(running(vec![session_id(1)]), TaskMode::Collaborative),
        ),
    ]
}

fn task_commands() -> Vec<(&'static str, TaskCommand)> {
    let more = Limits {
        timeout_seconds: Some(60),
        ..Limits::default()
    };
    let stale = FENCE - 1;
    vec![
        (
            "claim",
            TaskCommand::Claim {
                session: session_id(2),
            },
        ),
        (
            "attach",
            TaskCommand::Attach {
                session: session_id(2),
            },
        ),
        (
            "detach",
            TaskCommand::Detach {
                session: session_id(1),
            },
        ),
        (
            "requeue",
            TaskCommand::Requeue {
                fence: FENCE,
                requeues_max: 3,
                counts: true,
            },
        ),
        (
            "requeue without a loss",
            TaskCommand::Requeue {
                fence: FENCE,
                requeues_max: 0,
                counts: false,
            },
        ),
        ("complete", TaskCommand::Complete { fence: FENCE }),
        (
            "complete, stale fence",
            TaskCommand::Complete { fence: stale },
        ),
        (
            "fail",
            TaskCommand::Fail {
                fence: FENCE,
                failure: failure(),
            },
        ),
        (
            "cancel by its session",
            TaskCommand::Cancel { fence: Some(FENCE) },
        ),
        ("cancel", TaskCommand::Cancel { fence: None }),
        (
            "retry",
            TaskCommand::Retry {
                by: task_id(9),
                retries_max: 3,
            },
        ),
        ("change limits", TaskCommand::ChangeLimits { limits: more }),
        ("archive", TaskCommand::Archive { archived: true }),
        ("restore", TaskCommand::Archive { archived: false }),
        (
            "checkpoint",
            TaskCommand::Checkpoint {
                checkpoint: "ckp_1".parse().expect("an id"),
                manifest: String::new(),
                content: None,
            },
        ),
        (
            "keep a paper",
            TaskCommand::KeepPaper {
                paper: Paper::Plan,
                base: 0,
                text: String::new(),
            },
        ),
        (
            "rewind",
            TaskCommand::Rewind {
                continues: Continuation {
                    session: session_id(1),
                    commit: None,
                    checkpoint: Some("ckp_1".parse().expect("an id")),
                    rewound: None,
                },
                workspace: WorkspaceMode::Worktree,
            },
        ),
        ("delete", TaskCommand::Delete),
        ("undelete", TaskCommand::Undelete { key: None }),
        ("purge", TaskCommand::Purge),
    ]
}

fn session_in(status: SessionStatus) -> Session {
    let began = status != SessionStatus::Queued;
    Session {
        id: session_id(1),
        task: task_id(1),
        project: project_id(),
        fence: FENCE,
        agent: agent(),
        kind: SessionKind::Managed,
        status,
        node: None,
        launcher: process(1),
        runner: began.then(|| process(2)),
        process: None,
        lease_until: moment(),
        stop: None,
        deadline: None,
        workspace: None,
        gates: vec![],
        outcome: None,
        started_at: None,
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
        version: 1,
    }
}

fn session_rows() -> Vec<SessionRow> {
    let mut rows = Vec::new();
    for status in SessionStatus::ALL {
        let session = session_in(status);
        let told = Session {
            stop: Some(StopReason::Cancel),
            ..session.clone()
        };
        rows.push((status.as_str().to_owned(), session));
        if !status.is_terminal() {
            rows.push((format!("{}, to stop", status.as_str()), told));
        }
    }
    rows
}

fn session_commands() -> Vec<(&'static str, SessionCommand)> {
    let finish = |result| SessionCommand::Finish {
        outcome: Box::new(Outcome::bare(result, Timestamp::default())),
    };
    let workspace = WorkspaceRecord {
        mode: WorkspaceMode::Folder,
        path: "/w".into(),
        directory: "/w".into(),
        repository: None,
        target: None,
        base: None,
        start: None,
        branch: None,
        remote: None,
    };
    let launched = SessionCommand::Launched {
        process: process(3),
        deadline: None,
    };
    let deadline = Some(crate::time::Due {
        wall: Timestamp::default(),
        moment: moment(),
    });
    let lost = |pid: Option<u32>| SessionCommand::Orphan {
        why: "lost".to_owned(),
        runner: pid.map(process),
        lease_until: moment(),
        counts: true,
    };
    let cancel = StopReason::Cancel;
    let failed = SessionResult::Failed { failure: failure() };
    let timed_out = SessionResult::TimedOut { failure: failure() };
    vec![
        ("begin", SessionCommand::Begin { runner: process(2) }),
        (
            "begin, another runner",
            SessionCommand::Begin { runner: process(9) },
        ),
        ("prepared", SessionCommand::Prepared { workspace }),
        ("launched", launched),
        ("verify", SessionCommand::Verify { gates: vec![] }),
        ("stop", SessionCommand::Stop { reason: cancel }),
        ("move deadline", SessionCommand::MoveDeadline { deadline }),
        ("finish: completed", finish(SessionResult::Completed)),
        ("finish: failed", finish(failed)),
        ("finish: timed out", finish(timed_out)),
        ("finish: cancelled", finish(SessionResult::Cancelled)),
        ("finish: stopped", finish(SessionResult::Stopped)),
        ("orphan", lost(Some(2))),
        ("orphan, unbegun", lost(None)),
    ]
}
