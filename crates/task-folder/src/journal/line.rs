//! One line of `logs.jsonl`, and the chain that holds lines together.
//!
//! ```text
//! {"timestamp":"…","seq":7,"previous":"…","position":41,"level":"info","message":"…","data":{…},"hash":"…"}
//! ```
//!
//! `previous` stands in the first line of a file only. The hash of a line is the SHA-256 of the 32
//! bytes of the hash before it (zeros before the first line of all), followed by the line's own
//! bytes up to `,"hash"` and a closing brace.

use std::borrow::Cow;

use app::{
    event::Hash,
    hex::{hex, unhex},
    ports::journal::{Level, LogEntry, NewEntry},
};
use domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

const HASH_KEY: &str = ",\"hash\":\"";
/// The digits, a quote and a brace follow the key.
const HASH_TAIL: usize = HASH_KEY.len() + 64 + 2;

/// The fields of a line, borrowed from it.
#[derive(Debug, Serialize, Deserialize)]
struct Fields<'a> {
    timestamp: Timestamp,
    seq: u64,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    previous: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    level: Level,
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// A line that was understood.
#[derive(Debug)]
pub(super) struct Line<'a> {
    fields: Fields<'a>,
    /// What is hashed, but for the closing brace.
    body: &'a [u8],
    pub(super) hash: Hash,
}

impl<'a> Line<'a> {
    /// A line without its end; or what is wrong with it.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("byte {} is not UTF-8", error.valid_up_to() + 1))?;
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        let fields: Fields<'a> =
            serde_json::from_str(text).map_err(|error| format!("it is no entry: {error}"))?;
        let at = line.len().checked_sub(HASH_TAIL);
        let parts = at.and_then(|at| {
            let digits = text
                .get(at..)?
                .strip_prefix(HASH_KEY)?
                .strip_suffix("\"}")?;
            Some((&line[..at], unhex(digits).ok()?))
        });
        let (body, hash) = parts.ok_or_else(|| "it does not end in its hash".to_owned())?;
        Ok(Self { fields, body, hash })
    }

    pub(super) fn seq(&self) -> u64 {
        self.fields.seq
    }

    pub(super) fn at(&self) -> Timestamp {
        self.fields.timestamp
    }

    pub(super) fn level(&self) -> Level {
        self.fields.level
    }

    pub(super) fn position(&self) -> u64 {
        self.fields.position.unwrap_or(0)
    }

    /// The hash before the first line of a file.
    pub(super) fn previous(&self) -> Option<Hash> {
        unhex(self.fields.previous.as_deref()?).ok()
    }

    /// Whether it tells of an event of the store.
    pub(super) fn is_event(&self) -> bool {
        is_event_data(self.fields.data.map_or("", RawValue::get))
    }

    /// The hash that what it says has behind another.
    pub(super) fn owed(&self, previous: &Hash) -> Hash {
        hash(previous, self.body)
    }

    /// Whether its hash continues a chain.
    pub(super) fn follows(&self, previous: &Hash) -> bool {
        self.hash == hash(previous, self.body)
    }

    pub(super) fn entry(&self) -> LogEntry {
        LogEntry {
            timestamp: self.fields.timestamp,
            seq: self.fields.seq,
            position: self.fields.position,
            level: self.fields.level,
            message: self.fields.message.clone().into_owned(),
            data: self.fields.data.map(ToOwned::to_owned),
            hash: self.hash,
        }
    }
}

/// How the data of events begins, and of nothing else that is written.
const EVENT_DATA: &str = "{\"position\":";

/// Whether this is the data of an event.
pub(super) fn is_event_data(data: &str) -> bool {
    data.starts_with(EVENT_DATA)
}

/// Appends the line of an entry to `out`; answers its hash.
pub(super) fn write(
    out: &mut Vec<u8>,
    entry: &NewEntry,
    seq: u64,
    position: u64,
    previous: &Hash,
    is_first: bool,
) -> serde_json::Result<Hash> {
    let start = out.len();
    let fields = Fields {
        timestamp: entry.at,
        seq,
        previous: is_first.then(|| Cow::Owned(hex(previous))),
        position: (position > 0).then_some(position),
        level: entry.level,
        message: Cow::Borrowed(&entry.message),
        data: entry.data.as_deref(),
    };
    serde_json::to_writer(&mut *out, &fields)?;
    out.pop();
    let hash = hash(previous, &out[start..]);
    out.extend_from_slice(HASH_KEY.as_bytes());
    out.extend_from_slice(hex(&hash).as_bytes());
    out.extend_from_slice(b"\"}\n");
    Ok(hash)
}

fn hash(previous: &Hash, body: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(body)
        .chain_update(b"}")
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use app::event::GENESIS;

    use super::*;

    fn entry(data: Option<&str>) -> NewEntry {
        NewEntry {
            at: Timestamp::from_millis(1_700_000_000_000),
            level: Level::Warn,
            message: "say \"hi\"\n".to_owned(),
            data: data.map(|data| RawValue::from_string(data.to_owned()).unwrap()),
            position: None,
        }
    }

    #[test]
    fn a_line_is_as_documented() {
        let mut out = Vec::new();
        let head = write(&mut out, &entry(Some("{\"a\": 1}")), 1, 0, &GENESIS, true).unwrap();
        let text = String::from_utf8(out.clone()).unwrap();
        let body = format!(
            "{{\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"seq\":1,\"previous\":\"{}\",\
             \"level\":\"warn\",\"message\":\"say \\\"hi\\\"\\n\",\"data\":{{\"a\": 1}}",
            "0".repeat(64)
        );
        let documented: Hash = Sha256::digest([&[0; 32], body.as_bytes(), b"}"].concat()).into();
        assert_eq!(documented, head);
        assert_eq!(text, format!("{body},\"hash\":\"{}\"}}\n", hex(&head)));
        let line = Line::parse(&out[..out.len() - 1]).unwrap();
        assert!(line.follows(&GENESIS) && line.previous() == Some(GENESIS));
        assert_eq!(line.entry().data.unwrap().get(), "{\"a\": 1}");
    }

    #[test]
    fn any_flipped_bit_shows() {
        let mut out = Vec::new();
        write(&mut out, &entry(Some("[1,2]")), 7, 41, &[9; 32], false).unwrap();
        out.pop();
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut bad = out.clone();
                bad[at] ^= 1 << bit;
                let is_good = Line::parse(&bad).is_ok_and(|line| line.follows(&[9; 32]));
                assert!(!is_good, "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn warning_is_read_as_warn() {
        let mut out = Vec::new();
        write(&mut out, &entry(None), 1, 0, &GENESIS, false).unwrap();
        let text = String::from_utf8(out)
            .unwrap()
            .replace("\"warn\"", "\"warning\"");
        let line = Line::parse(text.trim_end().as_bytes()).unwrap();
        assert_eq!(line.level(), Level::Warn);
    }
}
