//! The agent's process: started, watched, and ended with everything that came of it.

use std::{
    io::ErrorKind,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use app::{
    faults::{self, Act, Deed, Thing},
    ports::{
        agents::{AgentCommand, ProtocolReport, Stream},
        clock::Clock,
        processes::{Ended, Launch, ProcessTree, Processes, SpawnError},
    },
};
use domain::{
    completion::{Sentinels, Stop},
    failure::{Failure, FailureReason},
    id::SessionId,
    process::{Exit, ProcessIdentity},
};

use crate::{
    config::Timings,
    event::Event,
    failures::chain,
    output::{Closing, Output},
    sentinels::SentinelFiles,
    stop_pipe::Stopper,
    watch::{Ending, Watch},
    wishes::Wishes,
};

/// The longest sleep of the thread that waits for the agent's process: it wakes when that ends.
const WAIT: Duration = Duration::from_hours(1);

/// The longest time without a look at the clock: a machine that slept notices a deadline then.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A tree that never outlives its owner.
#[derive(Debug)]
struct Tree {
    tree: Box<dyn ProcessTree>,
    is_ended: bool,
}

impl Tree {
    fn end(&mut self, grace: Duration) -> Ended {
        self.is_ended = true;
        self.tree.end(grace)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end(Duration::ZERO);
        }
    }
}

/// What an agent at work needs around it.
#[derive(Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) processes: &'a Arc<dyn Processes>,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) output: &'a Output,
    pub(crate) wishes: &'a Wishes,
    pub(crate) events: &'a Sender<Event>,
    pub(crate) inbox: &'a Receiver<Event>,
    pub(crate) timings: Timings,
    pub(crate) line_bytes_max: usize,
}

/// An agent whose process runs.
#[derive(Debug)]
pub(crate) struct RunningAgent {
    tree: Tree,
    closing: Closing,
    files: SentinelFiles,
    /// Where the completion rule goes by files.
    _noticing: Option<Stopper>,
}

/// Everything that is known once it has ended.
#[derive(Debug)]
pub(crate) struct AgentEnd {
    pub(crate) ending: Ending,
    pub(crate) exit: Option<Exit>,
    pub(crate) report: ProtocolReport,
    pub(crate) sentinels: Sentinels,
    pub(crate) warnings: Vec<String>,
}

impl RunningAgent {
    /// Starts the process and everything that listens to it.
    pub(crate) fn start(
        around: &Surroundings<'_>,
        session: SessionId,
        command: AgentCommand,
        files: SentinelFiles,
        uses_sentinels: bool,
    ) -> Result<Self, Failure> {
        files.clear();
        let noticing = uses_sentinels
            .then(|| files.watch(around.events.clone()))
            .transpose()
            .map_err(|error| cannot("watch for sentinel files", &error))?;
        let launch = Launch {
            session,
            program: command.program,
            args: command.args,
            env: command.env,
            directory: command.directory,
            stdin: command.stdin,
        };
        let act = Act::new(Thing::Agent, Deed::Spawn);
        let told = |error| cannot("start the agent", &error);
        let mut tree = faults::around_with(act, told, || {
            let tree = around.processes.spawn(launch);
            tree.map(|tree| Tree {
                tree,
                is_ended: false,
            })
            .map_err(|error| not_started(&error))
        })?;
        let streams = [
            (Stream::Stdout, tree.tree.take_stdout()),
            (Stream::Stderr, tree.tree.take_stderr()),
        ];
        let closing = around
            .output
            .read(streams, around.line_bytes_max, around.events)
            .map_err(|error| cannot("read the agent's output", &error))?;
        tell_of_exit(around, tree.tree.leader().clone())
            .map_err(|error| cannot("wait for the agent", &error))?;
        Ok(Self {
            tree,
            closing,
            files,
            _noticing: noticing,
        })
    }

    pub(crate) fn process(&self) -> &ProcessIdentity {
        self.tree.tree.leader()
    }

    /// Watches until its time at work is over, then ends all of it.
    pub(crate) fn attend(mut self, around: &Surroundings<'_>, mut watch: Watch) -> AgentEnd {
        let ending = self.wait(around, &mut watch);
        if let Some(note) = farewell(ending) {
            around.output.note(&note);
        }
        let ended = self.tree.end(grace(ending, around.timings));
        let exit = self.tree.tree.wait(Duration::ZERO).unwrap_or_default();
        let mut warnings = warnings(ending, &ended);
        if !self.closing.wait() {
            warnings.push("a process outside the session keeps the agent's output open".to_owned());
        }
        AgentEnd {
            ending,
            exit,
            report: around.output.report(exit),
            sentinels: self.files.read(),
            warnings,
        }
    }

