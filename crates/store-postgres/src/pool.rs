//! Connections for readers: made when they are needed, kept for a while, never more than allowed.

#![expect(
    clippy::disallowed_methods,
    reason = "waits for a connection and ages of connections are this adapter's own time"
)]

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use app::error::Error;

use crate::{link::Link, target::Target};

/// A connection that nobody has used for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// One that was used so lately is taken to be there still.
const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Kept {
    idle: Vec<(Link, Instant)>,
    open: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    target: Arc<Target>,
    kept: Mutex<Kept>,
    returned: Condvar,
}

/// A connection out of the pool.
#[derive(Debug)]
pub(crate) struct Taken<'p> {
    pool: &'p Pool,
    link: Option<Link>,
    /// Whether it was made for this.
    pub(crate) is_new: bool,
    /// Whether it was used a moment ago.
    pub(crate) is_fresh: bool,
}

impl Pool {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            kept: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// A connection, kept or new. Waits for one as long as connecting may take.
    pub(crate) fn take(&self) -> Result<Taken<'_>, Error> {
        let until = Instant::now() + self.target.connect_timeout;
        let mut kept = self.lock();
        loop {
            close_old(&mut kept);
            if let Some((link, since)) = kept.idle.pop() {
                return Ok(self.taken(link, false, since.elapsed() < FRESH));
            }
            if kept.open < self.target.connections_max {
                kept.open += 1;
                drop(kept);
                return self.open();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::unavailable(format!(
                    "all {} connections to {} are in use: try again, or allow more",
                    self.target.connections_max,
                    self.target.place_name()
                )));
            }
            kept = match self.returned.wait_timeout(kept, left) {
                Ok((kept, _)) => kept,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// A new connection in the place of one that was lost.
    fn open(&self) -> Result<Taken<'_>, Error> {
        match Link::open(&self.target) {
            Ok(link) => Ok(self.taken(link, true, true)),
            Err(error) => {
                self.gone();
                Err(error)
            }
        }
    }

    /// Keeps a connection that was made for something else.
    pub(crate) fn give(&self, link: Link) {
        let mut kept = self.lock();
        kept.open += 1;
        kept.idle.push((link, Instant::now()));
    }

    fn taken(&self, link: Link, is_new: bool, is_fresh: bool) -> Taken<'_> {
        Taken {
            pool: self,
            link: Some(link),
            is_new,
            is_fresh,
        }
    }

    fn gone(&self) {
        self.lock().open -= 1;
        self.returned.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest come first.
fn close_old(kept: &mut Kept) {
    let old = kept
        .idle
        .iter()
        .take_while(|(_, since)| since.elapsed() > IDLE_MAX)
        .count();
    kept.idle.drain(..old);
    kept.open -= old;
}

impl Taken<'_> {
    /// It; there until this goes.
    pub(crate) fn link(&self) -> Result<&Link, Error> {
        self.link
            .as_ref()
            .ok_or_else(|| Error::unavailable("the connection is gone"))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        match self.link.take() {
            Some(link) if link.is_sound() => {
                self.pool.lock().idle.push((link, Instant::now()));
                self.pool.returned.notify_one();
            }
            _ => self.pool.gone(),
        }
    }
}
