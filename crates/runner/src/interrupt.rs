//! How the process is told to go down.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGTERM},
    iterator::Signals,
};

use crate::wishes::{Loss, Wishes};

/// Tells a runner that its process has to go down: it makes a last checkpoint, to which the task goes
/// back, ends its agent, and keeps the work in a salvage reference too. Where no checkpoint is to be
/// had, it leaves the session to be recovered, so that the task goes back to the queue.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

/// What is tried before the session is given up.
pub(crate) type First = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    raised: bool,
    listener: Option<Wishes>,
    first: Option<First>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("raised", &self.raised)
            .finish_non_exhaustive()
    }
}

impl Interrupt {
    /// Tells it. Once is enough.
    pub fn raise(&self) {
        let mut state = self.lock();
        let first = if state.raised {
            None
        } else {
            state.first.take()
        };
        state.raised = true;
        let listener = state.listener.clone();
        drop(state);
        match (first, listener) {
            (Some(first), _) => first(),
            (None, Some(wishes)) => wishes.lose(Loss::Down),
            (None, None) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.lock().raised
    }

    /// Does this at the first telling, in place of giving the session up at once.
    pub(crate) fn first(&self, act: First) {
        self.lock().first = Some(act);
    }

    pub(crate) fn forget_first(&self) {
        drop(self.lock().first.take());
    }

    /// Raises it on SIGTERM from now on, and lets SIGHUP pass without effect.
    ///
    /// # Errors
    /// Where the system refuses handlers or a thread.
    pub fn on_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGTERM, SIGHUP])?;
        let interrupt = self.clone();
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if signal == SIGTERM {
                        interrupt.raise();
                    }
                }
            })?;
        Ok(())
    }

    pub(crate) fn listen(&self, wishes: &Wishes) {
        let mut state = self.lock();
        state.listener = Some(wishes.clone());
        if state.raised {
            wishes.lose(Loss::Down);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, time::Duration};

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::event::Event;

    #[test]
    fn a_hangup_passes_and_a_termination_is_told() {
        let interrupt = Interrupt::default();
        interrupt.on_signals().unwrap();
        let (events, inbox) = channel();
        let wishes = Wishes::new(events);
        interrupt.listen(&wishes);
        kill_process(getpid(), Signal::HUP).unwrap();
        assert!(inbox.recv_timeout(Duration::from_millis(100)).is_err());
        kill_process(getpid(), Signal::TERM).unwrap();
        let told = inbox.recv_timeout(Duration::from_secs(10));
        assert_eq!(told, Ok(Event::Wishes));
        assert_eq!(wishes.now().loss, Some(Loss::Down));

        let (events, _inbox) = channel();
        let late = Wishes::new(events);
        interrupt.listen(&late);
        assert_eq!(late.now().loss, Some(Loss::Down));
    }
}
