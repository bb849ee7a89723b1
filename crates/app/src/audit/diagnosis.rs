//! What happened at the first position that is not as it was written: told from the row itself and
//! from the rows behind it, whose hashes remember what they were chained to.

use std::ops::ControlFlow;

use super::{Fault, Row, Tampering, disagreement, place};
use crate::event::{self, Entry, Hash, Stream};

/// As many entries may have been taken out of one place without a gap and are still told from an
/// edit.
const SHIFT_MAX: u64 = 4_096;

/// What stood before the position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// The position.
    pub(super) position: i64,
    /// The log's hash before it.
    pub(super) global: Hash,
    /// The log's hash before that.
    pub(super) earlier: Option<Hash>,
    /// The last sequence number and hash of the stream of the row that stands there.
    pub(super) stream: (u64, Hash),
}

/// A row whose story is not clear yet.
#[derive(Debug)]
pub(super) struct Diagnosis {
    spot: Spot,
    row: Row,
    /// How many rows were seen behind it.
    seen: u64,
    /// Where the entry stands that was written at the position.
    original_at: Option<i64>,
    /// Whether the row's entry was written further behind.
    is_moved: bool,
    /// What the row right behind it remembers.
    told: Option<Fault>,
    /// The row that was seen last, as its place and hash.
    last: Option<(i64, Hash)>,
    /// Whether any row behind it goes on from the one before.
    is_followed: bool,
}

fn fault(position: i64, tampering: Tampering, evidence: impl Into<String>) -> Fault {
    Fault {
        position,
        until: None,
        tampering,
        evidence: evidence.into(),
    }
}

/// The log's hash of this entry, were it at a position behind this hash.
fn global_at(previous: &Hash, position: i64, entry: &Entry) -> Hash {
    hash_as(previous, position, entry.stream, entry.seq, entry)
}

fn hash_as(previous: &Hash, position: i64, stream: Stream, seq: u64, entry: &Entry) -> Hash {
    event::global_hash(
        previous,
        position.unsigned_abs(),
        stream,
        seq,
        &entry.stream_hash,
    )
}

impl Diagnosis {
    /// The fault, where the row alone shows it; else what has to see the rows behind it.
    pub(super) fn begin(spot: Spot, row: Row) -> Result<Fault, Box<Self>> {
        let known = match &row.entry {
            Ok(entry) if row.position == spot.position => alone(&spot, entry),
            _ => None,
        };
        known.ok_or_else(|| {
            let is_original = |entry: &Entry| fits(&spot, entry);
            let original_at = row
                .entry
                .as_ref()
                .is_ok_and(is_original)
                .then_some(row.position);
            Box::new(Self {
                spot,
                row,
                seen: 0,
                original_at,
                is_moved: false,
                told: None,
                last: None,
                is_followed: false,
            })
        })
    }

