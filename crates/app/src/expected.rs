//! What a caller has seen of something before it asks for a change, and what is said where somebody
//! else has changed it since. Nothing is merged and nothing overwritten: the change is refused.

use std::fmt;

use domain::{
    id::{SessionId, TaskId},
    quota::QuotaKey,
    session::{Session, SessionEvent},
    task::{Task, TaskEvent},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    error::Error,
    event::{Entry, Header, Stream, StreamKind},
    ports::store::Reader,
};

/// Something that has to be as the caller has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Expected {
    /// A task of this version.
    Task {
        /// Which.
        id: TaskId,
        /// The version that was seen.
        version: u64,
    },
    /// A session of this version. Renewing its lease makes a new one.
    Session {
        /// Which.
        id: SessionId,
        /// The version that was seen.
        version: u64,
    },
    /// A quota of this version; 0 where there was none.
    Quota {
        /// Which.
        key: QuotaKey,
        /// The version that was seen.
        version: u64,
    },
}

/// A field that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name, as in the documents.
    pub field: String,
    /// What it was in the version that was expected.
    pub expected: Option<String>,
    /// What it is.
    pub found: Option<String>,
}

/// The answer to a change of something that was changed meanwhile. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionConflict {
    /// What was to be changed.
    pub target: String,
    /// The version that the caller has seen.
    pub expected: u64,
    /// The version that it has.
    pub found: u64,
    /// The fields that differ, as far as the log tells.
    pub fields: Vec<Difference>,
    /// The kinds of the events since, oldest first.
    pub events: Vec<String>,
    /// Whether the same change would be taken with the version that was found.
    pub retryable: bool,
    /// Why it would not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

impl fmt::Display for VersionConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, found, expected) = (&self.target, self.found, self.expected);
        write!(f, "{target} has version {found}, not {expected}")?;
        let fields = self.fields.iter().map(|one| one.field.as_str());
        let changed: Vec<&str> = if self.fields.is_empty() {
            self.events.iter().map(String::as_str).collect()
        } else {
            fields.collect()
        };
        if changed.is_empty() {
            return Ok(());
        }
        write!(f, ": {} changed since", changed.join(", "))
    }
}

impl VersionConflict {
    /// The same, with what the change would have come to otherwise.
    ///
    /// # Errors
    /// Where that could not be found out.
    pub(crate) fn judged<T>(mut self, verdict: Result<T, Error>) -> Result<Self, Error> {
        match verdict {
            Ok(_) => self.retryable = true,
            Err(error @ (Error::Unavailable { .. } | Error::Corrupt { .. })) => return Err(error),
            Err(error) => self.why_not = Some(error.to_string()),
        }
        Ok(self)
    }
}

/// The first of these that is not as it was seen.
pub(crate) fn conflict(
    reader: &dyn Reader,
    expected: &[Expected],
) -> Result<Option<VersionConflict>, Error> {
    for one in expected {
        if let Some(conflict) = conflict_of(reader, one)? {
            return Ok(Some(conflict));
        }
    }
    Ok(None)
}

fn conflict_of(reader: &dyn Reader, expected: &Expected) -> Result<Option<VersionConflict>, Error> {
    let bare = |target: String, expected, found| VersionConflict {
        target,
        expected,
        found,
        fields: vec![],
        events: vec![],
        retryable: false,
        why_not: None,
    };
    let conflict = match expected {
        Expected::Task { id, version } => {
            let task = reader.task(*id)?;
            let task = task.ok_or_else(|| Error::not_found("Task", id))?;
            if task.version == *version {
                return Ok(None);
            }
            let (fields, events) = task_since(reader, &task, *version)?;
            VersionConflict {
                fields,
                events,
                ..bare(id.to_string(), *version, task.version)
            }
        }
        Expected::Session { id, version } => {
            let session = reader.session(*id)?;
            let session = session.ok_or_else(|| Error::not_found("Session", id))?;
            if session.version == *version {
                return Ok(None);
            }
            let (fields, events) = session_since(reader, &session, *version)?;
            VersionConflict {
                fields,
                events,
                ..bare(id.to_string(), *version, session.version)
            }
        }
        Expected::Quota { key, version } => {
            let quotas = reader.quotas()?;
            let present = quotas.into_iter().find(|quota| quota.key == *key);
            let found = present.as_ref().map_or(0, |quota| quota.version);
            if found == *version {
                return Ok(None);
            }
            let fields = vec![Difference {
                field: "max".to_owned(),
                // Only the present one is kept.
                expected: None,
                found: present.map(|quota| quota.max.to_string()),
            }];
            VersionConflict {
                fields,
                ..bare(key.to_string(), *version, found)
            }
        }
    };
    Ok(Some(conflict))
}

type Since = (Vec<Difference>, Vec<String>);

/// Each event of a task is one version of it.
fn task_since(reader: &dyn Reader, task: &Task, version: u64) -> Result<Since, Error> {
    let entries = entries(reader, StreamKind::Task, task.id.number())?;
    let newer = task.version.saturating_sub(version);
    let split = entries.len().saturating_sub(count(newer));
    let mut before: Option<Task> = None;
    for entry in &entries[..split] {
        let (header, event) = told::<TaskEvent>(entry)?;
        before = match (event, before) {
            (Some(TaskEvent::Created { task } | TaskEvent::Restated { task }), _) => Some(*task),
            (Some(event), Some(task)) => Some(task.evolve(&event, header.at)),
            (_, before) => before,
        };
    }
    let before = before.filter(|before| before.version == version);
    let fields = before.map_or_else(Vec::new, |before| {
        differences(&task_fields(&before), &task_fields(task))
    });
    Ok((fields, kinds(&entries[split..])?))
}

