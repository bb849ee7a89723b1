//! Takes over tasks that another system has kept, with their ids, times, ends and retry chains.

use std::collections::BTreeMap;

use domain::{
    id::{Key, ProjectId, TaskId},
    task::{Chain, Task, TaskCommand, TaskKind, TaskMode, TaskSpec, TaskState, TaskStatus},
};

use super::{Change, create_task::title, require_place};
use crate::{
    command::{ImportedTask, Output, RefusedImport},
    error::Error,
    ports::store::IdKind,
    query::imported_key,
};

/// The most tasks in one command: a transaction of a few megabytes.
pub const IMPORT_BATCH_MAX: usize = 500;

/// Inserts what is not here yet. A task that cannot be taken is in the answer and stops no other.
pub(crate) fn import_tasks(
    change: &mut Change<'_>,
    project: ProjectId,
    tasks: &[ImportedTask],
    keep_ids: bool,
) -> Result<Output, Error> {
    if change.tx().project(project)?.is_none() {
        return Err(Error::not_found("Project", project));
    }
    if tasks.len() > IMPORT_BATCH_MAX {
        let message = format!("one batch is at most {IMPORT_BATCH_MAX} tasks");
        return Err(Error::invalid("tasks", message));
    }
    let number = change.tx().next_number(IdKind::Task)?;
    let mut import = Import {
        change,
        project,
        keep_ids,
        ceiling: number,
        places: BTreeMap::new(),
        imported: vec![],
        known: vec![],
        refused: vec![],
    };
    import.all(tasks)?;
    Ok(Output::Imported {
        imported: import.imported,
        known: import.known,
        refused: import.refused,
    })
}

struct Import<'a, 'tx> {
    change: &'a mut Change<'tx>,
    project: ProjectId,
    keep_ids: bool,
    /// Numbers from here on are still to be given out.
    ceiling: u64,
    /// Where the tasks of this batch are, by their ids over there.
    places: BTreeMap<TaskId, TaskId>,
    imported: Vec<(TaskId, TaskId)>,
    known: Vec<TaskId>,
    refused: Vec<RefusedImport>,
}

impl Import<'_, '_> {
    /// In as many passes as it takes for each to come behind what it refers to.
    fn all(&mut self, tasks: &[ImportedTask]) -> Result<(), Error> {
        let mut waiting: Vec<&ImportedTask> = tasks.iter().collect();
        waiting.sort_by_key(|task| task.source);
        loop {
            let before = waiting.len();
            let mut later = Vec::new();
            for task in &waiting {
                let awaited = task.depends_on.iter().chain(&task.retry_of);
                let is_early = awaited
                    .clone()
                    .any(|id| *id != task.source && waiting_for(&waiting, *id, &self.places));
                if is_early || task.depends_on.contains(&task.source) {
                    later.push(*task);
                } else {
                    self.one(task)?;
                }
            }
            if later.is_empty() {
                return Ok(());
            }
            if later.len() == before {
                for task in later {
                    self.refuse(
                        task.source,
                        "it depends on itself, or waits for one that does",
                    );
                }
                return Ok(());
            }
            waiting = later;
        }
    }

    fn refuse(&mut self, source: TaskId, why: impl Into<String>) {
        // A refused task is settled: whoever refers to it finds it missing.
        self.places.entry(source).or_insert(source);
        self.refused.push(RefusedImport {
            source,
            why: why.into(),
        });
    }

    fn one(&mut self, task: &ImportedTask) -> Result<(), Error> {
        if let Some(here) = self.find(task.source, Some(task))? {
            self.places.insert(task.source, here.id);
            self.known.push(task.source);
            return Ok(());
        }
        if matches!(task.state, TaskState::Running { .. }) {
            self.refuse(task.source, "it is running: import it when it has ended");
            return Ok(());
        }
        if task.prompt.trim().is_empty() {
            self.refuse(task.source, "its prompt is empty");
            return Ok(());
        }
        let depends_on = match self.dependencies(task)? {
            Ok(roots) => roots,
            Err(missing) => {
                self.refuse(
                    task.source,
                    format!("it depends on {missing}, which does not exist"),
                );
                return Ok(());
            }
        };
        if task.state.status() == TaskStatus::Pending {
            match require_place(self.change, self.project, &task.owner) {
                Err(error @ Error::Quota(_)) => {
                    self.refuse(task.source, error.to_string());
                    return Ok(());
                }
                other => other?,
            }
        }
        let Some((id, key)) = self.name(task.source)? else {
            return Ok(());
        };
        let predecessor = self.predecessor(task)?;
        let task = self.build(task, id, key, depends_on, predecessor.as_ref());
        self.insert(&task, predecessor)?;
        Ok(())
    }

