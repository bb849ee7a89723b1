//! Plans and decisions of tasks, which people and agents write into their folders, taken into the
//! store, so that they outlive the folder.

use std::path::Path;

use app::{
    command::Command,
    papers::{PAPER_BYTES_MAX, Papers},
    ports::layers::{Layer, Layers},
    query::{Query, View},
};
use domain::{
    id::TaskId,
    task::{Paper, Task},
};

use crate::{
    context::{Context, unexpected},
    fail::Fail,
};

/// Tasks that are asked for at once.
const AT_ONCE: usize = 100;

/// So often a paper is read again that is written while it is taken in.
const ATTEMPTS: usize = 3;

/// Takes in what the papers of tasks say now; answers how many had changed. What cannot be kept is
/// said and left where it is.
pub(crate) fn take_in(
    context: &Context,
    layers: &dyn Layers,
    root: &Path,
    tasks: &[Task],
) -> Result<usize, Fail> {
    let mut taken = 0;
    for tasks in tasks.chunks(AT_ONCE) {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        for (task, kept) in tasks.iter().zip(kept(context, &ids)?) {
            for paper in Paper::ALL {
                taken += usize::from(take_one(context, layers, root, (task, paper), &kept)?);
            }
        }
    }
    Ok(taken)
}

/// What the papers of tasks said when they were last kept, in the order asked for.
pub(crate) fn kept(context: &Context, tasks: &[TaskId]) -> Result<Vec<Papers>, Fail> {
    let tasks = tasks.to_vec();
    match context.store()?.read(&Query::Papers { tasks })? {
        View::Papers { papers } => Ok(papers),
        _ => Err(unexpected("papers")),
    }
}

fn take_one(
    context: &Context,
    layers: &dyn Layers,
    root: &Path,
    (task, paper): (&Task, Paper),
    kept: &Papers,
) -> Result<bool, Fail> {
    let mut before = kept.get(&paper).cloned();
    if before.is_none() && paper == Paper::Plan {
        before = Some(layers.first_plan(task));
    }
    let mut has_changed = false;
    for _ in 0..ATTEMPTS {
        let text = match layers.paper(root, task.id, paper)? {
            Layer::Whole(text) => text,
            Layer::Missing => return Ok(has_changed),
            Layer::Broken(why) => {
                context.out.warn(format_args!(
                    "{}: {}.md is not kept: {why}",
                    task.id,
                    paper.as_str()
                ));
                return Ok(has_changed);
            }
        };
        if before.as_ref() == Some(&text) {
            return Ok(has_changed);
        }
        if text.len() > PAPER_BYTES_MAX {
            context.out.warn(format_args!(
                "{}: {}.md is not kept: it is longer than {PAPER_BYTES_MAX} bytes",
                task.id,
                paper.as_str()
            ));
            return Ok(has_changed);
        }
        context.change(Command::KeepPaper {
            task: task.id,
            paper,
            content: text.clone(),
        })?;
        has_changed = true;
        before = Some(text);
    }
    Ok(has_changed)
}
