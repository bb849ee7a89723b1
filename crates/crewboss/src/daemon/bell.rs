//! Rings at every change, so that nobody has to look again and again.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Counts rings; whoever waits names the last one heard, so that none is missed in between.
///
/// A change after which there is nothing to start, to recover or to show is told without a ring:
/// only those who watch hear of it.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
    told: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    rings: u64,
    changes: u64,
    closed: bool,
}

/// What a waiter learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It rang, or a change was told: this many times by now.
    Ring(u64),
    /// The time is over.
    Silence,
    /// It will never ring again.
    Closed,
}

impl Bell {
    /// There may be something to do.
    pub(crate) fn ring(&self) {
        let mut state = self.lock();
        state.rings += 1;
        state.changes += 1;
        drop(state);
        self.rung.notify_all();
        self.told.notify_all();
    }

    /// Something is not as it was.
    pub(crate) fn tell(&self) {
        self.lock().changes += 1;
        self.told.notify_all();
    }

    /// Sends everyone home.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.rung.notify_all();
        self.told.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits for a ring.
    pub(crate) fn wait(&self, heard: u64, timeout: Duration) -> Heard {
        self.wait_at(&self.rung, |state| state.rings, heard, timeout)
    }

    /// Waits for a ring or for a change that is told.
    pub(crate) fn wait_for_change(&self, heard: u64, timeout: Duration) -> Heard {
        self.wait_at(&self.told, |state| state.changes, heard, timeout)
    }

    fn wait_at(
        &self,
        signal: &Condvar,
        count: fn(&State) -> u64,
        heard: u64,
        timeout: Duration,
    ) -> Heard {
        let quiet = |state: &mut State| !state.closed && count(state) == heard;
        let (state, _) = signal
            .wait_timeout_while(self.lock(), timeout, quiet)
            .unwrap_or_else(PoisonError::into_inner);
        match count(&state) {
            _ if state.closed => Heard::Closed,
            now if now == heard => Heard::Silence,
            now => Heard::Ring(now),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard() {
        let bell = Bell::default();
        bell.ring();
        assert_eq!(bell.wait(0, Duration::from_mins(1)), Heard::Ring(1));
        assert_eq!(bell.wait(1, Duration::ZERO), Heard::Silence);
        bell.close();
        assert_eq!(bell.wait(1, Duration::from_mins(1)), Heard::Closed);
    }
    #[test]
    fn what_is_told_is_heard_by_those_who_watch_alone() {
        let bell = Bell::default();
        bell.tell();
        assert_eq!(bell.wait(0, Duration::ZERO), Heard::Silence);
        assert_eq!(bell.wait_for_change(0, Duration::ZERO), Heard::Ring(1));
        bell.ring();
        assert_eq!(bell.wait(0, Duration::ZERO), Heard::Ring(1));
        assert_eq!(bell.wait_for_change(1, Duration::ZERO), Heard::Ring(2));
    }
}
