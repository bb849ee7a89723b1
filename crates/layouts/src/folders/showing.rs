//! Writing the files of tasks, under the lock of their folder.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use app::{ports::folders::FolderError, query::TaskDetails};
use domain::{id::TaskId, task::Task};

use super::{INDEX_BYTES_MAX, LayoutFolders, Shown};
use crate::{
    archive,
    dir::{Dir, DirLock},
    document::Document,
    image,
    inbox::shown_folder,
    index::Index,
    looked::Looked,
    places::{self, Sentinel},
    plan,
    reading::{FILE_BYTES_MAX, read_document},
    sentinels::{self, Found},
};

/// The folders that a write goes to, under their lock.
pub(super) struct Desk {
    base: Dir,
    tasks: Dir,
    shown: DirLock,
    /// A file for each retry that is not due.
    waiting: Dir,
    /// The index, once it was needed, and whether its file is behind.
    index: RefCell<Option<(Index, bool)>>,
}

impl Desk {
    fn reindex(&self, change: impl FnOnce(&mut Index) -> bool) -> Result<(), FolderError> {
        let mut held = self.index.borrow_mut();
        let (mut index, is_behind) = if let Some(known) = held.take() {
            known
        } else {
            let bytes = self.tasks.read(places::INDEX, INDEX_BYTES_MAX)?;
            let index = bytes.as_deref().map(Index::read).unwrap_or_default();
            (index, bytes.is_none())
        };
        let changed = change(&mut index);
        *held = Some((index, is_behind || changed));
        Ok(())
    }

    /// The index is to be this.
    pub(super) fn put_index(&self, index: Index) {
        *self.index.borrow_mut() = Some((index, true));
    }

    fn wait_for(&self, id: TaskId) -> Result<(), FolderError> {
        let name = id.to_string();
        if self.waiting.has(&name) {
            return Ok(());
        }
        self.waiting.replace(&name, b"", None)
    }
}

/// Retries that are not due.
pub(super) fn waiting_folder(base: &Dir) -> Result<Dir, FolderError> {
    base.made_private(places::HOME)?
        .made_private(places::WAITING)
}

pub(super) fn plan_of(base: &Dir, document: &Document) -> Result<PathBuf, FolderError> {
    let plans = base.made(places::PLANS)?;
    let name = places::plan_file(document.id);
    if !plans.has(&name) {
        plans.replace(&name, plan::text(document).as_bytes(), None)?;
    }
    Ok(plans.path().join(name))
}

impl LayoutFolders {
    /// Writes under the lock; the index comes last, once, also where something else failed.
    pub(super) fn at_desk<T>(
        &self,
        root: &Path,
        act: impl FnOnce(&Desk) -> Result<T, FolderError>,
    ) -> Result<T, FolderError> {
        let base = Dir::root(root)?.made(self.layout.base())?;
        let desk = Desk {
            tasks: base.made(places::TASKS)?,
            waiting: waiting_folder(&base)?,
            shown: shown_folder(&base)?.lock()?,
            base,
            index: RefCell::default(),
        };
        let home = desk.base.made_private(places::HOME)?;
        let now = || Looked::now(&desk.tasks, &desk.shown, self.source.now().wall);
        let known = Looked::read(&home).filter(|known| now().is_some_and(|now| known.is_of(now)));
        let done = act(&desk);
        if let Some((index, true)) = desk.index.take() {
            let bytes = index.render(self.source.now().wall);
            desk.tasks.replace(places::INDEX, &bytes, None)?;
        }
        if let (Some(known), Some(now)) = (known, now())
            && !known.is_of(now)
        {
            known.carried_to(now).write(&home)?;
        }
        done
    }

    pub(super) fn show_id(
        &self,
        desk: &Desk,
        id: TaskId,
        overrule: bool,
    ) -> Result<Shown, FolderError> {
        match self.source.details(id) {
            Some(details) => self.show_at(desk, &details, overrule),
            None => Ok(Shown::Hidden),
        }
    }

