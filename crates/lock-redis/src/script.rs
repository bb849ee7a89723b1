//! The one script, called by its hash.

#![expect(
    clippy::disallowed_methods,
    reason = "the distance to the server's clock is measured by a clock of this adapter"
)]

use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use app::error::Error;
use domain::lock::{Blocker, Totals};
use redis::Script;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    connections::{ANSWER_PATIENCE, Connections},
    row::Row,
};

/// No distance was measured yet.
const UNKNOWN: i64 = i64::MIN;

/// See the module.
pub(crate) struct Caller {
    script: Script,
    prefix: String,
    begun: Instant,
    /// Milliseconds from our clock to the server's.
    ahead: AtomicI64,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// What the script answers.
#[derive(Debug, Deserialize)]
pub(crate) struct Reply {
    /// The server's time.
    pub(crate) now: u64,
    /// Whether it came too late to be carried out.
    #[serde(default)]
    late: bool,
    /// Why not, as `LockRefused` has it.
    #[serde(default)]
    pub(crate) refused: Option<Value>,
    #[serde(default)]
    pub(crate) lock: Option<Row>,
    #[serde(default)]
    pub(crate) by: Vec<Blocker>,
    #[serde(default)]
    pub(crate) locks: Vec<Row>,
    #[serde(default)]
    pub(crate) left: u32,
    #[serde(default)]
    pub(crate) done: bool,
    #[serde(default)]
    pub(crate) totals: Totals,
}

impl Caller {
    pub(crate) fn new(prefix: String) -> Self {
        Self {
            script: Script::new(include_str!("locks.lua")),
            prefix,
            begun: Instant::now(),
            ahead: AtomicI64::new(UNKNOWN),
        }
    }

    /// One round trip. What the server does not carry out before we stop listening it does not carry
    /// out at all: nobody would know of what it granted.
    pub(crate) fn call(
        &self,
        connections: &Connections,
        operation: &str,
        arguments: &impl Serialize,
    ) -> Result<Reply, Error> {
        let arguments = serde_json::to_string(arguments)
            .map_err(|error| Error::corrupt(format!("unwritable request: {error}")))?;
        let mut reply = self.once(connections, operation, &arguments)?;
        if reply.late {
            // Its clock was set: now the distance is known again.
            reply = self.once(connections, operation, &arguments)?;
        }
        if reply.late {
            return Err(Error::unavailable(
                "Redis was too slow to answer: the request was not carried out",
            ));
        }
        Ok(reply)
    }

    fn once(
        &self,
        connections: &Connections,
        operation: &str,
        arguments: &str,
    ) -> Result<Reply, Error> {
        let mut connection = connections.take()?;
        let answer: Result<String, _> = self
            .script
            .key(&self.prefix)
            .arg(operation)
            .arg(arguments)
            .arg(self.not_after())
            .invoke(&mut connection);
        let text = answer.map_err(|error| connections.unavailable(&error))?;
        connections.give_back(connection);
        let reply: Reply = serde_json::from_str(&text)
            .map_err(|error| Error::corrupt(format!("what Redis holds of locks: {error}")))?;
        let now = i64::try_from(reply.now).unwrap_or(i64::MAX);
        self.ahead.store(now - self.elapsed(), Ordering::Relaxed);
        Ok(reply)
    }

    fn not_after(&self) -> i64 {
        match self.ahead.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            ahead => {
                let patience = i64::try_from(ANSWER_PATIENCE.as_millis()).unwrap_or(0);
                ahead + self.elapsed() + patience
            }
        }
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}
