//! Everything of a store as one file: a tar archive, without compression, of
//!
//! ```text
//! manifest.json        schema, scope, and each file with its size, its lines and its SHA-256
//! projects.jsonl  events.jsonl  tasks.jsonl  chains.jsonl  sessions.jsonl
//! decisions.jsonl  plans.jsonl  gates.jsonl  checkpoints.jsonl
//! ```
//!
//! in this order, each with mode 0600, owner 0 and time 0, so that equal states give equal bytes.

#![warn(missing_docs)]

mod read;
#[cfg(test)]
mod tests;
mod write;

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    read::{Contents, read},
    write::{Digest, Spool},
};

/// The schema of `manifest.json`.
pub const SCHEMA: &str = "crewboss.export";
/// The version of that schema.
pub const SCHEMA_VERSION: u32 = 1;

const MANIFEST: &str = "manifest.json";

/// Why an archive cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file cannot be used.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was being done.
        act: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no archive of ours, or not as it was written.
    #[error("{} is no whole archive: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What an archive is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every project of a store.
    Store,
    /// One project.
    Project,
}

/// `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What it is of.
    pub scope: Scope,
    /// The files, in their order.
    pub files: Vec<FileEntry>,
}

impl Manifest {
    /// How many lines a file has.
    #[must_use]
    pub fn lines(&self, file: &str) -> u64 {
        let known = self.files.iter().find(|entry| entry.path == file);
        known.map_or(0, |entry| entry.lines)
    }
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its lines.
    pub lines: u64,
    /// What its bytes are, in hexadecimal digits.
    pub sha256: String,
}
