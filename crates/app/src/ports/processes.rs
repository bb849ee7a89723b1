//! Process control: start a tree, watch its leader, end all of it.

use std::{
    io::{self, Read},
    path::PathBuf,
    time::Duration,
};

use domain::{
    id::SessionId,
    process::{Exit, ProcessIdentity},
};

/// The environment variable that every process of a session carries, so that what a killed runner
/// left behind is still found. Its value is [`Processes::mark`]: two stores may have sessions of the
/// same number.
pub const SESSION_MARKER: &str = "CREWBOSS_MARK";

/// The environment variable in which an agent finds the id of its session.
pub const SESSION_VARIABLE: &str = "CREWBOSS_SESSION";

/// A program to start. Its environment is exactly `env` plus [`SESSION_MARKER`] and
/// [`SESSION_VARIABLE`].
#[derive(Debug, Clone)]
pub struct Launch {
    /// The session whose marker, cgroup and process group the tree belongs to.
    pub session: SessionId,
    /// Looked up in the `PATH` of `env` unless it contains a `/`.
    pub program: String,
    /// Arguments, given to the program as they are.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub directory: PathBuf,
    /// What the program reads: these bytes and then end of file. Empty means end of file at once.
    pub stdin: Vec<u8>,
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No such program, or it may not be executed.
    #[error("cannot execute `{program}`")]
    NotExecutable {
        /// What was asked for.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else: limits, memory, the working directory.
    #[error("cannot start `{program}`")]
    Failed {
        /// What was asked for.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What ending a tree came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// Processes that went after TERM, or were gone already.
    pub obeyed: usize,
    /// Processes that had to be killed.
    pub killed: usize,
    /// Processes that are still there: only ever those the system would not let us signal, and
    /// those it did not let go within seconds of being killed (they wait for a disk, say).
    pub left: Vec<ProcessIdentity>,
}

/// How the processes of a session are held together on this machine, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containment {
    /// A cgroup v2 of its own, ended by `cgroup.kill`: nothing escapes.
    Cgroup,
    /// Process group, child subreaper and the environment marker.
    Marker,
}

/// Starts, recognises and ends processes.
///
/// An adapter must never signal a process without having checked that its start time and boot are
/// still those of the identity (through a pidfd, so that the number cannot be reused in between).
pub trait Processes: Send + Sync + std::fmt::Debug {
    /// The value of [`SESSION_MARKER`] by which processes of a session are known on this machine.
    fn mark(&self, session: SessionId) -> String;

    /// How trees are held together here.
    fn containment(&self) -> Containment;

    /// This process.
    fn own_identity(&self) -> ProcessIdentity;

    /// The process that has this number now; `None` if there is none or only a zombie.
    fn identify(&self, pid: u32) -> Option<ProcessIdentity>;

    /// Whether exactly this process still runs. A zombie does not run.
    ///
    /// One that [`Self::is_out_of_sight`] is never seen, which says nothing about it.
    fn is_alive(&self, process: &ProcessIdentity) -> bool {
        self.identify(process.pid)
            .is_some_and(|now| now.is_same(process))
    }

    /// Whether a process of this boot was seen in another pid namespace: nobody here can tell
    /// whether it still runs.
    fn is_out_of_sight(&self, process: &ProcessIdentity) -> bool {
        process.is_apart(&self.own_identity())
    }

    /// Starts a tree for a session: own process group, streams piped, stdin as given. When this
    /// returns, the program itself has been executed.
    ///
    /// # Errors
    /// [`SpawnError::NotExecutable`] where the program is missing, before anything ran.
    fn spawn(&self, launch: Launch) -> Result<Box<dyn ProcessTree>, SpawnError>;

    /// Starts a program that outlives its parent: own session, stdin closed, both streams to
    /// `log` (appended, mode 0600), environment as given. Used for runners and the daemon.
    ///
    /// # Errors
    /// As [`Processes::spawn`].
    fn spawn_detached(
        &self,
        program: &std::path::Path,
        args: &[String],
        env: &[(String, String)],
        log: &std::path::Path,
    ) -> Result<ProcessIdentity, SpawnError>;

    /// Every living process of a session, found by cgroup and by marker, whoever its parent is.
    /// The caller and its ancestors are never among them.
    fn members(&self, session: SessionId) -> Vec<ProcessIdentity>;

    /// Every session of this store of which a process, or the control group that it was in, is
    /// left on this machine. The caller's own session is among them where it belongs to one.
    fn sessions(&self) -> Vec<SessionId>;

    /// Ends every process of a session: TERM, up to `grace` for all to go, then KILL until none is
    /// left. Returns as soon as the last is gone.
    fn end_session(&self, session: SessionId, grace: Duration) -> Ended;

    /// Kills exactly this process, if it still runs, and waits until it is gone.
    fn kill(&self, process: &ProcessIdentity);

    /// Waits until one of these has ended or the time is over; returns those that have.
    fn wait_any(&self, processes: &[ProcessIdentity], timeout: Duration) -> Vec<ProcessIdentity>;
}

/// A tree that this process started.
pub trait ProcessTree: Send + std::fmt::Debug {
    /// The program that was asked for (not a shim before it).
    fn leader(&self) -> &ProcessIdentity;

    /// The program's standard output; `Some` once.
    fn take_stdout(&mut self) -> Option<Box<dyn Read + Send>>;

    /// The program's standard error; `Some` once.
    fn take_stderr(&mut self) -> Option<Box<dyn Read + Send>>;

    /// Waits for the leader, at most `timeout`; `None` where it still runs.
    ///
    /// # Errors
    /// Where the system does not let us wait.
    fn wait(&mut self, timeout: Duration) -> io::Result<Option<Exit>>;

    /// Ends the whole tree, and with it every other process of the session, as
    /// [`Processes::end_session`] does, and reaps it. The leader's exit stays known to `wait`.
    fn end(&mut self, grace: Duration) -> Ended;
}
