//! What tests of every document need: a task and a session that have ended, and the check itself.

use std::fmt::Debug;

use domain::{
    failure::{Failure, FailureReason},
    gate::{GateResult, GateStatus},
    process::{Exit, ProcessIdentity},
    session::{Outcome, Session, SessionKind, SessionResult, SessionStatus},
    task::{Chain, Limits, Task, TaskKind, TaskMode, TaskSpec, TaskState},
    time::{BootId, Moment, Timestamp},
    usage::Usage,
    workspace::{ChangeStatus, ChangedFile, WorkspaceMode, WorkspaceRecord},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Body, Document};

/// A document reads back as what it was, also for a reader that is older than its writer.
#[track_caller]
pub(crate) fn check<T>(body: &T)
where
    T: Body + DeserializeOwned + PartialEq + Debug + Clone,
{
    let document = Document::new(body.clone());
    let mut printed = serde_json::to_value(&document).unwrap();
    assert_eq!(printed["schema"], T::SCHEMA);
    assert_eq!(read::<Document<T>>(&printed), document);
    add_fields(&mut printed);
    assert_eq!(read::<Document<T>>(&printed).body, *body);
}

fn read<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    serde_json::from_str(&value.to_string()).unwrap()
}

/// What a later version may add: at the top, and in the objects of every list.
fn add_fields(document: &mut Value) {
    let later = || ("of_a_later_version".to_owned(), Value::from("x"));
    let Value::Object(fields) = document else {
        return;
    };
    for value in fields.values_mut() {
        for item in value.as_array_mut().into_iter().flatten() {
            if let Value::Object(item) = item {
                item.extend([later()]);
            }
        }
    }
    fields.extend([later()]);
}

const AT: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn failure() -> Failure {
    Failure::new(FailureReason::GateFailed, "gate `test` failed").with_details("1 of 2")
}

/// A task that has failed.
pub(crate) fn task() -> Task {
    let id = "task_4".parse().unwrap();
    Task {
        id,
        project: "prj_1".parse().unwrap(),
        spec: TaskSpec {
            agent: "coder".parse().unwrap(),
            prompt: "Do it\nwell".to_owned(),
            name: "Do it".to_owned(),
            key: None,
            owner: "me".to_owned(),
            labels: vec!["a".to_owned()],
            metadata: [("k".to_owned(), "v".to_owned())].into(),
            priority: 7.try_into().unwrap(),
            depends_on: vec!["task_3".parse().unwrap()],
            workspace: Some(WorkspaceMode::InPlace),
            gates: vec![],
            require_diff: false,
            continues: None,
            forked_from: None,
            kind: TaskKind::External,
            mode: TaskMode::Collaborative,
        },
        limits: Limits::default(),
        chain: Chain {
            root: id,
            retry_of: None,
            retry_count: 0,
            retried_by: None,
        },
        state: TaskState::Failed {
            failure: failure(),
            at: AT,
        },
        fence: 3,
        requeues: 0,
        not_before: None,
        archived_at: Some(AT),
        deleted_at: None,
        purged_at: None,
        created_at: AT,
        updated_at: AT,
        version: 5,
    }
}

/// Its session.
pub(crate) fn session() -> Session {
    let boot = BootId("b".to_owned());
    let process = ProcessIdentity {
        pid: 7,
        start_ticks: 1,
        boot: boot.clone(),
        namespace: None,
    };
    Session {
        id: "ses_9".parse().unwrap(),
        task: task().id,
        project: task().project,
        fence: 3,
        agent: "coder".parse().unwrap(),
        kind: SessionKind::Managed,
        status: SessionStatus::Failed,
        node: None,
        launcher: process.clone(),
        runner: Some(process.clone()),
        process: Some(process),
        lease_until: Moment { boot, millis: 1 },
        stop: None,
        deadline: None,
        workspace: Some(WorkspaceRecord {
            mode: WorkspaceMode::InPlace,
            path: "/p".into(),
            directory: "/p".into(),
            repository: None,
            target: None,
            base: None,
            start: None,
            branch: None,
            remote: None,
        }),
        gates: vec![],
        outcome: Some(outcome()),
        started_at: Some(AT),
        created_at: AT,
        updated_at: AT,
        version: 4,
    }
}

fn outcome() -> Outcome {
    Outcome {
        exit: Some(Exit::Signal(9)),
        usage: Usage {
            input: 5,
            ..Usage::default()
        },
        commit: Some("a".repeat(40).parse().unwrap()),
        changes: vec![ChangedFile {
            path: "x".to_owned(),
            status: ChangeStatus::Added,
            from: None,
            insertions: Some(1),
            deletions: None,
        }],
        gates: vec![GateResult {
            name: "test".to_owned(),
            required: true,
            status: GateStatus::Failed,
            exit: Some(Exit::Code(3)),
            duration_ms: 20,
            tail: "1 of 2".to_owned(),
            output: Some("gates/test.log".to_owned()),
        }],
        warnings: vec!["w".to_owned()],
        ..Outcome::bare(SessionResult::Failed { failure: failure() }, AT)
    }
}
