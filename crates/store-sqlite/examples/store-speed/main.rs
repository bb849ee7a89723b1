//! The store by itself: `store-speed SUBJECT FOLDER` measures and prints one JSON object of numbers, and
//! `store-speed fill FILE TASKS` and `store-speed queue FILE TASKS` add tasks to a store that holds one.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it measures, and its output is what it is for"
)]

mod document;
mod fill;
mod jobs;
mod locks;
mod measure;
mod port;
mod registry;
mod restart;
mod verify;
mod writers;

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use app::{command::Output, ports::store::Store as _};
use domain::id::ProjectId;
use store_sqlite::SqliteStore;
use testkit::contract::{
    clock::ManualClock,
    world::{register_command, request},
};

type Done<T> = Result<T, Box<dyn Error>>;

fn main() -> Done<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let measured = match words.as_slice() {
        ["fill", file, tasks] => return fill::ended(Path::new(file), tasks.parse()?),
        ["queue", file, tasks] => return fill::queued(Path::new(file), tasks.parse()?),
        ["writer", file, threads, each] => {
            return writers::one_process(Path::new(file), threads.parse()?, each.parse()?);
        }
        ["load", file] => return restart::load(Path::new(file)),
        ["port", folder] => port::rows(Path::new(folder)),
        ["jobs", folder] => jobs::rows(Path::new(folder)),
        ["locks", folder] => locks::rows(Path::new(folder)),
        ["registry", folder] => registry::rows(Path::new(folder)),
        ["restart", folder] => restart::rows(Path::new(folder)),
        ["verify", folder] => verify::rows(Path::new(folder)),
        ["writers", folder] => writers::rows(Path::new(folder)),
        ["document", folder] => document::rows(Path::new(folder)),
        _ => {
            return Err(
                "expected `SUBJECT FOLDER`, `fill FILE TASKS` or `queue FILE TASKS`".into(),
            );
        }
    }?;
    println!("{measured}");
    Ok(())
}

/// A folder of its own, gone in the end.
struct Place(tempfile::TempDir);

impl Place {
    fn new(folder: &Path) -> Done<Self> {
        Ok(Self(tempfile::tempdir_in(folder)?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The store of the process that owns it, with one project.
    fn store(&self) -> Done<(SqliteStore, ProjectId)> {
        open(&self.path("store.db"))
    }
}

fn open(path: &Path) -> Done<(SqliteStore, ProjectId)> {
    let store = SqliteStore::own(path, Arc::new(ManualClock::default()))?;
    let project = project_of(&store)?;
    Ok((store, project))
}

fn project_of(store: &SqliteStore) -> Done<ProjectId> {
    let Output::Project { project } = store.execute(request(register_command()))?.output else {
        return Err("no project was made".into());
    };
    Ok(project.id)
}
