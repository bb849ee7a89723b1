//! Identifiers: one parser for every id, so that no path or query is ever built from raw input.
//!
//! An id is 63 bits: 42 of Unix milliseconds and 21 allocated by the inserting transaction as
//! `max(last + 1, now << 21)`. It prints as `<kind>_<digits>` without leading zeros.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// Bits below the millisecond in every id.
const SEQUENCE_BITS: u32 = 21;

/// The number that the next id of a kind gets: time-ordered and larger than `last`.
///
/// `last` is the largest number already given out, 0 if there is none.
#[must_use]
pub fn next_number(last: u64, now: Timestamp) -> u64 {
    let from_clock = now.as_millis().max(0).unsigned_abs() << SEQUENCE_BITS;
    from_clock.max(last + 1)
}

/// How a store numbers its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbering {
    /// As every id: [`next_number`].
    #[default]
    Wide,
    /// By milliseconds alone, 13 digits, as tools of the Agent Orchestrator layout expect.
    Millis,
}

impl Numbering {
    /// The number that the next task gets: time-ordered and larger than `last`.
    #[must_use]
    pub fn next(self, last: u64, now: Timestamp) -> u64 {
        match self {
            Self::Wide => next_number(last, now),
            Self::Millis => now.as_millis().max(0).unsigned_abs().max(last + 1),
        }
    }
}

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The prefix is missing or belongs to another kind.
    #[error("expected an id of the form {expected}_<digits>")]
    Prefix {
        /// The kind that was asked for.
        expected: &'static str,
    },
    /// The part behind the prefix is not a 63-bit decimal number without leading zeros.
    #[error("the digits of a {kind} id are a decimal number without leading zeros, below 2^63")]
    Digits {
        /// The kind that was asked for.
        kind: &'static str,
    },
}

/// Parses the digits of an id: decimal, no sign, no leading zero, 1 to 2^63-1.
fn parse_digits(digits: &str, kind: &'static str) -> Result<u64, InvalidId> {
    let plain = !digits.is_empty()
        && digits.len() <= 19
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse::<u64>() {
        Ok(number) if plain && number < 1 << 63 => Ok(number),
        _ => Err(InvalidId::Digits { kind }),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// The text before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// An id of a number given out by [`next_number`] or read from a store.
            ///
            /// Returns `None` for 0 and for 2^63 and above.
            #[must_use]
            pub fn from_number(number: u64) -> Option<Self> {
                (1..1 << 63).contains(&number).then_some(Self(number))
            }

            /// The number behind the prefix.
            #[must_use]
            pub fn number(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text
                    .strip_prefix(concat!($prefix, "_"))
                    .ok_or(InvalidId::Prefix { expected: $prefix })?;
                parse_digits(digits, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A project: a directory in which agents work.
    ProjectId = "prj";
    /// One piece of work.
    TaskId = "task";
    /// One agent at work on one task.
    SessionId = "ses";
    /// What a task had reached at one time.
    CheckpointId = "ckp";
    /// One request for a lock, from the queue to its release.
    LockId = "lck";
    /// One home of Crewboss among those that share a store.
    NodeId = "node";
}

impl CheckpointId {
    /// An id that is given out by nobody: time-ordered, and as good as unique by its noise.
    #[must_use]
    pub fn at(now: Timestamp, noise: u64) -> Self {
        let from_clock = now.as_millis().max(0).unsigned_abs() << SEQUENCE_BITS;
        let number = (from_clock | (noise & ((1 << SEQUENCE_BITS) - 1))) & ((1 << 63) - 1);
        Self(number.max(1))
    }
}

/// A caller's own name for a task: `[A-Za-z0-9_-]{1,64}`, unique in its project.
///
/// It is accepted wherever an id is, and is never part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// A text that cannot be a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key is 1 to 64 characters of A-Z a-z 0-9 _ - and does not look like an id")]
pub struct InvalidKey;

impl Key {
    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        let plain = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let shadows_id = text.parse::<TaskId>().is_ok() || text.bytes().all(|b| b.is_ascii_digit());
        if plain && !shadows_id {
            Ok(Self(text))
        } else {
            Err(InvalidKey)
        }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a person types to name a task: a whole id, a unique suffix of its digits, or a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskRef {
    /// `task_<digits>`.
    Id(TaskId),
    /// Digits alone: the end of an id.
    Suffix(String),
    /// A caller's key.
    Key(Key),
}

/// A text that names no task: neither id, digits nor key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is neither a task id (task_<digits>), the end of one, nor a key")]
pub struct InvalidTaskRef {
    shown: String,
}

impl FromStr for TaskRef {
    type Err = InvalidTaskRef;

    fn from_str(text: &str) -> Result<Self, InvalidTaskRef> {
        let refuse = || InvalidTaskRef {
            shown: text.escape_debug().take(40).collect(),
        };
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        if !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Suffix(text.to_owned()));
        }
        if text.starts_with("task_") {
            return Err(refuse());
        }
        Key::try_from(text.to_owned())
            .map(Self::Key)
            .map_err(|_| refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_time_ordered_and_never_repeat() {
        let now = Timestamp::from_millis(1_795_164_511_000);
        let first = next_number(0, now);
        assert_eq!(next_number(first, now), first + 1);
        assert!(
            next_number(first, Timestamp::from_millis(1)) > first,
            "a clock set back"
        );
        assert!(next_number(first, Timestamp::from_millis(1_795_164_511_001)) > first + 1);
    }

    #[test]
    fn only_the_printed_form_parses() {
        for text in ["task_1", "task_9223372036854775807"] {
            assert_eq!(
                text.parse::<TaskId>().map(|id| id.to_string()),
                Ok(text.to_owned())
            );
        }
        let long = format!("task_{}", "1".repeat(300));
        for text in [
            "",
            "task_",
            "task_0",
            "task_01",
            "task_+1",
            "task_1\n",
            "task_/../1",
            "../x",
            "ses_1",
            "1",
            "task_9223372036854775808",
            "task_\u{661}",
            &long,
        ] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_reference_is_an_id_a_suffix_or_a_key() {
        assert!(matches!("task_12".parse(), Ok(TaskRef::Id(_))));
        assert!(matches!("0012".parse(), Ok(TaskRef::Suffix(_))));
        assert!(matches!("nightly-build".parse(), Ok(TaskRef::Key(_))));
        for text in [
            "",
            "../x",
            "task_/../x",
            "task_1\n",
            "a b",
            &"9".repeat(300),
        ] {
            assert!(text.parse::<TaskRef>().is_err(), "{text:?}");
        }
    }
}
