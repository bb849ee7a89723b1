//! A task's events as entries of its log.

use domain::{
    id::{SessionId, TaskId},
    session::{SessionEvent, SessionResult},
    task::TaskEvent,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    error::Error,
    event::{Entry, Header, Stream, StreamKind},
    hex::{hex, unhex},
    ports::{
        journal::{Level, LogEntry, NewEntry},
        store::Reader,
    },
    repair::Standing,
    restore,
};

/// An event with its header and content to the byte as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// Its place in the whole log, from 1.
    pub position: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The header's JSON.
    pub header: String,
    /// The content; empty where it was dropped.
    pub payload: String,
    /// The hash in place of a content that was dropped, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
}

/// What the log keeps of an event: all that is needed to store it again.
#[derive(Serialize)]
struct Data<'a> {
    position: u64,
    stream: Stream,
    seq: u64,
    #[serde(rename = "type")]
    kind: &'a str,
    header: &'a RawValue,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<&'a str>,
}

/// At most `limit` events of a task and of its sessions behind a position, in the order of their
/// positions.
pub(crate) fn events_of(
    reader: &dyn Reader,
    task: TaskId,
    after: u64,
    limit: usize,
) -> Result<Vec<EventRecord>, Error> {
    let stream = |kind, id| Stream { kind, id };
    let mut streams = vec![stream(StreamKind::Task, task.number())];
    let sessions = reader.sessions_of(task)?;
    streams.extend(
        sessions
            .iter()
            .map(|session| stream(StreamKind::Session, session.id.number())),
    );
    let mut entries = Vec::new();
    for stream in streams {
        entries.extend(reader.events(Some(stream), after, limit)?);
    }
    entries.sort_by_key(|entry| entry.position);
    entries.truncate(limit);
    entries.into_iter().map(record).collect()
}

/// At most `limit` events of a stream behind a position.
pub(crate) fn events_of_stream(
    reader: &dyn Reader,
    stream: Stream,
    after: u64,
    limit: usize,
) -> Result<Vec<EventRecord>, Error> {
    let entries = reader.events(Some(stream), after, limit)?;
    entries.into_iter().map(record).collect()
}

fn record(entry: Entry) -> Result<EventRecord, Error> {
    let position = entry.position;
    let text = |bytes: Vec<u8>| {
        String::from_utf8(bytes).map_err(|_| Error::Corrupt {
            message: format!("event {position} is not text"),
        })
    };
    Ok(EventRecord {
        position,
        stream: entry.stream,
        seq: entry.seq,
        header: text(entry.header)?,
        payload: text(entry.payload)?,
        dropped: entry.dropped.map(|hash| hex(&hash)),
    })
}

/// The log's entry of an event; the same for the same event at any time.
pub fn entry(event: &EventRecord) -> Result<NewEntry, Error> {
    let corrupt = |what: &str, error: &dyn std::fmt::Display| Error::Corrupt {
        message: format!("the {what} of event {}: {error}", event.position),
    };
    let header: Header =
        serde_json::from_str(&event.header).map_err(|error| corrupt("header", &error))?;
    let (level, message) = sentence(event, &header.kind);
    let data = Data {
        position: event.position,
        stream: event.stream,
        seq: event.seq,
        kind: &header.kind,
        header: &one_line(&event.header).map_err(|error| corrupt("header", &error))?,
        payload: &one_line(&event.payload).map_err(|error| corrupt("content", &error))?,
        dropped: event.dropped.as_deref(),
    };
    let data = to_raw_value(&data).map_err(|error| corrupt("content", &error))?;
    Ok(NewEntry {
        at: header.at,
        level,
        message,
        data: Some(data),
        position: Some(event.position),
    })
}

/// The event that an entry of a log tells of; `None` where it tells of none.
#[must_use]
pub fn standing(entry: &LogEntry) -> Option<Standing> {
    let data: Told<'_> = serde_json::from_str(entry.data.as_deref()?.get()).ok()?;
    Some(Standing {
        entry: entry.seq,
        position: data.position,
        told: restore::Told {
            stream: data.stream,
            seq: data.seq,
            header: stored(data.header)?,
            payload: stored(data.payload)?,
            dropped: match data.dropped {
                Some(digits) => Some(unhex(&digits).ok()?),
                None => None,
            },
        },
    })
}

/// What a log keeps of an event, as it is read.
#[derive(Deserialize)]
struct Told<'a> {
    position: u64,
    stream: Stream,
    seq: u64,
    #[serde(borrow)]
    header: &'a RawValue,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(default)]
    dropped: Option<String>,
}

/// The stored bytes of what [`one_line`] wrote.
fn stored(raw: &RawValue) -> Option<Vec<u8>> {
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).ok()?;
        return Some(text.into_bytes());
    }
    Some(raw.get().as_bytes().to_vec())
}

