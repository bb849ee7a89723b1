//! Hears of commits, whoever makes them.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
};

use app::error::Error;
use rusqlite::Connection;

use crate::{connection, failure::Explain as _};

/// Values stay exact in JSON.
const BITS: u32 = 52;

/// A connection that is never used for anything but its `data_version`, which counts the commits
/// of all others since it was opened.
#[derive(Debug)]
pub(crate) struct Watcher {
    connection: Connection,
    /// Where it counts from. Each watcher begins elsewhere: what one has counted says nothing about
    /// what another one has, in this process or in the daemon that it asks.
    base: u64,
}

impl Watcher {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            connection: connection::reader(path)?,
            base: RandomState::new().build_hasher().finish(),
        })
    }

    /// Another number after every commit, and than that of any other watcher.
    pub(crate) fn generation(&self) -> Result<u64, Error> {
        let version: i64 = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .explain()?;
        Ok(self.base.wrapping_add(version.unsigned_abs()) & ((1 << BITS) - 1))
    }
}
