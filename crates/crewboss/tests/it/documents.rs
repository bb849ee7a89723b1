//! Every document that is printed is the one that `api_types` describes.

use api_types::{
    ArchiveListDocument, ArchiveStatsDocument, Body, CancelDocument, CheckpointDiffDocument,
    CheckpointDocument, CheckpointListDocument, CheckpointsDeletedDocument, CleanDocument,
    ConfigDocument, ConfigPathDocument, ConfigValueDocument, DecisionDocument,
    DecisionListDocument, DepsDocument, DepsGraphDocument, DepsValidateDocument, DiffDocument,
    DoctorDocument, Document, ErrorDocument, HistoryDocument, HistoryVerifyDocument,
    IndexRebuildDocument, IndexStatsDocument, IndexVerifyDocument, LogsDocument, MergeDocument,
    NoteDocument, ProblemCode, ProjectDocument, RunDocument, SCHEMA_VERSION, SessionDocument,
    StatusDocument, TaskDetailsDocument, TaskDocument, TimeoutsDocument, WaitDocument,
};
use serde::de::DeserializeOwned;

use crate::place::{Place, Ran};

/// The document that a command prints, read by its type and found to be all that was printed.
#[track_caller]
fn read<T: Body + DeserializeOwned>(ran: &Ran) -> T {
    let document: Document<T> =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    assert_eq!(document.schema, T::SCHEMA);
    assert_eq!(document.schema_version, SCHEMA_VERSION);
    assert_eq!(serde_json::to_value(&document).unwrap(), ran.json());
    document.body
}

#[track_caller]
fn print<T: Body + DeserializeOwned>(place: &Place, args: &[&str]) -> T {
    let args: Vec<&str> = args.iter().chain(&["--json"]).copied().collect();
    read(&place.run(&args).ok())
}

#[test]
fn who_runs_and_waits_gets_one_document() {
    let place = Place::repository();
    place.start(&["writer", "one"]);
    let waited: WaitDocument = print(&place, &["run", "--wait"]);
    assert_eq!(waited.tasks.len(), 1);
    assert_eq!(print::<WaitDocument>(&place, &["run", "--wait"]).tasks, []);
}

#[test]
fn the_queue() {
    let place = Place::repository();
    let empty: StatusDocument = print(&place, &["status"]);
    assert_eq!((empty.project, empty.counts.len()), (None, 5));
    assert_eq!(print::<RunDocument>(&place, &["run"]).running, 0);
    print::<ProjectDocument>(&place, &["init", "--yes"]);
    let first: TaskDocument = print(&place, &["start", "writer", "one", "--timeout", "600"]);
    let first = first.id.to_string();
    let second: TaskDocument = print(&place, &["start", "writer", "two", "--depends-on", &first]);
    assert_eq!(second.depends_on[0].to_string(), first);
    let second = second.id.to_string();
    let status: StatusDocument = print(&place, &["status"]);
    assert_eq!(status.tasks[1].blocked_by[0].id.to_string(), first);
    assert_eq!(
        print::<TimeoutsDocument>(&place, &["timeout", "list"])
            .tasks
            .len(),
        1
    );
    print::<DepsDocument>(&place, &["deps", "show", &second]);
    print::<DepsGraphDocument>(&place, &["deps", "graph"]);
    assert!(print::<DepsValidateDocument>(&place, &["deps", "validate"]).valid);

    let started: RunDocument = print(&place, &["run", &first]);
    assert_eq!(started.started[0].id.to_string(), first);
    let waited: WaitDocument = print(&place, &["wait", &first]);
    assert_eq!(waited.tasks[0].id.to_string(), first);
    let shown: TaskDetailsDocument = print(&place, &["show", &first]);
    let session = shown.session.unwrap();
    assert_eq!(session.branch, shown.branch);
    assert_eq!(session.usage, shown.usage);
    assert_eq!(shown.dependants[0].to_string(), second);
    assert_eq!(
        print::<LogsDocument>(&place, &["logs", &first]).lines,
        ["working"]
    );
    let noted: NoteDocument = print(&place, &["note", &first, "x"]);
    let history: HistoryDocument = print(&place, &["history", &first]);
    assert_eq!(
        history.entries.last().map(|entry| entry.seq),
        Some(noted.seq)
    );
    assert!(print::<HistoryVerifyDocument>(&place, &["history", &first, "--verify"]).intact);
    let add = ["decision", "add", &first, "--decision", "x"];
    let added: DecisionDocument = print(&place, &add);
    let listed: DecisionListDocument = print(&place, &["decision", "list", &first]);
    assert_eq!(listed.decisions, [added.added]);
    assert_eq!(
        print::<DiffDocument>(&place, &["diff", &first]).files.len(),
        1
    );
    assert!(!print::<MergeDocument>(&place, &["merge", &first]).already);
    let made: CheckpointDocument = print(&place, &["checkpoint", "create", &first]);
    let made = made.id.to_string();
    let list: CheckpointListDocument = print(&place, &["checkpoint", "list", &first]);
    assert_eq!(list.checkpoints.len(), 2, "one before the merge");
    let shown: CheckpointDocument = print(&place, &["checkpoint", "show", &made]);
    assert_eq!(shown, list.checkpoints[0]);
    print::<CheckpointDiffDocument>(&place, &["checkpoint", "diff", &first, &made]);
    let fork: TaskDocument = print(&place, &["checkpoint", "fork", &first, "--with", "more"]);
    assert_eq!(fork.forked_from.unwrap().to_string(), first);
    print::<CancelDocument>(&place, &["cancel", &fork.id.to_string()]);
    print::<CheckpointsDeletedDocument>(&place, &["checkpoint", "prune", "--dry-run"]);
    let gone: CheckpointsDeletedDocument = print(&place, &["checkpoint", "delete", &made]);
    assert_eq!(gone.deleted[0].to_string(), made);
    print::<CancelDocument>(&place, &["cancel", &second]);
    print::<IndexRebuildDocument>(&place, &["index", "rebuild"]);
    assert_eq!(
        print::<IndexStatsDocument>(&place, &["index", "stats"]).total,
        3
    );
    assert!(print::<IndexVerifyDocument>(&place, &["index", "verify"]).consistent);
    print::<ArchiveStatsDocument>(&place, &["archive", "stats"]);
    print::<ArchiveListDocument>(&place, &["archive", "list"]);
    let cleaned: CleanDocument = print(&place, &["clean", "cancelled", "--yes"]);
    assert_eq!(cleaned.deleted[0].to_string(), second);
}