/// A session has versions without an event, those that renewed its lease: fields that may have
/// changed before the version that was seen are told too.
fn session_since(reader: &dyn Reader, session: &Session, version: u64) -> Result<Since, Error> {
    let entries = entries(reader, StreamKind::Session, session.id.number())?;
    let newer = count(session.version.saturating_sub(version));
    let split = entries
        .len()
        .saturating_sub(newer)
        .max(entries.len().min(1));
    let mut before: Option<Session> = None;
    for entry in &entries[..split] {
        let (header, event) = told::<SessionEvent>(entry)?;
        before = match (event, before) {
            (Some(SessionEvent::Created { session }), _) => Some(*session),
            (Some(event), Some(session)) => Some(session.evolve(&event, header.at)),
            (_, before) => before,
        };
    }
    let fields = before.map_or_else(Vec::new, |before| {
        differences(&session_fields(&before), &session_fields(session))
    });
    Ok((fields, kinds(&entries[split..])?))
}

fn count(versions: u64) -> usize {
    usize::try_from(versions).unwrap_or(usize::MAX)
}

fn entries(reader: &dyn Reader, kind: StreamKind, id: u64) -> Result<Vec<Entry>, Error> {
    reader.events(Some(Stream { kind, id }), 0, usize::MAX >> 1)
}

/// What an entry tells; no content where it was dropped.
fn told<T: DeserializeOwned>(entry: &Entry) -> Result<(Header, Option<T>), Error> {
    let header = header_of(entry)?;
    if entry.dropped.is_some() {
        return Ok((header, None));
    }
    let event =
        serde_json::from_slice(&entry.payload).map_err(|error| unreadable(entry, &error))?;
    Ok((header, Some(event)))
}

fn kinds(entries: &[Entry]) -> Result<Vec<String>, Error> {
    entries
        .iter()
        .map(|entry| header_of(entry).map(|header| header.kind))
        .collect()
}

fn header_of(entry: &Entry) -> Result<Header, Error> {
    serde_json::from_slice(&entry.header).map_err(|error| unreadable(entry, &error))
}

fn unreadable(entry: &Entry, error: &serde_json::Error) -> Error {
    Error::corrupt(format!("event {}: {error}", entry.position))
}

type Field = (&'static str, Option<String>);

fn differences(before: &[Field], now: &[Field]) -> Vec<Difference> {
    let changed = before
        .iter()
        .zip(now)
        .filter(|(one, other)| one.1 != other.1);
    changed
        .map(|((field, expected), (_, found))| Difference {
            field: (*field).to_owned(),
            expected: expected.clone(),
            found: found.clone(),
        })
        .collect()
}

/// Everything of a task that can change, by its name in the documents.
fn task_fields(task: &Task) -> Vec<Field> {
    let text = |value: &dyn fmt::Display| Some(value.to_string());
    let (spec, limits, chain) = (&task.spec, &task.limits, &task.chain);
    let failure = task.failure();
    let sessions: Vec<String> = task.sessions().iter().map(ToString::to_string).collect();
    let continues = spec.continues.as_ref().map(|from| match from.checkpoint {
        Some(checkpoint) => checkpoint.to_string(),
        None => from.session.to_string(),
    });
    vec![
        ("status", text(&task.status().as_str())),
        ("failure", failure.map(|failure| failure.reason.to_string())),
        (
            "sessions",
            Some(sessions.join(",")).filter(|ids| !ids.is_empty()),
        ),
        ("fence", text(&task.fence)),
        ("requeues", text(&task.requeues)),
        (
            "timeout_seconds",
            limits.timeout_seconds.as_ref().and_then(|s| text(s)),
        ),
        (
            "timeout_warning_seconds",
            text(&limits.timeout_warning_seconds),
        ),
        ("retries_max", text(&limits.retries_max)),
        ("auto_retry", text(&limits.auto_retry)),
        (
            "retried_by",
            chain.retried_by.as_ref().and_then(|id| text(id)),
        ),
        ("key", spec.key.as_ref().map(|key| key.as_str().to_owned())),
        ("continues", continues),
        (
            "workspace_mode",
            spec.workspace
                .map(|mode| format!("{mode:?}").to_lowercase()),
        ),
        ("ended_at", task.ended_at().as_ref().and_then(|at| text(at))),
        (
            "archived_at",
            task.archived_at.as_ref().and_then(|at| text(at)),
        ),
        (
            "deleted_at",
            task.deleted_at.as_ref().and_then(|at| text(at)),
        ),
        ("purged_at", task.purged_at.as_ref().and_then(|at| text(at))),
    ]
}

/// Everything of a session that can change, by its name in the documents.
fn session_fields(session: &Session) -> Vec<Field> {
    let text = |value: &dyn fmt::Display| Some(value.to_string());
    let pid = |process: &Option<domain::process::ProcessIdentity>| {
        process.as_ref().map(|process| process.pid.to_string())
    };
    let outcome = session.outcome.as_ref();
    let workspace = session.workspace.as_ref();
    vec![
        ("status", text(&session.status.as_str())),
        ("runner_pid", pid(&session.runner)),
        ("pid", pid(&session.process)),
        (
            "stop",
            session.stop.map(|stop| format!("{stop:?}").to_lowercase()),
        ),
        (
            "deadline",
            session.deadline.as_ref().and_then(|due| text(&due.wall)),
        ),
        ("lease_until", text(&session.lease_until.millis)),
        (
            "started_at",
            session.started_at.as_ref().and_then(|at| text(at)),
        ),
        (
            "ended_at",
            outcome.and_then(|outcome| text(&outcome.ended_at)),
        ),
        (
            "workspace",
            workspace.map(|place| place.path.display().to_string()),
        ),
    ]
}
