//! Walks the whole log, or a part of it, in the order of positions.

use std::ops::ControlFlow;

use super::{
    Fault, Head, Report, Row, Source, Tampering,
    diagnosis::{Diagnosis, Spot},
    disagreement,
    streams::Streams,
};
use crate::{
    error::Error,
    event::{self, Entry, GENESIS, Hash, Heads},
};

/// Where a log, or a part of one, begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beginning {
    /// The position before its first row.
    pub after: u64,
    /// The hash of the log's chain there.
    pub global: Hash,
}

impl Default for Beginning {
    fn default() -> Self {
        Self {
            after: 0,
            global: GENESIS,
        }
    }
}

/// Recomputes both chains over all rows and holds them against signed heads, whose signatures are
/// the caller's business. `progress` hears how many entries have been read, now and then.
///
/// # Errors
/// Only where the source cannot be read; what is wrong with the log is in the report.
pub fn verify(
    source: &dyn Source,
    beginning: Beginning,
    heads: &[Head],
    progress: &mut dyn FnMut(u64),
) -> Result<Report, Error> {
    let mut heads = heads.to_vec();
    heads.sort_unstable();
    heads.dedup();
    let mut walk = Walk::new(source, beginning, heads);
    if walk.hold_heads().is_break() {
        return Ok(walk.report);
    }
    let mut failed = None;
    source.walk(None, &mut |row| {
        walk.taken += 1;
        if walk.taken.is_multiple_of(4_096) {
            progress(walk.taken);
        }
        walk.take(row).unwrap_or_else(|error| {
            failed = Some(error);
            ControlFlow::Break(())
        })
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(walk.end()),
    }
}

struct Walk<'s> {
    source: &'s dyn Source,
    /// The last position, and the hash there.
    last: (i64, Hash),
    /// The hash before that.
    before_last: Option<Hash>,
    streams: Streams,
    heads: std::iter::Peekable<std::vec::IntoIter<Head>>,
    report: Report,
    diagnosis: Option<Diagnosis>,
    taken: u64,
}

impl<'s> Walk<'s> {
    fn new(source: &'s dyn Source, beginning: Beginning, heads: Vec<Head>) -> Self {
        let after = i64::try_from(beginning.after).unwrap_or(i64::MAX);
        let mut walk = Self {
            source,
            last: (after, beginning.global),
            before_last: None,
            streams: Streams::default(),
            heads: heads.into_iter().peekable(),
            report: Report {
                last: beginning.after,
                hash: beginning.global,
                ..Report::default()
            },
            diagnosis: None,
            taken: 0,
        };
        while walk
            .heads
            .next_if(|head| head.position < beginning.after)
            .is_some()
        {}
        walk
    }

    fn take(&mut self, row: Row) -> Result<ControlFlow<()>, Error> {
        if let Some(diagnosis) = &mut self.diagnosis {
            return Ok(diagnosis.take(&row));
        }
        let expected = self.last.0.saturating_add(1);
        if row.position < expected {
            let evidence = if row.position < 1 {
                "positions begin with 1".to_owned()
            } else {
                format!("it stands behind position {}", self.last.0)
            };
            self.report
                .fault(row.position, Tampering::Inserted, evidence);
            return Ok(ControlFlow::Break(()));
        }
        let entry = match &row.entry {
            Ok(entry) => entry,
            Err(why) if row.position == expected => {
                self.report.fault(expected, Tampering::Edited, why.clone());
                return Ok(ControlFlow::Break(()));
            }
            Err(_) => return Ok(self.suspect(expected, (0, GENESIS), row)),
        };
        let stream = self.stream_before(entry, &row)?;
        if row.position != expected || !self.holds(&row, entry, stream) {
            return Ok(self.suspect(expected, stream, row));
        }
        let hash = entry.global_hash;
        self.streams.set(entry.stream, entry.seq, entry.stream_hash);
        self.before_last = Some(self.last.1);
        self.last = (expected, hash);
        self.report.passed(entry, hash);
        Ok(self.hold_heads())
    }

    /// Where the entry's stream had got to before it.
    fn stream_before(&self, entry: &Entry, row: &Row) -> Result<(u64, Hash), Error> {
        if let Some(known) = self.streams.get(entry.stream) {
            return Ok(known);
        }
        if let Some(known) = self.source.before(entry.stream, row.position)? {
            return Ok(known);
        }
        Ok(match row.previous {
            // The log's chain vouches for the hash that comes of it.
            Some(hash) if entry.seq > 1 => (entry.seq - 1, hash),
            _ => (0, GENESIS),
        })
    }

    fn holds(&self, row: &Row, entry: &Entry, (seq, stream): (u64, Hash)) -> bool {
        let heads = Heads {
            position: entry.position - 1,
            global: self.last.1,
            seq,
            stream,
        };
        let payload_hash = entry.payload_hash();
        let stream_hash = event::stream_hash(&heads.stream, &entry.header, &payload_hash);
        entry.seq == heads.seq + 1
            && row.previous.is_none_or(|hash| hash == heads.stream)
            && entry.stream_hash == stream_hash
            && entry.global_hash
                == event::global_hash(
                    &heads.global,
                    entry.position,
                    entry.stream,
                    entry.seq,
                    &stream_hash,
                )
            && disagreement(entry).is_none()
    }

    fn suspect(&mut self, expected: i64, stream: (u64, Hash), row: Row) -> ControlFlow<()> {
        let spot = Spot {
            position: expected,
            global: self.last.1,
            earlier: self.before_last,
            stream,
        };
        match Diagnosis::begin(spot, row) {
            Ok(fault) => {
                self.blame(fault);
                ControlFlow::Break(())
            }
            Err(diagnosis) => {
                self.diagnosis = Some(*diagnosis);
                ControlFlow::Continue(())
            }
        }
    }

    /// The entry before the one at which it shows may be the one that was changed.
    fn blame(&mut self, fault: Fault) {
        if fault.position == self.last.0 && self.report.entries > 0 {
            self.report.entries -= 1;
            self.report.last -= 1;
            self.report.hash = self.before_last.unwrap_or(GENESIS);
        }
        self.report.fault = Some(fault);
    }

    /// Holds the signed heads of the last position against it.
    fn hold_heads(&mut self) -> ControlFlow<()> {
        let (position, hash) = (self.report.last, self.report.hash);
        while let Some(head) = self.heads.next_if(|head| head.position <= position) {
            if head.global_hash != hash {
                let first = self.report.vouched.map_or(1, |vouched| vouched + 1);
                self.report.fault = Some(Fault {
                    position: i64::try_from(first).unwrap_or(i64::MAX),
                    until: (first < position).then_some(self.last.0),
                    tampering: Tampering::Rewritten,
                    evidence: format!(
                        "the chain is whole, and at position {position} is not what a head was \
                         signed for"
                    ),
                });
                return ControlFlow::Break(());
            }
            self.report.heads += 1;
            self.report.vouched = Some(position);
        }
        ControlFlow::Continue(())
    }

    fn end(mut self) -> Report {
        if let Some(diagnosis) = self.diagnosis.take() {
            let fault = diagnosis.end();
            self.blame(fault);
        }
        if self.report.fault.is_none()
            && let Some(head) = self.heads.last()
        {
            self.report.fault = Some(Fault {
                position: self.last.0.saturating_add(1),
                until: i64::try_from(head.position).ok(),
                tampering: Tampering::Truncated,
                evidence: format!("a head was signed for position {}", head.position),
            });
        }
        self.report.blame_unexplained();
        self.report
    }
}
