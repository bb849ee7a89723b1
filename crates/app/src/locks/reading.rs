//! Looking at locks.

use domain::{
    id::ProjectId,
    lock::{Lock, LockState, Table},
    time::{Moment, Now},
};

use super::command::{LockNotice, LockQuery};
use crate::{
    error::Error,
    ports::{
        locks::{LockFilter, LockStatistics, LockView},
        store::Reader,
    },
};

/// Answers a question about the locks of a project.
pub(crate) fn answer(
    reader: &dyn Reader,
    project: ProjectId,
    query: &LockQuery,
) -> Result<LockNotice, Error> {
    match query {
        LockQuery::One { id, now } => one(reader, project, reader.lock(project, *id)?, now),
        LockQuery::OfToken { token, now } => {
            one(reader, project, reader.lock_of_token(project, *token)?, now)
        }
        LockQuery::All { filter, now } => Ok(LockNotice::All {
            views: all(reader, project, filter, &now.moment)?,
        }),
        LockQuery::Statistics { now } => Ok(LockNotice::Statistics {
            numbers: Box::new(statistics(reader, project, &now.moment)?),
        }),
    }
}

fn one(
    reader: &dyn Reader,
    project: ProjectId,
    lock: Option<Lock>,
    now: &Now,
) -> Result<LockNotice, Error> {
    let Some(lock) = lock else {
        return Ok(LockNotice::One {
            view: None,
            is_due: false,
        });
    };
    if !lock.is_waiting() {
        let is_due = lock.is_over(&now.moment);
        let view = Some(Box::new(LockView::of(lock, &Table::default(), &now.moment)));
        return Ok(LockNotice::One { view, is_due });
    }
    let table = Table::of(reader.locks_overlapping(project, &lock.resources)?);
    let is_due = table.locks().any(|other| other.is_over(&now.moment));
    let view = LockView::of(lock, &table, &now.moment);
    let is_due = is_due || view.by.is_empty();
    Ok(LockNotice::One {
        view: Some(Box::new(view)),
        is_due,
    })
}

fn all(
    reader: &dyn Reader,
    project: ProjectId,
    filter: &LockFilter,
    now: &Moment,
) -> Result<Vec<LockView>, Error> {
    let locks = match (&filter.resource, &filter.holder) {
        (Some(resource), _) => reader.locks_overlapping(project, std::slice::from_ref(resource))?,
        (None, Some(holder)) => reader.locks_of_holder(project, holder)?,
        (None, None) => reader.locks(project, false)?,
    };
    let is_meant = |lock: &Lock| {
        let of = filter
            .holder
            .as_ref()
            .is_none_or(|holder| lock.holder.to_string() == *holder);
        of && stands(lock, now)
    };
    let mut views = Vec::new();
    let whole = filter.resource.is_none() && filter.holder.is_none();
    let table = whole.then(|| Table::of(locks.iter().cloned()));
    for lock in locks.into_iter().filter(is_meant) {
        let view = match &table {
            Some(table) => LockView::of(lock, table, now),
            None if lock.is_waiting() => {
                let around = Table::of(reader.locks_overlapping(project, &lock.resources)?);
                LockView::of(lock, &around, now)
            }
            None => LockView::of(lock, &Table::default(), now),
        };
        views.push(view);
    }
    LockView::sort(&mut views);
    Ok(views)
}

fn statistics(
    reader: &dyn Reader,
    project: ProjectId,
    now: &Moment,
) -> Result<LockStatistics, Error> {
    let mut numbers = LockStatistics {
        totals: reader.lock_totals(project)?,
        ..LockStatistics::default()
    };
    let locks = reader.locks(project, false)?;
    numbers.add(locks.iter(), now);
    Ok(numbers)
}

fn stands(lock: &Lock, now: &Moment) -> bool {
    !lock.is_over(now) && !matches!(lock.state, LockState::Gone { .. })
}

impl LockStatistics {
    /// Counts what is held and what waits among these.
    pub fn add<'l>(&mut self, locks: impl Iterator<Item = &'l Lock>, now: &Moment) {
        for lock in locks.filter(|lock| stands(lock, now)) {
            let since = since_millis(lock, now);
            if lock.is_waiting() {
                self.waiting += 1;
                self.oldest_wait_millis = self.oldest_wait_millis.max(since);
            } else {
                self.held += 1;
                self.oldest_hold_millis = self.oldest_hold_millis.max(since);
            }
        }
    }
}

impl LockView {
    /// A lock as it stands among others.
    #[must_use]
    pub fn of(lock: Lock, table: &Table, now: &Moment) -> Self {
        let by = if lock.is_waiting() {
            table.blockers(&lock, now)
        } else {
            vec![]
        };
        Self {
            left_millis: lock.left_millis(now),
            since_millis: since_millis(&lock, now),
            by,
            lock,
        }
    }

    /// Holders by token, then the queue in its order.
    pub fn sort(views: &mut [Self]) {
        views.sort_by_key(|view| (view.lock.is_waiting(), view.lock.token(), view.lock.place()));
    }
}

fn since_millis(lock: &Lock, now: &Moment) -> u64 {
    let since = match &lock.state {
        LockState::Held { since, .. } => since,
        LockState::Waiting { .. } | LockState::Gone { .. } => &lock.asked,
    };
    if since.boot == now.boot {
        now.millis.saturating_sub(since.millis)
    } else {
        0
    }
}