    /// Looks at the next row behind it.
    pub(super) fn take(&mut self, next: &Row) -> ControlFlow<()> {
        self.seen += 1;
        let Ok(later) = &next.entry else {
            return ControlFlow::Continue(());
        };
        let here = (next.position, later.global_hash);
        if let Some((at, hash)) = self.last.replace(here) {
            let behind = at.saturating_add(1);
            self.is_followed |= later.global_hash == global_at(&hash, behind, later);
        }
        if self.original_at.is_none() && fits(&self.spot, later) {
            self.original_at = Some(next.position);
            if let Ok(entry) = &self.row.entry {
                let behind = self.spot.position.saturating_add(1);
                self.is_moved |= entry.global_hash == global_at(&later.global_hash, behind, entry);
            }
        }
        if let Ok(entry) = &self.row.entry {
            let places = [next.position, next.position.saturating_add(1)];
            self.is_moved |= places
                .iter()
                .any(|place| entry.global_hash == global_at(&later.global_hash, *place, entry));
        }
        if self.seen == 1 {
            self.told = self.neighbour(later);
        }
        // What was taken out of here may stand somewhere else.
        let is_told = |told: &Fault| told.tampering != Tampering::Deleted;
        let is_clear = self.told.as_ref().is_some_and(is_told)
            || (self.original_at.is_some() && self.is_moved);
        if is_clear {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// What the row right behind remembers of this one.
    fn neighbour(&self, next: &Entry) -> Option<Fault> {
        let Spot {
            position, global, ..
        } = self.spot;
        let entry = self.row.entry.as_ref().ok()?;
        if self.row.position != position {
            return None;
        }
        let behind = position.saturating_add(1);
        let follows = |previous: &Hash, place| next.global_hash == global_at(previous, place, next);
        let is_sound = self.content_holds(entry) && disagreement(entry).is_none();
        if is_sound && follows(&global_at(&global, position, entry), behind) {
            let evidence = "its hash in the log's chain was changed";
            return Some(fault(position, Tampering::Edited, evidence));
        }
        if follows(&entry.global_hash, behind) {
            return Some(match self.spot.earlier {
                Some(_) if is_sound => fault(
                    position.saturating_sub(1),
                    Tampering::Edited,
                    "it was replaced and given hashes of its own: the entry behind it was chained \
                     to another",
                ),
                _ => fault(
                    position,
                    Tampering::Edited,
                    "more than one part of it was changed",
                ),
            });
        }
        let missing = (1..=SHIFT_MAX)
            .find(|shift| follows(&entry.global_hash, behind.saturating_add_unsigned(*shift)))?;
        Some(Fault {
            until: until(position, missing),
            ..fault(
                position,
                Tampering::Deleted,
                format!("{missing} taken out, and those behind moved up"),
            )
        })
    }

    /// Whether header and content are those that the row's hash in its stream stands for.
    fn content_holds(&self, entry: &Entry) -> bool {
        let (seq, previous) = self.spot.stream;
        let payload_hash = entry.payload_hash();
        entry.seq == seq + 1
            && entry.stream_hash == event::stream_hash(&previous, &entry.header, &payload_hash)
    }

    /// The fault, once no row is left.
    pub(super) fn end(self) -> Fault {
        let position = self.spot.position;
        if let (Some(at), true) = (self.original_at, self.has_gap() || self.is_moved) {
            let evidence = format!("the entry that was written here stands at position {at}");
            return fault(position, Tampering::Reordered, evidence);
        }
        if let Some(told) = self.told {
            return told;
        }
        if self.has_gap() {
            let missing = self.row.position.abs_diff(position);
            return Fault {
                until: until(position, missing),
                ..fault(position, Tampering::Deleted, format!("{missing} missing"))
            };
        }
        if let Some(at) = self.original_at {
            let count = at.abs_diff(position);
            return Fault {
                until: until(position, count),
                ..fault(
                    position,
                    Tampering::Inserted,
                    format!("the entry that was written here stands at position {at}"),
                )
            };
        }
        self.by_content()
    }

    fn has_gap(&self) -> bool {
        self.row.position != self.spot.position
    }

    fn by_content(&self) -> Fault {
        let position = self.spot.position;
        let Ok(entry) = &self.row.entry else {
            return fault(position, Tampering::Edited, "its row cannot be read");
        };
        let expected = self.spot.stream.0 + 1;
        if disagreement(entry).is_none() && entry.seq > expected {
            let evidence = format!(
                "{} goes on with {} where {expected} comes next, and those behind moved up",
                entry.stream, entry.seq
            );
            return fault(position, Tampering::Deleted, evidence);
        }
        if self.content_holds(entry) {
            let evidence = "its hash in the log's chain was changed";
            return fault(position, Tampering::Edited, evidence);
        }
        if self.seen == 0 || (self.seen > 1 && !self.is_followed) {
            let evidence = "neither chain leads to it";
            return fault(position, Tampering::Inserted, evidence);
        }
        let evidence = "more than one part of it was changed";
        fault(position, Tampering::Edited, evidence)
    }
}

/// The last of several positions; nothing where there is one.
fn until(first: i64, count: u64) -> Option<i64> {
    (count > 1).then(|| first.saturating_add_unsigned(count - 1))
}

/// Whether an entry is the one that was written at the position.
fn fits(spot: &Spot, entry: &Entry) -> bool {
    entry.global_hash == global_at(&spot.global, spot.position, entry)
}

/// What the row alone shows.
fn alone(spot: &Spot, entry: &Entry) -> Option<Fault> {
    let position = spot.position;
    let edited = |evidence: &str| Some(fault(position, Tampering::Edited, evidence));
    let own = place(entry);
    if fits(spot, entry) {
        // The log's chain vouches for the stream's hash, which the content does not have.
        if let Some(why) = disagreement(entry) {
            return edited(why);
        }
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&entry.payload).is_ok();
        return edited(if is_json || entry.dropped.is_some() {
            "its header or content was changed"
        } else {
            "its content was changed and is no JSON"
        });
    }
    if let Some(own) = own
        && (own.stream, own.seq) != (entry.stream, entry.seq)
        && entry.global_hash == hash_as(&spot.global, position, own.stream, own.seq, entry)
    {
        return edited("its stream or sequence number was changed");
    }
    let payload_hash = entry.payload_hash();
    let content = event::stream_hash(&spot.stream.1, &entry.header, &payload_hash);
    let as_hashed = event::global_hash(
        &spot.global,
        position.unsigned_abs(),
        entry.stream,
        entry.seq,
        &content,
    );
    if entry.global_hash == as_hashed {
        return edited("its hash in the stream's chain was changed");
    }
    let before = position.saturating_sub(1);
    if let Some(earlier) = &spot.earlier
        && entry.global_hash == global_at(earlier, before, entry)
    {
        let evidence = "it has hashes of its own, and the entry behind it was written in its place";
        return Some(fault(before, Tampering::Inserted, evidence));
    }
    None
}
