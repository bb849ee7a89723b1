//! Whether the log is what was written: both chains are recomputed, and the first position that is
//! not as it was written is named with what happened to it.
//!
//! Nothing here reads a store or a file. A [`Source`] shows rows as they stand, however wrong they
//! are; memory does not grow with the log.

mod diagnosis;
mod export;
mod head;
mod line;
mod one_stream;
mod streams;
#[cfg(test)]
mod tests;
mod whole;

use std::{collections::BTreeMap, ops::ControlFlow};

use domain::{project::Project, session::SessionEvent, task::TaskEvent};
use serde::Deserialize;

use crate::{
    error::Error,
    event::{self, Entry, Hash, Stream},
};

pub use self::{
    export::export,
    head::Head,
    line::{Line, Opening},
    one_stream::verify_stream,
    whole::{Beginning, verify},
};

/// A row of the log as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its place in the whole log, from 1 unless somebody changed it.
    pub position: i64,
    /// The entry, or why it cannot be read.
    pub entry: Result<Entry, String>,
    /// What the row itself says was the stream's hash before it; only where the source shows a
    /// part of the log.
    pub previous: Option<Hash>,
}

impl Row {
    /// A row that holds what was written.
    #[must_use]
    pub fn of(entry: Entry) -> Self {
        Self {
            position: i64::try_from(entry.position).unwrap_or(i64::MAX),
            entry: Ok(entry),
            previous: None,
        }
    }
}

/// Receives rows one by one, until it has seen enough.
pub type Visit<'v> = &'v mut dyn FnMut(Row) -> ControlFlow<()>;

/// Shows rows.
pub trait Source {
    /// Every row of the log or of one stream, in the order of positions (of one stream: of
    /// sequence numbers).
    fn walk(&self, stream: Option<Stream>, visit: Visit<'_>) -> Result<(), Error>;

    /// The sequence number and hash of the last entry of a stream before a position.
    fn before(&self, stream: Stream, position: i64) -> Result<Option<(u64, Hash)>, Error>;
}

/// Rows in memory, in the order in which they stand.
impl Source for Vec<Row> {
    fn walk(&self, stream: Option<Stream>, visit: Visit<'_>) -> Result<(), Error> {
        let is_wanted = |row: &&Row| match (&row.entry, stream) {
            (Ok(entry), Some(stream)) => entry.stream == stream,
            _ => true,
        };
        let mut rows = self.iter().filter(is_wanted).cloned();
        // Whoever has seen enough says so by breaking off.
        let _seen: ControlFlow<()> = rows.try_for_each(visit);
        Ok(())
    }

    fn before(&self, stream: Stream, position: i64) -> Result<Option<(u64, Hash)>, Error> {
        let earlier = self.iter().filter(|row| row.position < position);
        let of_stream = earlier
            .filter_map(|row| row.entry.as_ref().ok())
            .filter(|entry| entry.stream == stream);
        Ok(of_stream
            .max_by_key(|entry| entry.position)
            .map(|entry| (entry.seq, entry.stream_hash)))
    }
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tampering {
    /// Its row holds something else than was written.
    Edited,
    /// It was not written by Crewboss.
    Inserted,
    /// It stands where another was written.
    Reordered,
    /// It is gone, and later ones are there.
    Deleted,
    /// It is gone with everything behind it.
    Truncated,
    /// The chain is whole and is not the one that a head was signed for.
    Rewritten,
}

impl Tampering {
    /// The word in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Inserted => "inserted",
            Self::Reordered => "reordered",
            Self::Deleted => "deleted",
            Self::Truncated => "truncated",
            Self::Rewritten => "rewritten",
        }
    }
}

