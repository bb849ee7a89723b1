//! The store as one node sees it: directories are those of its own checkouts, and what it claims is
//! claimed for it.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    id::{NodeId, ProjectId},
    project::Project,
};

use crate::{
    command::{Command, Reply, Request},
    error::Error,
    ports::store::{Answer, Store},
    query::{Query, View},
};

/// See the module.
#[derive(Debug, Clone)]
pub struct OfNode {
    inner: Arc<dyn Store>,
    node: NodeId,
}

impl OfNode {
    /// The store as this node sees it.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, node: NodeId) -> Self {
        Self { inner, node }
    }

    fn here(&self, mut request: Request) -> Request {
        request.command = match request.command {
            Command::RegisterProject { root, name } => Command::RegisterCheckout {
                node: self.node,
                root,
                name,
                remote: None,
            },
            Command::Claim {
                project,
                task,
                policy,
                launcher,
                node,
                lease_millis,
            } => Command::Claim {
                project,
                task,
                policy,
                launcher,
                node: node.or(Some(self.node)),
                lease_millis,
            },
            other => other,
        };
        request
    }

    /// Every project, with the directory of this node's checkout where it has one.
    fn projects(&self) -> Result<Vec<Project>, Error> {
        let here: BTreeMap<ProjectId, Project> = checked_out(&*self.inner, self.node)?
            .into_iter()
            .map(|project| (project.id, project))
            .collect();
        let all = projects_in(self.inner.read(&Query::Projects)?)?;
        Ok(all
            .into_iter()
            .map(|project| here.get(&project.id).cloned().unwrap_or(project))
            .collect())
    }
}

impl Store for OfNode {
    fn submit(&self, request: Request, answer: Answer) {
        self.inner.submit(self.here(request), answer);
    }

    fn execute(&self, request: Request) -> Result<Reply, Error> {
        self.inner.execute(self.here(request))
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        match query {
            Query::Projects => Ok(View::Projects {
                projects: self.projects()?,
            }),
            Query::ProjectAt { root, node: None } => self.inner.read(&Query::ProjectAt {
                root: root.clone(),
                node: Some(self.node),
            }),
            Query::Overview {
                root,
                limit,
                node: None,
            } => self.inner.read(&Query::Overview {
                root: root.clone(),
                limit: *limit,
                node: Some(self.node),
            }),
            other => self.inner.read(other),
        }
    }

    fn generation(&self) -> Result<u64, Error> {
        self.inner.generation()
    }
}

/// The projects of which a node has a checkout, with their directories there; every project where
/// this machine is no node.
///
/// # Errors
/// Where the store cannot be read.
pub fn projects_here(store: &dyn Store, node: Option<NodeId>) -> Result<Vec<Project>, Error> {
    match node {
        Some(node) => checked_out(store, node),
        None => projects_in(store.read(&Query::Projects)?),
    }
}

fn checked_out(store: &dyn Store, node: NodeId) -> Result<Vec<Project>, Error> {
    projects_in(store.read(&Query::CheckedOut { node })?)
}

fn projects_in(view: View) -> Result<Vec<Project>, Error> {
    match view {
        View::Projects { projects } => Ok(projects),
        other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
    }
}
