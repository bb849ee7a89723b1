//! The folders port over the layout of the crate's documentation.

use std::{
    io,
    path::{Path, PathBuf},
};

use app::{
    faults::Thing,
    ports::folders::{FolderError, Folders, LogLimits, LogSink, SessionPlace, TranscriptSink},
};
use domain::{
    id::{SessionId, TaskId},
    redact::Redactor,
    session::Outcome,
    task::Task,
};
use serde::{Deserialize, Serialize};

use crate::{
    dir::{Dir, Durability, failed},
    image,
    log::FileLog,
    transcript::FileTranscript,
};

const HOME: &str = ".crewboss";
const IGNORE: &str = ".gitignore";
const TASKS: &str = "tasks";
const SESSIONS: &str = "sessions";
pub(crate) const STATE: &str = "state.json";
pub(crate) const PLAN: &str = "plan.md";
const OUTCOME: &str = "outcome.json";
const LOG: &str = "agent.log";
const TRANSCRIPT: &str = "transcript.jsonl";
const PRIVATE: &str = "private";
const GATES: &str = "gates";

/// Everything that sessions write stays out of the repository, this file included.
const IGNORED: &str = "/*\n!/config.toml\n!/agents/\n!/templates/\n";

const OUTCOME_SCHEMA: &str = "crewboss.outcome";
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The `.crewboss/` folders of projects.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectFolders;

/// `outcome.json`.
#[derive(Serialize, Deserialize)]
struct OutcomeFile {
    schema: String,
    schema_version: u32,
    task: TaskId,
    session: SessionId,
    outcome: Outcome,
}

impl ProjectFolders {
    /// The folders of projects.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    /// `.crewboss/`; made where it is missing.
    pub(crate) fn home(root: &Path) -> Result<Dir, FolderError> {
        Ok(Dir::root(root)?.made(HOME)?.0)
    }

    pub(crate) fn existing_home(root: &Path) -> Result<Option<Dir>, FolderError> {
        Dir::root(root)?.existing(HOME)
    }

    fn tasks(root: &Path) -> Result<Dir, FolderError> {
        let home = Self::home(root)?;
        let (tasks, is_new) = home.made(TASKS)?;
        if is_new && !home.has(IGNORE) {
            home.replace(IGNORE, IGNORED.as_bytes(), Durability::Atomic)?;
        }
        Ok(tasks)
    }

    pub(crate) fn existing_tasks(root: &Path) -> Result<Option<Dir>, FolderError> {
        match Dir::root(root)?.existing(HOME)? {
            Some(home) => home.existing(TASKS),
            None => Ok(None),
        }
    }

    pub(crate) fn task(root: &Path, task: TaskId) -> Result<Dir, FolderError> {
        Ok(Self::tasks(root)?.made(&task.to_string())?.0)
    }

    pub(crate) fn existing_task(root: &Path, task: TaskId) -> Result<Option<Dir>, FolderError> {
        match Self::existing_tasks(root)? {
            Some(tasks) => tasks.existing(&task.to_string()),
            None => Ok(None),
        }
    }

    fn session(place: &SessionPlace) -> Result<Dir, FolderError> {
        let (sessions, _) = Self::task(&place.root, place.task)?.made(SESSIONS)?;
        Ok(sessions.made(&place.session.to_string())?.0)
    }

    fn existing_session(place: &SessionPlace) -> Result<Option<Dir>, FolderError> {
        let task = Self::existing_task(&place.root, place.task)?;
        match task.map(|task| task.existing(SESSIONS)).transpose()? {
            Some(Some(sessions)) => sessions.existing(&place.session.to_string()),
            _ => Ok(None),
        }
    }
}

impl Folders for ProjectFolders {
    fn task_folder(&self, root: &Path, task: TaskId) -> Result<PathBuf, FolderError> {
        Ok(Self::task(root, task)?.path().to_path_buf())
    }