/// The first position that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The position.
    pub position: i64,
    /// The last position that the same happened to, where it is known to be more than one.
    pub until: Option<i64>,
    /// What happened.
    pub tampering: Tampering,
    /// How it shows, for people.
    pub evidence: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Entries that are as they were written, up to the first that is not.
    pub entries: u64,
    /// The position of the last of them.
    pub last: u64,
    /// The hash at that position: of the log's chain, or of the stream's.
    pub hash: Hash,
    /// Those whose content was dropped when their task was purged; their hashes are verified.
    pub dropped: u64,
    /// Streams whose contents were dropped and which do not say so further on: the first position of
    /// each.
    pub unexplained: BTreeMap<Stream, u64>,
    /// Those that a newer version wrote in a way that this one does not read; their hashes are
    /// verified.
    pub unknown: u64,
    /// The first of them.
    pub first_unknown: Option<u64>,
    /// Signed heads that the log holds to.
    pub heads: u64,
    /// The position of the last of them.
    pub vouched: Option<u64>,
    /// What is wrong.
    pub fault: Option<Fault>,
}

impl Report {
    fn fault(&mut self, position: i64, tampering: Tampering, evidence: impl Into<String>) {
        self.fault = Some(Fault {
            position,
            until: None,
            tampering,
            evidence: evidence.into(),
        });
    }

    /// At the end: contents that are gone although nobody has purged them.
    fn blame_unexplained(&mut self) {
        let first = self.unexplained.iter().min_by_key(|(_, first)| **first);
        if let (None, Some((stream, first))) = (&self.fault, first) {
            let evidence = format!("its content is gone, and {stream} was never purged");
            let position = i64::try_from(*first).unwrap_or(i64::MAX);
            self.fault(position, Tampering::Edited, evidence);
        }
    }

    /// Notes an entry that is as it was written.
    fn passed(&mut self, entry: &Entry, hash: Hash) {
        self.entries += 1;
        self.last = entry.position;
        self.hash = hash;
        let explains = place(entry).is_some_and(|place| EXPLAINING.contains(&place.kind.as_str()));
        if explains {
            self.unexplained.remove(&entry.stream);
        }
        if entry.dropped.is_some() {
            self.dropped += 1;
            let first = self.unexplained.entry(entry.stream);
            first.or_insert(entry.position);
        } else if !is_known(entry) {
            self.unknown += 1;
            self.first_unknown.get_or_insert(entry.position);
        }
    }
}

/// The types of the events behind which contents may be gone.
const EXPLAINING: [&str; 2] = ["task.purged", "session.purged"];

/// What a header has to say about where its entry stands. What else it says may be of a later
/// version.
#[derive(Debug, Deserialize)]
struct Place {
    stream: Stream,
    seq: u64,
    #[serde(rename = "type")]
    kind: String,
    v: u32,
}

fn place(entry: &Entry) -> Option<Place> {
    serde_json::from_slice(&entry.header).ok()
}

/// Why the header and the row's columns do not say the same; nothing where they do.
fn disagreement(entry: &Entry) -> Option<&'static str> {
    match place(entry) {
        _ if entry.dropped.is_some() && !entry.payload.is_empty() => {
            Some("it has a content and the hash of one that was dropped")
        }
        None => Some("its header cannot be read"),
        Some(place) if place.stream != entry.stream => Some("its header names another stream"),
        Some(place) if place.seq != entry.seq => Some("its header names another sequence number"),
        Some(_) => None,
    }
}

/// Whether this version reads an entry's content.
#[must_use]
pub fn is_known(entry: &Entry) -> bool {
    fn reads<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> bool {
        serde_json::from_slice::<T>(payload).is_ok()
    }
    let Some(place) = place(entry).filter(|place| place.v == event::VERSION) else {
        return false;
    };
    match place.kind.split_once('.') {
        Some(("task", _)) => reads::<TaskEvent>(&entry.payload),
        Some(("session", _)) => reads::<SessionEvent>(&entry.payload),
        Some(("project", "registered" | "joined_by")) => reads::<Project>(&entry.payload),
        Some(("project", "checked_out")) => reads::<domain::node::Checkout>(&entry.payload),
        Some(("audit", "key_rotated")) => reads::<event::KeyRotated>(&entry.payload),
        Some(("daemon", "started")) => reads::<event::DaemonStarted>(&entry.payload),
        Some(("lock", "taken")) => reads::<crate::locks::LockTaken>(&entry.payload),
        Some(("quota", "set")) => reads::<domain::quota::Quota>(&entry.payload),
        Some(("quota", "removed")) => reads::<event::QuotaRemoved>(&entry.payload),
        _ => false,
    }
}
