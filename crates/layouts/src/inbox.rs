//! What others did to the files since we wrote them.

use std::{collections::BTreeSet, path::Path};

use app::ports::folders::FolderError;
use domain::{id::TaskId, time::Timestamp};

use crate::{
    dir::Dir,
    document::Document,
    layout::Layout,
    looked::{LARGE, Looked},
    places,
    reading::{FILE_BYTES_MAX, read_document},
};

/// A file that is not what was written last.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// As it was written.
    pub before: Document,
    /// As it is.
    pub after: Document,
}

/// Everything that is to be acted upon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Inbox {
    /// Files that somebody else made, oldest id first.
    pub fresh: Vec<Document>,
    /// Files that somebody else changed.
    pub edited: Vec<Edit>,
    /// Tasks whose file is gone.
    pub gone: Vec<TaskId>,
    /// Tasks whose file is in the archive, though we did not put it there.
    pub archived: Vec<TaskId>,
    /// Files of ours that are broken now, and why.
    pub broken: Vec<(TaskId, String)>,
    /// One line for each file that is skipped, or of which something is not used.
    pub warnings: Vec<String>,
}

impl Inbox {
    /// Whether there is nothing to act upon.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self {
            fresh,
            edited,
            gone,
            archived,
            broken,
            warnings: _,
        } = self;
        fresh.is_empty()
            && edited.is_empty()
            && gone.is_empty()
            && archived.is_empty()
            && broken.is_empty()
    }
}

/// Looks at every file; reads only those whose size or time of modification differ, under the lock
/// of those that write: a file and its copy are never caught between two writes.
pub(crate) fn scan(layout: Layout, root: &Path, now: Timestamp) -> Result<Inbox, FolderError> {
    let mut inbox = Inbox::default();
    let Some(base) = Dir::root(root)?.existing(layout.base())? else {
        return Ok(inbox);
    };
    let tasks = base.made(places::TASKS)?;
    let shown = shown_folder(&base)?;
    let home = base.made_private(places::HOME)?;
    let before = Looked::now(&tasks, &shown, now);
    let last = Looked::read(&home);
    if last
        .zip(before)
        .is_some_and(|(last, now)| last.still_counts(now))
    {
        return Ok(inbox);
    }
    let Suspects {
        doubtful,
        missing,
        tasks: count,
    } = suspects(&tasks, &shown, &mut inbox)?;
    if !(doubtful.is_empty() && missing.is_empty()) {
        let shown = shown.lock()?;
        for id in doubtful {
            look(layout, &tasks, &shown, id, &mut inbox);
        }
        let archive = base.existing(places::ARCHIVE)?;
        for id in missing {
            let name = places::task_file(id);
            if tasks.has(&name) || !shown.has(&name) {
                continue;
            }
            match &archive {
                Some(archive) if archive.has(&name) => inbox.archived.push(id),
                _ => inbox.gone.push(id),
            }
        }
        inbox.fresh.sort_by_key(|document| document.id);
    }
    if let (true, true, Some(looked)) = (count >= LARGE, inbox.is_empty(), before) {
        // Whoever cannot write it down looks again.
        drop(looked.write(&home));
    }
    Ok(inbox)
}

/// What has to be looked at more closely.
struct Suspects {
    /// Tasks whose file may differ from its copy.
    doubtful: Vec<TaskId>,
    /// Tasks that may have a copy alone.
    missing: Vec<TaskId>,
    /// How many have a file.
    tasks: usize,
}

fn suspects(tasks: &Dir, shown: &Dir, inbox: &mut Inbox) -> Result<Suspects, FolderError> {
    let mut doubtful = Vec::new();
    let mut present = BTreeSet::new();
    for name in &tasks.names()? {
        let Some(id) = places::task_of(name) else {
            if places::is_task_like(name) {
                inbox
                    .warnings
                    .push(format!("tasks/{name} is skipped: its name is no task id"));
            }
            continue;
        };
        present.insert(id);
        if tasks.stamp(name) != shown.stamp(name) {
            doubtful.push(id);
        }
    }
    let copies = shown.names()?;
    let missing = copies
        .iter()
        .filter_map(|name| places::task_of(name))
        .filter(|id| !present.contains(id));
    Ok(Suspects {
        doubtful,
        missing: missing.collect(),
        tasks: present.len(),
    })
}

pub(crate) fn shown_folder(base: &Dir) -> Result<Dir, FolderError> {
    base.made_private(places::HOME)?.made_private(places::SHOWN)
}

fn is_begun(shown: &Dir, id: TaskId, bytes: &[u8]) -> bool {
    let begun = shown.read(&places::next_copy(id), FILE_BYTES_MAX);
    begun.is_ok_and(|begun| begun.as_deref() == Some(bytes))
}

fn look(layout: Layout, tasks: &Dir, shown: &Dir, id: TaskId, inbox: &mut Inbox) {
    let name = places::task_file(id);
    let read = |folder: &Dir| folder.read(&name, FILE_BYTES_MAX);
    let copy = read(shown).ok().flatten();
    let before = copy
        .as_deref()
        .and_then(|copy| read_document(layout, id, copy).ok());
    let problem = match read(tasks) {
        Ok(None) => return,
        Ok(Some(bytes)) if copy.as_ref() == Some(&bytes) => return,
        // A write of ours that was cut off: the next one puts the copy right.
        Ok(Some(bytes)) if is_begun(shown, id, &bytes) => return,
        Ok(Some(bytes)) => match read_document(layout, id, &bytes) {
            Ok((after, warnings)) => {
                let named = warnings
                    .into_iter()
                    .map(|warning| format!("{name}: {warning}"));
                inbox.warnings.extend(named);
                match before {
                    Some((before, _)) => inbox.edited.push(Edit { before, after }),
                    None => inbox.fresh.push(after),
                }
                return;
            }
            Err(unreadable) => unreadable.to_string(),
        },
        Err(error) => error.source.to_string(),
    };
    if before.is_some() {
        inbox.broken.push((id, problem));
    } else {
        inbox
            .warnings
            .push(format!("tasks/{name} is skipped: {problem}"));
    }
}
