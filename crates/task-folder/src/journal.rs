//! The journal port over `logs.jsonl` and `decisions.md` of a task's folder.

mod files;
mod line;
mod lines;
pub(crate) mod project;
mod reader;
mod rewrite;
mod rotation;
#[cfg(test)]
mod tests;
mod verify;
mod whole;
mod writer;

use std::path::Path;

use app::ports::{
    folders::FolderError,
    journal::{
        ChainVerdict, Decision, Finding, Journal, JournalLimits, LogFilter, LogReceiver, NewEntry,
        Projected, Rewritten, Survives,
    },
};
use domain::{id::TaskId, time::Timestamp};

use self::writer::Writer;
use crate::{decisions, dir::Dir, folders::ProjectFolders};

/// The logs and decisions in the `.crewboss/` folders of projects.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectJournal {
    limits: JournalLimits,
}

impl ProjectJournal {
    /// The journal with these limits.
    #[must_use]
    pub fn new(limits: JournalLimits) -> Self {
        Self { limits }
    }

    /// Full files are compressed after the lock is given back. A failure there spoils nothing, and
    /// the next rotation tries again.
    fn tidy(self, folder: &Dir, has_rotated: bool) {
        if has_rotated {
            drop(rotation::tidy(folder, self.limits.files_kept));
        }
    }
}

impl Journal for ProjectJournal {
    fn projected(&self, root: &Path, task: TaskId) -> Result<u64, FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => Ok(writer::tail(&folder)?.position),
            None => Ok(0),
        }
    }

    fn project(
        &self,
        root: &Path,
        task: TaskId,
        after: u64,
        events: &[NewEntry],
    ) -> Result<Projected, FolderError> {
        let Some(first) = events.first() else {
            return Ok(Projected::Done);
        };
        let folder = ProjectFolders::task(root, task)?;
        let has_rotated = {
            let _lock = folder.lock()?;
            let mut writer = Writer::open(&folder, self.limits, first.at)?;
            let position = writer.tail.position;
            if position < after {
                return Ok(Projected::Behind);
            }
            let new = events
                .iter()
                .position(|event| event.position.is_some_and(|place| place > position));
            if let Some(new) = new {
                writer.append(&events[new..], Survives::Crash)?;
            }
            writer.has_rotated
        };
        self.tidy(&folder, has_rotated);
        Ok(Projected::Done)
    }

    fn append(
        &self,
        root: &Path,
        task: TaskId,
        entries: &[NewEntry],
        survives: Survives,
    ) -> Result<u64, FolderError> {
        let folder = ProjectFolders::task(root, task)?;
        let at = entries
            .first()
            .map_or(Timestamp::default(), |entry| entry.at);
        let (last, has_rotated) = {
            let _lock = folder.lock_patiently()?;
            let mut writer = Writer::open(&folder, self.limits, at)?;
            writer.append(entries, survives)?;
            (writer.tail.seq, writer.has_rotated)
        };
        self.tidy(&folder, has_rotated);
        Ok(last)
    }

    fn read(
        &self,
        root: &Path,
        task: TaskId,
        filter: &LogFilter,
        receive: &mut LogReceiver<'_>,
    ) -> Result<(), FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => reader::read(&folder, filter, receive),
            None => Ok(()),
        }
    }

    fn read_whole(
        &self,
        root: &Path,
        task: TaskId,
        receive: &mut LogReceiver<'_>,
    ) -> Result<(), FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => whole::read(&folder, receive),
            None => Ok(()),
        }
    }

    fn rewrite(
        &self,
        root: &Path,
        task: TaskId,
        events: &[NewEntry],
    ) -> Result<Rewritten, FolderError> {
        rewrite::rewrite(&ProjectFolders::task(root, task)?, events)
    }

    fn verify(&self, root: &Path, task: TaskId) -> Result<ChainVerdict, FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => verify::verify(&folder),
            None => Ok(ChainVerdict::default()),
        }
    }

    fn decide(&self, root: &Path, task: TaskId, decision: &Decision) -> Result<(), FolderError> {
        decisions::add(&ProjectFolders::task(root, task)?, decision)
    }

    fn decisions(
        &self,
        root: &Path,
        task: TaskId,
    ) -> Result<(Vec<Decision>, Vec<Finding>), FolderError> {
        match ProjectFolders::existing_task(root, task)? {
            Some(folder) => decisions::read(&folder),
            None => Ok((vec![], vec![])),
        }
    }
}
