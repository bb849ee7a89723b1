//! Nodes that share a store.

use domain::{
    id::{NodeId, ProjectId},
    node::{Node, NodeStatus},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// A checkout of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckoutRef {
    /// The project.
    pub project: ProjectId,
    /// What people call it.
    pub name: String,
    /// Its directory on the node.
    pub root: String,
}

/// A home of Crewboss among those that share a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDocument {
    /// Its id.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub status: NodeStatus,
    /// Whether it does what one alone is to do.
    pub leads: bool,
    /// Whether this home is that node.
    pub here: bool,
    /// Sessions that it carries.
    pub sessions: u32,
    /// Sessions that it carries at most.
    pub capacity: u32,
    /// What people say of it.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The program's version.
    pub version: String,
    /// The process that speaks for it.
    pub pid: u32,
    /// When it first came.
    pub registered_at: Timestamp,
    /// When it was last heard of.
    pub heard_at: Timestamp,
    /// When it was declared lost.
    pub lost_at: Option<Timestamp>,
    /// When it left in order.
    pub left_at: Option<Timestamp>,
    /// What it can work on.
    #[serde(default)]
    pub projects: Vec<CheckoutRef>,
}

impl NodeDocument {
    /// A node as far as its row tells.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        Self {
            id: node.id,
            name: node.name.clone(),
            status: node.status(),
            leads: false,
            here: false,
            sessions: 0,
            capacity: node.capacity,
            labels: node.labels.clone(),
            version: node.version.clone(),
            pid: node.process.pid,
            registered_at: node.registered_at,
            heard_at: node.heard_at,
            lost_at: node.lost_at,
            left_at: node.left_at,
            projects: vec![],
        }
    }
}

/// What `node list` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeListDocument {
    /// Oldest first.
    #[serde(default)]
    pub nodes: Vec<NodeDocument>,
}

schemas! {
    NodeDocument = "node";
    NodeListDocument = "node-list";
}

#[cfg(test)]
mod tests {
    use domain::{
        node::Introduction,
        process::ProcessIdentity,
        time::{BootId, Moment, Now},
    };

    use super::*;
    use crate::samples::check;

    #[test]
    fn they_can_be_read_back() {
        let boot = BootId("b".to_owned());
        let introduction = Introduction {
            name: "one".to_owned(),
            labels: vec!["zone=a".to_owned()],
            capacity: 3,
            version: "1".to_owned(),
            process: ProcessIdentity {
                pid: 7,
                start_ticks: 1,
                boot: boot.clone(),
                namespace: None,
            },
            lease_millis: 1,
        };
        let now = Now {
            wall: Timestamp::from_millis(5),
            moment: Moment { boot, millis: 1 },
        };
        let mut document =
            NodeDocument::of(&Node::new("node_1".parse().unwrap(), introduction, &now));
        document.projects = vec![CheckoutRef {
            project: "prj_1".parse().unwrap(),
            name: "p".to_owned(),
            root: "/p".to_owned(),
        }];
        check(&document);
        check(&NodeListDocument {
            nodes: vec![document],
        });
    }
}
