//! Changing the store, and what has to follow a commit.

use std::path::Path;

use app::{
    command::{Command, Meta, Output, RecoveryPolicy, Reply, Request},
    crash_points::CrashPoint,
    event::{Actor, ActorKind, Door},
    ports::store::Effect,
    query::{Query, View},
    reconcile::Finding,
};
use domain::{id::NodeId, project::Project, session::Session};

use super::{Context, unexpected};
use crate::{
    fail::{Exit, Fail},
    history,
    node::same_address,
    wiring,
};

/// The log of a project itself, in its folder.
const PROJECT_LOG: &str = "project.jsonl";

/// Each change leaves a few; what other projects owe is not looked at for ever.
const ACKNOWLEDGED_AT_ONCE: usize = 50;

impl Context {
    /// Who speaks, and through which door.
    pub(crate) fn meta(&self) -> Meta {
        Meta {
            actor: Actor {
                kind: ActorKind::User,
                id: self.owner(),
            },
            door: Door::Cli,
            idempotency_key: None,
            correlation: None,
        }
    }

    /// Changes something, and brings the readable images of the tasks up to date where no daemon
    /// does that. What others expect in a layout's folder is there at once, daemon or not.
    pub(crate) fn change(&self, command: Command) -> Result<Output, Fail> {
        let request = Request {
            meta: self.meta(),
            done: self.carried_out()?,
            command,
        };
        let Reply { output, effects } = self.store()?.execute(request)?;
        if !self.is_served() || self.places.layout.is_some() {
            self.show_tasks(&effects);
        }
        Ok(output)
    }

    /// Effects that are still noted, carried out now where the images do not show them yet: the
    /// change that comes next forgets them, which costs no commit of its own.
    pub(crate) fn carried_out(&self) -> Result<Vec<Effect>, Fail> {
        if self.is_served() && self.places.layout.is_none() {
            return Ok(vec![]);
        }
        let query = Query::Effects {
            after: None,
            limit: ACKNOWLEDGED_AT_ONCE,
        };
        let View::Effects { effects } = self.store()?.read(&query)? else {
            return Err(unexpected("effects"));
        };
        let (folders, root) = (self.folders(), &self.places.project);
        let shows = |effect: &Effect| {
            let shown = folders.shown_version(root, effect.task);
            shown.is_some_and(|version| version >= effect.version)
        };
        let node = self.node()?;
        let is_done =
            |effect: &Effect| shows(effect) || matches!(self.show_task(effect, node), Ok(true));
        Ok(effects.into_iter().filter(is_done).collect())
    }

    /// The project, registered now if it was not.
    pub(crate) fn ensure_project(&self) -> Result<Project, Fail> {
        let node = self.node()?;
        let remote = match node {
            Some(_) => self.remote()?,
            None => None,
        };
        let remote = remote.as_deref().map(same_address);
        if let Some(project) = self.known_project()?
            && (remote.is_none() || project.remote == remote)
        {
            self.tell_project(&project, false);
            return Ok(project);
        }
        let root = self.places.root()?.to_owned();
        self.refuse_unwritable()?;
        let name = self.places.project_name();
        let register = match node {
            Some(node) => Command::RegisterCheckout {
                node,
                root,
                name,
                remote,
            },
            None => Command::RegisterProject { root, name },
        };
        match self.change(register)? {
            Output::Project { project } => {
                self.out
                    .info(format_args!("registered the project {}", project.root));
                drop(self.project.set(project.clone()));
                self.tell_project(&project, true);
                Ok(project)
            }
            _ => Err(unexpected("project")),
        }
    }

    /// Writes into `project.jsonl` what happened to the project itself; where nothing `is_new`, only
    /// if the file is missing. The store has it all: a failure here is only said.
    pub(crate) fn tell_project(&self, project: &Project, is_new: bool) {
        let file = self.places.project_folder().join(PROJECT_LOG);
        if self.places.layout.is_some() || !is_new && file.symlink_metadata().is_ok() {
            return;
        }
        let root = Path::new(&project.root);
        let told = self.store().and_then(|store| {
            let layers = wiring::layers();
            Ok(history::bring_up_project(
                &*store, &*layers, root, project.id,
            )?)
        });
        if let Err(fail) = told {
            let why = fail.render();
            self.out
                .warn(format_args!("{} is behind: {why}", file.display()));
        }
    }

