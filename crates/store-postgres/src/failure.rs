//! What an error of the server or of the connection means to the caller. No message has a secret in
//! it: the server names users and tables, never passwords, and addresses are shown by [`Target`].

use std::error::Error as _;

use app::error::Error;
use tokio_postgres::error::SqlState;

use crate::target::Target;

/// How a question went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is gone, and with it whatever transaction was open on it.
    Lost(String),
    /// The server said no.
    Refused {
        /// Its code.
        code: SqlState,
        /// Its words.
        message: String,
    },
    /// It answered what cannot be read.
    Unreadable(String),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            let code = said.code().clone();
            let message = said.message().to_owned();
            return if ends_connection(&code) {
                Self::Lost(message)
            } else {
                Self::Refused { code, message }
            };
        }
        let cause = error.source().map(ToString::to_string);
        let message = match &cause {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        if error.is_closed() || is_of_io(&error) {
            return Self::Lost(message);
        }
        Self::Unreadable(message)
    }
}

fn is_of_io(error: &tokio_postgres::Error) -> bool {
    error
        .source()
        .is_some_and(|source| source.is::<std::io::Error>())
}

/// What the server says last.
fn ends_connection(code: &SqlState) -> bool {
    [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::DATABASE_DROPPED,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::CONNECTION_FAILURE,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_DOES_NOT_EXIST,
    ]
    .contains(code)
}

impl Trouble {
    /// Whether the same transaction, done again from its beginning, may well go through.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::Refused { code, .. } => [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
            ]
            .contains(code),
            Self::Unreadable(_) => false,
        }
    }

    /// Whether a connection that was refused may well come about a little later.
    pub(crate) fn passes(&self) -> bool {
        matches!(
            self,
            Self::Refused { code, .. }
                if [SqlState::TOO_MANY_CONNECTIONS, SqlState::CANNOT_CONNECT_NOW].contains(code)
        )
    }

    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// As the caller is told, of a question that was asked.
    pub(crate) fn told(&self, target: &Target) -> Error {
        let place = target.place_name();
        match self {
            Self::Lost(message) => Error::unavailable(format!(
                "the connection to {place} was lost: {message}; try again"
            )),
            Self::Unreadable(message) => {
                Error::corrupt(format!("{place} answered what cannot be read: {message}"))
            }
            Self::Refused { code, message } => refused(code, message, &place, target),
        }
    }

    /// As the caller is told, of a connection that did not come about.
    pub(crate) fn told_connecting(&self, target: &Target) -> Error {
        match self {
            Self::Lost(message) | Self::Unreadable(message) => Error::unavailable(format!(
                "{} cannot be reached: {message}; check that the server runs and accepts \
                 connections from here",
                target.place_name()
            )),
            Self::Refused { .. } => self.told(target),
        }
    }
}

fn refused(code: &SqlState, message: &str, place: &str, target: &Target) -> Error {
    let (user, schema) = (&target.user, &target.schema);
    let unavailable = |what: String| Error::unavailable(what);
    match code {
        c if [
            SqlState::INVALID_PASSWORD,
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        ]
        .contains(c) =>
        {
            unavailable(format!(
                "{place} refused the user {user}: {message}; check user, password and pg_hba.conf"
            ))
        }
        c if *c == SqlState::UNDEFINED_DATABASE || *c == SqlState::INVALID_CATALOG_NAME => {
            unavailable(format!(
                "{place} is not there: {message}; make it with CREATE DATABASE"
            ))
        }
        c if *c == SqlState::INSUFFICIENT_PRIVILEGE => unavailable(format!(
            "{place}: the user {user} lacks a privilege: {message}; it has to own the schema \
             {schema}, or may make it (GRANT CREATE ON DATABASE)"
        )),
        c if *c == SqlState::TOO_MANY_CONNECTIONS => unavailable(format!(
            "{place} has no connection left: {message}; raise max_connections or use a pooler"
        )),
        c if *c == SqlState::CANNOT_CONNECT_NOW => unavailable(format!(
            "{place} is starting or stopping: {message}; try again"
        )),
        c if *c == SqlState::DISK_FULL => unavailable(format!(
            "the disk of {place} is full: free some space and try again"
        )),
        c if *c == SqlState::READ_ONLY_SQL_TRANSACTION => unavailable(format!(
            "{place} takes no writes: {message}; name the primary server"
        )),
        c if *c == SqlState::LOCK_NOT_AVAILABLE => unavailable(format!(
            "another process has been writing to {place} for too long: try again"
        )),
        c if *c == SqlState::QUERY_CANCELED => {
            unavailable(format!("{place} took too long: {message}; try again"))
        }
        c if *c == SqlState::UNIQUE_VIOLATION => Error::Conflict {
            what: format!("a row ({message})"),
        },
        c => unavailable(format!("{place} failed: {message} ({})", c.code())),
    }
}
