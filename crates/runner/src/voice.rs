//! Speaking to the store about one session, under its fence.

use std::sync::Arc;

use app::{
    command::{Command, Meta, Output, RecoveryPolicy, Request},
    error::Error,
    event::{Actor, ActorKind, Door},
    ports::store::Store,
};
use domain::{
    id::SessionId,
    session::{Session, SessionCommand},
};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) session: SessionId,
    pub(crate) fence: u64,
    pub(crate) recovery: RecoveryPolicy,
}

impl Voice {
    pub(crate) fn meta(&self) -> Meta {
        Meta {
            actor: Actor {
                kind: ActorKind::System,
                id: self.session.to_string(),
            },
            door: Door::Runner,
            idempotency_key: None,
            correlation: None,
        }
    }

    fn request(&self, command: Command) -> Request {
        Request {
            meta: self.meta(),
            done: vec![],
            command,
        }
    }

    /// A request that says something about the session.
    pub(crate) fn about(&self, command: SessionCommand) -> Request {
        self.request(Command::Session {
            session: self.session,
            fence: self.fence,
            command,
            recovery: self.recovery,
        })
    }

    pub(crate) fn renewal(&self, lease_millis: u64) -> Request {
        self.request(Command::RenewLease {
            session: self.session,
            fence: self.fence,
            lease_millis,
        })
    }

    /// Says something and waits for the answer.
    pub(crate) fn say(&self, command: SessionCommand) -> Result<Session, Error> {
        let reply = self.store.execute(self.about(command))?;
        session_of(reply.output)
    }
}

/// The session in an answer.
pub(crate) fn session_of(output: Output) -> Result<Session, Error> {
    match output {
        Output::Session { session } => Ok(*session),
        other => Err(Error::corrupt(format!("unexpected answer {other:?}"))),
    }
}

/// Whether an answer means that the session is no longer ours.
pub(crate) fn is_loss(error: &Error) -> bool {
    matches!(error, Error::FenceLost { .. } | Error::NotFound { .. })
}
