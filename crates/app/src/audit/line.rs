//! The form of an export: an opening line, then a line for each entry with its bytes as they are
//! stored. Each line says what the stream's chain was before it, so that a part can be verified too.

use serde::{Deserialize, Serialize};

use super::Row;
use crate::{
    error::Error,
    event::{self, Entry, GENESIS, Hash, Stream},
};

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`Opening::SCHEMA`].
    pub schema: String,
    /// 1.
    pub schema_version: u32,
    /// The one stream that was exported, else the whole log was.
    pub stream: Option<String>,
    /// Entries behind this position follow.
    pub after: u64,
    /// The hash of the log's chain at that position.
    #[serde(with = "crate::hex::digits")]
    pub previous_global_hash: Hash,
}

impl Opening {
    /// The name of the form.
    pub const SCHEMA: &'static str = "crewboss.audit_export";

    /// The opening of an export.
    #[must_use]
    pub fn new(stream: Option<Stream>, after: u64, previous_global_hash: Hash) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            schema_version: 1,
            stream: stream.map(|stream| stream.to_string()),
            after,
            previous_global_hash,
        }
    }

    /// Reads a first line.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it opens no export, or one of a later form.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::invalid("export", why);
        let opening: Self = serde_json::from_str(line)
            .map_err(|error| invalid(format!("line 1 does not open an export: {error}")))?;
        if opening.schema != Self::SCHEMA || opening.schema_version != 1 {
            return Err(invalid(format!(
                "line 1 names {} {}, and this program reads {} 1",
                opening.schema,
                opening.schema_version,
                Self::SCHEMA
            )));
        }
        Ok(opening)
    }
}

/// The line of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its place in the log.
    pub position: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream.
    pub seq: u64,
    /// The header, as stored.
    pub header: String,
    /// The content, as stored; nothing where retention has dropped it.
    pub payload: Option<String>,
    /// The SHA-256 of the content.
    #[serde(with = "crate::hex::digits")]
    pub payload_hash: Hash,
    /// The stream's hash before this entry.
    #[serde(with = "crate::hex::digits")]
    pub previous_stream_hash: Hash,
    /// The stream's hash.
    #[serde(with = "crate::hex::digits")]
    pub stream_hash: Hash,
    /// The log's hash.
    #[serde(with = "crate::hex::digits")]
    pub global_hash: Hash,
}

impl Line {
    /// The line of a row; `previous` is the stream's hash before it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the row is none that Crewboss wrote, and so has no line.
    pub fn of(row: Row, previous: Option<Hash>) -> Result<Self, Error> {
        let position = row.position;
        let corrupt = |why: &str| Error::corrupt(format!("position {position}: {why}"));
        let entry = row.entry.map_err(|why| corrupt(&why))?;
        let payload_hash = entry.payload_hash();
        let text = |bytes, what| {
            String::from_utf8(bytes).map_err(|_| corrupt(&format!("its {what} is no text")))
        };
        Ok(Self {
            position: entry.position,
            stream: entry.stream,
            seq: entry.seq,
            payload_hash,
            payload: match entry.dropped {
                Some(_) => None,
                None => Some(text(entry.payload, "content")?),
            },
            header: text(entry.header, "header")?,
            previous_stream_hash: previous.unwrap_or(GENESIS),
            stream_hash: entry.stream_hash,
            global_hash: entry.global_hash,
        })
    }
}

/// A line as a row. One that cannot be read is a row that cannot be read, at the position where it
/// stands.
impl Row {
    /// The row of a line; `expected` is the position that a line that cannot be read has.
    #[must_use]
    pub fn of_line(line: &str, expected: i64) -> Self {
        let unreadable = |position: i64, why: String| Self {
            position,
            entry: Err(why),
            previous: None,
        };
        let line: Line = match serde_json::from_str(line) {
            Ok(line) => line,
            Err(error) => return unreadable(expected, format!("its line cannot be read: {error}")),
        };
        let Ok(position) = i64::try_from(line.position) else {
            return unreadable(expected, "its position is too large".to_owned());
        };
        let dropped = line.payload.is_none().then_some(line.payload_hash);
        let payload = line.payload.unwrap_or_default().into_bytes();
        if dropped.is_none() && event::payload_hash(&payload) != line.payload_hash {
            let why = "its content does not have the hash beside it";
            return unreadable(position, why.to_owned());
        }
        Self {
            position,
            entry: Ok(Entry {
                position: line.position,
                stream: line.stream,
                seq: line.seq,
                header: line.header.into_bytes(),
                payload,
                dropped,
                stream_hash: line.stream_hash,
                global_hash: line.global_hash,
            }),
            previous: Some(line.previous_stream_hash),
        }
    }
}
