//! Where things live: store, worktrees, configuration, and the project that a command means.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{
    environment::Environment,
    fail::{Exit, Fail},
    stores::Server,
};

/// The folder that makes a directory a project.
pub(crate) const PROJECT_FOLDER: &str = ".crewboss";

/// Every place that a command may use. Nothing is made by looking.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The store's folder: `$CREWBOSS_HOME`, else `crewboss` in the XDG data directory.
    pub home: PathBuf,
    /// The folder of worktrees: `$CREWBOSS_HOME/state`, else `crewboss` in the XDG state directory.
    pub state: PathBuf,
    /// The user's own configuration.
    pub user_config: PathBuf,
    /// The project's directory: absolute, without symbolic links.
    pub project: PathBuf,
    /// How the project was found.
    pub found_by: FoundBy,
    /// The Agent Orchestrator layout that is worked on in place.
    pub(crate) layout: Option<layouts::Layout>,
    /// The server that holds the store, where it is not a file.
    pub(crate) server: Option<Server>,
}

/// How the project's directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBy {
    /// `--project` or `CREWBOSS_PROJECT`.
    Asked,
    /// The nearest folder upward that holds `.crewboss/`.
    Marker,
    /// The root of the git repository.
    Repository,
    /// Neither: the current folder.
    Directory,
}

impl FoundBy {
    /// In words.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Asked => "as asked",
            Self::Marker => "it holds .crewboss/",
            Self::Repository => "the root of the git repository",
            Self::Directory => "the current folder",
        }
    }
}

impl Places {
    /// The places in force for an environment and `--project`.
    pub(crate) fn find(env: &Environment, project: Option<&Path>) -> Result<Self, Fail> {
        let user = env.path("HOME");
        let below = |variable: &str, default: &str| {
            env.path(variable)
                .or_else(|| user.as_ref().map(|home| home.join(default)))
                .map(|dir| dir.join("crewboss"))
        };
        let home_missing = || {
            Fail::usage("neither HOME nor CREWBOSS_HOME is set")
                .hint("set CREWBOSS_HOME to the folder that is to hold the store")
        };
        let own = env
            .get("CREWBOSS_HOME")
            .map(|path| env.directory().join(path));
        let state = own.as_ref().map(|home| home.join("state"));
        let home = own
            .clone()
            .or_else(|| below("XDG_DATA_HOME", ".local/share"));
        let config = below("XDG_CONFIG_HOME", ".config").or_else(|| own.clone());
        let (project, found_by) = find_project(env, project)?;
        Ok(Self {
            home: home.ok_or_else(home_missing)?,
            state: state
                .or_else(|| below("XDG_STATE_HOME", ".local/state"))
                .ok_or_else(home_missing)?,
            user_config: config.ok_or_else(home_missing)?.join("config.toml"),
            project,
            found_by,
            layout: None,
            server: None,
        })
    }

    /// The store's file.
    #[must_use]
    pub(crate) fn store_file(&self) -> PathBuf {
        self.home.join("crewboss.db")
    }

    /// Tells processes of this store's sessions from those of other stores on the machine: the
    /// first 8 bytes of the SHA-256 of the home's real path, in hexadecimal digits.
    #[must_use]
    pub(crate) fn realm(&self) -> String {
        let path = real(&self.home);
        let mut hash = Sha256::new().chain_update(path.as_os_str().as_encoded_bytes());
        if let Some(server) = &self.server {
            hash.update([0]);
            hash.update(server.target.identity());
        }
        let hash = hash.finalize();
        hash.iter().take(8).fold(String::new(), |mut text, byte| {
            text.extend(
                [byte >> 4, byte & 15]
                    .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
            );
            text
        })
    }

    /// Which node this home is.
    #[must_use]
    pub(crate) fn node_file(&self) -> PathBuf {
        self.home.join("node")
    }

    /// Where a daemon listens.
    #[must_use]
    pub(crate) fn daemon_socket(&self) -> PathBuf {
        self.home.join(self.of_store("daemon", "sock"))
    }

    /// What only one daemon can hold.
    #[must_use]
    pub(crate) fn daemon_lock(&self) -> PathBuf {
        self.home.join(self.of_store("daemon", "lock"))
    }

    /// The name of a file that belongs to the store: each of several has its own daemon.
    fn of_store(&self, stem: &str, extension: &str) -> String {
        match &self.server {
            None => format!("{stem}.{extension}"),
            Some(server) => format!("{stem}-{}.{extension}", server.name()),
        }
    }

    /// The store, as people are told of it.
    #[must_use]
    pub(crate) fn store_name(&self) -> String {
        match &self.server {
            None => self.store_file().display().to_string(),
            Some(server) => server.target.to_string(),
        }
    }