    /// A project into which nothing can be written is refused before anything is stored.
    fn refuse_unwritable(&self) -> Result<(), Fail> {
        let root = &self.places.project;
        rustix::fs::access(root, rustix::fs::Access::WRITE_OK).map_err(|errno| {
            Fail::io(
                format!("the project {} cannot be written to", root.display()),
                &errno.into(),
            )
            .hint("choose another folder with --project, or make this one writable")
        })?;
        crate::workplace::prepare(&self.places)
    }

    /// The images are made again by whoever comes next, so a failure here is only said.
    fn show_tasks(&self, effects: &[Effect]) {
        let node = self.node().unwrap_or_default();
        for effect in effects {
            if let Err(fail) = self.show_task(effect, node) {
                self.out.warn(format_args!(
                    "the folder of {} is behind: {fail:?}",
                    effect.task
                ));
            }
        }
    }

    /// Answers whether it is shown: the folder of a task is where its newest session is.
    fn show_task(&self, effect: &Effect, node: Option<NodeId>) -> Result<bool, Fail> {
        let view = match self.store()?.read(&Query::Task { id: effect.task })? {
            View::Task { details } => details.view,
            _ => return Err(unexpected("task")),
        };
        let newest = view.session.as_ref();
        if newest.is_some_and(|session| session.is_elsewhere(node)) {
            return Ok(false);
        }
        let task = view.task;
        let root = self.root_of(task.project)?;
        let folders = self.folders();
        let is_gone =
            task.purged_at.is_some() || task.deleted_at.is_some() && self.places.layout.is_some();
        if is_gone {
            if self.places.layout.is_none() {
                let (store, layers) = (self.store()?, wiring::layers());
                app::purge::keep_rest(&*store, &*layers, Path::new(&root), task.id)?;
            }
            folders.remove_task(Path::new(&root), task.id)?;
        } else {
            // First: an image that shows a version says that the log has come as far.
            if self.places.layout.is_none() {
                let (store, journal) = (self.store()?, self.journal()?);
                history::bring_up(&*store, &*journal, Path::new(&root), task.id)?;
                CrashPoint::Logged.reached();
            }
            folders.show_task(Path::new(&root), &task)?;
            history::take_back_if_purged(&*self.store()?, &*folders, Path::new(&root), task.id)?;
        }
        Ok(true)
    }

    /// The directory of a project.
    pub(crate) fn root_of(&self, id: domain::id::ProjectId) -> Result<String, Fail> {
        if let Some(project) = self.project.get().filter(|project| project.id == id) {
            return Ok(project.root.clone());
        }
        match self.store()?.read(&Query::Projects)? {
            View::Projects { projects } => projects
                .into_iter()
                .find(|project| project.id == id)
                .map(|project| project.root)
                .ok_or_else(|| Fail::new(Exit::NotFound, format!("project {id} not found"))),
            _ => Err(unexpected("projects")),
        }
    }

    /// What follows a session that ended badly.
    pub(crate) fn recovery(&self) -> Result<RecoveryPolicy, Fail> {
        let run = &self.config()?.settings.run;
        Ok(RecoveryPolicy {
            requeues_max: run.requeues_max,
            backoff: run.backoff(),
        })
    }

    /// Recovers the project's lost sessions; most often there is nothing to do, and then this
    /// costs one query.
    pub(crate) fn reconcile(&self) -> Result<usize, Fail> {
        let Some(project) = self.known_project()? else {
            return Ok(0);
        };
        let query = Query::LiveSessions {
            project: Some(project.id),
        };
        let View::Sessions { sessions } = self.store()?.read(&query)? else {
            return Err(unexpected("sessions"));
        };
        self.recover(&sessions)
    }

    /// Recovers those of these live sessions that are lost; answers how many.
    pub(crate) fn recover(&self, live: &[Session]) -> Result<usize, Fail> {
        if live.is_empty() {
            return Ok(0);
        }
        let findings = wiring::reconciler(self)?.recover_lost(live);
        let mut recovered = 0;
        for finding in &findings {
            match finding {
                Finding::Settled(session) => {
                    recovered += 1;
                    self.out
                        .info(format_args!("{session}: its outcome was applied"));
                }
                Finding::Orphaned {
                    session,
                    why,
                    leftovers,
                } => {
                    recovered += 1;
                    self.out.warn(format_args!(
                        "{session}: {why}; {leftovers} left-over processes ended, task requeued"
                    ));
                }
                Finding::Stuck { session, why } => {
                    self.out
                        .warn(format_args!("{session} cannot be recovered yet: {why}"));
                }
            }
        }
        if recovered > 0 {
            crate::layout::sync(self)?;
        }
        Ok(recovered)
    }
}
