//! Nodes, checkouts, and who leads.

use app::error::Error;
use domain::{
    id::{NodeId, ProjectId},
    node::{Checkout, Leader, Node},
    project::Project,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, project_number, to_json, unreadable},
    singles,
};

/// A node.
pub(crate) fn node(connection: &Connection, id: NodeId) -> Result<Option<Node>, Error> {
    connection
        .prepare_cached("SELECT body FROM nodes WHERE id = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([int(id.number())], |row| row.json(0))
                .optional()
        })
        .explain()
}

/// Every node, oldest first.
pub(crate) fn nodes(connection: &Connection) -> Result<Vec<Node>, Error> {
    connection
        .prepare_cached("SELECT body FROM nodes ORDER BY id")
        .and_then(|mut statement| statement.query_map([], |row| row.json(0))?.collect())
        .explain()
}

/// Adds or replaces a node.
pub(crate) fn put_node(connection: &Connection, node: &Node) -> Result<(), Error> {
    let body = to_json(node)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO nodes (id, body) VALUES (?1, ?2)")
        .and_then(|mut statement| statement.execute(params![int(node.id.number()), body]))
        .explain()?;
    Ok(())
}

/// Who leads, or led last.
pub(crate) fn leader(connection: &Connection) -> Result<Option<Leader>, Error> {
    connection
        .prepare_cached("SELECT body FROM leader WHERE one = 1")
        .and_then(|mut statement| statement.query_row([], |row| row.json(0)).optional())
        .explain()
}

/// Says who leads.
pub(crate) fn put_leader(connection: &Connection, leader: &Leader) -> Result<(), Error> {
    let body = to_json(leader)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO leader (one, body) VALUES (1, ?1)")
        .and_then(|mut statement| statement.execute([body]))
        .explain()?;
    Ok(())
}

/// The checkouts of a node or of all, in the order of their projects and nodes.
pub(crate) fn checkouts(
    connection: &Connection,
    node: Option<NodeId>,
) -> Result<Vec<Checkout>, Error> {
    connection
        .prepare_cached(
            "SELECT node, project, root FROM checkouts
             WHERE ?1 IS NULL OR node = ?1 ORDER BY project, node",
        )
        .and_then(|mut statement| {
            let node = node.map(|node| int(node.number()));
            statement.query_map([node], checkout_from)?.collect()
        })
        .explain()
}

fn checkout_from(row: &Row<'_>) -> rusqlite::Result<Checkout> {
    let node = NodeId::from_number(row.number(0)?);
    Ok(Checkout {
        node: node.ok_or_else(|| unreadable(0, std::io::Error::other("no id has this number")))?,
        project: row.project_id(1)?,
        root: row.get(2)?,
    })
}

/// Says where a node has a project.
pub(crate) fn put_checkout(connection: &Connection, checkout: &Checkout) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO checkouts (project, node, root) VALUES (?1, ?2, ?3)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                project_number(checkout.project),
                int(checkout.node.number()),
                checkout.root
            ])
        })
        .explain()?;
    Ok(())
}

/// The project whose checkouts this repository joins.
pub(crate) fn project_of_remote(
    connection: &Connection,
    remote: &str,
) -> Result<Option<Project>, Error> {
    let id: Option<u64> = connection
        .prepare_cached("SELECT id FROM projects WHERE remote = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([remote], |row| row.number(0))
                .optional()
        })
        .explain()?;
    match id.and_then(ProjectId::from_number) {
        Some(id) => singles::project(connection, id),
        None => Ok(None),
    }
}

/// Says which repository joins the checkouts of a project.
pub(crate) fn set_remote(
    connection: &Connection,
    project: ProjectId,
    remote: &str,
) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE projects SET remote = ?2 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![project_number(project), remote]))
        .explain()?;
    Ok(())
}

/// How many managed sessions have not ended, of a node or of all.
pub(crate) fn occupied(connection: &Connection, node: Option<NodeId>) -> Result<u32, Error> {
    let counted = match node {
        Some(node) => connection
            .prepare_cached(
                "SELECT count(*) FROM sessions INDEXED BY sessions_of_node
                 WHERE node = ?1 AND live = 1 AND managed = 1",
            )
            .and_then(|mut statement| {
                statement.query_row([int(node.number())], |row| row.small(0))
            }),
        None => connection
            .prepare_cached(
                "SELECT count(*) FROM sessions INDEXED BY sessions_of_node
                 WHERE live = 1 AND managed = 1",
            )
            .and_then(|mut statement| statement.query_row([], |row| row.small(0))),
    };
    counted.explain()
}
