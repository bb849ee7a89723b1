//! Random lives of tasks and sessions.

use domain::{
    failure::{Failure, FailureReason},
    id::{ProjectId, SessionId, TaskId},
    process::ProcessIdentity,
    retry::Backoff,
    session::{
        Outcome, Session, SessionCommand, SessionKind, SessionResult, SessionStatus, StopReason,
    },
    task::{
        Chain, Continuation, Limits, Paper, Priority, Task, TaskCommand, TaskKind, TaskMode,
        TaskSpec, TaskState,
    },
    time::{BootId, Moment, Now, Timestamp},
    workspace::WorkspaceMode,
};
use proptest::prelude::*;

fn task_id(number: u64) -> TaskId {
    TaskId::from_number(number).expect("a number")
}

fn session_id(number: u64) -> SessionId {
    SessionId::from_number(number).expect("a number")
}

fn moment() -> Moment {
    Moment {
        boot: BootId("boot".to_owned()),
        millis: 5,
    }
}

fn process(pid: u32) -> ProcessIdentity {
    ProcessIdentity {
        pid,
        start_ticks: 1,
        boot: BootId("boot".to_owned()),
        namespace: None,
    }
}

fn task(kind: TaskKind, mode: TaskMode) -> Task {
    Task {
        id: task_id(1),
        project: ProjectId::from_number(1).expect("a number"),
        spec: TaskSpec {
            agent: "coder".parse().expect("a name"),
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
            kind,
            mode,
        },
        limits: Limits::default(),
        chain: Chain {
            root: task_id(1),
            retry_of: None,
            retry_count: 0,
            retried_by: None,
        },
        state: TaskState::Pending,
        fence: 0,
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

fn failure() -> Failure {
    Failure::new(FailureReason::AgentError, "no")
}

fn task_command() -> impl Strategy<Value = TaskCommand> {
    let fence = || 0..6_u64;
    let session = || (1..4_u64).prop_map(session_id);
    prop_oneof![
        session().prop_map(|session| TaskCommand::Claim { session }),
        session().prop_map(|session| TaskCommand::Attach { session }),
        session().prop_map(|session| TaskCommand::Detach { session }),
        (fence(), 0..3_u32, any::<bool>()).prop_map(|(fence, requeues_max, counts)| {
            TaskCommand::Requeue {
                fence,
                requeues_max,
                counts,
            }
        }),
        fence().prop_map(|fence| TaskCommand::Complete { fence }),
        fence().prop_map(|fence| TaskCommand::Fail {
            fence,
            failure: failure()
        }),
        prop::option::of(fence()).prop_map(|fence| TaskCommand::Cancel { fence }),
        (2..4_u64, 0..3_u32).prop_map(|(by, retries_max)| TaskCommand::Retry {
            by: task_id(by),
            retries_max
        }),
        (1..100_u32).prop_map(|seconds| TaskCommand::ChangeLimits {
            limits: Limits {
                timeout_seconds: Some(seconds),
                ..Limits::default()
            }
        }),
        any::<bool>().prop_map(|archived| TaskCommand::Archive { archived }),
        Just(TaskCommand::Delete),
        Just(TaskCommand::Checkpoint {
            checkpoint: "ckp_1".parse().expect("an id"),
            manifest: String::new(),
            content: None,
        }),
        Just(TaskCommand::KeepPaper {
            paper: Paper::Plan,
            base: 0,
            text: String::new(),
        }),
        Just(TaskCommand::Rewind {
            continues: Continuation {
                session: session_id(1),
                commit: None,
                checkpoint: Some("ckp_1".parse().expect("an id")),
                rewound: None,
            },
            workspace: WorkspaceMode::Worktree,
        }),
    ]
}

fn session_command() -> impl Strategy<Value = SessionCommand> {
    let result = prop_oneof![
        Just(SessionResult::Completed),
        Just(SessionResult::Cancelled),
        Just(SessionResult::Failed { failure: failure() }),
    ];
    prop_oneof![
        3 => (1..3_u32).prop_map(|pid| SessionCommand::Begin { runner: process(pid) }),
        3 => Just(SessionCommand::Launched { process: process(7), deadline: None }),
        2 => Just(SessionCommand::Verify { gates: vec![] }),
        1 => Just(SessionCommand::Stop { reason: StopReason::Cancel }),
        1 => Just(SessionCommand::Stop { reason: StopReason::Rewind }),
        1 => Just(SessionCommand::MoveDeadline { deadline: None }),
        1 => result.prop_map(|result| SessionCommand::Finish {
            outcome: Box::new(Outcome::bare(result, Timestamp::default())),
        }),
        1 => prop::option::of((1..3_u32).prop_map(process)).prop_map(|runner| {
            SessionCommand::Orphan {
                why: "lost".to_owned(),
                runner,
                lease_until: moment(),
                counts: true,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_task_counts_its_changes_and_never_leaves_a_terminal_state(
        commands in prop::collection::vec(task_command(), 0..40),
        external in any::<bool>(),
        shared in any::<bool>(),
    ) {
        let kind = if external { TaskKind::External } else { TaskKind::Managed };
        let mode = if shared { TaskMode::Collaborative } else { TaskMode::Exclusive };
        let mut task = task(kind, mode);
        for command in &commands {
            let Ok(events) = task.decide(command) else { continue };
            for event in &events {
                let before = task.clone();
                task = task.evolve(event, Timestamp::from_millis(1));
                prop_assert_eq!(task.version, before.version + 1);
                prop_assert!(task.fence >= before.fence);
                if before.status().is_terminal() {
                    prop_assert_eq!(&task.state, &before.state);
                }
                if before.chain.retried_by.is_some() {
                    prop_assert_eq!(task.chain.retried_by, before.chain.retried_by);
                }
                if mode == TaskMode::Exclusive {
                    prop_assert!(task.sessions().len() <= 1);
                }
            }
            if !events.is_empty() && command != &TaskCommand::Delete {
                let again = task.decide(command);
                let twice = matches!(command, TaskCommand::Complete { .. }
                    | TaskCommand::Fail { .. } | TaskCommand::Retry { .. });
                prop_assert!(!twice || !again.is_ok_and(|events| !events.is_empty()));
            }
        }
    }

    #[test]
    fn a_session_counts_its_changes_and_ends_once(
        commands in prop::collection::vec((session_command(), 2..4_u64), 0..40),
    ) {
        let mut session = Session {
            id: session_id(1),
            task: task_id(1),
            project: ProjectId::from_number(1).expect("a number"),
            fence: 3,
            agent: "coder".parse().expect("a name"),
            kind: SessionKind::Managed,
            status: SessionStatus::Queued,
            node: None,
            launcher: process(1),
            runner: None,
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
        };
        for (command, fence) in &commands {
            let Ok(events) = session.decide(*fence, command) else { continue };
            prop_assert!(*fence == 3 || events.is_empty(), "a void fence");
            for event in &events {
                let before = session.clone();
                session = session.evolve(event, Timestamp::from_millis(1));
                prop_assert_eq!(session.version, before.version + 1);
                prop_assert!(!before.status.is_terminal());
                if before.stop == Some(StopReason::Cancel) {
                    prop_assert_eq!(session.stop, before.stop);
                }
            }
        }
    }

    #[test]
    fn a_chain_counts_its_retries_keeps_its_root_and_never_forks(
        rounds in prop::collection::vec((any::<bool>(), 0..6_u32), 1..12),
    ) {
        let now = Now { wall: Timestamp::default(), moment: moment() };
        let at = now.wall;
        let mut chain = vec![task(TaskKind::Managed, TaskMode::Exclusive)];
        for (next, (auto, retries_max)) in (2..).zip(rounds) {
            let last = chain.len() - 1;
            for command in [
                TaskCommand::Claim { session: session_id(next) },
                TaskCommand::Fail { fence: 1, failure: failure() },
                TaskCommand::Retry { by: task_id(next), retries_max },
            ] {
                let tail = chain[last].clone();
                let events = tail.decide(&command).unwrap_or_default();
                chain[last] = events.iter().fold(tail, |task, event| task.evolve(event, at));
            }
            if chain[last].chain.retried_by != Some(task_id(next)) {
                prop_assert!(chain[last].chain.retry_count >= retries_max);
                continue;
            }
            let backoff = Backoff::default();
            let wait = auto.then_some(&backoff);
            let limits = chain[last].limits.clone();
            chain.push(chain[last].successor(task_id(next), limits, wait, &now));
        }
        for (count, task) in (0..).zip(&chain) {
            prop_assert_eq!(task.chain.retry_count, count);
            prop_assert_eq!(task.chain.root, task_id(1));
        }
        for pair in chain.windows(2) {
            prop_assert_eq!(pair[0].chain.retried_by, Some(pair[1].id));
            prop_assert_eq!(pair[1].chain.retry_of, Some(pair[0].id));
        }
    }
}
