//! The log as it stands in the table, for whoever verifies or exports it: nothing in a row is
//! believed, and no other process is kept from writing.

use std::sync::Arc;

use app::{
    audit::{Head, Row, Source, Visit},
    error::Error,
    event::{Entry, Hash, Stream},
};
use tokio_postgres::types::Type;

use crate::{
    ask::first,
    events::{self, event_columns},
    link::Param,
    pool::Pool,
    row::{Columns as _, int},
    store::PostgresStore,
};

/// Rows that are read at once, so that no state of the server is held for long.
const PAGE: i64 = 2_000;

/// The log of a store.
#[derive(Debug)]
pub struct PostgresLog {
    readers: Arc<Pool>,
    /// Rows up to here are not shown.
    after: i64,
}

impl PostgresLog {
    /// The log of an open store.
    #[must_use]
    pub fn of(store: &PostgresStore) -> Self {
        Self {
            readers: Arc::clone(store.readers()),
            after: i64::MIN,
        }
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
    /// Where the server cannot be asked, or the last row is none that Crewboss wrote.
    pub fn end(&self) -> Result<Option<Head>, Error> {
        self.head(
            "SELECT position, global_hash FROM @events ORDER BY position DESC LIMIT $1",
            1,
        )
    }

    /// What the log had come to at a position; nothing where there is no such entry.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn at(&self, position: u64) -> Result<Option<Head>, Error> {
        self.head(
            "SELECT position, global_hash FROM @events WHERE position = $1",
            int(position),
        )
    }

    fn head(&self, sql: &'static str, parameter: i64) -> Result<Option<Head>, Error> {
        let rows = self.ask(sql, &[(&parameter, Type::INT8)])?;
        let found = first(&rows, |row| {
            let hash: Vec<u8> = row.value(1)?;
            Ok((row.value::<i64>(0)?, hash))
        })?;
        let Some((position, hash)) = found else {
            return Ok(None);
        };
        let wrong = || Error::corrupt(format!("position {position} of the log holds no hash"));
        Ok(Some(Head {
            position: u64::try_from(position).map_err(|_| wrong())?,
            global_hash: hash.try_into().map_err(|_| wrong())?,
        }))
    }

    fn ask(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, Error> {
        let ask = || self.readers.take()?.link()?.ask(sql, params);
        match ask() {
            Err(Error::Unavailable { .. }) => ask(),
            rows => rows,
        }
    }

    /// Shows a page; says where it ended, nothing where there is no more or enough was seen.
    fn page(
        &self,
        stream: Option<Stream>,
        after: i64,
        visit: Visit<'_>,
    ) -> Result<Option<i64>, Error> {
        let rows = match stream {
            None => self.ask(
                concat!(
                    "SELECT ",
                    event_columns!(),
                    " FROM @events WHERE position > $1 ORDER BY position LIMIT $2"
                ),
                &[(&after, Type::INT8), (&PAGE, Type::INT8)],
            )?,
            Some(stream) => self.ask(
                concat!(
                    "SELECT ",
                    event_columns!(),
                    " FROM @events WHERE stream_kind = $1 AND stream_id = $2 AND seq > $3
                      ORDER BY seq LIMIT $4"
                ),
                &[
                    (&events::kind_code(stream.kind), Type::INT2),
                    (&int(stream.id), Type::INT8),
                    (&after, Type::INT8),
                    (&PAGE, Type::INT8),
                ],
            )?,
        };
        let mut last = after;
        for row in &rows {
            last = row.value(if stream.is_some() { 3 } else { 0 })?;
            if visit(read(row)?).is_break() {
                return Ok(None);
            }
        }
        Ok((crate::row::limit(rows.len()) == PAGE).then_some(last))
    }
}

impl Source for PostgresLog {
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
        let rows = self.ask(
            "SELECT seq, stream_hash FROM @events
             WHERE stream_kind = $1 AND stream_id = $2 AND position < $3
             ORDER BY seq DESC LIMIT 1",
            &[
                (&events::kind_code(stream.kind), Type::INT2),
                (&int(stream.id), Type::INT8),
                (&position, Type::INT8),
            ],
        )?;
        let found = first(&rows, |row| {
            let hash: Vec<u8> = row.value(1)?;
            Ok((row.value::<i64>(0)?, hash))
        })?;
        Ok(found.and_then(|(seq, hash)| Some((u64::try_from(seq).ok()?, hash.try_into().ok()?))))
    }
}

/// A row, however wrong.
fn read(row: &tokio_postgres::Row) -> Result<Row, Error> {
    let position: i64 = row.value(0)?;
    Ok(Row {
        position,
        entry: entry(row, position)?,
        previous: None,
    })
}

fn entry(row: &tokio_postgres::Row, position: i64) -> Result<Result<Entry, String>, Error> {
    let unreadable = |what: &str| Ok(Err(format!("its {what} is none that Crewboss writes")));
    let hash = |index| -> Result<Option<Hash>, Error> {
        let bytes: Vec<u8> = row.value(index)?;
        Ok(bytes.try_into().ok())
    };
    let Ok(kind) = events::kind_of(row.value(1)?) else {
        return unreadable("kind of stream");
    };
    let (id, seq): (i64, i64) = (row.value(2)?, row.value(3)?);
    let (Ok(id), Ok(seq)) = (u64::try_from(id), u64::try_from(seq)) else {
        return unreadable("stream or sequence number");
    };
    let (Some(stream_hash), Some(global_hash)) = (hash(6)?, hash(7)?) else {
        return unreadable("hash");
    };
    let dropped: Option<Vec<u8>> = row.value(8)?;
    let dropped = match dropped.map(Hash::try_from) {
        None => None,
        Some(Ok(hash)) => Some(hash),
        Some(Err(_)) => return unreadable("hash of a dropped content"),
    };
    let Ok(position) = u64::try_from(position) else {
        return unreadable("position");
    };
    Ok(Ok(Entry {
        position,
        stream: Stream { kind, id },
        seq,
        header: row.value(4)?,
        payload: row.value(5)?,
        dropped,
        stream_hash,
        global_hash,
    }))
}
