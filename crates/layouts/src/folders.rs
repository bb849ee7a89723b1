//! The folders port over the layout.

mod showing;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use app::{
    ports::folders::{FolderError, Folders, LogLimits, LogSink, SessionPlace, TranscriptSink},
    query::{TaskDetails, TaskView},
};
use domain::{id::TaskId, redact::Redactor, session::Outcome, task::Task, time::Now};

use crate::{
    config::{ArchiveConfig, ConfigError},
    dir::{Dir, DirLock},
    document::Document,
    folders::showing::waiting_folder,
    image,
    inbox::{self, Inbox, shown_folder},
    index::{Drift, Index},
    layout::Layout,
    log::TaskLog,
    places,
    reading::{FILE_BYTES_MAX, read_document},
    sentinels::Found,
};

/// A session's process was started by another tool: its end is told by sentinel files.
const FOREIGN: &str = "foreign";

/// The largest plan or log that is taken over.
const PAPER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The largest index and configuration that are read.
const INDEX_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Every task file of a project.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskFiles {
    /// Oldest id first; `true` where it is in the archive.
    pub documents: Vec<(Document, bool)>,
    /// One line for each file that is skipped, or of which something is not used.
    pub warnings: Vec<String>,
}

/// What is asked of the store.
pub trait Source: Send + Sync + fmt::Debug {
    /// A task with what is around it.
    fn details(&self, task: TaskId) -> Option<TaskDetails>;

    /// What time it is.
    fn now(&self) -> Now;

    /// A retry that had to wait has become due, and its file was made just now: said once.
    fn revealed(&self, task: &Task);
}

/// What became of a task's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// It was made.
    Created,
    /// It was written anew.
    Updated,
    /// It says so already.
    Unchanged,
    /// The task has no file: a retry that is not due, or one that is archived or deleted.
    Hidden,
    /// Somebody else changed it, and that was not heard yet.
    Contested,
}

/// The folder of one layout, in any project. What only sessions need is kept by `inner`, inside the
/// layout's folder.
#[derive(Debug, Clone)]
pub struct LayoutFolders {
    layout: Layout,
    inner: Arc<dyn Folders>,
    source: Arc<dyn Source>,
}

/// See [`LayoutFolders::hearing`].
#[derive(Debug)]
pub struct Hearing {
    _lock: DirLock,
}

impl LayoutFolders {
    /// The folders of a layout.
    pub fn new(layout: Layout, inner: Arc<dyn Folders>, source: Arc<dyn Source>) -> Self {
        Self {
            layout,
            inner,
            source,
        }
    }

