//! Talking to runners that are at work.

use std::{io, path::PathBuf};

use domain::id::SessionId;

/// Reaches the runner of a session on this machine.
pub trait Runners: Send + Sync + std::fmt::Debug {
    /// Makes the runner renew its lease and hear what is wanted of its session: a stop, another
    /// deadline. Returns once it has done so.
    ///
    /// # Errors
    /// Where no runner answers within a second.
    fn poke(&self, session: SessionId) -> io::Result<()>;

    /// The control sockets on this machine, whether anybody listens or not.
    fn sockets(&self) -> Vec<(SessionId, PathBuf)>;

    /// Removes the control socket of a session that has ended. Missing is fine.
    ///
    /// # Errors
    /// Where it cannot be removed.
    fn remove_socket(&self, session: SessionId) -> io::Result<()>;
}
