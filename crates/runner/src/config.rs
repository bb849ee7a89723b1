//! What a runner is given: the ports, and the project's configuration already resolved.

use std::{path::PathBuf, sync::Arc, time::Duration};

use app::{
    checkpoints::Retention,
    command::RecoveryPolicy,
    ports::{
        agents::Agents, checkpoints::Checkpoints, clock::Clock, folders::Folders,
        folders::LogLimits, gates::Gates, processes::Processes, store::Store,
        workspaces::Workspaces,
    },
};
use domain::{gate::GateSpec, process::ProcessIdentity, workspace::WorkspaceMode};

use crate::interrupt::Interrupt;

/// Called once the agent's process has been started.
pub type OnLaunched = Box<dyn FnOnce(&ProcessIdentity) + Send>;

/// Everything that a runner uses.
pub struct Deps {
    /// Where its session is.
    pub store: Arc<dyn Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How the agent is started and ended. The process must have become a subreaper already.
    pub processes: Arc<dyn Processes>,
    /// What the agent works in.
    pub workspaces: Arc<dyn Workspaces>,
    /// The checks after it.
    pub gates: Arc<dyn Gates>,
    /// Where logs and outcomes go.
    pub folders: Arc<dyn Folders>,
    /// Where checkpoints go.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// How agents are driven.
    pub agents: Arc<dyn Agents>,
    /// What the project's configuration says.
    pub config: RunnerConfig,
    /// By which the process is told to go down.
    pub interrupt: Interrupt,
    /// Told of the agent's process; dropped without a call where none is started.
    pub on_launched: Option<OnLaunched>,
}

impl std::fmt::Debug for Deps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deps")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// The project's configuration as far as a runner needs it.
#[derive(Clone)]
pub struct RunnerConfig {
    /// The project's directory.
    pub project_root: PathBuf,
    /// The folder of control sockets: `$CREWBOSS_HOME/run`.
    pub run_directory: PathBuf,
    /// Where tasks edit that do not say; the workspace port's choice where `None`.
    pub workspace: Option<WorkspaceMode>,
    /// The branch that work is for; the one that is checked out where `None`.
    pub target: Option<String>,
    /// The address of the repository that joins the project's checkouts on several nodes.
    pub remote: Option<String>,
    /// No session takes longer, whatever its task says.
    pub session_max: Option<Duration>,
    /// Worktrees stay after their work is on a branch or salvaged.
    pub keep_worktrees: bool,
    /// Checks of every task, before its own.
    pub gates: Vec<GateSpec>,
    /// The whole environment of checks.
    pub gate_environment: Vec<(String, String)>,
    /// The folder in which agents leave their sentinel files, as it is shown to them: relative to
    /// the workspace or absolute. The session's private folder where `None`.
    pub sentinel_directory: Option<PathBuf>,
    /// The user's environment, of which agents see what their driver allows.
    pub environment: Vec<(String, String)>,
    /// Values that are masked wherever they are printed.
    pub secrets: Vec<String>,
    /// What follows a failure.
    pub recovery: RecoveryPolicy,
    /// The times that a runner keeps.
    pub timings: Timings,
    /// How much output is kept.
    pub log: LogLimits,
    /// A longer line of output is cut.
    pub line_bytes_max: usize,
    /// When what a session has reached is kept by itself.
    pub checkpoints: CheckpointTimes,
    /// Which checkpoints stay.
    pub retention: Retention,
}

/// Environment and secrets stay out.
impl std::fmt::Debug for RunnerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunnerConfig")
            .field("project_root", &self.project_root)
            .field("run_directory", &self.run_directory)
            .field("workspace", &self.workspace)
            .field("target", &self.target)
            .field("gates", &self.gates.len())
            .field("timings", &self.timings)
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}

impl RunnerConfig {
    /// The defaults for a project.
    #[must_use]
    pub fn new(project_root: PathBuf, run_directory: PathBuf) -> Self {
        Self {
            project_root,
            run_directory,
            workspace: None,
            target: None,
            remote: None,
            session_max: None,
            keep_worktrees: false,
            gates: vec![],
            gate_environment: vec![],
            sentinel_directory: None,
            environment: vec![],
            secrets: vec![],
            recovery: RecoveryPolicy::default(),
            timings: Timings::default(),
            log: LogLimits::default(),
            line_bytes_max: 1 << 20,
            checkpoints: CheckpointTimes::default(),
            retention: Retention::default(),
        }
    }
}

/// When what a session has reached is kept by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckpointTimes {
    /// After so much time, again and again.
    pub every: Option<Duration>,
    /// After so many turns of the agent, again and again.
    pub every_turns: Option<u32>,
    /// When the process is told to go down.
    pub on_shutdown: bool,
}

/// The times that a runner keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// What an agent has after TERM when it is cancelled, and what it leaves behind when it ends.
    pub cancel_grace: Duration,
    /// What an agent has after TERM when its time is up.
    pub timeout_grace: Duration,
    /// What an agent has to end by itself once it has left a sentinel file.
    pub sentinel_grace: Duration,
    /// How long the session may stay silent; renewed every third of it. As at the claim.
    pub lease: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            cancel_grace: Duration::from_secs(3),
            timeout_grace: Duration::from_secs(5),
            sentinel_grace: Duration::from_millis(250),
            lease: Duration::from_secs(30),
        }
    }
}
