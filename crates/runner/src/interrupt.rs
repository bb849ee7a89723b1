//! How the process is told to go down.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGTERM},
    iterator::Signals,
};

use crate::wishes::{Loss, Wishes};

/// Tells a runner that its process has to go down: it ends its agent, keeps the work in a salvage
/// reference, and leaves the session to be recovered, so that the task goes back to the queue.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    raised: bool,
    listener: Option<Wishes>,
}

impl Interrupt {
    /// Tells it. Once is enough.
    pub fn raise(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.raised = true;
        if let Some(wishes) = &state.listener {
            wishes.lose(Loss::Down);
        }
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
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.listener = Some(wishes.clone());
        if state.raised {
            wishes.lose(Loss::Down);
        }
    }
}
