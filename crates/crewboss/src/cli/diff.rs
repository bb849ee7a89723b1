//! `diff`: what a task changed.

use api_types::DiffDocument;
use domain::{
    id::TaskId,
    session::Session,
    workspace::{ChangedFile, CommitId},
};

use crate::{
    context::Context,
    fail::{Exit, Fail, Outcome},
    render::{count, task_details::change_letter},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// Only the files, with their lines added and removed
    #[arg(long)]
    stat: bool,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let id = context.resolve(&self.task)?;
        context.reconcile()?;
        let (session, base, tip) = commits(context, id)?;
        let root = context.root_of(session.project)?;
        let max = context.config()?.settings.limits.diff_bytes_max;
        let max = if self.stat {
            0
        } else {
            usize::try_from(max).unwrap_or(usize::MAX)
        };
        let diff = context
            .workspaces()
            .diff(std::path::Path::new(&root), &base, &tip, max)?;
        if context.out.json {
            let patch = String::from_utf8_lossy(&diff.patch).into_owned();
            context.out.print(&DiffDocument {
                task: id,
                session: session.id,
                base,
                tip,
                files: diff.files,
                patch: (!self.stat).then_some(patch),
                truncated: diff.truncated && !self.stat,
            })?;
            return Ok(Exit::Ok);
        }
        if self.stat {
            return stat(context, &diff.files);
        }
        context.out.foreign(&diff.patch)?;
        if diff.truncated {
            context.out.warn(format_args!(
                "the patch is longer than limits.diff_bytes_max: see git diff {} {}",
                base.short(),
                tip.short()
            ));
        }
        Ok(Exit::Ok)
    }
}

/// The newest session that left a commit, with what it is compared to.
fn commits(context: &Context, id: TaskId) -> Result<(Session, CommitId, CommitId), Fail> {
    let details = context.details(id)?;
    for session in details.sessions.into_iter().rev() {
        let record = session.workspace.clone();
        let base = record.and_then(|record| record.start.or(record.base));
        let tip = session
            .outcome
            .as_ref()
            .and_then(|outcome| outcome.commit.clone());
        if let (Some(base), Some(tip)) = (base, tip) {
            return Ok((session, base, tip));
        }
    }
    let status = details.view.task.status().as_str();
    Err(Fail::new(
        Exit::Conflict,
        format!("Task {id} is {status} and has no commit to show"),
    )
    .hint(
        "only finished work in a git worktree is committed; `crewboss show` says where it worked",
    ))
}

pub(super) fn stat(context: &Context, files: &[ChangedFile]) -> Outcome {
    for file in files {
        let letter = change_letter(file.status);
        let lines = match (file.insertions, file.deletions) {
            (Some(added), Some(removed)) => format!("+{added} -{removed}"),
            _ => "binary".to_owned(),
        };
        let from = file
            .from
            .as_ref()
            .map(|from| format!("{from} -> "))
            .unwrap_or_default();
        context
            .out
            .line(format_args!("{letter} {from}{} ({lines})", file.path))?;
    }
    context
        .out
        .line(format_args!("{} changed", count(files.len(), "file")))?;
    Ok(Exit::Ok)
}
