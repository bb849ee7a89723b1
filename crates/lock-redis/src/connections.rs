//! Connections that are kept for the next operation.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a connection was idle is this adapter's own business"
)]

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use app::error::Error;
use redis::{Client, Connection, RedisError};

use crate::address::Address;

/// A server that does not answer a connection for so long is not there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// A server that does not answer an operation for so long is not there.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Who was silent for so long is asked whether it is there still.
const IDLE_MAX: Duration = Duration::from_secs(1);

/// Connections that are kept, at most.
const KEPT_MAX: usize = 32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Connections {
    address: Address,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    connection: Connection,
    since: Instant,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Connections {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            kept: Mutex::default(),
        }
    }

    /// A connection that answered a moment ago, or a new one.
    pub(crate) fn take(&self) -> Result<Connection, Error> {
        while let Some(Kept {
            mut connection,
            since,
        }) = self.lock().pop()
        {
            let is_fresh = since.elapsed() < IDLE_MAX;
            if is_fresh || redis::cmd("PING").exec(&mut connection).is_ok() {
                return Ok(connection);
            }
        }
        self.open()
    }

    /// Keeps a connection whose last answer was whole.
    pub(crate) fn give_back(&self, connection: Connection) {
        let mut kept = self.lock();
        if kept.len() < KEPT_MAX {
            kept.push(Kept {
                connection,
                since: Instant::now(),
            });
        }
    }

    /// A new connection.
    pub(crate) fn open(&self) -> Result<Connection, Error> {
        self.dial().map_err(|error| self.unavailable(&error))
    }

    fn dial(&self) -> Result<Connection, RedisError> {
        let client = Client::open(self.address.bare()?)?;
        let mut connection = client.get_connection_with_timeout(CONNECT_PATIENCE)?;
        connection.set_read_timeout(Some(ANSWER_PATIENCE))?;
        connection.set_write_timeout(Some(ANSWER_PATIENCE))?;
        for greeting in self.address.greetings() {
            greeting.exec(&mut connection)?;
        }
        Ok(connection)
    }

    /// What it means that the server said nothing, or no.
    pub(crate) fn unavailable(&self, error: &RedisError) -> Error {
        let address = &self.address;
        let why = match error.code() {
            Some("WRONGPASS") => "it refuses the password".to_owned(),
            Some("NOAUTH") => "it wants a password, and none is set".to_owned(),
            Some("NOPERM") => "its user may not run scripts, or not on these keys".to_owned(),
            Some("READONLY") => "it is a replica, which only reads".to_owned(),
            Some("LOADING") => "it is still loading its data: try again".to_owned(),
            Some("OOM") => "its memory is full".to_owned(),
            // What it says of anything else quotes scripts and keys, never what was said to it first.
            Some(code) => match error.detail() {
                Some(detail) => format!("{code} {detail}"),
                None => code.to_owned(),
            },
            None if error.is_timeout() => "it does not answer in time".to_owned(),
            None => error.to_string(),
        };
        Error::unavailable(format!("Redis at {address} cannot be used: {why}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
