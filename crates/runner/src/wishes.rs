//! What is wanted of the session from outside: heard by several threads, obeyed by one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Sender};

use domain::{
    session::{Session, StopReason},
    time::Due,
};

use crate::event::Event;

/// Why the session is no longer ours to carry on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The store says that someone else has the task.
    Fence,
    /// The lease could not be renewed in time: someone else may have it.
    Lease,
    /// This process is told to go down.
    Down,
}

impl Loss {
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Fence => "the session has lost its fence",
            Self::Lease => "the lease could not be renewed",
            Self::Down => "the runner is going down",
        }
    }
}

/// Everything wanted at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wanted {
    pub(crate) stop: Option<StopReason>,
    /// The deadline as the store has it, once it knows of the agent and its deadline.
    pub(crate) deadline: Option<Due>,
    pub(crate) loss: Option<Loss>,
}

impl Wanted {
    /// Whether there is a reason to end.
    pub(crate) fn wants_end(&self) -> bool {
        self.stop.is_some() || self.loss.is_some()
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    wanted: Arc<Mutex<Wanted>>,
    events: Sender<Event>,
}

impl Wishes {
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self {
            wanted: Arc::default(),
            events,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Wanted {
        self.lock().clone()
    }

    pub(crate) fn wants_end(&self) -> bool {
        self.lock().wants_end()
    }

    /// Takes in the session as the store has it.
    pub(crate) fn hear(&self, session: &Session) {
        self.change(|wanted| {
            wanted.stop = session.stop.or(wanted.stop);
            if session.process.is_some() {
                wanted.deadline.clone_from(&session.deadline);
            }
        });
    }

    /// The first loss stays.
    pub(crate) fn lose(&self, loss: Loss) {
        self.change(|wanted| wanted.loss = wanted.loss.or(Some(loss)));
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.lock();
        let before = wanted.clone();
        change(&mut wanted);
        if *wanted != before {
            // Nobody listens any more once the agent has ended.
            let _ = self.events.send(Event::Wishes);
        }
    }
}
