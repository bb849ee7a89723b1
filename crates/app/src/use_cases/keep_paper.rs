//! Keeps what a paper in a task's folder says.

use domain::{
    id::TaskId,
    task::{Paper, TaskCommand},
};

use super::Change;
use crate::{
    command::Output,
    error::Error,
    papers::{self, PAPER_BYTES_MAX},
};

/// Writes down what has changed of a paper since it was last kept.
pub(crate) fn keep_paper(
    change: &mut Change<'_>,
    id: TaskId,
    paper: Paper,
    content: &str,
) -> Result<Output, Error> {
    if content.len() > PAPER_BYTES_MAX {
        let message = format!("more than {PAPER_BYTES_MAX} bytes are not kept");
        return Err(Error::invalid(paper.as_str(), message));
    }
    let mut task = change.task(id)?;
    let kept = papers::kept(change.tx(), id)?;
    let before = kept.get(&paper).map_or("", String::as_str);
    if before != content || !kept.contains_key(&paper) {
        let base = papers::common(before, content);
        let command = TaskCommand::KeepPaper {
            paper,
            base: base as u64,
            text: content[base..].to_owned(),
        };
        task = change.change_task(task, &command)?;
    }
    Ok(Output::Task {
        task: Box::new(task),
        queue_over: None,
    })
}
