//! Keeps the session's lease, and hears with each renewal what is wanted of it.
//!
//! It never waits for the store: a request that hangs does not keep it from noticing that the
//! lease has run out.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use app::{
    command::{Reply, Request},
    error::Error,
    ports::clock::Clock,
};
use domain::{session::Session, time::Moment};

use crate::{
    voice::{Voice, is_loss, session_of},
    wishes::{Loss, Wishes},
};

/// Between a refused renewal and the next attempt.
const RETRY_MILLIS: u64 = 500;

/// How long one who pokes waits for the renewal.
const POKE_PATIENCE: Duration = Duration::from_millis(900);

enum Note {
    /// Renew at once, and say so.
    Poke(SyncSender<()>),
    /// Tell the store, again and again until it answers.
    Say(Box<Request>),
    Renewed(Result<Reply, Error>),
    Said(Box<Request>, Result<Reply, Error>),
    Close,
}

/// A way to a [`Keeper`].
#[derive(Debug, Clone)]
pub(crate) struct KeeperHandle(Sender<Note>);

impl KeeperHandle {
    /// Makes it renew the lease; `true` once that was done.
    pub(crate) fn poke(&self) -> bool {
        let (done, wait) = sync_channel(1);
        self.0.send(Note::Poke(done)).is_ok() && wait.recv_timeout(POKE_PATIENCE).is_ok()
    }

    /// Tells the store without waiting; where it cannot be reached, again later.
    pub(crate) fn say(&self, request: Request) {
        // A keeper that is gone has lost the session.
        drop(self.0.send(Note::Say(Box::new(request))));
    }
}

/// The keeper's thread; ends when dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    handle: KeeperHandle,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts to keep the lease of a session that has just begun.
    pub(crate) fn start(
        voice: Voice,
        clock: Arc<dyn Clock>,
        wishes: Wishes,
        lease: Duration,
        session: &Session,
    ) -> io::Result<Self> {
        let (sender, inbox) = channel();
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).max(10);
        let lease_start = session.lease_until.millis.saturating_sub(lease_millis);
        let keeping = Keeping {
            voice,
            clock,
            wishes,
            lease_millis,
            renewed: Moment {
                boot: session.lease_until.boot.clone(),
                millis: lease_start,
            },
            next: lease_start + lease_millis / 3,
            retry: None,
            unsaid: vec![],
            is_asking: false,
            waiting: vec![],
            served: vec![],
            sender: sender.clone(),
        };
        let thread = thread::Builder::new()
            .name("lease".to_owned())
            .spawn(move || keeping.run(&inbox))?;
        Ok(Self {
            handle: KeeperHandle(sender),
            thread: Some(thread),
        })
    }

    pub(crate) fn handle(&self) -> KeeperHandle {
        self.handle.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.handle.0.send(Note::Close));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Keeping {
    voice: Voice,
    clock: Arc<dyn Clock>,
    wishes: Wishes,
    lease_millis: u64,
    /// When the lease was last renewed for certain.
    renewed: Moment,
    next: u64,
    /// When to say again what the store did not take.
    retry: Option<u64>,
    unsaid: Vec<Request>,
    is_asking: bool,
    /// Who waits for the renewal after this one, and who for this one.
    waiting: Vec<SyncSender<()>>,
    served: Vec<SyncSender<()>>,
    sender: Sender<Note>,
}

impl Keeping {
    fn run(mut self, inbox: &Receiver<Note>) {
        loop {
            let now = self.clock.now().moment;
            // After a reboot, or in a test's, nothing of the old boot counts.
            if now.boot != self.renewed.boot || now.millis >= self.expiry() {
                return self.wishes.lose(Loss::Lease);
            }
            let is_due = now.millis >= self.next || !self.waiting.is_empty();
            if is_due && !self.is_asking {
                self.renew(now.millis);
                continue;
            }
            if self.retry.is_some_and(|retry| now.millis >= retry) {
                self.retry = None;
                for request in std::mem::take(&mut self.unsaid) {
                    self.submit(request);
                }
            }
            match inbox.recv_timeout(self.pause(now.millis)) {
                Ok(Note::Close) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Ok(note) => {
                    if self.take(note).is_break() {
                        return self.wishes.lose(Loss::Fence);
                    }
                }
            }
        }
    }

    /// The last fifth of a lease is not used: the store's clock decides, and it may be ahead.
    fn expiry(&self) -> u64 {
        self.renewed.millis + self.lease_millis - self.lease_millis / 5
    }

    fn pause(&self, now: u64) -> Duration {
        let next = if self.is_asking { u64::MAX } else { self.next };
        let due = next
            .min(self.expiry())
            .min(self.retry.unwrap_or(u64::MAX))
            .saturating_sub(now);
        Duration::from_millis(due.max(1))
    }

    fn renew(&mut self, now: u64) {
        self.is_asking = true;
        self.served.append(&mut self.waiting);
        self.next = now + self.lease_millis / 3;
        let sender = self.sender.clone();
        let request = self.voice.renewal(self.lease_millis);
        let answer = move |reply| drop(sender.send(Note::Renewed(reply)));
        self.voice.store.submit(request, Box::new(answer));
    }

    fn submit(&self, request: Request) {
        let sender = self.sender.clone();
        let again = Box::new(request.clone());
        let answer = move |reply| drop(sender.send(Note::Said(again, reply)));
        self.voice.store.submit(request, Box::new(answer));
    }

    fn take(&mut self, note: Note) -> std::ops::ControlFlow<()> {
        match note {
            Note::Poke(done) => self.waiting.push(done),
            Note::Say(request) => self.submit(*request),
            Note::Said(request, Err(error)) if is_passing(&error) => {
                self.unsaid.push(*request);
                self.retry = Some(self.clock.now().moment.millis + RETRY_MILLIS);
            }
            Note::Renewed(Err(error)) if is_passing(&error) => {
                self.is_asking = false;
                self.served.clear();
                self.next =
                    self.clock.now().moment.millis + RETRY_MILLIS.min(self.lease_millis / 5);
            }
            Note::Said(_, reply) => match reply.and_then(|reply| session_of(reply.output)) {
                Ok(session) => self.wishes.hear(&session),
                Err(error) if is_loss(&error) => return std::ops::ControlFlow::Break(()),
                // What is refused is refused for good; the renewals go on.
                Err(_) => {}
            },
            Note::Renewed(reply) => match reply.and_then(|reply| session_of(reply.output)) {
                Ok(session) => self.renewed(&session),
                Err(_) => return std::ops::ControlFlow::Break(()),
            },
            Note::Close => {}
        }
        std::ops::ControlFlow::Continue(())
    }

    fn renewed(&mut self, session: &Session) {
        self.is_asking = false;
        let lease_start = session.lease_until.millis.saturating_sub(self.lease_millis);
        self.renewed = Moment {
            boot: session.lease_until.boot.clone(),
            millis: lease_start,
        };
        self.wishes.hear(session);
        for done in self.served.drain(..) {
            // Whoever asked may have given up.
            let _ = done.try_send(());
        }
    }
}

/// Whether asking again may help.
fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable { .. } | Error::Conflict { .. } | Error::Corrupt { .. }
    )
}