    fn session_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        Ok(Self::session(place)?.path().to_path_buf())
    }

    fn private_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        let (folder, _) = Self::session(place)?.made(PRIVATE)?;
        Ok(folder.path().to_path_buf())
    }

    fn gates_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        let (folder, _) = Self::session(place)?.made(GATES)?;
        Ok(folder.path().to_path_buf())
    }

    fn plan_file(&self, root: &Path, task: &Task) -> Result<PathBuf, FolderError> {
        let folder = Self::task(root, task.id)?;
        if !folder.has(PLAN) {
            folder.replace(PLAN, plan(task).as_bytes(), Durability::Atomic)?;
        }
        Ok(folder.path().join(PLAN))
    }

    fn open_log(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
    ) -> Result<Box<dyn LogSink>, FolderError> {
        let log = FileLog::open(Self::session(place)?, LOG, *limits)?;
        Ok(Box::new(log))
    }

    fn open_transcript(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
        redactor: Redactor,
    ) -> Result<Box<dyn TranscriptSink>, FolderError> {
        let folder = Self::session(place)?;
        let transcript =
            FileTranscript::open(&folder, TRANSCRIPT, limits.transcript_bytes, redactor)?;
        Ok(Box::new(transcript))
    }

    fn write_outcome(&self, place: &SessionPlace, outcome: &Outcome) -> Result<(), FolderError> {
        let folder = Self::session(place)?;
        let file = OutcomeFile {
            schema: OUTCOME_SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            task: place.task,
            session: place.session,
            outcome: outcome.clone(),
        };
        let json = pretty(&file, &folder, OUTCOME)?;
        folder.replace(OUTCOME, &json, Durability::Synced)
    }

    fn read_outcome(&self, place: &SessionPlace) -> Result<Option<Outcome>, FolderError> {
        let Some(folder) = Self::existing_session(place)? else {
            return Ok(None);
        };
        let Some(content) = folder.read(OUTCOME)? else {
            return Ok(None);
        };
        let unusable = |what: io::Error| failed("use", folder.path().join(OUTCOME), what);
        let file: OutcomeFile =
            serde_json::from_slice(&content).map_err(|error| unusable(error.into()))?;
        let is_ours = file.schema == OUTCOME_SCHEMA
            && file.schema_version == SCHEMA_VERSION
            && (file.task, file.session) == (place.task, place.session);
        if !is_ours {
            let what = "it is another session's, or of another version";
            return Err(unusable(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        Ok(Some(file.outcome))
    }

    fn show_task(&self, root: &Path, task: &Task) -> Result<(), FolderError> {
        let folder = Self::task(root, task.id)?;
        let _lock = folder.lock()?;
        if shown(&folder).is_some_and(|version| version >= task.version) {
            return Ok(());
        }
        let json = image::document(task, &folder)?;
        folder.replace(STATE, &json, Durability::Atomic)
    }

    fn shown_version(&self, root: &Path, task: TaskId) -> Option<u64> {
        shown(&Self::existing_task(root, task).ok()??)
    }

    fn remove_task(&self, root: &Path, task: TaskId) -> Result<(), FolderError> {
        match Self::existing_tasks(root)? {
            Some(tasks) => tasks.remove_folder(Thing::TaskFolder, &task.to_string()),
            None => Ok(()),
        }
    }
}

/// The version of a whole `state.json`.
fn shown(folder: &Dir) -> Option<u64> {
    let content = folder.read(STATE).ok()??;
    Some(image::parse(&content).ok()?.version)
}

pub(crate) fn pretty<T: Serialize>(
    value: &T,
    folder: &Dir,
    name: &str,
) -> Result<Vec<u8>, FolderError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| failed("write", folder.path().join(name), error.into()))?;
    json.push(b'\n');
    Ok(json)
}

