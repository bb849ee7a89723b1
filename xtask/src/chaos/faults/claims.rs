//! What was answered with success, and has to be so from then on.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::stage::Stage;

#[derive(Debug)]
pub(super) enum Claim {
    /// A task is there, and its folder shows it.
    Task { id: String },
    /// It has ended like this.
    Ended { id: String, status: &'static str },
    /// Its history has this line, once.
    Noted { id: String, text: String },
    /// This was decided, once.
    Decided { id: String, text: String },
    /// The checkpoint is there, and every byte of it.
    Kept { checkpoint: String },
    /// It is not there any more.
    Dropped { task: String, checkpoint: String },
    /// The task is in no list.
    Deleted { id: String },
    /// Nor is there a folder of it.
    Purged { id: String },
    /// A reference keeps this commit.
    Salvaged { commit: String },
    /// A whole copy of the store.
    Copied { file: PathBuf },
    /// It was tried again by exactly this task.
    Retried { id: String, by: String },
}

impl Claim {
    pub(super) fn check(&self, stage: &Stage) -> Result<()> {
        match self {
            Self::Task { id } => {
                stage.show(id)?;
            }
            Self::Ended { id, status } => {
                let shown = stage.show(id)?;
                if shown["status"] != *status {
                    bail!("{id} was said to be {status}: {shown:#}");
                }
            }
            Self::Noted { id, text } => {
                let history = stage.must(&["history", id, "--json"])?.json()?;
                let entries = history["entries"].as_array().into_iter().flatten();
                let found = entries.filter(|entry| entry["message"] == text.as_str());
                once(found.count(), || format!("the note `{text}` of {id}"))?;
            }
            Self::Decided { id, text } => {
                let list = stage.must(&["decision", "list", id, "--json"])?.json()?;
                let decisions = list["decisions"].as_array().into_iter().flatten();
                let found = decisions.filter(|one| one["decision"] == text.as_str());
                once(found.count(), || format!("the decision `{text}` of {id}"))?;
                if list["findings"]
                    .as_array()
                    .is_none_or(|all| !all.is_empty())
                {
                    bail!("decisions of {id} are damaged: {list:#}");
                }
            }
            Self::Kept { checkpoint } => {
                stage.must(&["checkpoint", "show", checkpoint])?;
            }
            Self::Dropped { task, checkpoint } => {
                let list = stage.must(&["checkpoint", "list", task])?;
                if list.out.contains(checkpoint.as_str()) {
                    bail!("{checkpoint} was deleted and is listed");
                }
            }
            Self::Deleted { id } => not_listed(stage, id)?,
            Self::Purged { id } => {
                not_listed(stage, id)?;
                if stage.project().join(".crewboss/tasks").join(id).exists() {
                    bail!("{id} was purged and has a folder");
                }
            }
            Self::Salvaged { commit } => {
                let contains = ["for-each-ref", "--contains", commit.as_str()];
                if stage.git(&contains)?.is_empty() {
                    bail!("the work {commit} of a purged task is kept by nothing");
                }
            }
            Self::Copied { file } => {
                stage.must(&["store", "check", &file.display().to_string()])?;
            }
            Self::Retried { id, by } => {
                let shown = stage.show(id)?;
                if shown["retried_by"] != by.as_str() {
                    bail!("{id} was said to be retried by {by}: {shown:#}");
                }
            }
        }
        Ok(())
    }
}

fn not_listed(stage: &Stage, id: &str) -> Result<()> {
    if stage
        .must(&["status", "--limit", "10000"])?
        .out
        .contains(id)
    {
        bail!("{id} was deleted and is listed");
    }
    Ok(())
}

fn once(found: usize, what: impl FnOnce() -> String) -> Result<()> {
    if found != 1 {
        bail!("{} was acknowledged and is there {found} times", what());
    }
    Ok(())
}
