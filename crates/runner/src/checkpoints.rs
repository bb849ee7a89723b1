//! Checkpoints of a session at work, made in a thread of their own: the agent waits for none.
//!
//! One is made whenever its time or turn has come, and a last one when the process is told to go
//! down: the task then goes back to that one, so that another session goes on where this one was.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use app::{
    checkpoints::{Checkpointer, Retention, Wish},
    command::{Command, Output as Answer, Request},
    ports::{
        checkpoints::{Cause, Manifest},
        clock::Clock,
    },
};
use domain::{
    id::{ProjectId, TaskId},
    task::Continuation,
    time::Due,
    workspace::WorkspaceMode,
};

use crate::{
    config::{CheckpointTimes, Deps},
    failures::chain,
    job::task_now,
    output::Output,
    voice::Voice,
    wishes::{Loss, Wishes},
};

/// How long a process that is told to go down waits for its last checkpoint.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The longest sleep where nothing is due by the clock.
const SLEEP: Duration = Duration::from_hours(1);

/// So many calls may wait: a turn that is called out while one is made counts with the next.
const CALLS: usize = 8;

/// What the thread is called for.
#[derive(Debug)]
enum Call {
    /// The agent has begun this turn.
    Turn(u32),
    /// The process is to go down; answered with whether the task has gone back to the last one.
    Down(SyncSender<bool>),
}

/// Makes checkpoints until it is dropped; one that is being made then is finished first.
#[derive(Debug)]
pub(crate) struct Keeping {
    calls: Option<SyncSender<Call>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeping {
    /// Begins. One that cannot be made is a line of the log.
    pub(crate) fn start(
        deps: &Deps,
        voice: &Voice,
        task: TaskId,
        output: &Output,
        wishes: &Wishes,
    ) -> Option<Self> {
        let times = deps.config.checkpoints;
        let work = Work {
            checkpointer: Checkpointer {
                store: Arc::clone(&deps.store),
                clock: Arc::clone(&deps.clock),
                folders: Arc::clone(&deps.folders),
                checkpoints: Arc::clone(&deps.checkpoints),
                workspaces: Arc::clone(&deps.workspaces),
                agents: Arc::clone(&deps.agents),
                root: deps.config.project_root.clone(),
                meta: voice.meta(),
            },
            times,
            retention: deps.config.retention,
            project: task_now(&*deps.store, task).ok()?.project,
            task,
            output: output.clone(),
            wishes: wishes.clone(),
        };
        let (calls, called) = sync_channel(CALLS);
        let thread = thread::Builder::new().name("checkpoints".to_owned());
        let thread = match thread.spawn(move || work.until_dropped(&called)) {
            Ok(thread) => thread,
            Err(error) => {
                output.note(&format!("no checkpoints are made: {error}"));
                return None;
            }
        };
        if times.every_turns.is_some() {
            let turns = calls.clone();
            output.tell_turns(Box::new(move |turn| drop(turns.try_send(Call::Turn(turn)))));
        }
        if times.on_shutdown {
            let (calls, wishes) = (calls.clone(), wishes.clone());
            deps.interrupt
                .first(Box::new(move || go_down(&calls, &wishes)));
        }
        Some(Self {
            calls: Some(calls),
            thread: Some(thread),
        })
    }

    /// Ends it.
    pub(crate) fn end(mut self, deps: &Deps, output: &Output) {
        deps.interrupt.forget_first();
        output.forget_turns();
        self.join();
    }

    fn join(&mut self) {
        drop(self.calls.take());
        // A defect there is no reason to lose the session.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// Asks for the last checkpoint. Where it is not made in time, the session is given up without.
fn go_down(calls: &SyncSender<Call>, wishes: &Wishes) {
    let (answer, answered) = sync_channel(1);
    let is_called = calls.try_send(Call::Down(answer)).is_ok();
    let is_kept = is_called && answered.recv_timeout(LAST_PATIENCE) == Ok(true);
    if !is_kept {
        wishes.lose(Loss::Down);
    }
}

struct Work {
    checkpointer: Checkpointer,
    times: CheckpointTimes,
    retention: Retention,
    project: ProjectId,
    task: TaskId,
    output: Output,
    wishes: Wishes,
}

impl Work {
    fn until_dropped(&self, called: &Receiver<Call>) {
        let mut due = self.next_due();
        // The turn up to which everything is kept.
        let mut kept = 0;
        loop {
            match called.recv_timeout(self.pause(due.as_ref())) {
                Ok(Call::Down(answer)) => {
                    let _ = answer.send(self.last());
                    return;
                }
                Ok(Call::Turn(turn)) => {
                    let ended = turn.saturating_sub(1);
                    let every = self.times.every_turns.unwrap_or(u32::MAX);
                    if ended.saturating_sub(kept) >= every {
                        kept = ended;
                        self.once(Cause::Turns);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if due.as_ref().is_some_and(|due| due.has_come(&self.now())) {
                        self.once(Cause::Interval);
                        due = self.next_due();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn now(&self) -> domain::time::Now {
        let clock: &dyn Clock = &*self.checkpointer.clock;
        clock.now()
    }

    fn next_due(&self) -> Option<Due> {
        let every = self.times.every?;
        let millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        Some(self.now().after_millis(millis))
    }

    fn pause(&self, due: Option<&Due>) -> Duration {
        let left = due.map(|due| Duration::from_millis(due.millis_left(&self.now())));
        left.unwrap_or(SLEEP).clamp(Duration::from_millis(1), SLEEP)
    }

    fn once(&self, cause: Cause) {
        self.make(cause);
        let pruned = self
            .checkpointer
            .expire(self.project, &self.retention, false);
        if let Err(error) = pruned {
            self.output
                .note(&format!("old checkpoints stay: {}", chain(&error)));
        }
    }

    fn make(&self, cause: Cause) -> Option<Manifest> {
        match self.checkpointer.create(self.task, &Wish::because(cause)) {
            Ok(made) => {
                let mut said = format!("checkpoint {}", made.manifest.id);
                for warning in &made.warnings {
                    said.push_str("; ");
                    said.push_str(warning);
                }
                self.output.note(&said);
                Some(made.manifest)
            }
            Err(error) => {
                self.output
                    .note(&format!("no checkpoint: {}", chain(&error)));
                None
            }
        }
    }

    /// The last one, to which the task goes back; `false` where it does not.
    fn last(&self) -> bool {
        let Some(manifest) = self.make(Cause::Shutdown) else {
            return false;
        };
        // What is in the user's own checkout is there already.
        if manifest.workspace.mode == WorkspaceMode::InPlace {
            return false;
        }
        let request = Request {
            meta: self.checkpointer.meta.clone(),
            done: vec![],
            command: Command::RewindTask {
                task: self.task,
                continues: Continuation {
                    session: manifest.session,
                    commit: Some(manifest.workspace.commit),
                    checkpoint: Some(manifest.id),
                    rewound: None,
                },
                workspace: manifest.workspace.mode,
            },
        };
        match self.checkpointer.store.execute(request) {
            Ok(reply) => {
                if let Answer::Stopping {
                    session: Some(session),
                    ..
                } = reply.output
                {
                    self.wishes.hear(&session);
                }
                self.wishes.wants_end()
            }
            Err(error) => {
                self.output
                    .note(&format!("the task does not go back: {}", chain(&error)));
                false
            }
        }
    }
}
