//! Quotas: setting them, and refusing what does not fit in.

use domain::{
    id::ProjectId,
    quota::{Quota, QuotaKey, QuotaResource, QuotaUse, Rooms, month_of},
    session::Session,
    task::Task,
    time::Timestamp,
};

use super::{Change, encode};
use crate::{
    command::Output,
    error::Error,
    event::{NewEvent, QuotaRemoved, Stream, StreamKind},
    ports::store::{Reader, Tx},
};

/// Longest name of an owner, in bytes.
const OWNER_BYTES_MAX: usize = 256;

/// Sets a quota, for the first time or again. It stands in the log of the project it was asked from.
pub(crate) fn set_quota(
    change: &mut Change<'_>,
    from: ProjectId,
    key: &QuotaKey,
    max: u64,
) -> Result<Output, Error> {
    check(change, from, key)?;
    if i64::try_from(max).is_err() {
        return Err(Error::invalid("max", "is a number up to 2^63 - 1"));
    }
    let before = present(&*change.tx(), key)?;
    let now = change.now().wall;
    let quota = Quota {
        key: key.clone(),
        max,
        created_at: before.as_ref().map_or(now, |quota| quota.created_at),
        updated_at: now,
        version: before.as_ref().map_or(0, |quota| quota.version) + 1,
    };
    if before.is_some_and(|before| before.max == max) {
        return output(change, key);
    }
    change.tx().put_quota(&quota)?;
    note(change, from, "quota.set", encode(&quota)?)?;
    output(change, key)
}

/// Removes a quota.
pub(crate) fn remove_quota(
    change: &mut Change<'_>,
    from: ProjectId,
    key: &QuotaKey,
) -> Result<Output, Error> {
    check(change, from, key)?;
    let Output::Quota { quota, used } = output(change, key)? else {
        return Err(Error::corrupt("another answer than a quota"));
    };
    change.tx().remove_quota(key)?;
    let removed = QuotaRemoved { key: key.clone() };
    note(change, from, "quota.removed", encode(&removed)?)?;
    Ok(Output::Quota { quota, used })
}

fn check(change: &mut Change<'_>, from: ProjectId, key: &QuotaKey) -> Result<(), Error> {
    for project in [Some(from), key.project].into_iter().flatten() {
        if change.tx().project(project)?.is_none() {
            return Err(Error::not_found("Project", project));
        }
    }
    match &key.owner {
        Some(owner) if owner.trim().is_empty() => Err(Error::invalid("owner", "is empty")),
        Some(owner) if owner.len() > OWNER_BYTES_MAX => {
            let message = format!("is longer than {OWNER_BYTES_MAX} bytes");
            Err(Error::invalid("owner", message))
        }
        Some(owner) if owner.chars().any(char::is_control) => {
            Err(Error::invalid("owner", "holds a control character"))
        }
        _ => Ok(()),
    }
}

fn present(reader: &dyn Reader, key: &QuotaKey) -> Result<Option<Quota>, Error> {
    let quotas = reader.quotas()?;
    Ok(quotas.into_iter().find(|quota| quota.key == *key))
}

fn output(change: &mut Change<'_>, key: &QuotaKey) -> Result<Output, Error> {
    let quota = present(&*change.tx(), key)?.ok_or_else(|| Error::not_found("Quota", key))?;
    let used = used(&*change.tx(), key)?;
    Ok(Output::Quota { quota, used })
}

fn note(
    change: &mut Change<'_>,
    project: ProjectId,
    kind: &'static str,
    payload: Vec<u8>,
) -> Result<(), Error> {
    let stream = Stream {
        kind: StreamKind::Project,
        id: project.number(),
    };
    let event = NewEvent {
        project,
        stream,
        kind,
        fence: None,
        payload,
    };
    change.append(event).map(drop)
}

/// How much there is of what a quota counts.
pub(crate) fn used(reader: &dyn Reader, key: &QuotaKey) -> Result<u64, Error> {
    let (project, owner) = (key.project, key.owner.as_deref());
    match key.resource {
        QuotaResource::ActiveSessions => reader.active(project, owner),
        QuotaResource::QueuedTasks => reader.queued(project, owner),
        QuotaResource::TokensMonth => reader.tokens(month_of(reader.looked_at()), project, owner),
    }
}

/// The quotas of some resources, with how far they are used.
fn uses(reader: &dyn Reader, counts: impl Fn(&QuotaKey) -> bool) -> Result<Vec<QuotaUse>, Error> {
    let quotas = reader.quotas()?.into_iter();
    quotas
        .filter(|quota| counts(&quota.key))
        .map(|quota| {
            Ok(QuotaUse {
                used: used(reader, &quota.key)?,
                max: quota.max,
                key: quota.key,
            })
        })
        .collect()
}

/// What quotas leave room for to start.
pub(crate) fn rooms(reader: &dyn Reader) -> Result<Rooms, Error> {
    let starts = uses(reader, |key| key.resource.holds_up_starts())?;
    Ok(Rooms::new(starts))
}

/// What an ended session used is its owner's, in the month of its end.
pub(crate) fn count_tokens(
    tx: &mut dyn Tx,
    session: &Session,
    ended_at: Timestamp,
) -> Result<(), Error> {
    let outcome = session.outcome.as_ref();
    let tokens = outcome.map_or(0, |outcome| outcome.usage.tokens());
    if tokens == 0 {
        return Ok(());
    }
    let task = tx.task(session.task)?;
    let task = task.ok_or_else(|| Error::not_found("Task", session.task))?;
    tx.add_tokens(
        month_of(ended_at),
        session.project,
        &task.spec.owner,
        tokens,
    )
}

/// Refuses to start work on a task whose owner or project has used a quota up.
pub(crate) fn require_start(change: &mut Change<'_>, task: &Task) -> Result<(), Error> {
    let rooms = rooms(&*change.tx())?;
    let mut full = rooms.in_the_way(task.project, &task.spec.owner);
    match full.next() {
        Some(quota) => Err(Error::Quota(quota.clone())),
        None => Ok(()),
    }
}

/// Refuses one more task in the queue where a quota of waiting ones is used up.
pub(crate) fn require_place(
    change: &mut Change<'_>,
    project: ProjectId,
    owner: &str,
) -> Result<(), Error> {
    let queued = uses(&*change.tx(), |key| {
        key.resource == QuotaResource::QueuedTasks && key.covers(project, owner)
    })?;
    match queued.into_iter().find(QuotaUse::is_full) {
        Some(quota) => Err(Error::Quota(quota)),
        None => Ok(()),
    }
}
