//! The layers port: what is in a task's folder, held against itself.

use std::path::Path;

use app::ports::{
    folders::FolderError,
    journal::{LogReceiver, NewEntry},
    layers::{Layer, Layers, Listing},
};
use domain::{
    id::TaskId,
    task::{Paper, Task},
};

use crate::{
    decisions,
    dir::{Dir, Durability, failed},
    folders::{PLAN, ProjectFolders, STATE, plan},
    image,
    journal::project,
};

/// So many earlier files of one name are kept aside.
const ASIDE_MAX: u32 = 10_000;

/// The layers of tasks in the `.crewboss/` folders of projects.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectLayers;

fn file_of(paper: Paper) -> &'static str {
    match paper {
        Paper::Plan => PLAN,
        Paper::Decisions => decisions::FILE,
    }
}

fn told(error: &FolderError) -> String {
    format!("cannot {}: {}", error.act, error.source)
}

/// A file that cannot be opened as what it is to be is a finding about it, and no failure.
fn content(folder: &Dir, name: &str) -> Layer<Vec<u8>> {
    match folder.read(name) {
        Ok(None) => Layer::Missing,
        Ok(Some(content)) => Layer::Whole(content),
        Err(error) => Layer::Broken(told(&error)),
    }
}

/// What is written into a task's folder, with what a crash or a repair leaves of it.
fn is_ours(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        STATE,
        PLAN,
        decisions::FILE,
        "logs.jsonl",
        "checkpoints",
        "sessions",
        "imported.log",
    ];
    let stem = name.strip_prefix('.').unwrap_or(name);
    NAMES.iter().any(|known| {
        stem.strip_prefix(known)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Renames whatever has a name to another that nothing has; answers that.
pub(crate) fn set_aside(folder: &Dir, name: &str) -> Result<Option<String>, FolderError> {
    for number in 1..=ASIDE_MAX {
        let aside = format!("{name}.aside-{number}");
        match folder.rename_new(name, &aside) {
            Ok(()) => return Ok(Some(aside)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("rename", folder.path().join(name), error)),
        }
    }
    let full = std::io::ErrorKind::AlreadyExists.into();
    Err(failed("rename", folder.path().join(name), full))
}

impl Layers for ProjectLayers {
    fn image(&self, root: &Path, task: TaskId) -> Result<Layer<Task>, FolderError> {
        let folder = match ProjectFolders::existing_task(root, task) {
            Ok(Some(folder)) => folder,
            Ok(None) => return Ok(Layer::Missing),
            Err(error) => return Ok(Layer::Broken(told(&error))),
        };
        Ok(match content(&folder, STATE) {
            Layer::Missing => Layer::Missing,
            Layer::Broken(why) => Layer::Broken(why),
            Layer::Whole(content) => match image::parse(&content) {
                Ok(shown) if shown.id == task => Layer::Whole(shown),
                Ok(shown) => Layer::Broken(format!("it shows {}", shown.id)),
                Err(why) => Layer::Broken(why),
            },
        })
    }

    fn write_image(&self, root: &Path, task: &Task) -> Result<(), FolderError> {
        let folder = ProjectFolders::task(root, task.id)?;
        let _lock = folder.lock_patiently()?;
        let json = image::document(task, &folder)?;
        let there = content(&folder, STATE);
        if there == Layer::Whole(json.clone()) {
            return Ok(());
        }
        if there != Layer::Missing {
            set_aside(&folder, STATE)?;
        }
        folder.replace(STATE, &json, Durability::Synced)
    }

    fn listing(&self, root: &Path) -> Result<Listing, FolderError> {
        let mut listing = Listing::default();
        let Some(tasks) = ProjectFolders::existing_tasks(root)? else {
            return Ok(listing);
        };
        for name in tasks.sorted_names()? {
            match name.parse() {
                Ok(task) if matches!(tasks.existing(&name), Ok(Some(_))) => {
                    listing.tasks.push(task);
                }
                _ => listing.foreign.push(name),
            }
        }
        listing.tasks.sort();
        Ok(listing)
    }

    fn foreign(&self, root: &Path, task: TaskId) -> Result<Vec<String>, FolderError> {
        let Some(folder) = ProjectFolders::existing_task(root, task)? else {
            return Ok(vec![]);
        };
        let mut names = folder.sorted_names()?;
        names.retain(|name| !is_ours(name));
        Ok(names)
    }

    fn clear_way(&self, root: &Path, task: TaskId) -> Result<Option<String>, FolderError> {
        let Some(tasks) = ProjectFolders::existing_tasks(root)? else {
            return Ok(None);
        };
        let name = task.to_string();
        if !tasks.has(&name) || matches!(tasks.existing(&name), Ok(Some(_))) {
            return Ok(None);
        }
        set_aside(&tasks, &name)
    }

    fn read_project(&self, root: &Path, receive: &mut LogReceiver<'_>) -> Result<(), FolderError> {
        project::read(root, receive)
    }

    fn add_to_project(&self, root: &Path, entries: &[NewEntry]) -> Result<u64, FolderError> {
        project::add(root, entries)
    }

    fn paper(&self, root: &Path, task: TaskId, paper: Paper) -> Result<Layer<String>, FolderError> {
        let folder = match ProjectFolders::existing_task(root, task) {
            Ok(Some(folder)) => folder,
            Ok(None) => return Ok(Layer::Missing),
            Err(error) => return Ok(Layer::Broken(told(&error))),
        };
        Ok(match content(&folder, file_of(paper)) {
            Layer::Missing => Layer::Missing,
            Layer::Broken(why) => Layer::Broken(why),
            Layer::Whole(content) => match String::from_utf8(content) {
                Ok(text) => Layer::Whole(text),
                Err(error) => {
                    let at = error.utf8_error().valid_up_to() + 1;
                    Layer::Broken(format!("byte {at} is not UTF-8"))
                }
            },
        })
    }

    fn first_plan(&self, task: &Task) -> String {
        plan(task)
    }

    fn write_paper(
        &self,
        root: &Path,
        task: TaskId,
        paper: Paper,
        text: &str,
    ) -> Result<(), FolderError> {
        let folder = ProjectFolders::task(root, task)?;
        let _lock = folder.lock_patiently()?;
        set_aside(&folder, file_of(paper))?;
        folder.replace(file_of(paper), text.as_bytes(), Durability::Synced)
    }
}
