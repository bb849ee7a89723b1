//! Which checkpoints there are, and what is wrong with them.

use std::collections::BTreeSet;

use domain::id::{CheckpointId, TaskId};

use super::{CheckpointError, Checkpointer};
use crate::ports::checkpoints::{Found, Unfinished};

impl Checkpointer {
    /// The checkpoints of a task, oldest first, with every file checked, and that their commits are
    /// there.
    ///
    /// # Errors
    /// Where they cannot be read at all.
    pub fn list(&self, task: TaskId) -> Result<Vec<Found>, CheckpointError> {
        let mut found = self.checkpoints.list(&self.root, task, true)?;
        if found.is_empty() {
            return Ok(found);
        }
        let kept = self.workspaces.checkpoints(&self.root)?;
        let kept: BTreeSet<CheckpointId> = kept.into_iter().map(|kept| kept.id).collect();
        for one in &mut found {
            if !kept.contains(&one.id) {
                one.findings
                    .push("the reference that keeps its files is gone".to_owned());
            }
        }
        Ok(found)
    }

    /// The newest of a task.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self, task: TaskId) -> Result<Option<CheckpointId>, CheckpointError> {
        let found = self.checkpoints.list(&self.root, task, false)?;
        Ok(found.last().map(|found| found.id))
    }

    /// Those of a task that were begun or deleted, and left so.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn left_behind(&self, task: TaskId) -> Result<Vec<CheckpointId>, CheckpointError> {
        let left = self.checkpoints.unfinished(&self.root, task)?;
        Ok(left.iter().map(Unfinished::id).collect())
    }

    /// The task that has a checkpoint, whole or not.
    ///
    /// # Errors
    /// Where there is none.
    pub fn task_of(&self, id: CheckpointId) -> Result<TaskId, CheckpointError> {
        for task in self.checkpoints.tasks(&self.root)? {
            if self.checkpoints.has(&self.root, task, id)? {
                return Ok(task);
            }
        }
        Err(CheckpointError::NotFound(id.to_string()))
    }

    /// A checkpoint by its id, with every file and object of it checked.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(&self, id: CheckpointId) -> Result<Found, CheckpointError> {
        for task in self.checkpoints.tasks(&self.root)? {
            if !self.checkpoints.has(&self.root, task, id)? {
                continue;
            }
            let found = self.checkpoints.list(&self.root, task, true)?;
            if let Some(mut found) = found.into_iter().find(|found| found.id == id) {
                self.check_objects(&mut found)?;
                return Ok(found);
            }
        }
        Err(CheckpointError::NotFound(id.to_string()))
    }

    fn check_objects(&self, found: &mut Found) -> Result<(), CheckpointError> {
        let Some(manifest) = &found.manifest else {
            return Ok(());
        };
        let kept = &manifest.workspace;
        let tip = kept.with_ignored.as_ref().unwrap_or(&kept.commit);
        let wrong = self
            .workspaces
            .verify_checkpoint(&kept.repository, tip, &kept.tree)?;
        found.findings.extend(wrong);
        Ok(())
    }
}
