//! Checkpoints of a session at work, made in a thread of their own: the agent waits for none.

use std::{
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use app::{
    checkpoints::{Checkpointer, Retention, Wish},
    ports::checkpoints::Cause,
};
use domain::id::{ProjectId, TaskId};

use crate::{config::Deps, failures::chain, job::task_now, output::Output, voice::Voice};

/// Makes checkpoints until it is dropped; one that is being made then is finished first.
#[derive(Debug)]
pub(crate) struct Periodic {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Periodic {
    /// Begins, where the configuration wants any. One that cannot be made is a line of the log.
    pub(crate) fn start(deps: &Deps, voice: &Voice, task: TaskId, output: &Output) -> Option<Self> {
        let every = deps.config.checkpoint_every?;
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
            retention: deps.config.retention,
            project: task_now(&*deps.store, task).ok()?.project,
            task,
            output: output.clone(),
        };
        let (end, ended) = channel::<()>();
        let run = move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                work.once();
            }
        };
        let thread = thread::Builder::new().name("checkpoints".to_owned());
        match thread.spawn(run) {
            Ok(thread) => Some(Self {
                end: Some(end),
                thread: Some(thread),
            }),
            Err(error) => {
                output.note(&format!("no checkpoints are made: {error}"));
                None
            }
        }
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        drop(self.end.take());
        // A defect there is no reason to lose the session.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

struct Work {
    checkpointer: Checkpointer,
    retention: Retention,
    project: ProjectId,
    task: TaskId,
    output: Output,
}

impl Work {
    fn once(&self) {
        match self
            .checkpointer
            .create(self.task, &Wish::because(Cause::Interval))
        {
            Ok(made) => {
                let mut said = format!("checkpoint {}", made.manifest.id);
                for warning in &made.warnings {
                    said.push_str("; ");
                    said.push_str(warning);
                }
                self.output.note(&said);
            }
            Err(error) => self
                .output
                .note(&format!("no checkpoint: {}", chain(&error))),
        }
        let pruned = self
            .checkpointer
            .expire(self.project, &self.retention, false);
        if let Err(error) = pruned {
            self.output
                .note(&format!("old checkpoints stay: {}", chain(&error)));
        }
    }
}
