//! Rows of nodes, of checkouts, and of who leads: parts of every store.

use domain::{
    id::{NodeId, ProjectId},
    node::{Checkout, Leader, Node},
    project::Project,
};

use crate::error::Error;

/// What can be read of nodes.
pub trait NodeReader {
    /// A node.
    fn node(&self, id: NodeId) -> Result<Option<Node>, Error>;
    /// Every node that ever registered, oldest first.
    fn nodes(&self) -> Result<Vec<Node>, Error>;
    /// Who leads, or led last.
    fn leader(&self) -> Result<Option<Leader>, Error>;
    /// The checkouts of a node or of all, in the order of their projects and nodes.
    fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error>;
    /// The project whose checkouts this repository joins.
    fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error>;
    /// How many managed sessions have not ended, of a node or of all.
    fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error>;
}

/// What can be written of them.
pub trait NodeTx {
    /// Adds or replaces a node.
    fn put_node(&mut self, node: &Node) -> Result<(), Error>;
    /// Says who leads.
    fn put_leader(&mut self, leader: &Leader) -> Result<(), Error>;
    /// Says where a node has a project: one place for each, and one project at each place.
    fn put_checkout(&mut self, checkout: &Checkout) -> Result<(), Error>;
    /// Says which repository joins the checkouts of a project.
    fn set_remote(&mut self, project: ProjectId, remote: &str) -> Result<(), Error>;
}
