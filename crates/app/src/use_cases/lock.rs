//! Locks: loads what a change can touch, lets the table decide, stores what has happened.

use domain::{
    id::{LockId, ProjectId},
    lock::{Ask, Gone, Lock, LockEvent, LockRefused, LockState, Numbers, Resource, Table, Token},
    session::Session,
    time::Now,
};

use super::Change;
use crate::{
    command::Output,
    error::Error,
    event::{NewEvent, Stream, StreamKind},
    locks::{LockAnswer, LockCommand, LockReply, LockTaken, load, load_for, load_whole},
    ports::{locks::LockView, store::Mark},
};

/// What was decided, and the table that says what has happened.
type Decided = (Table, Result<LockAnswer, LockRefused>);

/// Changes locks of a project.
pub(crate) fn change_locks(
    change: &mut Change<'_>,
    project: ProjectId,
    command: &LockCommand,
) -> Result<Output, Error> {
    if change.tx().project(project)?.is_none() {
        return Err(Error::not_found("Project", project));
    }
    let now = change.now();
    let before = Numbers {
        last: change.tx().mark(Mark::LockNumber)?,
    };
    let mut numbers = before;
    let (table, decided) = decide(change, project, command, &mut numbers, &now)?;
    if numbers != before {
        change.tx().set_mark(Mark::LockNumber, numbers.last)?;
    }
    let wake = store(change, project, table, decided.as_ref().err(), &now)?;
    let answer = decided.unwrap_or_else(|refused| LockAnswer::Refused { refused });
    Ok(Output::Lock {
        reply: LockReply { answer, wake },
    })
}

/// Takes away what a session holds or waits for, since it has ended.
pub(crate) fn end_locks_of(change: &mut Change<'_>, session: &Session) -> Result<(), Error> {
    let (project, holder) = (session.project, session.id.to_string());
    if change.tx().locks_of_holder(project, &holder)?.is_empty() {
        return Ok(());
    }
    let now = change.now();
    let before = Numbers {
        last: change.tx().mark(Mark::LockNumber)?,
    };
    let mut numbers = before;
    let mut table = around_holder(change, project, &holder, &now)?;
    table.cleanup(&holder, &Gone::SessionEnded, &mut numbers, &now);
    if numbers != before {
        change.tx().set_mark(Mark::LockNumber, numbers.last)?;
    }
    // Whoever waits for them looks within a second; the answer to a session has no room for more.
    store(change, project, table, None, &now).map(drop)
}

fn decide(
    change: &mut Change<'_>,
    project: ProjectId,
    command: &LockCommand,
    numbers: &mut Numbers,
    now: &Now,
) -> Result<Decided, Error> {
    match command {
        LockCommand::Begin { ask } => begin(change, project, ask, numbers, now),
        LockCommand::Look { id } => {
            let mut table = around_waiter(change, project, *id, now)?;
            let looked = table.look(*id, numbers, now);
            Ok(answered(table, looked, now))
        }
        LockCommand::Leave { id } => {
            let mut table = around_waiter(change, project, *id, now)?;
            let was_there = table.leave(*id, numbers, now);
            Ok((table, Ok(LockAnswer::Left { was_there })))
        }
        LockCommand::Renew { token, ttl_millis } => {
            let mut table = around_token(change, project, *token, now, true)?;
            let renewed = table.renew(*token, *ttl_millis, numbers, now);
            Ok(answered(table, renewed, now))
        }
        LockCommand::Release { release } => {
            let mut table = around_token(change, project, release.token, now, false)?;
            let released = table.release(release, numbers, now);
            let held = table.of_token(release.token).map(|lock| &lock.state);
            let depth = match held {
                Some(LockState::Held { depth, .. }) => *depth,
                _ => 0,
            };
            Ok((table, released.map(|_| LockAnswer::Released { depth })))
        }
        LockCommand::Force { resource, by } => {
            let here = std::slice::from_ref(resource);
            let mut table = load(change.tx(), project, here, &now.moment)?;
            let held = table
                .locks()
                .filter(|lock| lock.resources.contains(resource));
            let also: Vec<Resource> = held.flat_map(|lock| lock.resources.clone()).collect();
            if !also.is_empty() {
                table = load(change.tx(), project, &also, &now.moment)?;
            }
            let locks = table.force(resource, by, numbers, now);
            Ok((table, Ok(LockAnswer::Taken { locks })))
        }
        LockCommand::Cleanup { holder, by } => {
            let mut table = around_holder(change, project, holder, now)?;
            let why = Gone::Forced { by: by.clone() };
            let locks = table.cleanup(holder, &why, numbers, now);
            Ok((table, Ok(LockAnswer::Taken { locks })))
        }
    }
}

