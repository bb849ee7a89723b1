//! Where `OpenCode` looks for what belongs to the user.

use std::path::PathBuf;

use crate::environment::Environment;

/// The user's folders, from the user's environment. `None` where nothing names them.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// `$XDG_CONFIG_HOME`, of all programs.
    pub(super) config_home: Option<PathBuf>,
    /// `~/.opencode`.
    pub(super) dot_folder: Option<PathBuf>,
    /// `$OPENCODE_CONFIG`.
    pub(super) config_file: Option<PathBuf>,
    /// `$OPENCODE_CONFIG_DIR`.
    pub(super) config_dir: Option<PathBuf>,
    /// Where logins are kept.
    pub(super) logins: Option<PathBuf>,
}

impl Places {
    pub(super) fn of(environment: &Environment) -> Self {
        let path = |name| {
            environment
                .get(name)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from)
        };
        let home = path("HOME");
        let below =
            |name, folder: &str| path(name).or_else(|| home.as_ref().map(|home| home.join(folder)));
        Self {
            config_home: below("XDG_CONFIG_HOME", ".config"),
            dot_folder: home.as_ref().map(|home| home.join(".opencode")),
            config_file: path("OPENCODE_CONFIG"),
            config_dir: path("OPENCODE_CONFIG_DIR"),
            logins: below("XDG_DATA_HOME", ".local/share")
                .map(|data| data.join("opencode/auth.json")),
        }
    }

    /// The user's global configuration folder.
    pub(super) fn global(&self) -> Option<PathBuf> {
        self.config_home.as_ref().map(|home| home.join("opencode"))
    }
}
