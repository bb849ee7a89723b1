//! What becomes of a task's events when its folder goes.

use std::path::Path;

use domain::id::TaskId;
use serde_json::value::to_raw_value;

use super::{Aside, RepairError, folder};
use crate::{
    error::Error,
    history,
    ports::{
        journal::{Level, NewEntry},
        layers::Layers,
        store::Store,
    },
    query::{Query, View},
};

/// Before the folder of a purged task goes: its events, which have lost their contents, are from then
/// on among the rest in `project.jsonl`, and where it stood, which they do not tell any more.
///
/// # Errors
/// Where the store cannot be read or the file not be written.
pub fn keep_rest(
    store: &dyn Store,
    layers: &dyn Layers,
    root: &Path,
    id: TaskId,
) -> Result<(), RepairError> {
    let View::Task { details } = store.read(&Query::Task { id })? else {
        return Err(Error::corrupt("a task was answered by something else").into());
    };
    let task = details.view.task;
    let data = to_raw_value(&Aside {
        purged: Some(Box::new((task.clone(), details.sessions))),
        ..Aside::default()
    });
    let mut entries = vec![NewEntry {
        at: task.updated_at,
        level: Level::Info,
        message: format!("{id} was purged"),
        data: data.ok(),
        position: None,
    }];
    for event in folder::events(store, &task)? {
        entries.push(history::entry(&event)?);
    }
    layers.add_to_project(root, &entries)?;
    Ok(())
}
