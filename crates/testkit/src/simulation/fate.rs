//! What happens to whoever acts: seeded, and the same for the same seed.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Whoever acted is dead: nothing of it goes on.
#[derive(Debug)]
struct Died;

/// Decides, and counts what it decided.
#[derive(Debug)]
pub(super) struct Fate(Mutex<State>);

#[derive(Debug)]
struct State {
    dice: u64,
    is_kind: bool,
    deaths: u64,
    refusals: u64,
}

enum Decision {
    Goes,
    DiesBefore,
    DiesAfter,
    RefusedBefore,
    RefusedAfter,
}

impl Fate {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(State {
            // An odd multiplier spreads small seeds; zero would stay zero.
            dice: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            is_kind: false,
            deaths: 0,
            refusals: 0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: u64) -> u64 {
        let mut state = self.state();
        state.dice ^= state.dice >> 12;
        state.dice ^= state.dice << 25;
        state.dice ^= state.dice >> 27;
        (state.dice.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end.max(1)
    }

    pub(super) fn pick<'t, T>(&self, of: &'t [T]) -> Option<&'t T> {
        let number = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(number)
    }

    /// From now on whatever is done is done.
    pub(super) fn be_kind(&self) {
        self.state().is_kind = true;
    }

    /// How many died, and how many were refused what they asked for.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.deaths, state.refusals)
    }

    fn decide(&self) -> Decision {
        if self.state().is_kind {
            return Decision::Goes;
        }
        match self.below(100) {
            0 | 1 => Decision::DiesBefore,
            2 | 3 => Decision::DiesAfter,
            4 => Decision::RefusedBefore,
            5 => Decision::RefusedAfter,
            _ => Decision::Goes,
        }
    }

    fn die(&self) -> ! {
        self.state().deaths += 1;
        // As a panic that nobody is told of.
        resume_unwind(Box::new(Died))
    }

    /// Acts, unless whoever does dies first or is refused; it may die or be refused after too.
    pub(super) fn act<T, E>(
        &self,
        refused: impl Fn(io::Error) -> E,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let refuse = || {
            self.state().refusals += 1;
            Err(refused(io::ErrorKind::StorageFull.into()))
        };
        match self.decide() {
            Decision::Goes => work(),
            Decision::DiesBefore => self.die(),
            Decision::RefusedBefore => refuse(),
            Decision::DiesAfter => {
                drop(work());
                self.die()
            }
            Decision::RefusedAfter => {
                work()?;
                refuse()
            }
        }
    }
}

/// Lets somebody act; `None` where it died.
pub(super) fn alive<T>(work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) if panic.is::<Died>() => None,
        Err(panic) => resume_unwind(panic),
    }
}
