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
