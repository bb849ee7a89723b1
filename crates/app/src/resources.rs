//! What exists on this machine because of sessions, and who owns it: for finding what nobody does.
//!
//! A session's row comes before anything that is made for it, and everything that is made carries
//! its id, so whatever names a session without a row belongs to another store, or to one that is
//! lost. That is told and never touched. What an ended session left behind is removed, after its
//! work was salvaged.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{
    id::{SessionId, TaskId},
    project::Project,
    resource::{Owner, ResourceKind},
    session::Session,
    workspace::{WorkspaceMode, WorkspaceRecord},
};

use crate::{
    error::Error,
    ports::{
        processes::Processes,
        runners::Runners,
        store::Store,
        workspaces::{FoundWorktree, Inventory, Removed, WorkspaceError, Workspaces},
    },
    query::{Query, View},
};

/// Something that exists because of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// Its path, its reference, or the session's id for processes.
    pub name: String,
    /// The session that it was made for, where that is known.
    pub session: Option<SessionId>,
    /// The task of that, where there is a row.
    pub task: Option<TaskId>,
    /// The generation of the session: its fence.
    pub fence: Option<u64>,
    /// Whose it is.
    pub owner: Owner,
}

/// What was done about something that nobody owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// It is gone; its work is kept under this reference where there was any.
    Removed(Resource, Option<String>),
    /// It stays, for this reason.
    Left(Resource, String),
}

/// Looks for resources of this machine and removes those that nobody owns.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Where sessions are.
    pub store: Arc<dyn Store>,
    /// Where the work is.
    pub workspaces: Arc<dyn Workspaces>,
    /// Which processes live.
    pub processes: Arc<dyn Processes>,
    /// Which sockets there are.
    pub runners: Arc<dyn Runners>,
    /// Whether worktrees of ended sessions are kept for a person.
    pub keeps_worktrees: bool,
    /// How long leftover processes have after TERM.
    pub grace: Duration,
}

impl Ledger {
    /// Everything of a project's repository, and of this machine whatever its project.
    ///
    /// # Errors
    /// Where the store or the repository cannot be read.
    pub fn list(&self, project: &Project) -> Result<Vec<Resource>, Error> {
        Ok(self
            .look(project)?
            .into_iter()
            .map(|found| found.0)
            .collect())
    }

    /// Removes what ended sessions left behind, after their work was salvaged.
    ///
    /// # Errors
    /// As [`Self::list`]. What cannot be removed is in the answer.
    pub fn sweep(&self, project: &Project) -> Result<Vec<Swept>, Error> {
        let nobodys = self.look(project)?.into_iter();
        let nobodys = nobodys.filter(|(found, _)| found.owner == Owner::Nobody);
        Ok(nobodys
            .map(
                |(found, record)| match self.remove(project, &found, record) {
                    Ok(salvage) => Swept::Removed(found, salvage),
                    Err(why) => Swept::Left(found, why),
                },
            )
            .collect())
    }

    /// The world first, then the rows: what was made in between has an owner.
    fn look(&self, project: &Project) -> Result<Vec<(Resource, Option<WorkspaceRecord>)>, Error> {
        let unreadable = |error: WorkspaceError| Error::unavailable(error.to_string());
        let inventory = match self.workspaces.inventory(Path::new(&project.root)) {
            Err(WorkspaceError::NotARepository { .. }) => Inventory::default(),
            other => other.map_err(unreadable)?,
        };
        let folders = self.workspaces.folders().map_err(unreadable)?;
        let sockets = self.runners.sockets();
        let groups = self.processes.sessions();

        let mut rows = Rows::new(self);
        let mut found = Vec::new();
        for worktree in inventory.worktrees {
            found.push(rows.worktree(worktree)?);
        }
        for (session, path) in folders {
            found.push(rows.folder(session, &path)?);
        }
        for (session, path) in sockets {
            found.push((rows.of(ResourceKind::Socket, session, shown(&path))?, None));
        }
        for session in groups {
            let name = session.to_string();
            found.push((rows.of(ResourceKind::Processes, session, name)?, None));
        }
        for (branch, _) in inventory.branches {
            found.push((kept(ResourceKind::Branch, branch, None), None));
        }
        for (session, _) in inventory.salvages {
            let name = format!("refs/crewboss/salvage/{session}");
            found.push((kept(ResourceKind::Salvage, name, Some(session)), None));
        }
        Ok(found)
    }

