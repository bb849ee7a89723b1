//! Locks over any store that keeps its own contract, and bells within one process.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use app::{
    locks::{Bell, Bells, StoreLocks},
    ports::locks::Locks,
};

use super::LockSubject;
use crate::contract::{
    Make,
    clock::ManualClock,
    world::{World, meta},
};

/// Bells that are heard in this process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalBells;

#[derive(Debug)]
struct LocalBell {
    address: String,
    rung: Arc<Rung>,
}

#[derive(Debug, Default)]
struct Rung {
    is_rung: Mutex<bool>,
    heard: Condvar,
}

fn known() -> &'static Mutex<BTreeMap<String, Arc<Rung>>> {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, Arc<Rung>>>> = OnceLock::new();
    KNOWN.get_or_init(Mutex::default)
}

impl Bells for LocalBells {
    fn bell(&self) -> Option<Arc<dyn Bell>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let address = format!("local-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let rung = Arc::new(Rung::default());
        let mut bells = known().lock().unwrap_or_else(PoisonError::into_inner);
        bells.insert(address.clone(), Arc::clone(&rung));
        Some(Arc::new(LocalBell { address, rung }))
    }

    fn ring(&self, address: &str) {
        let bells = known().lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rung) = bells.get(address) {
            *rung.is_rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
            rung.heard.notify_all();
        }
    }
}

impl Bell for LocalBell {
    fn address(&self) -> &str {
        &self.address
    }

    fn wait(&self, patience: Duration) {
        let is_rung = self
            .rung
            .is_rung
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .rung
            .heard
            .wait_timeout_while(is_rung, patience, |rung| !*rung);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}

impl Drop for LocalBell {
    fn drop(&mut self) {
        known()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.address);
    }
}

/// Locks of one project of a store, with a clock that the test moves.
#[derive(Debug)]
pub struct StoreSubject {
    world: World,
}

/// Locks over an empty store of this kind.
#[must_use]
pub fn over(make: Make) -> Box<dyn LockSubject> {
    Box::new(StoreSubject {
        world: World::new(make),
    })
}

impl StoreSubject {
    fn client(&self) -> Arc<dyn Locks> {
        let clock: Arc<ManualClock> = Arc::clone(&self.world.clock);
        let store = Arc::clone(&self.world.store);
        Arc::new(StoreLocks::new(
            store,
            self.world.project,
            clock,
            Arc::new(LocalBells),
            meta(),
        ))
    }
}

impl LockSubject for StoreSubject {
    fn locks(&self) -> Arc<dyn Locks> {
        self.client()
    }

    fn another(&self) -> Arc<dyn Locks> {
        self.client()
    }

    fn pass(&self, millis: u64) {
        self.world.clock.advance(millis);
    }
}
