//! A lock as the script keeps it.

use app::error::Error;
use domain::{
    id::LockId,
    lock::{Gone, Holder, Lock, LockState, Mode, Resource, Token},
    task::Priority,
    time::{BootId, Moment, Timestamp},
};
use serde::Deserialize;

/// The names are short because every one of them is written with every change.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    #[serde(rename = "i")]
    id: String,
    #[serde(rename = "r")]
    resources: Vec<Resource>,
    #[serde(rename = "m")]
    mode: Mode,
    #[serde(rename = "H")]
    holder: Holder,
    #[serde(rename = "p")]
    priority: Priority,
    #[serde(rename = "t")]
    ttl_millis: u64,
    #[serde(rename = "k")]
    rank: u64,
    #[serde(rename = "a")]
    asked: u64,
    #[serde(rename = "w")]
    asked_wall: i64,
    #[serde(rename = "s")]
    state: State,
    #[serde(rename = "al", default)]
    alive_until: u64,
    #[serde(rename = "gu", default)]
    gives_up_at: u64,
    #[serde(rename = "T", default)]
    token: Option<Token>,
    #[serde(rename = "d", default)]
    depth: u32,
    #[serde(rename = "u", default)]
    until: u64,
    #[serde(rename = "si", default)]
    since: u64,
    #[serde(rename = "wm", default)]
    waited_millis: u64,
    #[serde(rename = "y", default)]
    why: Option<Gone>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum State {
    #[serde(rename = "w")]
    Waiting,
    #[serde(rename = "h")]
    Held,
    #[serde(rename = "g")]
    Gone,
}

/// A moment of the server's clock. It has no boots: its time goes on through a restart.
pub(crate) fn moment(millis: u64) -> Moment {
    Moment {
        boot: BootId("redis".to_owned()),
        millis,
    }
}

impl Row {
    pub(crate) fn into_lock(self) -> Result<Lock, Error> {
        let incomplete = || Error::corrupt(format!("the lock {} in Redis is not whole", self.id));
        let id = self.id.parse().ok().and_then(LockId::from_number);
        let id = id.ok_or_else(incomplete)?;
        let state = match self.state {
            State::Waiting => LockState::Waiting {
                alive_until: moment(self.alive_until),
                gives_up_at: moment(self.gives_up_at),
            },
            State::Held => LockState::Held {
                token: self.token.ok_or_else(incomplete)?,
                depth: self.depth,
                until: moment(self.until),
                since: moment(self.since),
                since_wall: Timestamp::from_millis(i64::try_from(self.since).unwrap_or(i64::MAX)),
                waited_millis: self.waited_millis,
            },
            State::Gone => LockState::Gone {
                why: self.why.clone().ok_or_else(incomplete)?,
                token: self.token,
                until: moment(self.until),
            },
        };
        Ok(Lock {
            id,
            resources: self.resources,
            mode: self.mode,
            holder: self.holder,
            priority: self.priority,
            ttl_millis: self.ttl_millis,
            rank: self.rank,
            asked: moment(self.asked),
            asked_wall: Timestamp::from_millis(self.asked_wall),
            wake: None,
            state,
        })
    }
}