    /// The id that it gets here; `None` where it was refused.
    fn name(&mut self, source: TaskId) -> Result<Option<(TaskId, Option<Key>)>, Error> {
        let is_taken = self.change.tx().task(source)?.is_some();
        if !is_taken && source.number() < self.ceiling {
            self.places.insert(source, source);
            self.imported.push((source, source));
            return Ok(Some((source, None)));
        }
        if self.keep_ids {
            let why = if is_taken {
                "its id is taken"
            } else {
                "its id lies in the future"
            };
            self.refuse(source, why);
            return Ok(None);
        }
        let key = imported_key(source);
        if self.change.tx().task_of_key(self.project, &key)?.is_some() {
            self.refuse(source, "its id and its alias are taken");
            return Ok(None);
        }
        let number = self.change.tx().next_number(IdKind::Task)?;
        let id = TaskId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
        self.places.insert(source, id);
        self.imported.push((source, id));
        Ok(Some((id, Some(key))))
    }

    /// The task that stands for an id over there: of this batch, or taken over before.
    fn find(&mut self, source: TaskId, like: Option<&ImportedTask>) -> Result<Option<Task>, Error> {
        if let Some(id) = self.places.get(&source).copied() {
            return self.change.tx().task(id);
        }
        let project = self.project;
        let is_same = |here: &Task| {
            let looks = like.is_none_or(|like| {
                here.created_at == like.created_at && here.spec.prompt == like.prompt
            });
            here.project == project && looks
        };
        if let Some(here) = self.change.tx().task(source)?.filter(is_same) {
            return Ok(Some(here));
        }
        let alias = self
            .change
            .tx()
            .task_of_key(project, &imported_key(source))?;
        Ok(alias.filter(is_same))
    }

    /// The chains that it waits for, or the dependency that is missing. What has ended needs none.
    fn dependencies(&mut self, task: &ImportedTask) -> Result<Result<Vec<TaskId>, TaskId>, Error> {
        let mut roots = Vec::new();
        for source in &task.depends_on {
            match self.find(*source, None)? {
                Some(found) if !roots.contains(&found.chain.root) => roots.push(found.chain.root),
                Some(_) => {}
                None if task.state.status().is_terminal() => {}
                None => return Ok(Err(*source)),
            }
        }
        Ok(Ok(roots))
    }

    /// The task that this one retries, where it is here, failed, and not retried by another.
    fn predecessor(&mut self, task: &ImportedTask) -> Result<Option<Task>, Error> {
        let Some(source) = task.retry_of else {
            return Ok(None);
        };
        let found = self.find(source, None)?;
        Ok(found.filter(|before| {
            before.status() == TaskStatus::Failed
                && before.chain.retried_by.is_none()
                && before.deleted_at.is_none()
        }))
    }

    fn build(
        &mut self,
        imported: &ImportedTask,
        id: TaskId,
        key: Option<Key>,
        depends_on: Vec<TaskId>,
        predecessor: Option<&Task>,
    ) -> Task {
        let now = self.change.now().wall;
        Task {
            id,
            project: self.project,
            spec: TaskSpec {
                agent: imported.agent.clone(),
                prompt: imported.prompt.clone(),
                name: title(&imported.prompt),
                key,
                owner: imported.owner.clone(),
                labels: vec![],
                metadata: imported.metadata.clone(),
                priority: imported.priority,
                depends_on,
                workspace: None,
                gates: vec![],
                require_diff: false,
                continues: None,
                forked_from: None,
                kind: TaskKind::Managed,
                mode: TaskMode::Exclusive,
            },
            limits: imported.limits.clone(),
            chain: Chain {
                root: predecessor.map_or(id, |before| before.chain.root),
                retry_of: predecessor.map(|before| before.id),
                retry_count: imported.retry_count,
                retried_by: None,
            },
            state: imported.state.clone(),
            fence: 0,
            requeues: 0,
            not_before: None,
            archived_at: imported.is_archived.then_some(now),
            deleted_at: None,
            purged_at: None,
            created_at: imported.created_at,
            updated_at: now,
            version: 1,
        }
    }

    fn insert(&mut self, task: &Task, predecessor: Option<Task>) -> Result<(), Error> {
        if let Some(before) = predecessor {
            let command = TaskCommand::Retry {
                by: task.id,
                retries_max: u32::MAX,
            };
            self.change.change_task(before, &command)?;
        }
        self.change.create_task(task)?;
        // Those that wait for its chain came before it: they depend on an earlier try.
        if task.status() == TaskStatus::Completed && task.chain.root != task.id {
            self.change.tx().release_dependants(task.chain.root)?;
        }
        Ok(())
    }
}

fn waiting_for(waiting: &[&ImportedTask], id: TaskId, places: &BTreeMap<TaskId, TaskId>) -> bool {
    !places.contains_key(&id) && waiting.iter().any(|task| task.source == id)
}