    fn remove(
        &self,
        project: &Project,
        resource: &Resource,
        record: Option<WorkspaceRecord>,
    ) -> Result<Option<String>, String> {
        let session = resource.session.ok_or("its session is not known")?;
        match (resource.kind, record) {
            (ResourceKind::Worktree | ResourceKind::Folder, Some(record)) => {
                match self.workspaces.remove(&record, session) {
                    Ok(Removed::Gone(salvage)) => Ok(salvage.map(|salvage| salvage.reference)),
                    Ok(Removed::Kept(path)) => Err(format!("{} stays", path.display())),
                    Err(error) => Err(error.to_string()),
                }
            }
            (ResourceKind::Worktree | ResourceKind::Folder, None) => self
                .workspaces
                .abandon(Path::new(&project.root), session)
                .map(|()| None)
                .map_err(|error| error.to_string()),
            (ResourceKind::Socket, _) => self
                .runners
                .remove_socket(session)
                .map(|()| None)
                .map_err(|error| error.to_string()),
            (ResourceKind::Processes, _) => {
                let ended = self.processes.end_session(session, self.grace);
                match ended.left.as_slice() {
                    [] => Ok(None),
                    left => Err(format!("{} processes cannot be ended", left.len())),
                }
            }
            (ResourceKind::Branch | ResourceKind::Salvage, _) => Err("it holds work".to_owned()),
        }
    }
}

fn kept(kind: ResourceKind, name: String, session: Option<SessionId>) -> Resource {
    Resource {
        kind,
        name,
        session,
        task: None,
        fence: None,
        owner: Owner::Person,
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Rows of sessions, each read once.
struct Rows<'a> {
    ledger: &'a Ledger,
    known: BTreeMap<SessionId, Option<Session>>,
}

impl<'a> Rows<'a> {
    fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            known: BTreeMap::new(),
        }
    }

    fn session(&mut self, id: SessionId) -> Result<Option<Session>, Error> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let session = match self.ledger.store.read(&Query::Session { id }) {
            Ok(View::Session { session }) => Some(*session),
            Ok(_) => return Err(Error::corrupt("another answer than was asked for")),
            Err(Error::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        self.known.insert(id, session.clone());
        Ok(session)
    }

    fn of(&mut self, kind: ResourceKind, id: SessionId, name: String) -> Result<Resource, Error> {
        let session = self.session(id)?;
        let owner = session.as_ref().map_or(Owner::Unknown, |session| {
            let runner = session.runner.as_ref();
            let is_at_work = !session.status.is_terminal()
                || runner.is_some_and(|runner| self.ledger.processes.is_alive(runner));
            if is_at_work {
                Owner::Session
            } else {
                Owner::Nobody
            }
        });
        Ok(Resource {
            kind,
            name,
            session: Some(id),
            task: session.as_ref().map(|session| session.task),
            fence: session.as_ref().map(|session| session.fence),
            owner,
        })
    }

    fn worktree(
        &mut self,
        found: FoundWorktree,
    ) -> Result<(Resource, Option<WorkspaceRecord>), Error> {
        let name = shown(&found.path);
        let mut resource = self.of(ResourceKind::Worktree, found.session, name)?;
        if resource.owner == Owner::Nobody && self.ledger.keeps_worktrees {
            resource.owner = Owner::Person;
        }
        Ok((resource, found.record))
    }

    /// A plain folder is where the work stays; only an empty one is nobody's.
    fn folder(
        &mut self,
        id: SessionId,
        path: &PathBuf,
    ) -> Result<(Resource, Option<WorkspaceRecord>), Error> {
        let mut resource = self.of(ResourceKind::Folder, id, shown(path))?;
        let is_empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if resource.owner == Owner::Nobody && !is_empty {
            resource.owner = Owner::Person;
        }
        let record = WorkspaceRecord {
            mode: WorkspaceMode::Folder,
            path: path.clone(),
            directory: path.clone(),
            repository: None,
            target: None,
            base: None,
            start: None,
            branch: None,
            remote: None,
        };
        Ok((resource, Some(record)))
    }
}
