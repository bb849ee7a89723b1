//! Projects, and taking over what another tool has kept.

use std::path::PathBuf;

use domain::id::{ProjectId, TaskId};
use serde::{Deserialize, Serialize};

use crate::{envelope::schemas, queue::RefusedTask};

/// What `init` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectDocument {
    /// The project.
    pub id: ProjectId,
    /// Its directory.
    pub root: String,
    /// The files that were written.
    #[serde(default)]
    pub written: Vec<PathBuf>,
}

/// A task that was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedRef {
    /// Its id there.
    pub from: TaskId,
    /// Its id here.
    pub id: TaskId,
}

/// What `import` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportDocument {
    /// Tasks that are new here.
    #[serde(default)]
    pub imported: Vec<ImportedRef>,
    /// How many were here already.
    pub known: u64,
    /// What could not be taken over.
    #[serde(default)]
    pub refused: Vec<RefusedTask>,
}

schemas! {
    ProjectDocument = "project";
    ImportDocument = "import";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{check, task};

    #[test]
    fn they_can_be_read_back() {
        check(&ProjectDocument {
            id: "prj_1".parse().unwrap(),
            root: "/p".to_owned(),
            written: vec!["/p/.crewboss/config.toml".into()],
        });
        check(&ImportDocument {
            imported: vec![ImportedRef {
                from: task().id,
                id: task().id,
            }],
            known: 1,
            refused: vec![RefusedTask {
                id: "x".to_owned(),
                message: "no id".to_owned(),
            }],
        });
    }
}
