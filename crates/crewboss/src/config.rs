//! Configuration: defaults, then the user's file, the project's file, the environment, and flags.
//! Every value knows where it came from, and an unknown key is an error that names its place.

mod edit;
mod file;
mod settings;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use domain::{
    agent::{AgentConfig, AgentName},
    gate::GateSpec,
};

pub(crate) use self::{
    edit::{commented_default, replace, set_value},
    settings::{KEYS, Key, Settings},
    value::Raw,
};
use crate::{environment::Environment, fail::Fail, output::Output, places::Places};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody set it.
    Default,
    /// A file and its line.
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The configuration in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// Everything with a default.
    pub settings: Settings,
    /// `[agents.NAME]`.
    pub agents: BTreeMap<AgentName, AgentConfig>,
    /// `[[gates]]` and `[gates.NAME]`, in the order of the files.
    pub gates: Vec<GateSpec>,
    origins: BTreeMap<String, Origin>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// Variables that other services of this kind go by.
const OTHER_VARIABLES: &[(&str, &str)] = &[
    ("MAX_CONCURRENT_SESSIONS", "serve.max_sessions"),
    ("SESSION_TIMEOUT_SECONDS", "serve.session_timeout_seconds"),
];

impl Config {
    /// Reads every layer. `flags` are `KEY=VALUE`.
    ///
    /// # Errors
    /// The first wrong key or value, by file and line.
    pub(crate) fn load(env: &Environment, places: &Places, flags: &[String]) -> Result<Self, Fail> {
        let mut config = Self::default();
        for path in [places.user_config.clone(), places.project_config()] {
            config.read_file(&path)?;
        }
        config.read_environment(env)?;
        for flag in flags {
            config.read_flag(flag)?;
        }
        Ok(config)
    }

    /// Where a key's value came from.
    pub(crate) fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }

    /// Says what was read.
    pub(crate) fn report(&self, out: &Output) {
        if self.files.is_empty() {
            return out.debug("configuration loaded: defaults, no file");
        }
        let files: Vec<String> = self.files.iter().map(|p| p.display().to_string()).collect();
        out.debug(format_args!("configuration loaded: {}", files.join(", ")));
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Fail> {
        let Some(text) = file::read(path)? else {
            return Ok(());
        };
        file::apply(self, path, &text)?;
        self.files.push(path.to_owned());
        Ok(())
    }

    fn read_environment(&mut self, env: &Environment) -> Result<(), Fail> {
        for (name, key) in OTHER_VARIABLES {
            self.read_variable(env, (*name).to_owned(), key)?;
        }
        for key in KEYS {
            let name = format!(
                "CREWBOSS_{}",
                key.name.replace('.', "_").to_ascii_uppercase()
            );
            self.read_variable(env, name, key.name)?;
        }
        Ok(())
    }

    fn read_variable(&mut self, env: &Environment, name: String, key: &str) -> Result<(), Fail> {
        let Some(text) = env.text(&name) else {
            return Ok(());
        };
        let raw = Raw::of_text(text);
        let problem = |problem| Fail::usage(format!("{name}: {problem}"));
        self.settings.assign(key, &raw).map_err(problem)?;
        let origin = match env.file_of(&name) {
            Some((path, line)) => Origin::File {
                path: path.clone(),
                line: *line,
            },
            None => Origin::Environment(name),
        };
        self.origins.insert(key.to_owned(), origin);
        Ok(())
    }

    fn read_flag(&mut self, flag: &str) -> Result<(), Fail> {
        let Some((name, text)) = flag.split_once('=') else {
            return Err(Fail::usage(format!("--config {flag}: expected KEY=VALUE")));
        };
        let key = find_key(name.trim())?;
        if key.name == STORE_URL {
            return Err(Fail::usage(format!(
                "{STORE_URL} holds a password and every process can read a command line: set it in \
                 a file, or by CREWBOSS_STORE"
            )));
        }
        self.settings
            .assign(key.name, &Raw::of_text(text.trim()))
            .map_err(|problem| Fail::usage(format!("--config {}: {problem}", key.name)))?;
        self.origins.insert(key.name.to_owned(), Origin::Flag);
        Ok(())
    }
}

/// The key that says where the store is.
pub(crate) const STORE_URL: &str = "store.url";

/// A value as it may be shown: an address without its password.
pub(crate) fn shown(key: &Key, value: Option<Raw>) -> Option<Raw> {
    match value {
        Some(Raw::Text(text)) if key.name == STORE_URL => {
            Some(Raw::Text(crate::stores::masked(&text)))
        }
        value => value,
    }
}

/// The key of a name.
///
/// # Errors
/// Names the nearest where there is none.
pub(crate) fn find_key(name: &str) -> Result<&'static Key, Fail> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let fail = Fail::usage(format!(
            "unknown configuration key `{}`",
            name.escape_debug()
        ));
        match nearest(name, KEYS.iter().map(|key| key.name)) {
            Some(near) => fail.hint(format!("did you mean `{near}`?")),
            None => fail.hint("`crewboss config show` lists every key"),
        }
    })
}

/// The candidate that differs least, if it is near.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
