//! Images of tasks that are behind, brought up to date. One that cannot be written stands in the
//! way of no other.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use app::{
    crash_points::CrashPoint,
    error::Error,
    ports::{
        folders::Folders,
        journal::Journal,
        store::{Effect, Store},
    },
    query::{Query, View},
};
use domain::{
    id::{NodeId, ProjectId, TaskId},
    project::Project,
    task::Task,
    time::{Moment, Timestamp},
};

use super::Pauses;
use crate::history::{self, Behind};

/// Effects that are read in one go.
const PAGE: usize = 500;

/// Pages that one look goes through; what is left comes with the next.
const PAGES_MAX: usize = 10;

/// Logs whose end is remembered; the end of others is read from their files.
const LOGGED_MAX: usize = 10_000;

/// What is remembered from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pauses: Pauses,
    /// The image of each paused project that could not be written: it is the last to be tried.
    failing: HashMap<ProjectId, TaskId>,
    /// How far the logs of tasks are that have not ended.
    logged: HashMap<TaskId, u64>,
    /// Tasks whose end was told.
    told: HashSet<TaskId>,
    /// The next look goes on behind this task.
    after: Option<TaskId>,
}

/// What a look did.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// What is written.
    pub(crate) done: Vec<Effect>,
    /// What is wrong, where that is new.
    pub(crate) warnings: Vec<String>,
    /// Tasks that have ended since this process began to look, each once.
    pub(crate) ended: Vec<Task>,
}

/// What a look works with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tools<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) folders: &'a dyn Folders,
    /// None where tasks have no logs.
    pub(crate) journal: Option<&'a dyn Journal>,
    pub(crate) projects: &'a [Project],
    pub(crate) now: &'a Moment,
    /// What ended before is no news.
    pub(crate) since: Timestamp,
    /// The node that this is.
    pub(crate) node: Option<NodeId>,
}

impl Images {
    /// Writes what is behind.
    pub(crate) fn catch_up(&mut self, tools: Tools<'_>) -> Result<Look, Error> {
        let mut look = Look::default();
        for _ in 0..PAGES_MAX {
            let query = Query::Effects {
                after: self.after,
                limit: PAGE,
            };
            let View::Effects { mut effects } = tools.store.read(&query)? else {
                break;
            };
            let is_last = effects.len() < PAGE;
            self.after = effects
                .last()
                .map(|effect| effect.task)
                .filter(|_| !is_last);
            effects.sort_by_key(|effect| self.failing.values().any(|task| *task == effect.task));
            let ids = effects.iter().map(|effect| effect.task).collect();
            let View::Tasks { tasks } = tools.store.read(&Query::TasksOf { ids })? else {
                break;
            };
            for (effect, task) in effects.into_iter().zip(tasks) {
                match self.write(tools, &task) {
                    Written::Done => look.done.push(effect),
                    Written::Skipped => {}
                    Written::Failed(warning) => look.warnings.extend(warning),
                }
                if self.is_news(tools, &task) {
                    look.ended.push(task);
                }
            }
            if is_last || look.done.len() >= PAGE {
                break;
            }
        }
        Ok(look)
    }

    fn is_news(&mut self, tools: Tools<'_>, task: &Task) -> bool {
        if self.told.len() >= LOGGED_MAX {
            self.told.clear();
        }
        let ended = task.ended_at();
        ended.is_some_and(|at| at >= tools.since) && self.told.insert(task.id)
    }

    /// The log first: an image that shows a version says that the log has come as far.
    fn show(&mut self, tools: Tools<'_>, root: &Path, task: &Task) -> Result<(), Behind> {
        let is_gone =
            task.purged_at.is_some() || task.deleted_at.is_some() && tools.journal.is_none();
        if is_gone {
            self.logged.remove(&task.id);
            if tools.journal.is_some() {
                let layers = crate::wiring::layers();
                app::purge::keep_rest(tools.store, &*layers, root, task.id)?;
            }
            return Ok(tools.folders.remove_task(root, task.id)?);
        }
        if let Some(journal) = tools.journal {
            let known = self.logged.remove(&task.id);
            let after = known.map_or_else(|| journal.projected(root, task.id), Ok)?;
            let after = history::bring_up_from(after, tools.store, journal, root, task.id)?;
            if !task.status().is_terminal() && self.logged.len() < LOGGED_MAX {
                self.logged.insert(task.id, after);
            }
            CrashPoint::Logged.reached();
        }
        tools.folders.show_task(root, task)?;
        history::take_back_if_purged(tools.store, tools.folders, root, task.id)
    }

