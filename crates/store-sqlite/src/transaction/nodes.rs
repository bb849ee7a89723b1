//! The rows of nodes in a transaction.

use app::{
    error::Error,
    ports::nodes::{NodeReader, NodeTx},
};
use domain::{
    id::{NodeId, ProjectId},
    node::{Checkout, Leader, Node},
    project::Project,
};

use super::Transaction;
use crate::nodes;

impl NodeReader for Transaction<'_> {
    fn node(&self, id: NodeId) -> Result<Option<Node>, Error> {
        nodes::node(self.connection, id)
    }

    fn nodes(&self) -> Result<Vec<Node>, Error> {
        nodes::nodes(self.connection)
    }

    fn leader(&self) -> Result<Option<Leader>, Error> {
        nodes::leader(self.connection)
    }

    fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
        nodes::checkouts(self.connection, node)
    }

    fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error> {
        nodes::project_of_remote(self.connection, remote)
    }

    fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error> {
        nodes::occupied(self.connection, node)
    }
}

impl NodeTx for Transaction<'_> {
    fn put_node(&mut self, node: &Node) -> Result<(), Error> {
        nodes::put_node(self.connection, node)
    }

    fn put_leader(&mut self, leader: &Leader) -> Result<(), Error> {
        nodes::put_leader(self.connection, leader)
    }

    fn put_checkout(&mut self, checkout: &Checkout) -> Result<(), Error> {
        nodes::put_checkout(self.connection, checkout)
    }

    fn set_remote(&mut self, project: ProjectId, remote: &str) -> Result<(), Error> {
        nodes::set_remote(self.connection, project, remote)
    }
}
