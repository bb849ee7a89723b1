//! Checkpoints at both ends of a daemon: what was cut off is finished, and what runs is kept.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use app::{
    checkpoints::{Checkpointer, Wish},
    ports::checkpoints::Cause,
    query::{Query, View},
};
use domain::{
    id::TaskId,
    project::Project,
    session::{Session, SessionKind, SessionStatus},
};

use super::Crew;
use crate::{config::Config, places::Places, wiring};

/// So many are made at once.
const AT_ONCE: usize = 4;

impl Crew {
    fn checkpointer(&self, project: &Project, config: &Config) -> Checkpointer {
        let root = PathBuf::from(&project.root);
        let places = Places {
            project: root.clone(),
            ..self.places.clone()
        };
        Checkpointer {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            folders: Arc::clone(&self.folders),
            checkpoints: wiring::checkpoints(),
            workspaces: Arc::clone(&self.workspaces),
            agents: wiring::agents(config, &places, &root),
            root,
            meta: self.meta.clone(),
        }
    }

    /// Finishes what others left half made in a project; answers how many there were.
    pub(super) fn finish_cut_off(&self, project: &Project) -> u32 {
        // Without its configuration nothing is started in it either, and that is said.
        let Ok(config) = self.config_of(project) else {
            return 0;
        };
        match self.checkpointer(project, &config).recover(project.id) {
            Ok(said) => {
                for line in &said {
                    drop(self.out.line(line));
                }
                u32::try_from(said.len()).unwrap_or(u32::MAX)
            }
            Err(error) => {
                self.out.warn(error);
                0
            }
        }
    }

    /// Keeps what every task at work has reached. The agents go on.
    pub(super) fn keep_all(&self) {
        let Ok(View::Sessions { sessions }) =
            self.store.read(&Query::LiveSessions { project: None })
        else {
            return;
        };
        let Ok(projects) = self.projects() else {
            return;
        };
        let mut left = VecDeque::new();
        for project in projects {
            let Ok(config) = self.config_of(&project) else {
                continue;
            };
            if !config.settings.checkpoint.on_shutdown {
                continue;
            }
            let checkpointer = Arc::new(self.checkpointer(&project, &config));
            let of_project = sessions
                .iter()
                .filter(|session| !session.is_elsewhere(self.node))
                .filter(|session| session.project == project.id && is_at_work(session));
            left.extend(of_project.map(|session| (Arc::clone(&checkpointer), session.task)));
        }
        let count = left.len().min(AT_ONCE);
        let left = Mutex::new(left);
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    while let Some((checkpointer, task)) = next(&left) {
                        self.keep(&checkpointer, task);
                    }
                });
            }
        });
    }

    fn keep(&self, checkpointer: &Checkpointer, task: TaskId) {
        match checkpointer.create(task, &Wish::because(Cause::Shutdown)) {
            Ok(made) => drop(
                self.out
                    .line(format!("Checkpoint {} of {task}", made.manifest.id)),
            ),
            Err(error) => self.out.warn(format!("no checkpoint of {task}: {error}")),
        }
    }
}

fn next<T>(left: &Mutex<VecDeque<T>>) -> Option<T> {
    left.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .pop_front()
}

fn is_at_work(session: &Session) -> bool {
    session.kind == SessionKind::Managed && session.status == SessionStatus::Running
}
