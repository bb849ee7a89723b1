//! Turns rows into the lines of an export.

use std::ops::ControlFlow;

use super::{Line, Source, streams::Streams};
use crate::{
    error::Error,
    event::{Hash, Stream},
};

/// Shows every row as a line: of the whole log or of one stream, from a position on.
///
/// # Errors
/// Where the source cannot be read, at the first row that is none that Crewboss wrote, and what
/// `write` answers.
pub fn export<E: From<Error>>(
    source: &dyn Source,
    stream: Option<Stream>,
    since: u64,
    write: &mut dyn FnMut(&Line) -> Result<(), E>,
) -> Result<(), E> {
    let mut streams = Streams::default();
    let mut result = Ok(());
    source.walk(stream, &mut |row| {
        if row.position < i64::try_from(since).unwrap_or(i64::MAX) {
            return ControlFlow::Continue(());
        }
        let known = row.entry.as_ref().ok().map(|entry| entry.stream);
        let previous = match known {
            Some(stream) => before(source, &streams, stream, row.position),
            None => Ok(None),
        };
        let line = previous.and_then(|previous| Line::of(row, previous));
        result = line.map_err(E::from).and_then(|line| {
            streams.set(line.stream, line.seq, line.stream_hash);
            write(&line)
        });
        if result.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    result
}

fn before(
    source: &dyn Source,
    streams: &Streams,
    stream: Stream,
    position: i64,
) -> Result<Option<Hash>, Error> {
    let known = match streams.get(stream) {
        Some(known) => Some(known),
        None => source.before(stream, position)?,
    };
    Ok(known.map(|(_, hash)| hash))
}
