//! The locks that may stand in each other's way, and who is next.

mod index;
mod settle;

use serde::{Deserialize, Serialize};

use self::index::Index;
use super::{
    Ask, Blocker, Gone, Holder, LEASE_OF_WAITERS_MILLIS, Lock, LockEvent, LockRefused, LockState,
    Resource, Token, WAITERS_MAX, ask::check_ttl, cycle::Cycle,
};
use crate::{
    id::LockId,
    time::{Moment, Now},
};

/// For how long a holder can be told why its lock was taken away.
const GONE_KEPT_MILLIS: u64 = 60_000;

/// Gives out the numbers of requests and grants: each higher than all before, near the time in
/// microseconds, and below 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// The last one that was given out.
    pub last: u64,
}

impl Numbers {
    fn next(&mut self, now: &Now) -> u64 {
        let micros = now.wall.as_millis().max(0).unsigned_abs() * 1_000;
        self.last = micros.max(self.last + 1);
        self.last
    }
}

/// What a release has to fit besides its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The number of the grant.
    pub token: Token,
    /// Who says so, where that is to be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// What is to be released, where that is to be checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
}

impl Release {
    /// By token alone.
    #[must_use]
    pub fn of(token: Token) -> Self {
        Self {
            token,
            holder: None,
            resource: None,
        }
    }
}

/// Locks that may stand in each other's way: all of a project, or those that a request can touch.
///
/// What a call changes is in the table at once, and in [`Table::take_events`] for who stores it. A
/// call that is refused has changed nothing but what was over already.
#[derive(Debug, Default)]
pub struct Table {
    index: Index,
    events: Vec<LockEvent>,
}

impl Table {
    /// A table of these.
    #[must_use]
    pub fn of(locks: impl IntoIterator<Item = Lock>) -> Self {
        let mut table = Self::default();
        for lock in locks {
            table.index.insert(lock);
        }
        table
    }

    /// Adds one that is stored.
    pub fn add(&mut self, lock: Lock) {
        self.index.insert(lock);
    }

    /// Drops one that nobody needs to know of any more.
    pub fn forget(&mut self, id: LockId) {
        self.index.remove(id);
    }