/// Stored JSON as it is. What is no JSON any more, or more than one line, is kept as a string.
fn one_line(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    let is_plain = text.starts_with('{') && !text.contains(['\n', '\r']);
    match RawValue::from_string(text.to_owned()) {
        Ok(raw) if is_plain && raw.get() == text => Ok(raw),
        _ => to_raw_value(text),
    }
}

fn sentence(event: &EventRecord, kind: &str) -> (Level, String) {
    let known = match event.stream.kind {
        StreamKind::Task => serde_json::from_str(&event.payload)
            .ok()
            .map(|event| of_task(&event)),
        StreamKind::Session => {
            let id = SessionId::from_number(event.stream.id);
            let told = serde_json::from_str(&event.payload).ok();
            id.zip(told).map(|(id, told)| {
                let (level, text) = of_session(&told);
                (level, format!("session {id} {text}"))
            })
        }
        StreamKind::Project => None,
    };
    known.unwrap_or_else(|| (Level::Info, kind.to_owned()))
}

fn of_task(event: &TaskEvent) -> (Level, String) {
    match event {
        TaskEvent::Created { task } => (
            Level::Info,
            format!("created for {}: {}", task.spec.agent, task.spec.name),
        ),
        TaskEvent::Restated { .. } => (
            Level::Warn,
            "known again from its state.json, events of it are lost".to_owned(),
        ),
        TaskEvent::Claimed { session, .. } => {
            (Level::Info, format!("claimed by session {session}"))
        }
        TaskEvent::Attached { session, .. } => (Level::Info, format!("session {session} attached")),
        TaskEvent::Detached { session } => (Level::Info, format!("session {session} detached")),
        TaskEvent::Requeued { counts, .. } => {
            let why = if *counts {
                ", its session was lost"
            } else {
                ""
            };
            (Level::Warn, format!("back to the queue{why}"))
        }
        TaskEvent::Completed => (Level::Info, "completed".to_owned()),
        TaskEvent::Failed { failure } => (
            Level::Error,
            format!("failed ({}): {}", failure.reason.as_str(), failure.message),
        ),
        TaskEvent::Cancelled => (Level::Info, "cancelled".to_owned()),
        TaskEvent::Retried { by } => (Level::Warn, format!("tried again by {by}")),
        TaskEvent::LimitsChanged { .. } => (Level::Info, "limits changed".to_owned()),
        TaskEvent::Archived => (Level::Info, "archived".to_owned()),
        TaskEvent::Restored => (Level::Info, "back from the archive".to_owned()),
        TaskEvent::Checkpointed { checkpoint, .. } => {
            (Level::Info, format!("kept as checkpoint {checkpoint}"))
        }
        TaskEvent::Rewound { continues, .. } => {
            let id = continues.checkpoint.map(|id| format!(" checkpoint {id}"));
            (
                Level::Warn,
                format!("goes back to{}", id.unwrap_or_default()),
            )
        }
        TaskEvent::PaperKept { paper, .. } => {
            (Level::Info, format!("{}.md was written", paper.as_str()))
        }
        TaskEvent::Deleted => (Level::Info, "deleted".to_owned()),
        TaskEvent::Undeleted { .. } => (Level::Info, "brought back".to_owned()),
        TaskEvent::Purged { .. } => (Level::Info, "purged".to_owned()),
    }
}

fn of_session(event: &SessionEvent) -> (Level, String) {
    match event {
        SessionEvent::Created { session } => {
            (Level::Info, format!("was made for {}", session.agent))
        }
        SessionEvent::Begun { .. } => (Level::Info, "has begun".to_owned()),
        SessionEvent::Prepared { .. } => (Level::Info, "has its workspace".to_owned()),
        SessionEvent::Launched { .. } => (Level::Info, "runs its agent".to_owned()),
        SessionEvent::Verifying { .. } => (Level::Info, "runs its gates".to_owned()),
        SessionEvent::StopRequested { .. } => (Level::Info, "was told to stop".to_owned()),
        SessionEvent::DeadlineMoved { .. } => (Level::Info, "has another deadline".to_owned()),
        SessionEvent::Finished { outcome } => match &outcome.result {
            SessionResult::Failed { failure } | SessionResult::TimedOut { failure } => (
                Level::Error,
                format!("failed ({}): {}", failure.reason.as_str(), failure.message),
            ),
            SessionResult::Completed | SessionResult::Cancelled | SessionResult::Stopped => {
                (Level::Info, "has ended".to_owned())
            }
        },
        SessionEvent::Orphaned { why } => (Level::Warn, format!("was lost: {why}")),
        SessionEvent::Purged { .. } => (Level::Info, "was purged".to_owned()),
    }
}
