//! Gates: runs the checks that decide whether a task is done.

use std::path::PathBuf;

use domain::{
    gate::{GateResult, GateSpec},
    id::SessionId,
    redact::Redactor,
};

/// Where and how a check is run.
#[derive(Debug, Clone)]
pub struct GateRun {
    /// The session whose work is checked; the check's processes belong to it.
    pub session: SessionId,
    /// The folder that is checked, at exactly the commit that is judged.
    pub directory: PathBuf,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The session's folder.
    pub session_dir: PathBuf,
    /// Where the output is kept, relative to the session's folder. What is there is replaced.
    pub output: PathBuf,
    /// Masks secrets in all that is kept of the output.
    pub redactor: Redactor,
}

/// Runs checks.
///
/// An adapter must not call a check passed that did not run to its own end with exit code 0, and
/// leaves no process of it behind, however it ended.
pub trait Gates: Send + Sync + std::fmt::Debug {
    /// Runs one check to its end or to its time limit. A check that cannot be run is
    /// [`Unavailable`](domain::gate::GateStatus::Unavailable), and its tail says why.
    ///
    /// All other processes of the session are ended with it, so it must not run while an agent
    /// of the session does.
    fn run(&self, spec: &GateSpec, request: &GateRun) -> GateResult;
}
