use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    sync::{Mutex, PoisonError},
};

use domain::{
    failure::{Failure, FailureReason},
    id::SessionId,
    retry::Backoff,
    task::{Chain, Limits, Priority, TaskKind, TaskMode, TaskSpec, TaskState},
    time::{BootId, Moment, Timestamp},
};

use super::*;

/// Tasks in memory, and what was announced.
#[derive(Debug, Default)]
struct Known {
    tasks: Mutex<BTreeMap<TaskId, Task>>,
    millis: Mutex<u64>,
    revealed: Mutex<Vec<TaskId>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn put(&self, task: &Task) {
        locked(&self.tasks).insert(task.id, task.clone());
    }
}

impl Source for Known {
    fn details(&self, id: TaskId) -> Option<TaskDetails> {
        let tasks = locked(&self.tasks);
        let task = tasks.get(&id)?.clone();
        let chain = tasks
            .values()
            .filter(|other| other.chain.root == task.chain.root)
            .cloned();
        let dependencies = task
            .spec
            .depends_on
            .iter()
            .filter_map(|id| tasks.get(id))
            .cloned();
        Some(TaskDetails {
            chain: chain.collect(),
            dependencies: dependencies.collect(),
            view: TaskView {
                task,
                session: None,
                blocked_by: vec![],
                quotas: vec![],
            },
            sessions: vec![],
            dependants: vec![],
        })
    }

    fn now(&self) -> Now {
        let millis = *locked(&self.millis);
        Now {
            wall: Timestamp::from_millis(1_795_164_511_000 + i64::try_from(millis).unwrap()),
            moment: Moment {
                boot: BootId("b".to_owned()),
                millis,
            },
        }
    }

    fn revealed(&self, task: &Task) {
        locked(&self.revealed).push(task.id);
    }
}

/// Sessions have no files in these tests.
#[derive(Debug)]
struct Nothing;

fn none() -> FolderError {
    FolderError {
        act: "use",
        path: PathBuf::new(),
        source: io::ErrorKind::Unsupported.into(),
    }
}

impl Folders for Nothing {
    fn task_folder(&self, _: &Path, _: TaskId) -> Result<PathBuf, FolderError> {
        Err(none())
    }
    fn session_folder(&self, _: &SessionPlace) -> Result<PathBuf, FolderError> {
        Err(none())
    }
    fn private_folder(&self, _: &SessionPlace) -> Result<PathBuf, FolderError> {
        Err(none())
    }
    fn gates_folder(&self, _: &SessionPlace) -> Result<PathBuf, FolderError> {
        Err(none())
    }
    fn plan_file(&self, _: &Path, _: &Task) -> Result<PathBuf, FolderError> {
        Err(none())
    }
    fn open_log(&self, _: &SessionPlace, _: &LogLimits) -> Result<Box<dyn LogSink>, FolderError> {
        Err(none())
    }
    fn open_transcript(
        &self,
        _: &SessionPlace,
        _: &LogLimits,
        _: Redactor,
    ) -> Result<Box<dyn TranscriptSink>, FolderError> {
        Err(none())
    }
    fn write_outcome(&self, _: &SessionPlace, _: &Outcome) -> Result<(), FolderError> {
        Err(none())
    }
    fn read_outcome(&self, _: &SessionPlace) -> Result<Option<Outcome>, FolderError> {
        Ok(None)
    }
    fn show_task(&self, _: &Path, _: &Task) -> Result<(), FolderError> {
        Ok(())
    }
    fn shown_version(&self, _: &Path, _: TaskId) -> Option<u64> {
        None
    }
    fn remove_task(&self, _: &Path, _: TaskId) -> Result<(), FolderError> {
        Ok(())
    }
}

struct World {
    dir: tempfile::TempDir,
    known: Arc<Known>,
    folders: LayoutFolders,
}

impl World {
    fn new() -> Self {
        let known = Arc::new(Known::default());
        let source: Arc<dyn Source> = known.clone();
        Self {
            dir: tempfile::tempdir().unwrap(),
            folders: LayoutFolders::new(Layout::Orchestra, Arc::new(Nothing), source),
            known,
        }
    }

    fn show(&self, task: &Task) -> Shown {
        self.known.put(task);
        self.folders.show(self.dir.path(), task.id, false).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(".orchestra").join(name)
    }

