//! Ends what is over, and gives what is free to those whose turn it is.

use super::{
    super::{Gone, LEASE_OF_WAITERS_MILLIS, Lock, LockEvent, LockState, Resource},
    Numbers, Table,
};
use crate::time::Now;

impl Table {
    /// Looks at what overlaps these resources: ends what is over and grants what can be granted, and
    /// goes on with what that frees.
    pub(super) fn settle(&mut self, resources: Vec<Resource>, numbers: &mut Numbers, now: &Now) {
        let mut open = resources;
        while !open.is_empty() {
            let freed = self.end_what_is_over(&open, now);
            self.grant_what_is_free(&open, numbers, now);
            open = freed;
        }
    }

    /// Ends what is over, there and wherever else those that wait there wait. Answers what that frees.
    fn end_what_is_over(&mut self, resources: &[Resource], now: &Now) -> Vec<Resource> {
        let mut places = resources.to_vec();
        for lock in self.overlapping(resources) {
            let own = lock.resources.iter().filter(|_| lock.is_waiting());
            for resource in own {
                if !places.contains(resource) {
                    places.push(resource.clone());
                }
            }
        }
        let here = self.overlapping(&places);
        let over = here.into_iter().filter(|lock| lock.is_over(&now.moment));
        let over: Vec<Lock> = over.cloned().collect();
        let mut freed = Vec::new();
        for lock in over {
            freed.extend(lock.resources.iter().cloned());
            match &lock.state {
                LockState::Held { .. } => self.take_away(lock.id, Gone::Expired, now),
                LockState::Waiting { gives_up_at, .. } => {
                    let timed_out = gives_up_at.millis <= now.moment.millis;
                    self.emit(LockEvent::LeftQueue { lock, timed_out });
                }
                LockState::Gone { .. } => self.emit(LockEvent::Forgotten { lock }),
            }
        }
        freed
    }

    /// Grants in the order of the queue. Whoever is passed over stays before those behind.
    fn grant_what_is_free(&mut self, resources: &[Resource], numbers: &mut Numbers, now: &Now) {
        let here = self.overlapping(resources);
        let mut queue: Vec<Lock> = here
            .into_iter()
            .filter(|lock| lock.is_waiting())
            .cloned()
            .collect();
        queue.sort_by_key(Lock::place);
        let mut ahead: Vec<Lock> = Vec::new();
        for lock in queue {
            let is_behind = ahead
                .iter()
                .any(|other| other.is_against(&lock.resources, lock.mode));
            if !is_behind && self.in_the_way(&lock, &now.moment).next().is_none() {
                // Whoever is not there any more shall not stand in the way for long.
                let lease = lock.ttl_millis.min(LEASE_OF_WAITERS_MILLIS);
                self.grant(lock.clone(), lease, true, numbers, now);
            }
            ahead.push(lock);
        }
    }
}
