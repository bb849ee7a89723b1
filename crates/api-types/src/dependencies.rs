//! What depends on what.

use domain::{
    id::TaskId,
    task::{Task, TaskStatus},
};
use serde::{Deserialize, Serialize};

use crate::envelope::schemas;

/// Another task, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyRef {
    /// The task.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
}

impl From<&Task> for DependencyRef {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id,
            status: task.status(),
        }
    }
}

/// What `deps show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepsDocument {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// What it depends on: the newest task of each chain.
    #[serde(default)]
    pub dependencies: Vec<DependencyRef>,
    /// The tasks that wait for its chain.
    #[serde(default)]
    pub dependants: Vec<TaskId>,
}

/// A task that depends on others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyEdges {
    /// The task.
    pub id: TaskId,
    /// Where it stands.
    pub status: TaskStatus,
    /// The roots of the chains that it depends on.
    #[serde(default)]
    pub depends_on: Vec<TaskId>,
}

/// What `deps graph` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepsGraphDocument {
    /// Every task that depends on another, oldest first.
    #[serde(default)]
    pub tasks: Vec<DependencyEdges>,
}

/// What `deps validate` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepsValidateDocument {
    /// Whether there is no circle.
    pub valid: bool,
    /// The tasks of the circle that was found.
    pub cycle: Option<Vec<TaskId>>,
}

schemas! {
    DepsDocument = "deps";
    DepsGraphDocument = "deps_graph";
    DepsValidateDocument = "deps_validate";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        let (id, status) = (task().id, task().status());
        check(&DepsDocument {
            task: id,
            status,
            dependencies: vec![(&task()).into()],
            dependants: vec![id],
        });
        check(&DepsGraphDocument {
            tasks: vec![DependencyEdges {
                id,
                status,
                depends_on: vec![id],
            }],
        });
        for cycle in [None, Some(vec![id, id])] {
            check(&DepsValidateDocument {
                valid: cycle.is_none(),
                cycle,
            });
        }
    }
}