    fn json(&self, id: TaskId) -> serde_json::Value {
        let text = fs::read(self.path(&format!("tasks/{id}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn inbox(&self) -> Inbox {
        self.folders.inbox(self.dir.path()).unwrap()
    }
}

fn task(number: u64) -> Task {
    let id = TaskId::from_number(number).unwrap();
    let at = Timestamp::from_millis(1_795_164_511_000);
    Task {
        id,
        project: "prj_1".parse().unwrap(),
        spec: TaskSpec {
            continues: None,
            forked_from: None,
            agent: "coder".parse().unwrap(),
            prompt: "Say \"hi\"\nand go".to_owned(),
            name: "Say hi".to_owned(),
            key: None,
            owner: "me".to_owned(),
            labels: vec![],
            metadata: BTreeMap::new(),
            priority: Priority::DEFAULT,
            depends_on: vec![],
            workspace: None,
            gates: vec![],
            require_diff: false,
            kind: TaskKind::Managed,
            mode: TaskMode::Exclusive,
        },
        limits: Limits::default(),
        chain: Chain {
            root: id,
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
        created_at: at,
        updated_at: at,
        version: 1,
    }
}

fn ended(mut task: Task, failure: Option<&str>) -> Task {
    let at = Timestamp::from_millis(1_795_164_512_000);
    task.state = match failure {
        Some(message) => TaskState::Failed {
            failure: Failure::new(FailureReason::AgentError, message),
            at,
        },
        None => TaskState::Completed { at },
    };
    task
}

#[test]
fn a_task_has_its_file_plan_and_place_in_the_index() {
    let world = World::new();
    assert_eq!(world.show(&task(1)), Shown::Created);
    assert_eq!(world.show(&task(1)), Shown::Unchanged);
    let json = world.json(task(1).id);
    assert_eq!(
        (&json["status"], &json["pid"]),
        (&"pending".into(), &serde_json::Value::Null)
    );
    assert_eq!(json["planFile"], ".orchestra/plans/task_1_plan.md");
    let plan = fs::read_to_string(world.path("plans/task_1_plan.md")).unwrap();
    assert!(plan.contains("Say \"hi\"\nand go"), "{plan}");
    assert!(
        world
            .folders
            .verify_index(world.dir.path())
            .unwrap()
            .is_none()
    );
    assert!(world.inbox().is_empty());
    fs::write(world.path("tasks/task_1.done"), "").unwrap();
    assert_eq!(world.show(&ended(task(1), None)), Shown::Updated);
    assert!(!world.path("tasks/task_1.done").exists());
    let names: Vec<_> = fs::read_dir(world.path("tasks"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_others_did_is_heard_and_not_written_over() {
    let world = World::new();
    for number in 1..=4 {
        world.show(&task(number));
    }
    let file = |number: u64| world.path(&format!("tasks/task_{number}.json"));
    let text = fs::read_to_string(file(1)).unwrap();
    let theirs = text
        .replace("\"pending\"", "\"cancelled\"")
        .replace("\n}", ",\n  \"mine\": 7\n}");
    fs::write(file(1), theirs).unwrap();
    fs::remove_file(file(2)).unwrap();
    fs::write(file(3), "{\"taskId\"").unwrap();
    fs::write(file(9), text.replace("task_1\"", "task_9\"")).unwrap();
    fs::write(file(8), "").unwrap();
    fs::write(world.path("tasks/note.json"), "{}").unwrap();
    fs::write(world.path("tasks/task_7.tmp"), "{").unwrap();
    let inbox = world.inbox();
    assert_eq!(
        inbox
            .fresh
            .iter()
            .map(|d| d.id.number())
            .collect::<Vec<_>>(),
        [9]
    );
    assert_eq!(inbox.edited.len(), 1);
    assert_eq!(
        inbox.edited[0].after.status,
        crate::document::Word::Cancelled
    );
    assert_eq!(inbox.gone, [task(2).id]);
    assert_eq!(inbox.broken.len(), 1);
    let skipped = inbox
        .warnings
        .iter()
        .filter(|w| w.contains("is skipped"))
        .count();
    assert_eq!(skipped, 2, "{:?}", inbox.warnings);
    let running = Task {
        version: 2,
        ..task(1)
    };
    assert_eq!(world.show(&running), Shown::Contested);
    let shown = world
        .folders
        .show(world.dir.path(), task(1).id, true)
        .unwrap();
    assert_eq!(shown, Shown::Updated);
    assert_eq!(world.json(task(1).id)["mine"], 7, "keys of others stay");
    world
        .folders
        .show(world.dir.path(), task(3).id, true)
        .unwrap();
    assert!(world.inbox().broken.is_empty());
}

#[test]
fn a_retry_shows_when_it_is_due_and_is_announced_once() {
    let world = World::new();
    let limits = Limits {
        auto_retry: true,
        ..Limits::default()
    };
    let mut failed = ended(
        Task {
            limits: limits.clone(),
            ..task(1)
        },
        Some("boom"),
    );
    let next_id = TaskId::from_number(2).unwrap();
    let next = failed.successor(
        next_id,
        limits,
        Some(&Backoff::default()),
        &world.known.now(),
    );
    failed.chain.retried_by = Some(next.id);
    assert_eq!(world.show(&failed), Shown::Created);
    assert_eq!(world.show(&next), Shown::Hidden);
    assert!(world.json(failed.id)["retriedBy"].is_null());
    *locked(&world.known.millis) = 2_000;
    assert_eq!(world.show(&next), Shown::Created);
    assert_eq!(world.show(&next), Shown::Unchanged);
    assert_eq!(*locked(&world.known.revealed), [next.id]);
    assert_eq!(world.json(failed.id)["retriedBy"], "task_2");
    let json = world.json(next.id);
    assert_eq!(
        (&json["retryCount"], &json["parentTaskId"]),
        (&1.into(), &"task_1".into())
    );
    assert_eq!(json["retryHistory"][0]["error"], "boom");
    assert_eq!(json["retryHistory"][0]["retriedFrom"], "task_1");
    let plan = fs::read_to_string(world.path("plans/task_2_plan.md")).unwrap();
    assert!(
        plan.starts_with("# Retry Attempt 1/3") && plan.contains("boom"),
        "{plan}"
    );
}

#[test]
fn a_failed_dependency_blocks_in_the_file_alone() {
    let world = World::new();
    world.show(&ended(task(1), Some("e")));
    let mut second = task(2);
    second.spec.depends_on = vec![task(1).id];
    world.show(&second);
    let json = world.json(second.id);
    assert_eq!(json["status"], "pending");
    assert_eq!(json["blockedReason"], "Dependency task_1 failed");
}

#[test]
fn the_archive_gives_back_the_same_bytes() {
    let world = World::new();
    let done = ended(task(1), None);
    world.show(&done);
    let before = fs::read(world.path("tasks/task_1.json")).unwrap();
    let away = Task {
        archived_at: Some(Timestamp::from_millis(1)),
        ..done.clone()
    };
    assert_eq!(world.show(&away), Shown::Hidden);
    assert!(!world.path("tasks/task_1.json").exists());
    assert!(world.path("archive/task_1_plan.md").exists());
    assert_eq!(world.folders.archive_size(world.dir.path()).unwrap().0, 1);
    assert!(world.inbox().is_empty());
    assert_eq!(world.show(&done), Shown::Unchanged);
    assert_eq!(fs::read(world.path("tasks/task_1.json")).unwrap(), before);
    let gone = Task {
        deleted_at: Some(Timestamp::from_millis(1)),
        ..done
    };
    world.show(&gone);
    assert_eq!(fs::read_dir(world.path("plans")).unwrap().count(), 0);
    assert!(world.inbox().is_empty());
}

#[test]
fn links_lead_nowhere() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    world.show(&task(1));
    let file = world.path("tasks/task_1.json");
    fs::remove_file(&file).unwrap();
    symlink(&victim, &file).unwrap();
    symlink(&victim, world.path("logs/task_1.log")).unwrap_or_else(|_| {
        fs::create_dir_all(world.path("logs")).unwrap();
        symlink(&victim, world.path("logs/task_1.log")).unwrap();
    });
    let place = SessionPlace {
        root: world.dir.path().to_owned(),
        task: task(1).id,
        session: SessionId::from_number(1).unwrap(),
    };
    assert!(
        world
            .folders
            .open_log(&place, &LogLimits::default())
            .is_err()
    );
    assert_eq!(world.inbox().broken.len(), 1);
    world
        .folders
        .show(world.dir.path(), task(1).id, true)
        .unwrap();
    assert!(!file.symlink_metadata().unwrap().is_symlink());
    fs::remove_dir_all(world.path("plans")).unwrap();
    symlink(outside.path(), world.path("plans")).unwrap();
    world.known.put(&task(2));
    assert!(
        world
            .folders
            .show(world.dir.path(), task(2).id, false)
            .is_err()
    );
    assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_write_that_was_cut_off_is_our_own() {
    let world = World::new();
    let waiting = task(1);
    world.show(&waiting);
    let [file, copy] = ["tasks", "shown"].map(|folder| match folder {
        "shown" => world.path(&format!(".crewboss/shown/{}.json", waiting.id)),
        _ => world.path(&format!("tasks/{}.json", waiting.id)),
    });
    let old = fs::read(&copy).unwrap();
    world.show(&ended(waiting.clone(), Some("first")));
    let new = fs::read(&file).unwrap();
    // As after a death between the file and its copy.
    fs::write(&copy, old).unwrap();
    fs::write(copy.with_extension("json.next"), &new).unwrap();
    assert!(world.inbox().is_empty());
    let again = ended(waiting, Some("second"));
    assert_eq!(world.show(&again), Shown::Updated);
    assert_eq!(world.json(again.id)["errorMessage"], "second");
    assert!(!copy.with_extension("json.next").exists());
    // Without that note it would be somebody else's.
    fs::write(&copy, new).unwrap();
    assert!(!world.inbox().is_empty());
}
