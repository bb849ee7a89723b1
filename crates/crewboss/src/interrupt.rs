//! Ctrl+C while something is watched: what is watched goes on, only the watching ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::fail::Fail;

/// Becomes true with the first SIGINT or SIGTERM.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the two signals no longer end this process.
    pub(crate) fn listen() -> Result<Self, Fail> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|error| Fail::io("cannot listen to signals", &error))?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits; a signal is seen within 50 ms.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        const STEP: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() && !self.came() {
            let step = left.min(STEP);
            thread::sleep(step);
            left -= step;
        }
        self.came()
    }
}
