//! The process environment, read once.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
};

/// Variables and working directory as they were when the process started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    directory: PathBuf,
}

impl Environment {
    /// What this process was given.
    ///
    /// # Errors
    /// Where the working directory is gone.
    pub(crate) fn read() -> io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os().collect(),
            directory: std::env::current_dir()?,
        })
    }

    /// A variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|v| !v.is_empty())
    }

    /// A variable as text; what is not UTF-8 counts as unset.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(OsStr::to_str)
    }

    /// A variable as an absolute path; a relative one is ignored, as the XDG rules ask.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    }

    /// Where the process was started.
    pub(crate) fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// Everything that is UTF-8, as children get it.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let text = |s: &OsString| s.to_str().map(str::to_owned);
        self.variables
            .iter()
            .filter_map(|(k, v)| Some((text(k)?, text(v)?)))
            .collect()
    }

    /// The same with variables set anew, started elsewhere.
    pub(crate) fn with(mut self, directory: PathBuf, variables: &[(&str, &OsStr)]) -> Self {
        for (name, value) in variables {
            self.variables.insert(OsString::from(name), value.into());
        }
        self.directory = directory;
        self
    }

    /// The same without variables of these beginnings.
    pub(crate) fn without(mut self, prefixes: &[&str]) -> Self {
        let has = |name: &OsString| {
            prefixes
                .iter()
                .any(|p| name.as_encoded_bytes().starts_with(p.as_bytes()))
        };
        self.variables.retain(|name, _| !has(name));
        self
    }
}