#[test]
fn configuration_health_and_outside_agents() {
    let place = Place::folder();
    place.configure("[gates.ok]\nrun = \"true\"\n");
    assert_eq!(
        print::<ConfigDocument>(&place, &["config", "show"])
            .gates
            .len(),
        1
    );
    let value: ConfigValueDocument = print(&place, &["config", "get", "external.lease_seconds"]);
    assert_eq!(value.value, 3600);
    print::<ConfigValueDocument>(&place, &["config", "set", "run.parallel", "2"]);
    print::<ConfigPathDocument>(&place, &["config", "path"]);
    let doctor = place.run(&["doctor", "--json"]);
    assert!(!read::<DoctorDocument>(&doctor).checks.is_empty());
    let id = place.run(&["task", "create", "reviewer", "x"]).ok().id();
    let held: SessionDocument = print(&place, &["task", "attach", &id, "--agent", "human"]);
    assert_eq!((held.task.to_string(), held.runner_pid), (id.clone(), None));
    let done: api_types::CheckedTaskDocument = print(&place, &["task", "complete", &id]);
    assert_eq!(done.gates.len(), 1);
}

#[test]
fn a_failure_is_one_document_too() {
    let place = Place::folder();
    let id = place.start(&["writer", "x"]);
    place.run(&["cancel", &id]).ok();
    let cases: &[(&[&str], ProblemCode)] = &[
        (&["show", "task_1", "--json"], ProblemCode::NotFound),
        (&["show", "task_/../x", "--json"], ProblemCode::Invalid),
        (&["--nonsense", "--json"], ProblemCode::Invalid),
        (&["retry", &id, "--json"], ProblemCode::Rejected),
        (&["cancel", &id, "--json"], ProblemCode::Rejected),
        (
            &["--project", "/nowhere/at/all", "status", "--json"],
            ProblemCode::NotFound,
        ),
    ];
    for (args, code) in cases {
        let ran = place.run(args);
        let error: ErrorDocument = read(&ran);
        assert_eq!(error.code, *code, "{args:?}: {ran:#?}");
        assert_eq!(i32::from(error.exit_code), ran.code, "{args:?}");
        assert!(ran.err.contains(&error.message), "{args:?}: {ran:#?}");
    }
    // One that has printed its document prints no second one.
    let other = place.start(&["writer", "x"]);
    let both = place.run(&["cancel", &other, &id, "--json"]);
    let done: CancelDocument = read(&both);
    assert_eq!((both.code, done.tasks.len()), (4, 1), "{both:#?}");
    // And without the flag standard output stays for data.
    assert_eq!(place.run(&["show", "task_1"]).out, "");
}
