//! Circles of waiting.

use std::collections::BTreeSet;

use super::{Lock, Table, Wait};
use crate::{id::LockId, time::Moment};

/// One step of a circle: a request that waits, and for what.
#[derive(Debug, Clone)]
struct Step {
    lock: LockId,
    wait: Wait,
}

/// Requests that wait for each other.
#[derive(Debug)]
pub(super) struct Cycle(Vec<Step>);

impl Cycle {
    /// The circle that a request closes with its wait, where it does. A request that joins the queue
    /// is the only thing that can close one.
    pub(super) fn through(table: &Table, lock: &Lock, now: &Moment) -> Option<Self> {
        let mut seen = BTreeSet::new();
        let mut path = Vec::new();
        let start = lock.holder.to_string();
        walk(table, lock, &start, now, &mut seen, &mut path).then_some(Self(path))
    }

    /// Who has to step out: the least important, and among equals the one that came last.
    pub(super) fn victim(&self, table: &Table) -> Option<(LockId, Vec<Wait>)> {
        let locks = self.0.iter().enumerate();
        let known = locks.filter_map(|(at, step)| Some((at, table.lock(step.lock)?)));
        let (at, lock) =
            known.min_by_key(|(_, lock)| (lock.priority, std::cmp::Reverse(lock.id)))?;
        let from_there = self.0[at..].iter().chain(&self.0[..at]);
        Some((lock.id, from_there.map(|step| step.wait.clone()).collect()))
    }
}

/// Follows what `lock` waits for until that leads back to `start`; then `path` is the circle.
fn walk(
    table: &Table,
    lock: &Lock,
    start: &str,
    now: &Moment,
    seen: &mut BTreeSet<LockId>,
    path: &mut Vec<Step>,
) -> bool {
    if !seen.insert(lock.id) {
        return false;
    }
    let own = lock.holder.to_string();
    for blocker in table.in_the_way(lock, now) {
        let holder = blocker.holder.to_string();
        if holder == own {
            continue;
        }
        let Some(resource) = blocker.in_the_way_of(&lock.resources) else {
            continue;
        };
        let holder_of_lock = lock.holder.clone();
        path.push(Step {
            lock: lock.id,
            wait: Wait {
                holder: holder_of_lock,
                resource,
            },
        });
        if holder == start {
            return true;
        }
        for waiting in table.waiting_of(&holder) {
            if walk(table, waiting, start, now, seen, path) {
                return true;
            }
        }
        path.pop();
    }
    false
}
