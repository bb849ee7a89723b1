//! The configuration.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::schemas;

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigEntry {
    /// As in the file; `null` where it is not set. Credentials are masked.
    pub value: Value,
    /// A file with its line, the environment, a flag, or the default.
    pub origin: String,
}

/// What `config show` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// The files that were read.
    #[serde(default)]
    pub files: Vec<PathBuf>,
    /// Every key, as `section.key`.
    #[serde(default)]
    pub values: BTreeMap<String, ConfigEntry>,
    /// Every agent's table.
    #[serde(default)]
    pub agents: BTreeMap<String, ConfigEntry>,
    /// Every gate, in the order in which they are run.
    #[serde(default)]
    pub gates: Vec<ConfigEntry>,
}

/// What `config get` and `config set` print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValueDocument {
    /// The key.
    pub key: String,
    /// Its value; `null` where it is not set.
    pub value: Value,
    /// Where it comes from, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The file that it was written to, when it was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// What `config init` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigInitDocument {
    /// The file that was written.
    pub file: PathBuf,
}

/// What `config path` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPathDocument {
    /// The user's own file.
    pub user: PathBuf,
    /// The project's file.
    pub project: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// The folder of worktrees.
    pub state: PathBuf,
}

schemas! {
    ConfigDocument = "config";
    ConfigValueDocument = "config_value";
    ConfigInitDocument = "config_init";
    ConfigPathDocument = "config_path";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::check;

    #[test]
    fn they_can_be_read_back() {
        let entry = ConfigEntry {
            value: Value::from(3),
            origin: "default".to_owned(),
        };
        check(&ConfigDocument {
            files: vec!["/c".into()],
            values: [("run.parallel".to_owned(), entry.clone())].into(),
            agents: [("a".to_owned(), entry.clone())].into(),
            gates: vec![entry],
        });
        check(&ConfigValueDocument {
            key: "run.parallel".to_owned(),
            value: Value::Null,
            origin: Some("default".to_owned()),
            file: None,
        });
        check(&ConfigInitDocument { file: "/c".into() });
        check(&ConfigPathDocument {
            user: "/u".into(),
            project: "/p".into(),
            store: "/s".into(),
            state: "/t".into(),
        });
    }
}