    fn wait(&mut self, around: &Surroundings<'_>, watch: &mut Watch) -> Ending {
        let wanted = around.wishes.now();
        if let Some(ending) = watch.take(Event::Wishes, &wanted, &around.clock.now()) {
            return ending;
        }
        loop {
            let now = around.clock.now();
            if let Some(ending) = watch.due(&now) {
                return ending;
            }
            if let Some(seconds) = watch.warning(&now) {
                let note = format!("warning: the time limit ends in {seconds} s");
                around.output.note(&note);
            }
            let pause = watch.pause(&now).unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
            match around
                .inbox
                .recv_timeout(pause.max(Duration::from_millis(1)))
            {
                Ok(event) => {
                    let (wanted, now) = (around.wishes.now(), around.clock.now());
                    if let Some(ending) = watch.take(event, &wanted, &now) {
                        return ending;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.reap(),
                Err(RecvTimeoutError::Disconnected) => return Ending::Exited,
            }
        }
    }

    /// Lets the port reap what the agent has orphaned meanwhile.
    fn reap(&mut self) {
        drop(self.tree.tree.wait(Duration::ZERO));
    }
}

/// Says when the leader has ended, from a thread that ends with it.
fn tell_of_exit(around: &Surroundings<'_>, leader: ProcessIdentity) -> std::io::Result<()> {
    let processes = Arc::clone(around.processes);
    let events = around.events.clone();
    let run = move || {
        let leader = [leader];
        while processes.wait_any(&leader, WAIT).is_empty() {}
        let _ = events.send(Event::Exited);
    };
    thread::Builder::new()
        .name("exit".to_owned())
        .spawn(run)
        .map(drop)
}

fn grace(ending: Ending, timings: Timings) -> Duration {
    match ending {
        Ending::Stopped(Stop::Deadline { .. } | Stop::ManualTimeout) => timings.timeout_grace,
        Ending::Stopped(Stop::Cancel | Stop::Rewind)
        | Ending::Exited
        | Ending::Sentinel
        | Ending::MustStop
        | Ending::Lost(_) => timings.cancel_grace,
    }
}

/// What the log says about an end that was not the agent's own.
fn farewell(ending: Ending) -> Option<String> {
    match ending {
        Ending::Exited | Ending::Sentinel => None,
        Ending::MustStop => Some("ended: it is not the agent that was asked for".to_owned()),
        Ending::Stopped(Stop::Cancel) => Some("cancelled".to_owned()),
        Ending::Stopped(Stop::ManualTimeout) => Some("manually timed out".to_owned()),
        Ending::Stopped(Stop::Rewind) => {
            Some("ended: the task goes on from a checkpoint".to_owned())
        }
        Ending::Stopped(Stop::Deadline { seconds }) => Some(format!("timed out after {seconds} s")),
        Ending::Lost(loss) => Some(format!("ended: {}", loss.describe())),
    }
}

fn warnings(ending: Ending, ended: &Ended) -> Vec<String> {
    let mut warnings = Vec::new();
    if ending == Ending::Sentinel {
        warnings.push("the agent said that it had finished but did not end".to_owned());
    }
    if !ended.left.is_empty() {
        let pids: Vec<String> = ended.left.iter().map(|left| left.pid.to_string()).collect();
        warnings.push(format!("processes could not be ended: {}", pids.join(", ")));
    }
    warnings
}

fn not_started(error: &SpawnError) -> Failure {
    let reason = match error {
        SpawnError::NotExecutable { .. } => FailureReason::MissingExecutable,
        SpawnError::Failed { .. } => FailureReason::ProcessFailure,
    };
    let message = match error {
        SpawnError::NotExecutable { program, source } => {
            format!(
                "cannot execute `{program}`: {}",
                remedy(program, source.kind())
            )
        }
        SpawnError::Failed { .. } => chain(error),
    };
    Failure::new(reason, message).with_details(chain(error))
}

fn remedy(program: &str, why: ErrorKind) -> String {
    let is_relative = program.contains('/') && !program.starts_with('/');
    match why {
        ErrorKind::PermissionDenied => {
            format!("it is there and may not be executed: `chmod +x {program}`")
        }
        ErrorKind::NotFound if is_relative => {
            "it is not in the workspace. A worktree holds what is committed: commit it, or configure \
             its whole path"
                .to_owned()
        }
        _ => "install it, or configure another command for this agent".to_owned(),
    }
}

fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        FailureReason::ProcessFailure,
        format!("cannot {what}: {error}"),
    )
}
