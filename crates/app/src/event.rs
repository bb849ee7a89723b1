//! The event log's entries: what is hashed, and how entries are chained.
//!
//! The stored bytes are the hashed bytes. An entry's hash covers its header and the hash of its
//! payload, so that a payload may be dropped later and the chain still verifies:
//!
//! - stream hash = SHA-256(previous stream hash · SHA-256(payload) · header)
//! - global hash = SHA-256(previous global hash · position · stream kind · 0 · stream id · seq ·
//!   stream hash), numbers as 8 bytes, big-endian
//!
//! Both chains start from 32 zero bytes.

use std::{fmt, str::FromStr};

use domain::{
    id::{InvalidId, ProjectId, SessionId, TaskId},
    quota::QuotaKey,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{command::Meta, restore::Told};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The version of the form in which contents are written today.
pub const VERSION: u32 = 1;

/// What both chains start from.
pub const GENESIS: Hash = [0; 32];

/// The kind of aggregate that a stream belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamKind {
    /// A project.
    Project,
    /// A task.
    Task,
    /// A session.
    Session,
}

impl StreamKind {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Task => "task",
            Self::Session => "session",
        }
    }
}

/// The stream that an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stream {
    /// The kind of aggregate.
    pub kind: StreamKind,
    /// The number of its id.
    #[serde(with = "number_as_text")]
    pub id: u64,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.kind {
            StreamKind::Project => ProjectId::PREFIX,
            StreamKind::Task => TaskId::PREFIX,
            StreamKind::Session => SessionId::PREFIX,
        };
        write!(f, "{prefix}_{}", self.id)
    }
}

/// A stream goes by the id of its aggregate: `prj_…`, `task_…`, `ses_…`.
impl FromStr for Stream {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (kind, id) = match text.split_once('_') {
            Some((ProjectId::PREFIX, _)) => {
                (StreamKind::Project, text.parse::<ProjectId>()?.number())
            }
            Some((SessionId::PREFIX, _)) => {
                (StreamKind::Session, text.parse::<SessionId>()?.number())
            }
            _ => (StreamKind::Task, text.parse::<TaskId>()?.number()),
        };
        Ok(Self { kind, id })
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// What sort of actor.
    pub kind: ActorKind,
    /// Its name: a user, a session, a host.
    pub id: String,
}

/// What sort of actor did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person at a terminal.
    User,
    /// An agent.
    Agent,
    /// Crewboss itself.
    System,
}

/// Through which door it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// The command line.
    Cli,
    /// The REST interface.
    Rest,
    /// The MCP interface.
    Mcp,
    /// A runner.
    Runner,
    /// The daemon's scheduler.
    Daemon,
    /// Recovery, by whichever process came next.
    System,
}

/// An event that is not in the log yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its project.
    pub project: ProjectId,
    /// Its stream.
    pub stream: Stream,
    /// The name of its type, `task.created`.
    pub kind: &'static str,
    /// The fence under which it was said.
    pub fence: Option<u64>,
    /// Its content as JSON.
    pub payload: Vec<u8>,
}

/// The content of `audit.key_rotated`: heads are signed by another key from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// The id of the key that signed until now.
    pub retired: String,
    /// The id of the key that signs from now on.
    pub current: String,
    /// Its public half, in hexadecimal digits.
    pub public_key: String,
}

/// The content of `quota.removed`; that of `quota.set` is the quota itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaRemoved {
    /// Which.
    pub key: QuotaKey,
}

/// The content of `daemon.started`: what a daemon found of a project when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DaemonStarted {
    /// Sessions whose runners live: they go on.
    pub adopted: u32,
    /// Sessions whose runners had written how they ended: that was applied.
    pub settled: u32,
    /// Sessions that were lost: their tasks are in the queue again.
    pub requeued: u32,
    /// Sessions that cannot be recovered yet.
    pub stuck: u32,
    /// Checkpoints that were cut off: finished, or removed.
    pub checkpoints: u32,
    /// Folders of tasks that were behind.
    pub images: u32,
}

