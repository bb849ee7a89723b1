//! The log: entries in the order of their positions, chained as a whole and by stream.

use app::{
    command::Meta,
    error::Error,
    event::{self, Entry, GENESIS, Hash, Heads, NewEvent, Stream, StreamKind},
    restore::Told,
};
use domain::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::{
    failure::Explain as _,
    row::{Columns as _, int, limit, unreadable},
};

const COLUMNS: &str =
    "position, stream_kind, stream_id, seq, header, payload, stream_hash, global_hash, dropped";

/// Entries that are rewritten at once.
const DROPPED_AT_ONCE: usize = 500;

pub(crate) fn kind_code(kind: StreamKind) -> i64 {
    match kind {
        StreamKind::Project => 0,
        StreamKind::Task => 1,
        StreamKind::Session => 2,
    }
}

pub(crate) fn kind_of(code: i64) -> rusqlite::Result<StreamKind> {
    match code {
        0 => Ok(StreamKind::Project),
        1 => Ok(StreamKind::Task),
        2 => Ok(StreamKind::Session),
        _ => Err(unreadable(
            1,
            std::io::Error::other("no kind of stream has this number"),
        )),
    }
}

/// Writes an event to the end of both chains; returns its position.
pub(crate) fn append(
    connection: &Connection,
    meta: &Meta,
    event: NewEvent,
    at: Timestamp,
) -> Result<u64, Error> {
    let heads = heads(connection, event.stream)?;
    let entry = event::compose(&heads, event, meta, at);
    insert(connection, &entry)?;
    Ok(entry.position)
}

/// Writes an event with its bytes as they are to the end of both chains.
pub(crate) fn append_again(connection: &Connection, told: &Told) -> Result<Entry, Error> {
    let entry = event::seal_again(&heads(connection, told.stream)?, told);
    insert(connection, &entry)?;
    Ok(entry)
}

fn insert(connection: &Connection, entry: &Entry) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO events (position, stream_kind, stream_id, seq, header, payload,
                                 stream_hash, global_hash, dropped)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                int(entry.position),
                kind_code(entry.stream.kind),
                int(entry.stream.id),
                int(entry.seq),
                entry.header,
                entry.payload,
                entry.stream_hash,
                entry.global_hash,
                entry.dropped,
            ])
        })
        .explain()?;
    Ok(())
}

/// The ends of both chains: the last row of the log, and the last of the stream's index.
fn heads(connection: &Connection, stream: Stream) -> Result<Heads, Error> {
    let global: Option<(u64, Hash)> = connection
        .prepare_cached("SELECT position, global_hash FROM events ORDER BY position DESC LIMIT 1")
        .and_then(|mut statement| {
            statement
                .query_row([], |row| Ok((row.number(0)?, row.get(1)?)))
                .optional()
        })
        .explain()?;
    let last: Option<(u64, Hash)> = connection
        .prepare_cached(
            "SELECT seq, stream_hash FROM events INDEXED BY events_of_stream
             WHERE stream_kind = ?1 AND stream_id = ?2 ORDER BY seq DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            statement
                .query_row(params![kind_code(stream.kind), int(stream.id)], |row| {
                    Ok((row.number(0)?, row.get(1)?))
                })
                .optional()
        })
        .explain()?;
    let (position, global) = global.unwrap_or((0, GENESIS));
    let (seq, stream) = last.unwrap_or((0, GENESIS));
    Ok(Heads {
        position,
        global,
        seq,
        stream,
    })
}

/// At most `rows` entries behind a position, of one stream or of all.
pub(crate) fn after(
    connection: &Connection,
    stream: Option<Stream>,
    after: u64,
    rows: usize,
) -> Result<Vec<Entry>, Error> {
    let (after, rows) = (int(after), limit(rows));
    match stream {
        None => {
            let sql = format!(
                "SELECT {COLUMNS} FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
            );
            let mut statement = connection.prepare_cached(&sql).explain()?;
            statement
                .query_map([after, rows], from_row)
                .and_then(Iterator::collect)
                .explain()
        }
        Some(stream) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM events INDEXED BY events_of_stream
                 WHERE stream_kind = ?1 AND stream_id = ?2 AND position > ?3
                 ORDER BY seq LIMIT ?4"
            );
            let mut statement = connection.prepare_cached(&sql).explain()?;
            let (kind, id) = (kind_code(stream.kind), int(stream.id));
            statement
                .query_map([kind, id, after, rows], from_row)
                .and_then(Iterator::collect)
                .explain()
        }
    }
}

/// Puts the hash of each content of a stream in its place.
pub(crate) fn drop_payloads(connection: &Connection, stream: Stream) -> Result<(), Error> {
    let whole = |after| self::after(connection, Some(stream), after, DROPPED_AT_ONCE);
    let mut after = 0;
    loop {
        let entries = whole(after)?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        after = last.position;
        for entry in entries {
            let entry = entry.without_payload();
            connection
                .prepare_cached("UPDATE events SET payload = x'', dropped = ?2 WHERE position = ?1")
                .and_then(|mut statement| {
                    statement.execute(params![int(entry.position), entry.dropped])
                })
                .explain()?;
        }
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        position: row.number(0)?,
        stream: Stream {
            kind: kind_of(row.get(1)?)?,
            id: row.number(2)?,
        },
        seq: row.number(3)?,
        header: row.get(4)?,
        payload: row.get(5)?,
        stream_hash: row.get(6)?,
        global_hash: row.get(7)?,
        dropped: row.get(8)?,
    })
}
