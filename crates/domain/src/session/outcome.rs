//! How a session ended.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::SessionResult;
use crate::{
    gate::GateResult,
    process::Exit,
    redact::Redactor,
    time::Timestamp,
    usage::Usage,
    workspace::{ChangedFile, CommitId},
};

/// Everything a runner reports at the end. Its file is written before it is applied, and applying
/// it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub result: SessionResult,
    /// How the agent's process ended; `None` where none was started.
    pub exit: Option<Exit>,
    /// What it used.
    pub usage: Usage,
    /// The agent's own conversation id.
    pub agent_session: Option<String>,
    /// The commit that holds its work.
    pub commit: Option<CommitId>,
    /// The branch that points there.
    pub branch: Option<String>,
    /// The ref that keeps work that was not finished.
    pub salvage: Option<String>,
    /// What changed against the base.
    pub changes: Vec<ChangedFile>,
    /// What the gates said.
    pub gates: Vec<GateResult>,
    /// The agent's last words, cut to 4 KiB.
    pub summary: Option<String>,
    /// What a person should know that is no failure.
    pub warnings: Vec<String>,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Outcome {
    /// An outcome with nothing but a result.
    #[must_use]
    pub fn bare(result: SessionResult, ended_at: Timestamp) -> Self {
        Self {
            result,
            exit: None,
            usage: Usage::default(),
            agent_session: None,
            commit: None,
            branch: None,
            salvage: None,
            changes: vec![],
            gates: vec![],
            summary: None,
            warnings: vec![],
            ended_at,
        }
    }

    /// The same outcome, with every text that an agent or a check may have written redacted.
    #[must_use]
    pub fn without_secrets(mut self, redactor: &Redactor) -> Self {
        let mask = |text: &mut String| {
            if let Cow::Owned(masked) = redactor.text(text) {
                *text = masked;
            }
        };
        if let SessionResult::Failed { failure } | SessionResult::TimedOut { failure } =
            &mut self.result
        {
            mask(&mut failure.message);
            failure.details.as_mut().map(mask);
        }
        self.agent_session.as_mut().map(mask);
        self.summary.as_mut().map(mask);
        self.warnings.iter_mut().for_each(mask);
        for file in &mut self.changes {
            mask(&mut file.path);
            file.from.as_mut().map(mask);
        }
        for gate in &mut self.gates {
            mask(&mut gate.tail);
        }
        self
    }
}
