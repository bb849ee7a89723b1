//! What is finished, removed or deleted of checkpoints.

use domain::{
    id::{CheckpointId, ProjectId, TaskId},
    task::{Task, TaskStatus},
};

use super::{CheckpointError, Checkpointer, Retention, unexpected};
use crate::{
    crash_points::CrashPoint,
    error::Error,
    ports::checkpoints::{Manifest, Unfinished},
    query::{Query, TaskFilter, View},
};

/// Tasks that are read at once.
const PAGE: usize = 1_000;

impl Checkpointer {
    /// Goes on with what others left whole, and removes what they left half done; answers what a
    /// person should know.
    pub fn tidy(&self, project: ProjectId, task: TaskId) -> Vec<String> {
        let mut said = self.settle_all(task);
        if let Err(error) = self.drop_unowned(project) {
            said.push(error.to_string());
        }
        said
    }

    /// The same for every task of a project.
    ///
    /// # Errors
    /// Where it cannot be looked.
    pub fn recover(&self, project: ProjectId) -> Result<Vec<String>, CheckpointError> {
        let mut said = Vec::new();
        for task in self.checkpoints.tasks(&self.root)? {
            said.extend(self.settle_all(task));
        }
        self.drop_unowned(project)?;
        Ok(said)
    }

    /// Goes on with what others left whole of a task's, and removes what they left half done.
    pub(super) fn settle_all(&self, task: TaskId) -> Vec<String> {
        match self.checkpoints.unfinished(&self.root, task) {
            Ok(left) => left.into_iter().map(|one| self.settle(task, one)).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    fn settle(&self, task: TaskId, left: Unfinished) -> String {
        let (id, what) = match left {
            Unfinished::Whole(manifest) => match self.finish(&manifest) {
                Ok(()) => return format!("{} was finished", manifest.id),
                Err(CheckpointError::Store(error @ Error::Unavailable { .. })) => {
                    return format!("{} is not finished: {error}", manifest.id);
                }
                Err(error) => (manifest.id, format!("could not be finished ({error})")),
            },
            Unfinished::Half(id) => (id, "was half made".to_owned()),
            Unfinished::Deleted(id) => (id, "was half deleted".to_owned()),
        };
        match self.remove(task, id) {
            Ok(()) => format!("{id} {what}: what was left of it was removed"),
            Err(error) => format!("{id} {what}, and it is not removed: {error}"),
        }
    }

    /// References of this project's checkpoints that have no folder.
    fn drop_unowned(&self, project: ProjectId) -> Result<(), CheckpointError> {
        for kept in self.workspaces.checkpoints(&self.root)? {
            let is_unowned =
                kept.project == project && !self.checkpoints.has(&self.root, kept.task, kept.id)?;
            if is_unowned {
                self.workspaces.drop_checkpoint(&self.root, kept.id)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove(&self, task: TaskId, id: CheckpointId) -> Result<(), CheckpointError> {
        self.workspaces.drop_checkpoint(&self.root, id)?;
        CrashPoint::CheckpointDropped.reached();
        Ok(self.checkpoints.discard(&self.root, task, id)?)
    }

    /// Deletes a checkpoint for good.
    ///
    /// # Errors
    /// While a task that has not ended goes on from it.
    pub fn delete(
        &self,
        task: TaskId,
        id: CheckpointId,
        in_use: &[Task],
    ) -> Result<(), CheckpointError> {
        if let Some(user) = user_of(id, in_use) {
            return Err(CheckpointError::Refused(format!(
                "{user} goes on from {id} and has not ended"
            )));
        }
        self.checkpoints.hide(&self.root, task, id)?;
        CrashPoint::CheckpointHidden.reached();
        self.remove(task, id)
    }

    /// Clears up what all tasks left behind, then does as [`Self::expire`].
    ///
    /// # Errors
    /// Where something that was to be deleted is still there.
    pub fn prune(
        &self,
        project: ProjectId,
        rules: &Retention,
    ) -> Result<Vec<Manifest>, CheckpointError> {
        self.recover(project)?;
        self.expire(project, rules, false)
    }

    /// Deletes what the rules do not keep, or only says what that is. One that has a finding is left
    /// to a person, one that is gone on from to its user.
    ///
    /// # Errors
    /// Where something that was to be deleted is still there.
    pub fn expire(
        &self,
        project: ProjectId,
        rules: &Retention,
        dry_run: bool,
    ) -> Result<Vec<Manifest>, CheckpointError> {
        let mut all = Vec::new();
        for task in self.checkpoints.tasks(&self.root)? {
            let found = self.checkpoints.list(&self.root, task, false)?;
            all.push(found.into_iter().filter_map(|one| one.manifest).collect());
        }
        let mut expired = rules.expired(&all);
        if expired.is_empty() {
            return Ok(expired);
        }
        let in_use = self.unended(project)?;
        expired.retain(|manifest| user_of(manifest.id, &in_use).is_none());
        if dry_run {
            return Ok(expired);
        }
        for manifest in &expired {
            self.delete(manifest.task, manifest.id, &in_use)?;
        }
        Ok(expired)
    }

    /// Deletes every checkpoint of a task, whatever its state.
    ///
    /// # Errors
    /// Where something is still there.
    pub fn delete_all(&self, task: TaskId) -> Result<(), CheckpointError> {
        for found in self.checkpoints.list(&self.root, task, false)? {
            self.delete(task, found.id, &[])?;
        }
        for left in self.checkpoints.unfinished(&self.root, task)? {
            self.remove(task, left.id())?;
        }
        Ok(())
    }

    /// The tasks of a project that have not ended.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub fn unended(&self, project: ProjectId) -> Result<Vec<Task>, CheckpointError> {
        let mut filter = TaskFilter {
            project: Some(project),
            statuses: vec![TaskStatus::Pending, TaskStatus::Running],
            ..TaskFilter::default()
        };
        let mut all = Vec::new();
        loop {
            let query = Query::Tasks {
                filter: filter.clone(),
                limit: PAGE,
            };
            let View::Tasks { tasks } = self.store.read(&query)? else {
                return Err(unexpected());
            };
            let is_last = tasks.len() < PAGE;
            filter.after = tasks.last().map(|task| task.id);
            all.extend(tasks);
            if is_last {
                return Ok(all);
            }
        }
    }
}

fn user_of(id: CheckpointId, tasks: &[Task]) -> Option<TaskId> {
    let uses = |task: &&Task| {
        let from = task.spec.continues.as_ref();
        from.and_then(|from| from.checkpoint) == Some(id)
    };
    tasks.iter().find(uses).map(|task| task.id)
}