pub(crate) fn plan(task: &Task) -> String {
    let spec = &task.spec;
    format!(
        "# {}\n\n- Task: {}\n- Agent: {}\n- Created: {}\n\n## Prompt\n\n{}\n\n## Progress\n\n",
        spec.name, task.id, spec.agent, task.created_at, spec.prompt,
    )
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use domain::{
        session::SessionResult,
        task::{Chain, Limits, Priority, TaskKind, TaskMode, TaskSpec, TaskState},
        time::Timestamp,
    };

    use super::*;

    fn task(version: u64) -> Task {
        let id: TaskId = "task_7".parse().unwrap();
        let at = Timestamp::from_millis(1_795_164_511_000);
        Task {
            id,
            project: "prj_1".parse().unwrap(),
            spec: TaskSpec {
                agent: "coder".parse().unwrap(),
                prompt: "Say \"hi\"\nand go".to_owned(),
                name: "Say hi".to_owned(),
                key: None,
                owner: "me".to_owned(),
                labels: vec![],
                metadata: [].into(),
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
            version,
        }
    }

    fn place(root: &Path) -> SessionPlace {
        SessionPlace {
            root: root.to_path_buf(),
            task: "task_7".parse().unwrap(),
            session: "ses_9".parse().unwrap(),
        }
    }

    fn outcome() -> Outcome {
        Outcome::bare(SessionResult::Completed, Timestamp::from_millis(5))
    }

    #[test]
    fn an_image_shows_the_latest_version_and_nothing_older() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        assert_eq!(folders.shown_version(root.path(), task(1).id), None);
        assert!(!root.path().join(".crewboss").exists());
        folders.show_task(root.path(), &task(3)).unwrap();
        folders.show_task(root.path(), &task(2)).unwrap();
        assert_eq!(folders.shown_version(root.path(), task(1).id), Some(3));
        let file = root.path().join(".crewboss/tasks/task_7/state.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        assert_eq!(state["schema"], "crewboss.task");
        assert_eq!(state["id"], "task_7");
        assert_eq!(state["status"], "pending");
        assert_eq!(state["agent"], "coder");
        assert_eq!(state["prompt"], "Say \"hi\"\nand go");
        let back: Task = serde_json::from_value(state).unwrap();
        assert_eq!(back, task(3));
    }

    #[test]
    fn a_lock_that_is_not_given_back_stops_nobody() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        folders.show_task(root.path(), &task(1)).unwrap();
        let held = fs::File::open(root.path().join(".crewboss/tasks/task_7")).unwrap();
        held.lock().unwrap();
        let refused = folders.show_task(root.path(), &task(2));
        assert!(refused.unwrap_err().to_string().contains("lock"));
        drop(held);
        folders.show_task(root.path(), &task(2)).unwrap();
        assert_eq!(folders.shown_version(root.path(), task(2).id), Some(2));
    }

    #[test]
    fn a_torn_image_is_written_again() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        folders.show_task(root.path(), &task(1)).unwrap();
        fs::write(
            root.path().join(".crewboss/tasks/task_7/state.json"),
            "{\"sch",
        )
        .unwrap();
        assert_eq!(folders.shown_version(root.path(), task(1).id), None);
        folders.show_task(root.path(), &task(1)).unwrap();
        assert_eq!(folders.shown_version(root.path(), task(1).id), Some(1));
    }

    #[test]
    fn what_we_write_is_private_and_ignored_by_git() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        folders
            .write_outcome(&place(root.path()), &outcome())
            .unwrap();
        let home = root.path().join(".crewboss");
        assert_eq!(
            fs::read_to_string(home.join(".gitignore")).unwrap(),
            IGNORED
        );
        let session = folders.session_folder(&place(root.path())).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&session), 0o700);
        assert_eq!(mode(&session.join("outcome.json")), 0o600);
        let names: Vec<_> = fs::read_dir(&session).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
    }

    #[test]
    fn an_outcome_comes_back_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let (folders, place) = (ProjectFolders::new(), place(root.path()));
        assert_eq!(folders.read_outcome(&place).unwrap(), None);
        folders.write_outcome(&place, &outcome()).unwrap();
        assert_eq!(folders.read_outcome(&place).unwrap(), Some(outcome()));
        let file = folders.session_folder(&place).unwrap().join("outcome.json");
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        folders.read_outcome(&place).unwrap_err();
        let text = String::from_utf8(whole).unwrap();
        fs::write(&file, text.replace("ses_9", "ses_8")).unwrap();
        folders.read_outcome(&place).unwrap_err();
    }

    #[test]
    fn a_plan_is_written_once() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        let file = folders.plan_file(root.path(), &task(1)).unwrap();
        assert!(
            fs::read_to_string(&file)
                .unwrap()
                .contains("Say \"hi\"\nand go")
        );
        fs::write(&file, "mine").unwrap();
        folders.plan_file(root.path(), &task(1)).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[test]
    fn planted_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("victim");
        fs::write(&victim, "safe").unwrap();
        let (folders, place) = (ProjectFolders::new(), place(root.path()));
        let session = folders.session_folder(&place).unwrap();

        for name in ["outcome.json", "agent.log", "transcript.jsonl"] {
            symlink(&victim, session.join(name)).unwrap();
        }
        folders.read_outcome(&place).unwrap_err();
        folders
            .open_log(&place, &LogLimits::default())
            .map(drop)
            .unwrap_err();
        folders
            .open_transcript(&place, &LogLimits::default(), Redactor::default())
            .map(drop)
            .unwrap_err();
        folders.write_outcome(&place, &outcome()).unwrap();
        assert_eq!(folders.read_outcome(&place).unwrap(), Some(outcome()));

        symlink(outside.path(), session.join("private")).unwrap();
        folders.private_folder(&place).unwrap_err();
        folders.remove_task(root.path(), place.task).unwrap();
        assert!(!session.exists());

        let tasks = root.path().join(".crewboss/tasks");
        symlink(outside.path(), tasks.join("task_7")).unwrap();
        folders.show_task(root.path(), &task(1)).unwrap_err();
        folders.remove_task(root.path(), place.task).unwrap();
        fs::remove_dir_all(&tasks).unwrap();
        symlink(outside.path(), &tasks).unwrap();
        folders.write_outcome(&place, &outcome()).unwrap_err();
        folders.remove_task(root.path(), place.task).unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "safe");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let root = tempfile::tempdir().unwrap();
        let folders = ProjectFolders::new();
        folders.remove_task(root.path(), task(1).id).unwrap();
        folders.task_folder(root.path(), task(1).id).unwrap();
        folders.remove_task(root.path(), task(1).id).unwrap();
        folders.remove_task(root.path(), task(1).id).unwrap();
    }
}