    /// Which layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Makes the folders of the layout where they are missing.
    pub fn make(&self, root: &Path) -> Result<(), FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        for folder in [
            places::TASKS,
            places::PLANS,
            places::LOGS,
            places::WORKSPACE,
        ] {
            base.made(folder)?;
        }
        shown_folder(&base).map(drop)
    }

    /// Makes a task's file say what the store says. Without `overrule` a file that somebody else
    /// changed stays as it is, to be heard first.
    pub fn show(&self, root: &Path, id: TaskId, overrule: bool) -> Result<Shown, FolderError> {
        self.at_desk(root, |desk| self.show_id(desk, id, overrule))
    }

    /// The same for several at once: the index is written once.
    pub fn show_all(&self, root: &Path, ids: &[TaskId], overrule: bool) -> Result<(), FolderError> {
        self.at_desk(root, |desk| {
            let mut shown = ids.iter().map(|id| self.show_id(desk, *id, overrule));
            shown.try_for_each(|shown| shown.map(drop))
        })
    }

    /// Brings the files of several tasks up to date, and what is kept of them beside.
    pub fn show_tasks(&self, root: &Path, tasks: &[Task]) -> Result<(), FolderError> {
        self.at_desk(root, |desk| {
            tasks.iter().try_for_each(|task| {
                let details = self.source.details(task.id).unwrap_or_else(|| bare(task));
                self.show_at(desk, &details, false).map(drop)
            })
        })?;
        let inside = self.inside(root);
        tasks.iter().try_for_each(|task| match task.deleted_at {
            Some(_) => self.inner.remove_task(&inside, task.id),
            None => self.inner.show_task(&inside, task),
        })
    }

    /// Retries that were not due when they were last looked at.
    pub fn waiting(&self, root: &Path) -> Result<Vec<TaskId>, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let names = waiting_folder(&base)?.names()?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// Keeps other processes that hear what was done to the files out until it is dropped.
    pub fn hearing(&self, root: &Path) -> Result<Hearing, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let lock = base.made_private(places::HOME)?.lock()?;
        Ok(Hearing { _lock: lock })
    }

    /// What others did to the files.
    pub fn inbox(&self, root: &Path) -> Result<Inbox, FolderError> {
        inbox::scan(self.layout, root, self.source.now().wall)
    }

    /// What the sentinel files of a task say.
    pub fn sentinels(&self, root: &Path, id: TaskId) -> Result<Found, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        Ok(Found::read(&base.made(places::TASKS)?, id))
    }

    /// Remembers that the process of a session was started by another tool.
    pub fn mark_foreign(&self, place: &SessionPlace) -> Result<(), FolderError> {
        let folder = self.inner.session_folder(&self.inside_place(place))?;
        Dir::root(&folder)?.replace(FOREIGN, b"", None)
    }

    /// Whether the process of a session was started by another tool.
    #[must_use]
    pub fn is_foreign(&self, place: &SessionPlace) -> bool {
        let folder = self.inner.session_folder(&self.inside_place(place));
        folder
            .and_then(|folder| Dir::root(&folder))
            .is_ok_and(|folder| folder.has(FOREIGN))
    }

    /// Every task file, in `tasks/` and in `archive/`. Changes nothing.
    pub fn documents(layout: Layout, root: &Path) -> Result<TaskFiles, FolderError> {
        let mut files = TaskFiles::default();
        let Some(base) = Dir::root(root)?.existing(layout.base())? else {
            return Ok(files);
        };
        for (folder, is_archived) in [(places::TASKS, false), (places::ARCHIVE, true)] {
            let Some(dir) = base.existing(folder)? else {
                continue;
            };
            for name in dir
                .names()?
                .iter()
                .filter(|name| places::is_task_like(name))
            {
                match read_file(layout, &dir, name) {
                    Ok((document, about)) => {
                        let named = about
                            .iter()
                            .map(|about| format!("{folder}/{name}: {about}"));
                        files.warnings.extend(named);
                        files.documents.push((document, is_archived));
                    }
                    Err(why) => {
                        files
                            .warnings
                            .push(format!("{folder}/{name} is skipped: {why}"));
                    }
                }
            }
        }
        files.documents.sort_by_key(|(document, _)| document.id);
        Ok(files)
    }

    /// The plan and the log of a task, wherever they lie.
    pub fn papers(
        layout: Layout,
        root: &Path,
        id: TaskId,
    ) -> Result<[Option<Vec<u8>>; 2], FolderError> {
        let mut papers = [None, None];
        let Some(base) = Dir::root(root)?.existing(layout.base())? else {
            return Ok(papers);
        };
        let kinds = [
            (places::PLANS, places::plan_file(id)),
            (places::LOGS, places::log_file(id)),
        ];
        for (paper, (own, name)) in papers.iter_mut().zip(kinds) {
            for folder in [own, places::ARCHIVE] {
                if let (None, Some(folder)) = (&paper, base.existing(folder)?) {
                    *paper = folder.read(&name, PAPER_BYTES_MAX)?;
                }
            }
        }
        Ok(papers)
    }

    fn live_index(&self, root: &Path) -> Result<Index, FolderError> {
        let files = Self::documents(self.layout, root)?;
        let live = files
            .documents
            .iter()
            .filter(|(_, is_archived)| !is_archived);
        Ok(Index::of(live.map(|(document, _)| document)))
    }

    /// The index as its file has it.
    pub fn index(&self, root: &Path) -> Result<Index, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let bytes = base
            .made(places::TASKS)?
            .read(places::INDEX, INDEX_BYTES_MAX)?;
        Ok(bytes.as_deref().map(Index::read).unwrap_or_default())
    }

    /// How the index differs from the files, while nobody of us writes.
    pub fn verify_index(&self, root: &Path) -> Result<Drift, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let _lock = shown_folder(&base)?.lock()?;
        Ok(self.index(root)?.drift(&self.live_index(root)?))
    }

    /// Makes the index from the files.
    pub fn rebuild_index(&self, root: &Path) -> Result<Index, FolderError> {
        self.at_desk(root, |desk| {
            let index = self.live_index(root)?;
            desk.put_index(index.clone());
            Ok(index)
        })
    }

    /// The configuration; the defaults where there is no file.
    pub fn config(&self, root: &Path) -> Result<Result<ArchiveConfig, ConfigError>, FolderError> {
        let bytes = self.config_bytes(root)?;
        let default = || Ok(ArchiveConfig::new(self.layout));
        Ok(bytes.map_or_else(default, |bytes| ArchiveConfig::read(self.layout, &bytes)))
    }

    /// Whether there is a configuration file.
    pub fn has_config(&self, root: &Path) -> Result<bool, FolderError> {
        Ok(self.config_bytes(root)?.is_some())
    }

    fn config_bytes(&self, root: &Path) -> Result<Option<Vec<u8>>, FolderError> {
        match Dir::root(root)?.existing(self.layout.base())? {
            Some(base) => base.read(places::CONFIG, FILE_BYTES_MAX),
            None => Ok(None),
        }
    }

    /// Writes the configuration; keys of others stay.
    pub fn write_config(&self, root: &Path, config: &ArchiveConfig) -> Result<(), FolderError> {
        let before = self.config_bytes(root)?;
        let base = Dir::root(root)?.made(self.layout.base())?;
        base.replace(places::CONFIG, &config.render(before.as_deref()), None)
    }

    /// How many tasks the archive holds, and how many bytes.
    pub fn archive_size(&self, root: &Path) -> Result<(usize, u64), FolderError> {
        let base = Dir::root(root)?.existing(self.layout.base())?;
        let Some(archive) = base
            .map(|base| base.existing(places::ARCHIVE))
            .transpose()?
            .flatten()
        else {
            return Ok((0, 0));
        };
        let names = archive.names()?;
        let tasks = names
            .iter()
            .filter(|name| places::task_of(name).is_some())
            .count();
        let bytes = names
            .iter()
            .filter_map(|name| Some(archive.stamp(name)?.size()))
            .sum();
        Ok((tasks, bytes))
    }

    fn inside(&self, root: &Path) -> PathBuf {
        root.join(self.layout.base())
    }

    fn inside_place(&self, place: &SessionPlace) -> SessionPlace {
        SessionPlace {
            root: self.inside(&place.root),
            ..place.clone()
        }
    }
}