    /// Where runners are reached.
    #[must_use]
    pub(crate) fn run_directory(&self) -> PathBuf {
        self.home.join("run")
    }

    /// The project's `.crewboss/`.
    #[must_use]
    pub(crate) fn project_folder(&self) -> PathBuf {
        if self.layout.is_some() {
            return self.home.clone();
        }
        self.project.join(PROJECT_FOLDER)
    }

    /// The project's configuration.
    #[must_use]
    pub(crate) fn project_config(&self) -> PathBuf {
        self.project_folder().join("config.toml")
    }

    /// The project's directory as the store names it.
    pub(crate) fn root(&self) -> Result<&str, Fail> {
        self.project.to_str().ok_or_else(|| {
            let shown = self.project.display();
            Fail::usage(format!("the project's path `{shown}` is not UTF-8"))
        })
    }

    /// What people call the project.
    pub(crate) fn project_name(&self) -> String {
        self.project.file_name().map_or_else(
            || "/".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }
}

fn find_project(env: &Environment, asked: Option<&Path>) -> Result<(PathBuf, FoundBy), Fail> {
    let asked = asked
        .map(Path::to_owned)
        .or_else(|| env.get("CREWBOSS_PROJECT").map(Into::into));
    if let Some(asked) = asked {
        let path = env.directory().join(&asked);
        let found = path.canonicalize().map_err(|error| {
            Fail::caused(
                Exit::NotFound,
                format!("no project at {}", asked.display()),
                &error,
            )
        })?;
        if !found.is_dir() {
            return Err(Fail::usage(format!("{} is no folder", asked.display())));
        }
        return Ok((found, FoundBy::Asked));
    }
    let start = env
        .directory()
        .canonicalize()
        .map_err(|error| Fail::io("the current folder cannot be used", &error))?;
    let holds = |marker: &'static str| {
        start
            .ancestors()
            .find(|dir| dir.join(marker).exists())
            .map(Path::to_owned)
    };
    if let Some(dir) = start
        .ancestors()
        .find(|dir| dir.join(PROJECT_FOLDER).is_dir())
    {
        return Ok((dir.to_owned(), FoundBy::Marker));
    }
    match holds(".git") {
        Some(dir) => Ok((dir, FoundBy::Repository)),
        None => Ok((start, FoundBy::Directory)),
    }
}

/// A path without symbolic links, whether or not all of it exists yet.
fn real(path: &Path) -> PathBuf {
    let known = path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    });
    known.unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, fs};

    use super::*;

    fn at(dir: &Path, variables: &[(&str, &str)]) -> Environment {
        let variables: Vec<(&str, &OsStr)> = variables
            .iter()
            .map(|(k, v)| (*k, OsStr::new(*v)))
            .collect();
        Environment::default().with(dir.to_owned(), &variables)
    }

    #[test]
    fn the_nearest_marker_wins_over_the_repository_above() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let deep = root.join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        let home = [("HOME", "/home/x")];
        let found = Places::find(&at(&deep, &home), None).unwrap();
        assert_eq!(
            (found.project, found.found_by),
            (root.clone(), FoundBy::Repository)
        );
        fs::create_dir(root.join("a/.crewboss")).unwrap();
        let found = Places::find(&at(&deep, &home), None).unwrap();
        assert_eq!(
            (found.project, found.found_by),
            (root.join("a"), FoundBy::Marker)
        );
        let found = Places::find(&at(&deep, &home), Some(Path::new(".."))).unwrap();
        assert_eq!(
            (found.project, found.found_by),
            (root.join("a/b"), FoundBy::Asked)
        );
    }

    #[test]
    fn one_variable_moves_the_store_and_the_worktrees() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Places::find(&at(dir.path(), &[("HOME", "/home/x")]), None).unwrap();
        assert_eq!(
            plain.store_file(),
            Path::new("/home/x/.local/share/crewboss/crewboss.db")
        );
        assert_eq!(plain.state, Path::new("/home/x/.local/state/crewboss"));
        assert_eq!(
            plain.user_config,
            Path::new("/home/x/.config/crewboss/config.toml")
        );
        let own = at(
            dir.path(),
            &[("HOME", "/home/x"), ("CREWBOSS_HOME", "/srv/cb")],
        );
        let own = Places::find(&own, None).unwrap();
        assert_eq!(own.store_file(), Path::new("/srv/cb/crewboss.db"));
        assert_eq!(own.state, Path::new("/srv/cb/state"));
        assert!(Places::find(&at(dir.path(), &[]), None).is_err());
    }
}
