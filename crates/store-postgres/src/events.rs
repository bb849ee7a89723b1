//! The log: entries in the order of their positions, chained as a whole and by stream.

use app::{
    error::Error,
    event::{Entry, Hash, Stream, StreamKind},
};
use tokio_postgres::{Row, types::Type};

use crate::{
    ask::{Ask, first},
    row::{Columns as _, int, limit},
};

/// The columns that [`from_row`] reads.
macro_rules! event_columns {
    () => {
        "position, stream_kind, stream_id, seq, header, payload, stream_hash, global_hash, dropped"
    };
}
pub(crate) use event_columns;

pub(crate) fn kind_code(kind: StreamKind) -> i16 {
    match kind {
        StreamKind::Project => 0,
        StreamKind::Task => 1,
        StreamKind::Session => 2,
    }
}

pub(crate) fn kind_of(code: i16) -> Result<StreamKind, Error> {
    match code {
        0 => Ok(StreamKind::Project),
        1 => Ok(StreamKind::Task),
        2 => Ok(StreamKind::Session),
        _ => Err(Error::corrupt("no kind of stream has this number")),
    }
}

/// The end of a stream's chain, where it has one.
pub(crate) fn head(ask: &dyn Ask, stream: Stream) -> Result<Option<(u64, Hash)>, Error> {
    let rows = ask.ask(
        "SELECT seq, stream_hash FROM @events WHERE stream_kind = $1 AND stream_id = $2
         ORDER BY seq DESC LIMIT 1",
        &[
            (&kind_code(stream.kind), Type::INT2),
            (&int(stream.id), Type::INT8),
        ],
    )?;
    first(&rows, |row| Ok((row.number(0)?, row.hash(1)?)))
}

/// At most `rows` entries behind a position, of one stream or of all.
pub(crate) fn after(
    ask: &dyn Ask,
    stream: Option<Stream>,
    after: u64,
    rows: usize,
) -> Result<Vec<Entry>, Error> {
    let (after, rows) = (int(after), limit(rows));
    let found = match stream {
        None => ask.ask(
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM @events WHERE position > $1 ORDER BY position LIMIT $2"
            ),
            &[(&after, Type::INT8), (&rows, Type::INT8)],
        )?,
        Some(stream) => ask.ask(
            concat!(
                "SELECT ",
                event_columns!(),
                " FROM @events WHERE stream_kind = $1 AND stream_id = $2 AND position > $3
                  ORDER BY seq LIMIT $4"
            ),
            &[
                (&kind_code(stream.kind), Type::INT2),
                (&int(stream.id), Type::INT8),
                (&after, Type::INT8),
                (&rows, Type::INT8),
            ],
        )?,
    };
    found.iter().map(from_row).collect()
}

fn from_row(row: &Row) -> Result<Entry, Error> {
    let dropped: Option<&[u8]> = row.value(8)?;
    Ok(Entry {
        position: row.number(0)?,
        stream: Stream {
            kind: kind_of(row.value(1)?)?,
            id: row.number(2)?,
        },
        seq: row.number(3)?,
        header: row.value(4)?,
        payload: row.value(5)?,
        stream_hash: row.hash(6)?,
        global_hash: row.hash(7)?,
        dropped: dropped.map(|_| row.hash(8)).transpose()?,
    })
}
