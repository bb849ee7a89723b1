//! Nodes, checkouts, and who leads.

use app::{
    error::Error,
    ports::nodes::{NodeReader, NodeTx},
};
use domain::{
    id::{NodeId, ProjectId},
    node::{Checkout, Leader, Node},
    project::Project,
    session::SessionKind,
};

use crate::{state::State, writing::Transaction};

impl NodeReader for State {
    fn node(&self, id: NodeId) -> Result<Option<Node>, Error> {
        Ok(self.nodes.get(&id).cloned())
    }

    fn nodes(&self) -> Result<Vec<Node>, Error> {
        Ok(self.nodes.values().cloned().collect())
    }

    fn leader(&self) -> Result<Option<Leader>, Error> {
        Ok(self.leader.get(&()).cloned())
    }

    fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
        let all = self.checkouts.values();
        let of_node = all.filter(|known| node.is_none_or(|node| node == known.node));
        Ok(of_node.cloned().collect())
    }

    fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error> {
        let mut all = self.projects.values();
        Ok(all
            .find(|project| project.remote.as_deref() == Some(remote))
            .cloned())
    }

    fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error> {
        let live = self.live.keys().filter_map(|id| self.sessions.get(id));
        let counted = live.filter(|session| {
            session.kind == SessionKind::Managed && (node.is_none() || session.node == node)
        });
        Ok(u32::try_from(counted.count()).unwrap_or(u32::MAX))
    }
}

impl NodeReader for Transaction<'_> {
    fn node(&self, id: NodeId) -> Result<Option<Node>, Error> {
        self.state().node(id)
    }

    fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.state().nodes()
    }

    fn leader(&self) -> Result<Option<Leader>, Error> {
        self.state().leader()
    }

    fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
        self.state().checkouts(node)
    }

    fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error> {
        self.state().project_of_remote(remote)
    }

    fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error> {
        self.state().occupied(node)
    }
}

impl NodeTx for Transaction<'_> {
    fn put_node(&mut self, node: &Node) -> Result<(), Error> {
        self.put(|state| &mut state.nodes, node.id, node.clone());
        Ok(())
    }

    fn put_leader(&mut self, leader: &Leader) -> Result<(), Error> {
        self.put(|state| &mut state.leader, (), leader.clone());
        Ok(())
    }

    fn put_checkout(&mut self, checkout: &Checkout) -> Result<(), Error> {
        let place = (checkout.node, checkout.root.clone());
        let taken = self.state().checkouts.iter();
        let before = taken
            .filter(|(_, known)| (known.node, &known.root) == (place.0, &place.1))
            .map(|(key, _)| *key)
            .next();
        if let Some(before) = before {
            self.take(|state| &mut state.checkouts, &before);
        }
        let key = (checkout.project, checkout.node);
        self.put(|state| &mut state.checkouts, key, checkout.clone());
        Ok(())
    }

    fn set_remote(&mut self, project: ProjectId, remote: &str) -> Result<(), Error> {
        if let Some(known) = self.state().projects.get(&project).cloned() {
            let joined = Project {
                remote: Some(remote.to_owned()),
                ..known
            };
            self.put(|state| &mut state.projects, project, joined);
        }
        Ok(())
    }
}