    fn write(&mut self, tools: Tools<'_>, task: &Task) -> Written {
        let mut known = tools.projects.iter();
        let Some(project) = known.find(|project| project.id == task.project) else {
            return Written::Skipped;
        };
        if self.pauses.left(project.id, tools.now).is_some() {
            return Written::Skipped;
        }
        if tools.node.is_some() && is_elsewhere(tools, task.id) {
            return Written::Skipped;
        }
        match self.show(tools, Path::new(&project.root), task) {
            Ok(()) => {
                if self.failing.get(&project.id) == Some(&task.id) {
                    self.failing.remove(&project.id);
                    self.pauses.end(project.id);
                }
                Written::Done
            }
            Err(error) => {
                self.failing.insert(project.id, task.id);
                let is_new = self.pauses.begin(project.id, tools.now);
                Written::Failed(is_new.then(|| warning(project, task.id, &error)))
            }
        }
    }
}

/// The folder of a task is where its newest session is.
fn is_elsewhere(tools: Tools<'_>, task: TaskId) -> bool {
    match tools.store.read(&Query::Task { id: task }) {
        Ok(View::Task { details }) => {
            let newest = details.view.session;
            newest.is_some_and(|session| session.is_elsewhere(tools.node))
        }
        Ok(_) | Err(_) => true,
    }
}

enum Written {
    Done,
    /// Not to be tried now.
    Skipped,
    /// With what is to be said of it.
    Failed(Option<String>),
}

fn warning(project: &Project, task: TaskId, behind: &Behind) -> String {
    let why = behind.reason();
    format!(
        "folders of tasks in {} are behind, first that of {task}: {why}",
        project.root
    )
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use app::command::{Command, Output};
    use domain::time::BootId;
    use sandbox_host::SystemClock;
    use store_sqlite::SqliteStore;
    use task_folder::{ProjectFolders, ProjectJournal};
    use testkit::contract::world::{create_command, request, work};

    use super::*;

    /// Two projects: in the first no folder of a task can be made.
    struct World {
        dir: tempfile::TempDir,
        store: SqliteStore,
        projects: Vec<Project>,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let clock = Arc::new(SystemClock::new().unwrap());
            let store = SqliteStore::open(&dir.path().join("store.db"), clock).unwrap();
            let register = |name: &str| {
                let root = dir.path().join(name);
                fs::create_dir_all(root.join(".crewboss")).unwrap();
                let root = root.to_str().unwrap().to_owned();
                let name = name.to_owned();
                let command = Command::RegisterProject { root, name };
                match store.execute(request(command)).unwrap().output {
                    Output::Project { project } => project,
                    other => panic!("{other:?}"),
                }
            };
            let projects = vec![register("broken"), register("whole")];
            let world = Self {
                dir,
                store,
                projects,
            };
            fs::write(world.obstacle(), "").unwrap();
            world
        }

        fn obstacle(&self) -> std::path::PathBuf {
            self.dir.path().join("broken/.crewboss/tasks")
        }

        fn create(&self, project: usize) {
            let command = create_command(self.projects[project].id, work("x"));
            self.store.execute(request(command)).unwrap();
        }

        /// How many images were written, and how many warnings given.
        fn look(&self, images: &mut Images, millis: u64) -> (usize, usize) {
            let now = Moment {
                boot: BootId("b".to_owned()),
                millis,
            };
            let tools = Tools {
                store: &self.store,
                folders: &ProjectFolders::new(),
                journal: Some(&ProjectJournal::default()),
                projects: &self.projects,
                now: &now,
                since: Timestamp::default(),
                node: None,
            };
            let look = images.catch_up(tools).unwrap();
            assert_eq!(look.ended, vec![]);
            let counts = (look.done.len(), look.warnings.len());
            let Project { root, name, .. } = self.projects[1].clone();
            let mut forget = request(Command::RegisterProject { root, name });
            forget.done = look.done;
            self.store.execute(forget).unwrap();
            counts
        }
    }

    #[test]
    fn a_project_that_cannot_be_written_is_told_once_and_stops_no_other() {
        let world = World::new();
        for _ in 0..=PAGE {
            world.create(0);
        }
        world.create(1);
        let mut images = Images::default();
        assert_eq!(world.look(&mut images, 0), (1, 1));
        for second in 1..10 {
            assert_eq!(world.look(&mut images, second * 1_000), (0, 0));
        }
        fs::remove_file(world.obstacle()).unwrap();
        let first = world.look(&mut images, 1_000_000);
        let second = world.look(&mut images, 1_000_001);
        assert_eq!(first.0 + second.0, PAGE + 1);
    }

    #[test]
    fn one_folder_that_cannot_be_written_comes_last_in_its_project() {
        let world = World::new();
        fs::remove_file(world.obstacle()).unwrap();
        world.create(0);
        world.create(0);
        let query = Query::Effects {
            after: None,
            limit: 1,
        };
        let View::Effects { effects } = world.store.read(&query).unwrap() else {
            panic!("no effects");
        };
        fs::create_dir(world.obstacle()).unwrap();
        fs::write(world.obstacle().join(effects[0].task.to_string()), "").unwrap();
        let mut images = Images::default();
        assert_eq!(world.look(&mut images, 0), (0, 1));
        assert_eq!(world.look(&mut images, 3_000), (1, 0));
    }
}
