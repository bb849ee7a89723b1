//! The log as it stands in the file, for whoever verifies or exports it: nothing in a row is
//! believed, and no other process is kept from writing.

use std::path::Path;

use app::{
    audit::{Head, Row, Source, Visit},
    error::Error,
    event::{Entry, Hash, Stream},
};
use rusqlite::{Connection, OptionalExtension as _, params, types::Value};

use crate::{events, failure::Explain as _, row::int, schema};

/// Rows of one read transaction, so that a long walk does not keep the file's own log from being
/// cut.
const PAGE: i64 = 10_000;

const COLUMNS: &str =
    "position, stream_kind, stream_id, seq, header, payload, stream_hash, global_hash";

/// The hash of a dropped content, in the present form and in the first.
const DROPPED: [&str; 2] = ["dropped", "NULL"];

/// The log of a store's file.
#[derive(Debug)]
pub struct SqliteLog {
    connection: Connection,
    /// Rows up to here are not shown.
    after: i64,
    /// What the hash of a dropped content is called.
    dropped: &'static str,
}

impl SqliteLog {
    /// Opens a store for reading its log.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the file cannot be read, or is newer than this program.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (connection, form) = schema::open_reader(path)?;
        Ok(Self {
            connection,
            after: i64::MIN,
            dropped: DROPPED[usize::from(form == schema::Form::Older)],
        })
    }

    /// The same from a position on, where not one stream is asked for.
    #[must_use]
    pub fn since(self, position: u64) -> Self {
        Self {
            after: int(position) - 1,
            ..self
        }
    }

    /// What the log has come to; nothing where it is empty.
    ///
    /// # Errors
    /// Where the file cannot be read, or its last row is none that Crewboss wrote.
    pub fn end(&self) -> Result<Option<Head>, Error> {
        self.head(
            "SELECT position, global_hash FROM events ORDER BY position DESC LIMIT ?1",
            1,
        )
    }

    /// What the log had come to at a position; nothing where there is no such entry.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn at(&self, position: u64) -> Result<Option<Head>, Error> {
        self.head(
            "SELECT position, global_hash FROM events WHERE position = ?1",
            int(position),
        )
    }

    fn head(&self, sql: &str, parameter: i64) -> Result<Option<Head>, Error> {
        let found: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                statement
                    .query_row([parameter], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .explain()?;
        let Some((position, hash)) = found else {
            return Ok(None);
        };
        let wrong = || Error::corrupt(format!("position {position} of the log holds no hash"));
        Ok(Some(Head {
            position: u64::try_from(position).map_err(|_| wrong())?,
            global_hash: hash.try_into().map_err(|_| wrong())?,
        }))
    }

    /// Shows a page; says where it ended, nothing where there is no more or enough was seen.
    fn page(
        &self,
        stream: Option<Stream>,
        after: i64,
        visit: Visit<'_>,
    ) -> Result<Option<i64>, Error> {
        let dropped = self.dropped;
        let sql = match stream {
            None => format!(
                "SELECT {COLUMNS}, {dropped} FROM events WHERE position > ?1 ORDER BY position LIMIT {PAGE}"
            ),
            Some(_) => format!(
                "SELECT {COLUMNS}, {dropped} FROM events INDEXED BY events_of_stream
                 WHERE seq > ?1 AND stream_kind = ?2 AND stream_id = ?3 ORDER BY seq LIMIT {PAGE}"
            ),
        };
        let mut statement = self.connection.prepare_cached(&sql).explain()?;
        let mut rows = match stream {
            None => statement.query(params![after]),
            Some(stream) => {
                let kind = events::kind_code(stream.kind);
                statement.query(params![after, kind, int(stream.id)])
            }
        }
        .explain()?;
        let (mut shown, mut last) = (0, after);
        while let Some(row) = rows.next().explain()? {
            last = row.get(if stream.is_some() { 3 } else { 0 }).explain()?;
            shown += 1;
            if visit(read(row).explain()?).is_break() {
                return Ok(None);
            }
        }
        Ok((shown == PAGE).then_some(last))
    }
}

impl Source for SqliteLog {
    fn walk(&self, stream: Option<Stream>, visit: Visit<'_>) -> Result<(), Error> {
        let mut next = Some(if stream.is_some() {
            i64::MIN
        } else {
            self.after
        });
        while let Some(after) = next {
            next = self.page(stream, after, visit)?;
        }
        Ok(())
    }

    fn before(&self, stream: Stream, position: i64) -> Result<Option<(u64, Hash)>, Error> {
        let found: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached(
                "SELECT seq, stream_hash FROM events INDEXED BY events_of_stream
                 WHERE stream_kind = ?1 AND stream_id = ?2 AND position < ?3
                 ORDER BY seq DESC LIMIT 1",
            )
            .and_then(|mut statement| {
                let kind = events::kind_code(stream.kind);
                statement
                    .query_row(params![kind, int(stream.id), position], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })
                    .optional()
            })
            .explain()?;
        Ok(found.and_then(|(seq, hash)| Some((u64::try_from(seq).ok()?, hash.try_into().ok()?))))
    }
}

/// A row, however wrong.
fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let position: i64 = row.get(0)?;
    Ok(Row {
        position,
        entry: entry(row, position)?,
        previous: None,
    })
}

fn entry(row: &rusqlite::Row<'_>, position: i64) -> rusqlite::Result<Result<Entry, String>> {
    let number = |index| -> rusqlite::Result<Option<u64>> {
        let value: Value = row.get(index)?;
        Ok(match value {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        })
    };
    let bytes = |index| -> rusqlite::Result<Option<Vec<u8>>> {
        let value: Value = row.get(index)?;
        Ok(match value {
            Value::Blob(bytes) => Some(bytes),
            Value::Text(text) => Some(text.into_bytes()),
            _ => None,
        })
    };
    let hash = |index| -> rusqlite::Result<Option<Hash>> {
        Ok(bytes(index)?.and_then(|bytes| bytes.try_into().ok()))
    };
    let kind: Value = row.get(1)?;
    let kind = match kind {
        Value::Integer(code) => events::kind_of(code).ok(),
        _ => None,
    };
    let unreadable = |what: &str| Ok(Err(format!("its {what} is none that Crewboss writes")));
    let Some(kind) = kind else {
        return unreadable("kind of stream");
    };
    let (Some(id), Some(seq)) = (number(2)?, number(3)?) else {
        return unreadable("stream or sequence number");
    };
    let (Some(header), Some(payload)) = (bytes(4)?, bytes(5)?) else {
        return unreadable("header or content");
    };
    let (Some(stream_hash), Some(global_hash)) = (hash(6)?, hash(7)?) else {
        return unreadable("hash");
    };
    let dropped: Value = row.get(8)?;
    let dropped = match dropped {
        Value::Null => None,
        Value::Blob(bytes) => match Hash::try_from(bytes) {
            Ok(hash) => Some(hash),
            Err(_) => return unreadable("hash of a dropped content"),
        },
        _ => return unreadable("hash of a dropped content"),
    };
    let Ok(position) = u64::try_from(position) else {
        return unreadable("position");
    };
    Ok(Ok(Entry {
        position,
        stream: Stream { kind, id },
        seq,
        header,
        payload,
        dropped,
        stream_hash,
        global_hash,
    }))
}