fn begin(
    change: &mut Change<'_>,
    project: ProjectId,
    ask: &Ask,
    numbers: &mut Numbers,
    now: &Now,
) -> Result<Decided, Error> {
    let ask = match ask.clone().checked() {
        Ok(ask) => ask,
        Err(refused) => return Ok((Table::default(), Err(refused))),
    };
    if let Some((session, fence)) = ask.holder.session() {
        let session = change.tx().session(session)?;
        let speaks = session.filter(|session| {
            session.project == project && session.fence == fence && !session.status.is_terminal()
        });
        let holds = speaks
            .map(|session| change.tx().task(session.task))
            .transpose()?
            .flatten();
        if holds.is_none_or(|task| task.fence != fence) {
            let holder = ask.holder;
            return Ok((Table::default(), Err(LockRefused::FenceLost { holder })));
        }
    }
    let mut table = match ask.token {
        Some(token) => around_token(change, project, token, now, true)?,
        None => load_for(change.tx(), project, &ask, &now.moment)?,
    };
    let begun = table.acquire(&ask, numbers, now);
    Ok(answered(table, begun, now))
}

/// A request that may wait, with everybody who waits there: those behind it too, should it leave.
fn around_waiter(
    change: &mut Change<'_>,
    project: ProjectId,
    id: LockId,
    now: &Now,
) -> Result<Table, Error> {
    let Some(lock) = change.tx().lock(project, id)? else {
        return Ok(Table::default());
    };
    let mut table = load_whole(change.tx(), project, &lock.resources, &now.moment)?;
    table.add(lock);
    Ok(table)
}

/// The lock of a token and, unless nothing else can change with it, what is around.
fn around_token(
    change: &mut Change<'_>,
    project: ProjectId,
    token: Token,
    now: &Now,
    alone: bool,
) -> Result<Table, Error> {
    let lock = change.tx().lock_of_token(project, token)?;
    match lock {
        Some(lock) if alone && !lock.is_over(&now.moment) => Ok(Table::of([lock])),
        Some(lock) => {
            let mut table = load(change.tx(), project, &lock.resources, &now.moment)?;
            table.add(lock);
            Ok(table)
        }
        None => Ok(Table::default()),
    }
}

fn around_holder(
    change: &mut Change<'_>,
    project: ProjectId,
    holder: &str,
    now: &Now,
) -> Result<Table, Error> {
    let own = change.tx().locks_of_holder(project, holder)?;
    let resources: Vec<Resource> = own.iter().flat_map(|lock| lock.resources.clone()).collect();
    let mut table = load_whole(change.tx(), project, &resources, &now.moment)?;
    for lock in own {
        table.add(lock);
    }
    Ok(table)
}

fn answered(table: Table, lock: Result<Lock, LockRefused>, now: &Now) -> Decided {
    let answer = lock.map(|lock| {
        let view = Box::new(LockView::of(lock, &table, &now.moment));
        LockAnswer::Lock { view }
    });
    (table, answer)
}

/// Writes what has happened; answers who has to hear of it.
fn store(
    change: &mut Change<'_>,
    project: ProjectId,
    mut table: Table,
    refused: Option<&LockRefused>,
    now: &Now,
) -> Result<Vec<String>, Error> {
    let events = table.take_events();
    let before = change.tx().lock_totals(project)?;
    let mut totals = before;
    if let Some(refused) = refused {
        totals.refuse(refused);
    }
    let mut wake = Vec::new();
    for event in &events {
        totals.count(event);
        let lock = event.lock();
        if event.keeps() {
            change.tx().put_lock(project, lock)?;
        } else {
            change.tx().remove_lock(lock.id)?;
        }
        if matches!(event, LockEvent::Taken { .. }) {
            change.tx().forget_locks(project, now)?;
        }
        if event.is_for_the_log() {
            record(change, project, lock)?;
        }
        wake.extend(event.wakes().map(str::to_owned));
    }
    if totals != before {
        change.tx().set_lock_totals(project, &totals)?;
    }
    Ok(wake)
}

/// What people ask for later stands in the log of the project.
fn record(change: &mut Change<'_>, project: ProjectId, lock: &Lock) -> Result<(), Error> {
    let LockState::Gone { why, token, .. } = &lock.state else {
        return Ok(());
    };
    let taken = LockTaken {
        lock: lock.id,
        token: *token,
        holder: lock.holder.clone(),
        resources: lock.resources.clone(),
        gone: why.clone(),
    };
    change.append(NewEvent {
        project,
        stream: Stream {
            kind: StreamKind::Project,
            id: project.number(),
        },
        kind: "lock.taken",
        fence: lock.holder.session().map(|(_, fence)| fence),
        payload: super::change::encode(&taken)?,
    })?;
    Ok(())
}
