//! Queues a task.

use domain::{
    id::{Key, ProjectId, TaskId},
    task::{Task, TaskSpec, TaskStatus},
};

use super::{Change, continuation, require_place};
use crate::{
    command::{NewTask, Output, QueueLimits},
    error::Error,
    ports::store::IdKind,
    query::resolve,
};

/// Longest title made from a prompt, in characters.
const NAME_CHARS: usize = 60;

/// Queues a task, or says which field is wrong.
pub(crate) fn create_task(
    change: &mut Change<'_>,
    project: ProjectId,
    new: &NewTask,
    queue: &QueueLimits,
) -> Result<Output, Error> {
    if change.tx().project(project)?.is_none() {
        return Err(Error::not_found("Project", project));
    }
    if new.prompt.trim().is_empty() {
        return Err(Error::invalid("prompt", "is empty: say what is to be done"));
    }
    if new.limits.timeout_seconds == Some(0) {
        return Err(Error::invalid("timeout", "is a number of seconds from 1"));
    }
    let queue_over = check_queue(change, project, queue)?;
    require_place(change, project, &new.owner)?;
    let key = new_key(change, project, new.key.as_deref())?;
    let depends_on = chain_roots(change, project, &new.depends_on)?;
    let continues = match &new.continues {
        Some(name) => {
            let earlier = resolve(&*change.tx(), project, name)?;
            Some(continuation(change, earlier)?)
        }
        None => None,
    };

    let number = change.tx().next_number(IdKind::Task)?;
    let id = TaskId::from_number(number).ok_or_else(|| Error::corrupt("ids are used up"))?;
    let now = change.now();
    let spec = TaskSpec {
        agent: new.agent.clone(),
        prompt: new.prompt.clone(),
        name: new.name.clone().unwrap_or_else(|| title(&new.prompt)),
        key,
        owner: new.owner.clone(),
        labels: new.labels.clone(),
        metadata: new.metadata.clone(),
        priority: new.priority,
        depends_on,
        workspace: new.workspace,
        gates: new.gates.clone(),
        require_diff: new.require_diff,
        continues,
        forked_from: None,
        kind: new.kind,
        mode: new.mode,
    };
    let (limits, due) = (new.limits.clone(), new.not_before.clone());
    let task = Task::queued(id, project, spec, limits, due, now.wall);
    change.create_task(&task)?;
    Ok(Output::Task {
        task: Box::new(task),
        queue_over,
    })
}

/// The first line that says something, cut to [`NAME_CHARS`].
pub(super) fn title(prompt: &str) -> String {
    let line = prompt
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("task");
    match line.char_indices().nth(NAME_CHARS) {
        Some((cut, _)) => format!("{}…", line[..cut].trim_end()),
        None => line.to_owned(),
    }
}

pub(super) fn check_queue(
    change: &mut Change<'_>,
    project: ProjectId,
    queue: &QueueLimits,
) -> Result<Option<u64>, Error> {
    let counts = change.tx().counts(project)?;
    let count = |status| counts.get(&status).copied().unwrap_or(0);
    let waiting = count(TaskStatus::Pending) + count(TaskStatus::Running);
    if waiting < queue.queue_max {
        return Ok(None);
    }
    if queue.refuse_when_full {
        let max = queue.queue_max;
        return Err(Error::Limit {
            message: format!(
                "the queue is full: {waiting} tasks have not ended and limits.queue_max is {max}; \
                 cancel some, or raise the limit"
            ),
        });
    }
    Ok(Some(waiting + 1))
}

fn new_key(
    change: &mut Change<'_>,
    project: ProjectId,
    key: Option<&str>,
) -> Result<Option<Key>, Error> {
    let Some(key) = key else { return Ok(None) };
    let key =
        Key::try_from(key.to_owned()).map_err(|error| Error::invalid("key", error.to_string()))?;
    if change.tx().task_of_key(project, &key)?.is_some() {
        return Err(Error::Exists {
            what: "a task with the key".to_owned(),
            name: key.to_string(),
        });
    }
    Ok(Some(key))
}

/// The chains behind what the caller named, each once, in the order given.
fn chain_roots(
    change: &mut Change<'_>,
    project: ProjectId,
    names: &[String],
) -> Result<Vec<TaskId>, Error> {
    let mut roots = Vec::new();
    for name in names {
        let found = resolve(&*change.tx(), project, name).and_then(|id| change.task(id));
        let task = match found {
            Ok(task) if task.deleted_at.is_none() => task,
            Ok(_) => return Err(Error::not_found("Dependency task", name)),
            Err(Error::NotFound { name, .. }) => {
                return Err(Error::not_found("Dependency task", name));
            }
            Err(error) => return Err(error),
        };
        if !roots.contains(&task.chain.root) {
            roots.push(task.chain.root);
        }
    }
    Ok(roots)
}