fn read_file(layout: Layout, dir: &Dir, name: &str) -> Result<(Document, Vec<String>), String> {
    let id = places::task_of(name).ok_or("its name is no task id")?;
    let bytes = dir
        .read(name, FILE_BYTES_MAX)
        .map_err(|error| error.source.to_string())?;
    let bytes = bytes.ok_or("it is gone")?;
    read_document(layout, id, &bytes).map_err(|unreadable| unreadable.to_string())
}

/// A task of which nothing else is known.
fn bare(task: &Task) -> TaskDetails {
    TaskDetails {
        view: TaskView {
            task: task.clone(),
            session: None,
            blocked_by: vec![],
            quotas: vec![],
        },
        chain: vec![task.clone()],
        sessions: vec![],
        dependencies: vec![],
        dependants: vec![],
    }
}

impl Folders for LayoutFolders {
    fn task_folder(&self, root: &Path, task: TaskId) -> Result<PathBuf, FolderError> {
        self.make(root)?;
        self.inner.task_folder(&self.inside(root), task)
    }

    fn session_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        self.make(&place.root)?;
        self.inner.session_folder(&self.inside_place(place))
    }

    fn private_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        self.make(&place.root)?;
        self.inner.private_folder(&self.inside_place(place))
    }

    fn gates_folder(&self, place: &SessionPlace) -> Result<PathBuf, FolderError> {
        self.make(&place.root)?;
        self.inner.gates_folder(&self.inside_place(place))
    }

    fn plan_file(&self, root: &Path, task: &Task) -> Result<PathBuf, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let details = self.source.details(task.id).unwrap_or_else(|| bare(task));
        let now = self.source.now();
        let document = image::document(&details, &now, None, &Found::default());
        showing::plan_of(&base, &document)
    }

    fn open_log(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
    ) -> Result<Box<dyn LogSink>, FolderError> {
        let logs = Dir::root(&place.root)?
            .made(self.layout.base())?
            .made(places::LOGS)?;
        Ok(Box::new(TaskLog::open(
            logs,
            places::log_file(place.task),
            *limits,
        )?))
    }

    fn open_transcript(
        &self,
        place: &SessionPlace,
        limits: &LogLimits,
        redactor: Redactor,
    ) -> Result<Box<dyn TranscriptSink>, FolderError> {
        self.make(&place.root)?;
        self.inner
            .open_transcript(&self.inside_place(place), limits, redactor)
    }

    fn write_outcome(&self, place: &SessionPlace, outcome: &Outcome) -> Result<(), FolderError> {
        self.make(&place.root)?;
        self.inner.write_outcome(&self.inside_place(place), outcome)
    }

    /// The end of a process that another tool started is what its sentinel files say.
    fn read_outcome(&self, place: &SessionPlace) -> Result<Option<Outcome>, FolderError> {
        let written = self.inner.read_outcome(&self.inside_place(place))?;
        if written.is_some() || !self.is_foreign(place) {
            return Ok(written);
        }
        let found = self.sentinels(&place.root, place.task)?;
        Ok(Some(found.outcome(self.source.now().wall)))
    }

    fn show_task(&self, root: &Path, task: &Task) -> Result<(), FolderError> {
        self.show_tasks(root, std::slice::from_ref(task))
    }

    fn shown_version(&self, root: &Path, task: TaskId) -> Option<u64> {
        self.inner.shown_version(&self.inside(root), task)
    }

    fn remove_task(&self, root: &Path, task: TaskId) -> Result<(), FolderError> {
        self.at_desk(root, |desk| Self::erase(desk, task))?;
        self.inner.remove_task(&self.inside(root), task)
    }
}

#[cfg(test)]
mod tests;
