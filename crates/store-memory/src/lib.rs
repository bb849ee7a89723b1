//! A store in memory, for tests and simulations: the same contract, nothing durable.
//!
//! What the other stores keep up to date beside their rows (who is blocked, what is ready) is
//! derived here each time, so that comparing the two proves the bookkeeping.

mod locks;
mod nodes;
mod reading;
mod state;
mod writing;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use app::{
    command::{Reply, Request},
    error::Error,
    ports::{
        clock::Clock,
        store::{Answer, Reader, Store, Tx},
    },
    query::{self, Query, View},
};

pub use crate::locks::MemoryLocks;
use crate::{state::State, writing::Transaction};

/// A store in memory.
pub struct MemoryStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(State::default()),
            clock,
        }
    }

    /// Shows one consistent state to `work`.
    pub fn look<T>(&self, work: impl FnOnce(&dyn Reader) -> T) -> T {
        work(&*self.state())
    }

    /// Runs `work` in a transaction of its own; what fails leaves nothing behind.
    ///
    /// # Errors
    /// What `work` answers.
    pub fn transact<T>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.commit(|tx| work(tx))
    }

    fn commit<T>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state();
        let mut transaction = Transaction::new(&mut state, self.clock.now());
        let result = work(&mut transaction);
        match &result {
            Ok(_) => transaction.commit(),
            Err(_) => transaction.roll_back(),
        }
        result
    }

    fn apply(&self, request: &Request) -> Result<Reply, Error> {
        self.commit(|tx| tx.apply(request))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.looked_at = self.clock.now().wall;
        state
    }
}

impl Store for MemoryStore {
    fn submit(&self, request: Request, answer: Answer) {
        answer(self.apply(&request));
    }

    fn read(&self, query: &Query) -> Result<View, Error> {
        query::answer(&*self.state(), query)
    }

    fn generation(&self) -> Result<u64, Error> {
        Ok(self.state().generation)
    }
}
