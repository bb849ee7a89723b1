//! A log made again: what the store tells, and of the old log every entry that is as it was written
//! and tells of no event. The old files are kept aside.

use std::{
    io::{self, BufWriter, Write as _},
    ops::ControlFlow,
};

use app::{
    event::GENESIS,
    faults::Thing,
    ports::{
        folders::FolderError,
        journal::{LogItem, NewEntry, Rewritten},
    },
};

use super::{
    files::{self, CURRENT},
    line, reader, whole,
};
use crate::{
    dir::{Dir, failed},
    layers::set_aside,
};

const NEW: &str = ".logs.jsonl.new";

/// See [`app::ports::journal::Journal::rewrite`]. A crash in between leaves the old log, or the new
/// one with some of the old files beside it, which is found and made again.
pub(super) fn rewrite(folder: &Dir, events: &[NewEntry]) -> Result<Rewritten, FolderError> {
    let _lock = folder.lock_patiently()?;
    let messages = messages(folder)?;
    let mut rewritten = Rewritten {
        entries: 0,
        messages: messages.len() as u64,
        aside: vec![],
    };
    rewritten.entries = write(folder, events, &messages)
        .map_err(|error| failed("write", folder.path().join(NEW), error))?;
    folder.sync()?;
    let old: Vec<String> = files::full(folder)?
        .iter()
        .flat_map(|full| {
            let plain = full.has_plain.then(|| full.plain());
            plain
                .into_iter()
                .chain(full.has_packed.then(|| full.packed()))
        })
        .collect();
    if folder.has(CURRENT) {
        folder.exchange(NEW, CURRENT)?;
        rewritten.aside.extend(aside_as(folder, NEW, CURRENT)?);
    } else {
        folder.rename_over(Thing::Journal, NEW, CURRENT)?;
    }
    for name in old {
        rewritten.aside.extend(set_aside(folder, &name)?);
    }
    folder.sync()?;
    Ok(rewritten)
}

fn aside_as(folder: &Dir, name: &str, as_name: &str) -> Result<Option<String>, FolderError> {
    let Some(aside) = set_aside(folder, name)? else {
        return Ok(None);
    };
    for number in 1.. {
        let better = format!("{as_name}.aside-{number}");
        match folder.rename_new(&aside, &better) {
            Ok(()) => return Ok(Some(better)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("rename", folder.path().join(aside), error)),
        }
    }
    Ok(Some(aside))
}

/// The entries of the old log that the store does not have.
fn messages(folder: &Dir) -> Result<Vec<NewEntry>, FolderError> {
    let mut messages = Vec::new();
    let parts = reader::parts_under_lock(folder)?;
    whole::read_parts(folder, parts, &mut |item| {
        if let LogItem::Entry(entry) = item {
            let data = entry.data.as_deref().map_or("", |data| data.get());
            if !line::is_event_data(data) {
                messages.push(NewEntry {
                    at: entry.timestamp,
                    level: entry.level,
                    message: entry.message,
                    data: entry.data,
                    position: None,
                });
            }
        }
        ControlFlow::Continue(())
    });
    Ok(messages)
}

/// In the order of their times, events first.
fn write(folder: &Dir, events: &[NewEntry], messages: &[NewEntry]) -> io::Result<u64> {
    let file = folder.create(NEW).map_err(|error| error.source)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    let (mut seq, mut position, mut head) = (0, 0, GENESIS);
    let (mut events, mut messages) = (events.iter().peekable(), messages.iter().peekable());
    let mut bytes = Vec::new();
    loop {
        let takes_message = match (events.peek(), messages.peek()) {
            (Some(event), Some(message)) => message.at < event.at,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        let next = if takes_message {
            messages.next()
        } else {
            events.next()
        };
        let Some(entry) = next else { break };
        seq += 1;
        position = entry.position.unwrap_or(position);
        bytes.clear();
        head = line::write(&mut bytes, entry, seq, position, &head, seq == 1)?;
        out.write_all(&bytes)?;
    }
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(seq)
}
