//! Signed heads of the log: the Ed25519 key, the file beside the store, and the second place.
//!
//! Both files hold lines of two kinds. A head says what the log's chain had come to; a key line
//! introduces a key, signed by itself and, but for the first, by the key before it. So a file
//! verifies by itself from any one key that is trusted.

#![warn(missing_docs)]

mod files;
mod key;
mod lines;
#[cfg(test)]
mod tests;
mod trust;

use std::{
    io,
    path::{Path, PathBuf},
};

use app::audit::Head;
use domain::time::Timestamp;

use self::{files::Place, key::Key};
pub use self::{
    lines::{KeyLine, SignedHead},
    trust::{BadLine, Gathered, gather},
};

/// Why heads cannot be signed, kept or read.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// A file cannot be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The key's file holds no key, or others may read it.
    #[error("the key {} {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There are heads, and the key that signed them is gone.
    #[error(
        "the key {} is gone, and {} holds heads that it signed",
        key.display(),
        heads.display()
    )]
    KeyLost {
        /// Where the key was.
        key: PathBuf,
        /// Where its heads are.
        heads: PathBuf,
    },
}

impl HeadsError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A head that was written.
#[derive(Debug)]
pub struct Written {
    /// The line.
    pub head: SignedHead,
    /// Why the second place does not hold it. It gets what it lacks with the next head.
    pub second: Result<(), HeadsError>,
}

/// A key that signs from now on.
#[derive(Debug)]
pub struct Rotated {
    /// The id of the key before it.
    pub retired: String,
    /// Its line.
    pub current: KeyLine,
    /// Why the second place does not hold the line. It gets what it lacks with the next head.
    pub second: Result<(), HeadsError>,
}

/// The heads of one store.
#[derive(Debug, Clone)]
pub struct Heads {
    key: PathBuf,
    first: PathBuf,
    second: Option<PathBuf>,
}

impl Heads {
    /// The heads of the store in this folder, kept in a second place too where one is named.
    /// Nothing is made by looking.
    #[must_use]
    pub fn new(home: &Path, second: Option<PathBuf>) -> Self {
        Self {
            key: home.join("keys/audit"),
            first: home.join("audit/heads.jsonl"),
            second,
        }
    }

    /// The file of the key.
    #[must_use]
    pub fn key_file(&self) -> &Path {
        &self.key
    }

    /// Every file that may hold heads.
    #[must_use]
    pub fn files(&self) -> Vec<&Path> {
        let second = self.second.as_deref();
        [Some(self.first.as_path()), second]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The second place.
    #[must_use]
    pub fn second(&self) -> Option<&Path> {
        self.second.as_deref()
    }

    /// The last head that was written, from the end of the file.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn last(&self) -> Result<Option<SignedHead>, HeadsError> {
        Place::new(&self.first).last_head()
    }

    /// The line of the key in use; nothing where none was made yet.
    ///
    /// # Errors
    /// Where it is there and cannot be used.
    pub fn current_key(&self) -> Result<Option<String>, HeadsError> {
        Ok(Key::load(&self.key)?.map(|key| key.id()))
    }

    /// Signs a head and writes it, durably, to both places; makes the key where there is none.
    /// `None` where somebody else is about to and `waits` is not set.
    ///
    /// # Errors
    /// Where nothing was written to the first place.
    pub fn sign(
        &self,
        head: Head,
        at: Timestamp,
        waits: bool,
    ) -> Result<Option<Written>, HeadsError> {
        let Some(_lock) = files::lock(&self.first, waits)? else {
            return Ok(None);
        };
        let key = self.key_or_new(at)?;
        let head = key.sign(head, at);
        let second = self.write(&lines::text(&head))?;
        Ok(Some(Written { head, second }))
    }

    /// Gives the first place another name, by adding `suffix`, so that the next head begins it
    /// anew under the same key. `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be renamed.
    pub fn set_aside(&self, suffix: &str) -> Result<Option<PathBuf>, HeadsError> {
        let _lock = files::lock(&self.first, true)?;
        let mut name = self.first.as_os_str().to_owned();
        name.push(format!(".{suffix}"));
        let aside = PathBuf::from(name);
        match std::fs::rename(&self.first, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HeadsError::io("rename", &self.first)(error)),
        }
    }

    /// Makes another key, introduced by the present one, and uses it from now on.
    ///
    /// # Errors
    /// Where a key or its line cannot be written; the present key then stays in use.
    pub fn rotate(&self, at: Timestamp) -> Result<Rotated, HeadsError> {
        let _lock = files::lock(&self.first, true)?;
        let retired = self.key_or_new(at)?;
        let next = Key::generate()?;
        let line = next.introduce(at, Some(&retired));
        // Known before it is used: whoever signs in between uses the key that is known already.
        let second = self.write(&lines::text(&line))?;
        next.save(&self.key)?;
        Ok(Rotated {
            retired: retired.id(),
            current: line,
            second,
        })
    }

    fn key_or_new(&self, at: Timestamp) -> Result<Key, HeadsError> {
        let place = Place::new(&self.first);
        let key = match Key::load(&self.key)? {
            Some(key) if place.introduces_a_key()? => return Ok(key),
            Some(key) => key,
            None if place.has_lines()? => {
                return Err(HeadsError::KeyLost {
                    key: self.key.clone(),
                    heads: self.first.clone(),
                });
            }
            None => {
                let key = Key::generate()?;
                key.save(&self.key)?;
                key
            }
        };
        // A head whose key is in no line would prove nothing.
        drop(self.write(&lines::text(&key.introduce(at, None)))?);
        Ok(key)
    }

    fn write(&self, line: &str) -> Result<Result<(), HeadsError>, HeadsError> {
        let first = Place::new(&self.first);
        let before = first.length()?;
        first.append(line)?;
        let Some(second) = &self.second else {
            return Ok(Ok(()));
        };
        Ok(Place::new(second).follow(&first, before, line))
    }
}
