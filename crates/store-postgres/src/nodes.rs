//! Nodes, checkouts, and who leads.

use app::{
    error::Error,
    ports::nodes::{NodeReader, NodeTx},
};
use domain::{
    id::{NodeId, ProjectId},
    node::{Checkout, Leader, Node},
    project::Project,
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    reading::Reading,
    row::{Columns as _, int, project_number, to_json},
    singles,
    unit::Held,
    writing::Writing,
};

fn node(ask: &dyn Ask, id: NodeId) -> Result<Option<Node>, Error> {
    let rows = ask.ask(
        "SELECT body FROM @nodes WHERE id = $1",
        &[(&int(id.number()), Type::INT8)],
    )?;
    first(&rows, |row| row.json(0))
}

fn nodes(ask: &dyn Ask) -> Result<Vec<Node>, Error> {
    let rows = ask.ask("SELECT body FROM @nodes ORDER BY id", &[])?;
    rows.iter().map(|row| row.json(0)).collect()
}

fn leader(ask: &dyn Ask) -> Result<Option<Leader>, Error> {
    let rows = ask.ask("SELECT body FROM @leader WHERE one = 1", &[])?;
    first(&rows, |row| row.json(0))
}

fn checkouts(ask: &dyn Ask, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
    let rows = match node {
        Some(node) => ask.ask(
            "SELECT node, project, root FROM @checkouts WHERE node = $1 ORDER BY project",
            &[(&int(node.number()), Type::INT8)],
        )?,
        None => ask.ask(
            "SELECT node, project, root FROM @checkouts ORDER BY project, node",
            &[],
        )?,
    };
    rows.iter().map(checkout_from).collect()
}

fn checkout_from(row: &Row) -> Result<Checkout, Error> {
    let node = NodeId::from_number(row.number(0)?);
    Ok(Checkout {
        node: node.ok_or_else(|| Error::corrupt("a checkout of no node"))?,
        project: row.project_id(1)?,
        root: row.value(2)?,
    })
}

fn project_of_remote(ask: &dyn Ask, remote: &str) -> Result<Option<Project>, Error> {
    let rows = ask.ask(
        "SELECT id, root, name, created_at, remote FROM @projects WHERE remote = $1",
        &[(&remote, Type::TEXT)],
    )?;
    first(&rows, singles::project_from)
}

fn occupied(ask: &dyn Ask, node: Option<NodeId>) -> Result<u32, Error> {
    let rows = match node {
        Some(node) => ask.ask(
            "SELECT count(*) FROM @sessions WHERE node = $1 AND live AND managed",
            &[(&int(node.number()), Type::INT8)],
        )?,
        None => ask.ask("SELECT count(*) FROM @sessions WHERE live AND managed", &[])?,
    };
    let counted = first(&rows, |row| row.number(0))?.unwrap_or(0);
    Ok(u32::try_from(counted).unwrap_or(u32::MAX))
}

macro_rules! readers {
    ($($reader:ty),*) => {
        $(impl NodeReader for $reader {
            fn node(&self, id: NodeId) -> Result<Option<Node>, Error> {
                node(self, id)
            }

            fn nodes(&self) -> Result<Vec<Node>, Error> {
                nodes(self)
            }

            fn leader(&self) -> Result<Option<Leader>, Error> {
                leader(self)
            }

            fn checkouts(&self, node: Option<NodeId>) -> Result<Vec<Checkout>, Error> {
                checkouts(self, node)
            }

            fn project_of_remote(&self, remote: &str) -> Result<Option<Project>, Error> {
                project_of_remote(self, remote)
            }

            fn occupied(&self, node: Option<NodeId>) -> Result<u32, Error> {
                occupied(self, node)
            }
        })*
    };
}

readers!(Reading<'_>, Writing<'_>);

impl NodeTx for Writing<'_> {
    fn put_node(&mut self, node: &Node) -> Result<(), Error> {
        let body = to_json(node)?;
        self.write(
            "INSERT INTO @nodes (id, body) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            &[(&int(node.id.number()), Type::INT8), (&body, Type::TEXT)],
        )
    }

    fn put_leader(&mut self, leader: &Leader) -> Result<(), Error> {
        let body = to_json(leader)?;
        self.write(
            "INSERT INTO @leader (one, body) VALUES (1, $1)
             ON CONFLICT (one) DO UPDATE SET body = excluded.body",
            &[(&body, Type::TEXT)],
        )
    }

    fn put_checkout(&mut self, checkout: &Checkout) -> Result<(), Error> {
        let (node, root) = (int(checkout.node.number()), checkout.root.as_str());
        self.write(
            "DELETE FROM @checkouts WHERE node = $1 AND root = $2",
            &[(&node, Type::INT8), (&root, Type::TEXT)],
        )?;
        self.write(
            "INSERT INTO @checkouts (project, node, root) VALUES ($1, $2, $3)
             ON CONFLICT (project, node) DO UPDATE SET root = excluded.root",
            &[
                (&project_number(checkout.project), Type::INT8),
                (&node, Type::INT8),
                (&root, Type::TEXT),
            ],
        )
    }

    fn set_remote(&mut self, project: ProjectId, remote: &str) -> Result<(), Error> {
        self.write(
            "UPDATE @projects SET remote = $2 WHERE id = $1",
            &[
                (&project_number(project), Type::INT8),
                (&remote, Type::TEXT),
            ],
        )?;
        let found = singles::project(self, project)?;
        self.hold_project(project, Held::known(found));
        Ok(())
    }
}