/// Everything about an event but its content. Its JSON is stored and hashed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its project.
    pub project: ProjectId,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The name of its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of its content's form.
    pub v: u32,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Through which door.
    pub door: Door,
    /// The request that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The event that led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation: Option<u64>,
    /// The fence under which it was said.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        with = "optional_number_as_text"
    )]
    pub fence: Option<u64>,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the whole log, from 1.
    pub position: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its place in the stream, from 1.
    pub seq: u64,
    /// The header's JSON, as hashed.
    pub header: Vec<u8>,
    /// The content, as hashed; empty where it was dropped.
    pub payload: Vec<u8>,
    /// The hash in place of a content that was dropped.
    pub dropped: Option<Hash>,
    /// The head of the stream's chain.
    pub stream_hash: Hash,
    /// The head of the log's chain.
    pub global_hash: Hash,
}

/// The ends of the two chains that the next entry continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// The last position in the log, 0 where it is empty.
    pub position: u64,
    /// The last global hash.
    pub global: Hash,
    /// The last sequence number of the stream, 0 where it is new.
    pub seq: u64,
    /// The last hash of the stream.
    pub stream: Hash,
}

/// The entry that says `event` and continues both chains.
#[must_use]
pub fn compose(heads: &Heads, event: NewEvent, meta: &Meta, at: Timestamp) -> Entry {
    let header = Header {
        project: event.project,
        stream: event.stream,
        seq: heads.seq + 1,
        kind: event.kind.to_owned(),
        v: VERSION,
        at,
        actor: meta.actor.clone(),
        door: meta.door,
        correlation: meta.correlation.clone(),
        causation: None,
        fence: event.fence,
    };
    let header = serde_json::to_vec(&header).expect("a header is plain data");
    seal(heads, event.stream, header, event.payload)
}

/// The entry with these bytes that continues both chains.
#[must_use]
pub fn seal(heads: &Heads, stream: Stream, header: Vec<u8>, payload: Vec<u8>) -> Entry {
    let hash = payload_hash(&payload);
    let mut entry = at_the_end(heads, stream, &header, &hash);
    (entry.header, entry.payload) = (header, payload);
    entry
}

/// The same of an event that was written before, whose content may have been dropped since.
#[must_use]
pub fn seal_again(heads: &Heads, told: &Told) -> Entry {
    Entry {
        header: told.header.clone(),
        payload: told.payload.clone(),
        dropped: told.dropped,
        ..at_the_end(heads, told.stream, &told.header, &told.payload_hash())
    }
}

fn at_the_end(heads: &Heads, stream: Stream, header: &[u8], payload_hash: &Hash) -> Entry {
    let (position, seq) = (heads.position + 1, heads.seq + 1);
    let stream_hash = stream_hash(&heads.stream, header, payload_hash);
    Entry {
        position,
        stream,
        seq,
        header: vec![],
        payload: vec![],
        dropped: None,
        global_hash: global_hash(&heads.global, position, stream, seq, &stream_hash),
        stream_hash,
    }
}

impl Entry {
    /// The hash that stands for its content.
    #[must_use]
    pub fn payload_hash(&self) -> Hash {
        self.dropped.unwrap_or_else(|| payload_hash(&self.payload))
    }

    /// Without its content, whose hash stands in its place.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        self.dropped = Some(self.payload_hash());
        self.payload.clear();
        self
    }
}

/// The hash that stands for a content.
#[must_use]
pub fn payload_hash(payload: &[u8]) -> Hash {
    Sha256::digest(payload).into()
}

/// The next hash of a stream's chain.
#[must_use]
pub fn stream_hash(previous: &Hash, header: &[u8], payload_hash: &Hash) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(payload_hash)
        .chain_update(header)
        .finalize()
        .into()
}

/// The next hash of the log's chain; `entry` is the entry's stream hash.
#[must_use]
pub fn global_hash(previous: &Hash, position: u64, stream: Stream, seq: u64, entry: &Hash) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(position.to_be_bytes())
        .chain_update(stream.kind.as_str())
        .chain_update([0])
        .chain_update(stream.id.to_be_bytes())
        .chain_update(seq.to_be_bytes())
        .chain_update(entry)
        .finalize()
        .into()
}

mod number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature is serde's"
    )]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

mod optional_number_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(
        number: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => serializer.collect_str(number),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(D::Error::custom))
            .transpose()
    }
}
