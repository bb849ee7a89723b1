//! Who commits.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use app::ports::workspaces::WorkspaceError;

use crate::git::Call;

/// The name and address that commits are made with.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    name: Vec<u8>,
    email: Vec<u8>,
}

impl Identity {
    /// The user's configured one, else Crewboss's own.
    pub(crate) fn configured(call: Call<'_>) -> Result<Self, WorkspaceError> {
        let ask = ["config", "--null", "--get-regexp", "^user\\.(name|email)$"];
        let output = call.args(ask).accept(&[0, 1]).run()?;
        Ok(Self::among(output.items()))
    }

    /// The same out of settings as `git config -z` prints them: the key, a line end, the value.
    pub(crate) fn among<S: AsRef<[u8]>>(settings: impl Iterator<Item = S>) -> Self {
        let mut identity = Self {
            name: b"Crewboss".to_vec(),
            email: b"crewboss@localhost".to_vec(),
        };
        for setting in settings {
            let setting = setting.as_ref();
            let value = |key: &[u8]| setting.strip_prefix(key).filter(|value| !value.is_empty());
            if let Some(name) = value(b"user.name\n") {
                identity.name = name.to_vec();
            }
            if let Some(email) = value(b"user.email\n") {
                identity.email = email.to_vec();
            }
        }
        identity
    }

    pub(crate) fn sign<'a>(&self, call: Call<'a>) -> Call<'a> {
        let (name, email) = (
            OsStr::from_bytes(&self.name),
            OsStr::from_bytes(&self.email),
        );
        call.env("GIT_AUTHOR_NAME", name)
            .env("GIT_AUTHOR_EMAIL", email)
            .env("GIT_COMMITTER_NAME", name)
            .env("GIT_COMMITTER_EMAIL", email)
    }
}
