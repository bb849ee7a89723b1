//! Walks one stream by itself, in the order of its sequence numbers.

use std::ops::ControlFlow;

use super::{Fault, Report, Row, Source, Tampering, disagreement};
use crate::{
    error::Error,
    event::{self, Entry, GENESIS, Hash, Stream},
};

/// Recomputes the chain of one stream. What is cut off its end, and how its entries lie among
/// those of others, is not to be seen from it alone.
///
/// # Errors
/// Only where the source cannot be read; what is wrong with the stream is in the report.
pub fn verify_stream(source: &dyn Source, stream: Stream) -> Result<Report, Error> {
    let mut walk = Walk::default();
    source.walk(Some(stream), &mut |row| walk.take(row))?;
    Ok(walk.end())
}

#[derive(Debug, Default)]
struct Walk {
    seq: u64,
    hash: Option<Hash>,
    report: Report,
    /// A row that is not as it was written, until more is known.
    suspect: Option<Row>,
}

impl Walk {
    fn take(&mut self, row: Row) -> ControlFlow<()> {
        if let Some(suspect) = &self.suspect {
            let fault = self.told(suspect, &row);
            let is_told = fault.is_some();
            self.report.fault = fault;
            return if is_told {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        let entry = match &row.entry {
            Ok(entry) => entry,
            Err(why) => {
                self.report
                    .fault(row.position, Tampering::Edited, why.clone());
                return ControlFlow::Break(());
            }
        };
        let previous = self.before(entry, &row);
        if let Some(fault) = self.plain_fault(&row, entry) {
            self.report.fault = Some(fault);
            return ControlFlow::Break(());
        }
        if !holds(entry, &previous) {
            self.suspect = Some(row);
            return ControlFlow::Continue(());
        }
        self.seq = entry.seq;
        self.hash = Some(entry.stream_hash);
        self.report.passed(entry, entry.stream_hash);
        ControlFlow::Continue(())
    }

    /// The stream's hash before an entry: a part of a stream says it for its first.
    fn before(&self, entry: &Entry, row: &Row) -> Hash {
        match (self.hash, row.previous) {
            (Some(hash), _) => hash,
            (None, Some(hash)) if entry.seq > 1 => hash,
            (None, _) => GENESIS,
        }
    }

    /// What is wrong without a look at any hash.
    fn plain_fault(&self, row: &Row, entry: &Entry) -> Option<Fault> {
        let fault = |tampering, evidence: String| Fault {
            position: row.position,
            until: None,
            tampering,
            evidence,
        };
        if let Some(why) = disagreement(entry) {
            return Some(fault(Tampering::Edited, why.to_owned()));
        }
        let is_part = self.hash.is_none() && row.previous.is_some();
        if entry.seq != self.seq + 1 && !is_part {
            let evidence = format!(
                "number {} of the stream stands where {} comes next",
                entry.seq,
                self.seq + 1
            );
            return Some(fault(Tampering::Deleted, evidence));
        }
        if entry.position <= self.report.last {
            let evidence = format!("it stands before position {}", self.report.last);
            return Some(fault(Tampering::Reordered, evidence));
        }
        None
    }

    /// What the row right behind remembers of a suspect.
    fn told(&self, suspect: &Row, next: &Row) -> Option<Fault> {
        let (Ok(entry), Ok(later)) = (&suspect.entry, &next.entry) else {
            return None;
        };
        let fault = |evidence: &str| Fault {
            position: suspect.position,
            until: None,
            tampering: Tampering::Edited,
            evidence: evidence.to_owned(),
        };
        if holds(later, &entry.stream_hash) {
            return Some(fault("its header or content was changed"));
        }
        let previous = self.before(entry, suspect);
        if holds(later, &own_hash(entry, &previous)) {
            return Some(fault("its hash in the stream's chain was changed"));
        }
        let fits = holds(later, &previous);
        fits.then(|| Fault {
            position: suspect.position,
            until: None,
            tampering: Tampering::Reordered,
            evidence: format!(
                "the entry that was written here stands at position {}",
                next.position
            ),
        })
    }

    fn end(mut self) -> Report {
        if let (Some(suspect), None) = (self.suspect, &self.report.fault) {
            let evidence = "its header, its content or its hash in the stream's chain was changed";
            self.report
                .fault(suspect.position, Tampering::Edited, evidence);
        }
        self.report.blame_unexplained();
        self.report
    }
}

fn own_hash(entry: &Entry, previous: &Hash) -> Hash {
    event::stream_hash(previous, &entry.header, &entry.payload_hash())
}

fn holds(entry: &Entry, previous: &Hash) -> bool {
    entry.stream_hash == own_hash(entry, previous)
}
