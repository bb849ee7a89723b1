//! The first look of a daemon: whoever is at work is left to it, what is lost is recovered, what was
//! cut off is finished, and all of it is said.

use std::collections::BTreeMap;

use app::{
    command::{Command, Request},
    error::Error,
    event::DaemonStarted,
    query::{Query, View},
    reconcile::Finding,
};
use domain::{
    id::{ProjectId, SessionId},
    session::Session,
};

use super::scheduler::{Memory, Scheduler};

/// Effects that are read in one go.
const PAGE: usize = 500;

impl Scheduler {
    /// Says what was found, and writes it into the log of each project in which there was anything.
    pub(super) fn take_over(&self, memory: &mut Memory) -> Result<(), Error> {
        let mut found: BTreeMap<ProjectId, DaemonStarted> = BTreeMap::new();
        self.count_images(&mut found)?;
        let live = self.live()?;
        let of: BTreeMap<SessionId, ProjectId> = live
            .iter()
            .map(|session| (session.id, session.project))
            .collect();
        for finding in self.reconciler.recover_lost(&live) {
            let (Finding::Settled(session)
            | Finding::Orphaned { session, .. }
            | Finding::Stuck { session, .. }) = &finding;
            if let Some(project) = of.get(session) {
                let found = found.entry(*project).or_default();
                match &finding {
                    Finding::Settled(_) => found.settled += 1,
                    Finding::Orphaned { .. } => found.requeued += 1,
                    Finding::Stuck { .. } => found.stuck += 1,
                }
            }
            self.report(&finding, memory);
        }
        for session in self.live()? {
            let here = !session.is_elsewhere(self.reconciler.node);
            let runner = session.runner.as_ref().filter(|_| here);
            if runner.is_some_and(|runner| self.processes.is_alive(runner)) {
                found.entry(session.project).or_default().adopted += 1;
            }
        }
        for project in self.projects()? {
            let finished = self.hands.finish_checkpoints(&project);
            if finished > 0 {
                found.entry(project.id).or_default().checkpoints += finished;
            }
        }
        self.tell(&found)
    }

    fn live(&self) -> Result<Vec<Session>, Error> {
        match self.store.read(&Query::LiveSessions { project: None })? {
            View::Sessions { sessions } => Ok(sessions),
            other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
        }
    }

    /// Folders of tasks that are behind; the first turn of the daemon writes them.
    fn count_images(&self, found: &mut BTreeMap<ProjectId, DaemonStarted>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let query = Query::Effects { after, limit: PAGE };
            let View::Effects { effects } = self.store.read(&query)? else {
                return Ok(());
            };
            let is_last = effects.len() < PAGE;
            after = effects.last().map(|effect| effect.task);
            let ids = effects.iter().map(|effect| effect.task).collect();
            if let View::Tasks { tasks } = self.store.read(&Query::TasksOf { ids })? {
                for task in tasks {
                    found.entry(task.project).or_default().images += 1;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    fn tell(&self, found: &BTreeMap<ProjectId, DaemonStarted>) -> Result<(), Error> {
        let mut all = DaemonStarted::default();
        for one in found.values() {
            all.adopted += one.adopted;
            all.settled += one.settled;
            all.requeued += one.requeued;
            all.stuck += one.stuck;
            all.checkpoints += one.checkpoints;
            all.images += one.images;
        }
        self.hands.say(&format!(
            "Found: {} at work, {} ended meanwhile, {} lost and requeued, {} not to be recovered yet, \
             {} checkpoints cut off, {} task folders behind",
            all.adopted, all.settled, all.requeued, all.stuck, all.checkpoints, all.images
        ));
        let here = self.projects()?;
        let known = |id: &ProjectId| here.iter().any(|project| project.id == *id);
        for (project, found) in found.iter().filter(|(id, _)| known(id)) {
            self.store.execute(Request {
                meta: self.meta.clone(),
                done: vec![],
                command: Command::RecordDaemonStart {
                    project: *project,
                    found: *found,
                },
            })?;
        }
        for project in &here {
            if found.contains_key(&project.id) {
                self.hands.tell_project(project);
            }
        }
        Ok(())
    }
}
