//! `.crewboss/project.jsonl`: the events that belong to no task's folder, in lines of the same form.
//! One file, which is never rotated: there are few.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::Path,
};

use app::{
    event::GENESIS,
    ports::{
        folders::FolderError,
        journal::{LogItem, LogReceiver, NewEntry},
    },
};

use super::{line, reader::Part, whole, writer};
use crate::{
    dir::{Dir, failed},
    folders::ProjectFolders,
    layers::set_aside,
};

pub(crate) const FILE: &str = "project.jsonl";

/// The entries that are as they were written.
pub(crate) fn read(root: &Path, receive: &mut LogReceiver<'_>) -> Result<(), FolderError> {
    match ProjectFolders::existing_home(root)? {
        Some(home) => read_in(&home, receive),
        None => Ok(()),
    }
}

fn read_in(home: &Dir, receive: &mut LogReceiver<'_>) -> Result<(), FolderError> {
    let part = match home.open_existing(FILE) {
        Ok(None) => return Ok(()),
        Ok(Some(file)) => {
            let size = file.metadata().map(|metadata| metadata.len());
            let size = size.map_err(|error| failed("read", home.path().join(FILE), error))?;
            Part::Current(file, size)
        }
        Err(error) => Part::Closed(format!("cannot {}: {}", error.act, error.source)),
    };
    whole::read_parts(home, vec![part], &mut |item| {
        receive(match item {
            LogItem::Finding(mut finding) => {
                FILE.clone_into(&mut finding.file);
                LogItem::Finding(finding)
            }
            entry @ LogItem::Entry(_) => entry,
        })
    });
    Ok(())
}

/// Adds entries behind what is there, durably, but those events that are there already. A file with
/// anything in it that is not as it was written is kept aside, and begun anew with what is.
pub(crate) fn add(root: &Path, entries: &[NewEntry]) -> Result<u64, FolderError> {
    let home = ProjectFolders::home(root)?;
    let _lock = home.lock_patiently()?;
    let (mut known, mut old, mut is_whole) = (BTreeSet::new(), Vec::new(), true);
    read_in(&home, &mut |item| {
        match item {
            LogItem::Finding(_) => is_whole = false,
            LogItem::Entry(entry) => {
                let entry = NewEntry {
                    at: entry.timestamp,
                    level: entry.level,
                    message: entry.message,
                    data: entry.data,
                    position: entry.position,
                };
                known.extend(identity(&entry));
                old.push(entry);
            }
        }
        ControlFlow::Continue(())
    })?;
    let is_new =
        |entry: &&NewEntry| identity(entry).is_none_or(|known_as| !known.contains(&known_as));
    let new: Vec<&NewEntry> = entries.iter().filter(is_new).collect();
    if is_whole && new.is_empty() {
        return Ok(0);
    }
    if !is_whole {
        set_aside(&home, FILE)?;
    }
    let old: Vec<&NewEntry> = if is_whole {
        vec![]
    } else {
        old.iter().collect()
    };
    let failed = |error| failed("write", home.path().join(FILE), error);
    let file = home.open_append(FILE)?;
    append(file, old.into_iter().chain(new.iter().copied())).map_err(failed)?;
    home.sync()?;
    Ok(new.len() as u64)
}

/// What makes an event the same wherever it stands.
fn identity(entry: &NewEntry) -> Option<String> {
    let data = entry.data.as_deref()?.get();
    if !line::is_event_data(data) {
        return None;
    }
    let header = data.find("\"header\":")?;
    Some(data[header..].to_owned())
}

fn append<'e>(mut file: File, entries: impl Iterator<Item = &'e NewEntry>) -> io::Result<()> {
    let size = file.metadata()?.len();
    let last = writer::last_entry(&file, size)?;
    debug_assert!(size == 0 || ends_whole(&file, size)?);
    let (mut seq, mut head) = last.tail.map_or((0, GENESIS), |tail| (tail.seq, tail.hash));
    let mut bytes = Vec::new();
    for entry in entries {
        seq += 1;
        let position = entry.position.unwrap_or(0);
        head = line::write(&mut bytes, entry, seq, position, &head, seq == 1)?;
    }
    file.write_all(&bytes)?;
    file.sync_all()
}

fn ends_whole(file: &File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}