    /// What has happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<LockEvent> {
        std::mem::take(&mut self.events)
    }

    /// Takes in what has happened elsewhere. Total: history is never refused.
    pub fn evolve(&mut self, event: &LockEvent) {
        let lock = event.lock();
        self.index.remove(lock.id);
        if event.keeps() {
            self.index.insert(lock.clone());
        }
    }

    /// A lock.
    #[must_use]
    pub fn lock(&self, id: LockId) -> Option<&Lock> {
        self.index.get(id)
    }

    /// Every lock, oldest first.
    pub fn locks(&self) -> impl Iterator<Item = &Lock> {
        self.index.all()
    }

    /// The lock that was given under this number, held or taken away.
    #[must_use]
    pub fn of_token(&self, token: Token) -> Option<&Lock> {
        self.index.of_token(token)
    }

    /// The locks, held or waiting, of which something is part of one of these resources.
    #[must_use]
    pub fn overlapping(&self, resources: &[Resource]) -> Vec<&Lock> {
        self.index.overlapping(resources)
    }

    /// The requests of a holder that wait.
    pub fn waiting_of(&self, holder: &str) -> impl Iterator<Item = &Lock> {
        self.index
            .of_holder(holder)
            .filter(|lock| lock.is_waiting())
    }

    /// Gives a checked request its lock, a place in the queue, or an answer why not.
    ///
    /// # Errors
    /// See [`LockRefused`].
    pub fn acquire(
        &mut self,
        ask: &Ask,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Result<Lock, LockRefused> {
        if let Some(token) = ask.token {
            return self.enter(ask, token, now);
        }
        self.settle(ask.resources.clone(), numbers, now);
        let id = LockId::from_number(numbers.next(now))
            .ok_or_else(|| LockRefused::invalid("time", "the clock is out of bounds"))?;
        let waiting = self.overlapping(&ask.resources);
        let waiting = waiting.iter().filter(|lock| lock.is_waiting());
        let (count, newest) = waiting.fold((0, 0), |(count, newest), lock| {
            (count + 1, lock.asked.millis.max(newest))
        });
        let lock = Lock::waiting(id, ask, now, newest);
        let by = self.blockers(&lock, &now.moment);
        if by.is_empty() {
            let granted = self.grant(lock, ask.ttl_millis, false, numbers, now);
            self.break_circles(&granted, numbers, now);
            return Ok(granted);
        }
        if ask.wait_millis == 0 {
            return Err(LockRefused::Busy { by });
        }
        if count >= WAITERS_MAX {
            let resource = by[0].resource.clone();
            return Err(LockRefused::QueueFull {
                resource,
                waiting: count,
            });
        }
        self.emit(LockEvent::Queued { lock: lock.clone() });
        self.break_circles(&lock, numbers, now);
        let lock = self.lock(id).cloned();
        match lock.as_ref().map(|lock| &lock.state) {
            Some(LockState::Gone {
                why: Gone::Deadlock { cycle },
                ..
            }) => Err(LockRefused::Deadlock {
                cycle: cycle.clone(),
            }),
            _ => lock.ok_or(LockRefused::NotWaiting { why: None }),
        }
    }

    /// Refuses requests until the holder of a new one is in no circle, which may hit the new one. A
    /// circle closes through what a holder waits for, or through another request of the same holder
    /// that has come to stand in somebody's way.
    fn break_circles(&mut self, new: &Lock, numbers: &mut Numbers, now: &Now) {
        let holder = new.holder.to_string();
        loop {
            let mut waiting = self.waiting_of(&holder);
            let cycle = waiting.find_map(|lock| Cycle::through(self, lock, &now.moment));
            drop(waiting);
            let Some((victim, cycle)) = cycle.and_then(|cycle| cycle.victim(self)) else {
                return;
            };
            self.take_away(victim, Gone::Deadlock { cycle }, now);
            let freed = self.lock(victim).map(|lock| lock.resources.clone());
            self.settle(freed.unwrap_or_default(), numbers, now);
        }
    }

    /// Enters a lock once more that is held already.
    fn enter(&mut self, ask: &Ask, token: Token, now: &Now) -> Result<Lock, LockRefused> {
        let mut lock = self.held(token, now)?;
        let covered = |resource: &&Resource| !lock.resources.iter().any(|own| own.covers(resource));
        if let Some(resource) = ask.resources.iter().find(covered).cloned() {
            return Err(LockRefused::NotCovered {
                token,
                resource,
                mode: ask.mode,
            });
        }
        if !lock.mode.allows(ask.mode) {
            let resource = ask.resources[0].clone();
            return Err(LockRefused::NotCovered {
                token,
                resource,
                mode: ask.mode,
            });
        }
        if let LockState::Held { depth, until, .. } = &mut lock.state {
            *depth += 1;
            until.millis = until
                .millis
                .max(now.moment.millis.saturating_add(ask.ttl_millis));
        }
        self.emit(LockEvent::Entered { lock: lock.clone() });
        Ok(lock)
    }

    /// Who waits is there: answers the request as it is now, granted perhaps.
    ///
    /// # Errors
    /// Where it is in the queue no longer, and was not granted.
    pub fn look(
        &mut self,
        id: LockId,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Result<Lock, LockRefused> {
        let Some(mut lock) = self.lock(id).cloned() else {
            return Err(LockRefused::NotWaiting { why: None });
        };
        match &mut lock.state {
            LockState::Waiting {
                alive_until,
                gives_up_at,
            } => {
                let is_over = |until: &Moment| {
                    until.boot != now.moment.boot || until.millis <= now.moment.millis
                };
                if is_over(gives_up_at) {
                    return self.time_out(lock, numbers, now);
                }
                if is_over(alive_until) {
                    let freed = lock.resources.clone();
                    let timed_out = false;
                    self.emit(LockEvent::LeftQueue { lock, timed_out });
                    self.settle(freed, numbers, now);
                    return Err(LockRefused::NotWaiting { why: None });
                }
                *alive_until = now.moment.plus_millis(LEASE_OF_WAITERS_MILLIS);
                self.emit(LockEvent::Renewed { lock: lock.clone() });
                self.settle(lock.resources.clone(), numbers, now);
                let lock = self.lock(id).cloned();
                lock.ok_or(LockRefused::NotWaiting { why: None })
            }
            LockState::Held { token, .. } => {
                let (token, ttl) = (*token, lock.ttl_millis);
                self.renew(token, Some(ttl), numbers, now)
            }
            LockState::Gone { why, .. } => {
                let why = why.clone();
                self.emit(LockEvent::Forgotten { lock });
                Err(match why {
                    Gone::Deadlock { cycle } => LockRefused::Deadlock { cycle },
                    other => LockRefused::NotWaiting { why: Some(other) },
                })
            }
        }
    }

    fn time_out(
        &mut self,
        lock: Lock,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Result<Lock, LockRefused> {
        let by = self.blockers(&lock, &now.moment);
        let waited_millis = waited(&lock, &now.moment);
        let freed = lock.resources.clone();
        self.emit(LockEvent::LeftQueue {
            lock,
            timed_out: true,
        });
        self.settle(freed, numbers, now);
        Err(LockRefused::TimedOut { waited_millis, by })
    }

    /// Takes a request out of the queue, and releases it where it was granted meanwhile. Says
    /// whether it was there.
    pub fn leave(&mut self, id: LockId, numbers: &mut Numbers, now: &Now) -> bool {
        let Some(lock) = self.lock(id).cloned() else {
            return false;
        };
        let freed = lock.resources.clone();
        let was_there = match &lock.state {
            LockState::Waiting { .. } => {
                self.emit(LockEvent::LeftQueue {
                    lock,
                    timed_out: false,
                });
                true
            }
            LockState::Held { .. } => {
                self.end(lock, now);
                true
            }
            LockState::Gone { .. } => {
                self.emit(LockEvent::Forgotten { lock });
                false
            }
        };
        self.settle(freed, numbers, now);
        was_there
    }

    /// Its holder is there: the lease goes on.
    ///
    /// # Errors
    /// [`LockRefused::NotHeld`] where it has ended.
    pub fn renew(
        &mut self,
        token: Token,
        ttl_millis: Option<u64>,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Result<Lock, LockRefused> {
        let mut lock = match self.held(token, now) {
            Ok(lock) => lock,
            Err(refused) => {
                self.settle_of(token, numbers, now);
                return Err(refused);
            }
        };
        let ttl = ttl_millis.unwrap_or(lock.ttl_millis);
        check_ttl(ttl)?;
        lock.ttl_millis = ttl;
        if let LockState::Held { until, .. } = &mut lock.state {
            *until = now.moment.plus_millis(ttl);
        }
        self.emit(LockEvent::Renewed { lock: lock.clone() });
        Ok(lock)
    }

    /// Its holder leaves it once. Answers it as it was, or as it is where it is held still.
    ///
    /// # Errors
    /// [`LockRefused::NotHeld`], and [`LockRefused::NotYours`] where the token is of another lock
    /// than the one that was meant.
    pub fn release(
        &mut self,
        release: &Release,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Result<Lock, LockRefused> {
        let token = release.token;
        let mut lock = match self.held(token, now) {
            Ok(lock) => lock,
            Err(refused) => {
                self.settle_of(token, numbers, now);
                return Err(refused);
            }
        };
        let is_other = |resource: &Resource| !lock.resources.contains(resource);
        let is_foreign = |holder: &Holder| *holder != lock.holder;
        if release.resource.as_ref().is_some_and(is_other)
            || release.holder.as_ref().is_some_and(is_foreign)
        {
            let (holder, resources) = (lock.holder, lock.resources);
            return Err(LockRefused::NotYours {
                token,
                holder,
                resources,
            });
        }
        if let LockState::Held { depth, .. } = &mut lock.state
            && *depth > 1
        {
            *depth -= 1;
            self.emit(LockEvent::Entered { lock: lock.clone() });
            return Ok(lock);
        }
        let freed = lock.resources.clone();
        self.end(lock.clone(), now);
        self.settle(freed, numbers, now);
        Ok(lock)
    }

    /// Takes away what is held on exactly this resource, from everybody. Answers what was.
    pub fn force(
        &mut self,
        resource: &Resource,
        by: &str,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Vec<Lock> {
        self.settle(vec![resource.clone()], numbers, now);
        let here = self.overlapping(std::slice::from_ref(resource));
        let hit = here
            .into_iter()
            .filter(|lock| lock.token().is_some() && lock.resources.contains(resource));
        let hit = hit.cloned().collect();
        self.take_all(hit, &Gone::Forced { by: by.to_owned() }, numbers, now)
    }

    /// Takes away everything that a holder has or waits for. Answers what was.
    pub fn cleanup(
        &mut self,
        holder: &str,
        why: &Gone,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Vec<Lock> {
        let of = self.index.of_holder(holder);
        let hit = of.filter(|lock| !matches!(lock.state, LockState::Gone { .. }));
        let hit = hit.cloned().collect();
        self.take_all(hit, why, numbers, now)
    }

    fn take_all(
        &mut self,
        hit: Vec<Lock>,
        why: &Gone,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Vec<Lock> {
        let mut freed = Vec::new();
        for lock in &hit {
            self.take_away(lock.id, why.clone(), now);
            freed.extend(lock.resources.iter().cloned());
        }
        self.settle(freed, numbers, now);
        hit
    }

    /// Who is in the way of a request at its place.
    #[must_use]
    pub fn blockers(&self, lock: &Lock, now: &Moment) -> Vec<Blocker> {
        let mut found: Vec<&Lock> = self.in_the_way(lock, now).collect();
        found.sort_by_key(|other| (other.is_waiting(), other.place()));
        let blocker = |other: &Lock| {
            Some(Blocker {
                holder: other.holder.clone(),
                mode: other.mode,
                resource: other.in_the_way_of(&lock.resources)?,
                waits: other.is_waiting(),
            })
        };
        found.into_iter().filter_map(blocker).collect()
    }

    pub(super) fn in_the_way<'a>(
        &'a self,
        lock: &'a Lock,
        now: &'a Moment,
    ) -> impl Iterator<Item = &'a Lock> {
        let here = self.overlapping(&lock.resources).into_iter();
        here.filter(move |other| {
            let counts = match &other.state {
                LockState::Held { .. } => true,
                LockState::Waiting { .. } => other.place() < lock.place(),
                LockState::Gone { .. } => false,
            };
            counts
                && other.id != lock.id
                && !other.is_over(now)
                && other.is_against(&lock.resources, lock.mode)
        })
    }

    /// The lock of a token, held and not over.
    fn held(&self, token: Token, now: &Now) -> Result<Lock, LockRefused> {
        let refuse = |why| LockRefused::NotHeld { token, why };
        let lock = self.of_token(token).ok_or_else(|| refuse(None))?;
        match &lock.state {
            LockState::Held { .. } if lock.is_over(&now.moment) => Err(refuse(Some(Gone::Expired))),
            LockState::Held { .. } => Ok(lock.clone()),
            LockState::Gone { why, .. } => Err(refuse(Some(why.clone()))),
            LockState::Waiting { .. } => Err(refuse(None)),
        }
    }

    fn settle_of(&mut self, token: Token, numbers: &mut Numbers, now: &Now) {
        if let Some(lock) = self.of_token(token) {
            self.settle(lock.resources.clone(), numbers, now);
        }
    }

    fn end(&mut self, lock: Lock, now: &Now) {
        let held_millis = held(&lock, &now.moment).unwrap_or(0);
        self.emit(LockEvent::Released { lock, held_millis });
    }

    fn take_away(&mut self, id: LockId, why: Gone, now: &Now) {
        let Some(mut lock) = self.lock(id).cloned() else {
            return;
        };
        let held_millis = held(&lock, &now.moment);
        lock.state = LockState::Gone {
            why,
            token: lock.token(),
            until: now.moment.plus_millis(GONE_KEPT_MILLIS),
        };
        self.emit(LockEvent::Taken { lock, held_millis });
    }

    fn grant(
        &mut self,
        mut lock: Lock,
        lease_millis: u64,
        has_waited: bool,
        numbers: &mut Numbers,
        now: &Now,
    ) -> Lock {
        lock.state = LockState::Held {
            token: Token(numbers.next(now)),
            depth: 1,
            until: now.moment.plus_millis(lease_millis),
            since: now.moment.clone(),
            since_wall: now.wall,
            waited_millis: if has_waited {
                waited(&lock, &now.moment)
            } else {
                0
            },
        };
        self.emit(LockEvent::Granted {
            lock: lock.clone(),
            has_waited,
        });
        lock
    }

    fn emit(&mut self, event: LockEvent) {
        self.evolve(&event);
        self.events.push(event);
    }
}

fn waited(lock: &Lock, now: &Moment) -> u64 {
    if lock.asked.boot == now.boot {
        now.millis.saturating_sub(lock.asked.millis)
    } else {
        0
    }
}

fn held(lock: &Lock, now: &Moment) -> Option<u64> {
    match &lock.state {
        LockState::Held { since, .. } if since.boot == now.boot => {
            Some(now.millis.saturating_sub(since.millis))
        }
        LockState::Held { .. } => Some(0),
        LockState::Waiting { .. } | LockState::Gone { .. } => None,
    }
}
