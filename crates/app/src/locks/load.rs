//! Of all locks those that a change can touch.

use std::collections::BTreeSet;

use domain::{
    id::ProjectId,
    lock::{Ask, Lock, Resource, Table},
    time::Moment,
};

use crate::{error::Error, ports::store::Reader};

/// A table of what is held or waits on these resources, and on those of whoever waits there or is
/// over there. Those are left out that cannot be next whatever is released.
pub(crate) fn load(
    reader: &dyn Reader,
    project: ProjectId,
    resources: &[Resource],
    now: &Moment,
) -> Result<Table, Error> {
    let mut loading = Loading::new(reader, project, now);
    loading.in_line = true;
    loading.take_in(resources.to_vec())?;
    Ok(loading.table)
}

/// The same with everybody who waits there.
pub(crate) fn load_whole(
    reader: &dyn Reader,
    project: ProjectId,
    resources: &[Resource],
    now: &Moment,
) -> Result<Table, Error> {
    let mut loading = Loading::new(reader, project, now);
    loading.take_in(resources.to_vec())?;
    Ok(loading.table)
}

/// The same for a request that may have to wait: also what could close a circle with it.
pub(crate) fn load_for(
    reader: &dyn Reader,
    project: ProjectId,
    ask: &Ask,
    now: &Moment,
) -> Result<Table, Error> {
    let mut loading = Loading::new(reader, project, now);
    loading.take_in(ask.resources.clone())?;
    let here = loading.table.overlapping(&ask.resources);
    let is_contended = here
        .iter()
        .any(|lock| lock.is_against(&ask.resources, ask.mode));
    if is_contended {
        loading.follow_holders(&ask.holder.to_string())?;
    }
    Ok(loading.table)
}

struct Loading<'r> {
    reader: &'r dyn Reader,
    project: ProjectId,
    now: &'r Moment,
    table: Table,
    seen: BTreeSet<Resource>,
    in_line: bool,
}

impl<'r> Loading<'r> {
    fn new(reader: &'r dyn Reader, project: ProjectId, now: &'r Moment) -> Self {
        Self {
            reader,
            project,
            now,
            table: Table::default(),
            seen: BTreeSet::new(),
            in_line: false,
        }
    }

    fn take_in(&mut self, resources: Vec<Resource>) -> Result<(), Error> {
        let mut open = resources;
        open.retain(|resource| self.seen.insert(resource.clone()));
        while !open.is_empty() {
            let found = if self.in_line {
                self.reader.locks_in_line(self.project, &open, self.now)?
            } else {
                self.reader.locks_overlapping(self.project, &open)?
            };
            open.clear();
            for lock in found {
                if self.table.lock(lock.id).is_some() {
                    continue;
                }
                if lock.is_waiting() || lock.is_over(self.now) {
                    let new = lock.resources.iter();
                    open.extend(new.filter(|new| self.seen.insert((*new).clone())).cloned());
                }
                self.table.add(lock);
            }
        }
        Ok(())
    }

    /// Whoever is in the way may wait for something itself, somewhere else.
    fn follow_holders(&mut self, asking: &str) -> Result<(), Error> {
        let waiting = self.reader.locks(self.project, true)?;
        loop {
            let mut known: BTreeSet<String> = self
                .table
                .locks()
                .map(|lock| lock.holder.to_string())
                .collect();
            known.insert(asking.to_owned());
            let is_new = |lock: &&Lock| {
                self.table.lock(lock.id).is_none() && known.contains(&lock.holder.to_string())
            };
            let new: Vec<Lock> = waiting.iter().filter(is_new).cloned().collect();
            if new.is_empty() {
                return Ok(());
            }
            for lock in new {
                self.take_in(lock.resources.clone())?;
                self.table.add(lock);
            }
        }
    }
}
