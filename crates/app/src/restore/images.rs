//! What images of tasks tell beyond the events that are left.

use domain::task::{Task, TaskCommand, TaskEvent, TaskStatus, epoch_of};

use super::{Restored, Source};
use crate::{
    command::Meta,
    error::Error,
    event::{NewEvent, Stream, StreamKind},
    ports::store::{Effect, IdKind, Mark, Tx},
    use_cases::{Change, encode},
};

/// Takes over what an image shows of a task that had gone further than its events tell. Answers the
/// last position, where anything was written.
pub(super) fn restate(
    tx: &mut dyn Tx,
    source: &Source,
    meta: &Meta,
    restored: &mut Restored,
) -> Result<Option<u64>, Error> {
    let mut last = None;
    for image in &source.images {
        let row = tx.task(image.id)?;
        match &row {
            Some(row) if row.project != image.project || row.version >= image.version => continue,
            Some(row) => {
                if row.spec != image.spec {
                    tx.rewrite_spec(image)?;
                }
                tx.update_task(image, row.version)?;
                let done = TaskStatus::Completed;
                if row.status() != done && image.status() == done {
                    tx.release_dependants(image.chain.root)?;
                }
            }
            None if tx.project(image.project)?.is_none() => continue,
            None => {
                tx.insert_task(image)?;
                tx.raise_number(IdKind::Task, image.id.number())?;
            }
        }
        let event = TaskEvent::Restated {
            task: Box::new(image.clone()),
        };
        let position = tx.append(
            meta,
            NewEvent {
                project: image.project,
                stream: Stream {
                    kind: StreamKind::Task,
                    id: image.id.number(),
                },
                kind: event.kind(),
                fence: Some(image.fence),
                payload: encode(&event)?,
            },
        )?;
        tx.add_effect(&Effect {
            task: image.id,
            version: image.version,
        })?;
        last = Some(position);
        restored.events += 1;
        restored.restated.push(image.id);
        if !restored.tasks.contains(&image.id) {
            restored.tasks.push(image.id);
        }
    }
    Ok(last)
}

/// The highest epoch that a fence of an image is of.
pub(super) fn epoch(source: &Source) -> u64 {
    let epochs = source.images.iter().map(|image| epoch_of(image.fence));
    epochs.max().unwrap_or(0)
}

/// A task whose sessions are not known any more goes back to the queue: nobody else would ever say
/// that they have ended.
pub(super) fn requeue_abandoned(
    tx: &mut dyn Tx,
    meta: &Meta,
    restored: &Restored,
) -> Result<(), Error> {
    for id in &restored.tasks {
        let Some(task) = tx.task(*id)? else { continue };
        if task.status() != TaskStatus::Running || has_session(tx, &task)? {
            continue;
        }
        let command = TaskCommand::Requeue {
            fence: task.fence,
            requeues_max: u32::MAX,
            counts: false,
        };
        Change::new(tx, meta).change_task(task, &command)?;
    }
    Ok(())
}

fn has_session(tx: &dyn Tx, task: &Task) -> Result<bool, Error> {
    for id in task.sessions() {
        let session = tx.session(*id)?;
        if session.is_some_and(|session| !session.status.is_terminal()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Begins another epoch than any that was heard of.
pub(super) fn raise_epoch(tx: &mut dyn Tx, heard: u64) -> Result<u64, Error> {
    let epoch = heard.max(tx.mark(Mark::Epoch)?) + 1;
    tx.set_mark(Mark::Epoch, epoch)?;
    Ok(epoch)
}
