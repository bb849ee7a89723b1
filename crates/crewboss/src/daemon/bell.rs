//! Rings at every change, so that nobody has to look again and again.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Counts rings; whoever waits names the last one heard, so that none is missed in between.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    rings: u64,
    closed: bool,
}

/// What a waiter learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It rang: this many times by now.
    Ring(u64),
    /// The time is over.
    Silence,
    /// It will never ring again.
    Closed,
}

impl Bell {
    pub(crate) fn ring(&self) {
        self.change(|state| state.rings += 1);
    }

    /// Sends everyone home.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed
    }

    pub(crate) fn wait(&self, heard: u64, timeout: Duration) -> Heard {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = |state: &mut State| !state.closed && state.rings == heard;
        let (state, _) = self
            .rung
            .wait_timeout_while(state, timeout, quiet)
            .unwrap_or_else(PoisonError::into_inner);
        match *state {
            State { closed: true, .. } => Heard::Closed,
            State { rings, .. } if rings == heard => Heard::Silence,
            State { rings, .. } => Heard::Ring(rings),
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.rung.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_heard() {
        let bell = Bell::default();
        bell.ring();
        assert_eq!(bell.wait(0, Duration::from_secs(60)), Heard::Ring(1));
        assert_eq!(bell.wait(1, Duration::ZERO), Heard::Silence);
        bell.close();
        assert_eq!(bell.wait(1, Duration::from_secs(60)), Heard::Closed);
    }
}
