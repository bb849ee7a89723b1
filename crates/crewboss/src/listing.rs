//! Lists of tasks, read page by page.

use app::{
    error::Error,
    ports::store::Store,
    query::{Deleted, Query, TaskFilter, View},
};
use domain::{id::ProjectId, task::Task};

/// Tasks that are read at once.
const PAGE: usize = 1_000;

/// Every task that the store has of a project but purged ones: archived and deleted ones too.
pub(crate) fn every_task(store: &dyn Store, project: ProjectId) -> Result<Vec<Task>, Error> {
    let filter = |archived, deleted| TaskFilter {
        project: Some(project),
        archived,
        deleted,
        ..TaskFilter::default()
    };
    let mut every = tasks(store, filter(false, Deleted::With))?;
    every.extend(tasks(store, filter(true, Deleted::Without))?);
    Ok(every)
}

/// Every task of a filter, in its order.
pub(crate) fn tasks(store: &dyn Store, mut filter: TaskFilter) -> Result<Vec<Task>, Error> {
    let mut all = Vec::new();
    loop {
        let query = Query::Tasks {
            filter: filter.clone(),
            limit: PAGE,
        };
        let View::Tasks { tasks } = store.read(&query)? else {
            return Err(Error::corrupt(
                "a list of tasks was answered by something else",
            ));
        };
        let full = tasks.len() == PAGE;
        all.extend(tasks);
        filter.after = all.last().map(|task| task.id);
        if !full {
            return Ok(all);
        }
    }
}