    pub(super) fn show_at(
        &self,
        desk: &Desk,
        details: &TaskDetails,
        overrule: bool,
    ) -> Result<Shown, FolderError> {
        let task = &details.view.task;
        let now = self.source.now();
        if task.deleted_at.is_some() {
            Self::erase(desk, task.id)?;
            return Ok(Shown::Hidden);
        }
        if !image::is_visible(task, &now) {
            desk.wait_for(task.id)?;
            return Ok(Shown::Hidden);
        }
        let name = places::task_file(task.id);
        let copy = desk.shown.read(&name, FILE_BYTES_MAX)?;
        // What is too large or no file is overruled like any other content.
        let mut current = desk
            .tasks
            .read(&name, FILE_BYTES_MAX)
            .unwrap_or(Some(vec![]));
        if !overrule && copy.is_some() && current.is_some() && current != copy {
            let begun = desk
                .shown
                .read(&places::next_copy(task.id), FILE_BYTES_MAX)?;
            if current != begun {
                return Ok(Shown::Contested);
            }
        }
        if task.archived_at.is_some() {
            archive::put_away(&desk.base, task.id)?;
            desk.shown.remove(&name)?;
            desk.reindex(|index| index.remove(task.id))?;
            return Ok(Shown::Hidden);
        }
        let is_new = current.is_none();
        if is_new {
            archive::bring_back(&desk.base, task.id)?;
            current = desk.tasks.read(&name, FILE_BYTES_MAX)?;
        }
        let read = |bytes: &[u8]| read_document(self.layout, task.id, bytes).ok();
        let before = current
            .as_deref()
            .and_then(read)
            .or_else(|| copy.as_deref().and_then(read));
        let found = Found::read(&desk.tasks, task.id);
        let document = image::document(details, &now, before.as_ref().map(|(d, _)| d), &found);
        let wrote = self.write(desk, &document, current.as_deref(), copy.as_deref())?;
        finish_sentinels(desk, &document)?;
        desk.reindex(|index| index.put(&document))?;
        desk.waiting.remove(&task.id.to_string())?;
        if is_new && task.chain.retry_of.is_some() {
            self.show_predecessor(desk, task)?;
        }
        Ok(match (is_new && current.is_none(), wrote) {
            (true, _) => Shown::Created,
            (false, true) => Shown::Updated,
            (false, false) => Shown::Unchanged,
        })
    }

    fn show_predecessor(&self, desk: &Desk, task: &Task) -> Result<(), FolderError> {
        if task.not_before.is_some() {
            self.source.revealed(task);
        }
        let before = task.chain.retry_of.and_then(|id| self.source.details(id));
        match before {
            Some(details) => self.show_at(desk, &details, false).map(drop),
            None => Ok(()),
        }
    }

    fn write(
        &self,
        desk: &Desk,
        document: &Document,
        current: Option<&[u8]>,
        copy: Option<&[u8]>,
    ) -> Result<bool, FolderError> {
        let name = places::task_file(document.id);
        let bytes = document.render(self.layout);
        let is_same = current == Some(bytes.as_slice());
        plan_of(&desk.base, document)?;
        let next = places::next_copy(document.id);
        if !is_same {
            desk.shown.replace(&next, &bytes, None)?;
            desk.tasks.replace(&name, &bytes, None)?;
        }
        let stamp = desk.tasks.stamp(&name);
        if !is_same || copy != Some(bytes.as_slice()) || desk.shown.stamp(&name) != stamp {
            desk.shown.replace(&name, &bytes, stamp)?;
            desk.shown.remove(&next)?;
        }
        Ok(!is_same)
    }

    pub(super) fn erase(desk: &Desk, id: TaskId) -> Result<(), FolderError> {
        let name = places::task_file(id);
        desk.tasks.remove(&name)?;
        for (folder, name) in [
            (places::PLANS, places::plan_file(id)),
            (places::LOGS, places::log_file(id)),
        ] {
            if let Some(folder) = desk.base.existing(folder)? {
                folder.remove(&name)?;
                let old = |other: &String| {
                    other
                        .strip_prefix(&name)
                        .is_some_and(|rest| rest.starts_with('.'))
                };
                for other in folder.names()?.iter().filter(|other| old(other)) {
                    folder.remove(other)?;
                }
            }
        }
        sentinels::clear(&desk.tasks, id, false);
        archive::remove(&desk.base, id)?;
        desk.shown.remove(&name)?;
        desk.shown.remove(&places::next_copy(id))?;
        desk.waiting.remove(&id.to_string())?;
        desk.reindex(|index| index.remove(id))
    }
}

/// What an ended task's agent left is no longer needed; a cancelled one that ran is marked.
fn finish_sentinels(desk: &Desk, document: &Document) -> Result<(), FolderError> {
    if !document.status.is_terminal() {
        return Ok(());
    }
    let is_cancelled = document.status == crate::document::Word::Cancelled;
    sentinels::clear(&desk.tasks, document.id, is_cancelled);
    let mark = Sentinel::Cancelled.file(document.id);
    if is_cancelled && document.started_at.is_some() && !desk.tasks.has(&mark) {
        desk.tasks.replace(&mark, b"", None)?;
    }
    Ok(())
}
